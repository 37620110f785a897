"""Marginalized average aggregation (MAA), exactly and in linear time: MAAN (Yuan et al., ICLR 2019), equations 2, 3.

The weights of equation 3 are integrals of products (`marginalized_average_factors` derives them), and a quadrature with
the few nodes of `_quadrature.rule` gives them to any wanted precision in O(T).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from wtal_aggregators import _compiled, _quadrature
from wtal_aggregators._arguments import check_attention, check_pooling, check_probabilities
from wtal_aggregators._compiled import cast
from wtal_aggregators._eager import autocasts, constant_when_compiled, dispatch_modes, is_eager, keeps_tensors_plain
from wtal_aggregators.pooling import LinearAggregator, sum_under, zero_padding

if TYPE_CHECKING:
    from collections.abc import Iterator


def marginalized_average(
    features: Tensor, attention: Tensor, mask: Tensor | None = None, *, validate: bool = False
) -> Tensor:
    """The expected mean of a random subset of snippets, snippet t being in it with probability attention[t].

    MAAN equation 2, E[sum_t z_t x_t / sum_t z_t] with z_t ~ Bernoulli(p_t), where the empty subset counts as zero.
    The leading dimensions broadcast. Attention with as many dimensions as the features, (..., S, T), is S attentions
    over each sequence, pooled to (..., S, D): one matrix product, and no copy of the features.

    Args:
        features: (..., T, D), floating point. Padding may hold any value that is finite, under autocast in its dtype.
        attention: (..., T) or (..., S, T) in [0, 1], floating point. Padding may hold anything.
        mask: (..., T) bool, True on real snippets, which may lie anywhere; None if all are real. With one dimension
            less than the attention it is the same for all S.
        validate: Also look at the attention's values: for eager calls, as it waits for a GPU and no compiled graph or
            transform can. Without it attention outside [0, 1] gives its own row numbers that mean nothing, or NaN.

    Returns:
        (..., D) or (..., S, D) in the features' dtype, under autocast in torch.matmul's. Zero where no snippet is real
        or attended. The weights are rounded to that dtype first: bfloat16 moves a mean by up to 0.4 %, and float16
        loses digits of weights below 6e-5, as 16,000 attended snippets have, and all below 3e-8; give such features as
        float32.

    Raises:
        ValueError: If the shapes do not fit, or `validate` finds attention outside [0, 1].
        TypeError: If features or attention are not floating point, or the mask is not bool.
    """
    features, mask = check_pooling(features, attention, mask)
    if validate:
        check_probabilities(attention, mask)
    p = zero_padding(attention, mask)
    way = _way(features, p)
    if way is not _TRANSPARENT and p.shape == features.shape[:-1] and not autocasts(features):
        pooled: Tensor = _Average.apply(features, p, mask, way)  # type: ignore[no-untyped-call]
        return pooled
    return sum_under(features, zero_padding(_coefficients(p), mask))


def marginalized_average_coefficients(
    attention: Tensor, mask: Tensor | None = None, *, validate: bool = False
) -> Tensor:
    """The weights lambda_t = p_t c_t that marginalized averaging gives the snippets (MAAN equation 3).

    They add up to 1 - prod_t (1 - p_t), the probability that the subset is not empty. Computed in float64 and rounded
    once, with a relative error below 1e-12 in float64 and 2e-7 in float32 for T up to 10,000.

    Args:
        attention: (..., T) in [0, 1], floating point. Padding may hold anything.
        mask: (..., T) bool, True on real snippets; None if all are. With one dimension less than attention (..., S, T)
            it is the same for all S.
        validate: Also look at the attention's values: for eager calls, as it waits for a GPU and no compiled graph or
            transform can. Without it attention outside [0, 1] gives its own row numbers that mean nothing, or NaN.

    Returns:
        (..., T) in the attention's dtype. Zero on padding.

    Raises:
        ValueError: If the mask does not fit the attention, or `validate` finds attention outside [0, 1].
        TypeError: If the attention is not floating point, or the mask is not bool.
    """
    p, mask = _probabilities(attention, mask, validate)
    return zero_padding(_coefficients(p), mask)


def marginalized_average_factors(attention: Tensor, mask: Tensor | None = None, *, validate: bool = False) -> Tensor:
    """The factors c_t = E[1 / (1 + sum_{k != t} z_k)] of MAAN proposition 1: the context that snippet t is in.

    E[1 / (1 + Z)] = integral_0^1 E[u^Z] du, and E[u^Z] of a sum of independent z_k ~ Bernoulli(p_k) is a product. With
    v = 1 - u,

        c_t = integral_0^1 prod_{k != t} (1 - p_k v) dv,

    which needs one product over all snippets per node v, divided by the snippet's own factor: O(T). How many nodes the
    dtype needs is derived in `wtal_aggregators._quadrature.error_bound`.

    Args:
        attention: (..., T) in [0, 1], floating point. Padding may hold anything.
        mask: (..., T) bool, True on real snippets; None if all are. With one dimension less than attention (..., S, T)
            it is the same for all S.
        validate: Also look at the attention's values: for eager calls, as it waits for a GPU and no compiled graph or
            transform can. Without it attention outside [0, 1] gives its own row numbers that mean nothing, or NaN.

    Returns:
        (..., T) in (0, 1], in the attention's dtype. On padding: the factor that a snippet put there would have.

    Raises:
        ValueError: If the mask does not fit the attention, or `validate` finds attention outside [0, 1].
        TypeError: If the attention is not floating point, or the mask is not bool.
    """
    p, _ = _probabilities(attention, mask, validate)
    return _factors(p).to(p.dtype)


class MarginalizedAverage(LinearAggregator):
    """The expected mean of a random subset of snippets, each in it with its attention as probability (MAA).

    E[sum_t z_t x_t / sum_t z_t], z_t ~ Bernoulli(a_t): equation 2 of MAAN (Yuan et al., ICLR 2019), exactly and in
    linear time (`marginalized_average`).

    Args:
        validate: look at every attention and raise ValueError where one is outside [0, 1]. It waits for a GPU, and is
            for eager calls: no compiled graph or transform can.
    """

    def __init__(self, validate: bool = False) -> None:
        super().__init__()
        self.validate = validate

    def extra_repr(self) -> str:
        """Show the option."""
        return f"validate={self.validate}"

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `marginalized_average_coefficients`."""
        return marginalized_average_coefficients(attention, mask, validate=self.validate)

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `marginalized_average`."""
        return marginalized_average(features, attention, mask, validate=self.validate)


def _probabilities(attention: Tensor, mask: Tensor | None, validate: bool) -> tuple[Tensor, Tensor | None]:
    mask = check_attention(attention, mask)
    if validate:
        check_probabilities(attention, mask)
    return zero_padding(attention, mask), mask


class _Way(NamedTuple):
    """One way from p (..., T) to lambda (..., T), and from p and g = dJ/dlambda to dJ/dp, in p's dtype or a wider."""

    coefficients: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


