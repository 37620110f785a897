"""What MAAN (Yuan et al., ICLR 2019) proves of marginalized averages, and what follows from their definition."""

from __future__ import annotations

import pytest
import torch
import wtal_aggregators as wa
from hypothesis import given, settings
from hypothesis import strategies as st

ROUNDING = 1e-13
probabilities = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-300, 1e-12, 0.5, 1 - 2**-53])
attentions = st.lists(probabilities, min_size=1, max_size=30).map(lambda p: torch.tensor(p, dtype=torch.float64))
coefficients = wa.marginalized_average_coefficients
quickly = settings(max_examples=150, deadline=None)


def differences(values):
    return values.unsqueeze(-1) - values.unsqueeze(-2)


@quickly
@given(attentions)
def test_weights_are_factors_times_probabilities(p):
    """Proposition 1, equation 3."""
    torch.testing.assert_close(coefficients(p), wa.marginalized_average_factors(p) * p, rtol=ROUNDING, atol=0)


@quickly
@given(attentions)
def test_order_is_preserved(p):
    """Proposition 1: p_i >= p_j <=> c_i >= c_j <=> lambda_i >= lambda_j, as far as rounding lets one see it."""
    higher = differences(p) > 1e-9
    for values in (wa.marginalized_average_factors(p), coefficients(p)):
        if len(p) > 1:
            assert (differences(values)[higher] > 0).all()
        assert (differences(values)[differences(p) >= 0] >= -ROUNDING).all()


@quickly
@given(attentions)
def test_dominant_responses_are_suppressed(p):
    """Proposition 2, inequality 4.

    Its proof takes sum c_t p_t = 1, hence the certain snippet: if the subset may be empty, the index set may be too.
    """
    p = torch.cat([p, torch.ones(1, dtype=p.dtype)])
    c, weight = wa.marginalized_average_factors(p), coefficients(p)
    salient = c >= 1 / p.sum() - ROUNDING
    assert salient.any()
    gap_of_probabilities = differences(p / p.sum())[salient].abs()
    gap_of_weights = differences(weight / weight.sum())[salient].abs()
    assert (gap_of_probabilities <= gap_of_weights + ROUNDING).all()


@quickly
@given(attentions)
def test_weights_add_up_to_the_chance_of_choosing_anything(p):
    torch.testing.assert_close(coefficients(p).sum(), 1 - (1 - p).prod(), rtol=1e-12, atol=1e-15)


@quickly
@given(attentions, st.data())
def test_zero_probability_removes_a_snippet(p, data):
    t = data.draw(st.integers(0, len(p)))
    padded = torch.cat([p[:t], torch.zeros(1, dtype=p.dtype), p[t:]])
    weight = coefficients(padded)
    assert weight[t] == 0
    torch.testing.assert_close(torch.cat([weight[:t], weight[t + 1 :]]), coefficients(p), rtol=ROUNDING, atol=0)


@quickly
@given(attentions, st.randoms())
def test_order_of_the_snippets_does_not_matter(p, random):
    order = random.sample(range(len(p)), len(p))
    torch.testing.assert_close(coefficients(p[order]), coefficients(p)[order], rtol=ROUNDING, atol=0)


@quickly
@given(st.integers(1, 300))
def test_certainty_gives_the_mean(T):
    weight = coefficients(torch.ones(T, dtype=torch.float64))
    torch.testing.assert_close(weight, torch.full((T,), 1 / T, dtype=torch.float64), rtol=ROUNDING, atol=0)


@quickly
@given(attentions)
def test_weights_are_those_of_some_average(p):
    weight = coefficients(p)
    assert (weight >= 0).all()
    assert (weight <= p * (1 + ROUNDING)).all()


@quickly
@given(attentions)
def test_equals_algorithm_1_in_value_and_gradient(p):
    pytest.importorskip("numba", reason="numba is not installed")
    from wtal_aggregators import reference

    x = torch.sin(torch.arange(2.0 * len(p), dtype=p.dtype)).view(-1, 2)
    ways = []
    for function in (wa.marginalized_average, reference.marginalized_average_reference):
        leaves = x.clone().requires_grad_(), p.clone().requires_grad_()
        pooled = function(*leaves)
        ways.append((pooled, *torch.autograd.grad(pooled, leaves, torch.tensor([1.0, -2.0], dtype=p.dtype))))
    for ours, theirs in zip(*ways, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)
