"""`wtal run`: everything, from features to a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_core.cli.options import ExperimentFile, Out, Resume, Seeds, Settings

if TYPE_CHECKING:
    from wtal_core.check import Opened
    from wtal_core.config import Experiment


def command(
    experiment: ExperimentFile, settings: Settings = None, seeds: Seeds = None, out: Out = None, resume: Resume = False
) -> None:
    """Train every stream, stage by stage, localize the test subset, evaluate, and print a table.

    Example: `wtal run maan.toml --set training.iterations=500 --seeds 0,1,2`
    """
    from wtal_core import run as runs
    from wtal_core.check import opened
    from wtal_core.progress import bars
    from wtal_core.report import print_evaluations

    contents = []
    with planned(experiment, settings, seeds, out, resume) as plan:
        found = opened(plan[0][1], scored=True)
        say_supervision(plan[0][1], found)
        for path, seeded in plan:
            run = runs.create(path, seeded, found, resume=resume)
            with bars() as progress, resumable():
                runs.train(run, progress)
                localized = runs.localize(run, progress)
            contents.append(runs.evaluate(run, localized))
            print(f"{path}: done")
    print_evaluations({experiment.stem: contents})
    for path, _ in plan:
        say_warnings(path)


def say_supervision(experiment: Experiment, found: Opened) -> None:
    """Print which stages learn from more than labels."""
    from wtal_core.training.teaching import fully_supervised

    for number, name in fully_supervised(experiment, found.registry).items():
        print(f"note: stage {number} is taught by {name!r}, which reads segments: full supervision")


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


def run_folder(file: Path, out: Path | None) -> Path:
    """Where an experiment's runs go, one folder per seed."""
    return out or Path("runs") / file.stem


@contextmanager
def planned(
    file: Path, settings: list[str] | None, seeds: str | None, out: Path | None, resume: bool
) -> "Iterator[list[tuple[Path, Experiment]]]":  # noqa: UP037 - typer evaluates the others, not this one
    """The run directory and the experiment of each seed; all directories are held from before the first one is used."""
    import msgspec

    from wtal_core import config
    from wtal_core.errors import ConfigError
    from wtal_core.lock import taking
    from wtal_core.run import check_free

    experiment = config.load(file, settings or [])
    try:
        numbers = [int(seed) for seed in seeds.split(",")] if seeds is not None else [experiment.seed]
    except ValueError:
        raise ConfigError(f"--seeds {seeds}: expected whole numbers with commas between, such as 0,1,2") from None
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ConfigError(f"--seeds {seeds}: seeds must be different numbers, none below 0")
    folder = run_folder(file, out)
    plan = [(folder / f"seed-{seed}", msgspec.structs.replace(experiment, seed=seed)) for seed in numbers]
    with ExitStack() as held:
        for path, seeded in plan:
            check_free(path, seeded, resume=resume)
            held.enter_context(taking(path))
        yield plan
