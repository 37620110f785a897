"""What a search will do, and all that is wrong with it, before any training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from wtal_core import config
from wtal_core.check import Opened, component_problems, sizes_of, training_problems
from wtal_core.contracts import AMBIGUOUS
from wtal_core.data import dataset as data
from wtal_core.data.dataset import Dataset
from wtal_core.errors import ConfigError, WtalError
from wtal_core.grid import Point, Points, axes_of, combinations, configured, refuse
from wtal_core.model import torch_device
from wtal_core.registry import Registry, discover
from wtal_core.tuning.folds import check_classes, folds_of, groups_of

#: What decides by what and on which videos a point is scored.
_ALIKE = (
    "evaluation",
    "data.annotations",
    "data.annotation_reader",
    "data.training_subset",
    "data.test_subset",
    "data.classes",
    "data.exclude",
)


class Plan(NamedTuple):
    """A search: every point of a grid, on every fold of the training videos."""

    points: Points  # in the grid's order
    trainings: list[Points]  # the points, together where one training serves them
    folds: list[tuple[str, ...]]  # the videos of each
    by_segments: bool  # chosen by mAP; else by classification mAP
    kept: list[str]  # keys of the grid that stay as they are in the experiment, because labels do not choose them
    opened: Opened  # by the experiment


def plan_of(experiment: config.Experiment, grid: Sequence[str], folds: int, group: str | None) -> Plan:
    """Lay out a search, and try all of its components on small examples and on the labels of its folds.

    Args:
        experiment: where the search starts from. Its test subset is not looked at.
        grid: `key=[value, ...]` lines. A key below `localization` changes what the last stage localizes by, as in
            `wtal sweep`; what a teacher sees is changed by `stages.N.localization`.
        folds: how many.
        group: a regular expression that finds in a video's name what must not be split.

    Raises:
        WtalError: anything is wrong; `Problems` lists several.
    """
    base = within_training(experiment)
    axes = axes_of(grid)
    for key, line in zip(axes, grid, strict=True):
        if any(f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}.") for other in _ALIKE):
            raise ConfigError(
                f"--grid {line}: all points are scored alike and on the same videos, so {key} cannot be in the grid; "
                "change it for all of them with --set"
            )
    points = configured(combinations(axes), base, at_point)
    torch_device(base)
    registry = discover(base.disable_plugins)
    dataset = _opened(base.data, registry)
    labels = {video.name: video.labels - {AMBIGUOUS} for video in dataset.training}
    held_out = folds_of(labels, groups_of(list(labels), group), folds, base.seed)
    check_classes(labels, held_out)
    by_segments = not any(data.segment_problems(dataset))
    kept = [] if by_segments else [key for key in axes if _localizes(key, base)]
    if len(kept) == len(axes):
        raise ConfigError(
            f"{base.data.annotations}: training videos have labels without segments, by which {', '.join(kept)} cannot "
            "be chosen; give a --grid of training or model settings, or annotate the segments"
        )
    if kept:
        points = configured(combinations({key: axes[key] for key in axes if key not in kept}), base, at_point)
    trainings = _shared(points)
    _check(trainings, held_out, registry, {msgspec.json.encode(base.data): dataset})

    return Plan(points, trainings, held_out, by_segments, kept, Opened(registry, dataset))


def within_training(experiment: config.Experiment) -> config.Experiment:
    """The experiment with its training subset in the place of the test subset, and without trackers."""
    inner = msgspec.structs.replace(experiment.data, test_subset=experiment.data.training_subset)
    return msgspec.structs.replace(experiment, data=inner, trackers=[])


def without(dataset: Dataset, held_out: Sequence[str]) -> Dataset:
    """The data set that is tested on some of its training videos, and trained on the others."""
    tested = set(held_out)
    return dataclasses.replace(
        dataset,
        training=tuple(video for video in dataset.training if video.name not in tested),
        test=tuple(video for video in dataset.training if video.name in tested),
    )


def at_point(experiment: config.Experiment, settings: Point) -> config.Experiment:
    """The experiment at a point of a grid.

    Raises:
        ConfigError: as `config.configure`.
    """
    for setting in settings:
        experiment = config.configure(experiment, [placed(setting, experiment)], "--grid")
    return experiment


def placed(setting: str, experiment: config.Experiment) -> str:
    """A setting of localization as one of the last stage, where that is not the same."""
    last = len(experiment.stages) - 1
    if setting.startswith("localization.") and (last or experiment.stages[last].localization):
        return f"stages.{last}.{setting}"
    return setting


def _localizes(key: str, experiment: config.Experiment) -> bool:
    """Whether a key is of what the last stage localizes by."""
    return f"{placed(key, experiment)}.".startswith(
        ("localization.", f"stages.{len(experiment.stages) - 1}.localization.")
    )


def _opened(wanted: config.Data, registry: Registry) -> Dataset:
    dataset, problems = data.examine(wanted, registry)
    refuse(problems)
    return dataset


def _shared(points: Points) -> list[Points]:
    """The points in parts that differ only in how stored predictions become detections.

    Raises:
        ConfigError: two points are the same experiment.
    """
    seen: dict[str, Point] = {}
    parts: dict[str, Points] = {}
    for settings, experiment in points.items():
        settled = config.settled(experiment)
        other = seen.setdefault(config.dump(settled), settings)
        if other != settings:
            raise ConfigError(
                f"--grid: {' '.join(other)} and {' '.join(settings)} are the same experiment, because a value comes "
                "twice, or each stage sets the key itself; leave one out, or give the key of a stage, such as "
                "stages.0.training.iterations"
            )
        read = config.Localization(clip=settled.localization.clip, activation=settled.localization.activation)
        parts.setdefault(config.dump(msgspec.structs.replace(settled, localization=read)), {})[settings] = experiment
    return list(parts.values())


def _check(
    trainings: Sequence[Points], folds: Sequence[Sequence[str]], registry: Registry, opened: dict[bytes, Dataset]
) -> None:
    """Try what points do not share, on small examples and on what each fold leaves to learn from."""
    problems: dict[str, WtalError] = {}
    localizations = set()
    for points in trainings:
        first = next(iter(points.values()))
        key = msgspec.json.encode(first.data)
        if key not in opened:
            opened[key] = _opened(first.data, registry)
        dataset = opened[key]
        for settings, experiment in points.items():
            localization = msgspec.json.encode(config.stages(experiment)[-1].localization)
            if experiment is not first and localization in localizations:
                continue
            localizations.add(localization)
            found = component_problems(experiment, registry, sizes_of(dataset))
            if experiment is first and not found:
                found = _training_problems(dataset, folds, experiment, registry)
            for problem in found:
                problems.setdefault(str(problem), type(problem)(f"{' '.join(settings)}: {problem}"))
    refuse(problems.values())


def _training_problems(
    dataset: Dataset, folds: Sequence[Sequence[str]], experiment: config.Experiment, registry: Registry
) -> list[WtalError]:
    """What the training on each fold's others would stumble over."""

    def found() -> Iterator[WtalError]:
        for held_out in folds:
            yield from training_problems(without(dataset, held_out), experiment, registry)

    return list({str(problem): problem for problem in found()}.values())
