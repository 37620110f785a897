"""Slow, obvious twins of what the package computes."""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def brute_force_coefficients(p: Sequence[float]) -> list[Fraction]:
    """MAAN equation 2 for scalar weights: enumerate all 2^T subsets, in exact arithmetic."""
    probability = [Fraction(x) for x in p]
    coefficients = [Fraction(0)] * len(probability)
    for z in itertools.product((0, 1), repeat=len(probability)):
        if any(z):
            weight = math.prod((q if chosen else 1 - q) for q, chosen in zip(probability, z, strict=True))
            for t, chosen in enumerate(z):
                coefficients[t] += weight * Fraction(chosen, sum(z))
    return coefficients


def leave_one_out_coefficients(p: Sequence[float]) -> list[float]:
    """p_t E[1 / (1 + Z_t)] from the distribution of Z_t, the number of others chosen: O(T^2) each, nothing cancels."""
    coefficients = []
    for t, own in enumerate(p):
        distribution = [1.0]
        for k, q in enumerate(p):
            if k != t:
                distribution = [
                    a * (1 - q) + b * q for a, b in zip([*distribution, 0.0], [0.0, *distribution], strict=True)
                ]
        coefficients.append(own * math.fsum(x / (1 + z) for z, x in enumerate(distribution)))
    return coefficients


def class_softmax(x: list, a: list, exponent: list[float], real: list[bool]) -> list[list[float]]:
    """Features x (T, D) of one video under attention a (C, T): (C, D)."""
    pooled = []
    for row, b in zip(a, exponent, strict=True):
        weights = [math.exp(b * value) if seen else 0.0 for value, seen in zip(row, real, strict=True)]
        total = sum(weights) or 1.0
        pooled.append([sum(w * z[d] for w, z in zip(weights, x, strict=True)) / total for d in range(len(x[0]))])
    return pooled


@functools.cache
def exact_factor(counts: tuple[tuple[float, int], ...], own: float) -> float:
    """c_t of a snippet with p = `own` among `count` snippets of each p: the integral to 30 digits, however many."""
    import mpmath

    with mpmath.workdps(30):
        others = {mpmath.mpf(p): count - (p == own) for p, count in counts}
        scale = 1 / (1 + sum(p * count for p, count in others.items()))
        pieces = [0, *(x * scale for x in (1, 5, 20, 50, 100) if x * scale < 1), 1]
        return float(mpmath.quad(lambda v: mpmath.fprod((1 - p * v) ** n for p, n in others.items()), pieces))
