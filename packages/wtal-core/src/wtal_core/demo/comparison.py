"""The demo's table: every method with several seeds, between chance and full supervision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from wtal_core import config, evaluation, localization, run
from wtal_core.demo import METHODS
from wtal_core.demo.bounds import chance, supervised
from wtal_core.localization import Reading
from wtal_core.progress import Progress


def compare(
    experiments: Mapping[str, Path], seeds: Sequence[int], progress: Progress
) -> dict[str, list[dict[str, Any]]]:
    """Run every method and both bounds with every seed; the contents of evaluation.json by row of the table.

    Args:
        experiments: the files that `write_demo` wrote, by name. Runs go beside them, to `runs/NAME/seed-N`.
        seeds: of training, and of the bounds.
        progress: shows a bar for the whole.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    advance = progress.stage("demo", (len(METHODS) + 2) * len(seeds))
    for done, (name, seed) in enumerate((name, seed) for name in ("chance", *METHODS, "supervised") for seed in seeds):
        advance(done, f"{name}, seed {seed}")
        file = experiments.get(name, experiments["supervised"])
        experiment = msgspec.structs.replace(config.load(file), seed=seed)
        if name in METHODS:
            content = _weakly_supervised(file.parent / "runs" / name / f"seed-{seed}", experiment)
        else:
            content = _bound(name, experiment)
        rows.setdefault(name, []).append(content)
    advance((len(METHODS) + 2) * len(seeds), "done")
    return rows


def _weakly_supervised(path: Path, experiment: config.Experiment) -> dict[str, Any]:
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
