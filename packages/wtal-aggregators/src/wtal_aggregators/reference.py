"""Algorithm 1 of MAAN (Yuan et al., ICLR 2019, appendix E), literally, to check the fast way against: O(T^2 D).

Needs numba, the extra `reference`. Every name is the paper's, m[i] being m_i^t and q[i] being q_i^t.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wtal_aggregators._arguments import check_attention, check_pooling
from wtal_aggregators._eager import transforms_active
from wtal_aggregators._machine_code import MachineCode
from wtal_aggregators.pooling import LinearAggregator, zero_padding

try:
    import numba  # noqa: F401
    import numpy as np  # which numba brings
except ImportError as error:
    raise ImportError("wtal_aggregators.reference needs numba: pip install 'wtal-aggregators[reference]'") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]


def marginalized_average_reference(features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
    """What `marginalized_average` computes, by the paper's recurrence, in float64 on the CPU.

    Args:
        features: (..., T, D), floating point, on the CPU. Padding may hold any finite value.
        attention: (..., T) in [0, 1], on the CPU. The leading dimensions broadcast.
        mask: (..., T) bool, True on real snippets; None if all are.

    Returns:
        (..., D) in the features' dtype.

    Raises:
        ValueError: If the shapes do not fit or the tensors are not on the CPU.
        TypeError: If features or attention are not floating point, or the mask is not bool.
        RuntimeError: In a backward pass with `create_graph=True`, or under a transform of `torch.func`.
    """
    features, mask = check_pooling(features, attention, mask)
    if transforms_active():
        raise RuntimeError("the reference takes no torch.func transform (vmap, grad, ...); marginalized_average does")
    for name, tensor in (("features are", features), ("attention is", attention)):
        if tensor.device.type != "cpu":
            raise ValueError(f"the reference computes on the CPU, but {name} on {tensor.device}")
    p = zero_padding(attention, mask)
    if mask is not None:  # the recurrence multiplies what it should not take by zero
        features = zero_padding(features, mask.unsqueeze(-1))
    leading = torch.broadcast_shapes(features.shape[:-2], p.shape[:-1])  # type: ignore[no-untyped-call]
    pooled: Tensor = _Reference.apply(features, p.expand(*leading, p.shape[-1]))  # type: ignore[no-untyped-call]
    return pooled


class MarginalizedAverageReference(LinearAggregator):
    """What `maa` computes, by the paper's own recurrence in O(T^2 D): slow, literal, in float64 on the CPU.

    Algorithm 1 of MAAN (Yuan et al., ICLR 2019), appendix E, with its reverse as the gradient
    (`marginalized_average_reference`). To check `maa` against, and for studies; it needs numba.
    """

    def coefficients(self, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights (..., T) of the snippets: what the recurrence makes of one-hot features, O(T^3)."""
        check_attention(attention, mask)
        return marginalized_average_reference(torch.eye(attention.shape[-1], dtype=attention.dtype), attention, mask)

    def forward(self, features: Tensor, attention: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool features (..., T, D) under attention (..., T) and mask (..., T) to (..., D)."""
        return marginalized_average_reference(features, attention, mask)


@MachineCode
def algorithm_1(x: Real, p: Real) -> Real:
    """Aggregate features x (T, D) under sampling probabilities p (T,)."""
    T, D = x.shape
    m = np.zeros((T + 1, D))
    q = np.zeros(T + 1)
    q[0] = 1.0
    for t in range(1, T + 1):
        x_t, p_t = x[t - 1], p[t - 1]
        for i in range(t, 0, -1):  # downwards, so that m[i - 1] and q[i - 1] are still those of t - 1
            b = (i - 1) / i  # b_{i-1}
            m[i] = p_t * (b * m[i - 1] + (1 - b) * q[i - 1] * x_t) + (1 - p_t) * m[i]
            q[i] = p_t * q[i - 1] + (1 - p_t) * q[i]
        q[0] = (1 - p_t) * q[0]  # equation 9 for i = 0, which the printed algorithm leaves out
    pooled: Real = m.sum(axis=0)
    return pooled


@MachineCode
def reverse_of_algorithm_1(x: Real, p: Real, g: Real) -> tuple[Real, Real]:
    """Carry g (D,), the gradient at the result, back through `algorithm_1` to x (T, D) and p (T,).

    All m_i^T receive the same g, so all m_i^t receive a multiple of it, dm[i] g, and m is only needed along g. The
    reverse recurrence is therefore one of scalars, and y_t = g . x_t stands for x_t in it.
    """
    T = len(p)
    y = x @ g
    m = np.zeros((T + 1, T + 1))  # m[t, i] is g . m_i^t
    q = np.zeros((T + 1, T + 1))
    q[0, 0] = 1.0
    for t in range(1, T + 1):
        q[t, 0] = (1 - p[t - 1]) * q[t - 1, 0]
        for i in range(1, t + 1):
            b = (i - 1) / i
            m[t, i] = (
                p[t - 1] * (b * m[t - 1, i - 1] + (1 - b) * q[t - 1, i - 1] * y[t - 1]) + (1 - p[t - 1]) * m[t - 1, i]
            )
            q[t, i] = p[t - 1] * q[t - 1, i - 1] + (1 - p[t - 1]) * q[t - 1, i]

    dm = np.ones(T + 1)
    dq = np.zeros(T + 1)
    dy = np.zeros(T)
    dp = np.zeros(T)
    for t in range(T, 0, -1):
        p_t, y_t = p[t - 1], y[t - 1]
        for i in range(t + 1):  # upwards, so that dm[i] and dq[i] become those of t - 1 once i has used them
            if i > 0:
                b = (i - 1) / i
                taken = b * m[t - 1, i - 1] + (1 - b) * q[t - 1, i - 1] * y_t
                dp[t - 1] += dm[i] * (taken - m[t - 1, i]) + dq[i] * (q[t - 1, i - 1] - q[t - 1, i])
                dy[t - 1] += dm[i] * p_t * (1 - b) * q[t - 1, i - 1]
                dq[i - 1] += p_t * (dq[i] + dm[i] * (1 - b) * y_t)
                dm[i - 1] += p_t * b * dm[i]
            else:
                dp[t - 1] -= dq[0] * q[t - 1, 0]
            dm[i] *= 1 - p_t
            dq[i] *= 1 - p_t
    return np.outer(dy, g), dp


class _Reference(torch.autograd.Function):
    """Features (..., T, D) whose leading dimensions broadcast to those of p (..., T); they are not copied for each."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, p: Tensor) -> Tensor:
        ctx.save_for_backward(features, p)
        x, rows = _arrays(features, p)
        pooled = np.zeros((*p.shape[:-1], features.shape[-1]))
        for index in np.ndindex(*p.shape[:-1]):
            pooled[index] = algorithm_1(x[index], rows[index])
        return torch.from_numpy(pooled).to(features.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            raise RuntimeError("the reference can be differentiated once only; marginalized_average can be twice")
        features, p = ctx.saved_tensors
        x, rows = _arrays(features, p)
        directions = g.double().contiguous().numpy()
        sums = torch.zeros(features.shape, dtype=torch.float64)
        dx, dp = _expanded(sums, p).numpy(), np.zeros(p.shape)  # dx repeats what sequences share, and so adds up
        for index in np.ndindex(*p.shape[:-1]):
            ours, dp[index] = reverse_of_algorithm_1(x[index], rows[index], directions[index])
            dx[index] += ours
        return sums.to(features.dtype), torch.from_numpy(dp).to(p.dtype)


def _arrays(features: Tensor, p: Tensor) -> tuple[Real, Real]:
    return _expanded(features.detach().double().contiguous(), p).numpy(), p.detach().double().contiguous().numpy()


def _expanded(features: Tensor, p: Tensor) -> Tensor:
    return features.expand(*p.shape[:-1], *features.shape[-2:])
