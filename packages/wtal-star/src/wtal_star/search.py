"""Beam search for the likeliest label sequence in which no class comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from wtal_star.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

Step: TypeAlias = "Callable[[int, tuple[Tensor, ...], Tensor], tuple[Tensor, tuple[Tensor, ...]]]"


def beam_search(step: Step, state: tuple[Tensor, ...], num_classes: int, max_steps: int, width: int = 1) -> Sequences:
    """Search symbol sequences that end with the end symbol C, or after `max_steps` symbols.

    Width 1 is greedy decoding. Equal scores go to the earlier beam, then to the lower symbol.

    Args:
        step: `step(index, state, previous)` maps the state of R rows and their previous symbols (R,) int64, C at the
            start, to log-probabilities (R, C + 1) and the next state.
        state: Tensors (B, ...) at the start, one row a video.
        num_classes: C.
        max_steps: The most symbols, at least 1.
        width: Beams a video, W. Steps get B * W rows, a video's beams beside each other.
    """
    num_videos, end = len(state[0]), num_classes
    device = state[0].device
    first_row = torch.arange(num_videos, device=device)[:, None] * width
    state = tuple(tensor.repeat_interleave(width, 0) for tensor in state)
    score = torch.full((num_videos, width), -torch.inf, device=device)
    score[:, 0] = 0
    emitted = torch.zeros((num_videos * width, num_classes + 1), dtype=torch.bool, device=device)
    symbols = torch.empty((num_videos * width, 0), dtype=torch.int64, device=device)
    previous = torch.full((num_videos * width,), end, device=device)
    finished = torch.zeros(num_videos * width, dtype=torch.bool, device=device)
    only_end = torch.full((num_classes + 1,), -torch.inf, device=device)
    only_end[end] = 0
    for index in range(max_steps):
        log_probabilities, state = step(index, state, previous)
        log_probabilities = log_probabilities.masked_fill(emitted, -torch.inf)
        log_probabilities = torch.where(finished[:, None], only_end, log_probabilities)
        total = (score.reshape(-1, 1) + log_probabilities).reshape(num_videos, width * (num_classes + 1))
        score, candidate = total.sort(dim=1, descending=True, stable=True)
        score, candidate = score[:, :width], candidate[:, :width]
        rows = (first_row + candidate // (num_classes + 1)).flatten()
        previous = (candidate % (num_classes + 1)).flatten()
        state = tuple(tensor[rows] for tensor in state)
        symbols = torch.cat([symbols[rows], previous[:, None]], 1)
        finished = previous == end
        emitted = emitted[rows].scatter(1, previous[:, None], ~finished[:, None])
        # Scores only fall: a closed sequence in front stays in front.
        if bool(finished.reshape(num_videos, width)[:, 0].all()):
            break
    symbols = symbols[first_row[:, 0]]
    closed = symbols == end
    steps = closed.cumsum(1) - closed.long() == 0
    length = int(steps.sum(1).max()) if num_videos else 1
    return Sequences(symbols[:, :length], steps[:, :length])
