"""`wtal run`: everything, from features to a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_core.cli.options import Annotations, Dask, Experiment, Features, Out, Resume, Seeds, Settings, Workers
from wtal_core.source import Source, load, settings_of

if TYPE_CHECKING:
    from wtal_core import config
    from wtal_core.check import Opened


def command(
    experiment: Experiment,
    annotations: Annotations = None,
    features: Features = None,
    settings: Settings = None,
    seeds: Seeds = None,
    out: Out = None,
    resume: Resume = False,
    workers: Workers = None,
    dask: Dask = None,
) -> None:
    """Train every stream, stage by stage, localize the test subset, evaluate, and print a table.

    Several seeds run side by side, and give the same bytes as one after the other.

    Example: `wtal run maan-thumos14 --annotations thumos14.json --features features --seeds 0,1,2`
    """
    from wtal_core import published
    from wtal_core import run as runs
    from wtal_core.check import opened
    from wtal_core.progress import bars
    from wtal_core.report import print_evaluations
    from wtal_core.tasks import Task, perform, pool

    alone = False
    with planned(experiment, settings_of(settings, annotations, features), seeds, out, resume) as plan:
        found = opened(plan[0][1], scored=True)
        print(f"features: {found.dataset.found}")
        for note in found.dataset.notes:
            print(f"note: {note}")
        say_supervision(plan[0][1], found)
        if alone := len(plan) == 1 and workers is None and dask is None:
            ((path, seeded),) = plan
            with bars() as progress, resumable():
                contents = [runs.complete(path, seeded, found, progress)]
    if not alone:  # and the folders are free for other processes to take
        tasks = [Task(str(path), runs.complete, (elsewhere(path), seeded)) for path, seeded in plan]
        with bars() as progress, resumable(), pool(workers, dask, len(tasks)) as executor:
            contents = list(perform(tasks, executor, progress.stage("run", len(tasks))).values())
    for path, _ in plan:
        print(f"{path}: done")
    print_evaluations({experiment.name: contents})
    for line in published.lines(plan[0][1], found.dataset):
        print(line)
    for path, _ in plan:
        say_warnings(path)


def elsewhere(path: Path) -> Path:
    """The path for a process that may have another working folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def say_supervision(experiment: config.Experiment, found: Opened, of: str = "") -> None:
    """Print which stages learn from more than labels."""
    from wtal_core.training.teaching import fully_supervised

    for number, name in fully_supervised(experiment, found.registry).items():
        print(f"note: {of and f'{of}, '}stage {number} is taught by {name!r}, which reads segments: full supervision")


def say_warnings(run: Path) -> None:
    """Print what to beware of in a run, where that was not printed before."""
    import warnings

    from wtal_core.run import read_warnings

    for sentence in read_warnings(run):
        warnings.warn(f"{run}: {sentence}", stacklevel=2)


@contextmanager
def resumable() -> Iterator[None]:
    """Say how to go on after an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        raise


def numbers_of(seeds: str) -> list[int]:
    """The seeds that `--seeds` lists.

    Raises:
        ConfigError: they are no different whole numbers.
    """
    from wtal_core.errors import ConfigError

    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds {seeds}: expected whole numbers with commas between, such as 0,1,2") from None
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ConfigError(f"--seeds {seeds}: seeds must be different numbers, none below 0")
    return numbers


def run_folder(source: Source, out: Path | None) -> Path:
    """Where an experiment's runs go, one folder per seed."""
    return out or Path("runs") / source.name


@contextmanager
def planned(
    source: Source, settings: list[str], seeds: str | None, out: Path | None, resume: bool
) -> "Iterator[list[tuple[Path, config.Experiment]]]":  # noqa: UP037 - typer evaluates the others, not this one
    """The run directory and the experiment of each seed; all directories are held from before the first one is used."""
    import msgspec

    from wtal_core.lock import taking
    from wtal_core.run import check_free

    experiment = load(source, settings)
    numbers = [experiment.seed] if seeds is None else numbers_of(seeds)
    folder = run_folder(source, out)
    plan = [(folder / f"seed-{seed}", msgspec.structs.replace(experiment, seed=seed)) for seed in numbers]
    with ExitStack() as held:
        for path, seeded in plan:
            check_free(path, seeded, resume=resume)
            held.enter_context(taking(path))
        yield plan
