"""Time and memory of `wtal-eval`: the whole process, cold, as a user starts it.

    python benchmarks/evaluation.py [--data FOLDER] [--detections 1000000] [--repeats 7]
    python benchmarks/evaluation.py --data FOLDER --protocols [--ground-truth PATH] [--subset NAME]

Runs the command on real detections, if FOLDER holds `detections.json` and `ground_truth.json`, and on made-up ones
(5,000 videos, 200 classes) of a tenth, a half and the whole of the wanted size. `python -c "import numpy"` is timed in
turn with the command, because that is what no evaluation can do without. Prints the median and the least wall time, the
least CPU time and the largest resident set. On the real detections, prints as well how many times longer the literal
twin of the tests takes: the same protocol in plain loops over detections, instances and thresholds. With
`--protocols`, prints instead what each protocol says of the real detections, of each THUMOS14 split.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from wtal_eval import EXCLUSIONS, PROTOCOLS, evaluate, read_detections, read_ground_truth
from wtal_eval.dataset import without_videos

THUMOS14 = "0.1:0.1:0.9"
ACTIVITYNET = "0.5:0.05:0.95"


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall and CPU seconds and the largest resident set in MiB of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(commands: dict[str, list[str]], repeats: int) -> list[tuple[float, float]]:
    """Print what each command takes; return its median wall and least CPU seconds."""
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():  # in turn, so that a busy moment meets them all
            runs[name].append(measured(command))
    for name, each in runs.items():
        walls, cpus, sizes = zip(*each, strict=True)
        print(
            f"{name:<44} wall {statistics.median(walls):6.2f} s (least {min(walls):.2f})  "
            f"cpu {min(cpus):6.2f} s  memory {max(sizes):5.0f} MiB"
        )
    return [(statistics.median(run[0] for run in each), min(run[1] for run in each)) for each in runs.values()]


def make_up(folder: Path, detections: int, videos: int = 5000, classes: int = 200) -> None:
    """ActivityNet-like files: one to three instances a video, half of the detections of one of its classes."""
    generator = np.random.default_rng(0)
    names = [f"activity {c:03d}" for c in range(classes)]
    database, results = {}, {}
    for v in range(videos):
        duration = generator.uniform(30, 240)
        shown = generator.choice(classes, 2, replace=False)
        annotations = []
        for _ in range(generator.integers(1, 4)):
            start = generator.uniform(0, 0.8 * duration)
            end = min(duration, start + generator.uniform(1, 0.3 * duration))
            annotations.append({"label": names[generator.choice(shown)], "segment": [round(start, 2), round(end, 2)]})
        database[f"v_{v:011d}"] = {"subset": "validation", "annotations": annotations}
        count = detections // videos
        start = generator.uniform(0, 0.9 * duration, count)
        end = np.minimum(duration, start + generator.uniform(0.5, 0.4 * duration, count))
        label = np.where(generator.random(count) < 0.5, shown[0], generator.integers(0, classes, count))
        score = generator.random(count)
        results[f"v_{v:011d}"] = [
            {"label": names[c], "score": s, "segment": [a, b]}
            for c, s, a, b in zip(label.tolist(), score.tolist(), start.tolist(), end.tolist(), strict=True)
        ]
    (folder / "ground_truth.json").write_text(json.dumps({"database": database}))
    (folder / "detections.json").write_text(json.dumps({"version": "made up", "results": results, "external_data": {}}))


def evaluation(folder: Path, tiou: str) -> list[str]:
    files = [str(folder / "detections.json"), str(folder / "ground_truth.json")]
    return [sys.executable, "-m", "wtal_eval.cli", *files, "--tiou", tiou]


def print_literal(folder: Path) -> None:
    """The mAP at each threshold of THUMOS14, by the literal twin that the tests hold against the package."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "packages" / "wtal-eval" / "tests"))
    import naive

    database = json.loads((folder / "ground_truth.json").read_text())["database"]
    results = json.loads((folder / "detections.json").read_text())["results"]
    labels = {a["label"] for video in database.values() for a in video["annotations"]}
    index = {name: i for i, name in enumerate(sorted(labels))}

    def interval(row: dict[str, Any]) -> tuple[int, float, float]:
        return (index[row["label"]], *map(float, row["segment"]))

    truth = {v: [interval(row) for row in video["annotations"]] for v, video in database.items()}
    found = {
        v: [(*interval(row), row["score"]) for row in rows if row["label"] in index] for v, rows in results.items()
    }
    tiou = [k / 10 for k in range(1, 10)]
    table = naive.average_precision("activitynet", truth, found, len(index), tiou)
    print(" ".join(f"{100 * statistics.mean(row):.2f}" for row in table))


def print_protocols(detections: Path, ground_truth: Path, subset: str | None) -> None:
    truth, found = read_ground_truth(ground_truth, subset), read_detections(detections)
    tiou = [k / 10 for k in range(1, 10)]
    print("| split | protocol | " + " | ".join(f"{t:g}" for t in tiou) + " | mean |")
    print("|---|---|" + "---:|" * 10)
    for split, videos in EXCLUSIONS.items():
        kept, scored = without_videos(truth, found, videos)
        for protocol in PROTOCOLS:
            mean_ap = 100 * evaluate(kept, scored, protocol=protocol, tiou_thresholds=tiou).mean_ap
            row = " | ".join(f"{value:.2f}" for value in (*mean_ap, mean_ap.mean()))
            print(f"| {split} | {protocol} | {row} |")
        cls = 100 * evaluate(kept, scored, protocol="classification").mean_ap[0]
        print(f"| {split} | classification, anywhere | {cls:.2f} |" + " |" * 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with detections.json and ground_truth.json")
    parser.add_argument("--protocols", action="store_true", help="compare protocols instead of timing")
    parser.add_argument("--literal", action="store_true", help="score with the literal twin, timing nothing")
    parser.add_argument("--ground-truth", type=Path, help="with --protocols, instead of FOLDER's")
    parser.add_argument("--subset", help="with --protocols")
    parser.add_argument("--detections", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if (options.protocols or options.literal) and options.data is None:
        parser.error("--protocols and --literal need --data")
    if options.literal:
        print_literal(options.data)
        return
    if options.protocols:
        ground_truth = options.ground_truth or options.data / "ground_truth.json"
        print_protocols(options.data / "detections.json", ground_truth, options.subset)
        return
    numpy_alone = {'python -c "import numpy"': [sys.executable, "-c", "import numpy"]}
    if options.data is not None:
        title, command = f"wtal-eval, {options.data.name}", evaluation(options.data, THUMOS14)
        report({**numpy_alone, title: command}, options.repeats)
        literal = [sys.executable, __file__, "--literal", "--data", str(options.data)]
        (wall, cpu), (literal_wall, literal_cpu) = report({title: command, "literal twin": literal}, 3)
        print(
            f"literal twin: {literal_wall / wall:.0f} times the wall time, {literal_cpu / cpu:.0f} times the CPU time"
        )
    for share in (10, 2, 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # In a process of its own: a child starts with the resident set of its parent, and would be charged for it.
            maker = get_context("spawn").Process(target=make_up, args=(folder, options.detections // share))
            maker.start()
            maker.join()
            title = f"wtal-eval, {options.detections // share:,} detections"
            report({**numpy_alone, title: evaluation(folder, ACTIVITYNET)}, max(1, options.repeats // 2))


if __name__ == "__main__":
    main()
