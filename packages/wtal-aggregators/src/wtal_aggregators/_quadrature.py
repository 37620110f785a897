"""How many Gauss-Legendre nodes E[1 / (1 + Z)] needs, Z being a sum of independent Bernoulli variables."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Rule(NamedTuple):
    """A quadrature rule on [0, 1] and the decay L at which the integral may be cut off."""

    decay: float
    nodes: tuple[float, ...]
    weights: tuple[float, ...]


def error_bound(decay: float, count: int) -> float:
    r"""Bound the relative error of c_t with `count` Gauss-Legendre nodes on [0, V], where V = min(1, L / (S - 1)).

    L is the `decay`. Let S = sum_k p_k, S_t = S - p_t >= S - 1 and f(v) = prod_{k != t} (1 - p_k v), so that
    c_t = integral_0^1 f(v) dv.

    *Scale.* 1 / (1 + z) is convex, so c_t >= 1 / (1 + S_t) (Jensen).

    *Tail.* f(v) <= exp(-S_t v), so for V < 1 the part beyond V is at most exp(-S_t V) / S_t <= exp(-L) / S_t, which is
    exp(-L) (1 + 1 / L) of c_t because S_t >= S - 1 > L.

    *Nodes.* f is a polynomial, hence analytic in every Bernstein ellipse. With v = V sin(x / 2)^2 and
    x = theta + i sigma running over the ellipse of parameter rho = exp(sigma),

        |1 - p v| = |1 - pV/2 + (pV/2) cos x| <= 1 - pV/2 + (pV/2) cosh(sigma) = 1 + pV sinh(sigma/2)^2,

    so |f| <= M = exp(S_t V sinh(sigma/2)^2) <= exp((L + 1) sinh(sigma/2)^2), and n nodes err by at most
    (V/2) (64/15) M rho^(-2n) / (1 - rho^(-2)) (Trefethen, Approximation Theory and Approximation Practice, theorem
    19.3). Relative to c_t that is multiplied by 1 + S_t, and (1 + S_t) V <= L + 2. The bound holds for every sigma > 0;
    sinh(sigma) = 4n / (L + 1) makes the exponent smallest.

    Neither part depends on T: a sequence of any length needs the same few nodes.
    """
    tail = math.exp(-decay) * (1 + 1 / decay)
    sigma = math.asinh(4 * count / (decay + 1))
    exponent = (decay + 1) * math.sinh(sigma / 2) ** 2 - 2 * count * sigma
    return tail + (decay + 2) / 2 * 64 / 15 * math.exp(exponent) / (1 - math.exp(-2 * sigma))


def rule(tolerance: float) -> Rule:
    """The smallest rule whose `error_bound` is below `tolerance`, half of it granted to the tail."""
    decay = math.log(4 / tolerance)
    count = 1
    while error_bound(decay, count) > tolerance:
        count += 1
    return Rule(decay, *gauss_legendre(count))


def gauss_legendre(count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights on [0, 1], by Newton's method on the Legendre polynomial of degree `count`."""
    nodes, weights = [], []
    for index in range(count):
        x = math.cos(math.pi * (index + 0.75) / (count + 0.5))
        for _ in range(8):  # quadratic convergence from a guess good to 1 / count^2
            value, slope = _legendre(count, x)
            x -= value / slope
        _, slope = _legendre(count, x)
        nodes.append((1 - x) / 2)
        weights.append(1 / ((1 - x * x) * slope * slope))
    return tuple(nodes), tuple(weights)


def _legendre(degree: int, x: float) -> tuple[float, float]:
    """The Legendre polynomial and its derivative at |x| < 1."""
    previous, value = 1.0, x
    for k in range(2, degree + 1):
        previous, value = value, ((2 * k - 1) * x * value - (k - 1) * previous) / k
    return value, degree * (previous - x * value) / (1 - x * x)


_FOR_FLOAT64 = rule(1e-13)
_FOR_LESS = rule(3e-8)  # half a unit in float32's last place


def rule_for(dtype: torch.dtype) -> Rule:
    """The rule that gives weights of this dtype to rounding: 19 nodes for float64, 12 for less."""
    return _FOR_FLOAT64 if dtype == torch.float64 else _FOR_LESS
