"""Folds of training videos: no group is split, and each fold has about as many videos and labels as the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wtal_core.contracts import FloatArray, IntArray
from wtal_core.errors import ConfigError, DataError

#: How many orders of the groups are tried; the most balanced folds are kept.
_ORDERS = 10


def groups_of(names: Sequence[str], pattern: str | None) -> dict[str, str]:
    """The group of each video: what a regular expression finds in its name, or the video by itself.

    Args:
        names: of the videos.
        pattern: its first group is the group's name, or the whole of what it matches if it has none.

    Raises:
        ConfigError: the pattern is no regular expression, or finds nothing in a name.
    """
    if pattern is None:
        return {name: name for name in names}
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"--group {pattern}: not a regular expression: {error}") from None
    groups: dict[str, str] = {}
    lost = []
    for name in names:
        found = expression.search(name)
        group = found and found[min(1, expression.groups)]
        if not group:
            lost.append(name)
        else:
            groups[name] = group
    if lost:
        more = f", nor in {len(lost) - 1} more" if len(lost) > 1 else ""
        raise ConfigError(
            f"--group {pattern}: finds no group in the name of video {lost[0]!r}{more}; give one that finds it in all"
        )
    return groups


def folds_of(
    labels: Mapping[str, Collection[str]], groups: Mapping[str, str], folds: int, seed: int
) -> list[tuple[str, ...]]:
    """The videos of each fold, in the order of `labels`.

    Two folds differ in videos by at most the largest group. Among the folds that this allows, each group, the largest
    and then those with the rarest labels first, goes where its videos and labels are fewest: the sum over folds, and
    over videos and labels, of squared counts by the total count grows least (as in iterative stratification, Sechidis
    et al. 2011). Of several random orders of equal groups the best is kept.

    Args:
        labels: of each video.
        groups: of each video.
        folds: how many.
        seed: of the orders.

    Raises:
        ConfigError: there are fewer groups than folds.
    """
    members: dict[str, list[str]] = {}
    for video in labels:
        members.setdefault(groups[video], []).append(video)
    if len(members) < folds:
        named = ", ".join(list(members)[:10]) + (", ..." if len(members) > 10 else "")
        most = f"--folds {len(members)} or fewer, or " if len(members) > 1 else ""
        raise ConfigError(
            f"--folds {folds}: the training videos are of {len(members)} group{'s' * (len(members) != 1)} only "
            f"({named}); give {most}another --group"
        )
    classes = sorted({label for of_video in labels.values() for label in of_video})
    counts = np.array([[1.0, *(label in labels[video] for label in classes)] for video in labels])
    number = {video: row for row, video in enumerate(labels)}
    sums = np.array([counts[[number[video] for video in videos]].sum(axis=0) for videos in members.values()])
    attempts = [_assigned(sums, folds, np.random.default_rng([seed, order])) for order in range(_ORDERS)]
    best = min(attempts, key=lambda fold_of: _imbalance(sums, fold_of, folds))
    fold_of_group = dict(zip(members, best.tolist(), strict=True))
    return [tuple(video for video in labels if fold_of_group[groups[video]] == fold) for fold in range(folds)]


def check_classes(labels: Mapping[str, Collection[str]], folds: Sequence[Sequence[str]]) -> None:
    """Make sure that each class is left to learn from, whichever fold is held out.

    Raises:
        DataError: the videos of only one fold have a class.
    """
    where: dict[str, set[int]] = {}
    for number, videos in enumerate(folds):
        for video in videos:
            for label in labels[video]:
                where.setdefault(label, set()).add(number)
    lonely = sorted((label, min(numbers)) for label, numbers in where.items() if len(numbers) == 1)
    if lonely:
        label, fold = lonely[0]
        more = f" (as {len(lonely) - 1} more have)" if len(lonely) > 1 else ""
        raise DataError(
            f"class {label!r} has training videos in fold {fold + 1} of {len(folds)} alone{more}, so that nothing is "
            "left to learn it from when that fold is held out; give it videos of more groups, leave its videos out by "
            "data.exclude, or give another --folds or --group"
        )


def _assigned(sums: FloatArray, folds: int, generator: np.random.Generator) -> IntArray:
    """The fold of each group, whose numbers of videos and of each label are a row of `sums` (G, 1 + C)."""
    totals = np.maximum(sums.sum(axis=0), 1)
    rarity = np.where(sums[:, 1:] > 0, totals[1:], np.inf).min(axis=1, initial=np.inf)
    order = generator.permutation(len(sums))
    order = order[np.lexsort((rarity[order], -sums[order, 0]))]
    found = np.zeros((folds, sums.shape[1]))
    fold_of = np.zeros(len(sums), np.int64)
    largest = sums[:, 0].max()
    for group in order:
        fewest = found[:, 0].min()
        allowed = found[:, 0] == 0 if fewest == 0 else found[:, 0] + sums[group, 0] <= fewest + largest
        growth = (sums[group] * (2 * found + sums[group]) / totals).sum(axis=1)
        fold_of[group] = chosen = int(np.where(allowed, growth, np.inf).argmin())
        found[chosen] += sums[group]
    return fold_of


def _imbalance(sums: FloatArray, fold_of: NDArray[np.int64], folds: int) -> tuple[int, float]:
    """How many labels only one fold has, and the sum of squared counts by the total count."""
    found = np.zeros((folds, sums.shape[1]))
    np.add.at(found, fold_of, sums)
    lonely = int(((found > 0).sum(axis=0) == 1).sum())
    return lonely, float((found**2 / np.maximum(sums.sum(axis=0), 1)).sum())
