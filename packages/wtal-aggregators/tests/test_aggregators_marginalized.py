"""MAA's values and gradients, however they are computed."""

from __future__ import annotations

import pytest
import torch
import wtal_aggregators as wa

from .naive import brute_force_coefficients, exact_factor, leave_one_out_coefficients

pytestmark = pytest.mark.usefixtures("way")

float64 = torch.float64


def weights(p, mask=None):
    return wa.marginalized_average_coefficients(p, mask)


@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_equals_enumeration_of_all_subsets(length, device, random):
    p = torch.rand(length, dtype=float64, generator=random)
    p[length // 2] = length % 2
    expected = torch.tensor([float(x) for x in brute_force_coefficients(p.tolist())], dtype=float64)
    torch.testing.assert_close(weights(p.to(device)).cpu(), expected, rtol=1e-14, atol=0)


def test_equals_the_distribution_of_the_others(device, random):
    p = torch.rand(70, dtype=float64, generator=random)
    expected = torch.tensor(leave_one_out_coefficients(p.tolist()), dtype=float64)
    torch.testing.assert_close(weights(p.to(device)).cpu(), expected, rtol=1e-13, atol=0)


HARD = {
    "ones": {1.0: 1.0},
    "halves": {0.5: 1.0},
    "thirds": {1 / 3: 1.0},
    "nearly ones": {1 - 1e-7: 1.0},
    "binary": {1.0: 0.5, 0.0: 0.5},
    "alternating": {0.9: 0.5, 0.1: 0.5},
    "extremes": {1 - 1e-7: 0.5, 1e-7: 0.5},
    "tiny": {1e-9: 1.0},
    "subnormal": {1e-40: 1.0},
    "one among zeros": {1 - 1e-7: 0.0, 0.0: 1.0},
    "one among tiny": {1.0: 0.0, 1e-6: 1.0},
    "cut just begins": {0.031: 1.0},
}


@pytest.mark.parametrize("T", [2, 42, 10_000])
@pytest.mark.parametrize("shares", HARD.values(), ids=HARD)
@pytest.mark.parametrize(("dtype", "tolerance"), [(float64, 1e-12), (torch.float32, 2e-7)])
def test_relative_error(shares, T, dtype, tolerance, device):
    rounded = {torch.tensor(p, dtype=dtype).item(): max(int(share * T), 1) for p, share in shares.items()}
    p = torch.tensor([p for p, count in rounded.items() for _ in range(count)], dtype=dtype)
    exact = {own: own * exact_factor(tuple(rounded.items()), own) for own in rounded}
    expected = torch.tensor([exact[x] for x in p.tolist()], dtype=float64)
    torch.testing.assert_close(weights(p.to(device)).cpu().double(), expected, rtol=tolerance, atol=1e-45)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-10)])
def test_low_precision_is_rounded_once(dtype, tolerance, device, random):
    p = torch.rand(3, 200, generator=random).to(device, dtype)
    computed = weights(p)
    assert computed.dtype == dtype
    torch.testing.assert_close(
        computed.double(), weights(p.double()), rtol=tolerance, atol=2**-25
    )  # half of float16's least


def test_factors_are_the_weights_over_the_probabilities(random):
    p = torch.rand(3, 9, dtype=float64, generator=random)
    torch.testing.assert_close(wa.marginalized_average_factors(p), weights(p) / p)


def test_factors_of_unattended_snippets():
    p = torch.tensor([1.0, 1.0, 0.0], dtype=float64)
    expected = torch.tensor([1 / 2, 1 / 2, 1 / 3], dtype=float64)
    torch.testing.assert_close(wa.marginalized_average_factors(p), expected, rtol=1e-14, atol=0)


def test_no_snippets(device):
    x, p = (torch.ones(shape, device=device, requires_grad=True) for shape in ((2, 0, 3), (2, 0)))
    assert wa.marginalized_average(x, p).tolist() == [[0, 0, 0]] * 2
    assert weights(p).shape == (2, 0)
    no_rows = torch.ones(0, 4, 3, device=device), torch.ones(0, 4, device=device)
    assert wa.marginalized_average(*no_rows).shape == (0, 3)
    wa.marginalized_average(x, p).sum().backward()
    assert x.grad.shape == x.shape
    assert p.grad.shape == p.shape


def test_one_snippet_is_scaled_by_its_probability():
    pooled = wa.marginalized_average(torch.tensor([[2.0, 4.0]]), torch.tensor([0.25]))
    torch.testing.assert_close(pooled, torch.tensor([0.5, 1.0]))


def test_all_ones_give_the_mean_and_all_zeros_nothing(random):
    x = torch.randn(2, 50, 3, generator=random)
    torch.testing.assert_close(wa.marginalized_average(x, torch.ones(2, 50)), x.mean(1))
    assert not wa.marginalized_average(x, torch.zeros(2, 50)).any()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_leading_dimensions_are_rows(shape, device, random):
    x = torch.randn(*shape, 7, 4, generator=random).to(device)
    p = torch.rand(*shape, 7, generator=random).to(device)
    pooled = wa.marginalized_average(x, p)
    assert pooled.shape == (*shape, 4)
    rows = [wa.marginalized_average(a, b) for a, b in zip(x.reshape(-1, 7, 4), p.reshape(-1, 7), strict=True)]
    torch.testing.assert_close(pooled.reshape(-1, 4), torch.stack(rows))


