"""The poolings that marginalized averaging is compared with: MAAN (Yuan et al., ICLR 2019), sections 2.1 and 3.2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wtal_aggregators._arguments import check_attention, check_features


def weighted_sum(features: Tensor, coefficients: Tensor) -> Tensor:
    """Sum features (..., T, D) under coefficients (..., T) to (..., D), in the features' dtype (MAAN equation 1).

    The leading dimensions broadcast.

    Raises:
        ValueError: If the shapes do not fit.
        TypeError: If the features are not floating point.
    """
    check_features(features, coefficients)
    weights = coefficients.to(features.dtype)
    if features.ndim > 2 and features.shape[-3] == 1 and weights.ndim > 1:
        # Several attentions over one sequence are one matrix product; broadcasting would copy the features for each.
        return weights @ features.squeeze(-3)
    return (weights.unsqueeze(-2) @ features).squeeze(-2)


def attention_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """The attention itself, zero on padding: STPN's weighted sum (MAAN section 3.2, 1)."""
    check_attention(attention, mask)
    return attention if mask is None else torch.where(mask, attention, attention.new_zeros(()))


def dropout_coefficients(attention: Tensor, mask: Tensor | None = None, training: bool = True) -> Tensor:
    """r_t a_t with r_t ~ Bernoulli(0.5), or the expectation a_t / 2 outside training (MAAN section 3.2, 2).

    Unlike `torch.nn.functional.dropout`, what is kept is not scaled up. Draws from torch's global generator.
    """
    a = attention_coefficients(attention, mask)
    return a * torch.empty_like(a).bernoulli_(0.5) if training else a * 0.5


def norm_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """a_t / sum a, summed in at least float32 (MAAN section 3.2, 3). Zero where the sum is."""
    a = attention_coefficients(attention, mask)
    total = a.sum(-1, keepdim=True, dtype=_at_least_float32(a.dtype))
    return (a / torch.where(total > 0, total, 1)).to(a.dtype)


def softmax_norm_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """exp(a_t) / sum exp(a): a softmax over attention that is already in [0, 1] (MAAN section 3.2, 4)."""
    a = attention_coefficients(attention, mask)
    if mask is None:
        return a.softmax(-1)
    # Where no snippet is real, softmax over -inf is 0 / 0: let it see zeros, then zero the row.
    logits = torch.where(mask | ~mask.any(-1, keepdim=True), a, -math.inf)
    return torch.where(mask, logits.softmax(-1), 0)


def mean_coefficients(attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """One over the number of real snippets, whatever the attention."""
    check_attention(attention, mask)
    if mask is None:
        return torch.full_like(attention, 1 / max(attention.shape[-1], 1))
    count = mask.sum(-1, keepdim=True).clamp(min=1)
    return (mask / count).to(attention.dtype).expand_as(attention)


def max_pool(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """The largest value of each feature over the real snippets of (..., T, D): (..., D), zero where none is real.

    The leading dimensions broadcast. Equal values share the gradient.
    """
    if features.shape[-2] == 0:
        return features.sum(-2)
    if mask is None:
        return features.amax(-2)
    largest = torch.where(mask.unsqueeze(-1), features, -math.inf).amax(-2)
    return torch.where(mask.any(-1, keepdim=True), largest, 0)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class LinearAggregator(nn.Module):
    """A pooling that is a weighted sum of the snippets. Subclasses say under which coefficients."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map attention (..., T) and mask (..., T) to the snippets' weights (..., T)."""
        raise NotImplementedError

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., T, D) under attention (..., T) and mask (..., T) to (..., D)."""
        check_features(features, attention)
        return weighted_sum(features, self.coefficients(attention, mask))


class WeightedSum(LinearAggregator):
    """STPN's aggregation: the attention is the weight (`attention_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `attention_coefficients`."""
        return attention_coefficients(attention, mask)


class Dropout(LinearAggregator):
    """The weighted sum of a random half of the snippets (`dropout_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `dropout_coefficients`."""
        return dropout_coefficients(attention, mask, self.training)


class Norm(LinearAggregator):
    """The weighted average (`norm_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `norm_coefficients`."""
        return norm_coefficients(attention, mask)


class SoftmaxNorm(LinearAggregator):
    """The average weighted by exp(attention) (`softmax_norm_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `softmax_norm_coefficients`."""
        return softmax_norm_coefficients(attention, mask)


class Mean(LinearAggregator):
    """The plain average, whatever the attention (`mean_coefficients`)."""

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `mean_coefficients`."""
        return mean_coefficients(attention, mask)


class Max(nn.Module):
    """The largest value of each feature, whatever the attention (`max_pool`)."""

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., T, D) under mask (..., T) to (..., D); attention (..., T) is only checked."""
        check_features(features, attention)
        check_attention(attention, mask)
        pooled = max_pool(features, mask)
        return pooled.expand(torch.broadcast_shapes(pooled.shape, (*attention.shape[:-1], 1)))  # type: ignore[no-untyped-call]