def _way(*tensors: Tensor, again: bool = False) -> _Way | _compiled.Kernels:
    """How a call with these tensors is computed. This is the one place where it is decided.

    =============================================================  ======  =====  ===================  ===============
    the call is seen by                                            device  numba  way                  keeps
    =============================================================  ======  =====  ===================  ===============
    a compiler, tracer, transform, mode, subclass or forward mode  any     any    _TRANSPARENT         T x n values
    autograd, which will differentiate it `again`                  any     any    _TRANSPARENT         T x n values
    reverse-mode autograd, or by none                              CPU     there  `_compiled.Kernels`  T values
    reverse-mode autograd, or by none                              CPU     not    _IN_PLACE            T values
    reverse-mode autograd, or by none                              other   any    _IN_PLACE            T values
    =============================================================  ======  =====  ===================  ===============

    Whatever the dtype, sums and products are of float64; n, the number of nodes, is 19 for float64 and 12 for less.

    Pooling is one autograd function, `_Average`, where one attention goes with each sequence and neither _TRANSPARENT
    nor autocast is asked for; else it is `sum_under` the coefficients.
    """
    if again or not is_eager(*tensors):
        return _TRANSPARENT
    return _compiled.kernels_for(tensors[-1]) or _IN_PLACE


def _coefficients(p: Tensor) -> Tensor:
    way = _way(p)
    if way is _TRANSPARENT:
        return way.coefficients(p)
    coefficients: Tensor = _Coefficients.apply(p, way)  # type: ignore[no-untyped-call]
    return coefficients


# Functions that keep nothing of size T x n, for what autograd alone sees.


class _Coefficients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, way: _Way | _compiled.Kernels) -> Tensor:
        ctx.save_for_backward(p)
        return cast(way.coefficients(p), p.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (p,) = ctx.saved_tensors
        return _gradient(p, g), None


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, p: Tensor, mask: Tensor | None, way: _Way | _compiled.Kernels) -> Tensor:
        weights = cast(way.coefficients(p), features.dtype)
        ctx.save_for_backward(features, p, weights, mask)
        return _row_times(weights, features)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        g = g.contiguous()  # that of a sum() is one number, expanded, which is slow to multiply with
        features, p, weights, mask = ctx.saved_tensors
        for_features, for_p, *_ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # then they must depend on p, and `weights` does not
            weights = _coefficients(p).to(features.dtype)
        return (
            _outer(weights, g, features) if for_features else None,
            _gradient(p, zero_padding(_row_times(g, features.transpose(-1, -2)), mask)) if for_p else None,
            None,
            None,
        )


def _gradient(p: Tensor, g: Tensor) -> Tensor:
    """dJ/dp, given g = dJ/dlambda."""
    return cast(_way(g, p, again=torch.is_grad_enabled()).gradient(p, g), p.dtype)


