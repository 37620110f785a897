"""The coefficients and their gradient on the CPU as two loops, which numba compiles where it is installed.

They keep no array of T x n, and the nodes are the innermost loop so that they fill vector registers.
"""

from __future__ import annotations

import functools
import math
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from wtal_aggregators._machine_code import MachineCode
from wtal_aggregators._quadrature import Rule, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Real = NDArray[np.floating[Any]]
    Loop = Callable[..., None]


def coefficients(p: Real, decay: float, nodes: Real, weights: Real, out: Real) -> None:
    """Write lambda into `out` (N, T) for p (N, T)."""
    n = len(nodes)
    v = nodes.copy()
    f = nodes.copy()
    for row in range(p.shape[0]):
        mass = 0.0
        for t in range(p.shape[1]):
            mass += p[row, t]
        upper = decay / max(mass - 1.0, decay)
        for k in range(n):
            v[k] = upper * nodes[k]
            f[k] = upper * weights[k]
        for t in range(p.shape[1]):
            for k in range(n):
                f[k] *= 1.0 - p[row, t] * v[k]
        for t in range(p.shape[1]):
            c = 0.0
            for k in range(n):
                c += f[k] / (1.0 - p[row, t] * v[k])
            out[row, t] = p[row, t] * c


def gradient(p: Real, g: Real, decay: float, nodes: Real, weights: Real, out: Real) -> None:
    """Write dJ/dp into `out` (N, T), given g = dJ/dlambda (N, T)."""
    n = len(nodes)
    v = nodes.copy()
    f = nodes.copy()
    total = nodes.copy()
    for row in range(p.shape[0]):
        mass = 0.0
        for t in range(p.shape[1]):
            mass += p[row, t]
        upper = decay / max(mass - 1.0, decay)
        for k in range(n):
            v[k] = upper * nodes[k]
            f[k] = upper * weights[k]
            total[k] = 0.0
        for t in range(p.shape[1]):
            for k in range(n):
                a = 1.0 - p[row, t] * v[k]
                f[k] *= a
                total[k] += g[row, t] * p[row, t] / a
        for t in range(p.shape[1]):
            own = g[row, t] * p[row, t]
            slope = 0.0
            for k in range(n):
                inverse = 1.0 / (1.0 - p[row, t] * v[k])
                slope += f[k] * inverse * (g[row, t] - v[k] * (total[k] - own * inverse))
            out[row, t] = slope


class Kernels:
    """The loops as machine code, from and to tensors (..., T) on the CPU."""

    def __init__(self, compiler: Callable[[Loop], Any]) -> None:
        self._coefficients = compiler(coefficients)
        self._gradient = compiler(gradient)

    def coefficients(self, p: Tensor) -> Tensor:
        """Lambda (..., T), float32 or float64, for p (..., T)."""
        rows = _rows(p, p.dtype)
        out = rows.copy()  # to be written over: the quickest way to such an array
        decay, nodes, weights = _arrays(rule_for(p.dtype))
        self._coefficients(rows, decay, nodes, weights, out)
        return _tensor(out, p.shape)

    def gradient(self, p: Tensor, g: Tensor) -> Tensor:
        """dJ/dp (..., T), float32 or float64, given g = dJ/dlambda (..., T)."""
        rows = _rows(p, p.dtype)
        out = rows.copy()
        decay, nodes, weights = _arrays(rule_for(p.dtype))
        self._gradient(rows, _rows(g, p.dtype), decay, nodes, weights, out)
        return _tensor(out, p.shape)


def kernels_for(p: Tensor) -> Kernels | None:
    """The compiled loops if p is on the CPU and numba is installed, else None."""
    return _kernels() if p.device.type == "cpu" else None


@functools.cache
def _kernels() -> Kernels | None:
    """Import numba, which takes half a second; the first calls ever also compile, seconds, into numba's cache."""
    if find_spec("numba") is None:
        return None
    try:
        import numba  # noqa: F401
    except ImportError as error:  # as where numpy is too new for it
        warnings.warn(f"MAA runs as torch operators, since numba cannot be imported: {error}", stacklevel=2)
        return None

    # The sum over nodes may be reordered, hence vectorised, and division by zero gives inf as it does in torch.
    return Kernels(functools.partial(MachineCode, error_model="numpy", fastmath={"reassoc", "contract"}, nogil=True))


def _precision(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32  # numpy has no bfloat16


def _rows(values: Tensor, dtype: torch.dtype) -> Real:
    """Values (..., T) as a contiguous array (N, T)."""
    array: Real = cast(values.detach(), _precision(dtype)).contiguous().numpy()
    return array if array.ndim == 2 else array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _tensor(rows: Real, shape: torch.Size) -> Tensor:
    tensor = torch.from_numpy(rows)
    return tensor if tensor.shape == shape else tensor.view(shape)  # a view takes longer than the loops may


def cast(values: Tensor, dtype: torch.dtype) -> Tensor:
    """`to`, which takes a microsecond even where it has nothing to do: a short pooling is made of such."""
    return values if values.dtype == dtype else values.to(dtype)


@functools.cache
def _arrays(rule: Rule) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np  # which numba brings

    return rule.decay, np.array(rule.nodes), np.array(rule.weights)
