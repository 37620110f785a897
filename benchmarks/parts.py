"""What each part of the recommended experiment brings: on the demo's recordings, and on short sounds in speech.

Every row is the preset `recommended` with something left out or changed. Those below the first train the first stage
alone, with one model. Nothing was chosen on these evaluation subsets: the experiment's values were, on people and
sentences of the training subsets.

    python benchmarks/parts.py demo
    python benchmarks/parts.py speech VOICE            # as of benchmarks/speech.py
    python benchmarks/parts.py demo --seeds 5 --workers 2

Prints the mean and the sample standard deviation over seeds of the mAP (tIoU 0.1:0.1:0.7), at three tIoUs, and of the
classification mAP; and the processor time of a run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from speech import write_dataset
from wtal_core import config, run
from wtal_core.check import opened
from wtal_core.demo import write_demo
from wtal_core.prediction.detect import localize
from wtal_core.prediction.score import score
from wtal_core.progress import bars
from wtal_core.tasks import Task, perform, pool

RECOMMENDED = Path(str(files("wtal_core").joinpath("presets/recommended.toml")))
DECODER = "model.decoder"
FIRST_STAGE = "stages=[{}]"
ROWS: dict[str, tuple[str, ...]] = {
    "recommended": (),
    "first stage, one model": (FIRST_STAGE,),
    "... no label-set": (FIRST_STAGE, "training.losses=[]"),
    "... no competition": (FIRST_STAGE, "training.losses=[]", f"{DECODER}.background=false"),
    "... no context": (FIRST_STAGE, f"{DECODER}.context=0.0"),
    "... one layer": (FIRST_STAGE, f"{DECODER}.layers=1"),
    "... top-k": (FIRST_STAGE, f"{DECODER}.pooling=top-k"),
    "taught without widening": ("stages.1.teacher.widening=1.0",),
    "log-sum-exp throughout": ("stages.1.model.decoder.pooling=log-sum-exp",),
}
DATA = {
    "demo": (
        "data.streams=[['accelerometer', 'gyroscope']]",
        "data.grid={ frames_per_second = 50, stride = 25, window = 100 }",
    ),
    "speech": ("data.streams=['sound']", "data.grid={ frames_per_second = 16000, stride = 320, window = 640 }"),
}


def measured(experiment: config.Experiment, folder: Path) -> tuple[list[dict[str, Any]], float]:
    """The contents of evaluation.json of each stage, and the seconds of processor time."""
    begin = time.process_time()
    started = run.create(folder, experiment, opened(experiment, scored=True))
    run.train(started)
    contents = []
    for stage in config.stages(experiment):
        predictions = run.predict(started, "test", stage=stage.number)
        dataset = started.dataset
        localized = localize(dataset, dataset.test, predictions, stage.localization, started.registry)
        contents.append(score(dataset, localized, experiment, started.registry))
    return contents, time.process_time() - begin


def figures(content: dict[str, Any]) -> list[float]:
    """Mean mAP, mAP at tIoU 0.1, 0.4 and 0.7, and classification mAP, in percent."""
    maps = content["localization"]["mean_ap"]
    return [
        100 * value for value in (np.mean(maps), maps[0], maps[3], maps[6], content["classification"]["mean_ap"][0])
    ]


def show(name: str, rows: Sequence[Sequence[float]], seconds: float | None = None) -> None:
    mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.zeros(5)
    cells = " ".join(f"{m:5.1f}±{s:4.1f}" for m, s in zip(mean, spread, strict=True))
    print(f"{name:28} {cells}" + ("" if seconds is None else f"  {seconds:4.0f} s"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("voice", type=Path, nargs="?", help="of speech: the folder of the voice")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.data == "demo":
            write_demo(folder)
        elif arguments.voice is None:
            parser.error("speech needs the folder of the voice")
        else:
            write_dataset(arguments.voice, folder)
        where = (f"data.annotations={folder / 'annotations.json'}", f"data.features={folder / 'features'}")
        usual = (*DATA[arguments.data], *where, "data.test_subset=evaluation")
        tasks = [
            Task(
                f"{row}, seed {seed}",
                measured,
                (config.load(RECOMMENDED, (*usual, *ROWS[row], f"seed={seed}")), folder / f"{number}-{seed}"),
            )
            for number, row in enumerate(arguments.rows)
            for seed in range(arguments.seeds)
        ]
        with bars() as progress, pool(arguments.workers, None, len(tasks)) as executor:
            results = perform(tasks, executor, progress.stage("parts", len(tasks)))
    print(f"{'mAP (%), ' + arguments.data:28}       mean        0.1        0.4        0.7        Cls")
    for row in arguments.rows:
        found = [results[f"{row}, seed {seed}"] for seed in range(arguments.seeds)]
        stages = len(found[0][0])
        for stage in range(stages):
            rows = [figures(contents[stage]) for contents, _ in found]
            last = stage + 1 == stages
            seconds = float(np.median([seconds for _, seconds in found])) if last else None
            show(row if last else f"{row}, stage {stage}", rows, seconds)


if __name__ == "__main__":
    main()
