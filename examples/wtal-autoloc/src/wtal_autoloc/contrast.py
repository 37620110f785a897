"""The outer-inner-contrastive loss of boxes on a heat map, and which of the boxes learn from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

INFLATION = 0.25  # of the outer box on each side, in widths of the inner one; it is one snippet at least
HEAT = 0.1  # boxes come from places that are hotter than this,
LOSS = 0.7  # with a loss below this,
OVERLAP = 0.4  # and overlap no better one of their class by a tIoU above this


def integral(heat: Tensor, place: Tensor) -> Tensor:
    """The integral of heat (T,), constant within a snippet and none outside, up to places of any shape."""
    within = place.clamp(0, len(heat))
    snippet = within.detach().long().clamp(max=len(heat) - 1)
    return F.pad(heat.cumsum(0), (1, 0))[snippet] + (within - snippet) * heat[snippet]


def contrast(heat: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """(outer - inner + 1) / 2, of the mean heat around each box and in it: in [0, 1], and 1 of an empty box.

    Boxes of any shape lie in [0, T], on heat (T,) in [0, 1]. The outer box ends one snippet outside of the video at
    most, where there is no heat.
    """
    empty = end <= start
    width = (end - start).masked_fill(empty, 1)
    margin = (width * INFLATION).clamp(min=1)
    left, right = (start - margin).clamp(min=-1), (end + margin).clamp(max=len(heat) + 1)
    inside = integral(heat, end) - integral(heat, start)
    around = integral(heat, right) - integral(heat, left) - inside
    return ((around / (right - left - width) - inside / width + 1) / 2).masked_fill(empty, 1)


def kept(heat: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Start, end and loss (N,) of the boxes of a class from which training learns and which testing gives, best first.

    Of boxes (2, A, T), by anchor and snippet, on heat (T,). Cut to the video they keep the gradient of the whole, as
    the authors' do.
    """
    start, end = boxes.detach().clamp(0, len(heat)) + (boxes - boxes.detach())
    loss = contrast(heat, start, end)
    lowest, anchor = loss.min(0)  # of equal ones the first anchor
    place = ((heat > HEAT) & (lowest < LOSS)).nonzero().squeeze(1)
    start, end, loss = (part[anchor[place], place] for part in (start, end, loss))
    best = torch.from_numpy(suppressed(*(part.detach().cpu().numpy() for part in (start, end, loss)))).to(heat.device)
    return start[best], end[best], loss[best]


def suppressed(start: np.ndarray, end: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Greedy non-maximum suppression of boxes (N,) by their loss: indices of those that stay, the best first."""
    left, best = np.argsort(loss, kind="stable"), []
    while left.size:
        first, left = left[0], left[1:]
        best.append(first)
        common = np.minimum(end[first], end[left]) - np.maximum(start[first], start[left])
        left = left[common <= OVERLAP * (end[first] - start[first] + end[left] - start[left] - common)]
    return np.array(best, np.int64)
