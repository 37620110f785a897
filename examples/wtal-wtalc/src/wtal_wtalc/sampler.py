"""Batches in which some videos share a class, for the co-activity loss to compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ClassPairs:
    """Pairs of videos of one class, drawn at random; the rest of the batch is drawn from all videos.

    A batch that is too small for all pairs has as many as fit. Only a class that several videos have is drawn.

    Args:
        pairs: how many, 0 or more; the paper's 3, in a batch of 10.
    """

    def __init__(self, *, pairs: int = 3) -> None:
        if pairs < 0:
            raise ValueError(f"pairs must be 0 or more, got {pairs}")
        self.pairs = pairs

    def __call__(self, labels: NDArray[np.float64], batch_size: int, seed: int, iteration: int) -> NDArray[np.int64]:
        """Indices (batch_size,) of the videos whose labels (N, C) are given; the pairs come first.

        Raises:
            ValueError: no class has two videos.
        """
        generator = np.random.default_rng([seed, iteration])
        videos, pairs = len(labels), min(self.pairs, batch_size // 2)
        shared = np.flatnonzero((labels > 0).sum(0) > 1)
        if pairs and not shared.size:
            raise ValueError("no class has two training videos, so there are no pairs; set pairs = 0")
        of = [np.flatnonzero(labels[:, c] > 0) for c in (generator.choice(shared, pairs) if pairs else ())]
        chosen = [generator.choice(members, 2, replace=False) for members in of]
        rest = batch_size - 2 * pairs
        return np.concatenate([*chosen, generator.choice(videos, rest, replace=rest > videos)]).astype(np.int64)
