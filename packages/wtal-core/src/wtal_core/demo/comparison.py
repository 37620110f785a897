"""The demo's table: every method with several seeds, between chance and full supervision."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec

from wtal_core import config, evaluation, localization, run
from wtal_core.demo import METHODS
from wtal_core.demo.bounds import chance, supervised
from wtal_core.localization import Reading
from wtal_core.lock import taking
from wtal_core.progress import Progress


def compare(
    experiments: Mapping[str, Path], seeds: Sequence[int], progress: Progress
) -> dict[str, list[dict[str, Any]]]:
    """Run every method and both bounds with every seed, one process a core; contents of evaluation.json by row.

    Args:
        experiments: the files that `write_demo` wrote, by name. Runs go beside them, to `runs/NAME/seed-N`.
        seeds: of training, and of the bounds.
        progress: shows a bar for the whole.
    """
    tasks = [(name, seed) for name in ("chance", *METHODS, "supervised") for seed in seeds]
    advance = progress.stage("demo", len(tasks))
    contents = {}
    # Fresh processes, because a forked one inherits torch's threads in whatever state they were.
    workers = min(os.cpu_count() or 1, len(tasks))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        futures = {
            pool.submit(_row, name, experiments.get(name, experiments["supervised"]), seed): (name, seed)
            for name, seed in tasks
        }
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                name, seed = futures[future]
                contents[name, seed] = future.result()
                advance(done, f"{name}, seed {seed}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: [contents[name, seed] for seed in seeds] for name, _ in tasks}


def _row(name: str, file: Path, seed: int) -> dict[str, Any]:
    experiment = msgspec.structs.replace(config.load(file), seed=seed)
    if name in METHODS:
        return _weakly_supervised(file.parent / "runs" / name / f"seed-{seed}", experiment)
    return _bound(name, experiment)


def _weakly_supervised(path: Path, experiment: config.Experiment) -> dict[str, Any]:
    with taking(path):
        opened = run.create(path, experiment)
        run.train(opened)
        run.localize(opened)
        return run.evaluate(opened)


def _bound(name: str, experiment: config.Experiment) -> dict[str, Any]:
    registry, dataset = run.prepare(experiment)
    readings: Mapping[str, Sequence[Reading]]
    if name == "chance":
        readings = chance(dataset, experiment.seed)
    else:
        readings = supervised(dataset, experiment.training, experiment.seed)
    results = localization.localize(dataset, dataset.test, readings, experiment.localization, registry)
    return evaluation.evaluate_localized(dataset, results, experiment, registry)
