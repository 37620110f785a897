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

from wtal_core import config, run
from wtal_core.check import opened
from wtal_core.demo import METHODS
from wtal_core.demo.bounds import chance
from wtal_core.lock import taking
from wtal_core.prediction.detect import localize
from wtal_core.prediction.score import score
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
    if name == "chance":
        return _chance(experiment)
    path = file.parent / "runs" / name / f"seed-{seed}"
    with taking(path):
        started = run.create(path, experiment, opened(experiment))
        run.train(started)
        return run.evaluate(started, run.localize(started))


def _chance(experiment: config.Experiment) -> dict[str, Any]:
    registry, dataset = opened(experiment)
    predictions = chance(dataset, experiment.seed)
    localized = localize(dataset, dataset.test, predictions, experiment.localization, registry)
    return score(dataset, localized, experiment, registry)
