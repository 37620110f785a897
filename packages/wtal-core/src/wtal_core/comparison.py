"""Several experiments on the same test videos: planned and checked, computed with several seeds, and compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from wtal_core import bootstrap, check, config
from wtal_core.bootstrap import Difference
from wtal_core.bounds import chance, complete_chance, supervised
from wtal_core.check import Opened
from wtal_core.errors import ConfigError, Problems, WtalError, one_line
from wtal_core.lock import taking
from wtal_core.prediction.detect import localize
from wtal_core.progress import Progress
from wtal_core.run import Run, check_free, complete, evaluate, finished
from wtal_core.source import Source, examine
from wtal_core.tasks import Task, perform

#: The names of the bounds' rows.
CHANCE, SUPERVISED = "chance", "supervised"


class Row(NamedTuple):
    """One line of the table."""

    name: str
    experiment: config.Experiment
    found: Opened
    ranked: bool = True  #: compared with the others; a bound is not
    complete: Callable[[Path, config.Experiment], dict[str, Any]] = complete  #: makes a run

    def seeded(self, seed: int) -> config.Experiment:
        """The experiment of one of its runs."""
        return msgspec.structs.replace(self.experiment, seed=seed)


class Comparison(NamedTuple):
    """What came of it."""

    contents: dict[str, list[dict[str, Any]]]  #: of evaluation.json, by row, one per seed
    ranked: tuple[str, ...]  #: the rows that are no bounds
    differences: dict[str, Difference]  #: of each ranked row against the first, by the names of the others


def rows_of(sources: Sequence[Source], settings: Sequence[str], bounds: bool) -> list[Row]:
    """The rows that experiments make, all that can be wrong with any of them looked for.

    Args:
        sources: of experiments; their names are the rows'.
        settings: as `config.load`, for all of them.
        bounds: add chance before and full supervision after them, with the settings of the first.

    Raises:
        ConfigError: two rows have one name, or are not of the same test.
        Problems: what is wrong with the experiments.
    """
    taken: dict[str, Source] = {}
    for source in sources:
        if source.name in taken:
            raise ConfigError(
                f"{taken[source.name]} and {source} are both named {source.name!r}, and their runs would lie in one "
                "folder; rename one"
            )
        if bounds and source.name in (CHANCE, SUPERVISED):
            raise ConfigError(f"{source}: --bounds adds a row {source.name!r} of its own; rename the file")
        taken[source.name] = source
    problems: dict[str, WtalError] = {}
    rows = []
    for source in sources:
        experiment, wrong = examine(source, settings)
        found = None
        if experiment is not None and not wrong:
            found, more = check.examine(experiment, scored=True)
            wrong = [ConfigError(f"{source}: {problem}") for problem in more]
        for problem in wrong:  # said once, though others have it too
            problems.setdefault(str(problem).removeprefix(f"{source}: "), problem)
        if experiment is not None and found is not None:
            rows.append(Row(source.name, experiment, found))
    if problems:
        raise Problems(list(problems.values()))
    for source, row in zip(sources[1:], rows[1:], strict=True):
        _require_same_test(sources[0], rows[0], source, row)
    return bounded(rows, sources[0]) if bounds else rows


def bounded(rows: Sequence[Row], source: object) -> list[Row]:
    """Rows between chance and full supervision, as the first of them, of this source, would have it.

    Raises:
        Problems: the first one's settings allow no bounds.
    """
    first = rows[0]
    low, high = chance_row(first), supervised_row(first)
    problems: list[WtalError] = []
    try:
        _, dataset = first.found
        settings = config.stages(first.experiment)[-1].localization
        localize(dataset, dataset.test[:1], chance(dataset, 0), settings, first.found.registry)
    except WtalError as error:
        problems.append(ConfigError(f"{source}: --bounds, chance: {one_line(error)}"))
    _, wrong = check.examine(high.experiment, scored=True)
    problems += [ConfigError(f"{source}: --bounds, full supervision: {one_line(error)}") for error in wrong]
    if problems:
        raise Problems(problems)
    return [low, *rows, high]


def chance_row(row: Row) -> Row:
    """Random predictions, localized and scored as a row's."""
    return row._replace(name=CHANCE, ranked=False, complete=complete_chance)


def supervised_row(row: Row) -> Row:
    """Full supervision with a row's settings."""
    return row._replace(name=SUPERVISED, ranked=False, experiment=supervised(row.experiment, *row.found))


def _require_same_test(first_source: Source, first: Row, source: Source, row: Row) -> None:
    differing = list(_test_differences(first, row))
    if differing:
        raise ConfigError(f"{first_source} and {source} cannot be compared: they differ in {', '.join(differing)}")


def _test_differences(first: Row, row: Row) -> Iterator[str]:
    """What makes figures of two rows incomparable."""
    one, other = first.found.dataset, row.found.dataset
    if one.classes != other.classes:
        yield f"the classes ({_apart(one.classes, other.classes)})"
    ours, theirs = ([video.name for video in dataset.test] for dataset in (one, other))
    if set(ours) != set(theirs):
        yield f"the test videos ({_apart(ours, theirs)})"
    elif one.classes == other.classes and (changed := _first_change(one, other)):
        yield f"the annotated segments of test videos, such as {changed!r}"
    evaluators = [_table(one.experiment.evaluation.evaluator) for one in (first, row)]
    if evaluators[0] != evaluators[1]:
        keys = sorted(
            key for key in {*evaluators[0], *evaluators[1]} if evaluators[0].get(key) != evaluators[1].get(key)
        )
        yield ", ".join(f"evaluation.evaluator.{key}" for key in keys)