@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (1, 1, 5, 4), (1, 5, 4), (5, 4), (2, 3, 5, 4)])
def test_leading_dimensions_broadcast(shape, random):
    x = torch.randn(shape, dtype=float64, generator=random, requires_grad=True)
    p = torch.rand(2, 3, 5, dtype=float64, generator=random, requires_grad=True)
    mask = torch.rand(1, 3, 5, generator=random) < 0.7
    expected = (weights(p, mask).unsqueeze(-1) * x).sum(-2)
    torch.testing.assert_close(wa.marginalized_average(x, p, mask), expected)
    assert torch.autograd.gradcheck(lambda x, p: wa.marginalized_average(x, p, mask), (x, p))


def test_layout_does_not_matter(random):
    x = torch.randn(4, 6, 2, generator=random)
    p = torch.rand(2, 6, generator=random)
    expected = wa.marginalized_average(x.transpose(0, 2).contiguous(), p)
    torch.testing.assert_close(wa.marginalized_average(x.transpose(0, 2), p.T.contiguous().T), expected)
    p = p[:1].expand(2, 6).requires_grad_()
    weights(p).sum().backward()  # an expanded gradient


def test_an_expanded_gradient_is_made_dense_before_it_is_multiplied(random, device, way, monkeypatch):
    x = torch.randn(3, 6, 4, generator=random).to(device).requires_grad_()
    p = torch.rand(3, 6, generator=random).to(device).requires_grad_()
    pooled = wa.marginalized_average(x, p)
    multiplied = []
    outer = wa.marginalized._outer
    monkeypatch.setattr(wa.marginalized, "_outer", lambda c, row, like: multiplied.append(row) or outer(c, row, like))
    of_the_sum = torch.autograd.grad(pooled.sum(), (x, p), retain_graph=True)
    assert all(row.is_contiguous() for row in multiplied)
    assert len(multiplied) == (way != "transparent")
    torch.testing.assert_close(of_the_sum, torch.autograd.grad(pooled, (x, p), torch.ones_like(pooled)))


def test_long_attention_is_walked_node_by_node(device):
    short, long = (torch.rand(2, T, device=device) for T in (100, 2**13))
    (inverse,) = (inverse for inverse, *_ in wa.marginalized._integrands(short))
    nodes = inverse.shape[-2]
    assert inverse.shape == (2, nodes, 100)
    assert [inverse.shape for inverse, *_ in wa.marginalized._integrands(long)] == [(2, 1, 2**13)] * nodes
    alone = torch.rand(1, 4000, device=device)
    assert [inverse.shape for inverse, *_ in wa.marginalized._integrands(alone)] == [(1, 1, 4000)] * nodes


def test_nan_stays_in_its_row():
    p = torch.tensor([[0.5, torch.nan], [0.5, 0.5]])
    computed = weights(p)
    assert computed[0].isnan().all()
    torch.testing.assert_close(computed[1], torch.tensor([0.375, 0.375]))


def hard_inputs(random, device):
    """Features, attention at and between its bounds, and a mask with a full, a partial, a single and an empty row."""
    x = torch.randn(4, 6, 2, dtype=float64, generator=random)
    p = torch.rand(4, 6, dtype=float64, generator=random)
    p[0, :4] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    p[1] = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0] * 6], dtype=torch.bool)
    return x.to(device).requires_grad_(), p.to(device).requires_grad_(), mask.to(device)


def test_first_derivative(random, device):
    x, p, mask = hard_inputs(random, device)
    assert torch.autograd.gradcheck(lambda x, p: wa.marginalized_average(x, p, mask), (x, p))
    assert torch.autograd.gradcheck(lambda p: weights(p, mask), p)
    assert torch.autograd.gradcheck(lambda p: wa.marginalized_average_factors(p, mask), p)


def test_second_derivative(random, device):
    x, p, mask = hard_inputs(random, device)
    assert torch.autograd.gradgradcheck(lambda x, p: wa.marginalized_average(x, p, mask), (x, p))
    assert torch.autograd.gradgradcheck(lambda p: weights(p, mask), p)


def test_derivative_of_either_argument_alone(random, device):
    x, p, mask = hard_inputs(random, device)
    assert torch.autograd.gradcheck(lambda x: wa.marginalized_average(x, p.detach(), mask), x)
    assert torch.autograd.gradcheck(lambda p: wa.marginalized_average(x.detach(), p, mask), p)


@pytest.mark.parametrize("T", [30, 3000])
def test_float32_gradient_is_that_of_float64(T, device, random):
    p = torch.rand(2, T, generator=random).to(device)
    g = torch.randn(2, T, generator=random).to(device)
    gradients = []
    for dtype in (torch.float32, float64):
        q = p.to(dtype).requires_grad_()
        gradients.append(torch.autograd.grad(weights(q), q, g.to(dtype))[0].double())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7 * gradients[1].abs().max().item())


@pytest.mark.parametrize("features_dtype", [torch.float32, torch.bfloat16, torch.float16, float64])
@pytest.mark.parametrize("attention_dtype", [torch.float32, torch.bfloat16, float64])
def test_result_and_gradients_have_the_dtypes_of_the_arguments(features_dtype, attention_dtype, random):
    x = torch.randn(2, 5, 3, generator=random).to(features_dtype).requires_grad_()
    p = torch.rand(2, 5, generator=random).to(attention_dtype).requires_grad_()
    pooled = wa.marginalized_average(x, p)
    pooled.sum().backward()
    assert (pooled.dtype, x.grad.dtype, p.grad.dtype) == (features_dtype, features_dtype, attention_dtype)
    expected = wa.marginalized_average(x.double(), p.double())
    torch.testing.assert_close(pooled.double(), expected, rtol=2e-2, atol=2e-2)
