"""Marginalized average aggregation (MAA), exactly and in linear time: MAAN (Yuan et al., ICLR 2019), equations 2, 3."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wtal_aggregators import _quadrature
from wtal_aggregators.pooling import LinearAggregator, attention_coefficients, weighted_sum


def marginalized_average(features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """The expected mean of a random subset of snippets, snippet t being in it with probability attention[t].

    MAAN equation 2, the empty subset counting as zero: E[sum_t z_t x_t / sum_t z_t] with z_t ~ Bernoulli(p_t).

    Args:
        features: (..., T, D), floating point. Padding may hold any finite value.
        attention: (..., T) in [0, 1], floating point. Padding may hold anything.
        mask: (..., T) bool, True on real snippets; None if all are.

    Returns:
        (..., D), in the features' dtype. Zero where no snippet is real or attended.

    Raises:
        ValueError: If the shapes do not fit.
        TypeError: If the attention is not floating point or the mask not bool.
    """
    return weighted_sum(features, marginalized_average_coefficients(attention, mask))


def marginalized_average_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """The weights lambda_t = p_t c_t that marginalized averaging gives the snippets (MAAN equation 3).

    Their sum is 1 - prod_t (1 - p_t), the probability that the subset is not empty. They are computed in float64.

    Args:
        attention: (..., T) in [0, 1], floating point. Padding may hold anything.
        mask: (..., T) bool, True on real snippets; None if all are.

    Returns:
        (..., T), in the attention's dtype. Zero on padding.

    Raises:
        ValueError: If the mask does not fit the attention.
        TypeError: If the attention is not floating point or the mask not bool.
    """
    coefficients: Tensor = _Coefficients.apply(attention_coefficients(attention, mask))  # type: ignore[no-untyped-call]
    return coefficients


def marginalized_average_factors(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """The context c_t = E[1 / (1 + sum_{k != t} z_k)] of snippet t (MAAN proposition 1), in the attention's dtype."""
    p = attention_coefficients(attention, mask)
    return _factors(p.double()).to(p.dtype)


class MarginalizedAverage(LinearAggregator):
    """Marginalized average aggregation (`marginalized_average_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `marginalized_average_coefficients`."""
        return marginalized_average_coefficients(attention, mask)


class _Coefficients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor) -> Tensor:
        ctx.save_for_backward(p)
        wide = p.double()
        inverse, weights, _ = _integrand(wide)
        return (wide * (inverse @ weights.unsqueeze(-1)).squeeze(-1)).to(p.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (p,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative will be taken
            wide = p.double()
            coefficients = (wide * _factors(wide)).to(p.dtype)
            differentiable: Tensor = torch.autograd.grad(coefficients, p, gradient, create_graph=True)[0]
            return differentiable
        wide, g = p.double(), gradient.double()
        inverse, weights, nodes = _integrand(wide)
        gp = g * wide
        total = (gp.unsqueeze(-2) @ inverse).squeeze(-2)  # sum_i g_i p_i / a_i
        first = g * (inverse @ weights.unsqueeze(-1)).squeeze(-1)
        first -= (inverse @ (weights * nodes * total).unsqueeze(-1)).squeeze(-1)
        first += gp * (inverse.square_() @ (weights * nodes).unsqueeze(-1)).squeeze(-1)
        return first.to(p.dtype)


def _integrand(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """1 / a (..., T, n), quadrature weight times F (..., n) and nodes (..., n), with a = 1 - p v and F = prod_k a_k."""
    rule = _quadrature.rule(1e-13)
    upper = rule.decay / (p.detach().sum(-1, keepdim=True) - 1).clamp(min=rule.decay)
    nodes = upper * p.new_tensor(rule.nodes)
    a = 1 - p.unsqueeze(-1) * nodes.unsqueeze(-2)
    weights = upper * p.new_tensor(rule.weights) * a.log().sum(-2).exp()
    return 1 / a, weights, nodes


def _factors(p: Tensor) -> Tensor:
    inverse, weights, _ = _integrand(p)
    return (inverse @ weights.unsqueeze(-1)).squeeze(-1)