def _apart(one: Sequence[str], other: Sequence[str]) -> str:
    """What two lists of names do not share, in a few words."""
    alone = [name for name in one if name not in set(other)], [name for name in other if name not in set(one)]
    if not any(alone):
        return "in another order"
    return " and ".join(
        f"only in the {place}: {len(names)}, such as {names[0]!r}"
        for place, names in zip(("first", "second"), alone, strict=True)
        if names
    )


def _first_change(one: Any, other: Any) -> str | None:
    theirs = other.ground_truth()
    for name, mine in one.ground_truth().items():
        if sorted(zip(*mine, strict=True)) != sorted(zip(*theirs[name], strict=True)):
            return str(name)
    return None


def _table(choice: config.Component) -> Mapping[str, Any]:
    return {"name": choice} if isinstance(choice, str) else choice


def check_folders(rows: Sequence[Row], seeds: Sequence[int], out: Path, resume: bool) -> None:
    """Make sure that every run can start or continue.

    Raises:
        RunError: as `run.check_free`; or another process holds a run.
    """
    for row, seed in itertools.product(rows, seeds):
        path = folder_of(out, row.name, seed)
        check_free(path, row.seeded(seed), resume=resume)
        with taking(path):
            pass


def compare(
    rows: Sequence[Row], seeds: Sequence[int], out: Path, resume: bool, executor: Executor, progress: Progress
) -> Comparison:
    """Compute every row with every seed, and compare them with the first one that is no bound.

    Args:
        rows: of the same test.
        seeds: of training, and of chance.
        out: where runs go, to `NAME/seed-N`; absolute, because others compute them.
        resume: take up what is there; finished runs are scored again, no more.
        executor: computes.
        progress: shows a bar for the runs, and one for the bootstrap.

    Raises:
        Problems: runs failed; the others are finished.
    """
    runs = {(row.name, seed): (row, folder_of(out, row.name, seed)) for row in rows for seed in seeds}
    there = {key for key, (row, path) in runs.items() if resume and finished(path, row.seeded(key[1]))}
    tasks = [
        Task(_label(key), row.complete, (path, row.seeded(key[1])))
        for key, (row, path) in runs.items()
        if key not in there
    ]
    results = perform(tasks, executor, progress.stage("run", len(tasks)))
    results |= {
        _label(key): evaluate(Run(path, config.settled(row.seeded(key[1])), *row.found))
        for key, (row, path) in runs.items()
        if key in there
    }
    contents = {row.name: [results[_label((row.name, seed))] for seed in seeds] for row in rows}
    ranked = [row for row in rows if row.ranked]
    return Comparison(
        contents, tuple(row.name for row in ranked), _differences(ranked, seeds, out, contents, executor, progress)
    )


def _differences(
    rows: Sequence[Row],
    seeds: Sequence[int],
    out: Path,
    contents: Mapping[str, Sequence[Mapping[str, Any]]],
    executor: Executor,
    progress: Progress,
) -> dict[str, Difference]:
    """Of each row against the first."""
    if len(rows) < 2:
        return {}
    keys = [(row.name, seed) for row in rows for seed in seeds]
    experiments = {row.name: row.experiment for row in rows}
    tasks = [
        Task(
            f"{_label(key)}, draws {first} to {last}",
            bootstrap.resampled_run,
            (folder_of(out, *key), experiments[key[0]], first, last),
        )
        for key in keys
        for first, last in bootstrap.parts()
    ]
    values = list(perform(tasks, executor, progress.stage("bootstrap", len(tasks))).values())
    resampled = np.array(values).reshape(len(rows), len(seeds), -1)
    means = [_mean(contents[row.name]) for row in rows]
    return {
        row.name: bootstrap.difference(resampled[number], resampled[0], (means[number], means[0]))
        for number, row in enumerate(rows)
        if number
    }


def sentences(outcome: Comparison, rows: Sequence[Row]) -> list[str]:
    """What a comparison says below its table: the differences, and what the bounds are."""
    said = []
    videos = len(rows[0].found.dataset.test)
    for name, one in outcome.differences.items():
        apart, low, high = (f"{100 * value:+.1f}" for value in one[:3])
        said.append(
            f"{name} against {outcome.ranked[0]}: {apart} mAP, 95 % interval [{low}, {high}] "
            f"({one.draws} draws of {videos} test videos, seed {bootstrap.SEED})"
        )
    for row in rows:
        if row.name == CHANCE and not row.ranked:
            said.append("chance: random activations and class scores, localized and scored by the same settings.")
        if row.name == SUPERVISED and not row.ranked:
            decoder = config.name_of(config.stages(row.experiment)[-1].model.decoder)
            said.append(
                f"supervised: {decoder}, taught snippet by snippet by the annotated segments of training videos."
            )
    return said


def as_object(outcome: Comparison, seeds: Sequence[int]) -> dict[str, Any]:
    """All numbers of a comparison, as plain JSON values."""
    return {
        "seeds": list(seeds),
        "evaluations": outcome.contents,
        "against": outcome.ranked[0],
        "differences": {name: one._asdict() for name, one in outcome.differences.items()},
        "bootstrap_seed": bootstrap.SEED,
    }


def _mean(contents: Sequence[Mapping[str, Any]]) -> float:
    """The mAP of a row, the mean over seeds and thresholds."""
    return float(np.mean([content["localization"]["mean_ap"] for content in contents]))


def folder_of(out: Path, name: str, seed: int) -> Path:
    """Where the run of a row lies."""
    return out / name / f"seed-{seed}"


def _label(key: tuple[str, int]) -> str:
    return f"{key[0]}, seed {key[1]}"
