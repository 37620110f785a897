"""Algorithm 1 against enumeration, and its reverse recurrence against finite differences."""

from __future__ import annotations

import re

import pytest
import torch
from wtal_aggregators import marginalized_average, marginalized_average_coefficients

from .naive import brute_force_coefficients

pytest.importorskip("numba", reason="numba is not installed")
from wtal_aggregators import reference


def test_equals_enumeration(random):
    p = torch.rand(9, dtype=torch.float64, generator=random)
    p[2], p[5] = 0, 1
    expected = torch.tensor([float(x) for x in brute_force_coefficients(p.tolist())], dtype=torch.float64)
    torch.testing.assert_close(reference.MarginalizedAverageReference().coefficients(p), expected, rtol=1e-14, atol=0)


def test_runs_interpreted(random):
    x = torch.randn(6, 2, dtype=torch.float64, generator=random).numpy()
    p = torch.rand(6, dtype=torch.float64, generator=random).numpy()
    compiled, interpreted = reference.algorithm_1(x, p), reference.algorithm_1.py_func(x, p)
    assert compiled == pytest.approx(interpreted, rel=1e-14)
    reverse = reference.reverse_of_algorithm_1
    for ours, theirs in zip(reverse(x, p, compiled), reverse.py_func(x, p, compiled), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_gradient(random):
    x = torch.randn(3, 6, 2, dtype=torch.float64, generator=random, requires_grad=True)
    p = torch.rand(3, 6, dtype=torch.float64, generator=random)
    p[0, :3] = torch.tensor([0.0, 1.0, 1.0])
    mask = torch.tensor([[1] * 6, [1, 1, 0, 1, 0, 0], [0] * 6], dtype=torch.bool)
    aggregator = reference.MarginalizedAverageReference()
    assert torch.autograd.gradcheck(lambda x, p: aggregator(x, p, mask), (x, p.requires_grad_()))


def test_differentiates_once(random):
    p = torch.rand(2, 3, generator=random, requires_grad=True)
    pooled = reference.marginalized_average_reference(torch.ones(2, 3, 4), p)
    message = "the reference can be differentiated once only; marginalized_average can be twice"
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        torch.autograd.grad(pooled.sum(), p, create_graph=True)


@pytest.mark.parametrize(
    "shapes", [((1, 5, 2), (3, 5), (5,)), ((2, 1, 5, 2), (2, 3, 5), (1, 3, 5)), ((5, 2), (5,), (4, 5))]
)
def test_leading_dimensions_broadcast(shapes, random):
    x = torch.randn(shapes[0], dtype=torch.float64, generator=random, requires_grad=True)
    p = torch.rand(shapes[1], dtype=torch.float64, generator=random, requires_grad=True)
    mask = torch.rand(shapes[2], generator=random) < 0.7
    aggregator = reference.MarginalizedAverageReference()
    torch.testing.assert_close(aggregator(x, p, mask), marginalized_average(x, p, mask))
    torch.testing.assert_close(aggregator.coefficients(p, mask), marginalized_average_coefficients(p, mask))
    assert torch.autograd.gradcheck(lambda x, p: aggregator(x, p, mask), (x, p))


def test_takes_no_transform(random):
    message = "the reference takes no torch.func transform (vmap, grad, ...); marginalized_average does"
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        torch.func.vmap(reference.marginalized_average_reference)(
            torch.ones(2, 3, 4), torch.rand(2, 3, generator=random)
        )


@pytest.mark.parametrize(("devices", "name"), [(("meta", "cpu"), "features are"), (("cpu", "meta"), "attention is")])
def test_other_devices_are_refused(devices, name):
    message = f"the reference computes on the CPU, but {name} on meta"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        reference.marginalized_average_reference(
            torch.empty(2, 3, 4, device=devices[0]), torch.empty(2, 3, device=devices[1])
        )
