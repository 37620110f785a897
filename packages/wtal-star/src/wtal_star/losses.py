"""STAR's losses, equations (15)-(18), and that of the original coverage, as means over the videos of a batch.

Where a function takes `snippets`, the paper's sum over snippets is divided so that a weight means the same at any
length; without it the paper's form stands. B videos, S steps, T snippets, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def classification_loss(log_probabilities: Tensor, symbols: Tensor, steps: Tensor) -> Tensor:
    """Cross-entropy of the symbols, summed over steps (16).

    Args:
        log_probabilities: (B, S, C + 1), the end symbol last.
        symbols: True symbols (B, S) int64.
        steps: (B, S) bool, False where a shorter video has no step.
    """
    picked = log_probabilities.gather(2, symbols[..., None])[..., 0]
    return -torch.where(steps, picked, 0).sum() / max(len(symbols), 1)


def sparsity_loss(attention: Tensor, snippets: Tensor | None = None) -> Tensor:
    """L1 norm of the attention (B, S, T), divided by each video's number of snippets (B,) if given."""
    norm = attention.sum((1, 2))
    if snippets is not None:
        norm = norm / snippets
    return norm.sum() / max(len(norm), 1)


def coverage_loss(attention: Tensor, mask: Tensor, steps: Tensor, snippets: Tensor | None = None) -> Tensor:
    """Cumulative attention by which a step runs ahead of the step before it (17), summed over steps from the second.

    The paper's double sum is a single one: snippet k of N counts in N - k + 1 cumulative sums.

    Args:
        attention: (B, S, T), zero where the mask is False.
        mask: (B, T) bool.
        steps: (B, S) bool.
        snippets: Numbers of snippets (B,); the loss is divided by their squares if given.
    """
    rank = mask.cumsum(1)
    remaining = torch.where(mask, rank[:, -1:] - rank + 1, 0).to(attention.dtype)
    covered = torch.einsum("bst,bt->bs", attention, remaining)
    excess = torch.where(steps[:, 1:], covered.diff(dim=1), 0).clamp_min(0).sum(1)
    if snippets is not None:
        excess = excess / snippets.square()
    return excess.sum() / max(len(excess), 1)


def overlap_loss(attention: Tensor, snippets: Tensor | None = None) -> Tensor:
    """Attention that falls where earlier steps attended, the loss of the original coverage, summed over steps.

    sum_i min(alpha_{t,i}, c_{t,i}), with c the attention of the steps before t summed (See et al. 2017, eq. 12).

    Args:
        attention: (B, S, T), zero where the mask is False and beyond a video's last step.
        snippets: Numbers of snippets (B,); the loss is divided by them if given.
    """
    covered = attention[:, :-1].cumsum(1)
    overlap = torch.minimum(attention[:, 1:], covered).sum((1, 2))
    if snippets is not None:
        overlap = overlap / snippets
    return overlap.sum() / max(len(overlap), 1)


def repetition_loss(repetition: Tensor, counts: Tensor, actions: Tensor) -> Tensor:
    """Half the mean squared error of RAM over a video's actions (18).

    Args:
        repetition: RAM_t (B, S).
        counts: True instance counts (B, S) of the steps' classes.
        actions: (B, S) bool, True on steps whose symbol is a class: the closing step counts nothing.
    """
    error = torch.where(actions, counts - repetition, 0).square().sum(1)
    return (error / (2 * actions.sum(1).clamp_min(1))).sum() / max(len(error), 1)
