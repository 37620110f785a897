"""The search: one training for a fold and all points that share it, and every localization on its predictions."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from wtal_core import config
from wtal_core import run as runs
from wtal_core.check import Opened, opened
from wtal_core.errors import RunError
from wtal_core.files import write
from wtal_core.grid import Point, Points
from wtal_core.prediction.fuse import fuse
from wtal_core.prediction.score import score_classes
from wtal_core.run.directory import as_json
from wtal_core.sweep import sweep
from wtal_core.tasks import Task
from wtal_core.text import read_json
from wtal_core.tuning.plan import Plan, without


class Scored(msgspec.Struct):
    """A point on a fold: what evaluation.json would say of it."""

    settings: list[str]
    tiou_thresholds: list[float]
    mean_ap: list[float]  #: of each threshold, a fraction in [0, 1]


class Row(NamedTuple):
    """A point on all folds."""

    settings: Point
    folds: tuple[float, ...]  # mAP of each, a fraction in [0, 1]

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        return sum(self.folds) / len(self.folds)


class Ranking(NamedTuple):
    """What a search found."""

    rows: list[Row]  # the best first; ties in the grid's order
    tiou_thresholds: list[float]  # over which each mAP is a mean


def tasks_of(folder: Path, plan: Plan) -> list[Task]:
    """What is still to do of a search: a task for each training and fold whose result is not in the folder."""
    return [
        Task(
            f"training {number + 1} of {len(plan.trainings)}, fold {fold + 1} of {len(plan.folds)}",
            search_fold,
            (points, plan.folds[fold], path, plan.by_segments),
        )
        for number, points in enumerate(plan.trainings)
        for fold in range(len(plan.folds))
        if not (path := _result(folder, number, fold)).exists()
    ]


def ranking_of(folder: Path, plan: Plan) -> Ranking:
    """Rank the points of a finished search by the results in its folder.

    Raises:
        RunError: a result cannot be read.
    """
    scores: dict[Point, list[float]] = {settings: [] for settings in plan.points}
    thresholds: list[float] = []
    for number, points in enumerate(plan.trainings):
        for fold in range(len(plan.folds)):
            for one in _read(_result(folder, number, fold), points):
                scores[tuple(one.settings)].append(sum(one.mean_ap) / len(one.mean_ap))
                thresholds = one.tiou_thresholds
    rows = [Row(settings, tuple(found)) for settings, found in scores.items()]
    return Ranking(sorted(rows, key=lambda row: -row.mean), thresholds)


def search_fold(points: Points, held_out: Sequence[str], result: Path, by_segments: bool) -> None:
    """Train without a fold, localize the fold at each point, and write how well that went. A task.

    The run's folder stands beside the result until it is written, so that an interrupted training goes on.

    Args:
        points: experiments that one training serves.
        held_out: the fold's videos.
        result: the file to write.
        by_segments: score detections; else class scores.

    Raises:
        WtalError: as the steps of a run.
    """
    experiment = next(iter(points.values()))
    registry, dataset = opened(experiment)
    part = without(dataset, held_out)
    folder = result.with_suffix("")
    run = runs.create(folder, experiment, Opened(registry, part), resume=True)
    runs.train(run)
    predictions = runs.predict(run, "test")
    if by_segments:
        found = {outcome.settings: outcome.content for outcome in sweep(part, predictions, points, registry)}
        verdicts = {settings: found[settings]["localization"] for settings in points}
    else:
        verdicts = {}
        for settings, tried in points.items():
            localization = config.stages(tried)[-1].localization
            scores = {name: fuse(streams, localization)[0].class_scores for name, streams in predictions.items()}
            verdicts[settings] = score_classes(part, scores, tried, registry)
    scored = [
        Scored(list(settings), verdict["tiou_thresholds"], verdict["mean_ap"]) for settings, verdict in verdicts.items()
    ]
    write(result, as_json(msgspec.to_builtins(scored)))
    shutil.rmtree(folder, ignore_errors=True)


def _result(folder: Path, training: int, fold: int) -> Path:
    return folder.absolute() / "trainings" / str(training + 1) / f"fold-{fold + 1}.json"


def _read(path: Path, points: Points) -> list[Scored]:
    try:
        scored = msgspec.convert(read_json(path, RunError), list[Scored])
    except (OSError, RunError, msgspec.ValidationError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise RunError(f"{path}: not the result of a fold: {reason}; delete it and go on with --resume") from error
    if [tuple(one.settings) for one in scored] != list(points) or not all(one.mean_ap for one in scored):
        raise RunError(f"{path}: not the result of this fold: other settings; delete it and go on with --resume")
    return scored
