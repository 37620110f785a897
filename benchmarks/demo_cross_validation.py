"""Choose the demo's settings by cross-validation over its training people; the evaluation people are never looked at.

For every method, each combination of training settings is trained on the people of two folds and tested on those of the
third; each trained model is then localized with each combination of localization settings. The best mean of mAP at tIoU
0.1:0.1:0.7 over the folds wins. The committed `wtal_core/demo/experiments/*.toml` hold what this prints, and so do the
`*-demo.toml` of the packages in `examples`, which must be installed to be searched.

STAR is searched with each of its assemblies, whose settings `star_ablation.py` holds, and with several weights of RAM.

    python benchmarks/demo_cross_validation.py [METHOD ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from wtal_core import config, run
from wtal_core.check import Opened, opened, sizes_of
from wtal_core.contracts import Video
from wtal_core.data.dataset import Dataset
from wtal_core.demo import METHODS, write_demo
from wtal_core.sweep import experiments_of, sweep

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDS = (("person-01", "person-02"), ("person-03", "person-04"), ("person-05", "person-06", "person-07"))


class Search(NamedTuple):
    """Where a method starts from, and what is tried: settings of training, then of localization, value by value."""

    file: str  # of the demo by its name, else a path below `examples`
    base: tuple[str, ...] = ()  # settings on top of the file
    training: Mapping[str, list[str]] = {"training.weight_decay": ["0.0", "0.001", "0.01", "0.03", "0.1"]}
    localization: tuple[str, ...] = (
        "localization.proposer.threshold=[0.05, 0.1, 0.2, 0.3, 0.4, 0.5]",
        "localization.proposer.class_threshold=[0.1, 0.3]",
        "localization.proposer.class_score=['ignore', 'multiply']",
    )


SEARCHES = {method: Search(method) for method in (*METHODS, "supervised")}
# STPN's own loss term.
SEARCHES["stpn"] = Search("stpn", training=Search("stpn").training | {"model.decoder.sparsity": ["0.0", "0.1"]})
# STAR with another assembly than that of its row of the demo. A sum that learnt from 20 snippets reads all those of a
# session at another scale, hence the one that learns from about as many as the sessions have.
SEARCHES |= {
    "star-weighted-sum": Search("star", ("model.aggregator=weighted-sum",)),
    "star-weighted-sum-200": Search("star", ("model.aggregator=weighted-sum", "training.clip.snippets=200")),
    "star-norm": Search("star", ("model.aggregator=norm",)),
    # With the weight decay of the demo's STAR.
    "star-ram": Search(
        "star",
        ('model.decoder.modules=["sparsity", "coverage", "ram"]', "data.counts=true"),
        {"model.decoder.ram": ["0.0001", "0.001", "0.01", "0.1"]},
    ),
}
# The methods of the examples keep what makes them, how a class is cut and scored; searched is where it is cut.
LEVELS = (
    "localization.proposer.threshold=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]",
    "localization.proposer.class_threshold=[0.1, 0.3]",
)
SEARCHES["wtalc"] = Search(
    "wtal-wtalc/wtalc-demo.toml",
    training={"training.learning_rate": ["1e-4", "1e-3"]},
    localization=LEVELS,
)
UNTRIMMEDNET = "wtal-untrimmednet/untrimmednet-demo.toml"
SEARCHES["untrimmednet-hard"] = Search(
    UNTRIMMEDNET,
    ('model.decoder={ name = "untrimmednet", selection = "hard" }',),
    {"training.clip.snippets": ["7", "20"], "training.weight_decay": ["5e-4", "0.01"]},
    LEVELS,
)
# With the paper's 7 snippets, which were hardly worse than 20 above, and the weight decay that was best there.
SEARCHES["untrimmednet-soft"] = Search(
    UNTRIMMEDNET,
    ("model.decoder.selection=soft", "training.clip.snippets=7", "training.weight_decay=0.01"),
    {"model.decoder.attended": ["false", "true"]},
    LEVELS,
)


def held_out(video: Video, fold: tuple[str, ...]) -> bool:
    return video.name.startswith(fold)


def without(dataset: Dataset, fold: tuple[str, ...]) -> Dataset:
    """The data set that is tested on a fold of its training people, and trained on the others."""
    return dataclasses.replace(
        dataset,
        training=tuple(video for video in dataset.training if not held_out(video, fold)),
        test=tuple(video for video in dataset.training if held_out(video, fold)),
    )


def search(method: str, demo: Path, runs: Path) -> None:
    wanted = SEARCHES[method]
    file = demo / f"{wanted.file}.toml" if "/" not in wanted.file else EXAMPLES / wanted.file
    data = (f"data.annotations={demo / 'annotations.json'}", f"data.features={demo / 'features'}")
    base = config.load(file, (*data, *wanted.base))
    trainings = [
        tuple(f"{key}={value}" for key, value in zip(wanted.training, values, strict=True))
        for values in itertools.product(*wanted.training.values())
    ]
    scores: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for number, trained in enumerate(trainings):
        experiment = config.configure(base, trained)
        registry, dataset = opened(experiment)
        points = experiments_of(wanted.localization, experiment, registry, sizes_of(dataset))
        for fold in FOLDS:
            part = without(dataset, fold)
            started = run.create(runs / f"{method}-{number}-{fold[0]}", experiment, Opened(registry, part))
            run.train(started)
            for outcome in sweep(part, run.predict(started, "test"), points, registry):
                scores[(*trained, *outcome.settings)].append(outcome.mean_ap)
    report(method, trainings, scores)


def report(method: str, trainings: list[tuple[str, ...]], scores: Mapping[tuple[str, ...], list[float]]) -> None:
    ranked = sorted(scores, key=lambda settings: -np.mean(scores[settings]))
    print(f"\n{method}: best of {len(ranked)}, mAP (%) at tIoU 0.1:0.1:0.7, mean and each fold")
    for settings in ranked[:5]:
        folds = " ".join(f"{100 * value:.1f}" for value in scores[settings])
        print(f"  {100 * np.mean(scores[settings]):.1f} ({folds})  {' '.join(settings)}")
    for trained in trainings:
        best = max(np.mean(s) for key, s in scores.items() if key[: len(trained)] == trained)
        print(f"  best with {' '.join(trained)}: {100 * best:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(SEARCHES), metavar="METHOD", help=", ".join(SEARCHES))
    methods = parser.parse_args().methods
    if unknown := set(methods) - set(SEARCHES):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are: {', '.join(SEARCHES)}")
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder)
        write_demo(demo)
        for method in methods:
            started = time.perf_counter()
            search(method, demo, demo / "runs")
            print(f"  {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