# Operators that can be compiled, mapped over and differentiated any number of times.


def _transparent_coefficients(p: Tensor) -> Tensor:
    return (p * _factors(p)).to(p.dtype)


def _transparent_gradient(p: Tensor, g: Tensor) -> Tensor:
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        weights = _transparent_coefficients(p)
    gradient: Tensor = torch.autograd.grad(weights, p, g.to(p.dtype), create_graph=again)[0]
    return gradient


def _factors(p: Tensor) -> Tensor:
    """The factors (..., T) in float64."""
    nodes, weights = _scaled_rule(p)
    pv = nodes.unsqueeze(-1) * p.unsqueeze(-2)
    # Differentiating torch.prod would search it for zeros on the host; in float64 the logarithms lose nothing.
    weights = weights * torch.log1p(-pv).sum(-1).exp()
    return _row_times(weights, (1 - pv).reciprocal())


def _row_times(row: Tensor, matrix: Tensor) -> Tensor:
    if matrix.ndim == 3 and row.ndim == 2:  # what matmul comes to after a while, and a short pooling notices the while
        return torch.bmm(row.unsqueeze(1), matrix).squeeze(1)
    return (row.unsqueeze(-2) @ matrix).squeeze(-2)


def _outer(column: Tensor, row: Tensor, like: Tensor) -> Tensor:
    """Column (..., T) times row (..., D) as torch's product of matrices gives it at half of the speed.

    Laid out as `like` (..., T, D) is: one that is a transposed view, as maps are, wants no gradient across its memory.
    """
    if like.stride(-2) < like.stride(-1):
        return _outer(row, column, like.transpose(-1, -2)).transpose(-1, -2)
    return column.unsqueeze(-1) * row.unsqueeze(-2)


# The same operators without a trace, in place or node by node.


def _in_place_coefficients(p: Tensor) -> Tensor:
    return p * sum(_row_times(weights, inverse) for inverse, weights, _ in _integrands(p))


def _in_place_gradient(p: Tensor, g: Tensor) -> Tensor:
    """Differentiate lambda_j = p_j sum_n W_n / a_jn with W_n = w_n prod_k a_kn and a_kn = 1 - p_k v_n.

    dJ/dp_j = g_j c_j - sum_n (W_n v_n / a_jn) (sum_i g_i p_i / a_in - g_j p_j / a_jn).
    """
    g = g.double()
    own = g * p
    gradient = torch.zeros_like(own)
    for inverse, weights, nodes in _integrands(p):
        total = (inverse @ own.unsqueeze(-1)).squeeze(-1)
        gradient.addcmul_(g, _row_times(weights, inverse))
        gradient -= _row_times(weights * nodes * total, inverse)
        gradient.addcmul_(own, _row_times(weights * nodes, inverse.square_()))
    return gradient


def _integrands(p: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """1 / a (..., n, T), W (..., n) and the nodes v (..., n), in float64: all nodes, or each in turn if p is long.

    In turn is slower where p is one sequence of some thousand, and keeps memory near the weighted sum's.
    """
    nodes, weights = _scaled_rule(p)
    parts = 1 if p.numel() < 2**14 and p.shape[-1] < 4000 else nodes.shape[-1]
    for v, w in zip(nodes.chunk(parts, -1), weights.chunk(parts, -1), strict=True):
        a = (v.unsqueeze(-1) * p.unsqueeze(-2)).neg_().add_(1)
        w = w * a.prod(-1)
        yield a.reciprocal_(), w, v


_TRANSPARENT = _Way(_transparent_coefficients, _transparent_gradient)
_IN_PLACE = _Way(_in_place_coefficients, _in_place_gradient)


def _scaled_rule(p: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights (..., n) on [0, V] with V = min(1, L / (sum p - 1)); a cut, not a function of p."""
    rule = _quadrature.rule_for(p.dtype)
    mass = p.detach().sum(-1, keepdim=True, dtype=torch.float64)
    upper = rule.decay / (mass - 1).clamp(min=rule.decay)
    nodes, weights = _constants(p.dtype, p.device)
    return upper * nodes, upper * weights


_on_device: dict[tuple[float, torch.device], Tensor] = {}


@constant_when_compiled
def _constants(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The rule's nodes and weights (2, n), copied to the device once: every copy makes the host wait.

    A compiled graph holds the kept tensor. What wraps or records the copy (a transform, a tracer, a dispatch mode)
    reads a kept one but keeps none: a process that never calls otherwise copies at every call.
    """
    rule = _quadrature.rule_for(dtype)
    key = rule.decay, device
    if key in _on_device and not dispatch_modes():
        return _on_device[key]
    with torch.inference_mode(False):
        copied = _copied(rule, device)
    if keeps_tensors_plain():
        _on_device[key] = copied
    return copied


def _copied(rule: _quadrature.Rule, device: torch.device) -> Tensor:
    return torch.tensor((rule.nodes, rule.weights), dtype=torch.float64, device=device)
