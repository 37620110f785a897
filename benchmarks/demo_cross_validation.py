"""Choose the demo's settings by cross-validation over its training people; the evaluation people are never looked at.

For every method, each combination of training settings is trained on the people of two folds and tested on those of the
third; each trained model is then localized with each combination of localization settings. The best mean of mAP at tIoU
0.1:0.1:0.7 over the folds wins. The committed `wtal_core/demo/experiments/*.toml` hold what this prints.

STAR is searched with each of its assemblies, whose settings `star_ablation.py` holds, and with several weights of RAM.

    python benchmarks/demo_cross_validation.py [METHOD ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from wtal_core import config, localization
from wtal_core.annotations import Video
from wtal_core.dataset import Dataset
from wtal_core.demo import METHODS, write_demo
from wtal_core.demo.bounds import supervised
from wtal_core.localization import Reading
from wtal_core.plugins import Registry
from wtal_core.run import prepare
from wtal_core.sweep import experiments_of, sweep
from wtal_core.training import train_stream

FOLDS = (("person-01", "person-02"), ("person-03", "person-04"), ("person-05", "person-06", "person-07"))
WEIGHT_DECAY = [0.0, 0.001, 0.01, 0.03, 0.1]
SPARSITY = [0.0, 0.1]  # STPN's own loss term
# STAR with another assembly than that of its row of the demo. A sum that learnt from 20 snippets reads all those of a
# session at another scale, hence the one that learns from about as many as the sessions have.
VARIANTS = {
    "star-weighted-sum": ("model.aggregator=weighted-sum",),
    "star-weighted-sum-200": ("model.aggregator=weighted-sum", "training.snippets=200"),
    "star-norm": ("model.aggregator=norm",),
    "star-ram": ('model.decoder.modules=["sparsity", "coverage", "ram"]', "data.counts=true"),
}
RAM = [0.0001, 0.001, 0.01, 0.1]  # tried with the weight decay of the demo's STAR
LOCALIZATION = [
    "localization.proposer.threshold=[0.05, 0.1, 0.2, 0.3, 0.4, 0.5]",
    "localization.proposer.class_threshold=[0.1, 0.3]",
    "localization.proposer.class_score=['ignore', 'multiply']",
]


def training_settings(method: str) -> list[tuple[str, ...]]:
    if method == "star-ram":
        return [(f"model.decoder.ram={value}",) for value in RAM]
    decays = [(f"training.weight_decay={value}",) for value in WEIGHT_DECAY]
    if method != "stpn":
        return decays
    return [(*decay, f"model.decoder.sparsity={value}") for decay in decays for value in SPARSITY]


def held_out(video: Video, fold: tuple[str, ...]) -> bool:
    return video.name.startswith(fold)


def read(dataset: Dataset, experiment: config.Experiment, registry: Registry) -> dict[str, list[Reading]]:
    models = {stream: train_stream(dataset, stream, experiment, registry) for stream in dataset.data.streams}
    return localization.read_videos(dataset, dataset.test, models, experiment, registry)


def search(method: str, file: Path) -> None:
    base = config.load(file, VARIANTS.get(method, ()))
    registry, dataset = prepare(base)
    scores: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for trained in training_settings(method):
        experiment = config.configure(base, trained)
        points = experiments_of(LOCALIZATION, experiment, registry)
        for fold in FOLDS:
            part = dataclasses.replace(
                dataset,
                training=tuple(video for video in dataset.training if not held_out(video, fold)),
                test=tuple(video for video in dataset.training if held_out(video, fold)),
            )
            if method == "supervised":
                readings = supervised(part, experiment.training, experiment.seed)
            else:
                readings = read(part, experiment, registry)
            for outcome in sweep(part, readings, points, registry):
                scores[(*trained, *outcome.settings)].append(outcome.mean_ap)
    ranked = sorted(scores, key=lambda settings: -np.mean(scores[settings]))
    print(f"\n{method}: best of {len(ranked)}, mAP (%) at tIoU 0.1:0.1:0.7, mean and each fold")
    for settings in ranked[:5]:
        folds = " ".join(f"{100 * value:.1f}" for value in scores[settings])
        print(f"  {100 * np.mean(scores[settings]):.1f} ({folds})  {' '.join(settings)}")
    best = {
        trained: max(np.mean(s) for key, s in scores.items() if key[: len(trained)] == trained)
        for trained in training_settings(method)
    }
    for trained, value in best.items():
        print(f"  best with {' '.join(trained)}: {100 * value:.1f}", flush=True)


def main() -> None:
    known = [*METHODS, *VARIANTS, "supervised"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=known, metavar="METHOD", help=", ".join(known))
    methods = parser.parse_args().methods
    if unknown := set(methods) - set(known):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        files = write_demo(Path(folder))
        for method in methods:
            started = time.perf_counter()
            search(method, files["star" if method in VARIANTS else method])
            print(f"  {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
