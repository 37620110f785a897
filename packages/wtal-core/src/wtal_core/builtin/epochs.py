"""The usual sampler: shuffled epochs."""

from __future__ import annotations

import numpy as np

from wtal_core.contracts import FloatArray, IntArray


class Epochs:
    """Every video once an epoch, in random order; a batch may reach into the next epoch."""

    def __call__(self, labels: FloatArray, batch_size: int, seed: int, iteration: int) -> IntArray:
        """Consecutive stretches of an endless row of shuffled epochs of the N videos that `labels` (N, C) counts."""
        videos = len(labels)
        positions = np.arange(iteration * batch_size, (iteration + 1) * batch_size)
        epochs, offsets = positions // videos, positions % videos
        orders = {epoch: np.random.default_rng([seed, epoch]).permutation(videos) for epoch in np.unique(epochs)}
        return np.array([orders[epoch][offset] for epoch, offset in zip(epochs, offsets, strict=True)], dtype=np.int64)
