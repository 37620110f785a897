"""STAR's ablation on the demo's recordings: what each module, each activation and each assembly brings.

Modules are the eight rows of the paper's Table 1, activations the three of its Table 2; the paper has no table of
assemblies. Below them stand STAR trained with the labels of shuffled videos, and attention pooling. Every row starts
from the demo's settings (`wtal_core/demo/experiments/star.toml`), is trained on 7 people and tested on 3 others; an
assembly has settings of its own, chosen among the 7 people by `demo_cross_validation.py` as the demo's are. The rows of
Table 2 localize one training again.

    python benchmarks/star_ablation.py [--seeds 5] [ROW ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from wtal_core import config, run
from wtal_core.check import opened
from wtal_core.data.dataset import Dataset
from wtal_core.demo import write_demo
from wtal_core.report import print_evaluations

MODULES = ("sparsity", "coverage", "ram")
ACTIVATIONS = {"attention": "attention", "st-gradcam": "ST-GradCAM", "attended-st-gradcam": "both"}
ASSEMBLIES = {  # beside the demo's marginalized average, whose settings turned out best for norm as well
    "weighted-sum": ("model.aggregator=weighted-sum", "localization.proposer.threshold=0.4"),
    "norm": ("model.aggregator=norm",),
}
ATTENTION_POOLING, SHUFFLED = "attention pooling (maan)", "shuffled labels"


def trainings() -> dict[str, tuple[str, ...]]:
    """The settings of every row that is trained, by name."""
    subsets = chain.from_iterable(combinations(MODULES, size) for size in range(len(MODULES) + 1))
    rows = {name(modules): (f"model.decoder.modules={list(modules)}", "data.counts=true") for modules in subsets}
    return rows | ASSEMBLIES | {SHUFFLED: (), ATTENTION_POOLING: ()}


def name(modules: tuple[str, ...]) -> str:
    return " + ".join(modules) or "stem"


BASE = name(("sparsity", "coverage"))


def outcomes(row: str, seed: int, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train one row, and evaluate it with every activation that the tables show of it."""
    experiment = config.configure(config.load(file), [f"seed={seed}", *trainings()[row]])
    found = opened(experiment)
    if row == SHUFFLED:
        found = found._replace(dataset=shuffled(found.dataset, seed))
    wanted = ACTIVATIONS if row == BASE else [config.name_of(experiment.localization.activation)]
    with tempfile.TemporaryDirectory() as folder:
        trained = run.create(Path(folder) / "run", experiment, found)
        run.train(trained)
        for activation in wanted:
            changed = config.configure(experiment, [f"localization.activation={activation}"])
            one = dataclasses.replace(trained, experiment=changed)
            yield activation, run.evaluate(one, run.localize(one))


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """Permute the labels among the training videos."""
    order = np.random.default_rng(seed).permutation(len(dataset.training))
    training = tuple(
        video._replace(instances=dataset.training[other].instances)
        for video, other in zip(dataset.training, order, strict=True)
    )
    return dataclasses.replace(dataset, training=training)


def work(task: tuple[str, int, Path]) -> dict[str, dict[str, Any]]:
    return dict(outcomes(*task))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=list(trainings()), metavar="ROW", help="such as 'stem' or 'norm'")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(trainings()):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(trainings())}")

    contents: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = write_demo(Path(folder))
        tasks = [
            (row, seed, files["maan" if row == ATTENTION_POOLING else "star"])
            for row in arguments.rows
            for seed in range(arguments.seeds)
        ]
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), spawn) as pool:
            for (row, _, _), found in track(zip(tasks, pool.map(work, tasks), strict=True), total=len(tasks)):
                for activation, content in found.items():
                    contents.setdefault((row, activation), []).append(content)

    def show(title: str, rows: dict[str, tuple[str, str]]) -> None:
        if present := {label: contents[key] for label, key in rows.items() if key in contents}:
            print(f"\n{title}", flush=True)
            print_evaluations(present)

    both = "attended-st-gradcam"
    show("Modules (Table 1)", {row: (row, both) for row in list(trainings())[:8]})
    show(f"Activations (Table 2), {BASE}", {label: (BASE, key) for key, label in ACTIVATIONS.items()})
    show(f"Assembly, {BASE}", {"maa": (BASE, both)} | {row: (row, both) for row in ASSEMBLIES})
    show(
        f"Beside {BASE}",
        {"star": (BASE, both), SHUFFLED: (SHUFFLED, both), ATTENTION_POOLING: (ATTENTION_POOLING, "cas")},
    )


if __name__ == "__main__":
    main()
