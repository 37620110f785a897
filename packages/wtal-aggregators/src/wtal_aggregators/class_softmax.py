"""A softmax pooling that learns, for each class, how much it prefers the most attended snippets."""

from __future__ import annotations

import torch
from torch import Tensor

from wtal_aggregators._arguments import check_attention, check_floating
from wtal_aggregators.pooling import LinearAggregator, softmax_over_real, weighted_sum, zero_padding


def class_softmax_coefficients(attention: Tensor, exponent: Tensor, mask: Tensor | None = None) -> Tensor:
    """exp(b_c a_ct) / sum_t exp(b_c a_ct) over the real snippets: a softmax for each class with its own exponent.

    The auto-pool of McFee, Salamon and Bello, IEEE/ACM TASLP 2018: b = 0 is the mean, b = 1
    `softmax_norm_coefficients`, and large b the most attended snippet.

    Args:
        attention: (B, T), the same for all classes, or (B, C, T); floating point. Padding may hold anything.
        exponent: (C,), floating point: b.
        mask: (B, T) or (B, C, T) bool, True on real snippets; None if all are.

    Returns:
        (B, C, T) in the attention's dtype, under autocast in float32. Zero on padding.

    Raises:
        ValueError: If the shapes do not fit.
        TypeError: If attention or exponent are not floating point, or the mask is not bool.
    """
    check_floating("attention", attention)
    check_floating("exponent", exponent)
    C = len(exponent) if exponent.ndim == 1 else -1
    if C < 0 or attention.ndim not in (2, 3) or (attention.ndim == 3 and attention.shape[1] != C):
        raise ValueError(
            f"attention {tuple(attention.shape)} and exponent {tuple(exponent.shape)} do not fit: "
            "expected attention (B, T) or (B, C, T) and exponent (C,)"
        )
    a = attention.unsqueeze(-2) if attention.ndim == 2 else attention
    mask = check_attention(a, mask)
    return softmax_over_real(exponent.to(a.dtype).unsqueeze(-1) * zero_padding(a, mask), mask)


class ClassSoftmax(LinearAggregator):
    """For each class an average of the snippets, weighted by a softmax of their attention with a learned exponent.

    sum_t exp(b_c a_ct) x_t / sum_t exp(b_c a_ct), where b (C,) begins at 1, as `softmax-norm` (McFee et al., 2018;
    `class_softmax_coefficients`). It pools one feature for each class, (B, C, D), whether the attention is one for each
    class or one for all.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.exponent = torch.nn.Parameter(torch.ones(num_classes))

    def extra_repr(self) -> str:
        """Show the number of classes."""
        return f"num_classes={len(self.exponent)}"

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `class_softmax_coefficients`."""
        return class_softmax_coefficients(attention, self.exponent, mask)

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (B, T, D) under attention, (B, T) or (B, C, T), and mask (B, T) to (B, C, D)."""
        return weighted_sum(features, self.coefficients(attention, mask))
