"""The poolings that marginalized averaging is compared with: MAAN (Yuan et al., ICLR 2019), sections 2.1 and 3.2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wtal_aggregators._arguments import (
    check_attention,
    check_broadcast,
    check_fit,
    check_floating,
    check_length,
    check_mask,
    check_pooling,
)


def weighted_sum(features: Tensor, coefficients: Tensor) -> Tensor:
    """Sum features (..., T, D) under coefficients (..., T) to (..., D), in the features' dtype (MAAN equation 1).

    The leading dimensions broadcast. Coefficients with as many dimensions as the features, (..., S, T), are S sums of
    each sequence, (..., S, D): one matrix product. The coefficients are rounded to the features' dtype first.

    Raises:
        ValueError: If the shapes do not fit.
        TypeError: If the features or the coefficients are not floating point.
    """
    check_floating("features", features)
    check_floating("coefficients", coefficients)
    return sum_under(check_fit(features, "coefficients", coefficients), coefficients)


def sum_under(features: Tensor, coefficients: Tensor) -> Tensor:
    """`weighted_sum` of what `check_fit` and `check_pooling` have aligned."""
    weights = coefficients.to(features.dtype)
    if features.ndim > 2 and features.shape[-3] == 1 and weights.ndim > 1:
        # Several attentions over one sequence are one matrix product; broadcasting would copy the features for each.
        return weights @ features.squeeze(-3)
    return (weights.unsqueeze(-2) @ features).squeeze(-2)


def zero_padding(values: Tensor, mask: Tensor | None) -> Tensor:
    """The values (..., T), zero where the mask (..., T) is False; so is the gradient, even one that is not finite.

    A gradient may be: what arrives at the coefficient of a snippet is a sum over its features, which overflows where
    padding is huge.
    """
    return values if mask is None else torch.where(mask, values, values.new_zeros(()))


def attention_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """The attention itself, zero on padding: STPN's weighted sum (MAAN section 3.2, 1)."""
    return zero_padding(attention, check_attention(attention, mask))


def dropout_coefficients(attention: Tensor, mask: Tensor | None = None, training: bool = True) -> Tensor:
    """r_t a_t with r_t ~ Bernoulli(0.5), or the expectation a_t / 2 outside training (MAAN section 3.2, 2).

    Unlike `torch.nn.functional.dropout`, what is kept is not scaled up. Draws from torch's global generator.
    """
    a = attention_coefficients(attention, mask)
    return a * torch.empty_like(a).bernoulli_(0.5) if training else a * 0.5


def norm_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """a_t / sum a, in at least float32 (MAAN section 3.2, 3).

    Zero where all attention is. A NaN makes its own row NaN, and attention below zero is divided by its sum as well.
    """
    mask = check_attention(attention, mask)
    # Wide until the end: rounded to float16, the parts of a gradient of a tiny sum are inf - inf.
    a = zero_padding(attention, mask).to(_at_least_float32(attention.dtype))
    total = a.sum(-1, keepdim=True)
    return zero_padding((a / torch.where(total == 0, 1, total)).to(attention.dtype), mask)


def softmax_norm_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """exp(a_t) / sum exp(a): a softmax over attention that is already in [0, 1] (MAAN section 3.2, 4)."""
    mask = check_attention(attention, mask)
    return softmax_over_real(zero_padding(attention, mask), mask)


def softmax_over_real(values: Tensor, mask: Tensor | None) -> Tensor:
    """A softmax of the values (..., T) where the mask (..., T) is True; zero elsewhere, and in rows without any."""
    if mask is None:
        return values.softmax(-1)
    # Where no snippet is real, softmax over -inf is 0 / 0: let it see zeros, then zero the row.
    logits = torch.where(mask | ~mask.any(-1, keepdim=True), values, -math.inf)
    return zero_padding(logits.softmax(-1), mask)


