"""A sampler: it chooses the videos of an iteration. N training videos, C classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class PlaceholderClass:
    """Balanced: the videos of a rare class come as often as those of a frequent one.

    Args:
        balance: in [0, 1]: 0 draws every video alike, 1 every class.

    Raises:
        ValueError: balance is out of its range.
    """

    def __init__(self, *, balance: float = 1.0) -> None:
        if not 0 <= balance <= 1:
            raise ValueError(f"balance must be in [0, 1], got {balance}")
        self.balance = balance

    def __call__(self, labels: NDArray[np.float64], batch_size: int, seed: int, iteration: int) -> NDArray[np.int64]:
        """Draw the indices (batch_size,) of an iteration's videos, whose multi-hot labels are (N, C).

        The generator is made from seed and iteration, so that a resumed run draws what an uninterrupted one would.
        """
        rarity = 1 / np.maximum(labels.sum(0), 1)
        weights = (labels * rarity).max(1)  # a video of several classes counts for its rarest
        weights = np.where(weights > 0, weights, 1 / len(labels)) ** self.balance
        generator = np.random.default_rng([seed, iteration])
        return generator.choice(len(labels), batch_size, p=weights / weights.sum()).astype(np.int64)
