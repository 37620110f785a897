"""Random hiding of segments in training, as a clip.

Singh and Lee, "Hide-and-Seek: Forcing a Network to be Meticulous for Weakly-supervised Object and Action Localization",
ICCV 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def hide(rows: IntArray, segment: int, probability: float, generator: np.random.Generator) -> IntArray:
    """The rows (T,) of int64 with -1 in place of those that are hidden, each run of `segment` rows as a whole.

    A clip that would lose all of its rows loses none.

    Args:
        rows: which snippets of a video one step would see.
        segment: rows that are hidden together; the last run may be shorter.
        probability: that a run is hidden.
        generator: where chance comes from.
    """
    runs = generator.random(-(-len(rows) // segment)) < probability
    hidden = np.repeat(runs, segment)[: len(rows)]
    return rows if hidden.all() else np.where(hidden, np.int64(-1), rows)


class HideAndSeek:
    """Snippets from the whole of a video, of which random runs are hidden (the paper's section 3.3).

    The paper samples frames evenly from the whole video, divides them into runs of a fixed length, and hides each run.

    Args:
        segment: rows that are hidden together.
        probability: that a run is hidden; the paper hides half.
        snippets: so many rows, one random snippet from each of as many equal parts of the video; without it every
            snippet of the video.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(self, *, segment: int = 2, probability: float = 0.5, snippets: int | None = None) -> None:
        if segment < 1:
            raise ValueError(f"segment must be 1 or more, got {segment}")
        if not 0 <= probability < 1:
            raise ValueError(f"probability must be in [0, 1), got {probability}")
        if snippets is not None and snippets < 1:
            raise ValueError(f"snippets must be 1 or more, got {snippets}")
        self.segment = segment
        self.probability = probability
        self.snippets = snippets

    @property
    def contiguous(self) -> bool:
        """Whether neighbours in the clip are neighbours in time, for a decoder with context."""
        return self.snippets is None

    def __call__(self, length: int, generator: np.random.Generator) -> IntArray:
        """Rows (T,) of a video of `length` snippets, in order, -1 where one is hidden."""
        return hide(self._rows(length, generator), self.segment, self.probability, generator)

    def _rows(self, length: int, generator: np.random.Generator) -> IntArray:
        if self.snippets is None:
            return np.arange(length)
        position = (np.arange(self.snippets) + generator.random(self.snippets)) * (length / self.snippets)
        rows: IntArray = np.minimum(position.astype(np.int64), length - 1)  # rounding may reach `length` itself
        return rows
