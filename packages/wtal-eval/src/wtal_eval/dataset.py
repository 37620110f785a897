"""Ground truth and detections by name, before they meet: what the readers return."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from .evaluation import counted, named
from .intervals import AMBIGUOUS, Detections, InputError, Segments
from .names import AMBIGUOUS_LABEL, Spellings, as_met, near


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotation of one subset.

    Attributes:
        videos: Per video of the subset, those without instances included, its intervals; label indexes `classes` or is
            `AMBIGUOUS`.
        classes: Sorted names of the classes that the subset annotates.
        class_numbers: Names of classes by the number that text files give them; empty if they give none.
        notes: What was left out and why.
    """

    videos: Mapping[str, Segments]
    classes: tuple[str, ...]
    class_numbers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """The detections of a file.

    Attributes:
        videos: Per video, its detections; label indexes `labels`.
        labels: The labels that occur, in any order.
        notes: What was left out and why.
    """

    videos: Mapping[str, Detections]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def ground_truth_by_name(
    videos: Mapping[str, tuple[Sequence[str], ArrayLike, ArrayLike]], notes: tuple[str, ...] = ()
) -> GroundTruth:
    """Ground truth from labels, starts and ends per video, under whatever spelling of the labels."""
    names = Spellings("label", "labels")
    named_rows = {
        name: ([names[label] for label in labels], start, end) for name, (labels, start, end) in videos.items()
    }
    classes = tuple(sorted({*names.values()} - {AMBIGUOUS_LABEL}))
    index = {name: i for i, name in enumerate(classes)} | {AMBIGUOUS_LABEL: AMBIGUOUS}
    segments = {
        name: Segments(np.array([index[label] for label in labels], np.int64), np.asarray(start), np.asarray(end))
        for name, (labels, start, end) in named_rows.items()
    }
    notes = (*notes, *names.notes())
    if like := [name for name in classes if name.casefold() == AMBIGUOUS_LABEL.casefold()]:
        notes += (f"{named(like)} is scored as a class; only the label {AMBIGUOUS_LABEL!r} marks ambiguous intervals",)
    return GroundTruth(segments, classes, notes=notes)


def choose_subset(sizes: Mapping[str, int], subset: str | None, where: str) -> str:
    """The subset to score, given the number of videos in each that is present.

    It is the one of the wanted name, else the only one that differs in case.

    Raises:
        InputError: If the wanted subset is not present, or none is named and several are.
    """
    present = ", ".join(f"{name!r} ({counted(size, 'video')})" for name, size in sorted(sizes.items()))
    if subset is None:
        if len(sizes) == 1:
            return next(iter(sizes))
        if not sizes:
            raise InputError(f"{where}: no video, so there is nothing to score")
        raise InputError(f"{where}: several subsets, name one of {present}")
    subset = as_met(subset)
    alike = [subset] if subset in sizes else [name for name in sizes if name.casefold() == subset.casefold()]
    if len(alike) != 1:
        raise InputError(f"{where}: no subset {subset!r}, only {present or 'none at all'}")
    return alike[0]


def subset_notes(sizes: Mapping[str, int], subset: str) -> tuple[str, ...]:
    """What choosing a subset leaves out, given the number of videos in each."""
    others = sum(sizes.values()) - sizes[subset]
    if not others:
        return ()
    return (f"subset {subset!r} has {counted(sizes[subset], 'video')}; {others} of other subsets left out",)


def with_classes(detections: DetectionSet, ground_truth: GroundTruth) -> DetectionSet:
    """The detections with label indexing the classes of the ground truth; those of other labels are left out.

    Raises:
        InputError: If there are detections, and the ground truth has none of their labels.
    """
    index = {name: i for i, name in enumerate(ground_truth.classes)}
    if not any(label in index for label in detections.labels):
        index |= {number: index[name] for number, name in ground_truth.class_numbers.items() if name in index}
    place = np.array([index.get(label, -1) for label in detections.labels], np.int64)
    unknown = sorted(label for label in detections.labels if label not in index)
    if not unknown:
        videos = {
            name: found._replace(label=place[found.label]) if found.label.size else found
            for name, found in detections.videos.items()
        }
        return replace(detections, videos=videos, labels=ground_truth.classes)
    hint = near(unknown, ground_truth.classes, "labels")
    if len(unknown) == len(detections.labels) and index:
        raise InputError(
            f"the ground truth has none of the {counted(len(unknown), 'label')} of the detections, but others, "
            f"e.g. {unknown[0]!r} and {ground_truth.classes[0]!r}: "
            f"{hint or 'take detections of the same classes, and the subset that they belong to'}"
        )
    videos, lost = {}, 0
    for name, found in detections.videos.items():
        label = place[found.label]
        known = label >= 0
        lost += label.size - int(known.sum())
        videos[name] = Detections(label[known], found.start[known], found.end[known], found.score[known])
    note = (
        f"{counted(lost, 'detection')} left out, of {counted(len(unknown), 'label')} that the ground truth lacks: "
        f"{named(unknown)}{'; ' + hint if hint else ''}"
    )
    return DetectionSet(videos, ground_truth.classes, (*detections.notes, note))


def without_videos(
    ground_truth: GroundTruth, detections: DetectionSet, excluded: Collection[str]
) -> tuple[GroundTruth, DetectionSet]:
    """Both without the excluded videos, and a note on what that took away.

    Raises:
        InputError: If that leaves no video of the ground truth.
    """
    excluded = {as_met(name) for name in excluded}
    instances = sum(
        int((ground_truth.videos[name].label != AMBIGUOUS).sum()) for name in excluded if name in ground_truth.videos
    )
    found = sum(detections.videos[name].label.size for name in excluded if name in detections.videos)
    present = sorted(name for name in excluded if name in ground_truth.videos or name in detections.videos)
    note = f"{counted(len(present), 'video')} excluded"
    if present:
        note += f" ({counted(instances, 'instance')}, {counted(found, 'detection')}): {named(present)}"
    if absent := sorted(excluded - set(present)):
        note += f"; {counted(len(absent), 'video')} to exclude not found: {named(absent)}"
        if hint := near(absent, {*ground_truth.videos, *detections.videos}, "videos"):
            note += f"; {hint}"
    kept = {name: video for name, video in ground_truth.videos.items() if name not in excluded}
    if ground_truth.videos and not kept:
        number = counted(len(ground_truth.videos), "video")
        raise InputError(f"all {number} of the ground truth are excluded, so nothing is left to score: exclude fewer")
    scored = {name: video for name, video in detections.videos.items() if name not in excluded}
    return (
        replace(ground_truth, videos=kept, notes=(*ground_truth.notes, note)),
        replace(detections, videos=scored),
    )
