"""Clips: which snippets of a video one step sees. Each gives rows in order of time."""

from __future__ import annotations

import numpy as np

from wtal_core.contracts import IntArray


class Segments:
    """One random snippet from each of so many equal parts of the video (MAAN 3.1).

    Where the video is shorter than the number of parts, snippets repeat.

    Args:
        snippets: the number of parts, T.

    Raises:
        ValueError: snippets is below 1.
    """

    contiguous = False

    def __init__(self, *, snippets: int = 20) -> None:
        self.snippets = _positive(snippets)

    def __call__(self, length: int, generator: np.random.Generator) -> IntArray:
        """Rows (T,) of a video of `length` snippets."""
        position = (np.arange(self.snippets) + generator.random(self.snippets)) * (length / self.snippets)
        # Rounding can lift the last position to `length` itself.
        rows: IntArray = np.minimum(position.astype(np.int64), length - 1)
        return rows


class Uniform:
    """The middle snippet of each of so many equal parts of the video, in training and in testing alike (STAR 4.1).

    Args:
        snippets: the number of parts, T.

    Raises:
        ValueError: snippets is below 1.
    """

    contiguous = False

    def __init__(self, *, snippets: int = 400) -> None:
        self.snippets = _positive(snippets)

    def __call__(self, length: int, generator: np.random.Generator) -> IntArray:  # noqa: ARG002
        """Rows (T,) of a video of `length` snippets; nothing is drawn."""
        rows: IntArray = ((2 * np.arange(self.snippets) + 1) * length) // (2 * self.snippets)
        return rows


class Crop:
    """A random stretch of so many snippets, or the whole video where it is no longer.

    Args:
        snippets: the length of the stretch.

    Raises:
        ValueError: snippets is below 1.
    """

    contiguous = True

    def __init__(self, *, snippets: int = 750) -> None:
        self.snippets = _positive(snippets)

    def __call__(self, length: int, generator: np.random.Generator) -> IntArray:
        """Neighbouring rows of a video of `length` snippets."""
        first = int(generator.integers(max(length - self.snippets, 0) + 1))
        return np.arange(first, min(first + self.snippets, length))


class Whole:
    """Every snippet of the video."""

    contiguous = True

    def __call__(self, length: int, generator: np.random.Generator) -> IntArray:  # noqa: ARG002
        """All rows of a video of `length` snippets."""
        return np.arange(length)


def _positive(snippets: int) -> int:
    if snippets < 1:
        raise ValueError(f"snippets must be 1 or more, got {snippets}")
    return snippets