def mean_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """One over the number of real snippets, whatever the attention."""
    check_floating("attention", attention)
    return norm_coefficients(torch.ones_like(attention), mask)


def max_pool(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """The largest value of each feature over the real snippets of (..., T, D): (..., D), zero where none is real.

    The leading dimensions broadcast. Equal values share the gradient.

    Raises:
        ValueError: If the shapes do not fit.
        TypeError: If the features are not floating point, or the mask is not bool.
    """
    check_floating("features", features)
    if features.ndim < 2:
        raise ValueError(f"features must have at least two dimensions, (..., T, D), not {tuple(features.shape)}")
    if mask is not None:
        check_mask(mask)
        check_length(features, "mask", mask)
        check_broadcast("features", features, features.shape[:-2], "mask", mask, mask.shape[:-1])
    return largest_of(features, mask)


def largest_of(features: Tensor, mask: Tensor | None) -> Tensor:
    """`max_pool` of what `check_pooling` has aligned."""
    if mask is not None:
        features = torch.where(mask.unsqueeze(-1), features, -math.inf)
    if features.shape[-2] == 0:
        return features.sum(-2)
    largest = features.amax(-2)
    return largest if mask is None else torch.where(mask.any(-1, keepdim=True), largest, 0)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class LinearAggregator(nn.Module):
    """A pooling that is a weighted sum of the snippets. Subclasses say under which coefficients."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map attention, (..., T) or (..., S, T), and mask (..., T) to the snippets' weights, like the attention."""
        raise NotImplementedError

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., T, D) under attention (..., T) to (..., D) or (..., S, T) to (..., S, D)."""
        features, mask = check_pooling(features, attention, mask)
        return sum_under(features, self.coefficients(attention, mask))


class WeightedSum(LinearAggregator):
    """The sum of the snippets, weighted by their attention: sum_t a_t x_t.

    The aggregation of STPN (Nguyen et al., CVPR 2018); MAAN (Yuan et al., ICLR 2019), equation 1. It grows with the
    number of snippets (`attention_coefficients`).
    """

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `attention_coefficients`."""
        return attention_coefficients(attention, mask)


class Dropout(LinearAggregator):
    """The weighted sum of a random half of the snippets: sum_t r_t a_t x_t, r_t ~ Bernoulli(0.5).

    Outside training its expectation, sum_t a_t x_t / 2. MAAN (Yuan et al., ICLR 2019), section 3.2, baseline 2
    (`dropout_coefficients`).
    """

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `dropout_coefficients`."""
        return dropout_coefficients(attention, mask, self.training)


class Norm(LinearAggregator):
    """The average of the snippets, weighted by their attention: sum_t a_t x_t / sum_t a_t.

    MAAN (Yuan et al., ICLR 2019), section 3.2, baseline 3. Zero where all attention is (`norm_coefficients`).
    """

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `norm_coefficients`."""
        return norm_coefficients(attention, mask)


class SoftmaxNorm(LinearAggregator):
    """The average of the snippets, weighted by a softmax of their attention: sum_t exp(a_t) x_t / sum_t exp(a_t).

    MAAN (Yuan et al., ICLR 2019), section 3.2, baseline 4 (`softmax_norm_coefficients`).
    """

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `softmax_norm_coefficients`."""
        return softmax_norm_coefficients(attention, mask)


class Mean(LinearAggregator):
    """The plain average of the real snippets, whatever the attention: sum_t x_t / T (`mean_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `mean_coefficients`."""
        return mean_coefficients(attention, mask)


class Max(nn.Module):
    """The largest value of each feature over the real snippets, whatever the attention: max_t x_t (`max_pool`)."""

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., T, D) under mask (..., T) to (..., D), or (..., S, D) for attention (..., S, T)."""
        features, mask = check_pooling(features, attention, mask)
        pooled = largest_of(features, mask)
        return pooled.expand(torch.broadcast_shapes(pooled.shape, (*attention.shape[:-1], 1)))  # type: ignore[no-untyped-call]
