"""The label sequences that STAR learns: a video's classes in a defined order, closed by the end symbol C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor

LabelOrder = Literal["class", "count"]


class Targets(Protocol):
    """Video-level supervision of a batch."""

    @property
    def labels(self) -> Tensor:
        """(B, C), positive where a class is present."""

    @property
    def counts(self) -> Tensor | None:
        """(B, C), instances of each class."""


class VideoError(ValueError):
    """One video of a batch has targets that cannot be learnt from.

    Attributes:
        position: its row in the batch.
        reason: the message without the row, for who knows the video's name.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"video {position} of the batch {reason}")
        self.position = position
        self.reason = reason


class Sequences(NamedTuple):
    """Symbols of a batch, one a step: class indices, or C, the end symbol."""

    symbols: Tensor  # (B, S) int64, C after a video's last step as well
    steps: Tensor  # (B, S) bool, True on a video's steps, the closing one included


def label_sequences(targets: Targets, order: LabelOrder = "class", max_steps: int = 10) -> Sequences:
    """Line up each video's classes for teacher forcing.

    Args:
        targets: Labels (B, C) and, for `order="count"`, counts (B, C).
        order: By ascending class index, or by descending count, ties by class index.
        max_steps: The most steps. A video with as many labels has no room for the end symbol, and learns none.

    Raises:
        VideoError: If a video has more labels than `max_steps`, or a count that is not positive for a class it has.
        ValueError: If the order needs counts and there are none.
    """
    present = targets.labels > 0
    counts = targets.counts
    if counts is not None:
        for video, label in (present & ~(counts > 0)).nonzero().tolist():
            raise VideoError(
                video,
                f"has class {label}, but its count is {counts[video, label]:g}: give at least 1, or drop the label",
            )
    num_labels = present.sum(1)
    if len(num_labels) and num_labels.max() > max_steps:
        video = int(num_labels.argmax())
        n = int(num_labels[video])
        raise VideoError(
            video,
            f"has {n} labels, and max_steps is {max_steps}: raise it to {n + 1}, "
            "a step for each label and one for the end symbol",
        )
    key = present.long()
    if order == "count":
        if counts is None:
            raise ValueError(
                "label_order 'count' needs counts, and the targets have none: use 'class', or give counts "
                "(in an experiment of wtal, data.counts = true gives them)"
            )
        key = torch.where(present, counts, 0)
    end = present.shape[1]
    length = min(max_steps, int(num_labels.max()) + 1) if len(num_labels) else 1
    classes = torch.nn.functional.pad(key.argsort(dim=1, descending=True, stable=True), (0, 1), value=end)[:, :length]
    step = torch.arange(length, device=present.device)
    return Sequences(torch.where(step < num_labels[:, None], classes, end), step <= num_labels[:, None])
