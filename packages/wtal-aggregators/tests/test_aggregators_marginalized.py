from __future__ import annotations

import re

import pytest
import torch
import wtal_aggregators as wa
from naive import brute_force_coefficients, leave_one_out_coefficients


@pytest.mark.parametrize("length", range(1, 9))
def test_equals_enumeration(length):
    p = torch.rand(length, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    p[length // 2] = 1.0 if length % 2 else 0.0
    expected = torch.tensor([float(x) for x in brute_force_coefficients(p.tolist())], dtype=torch.float64)
    torch.testing.assert_close(wa.marginalized_average_coefficients(p), expected, rtol=1e-13, atol=0)


def test_equals_leave_one_out():
    p = torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.tensor(leave_one_out_coefficients(p.tolist()), dtype=torch.float64)
    torch.testing.assert_close(wa.marginalized_average_coefficients(p), expected, rtol=1e-13, atol=0)


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    p = torch.rand(3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda x, p: wa.marginalized_average(x, p, mask), (x, p))
    assert torch.autograd.gradgradcheck(lambda x, p: wa.marginalized_average(x, p, mask), (x, p))


AGGREGATORS = [wa.WeightedSum, wa.Dropout, wa.Norm, wa.SoftmaxNorm, wa.Mean, wa.Max, wa.MarginalizedAverage]


@pytest.mark.parametrize("aggregator", AGGREGATORS, ids=lambda x: x.__name__)
@pytest.mark.parametrize("lengths", [[4, 1, 0], [0]])
def test_padding_changes_nothing(aggregator, lengths):
    model = aggregator().eval()
    T = max(lengths) + 2
    x, p = torch.randn(len(lengths), T, 3, requires_grad=True), torch.rand(len(lengths), T)
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    p[~mask] = torch.nan
    p.requires_grad_()
    pooled = model(x, p, mask)
    for row, length in enumerate(lengths):
        alone = model(x[row, :length], p[row, :length])
        torch.testing.assert_close(pooled[row], alone if length else torch.zeros(3))
    pooled.sum().backward()
    assert not x.grad[~mask].any()
    assert p.grad is None or (torch.isfinite(p.grad).all() and not p.grad[~mask].any())


def test_mask_must_be_bool():
    message = "mask must be a bool tensor, True on real snippets, not torch.float32; try mask.bool()"
    with pytest.raises(TypeError, match=re.escape(message)):
        wa.marginalized_average(torch.zeros(2, 3, 4), torch.zeros(2, 3), torch.ones(2, 3))
