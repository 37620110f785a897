"""A clip: it chooses which snippets of a video one step sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class PlaceholderClass:
    """Snippets at equal distances, the first of them at random.

    Args:
        stride: from one snippet to the next, 1 or more.

    Raises:
        ValueError: stride is below 1.
    """

    def __init__(self, *, stride: int = 2) -> None:
        if stride < 1:
            raise ValueError(f"stride must be 1 or more, got {stride}")
        self.stride = stride
        #: Whether neighbours in the clip are neighbours in time, which a decoder with context needs.
        self.contiguous = stride == 1

    def __call__(self, length: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Rows (T,) of a video of `length` snippets, in order; a row of -1 would hide a snippet in its place."""
        first = generator.integers(min(self.stride, length))
        return np.arange(first, length, self.stride, dtype=np.int64)
