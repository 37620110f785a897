"""Time proposals and NMS: against the usual Python code, against torchvision's C++ kernel, and from a cold start.

    python benchmarks/localization.py

Needs wtal-localize alone. torchvision's rows appear where it is installed; it wants a torch of its own version, so it
has an environment of its own: tox run -e benchmark-localization.
Times are medians of CPU time over interleaved repetitions, ratios medians of the repetitions' ratios; only cold starts
are wall time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from wtal_localize import Detections, MultiThreshold, NonMaximumSuppression, nms

try:
    import torch
    import torchvision
except ImportError:
    torchvision = None

VIDEOS, CLASSES, SNIPPETS = 5000, 200, 150
THRESHOLDS = tuple(k / 10 for k in range(1, 10))
TIOU = 0.5
ROUNDS = 3


def main() -> None:
    versions = [f"python {sys.version.split()[0]}", f"numpy {np.__version__}"]
    if torchvision is not None:
        torch.set_num_threads(1)
        versions += [f"torch {torch.__version__}", f"torchvision {torchvision.__version__}"]
    print(", ".join(versions))
    cold_start()
    suppression()
    many_groups()
    whole_data_set()


def cold_start() -> None:
    """The first call in a fresh process, beyond importing numpy and wtal_localize; numba's import counts."""
    print("\nFirst call in a fresh process, seconds beyond the imports (wall time, median of 5; compiling: once)")
    code = (
        "import time, numpy as np, wtal_localize as w\n"
        "s = np.random.default_rng(0).random({n}) * {n}; a, e = s.reshape(-1, 50), np.arange(51.0)\n"
        "c = np.ones(len(a)); t = time.perf_counter()\n"
        "w.{call}; print(time.perf_counter() - t)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": cache,
            "PYTHONPATH": ":".join(path for path in sys.path if path),
        }
        for name, call, n, runs in (
            ("nms        50 intervals, NumPy", "nms(s, s + 5, s)", 50, 5),
            ("nms        16,000 intervals, NumPy", "nms(s, s + 5, s)", 16_000, 5),
            ("nms        20,000 intervals, nothing cached, compiling", "nms(s, s + 5, s)", 20_000, 1),
            ("nms        20,000 intervals, compiled code cached on disk", "nms(s, s + 5, s)", 20_000, 5),
            ("soft_nms   50 intervals, NumPy", "soft_nms(s, s + 5, s)", 50, 5),
            ("soft_nms   2,000 intervals, NumPy", "soft_nms(s, s + 5, s)", 2000, 5),
            ("soft_nms   5,000 intervals, nothing cached, compiling", "soft_nms(s, s + 5, s)", 5000, 1),
            ("soft_nms   5,000 intervals, compiled code cached on disk", "soft_nms(s, s + 5, s)", 5000, 5),
            ("propose    1 class of 50 snippets, 9 thresholds", "MultiThreshold()(a, c, e)", 50, 5),
            ("propose    200 classes of 50 snippets, 9 thresholds", "MultiThreshold()(a, c, e)", 10_000, 5),
        ):
            command = [sys.executable, "-c", code.format(n=n, call=call)]
            seconds = [float(subprocess.check_output(command, env=environment)) for _ in range(runs)]
            print(f"  {name:<60} {statistics.median(seconds):8.4f}")


def suppression() -> None:
    print(f"\nNMS at tIoU {TIOU}, milliseconds a call, and how many times longer the others take")
    print(f"  {'':<40} {'kept':>9} {'nms':>9} {'Python loop':>20} {'torchvision':>20}")
    NonMaximumSuppression(TIOU)(random_intervals(20_000, 1))  # from here on it is compiled code that is timed
    for name, count, classes, repetitions in (
        ("200 intervals in 5 classes", 200, 5, 201),
        ("2,000 intervals in 20 classes", 2000, 20, 51),
        ("2,000 intervals in 1 class", 2000, 1, 51),
        ("20,000 intervals in 1 class", 20_000, 1, 9),
    ):
        intervals = random_intervals(count, classes)
        rows = [list(row) for row in zip(*(column.tolist() for column in intervals), strict=True)]
        suppress = NonMaximumSuppression(TIOU)
        compared: dict[str, Callable[[], Any]] = {
            "nms": lambda s=suppress, i=intervals: s(i).label,
            "loop": lambda r=rows: python_loop(r, TIOU),
        }
        if torchvision is not None:
            tensors = [torch.from_numpy(column) for column in intervals]
            compared["torchvision"] = lambda t=tensors: torchvision_nms(*t, TIOU)
        kept = {len(function()) for function in compared.values()}
        assert len(kept) == 1, kept
        print(f"  {name:<40} {kept.pop():>9,} " + versus(compared, repetitions))


def many_groups() -> None:
    """A million intervals, unsorted in their groups: in one call, ranked across groups or not, and group by group."""
    print(f"\nNMS at tIoU {TIOU} of many groups, seconds of CPU time, medians of {ROUNDS} interleaved rounds")
    for groups, size in ((5000, 200), (50_000, 20)):
        rng = np.random.default_rng(0)
        start = rng.uniform(0, 100, groups * size)
        end, score = start + rng.exponential(10, len(start)) + 0.1, rng.random(len(start))
        label = np.repeat(np.arange(groups), size)
        parts = [slice(k, k + size) for k in range(0, len(start), size)]
        timed: dict[str, Callable[[], int]] = {
            "one call": lambda a=(start, end, score, label): len(nms(*a)),
            "one call, ranked across groups": lambda a=(start, end, score, label): len(nms(*a, ranked=True)),
            "group by group": lambda a=(start, end, score), p=parts: sum(len(nms(*(z[k] for z in a))) for k in p),
        }
        times: dict[str, list[float]] = {name: [] for name in timed}
        kept = set()
        for _ in range(ROUNDS):
            for name, function in timed.items():
                begin = time.process_time()
                kept.add(function())
                times[name].append(time.process_time() - begin)
        assert len(kept) == 1, kept
        cells = (f"{name} {statistics.median(seconds):.3f}" for name, seconds in times.items())
        print(f"  {groups:>6,} of {size:<4} {kept.pop():>9,} kept   " + "   ".join(cells))


def versus(compared: dict[str, Callable[[], Any]], repetitions: int) -> str:
    times: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(repetitions):
        for name, function in compared.items():
            begin = time.process_time()
            function()
            times[name].append(time.process_time() - begin)
    ours, *others = times.values()
    cells = [f"{1e3 * statistics.median(ours):9.3f}"]
    for other in others:
        ratio = statistics.median(b / a for a, b in zip(ours, other, strict=True))
        cells.append(f"{1e3 * statistics.median(other):10.3f} ({ratio:6.1f}x)")
    return " ".join(cells)


def whole_data_set() -> None:
    """Activations of many videos through the proposer and NMS, video by video as a runner does."""
    rng = np.random.default_rng(0)
    videos = [random_video(rng) for _ in range(50)]
    edges = np.arange(SNIPPETS + 1) * 0.64
    propose = MultiThreshold(THRESHOLDS)
    suppress = NonMaximumSuppression(TIOU)
    usual = python_proposals(*videos[0], edges)
    ours = propose(*videos[0], edges)
    assert [row[:3] for row in sorted(usual)] == list(
        zip(ours.label.tolist(), ours.start.tolist(), ours.end.tolist(), strict=True)
    )

    def fast() -> None:
        for video in videos:
            propose(*video, edges)

    def slow() -> None:
        for video in videos:
            python_proposals(*video, edges)

    print(f"\nProposals of {len(videos)} videos, {CLASSES} classes, {len(THRESHOLDS)} thresholds, outer-inner contrast")
    print(f"  {'':<40} {'':>9} {'propose':>9} {'Python loop':>20}")
    print(f"  {'milliseconds for all':<40} {'':>9} " + versus({"fast": fast, "slow": slow}, 5))

    print(f"\n{VIDEOS:,} videos, {CLASSES} classes: seconds of CPU time, video by video as a runner does,")
    print(f"and how many times longer the Python loop takes; medians of {ROUNDS} interleaved rounds")
    proposals, proposing = [], 0.0
    for _ in range(VIDEOS):
        video = random_video(rng)
        begin = time.process_time()
        proposals.append(propose(*video, edges))
        proposing += time.process_time() - begin
    label, start, end, score = (np.concatenate(columns) for columns in zip(*proposals, strict=True))
    group = np.repeat(np.arange(VIDEOS) * CLASSES, [len(detections.label) for detections in proposals]) + label
    rows = [[list(row) for row in zip(*(a.tolist() for a in d), strict=True)] for d in proposals]
    timed: dict[str, Callable[[], int]] = {
        "NMS": lambda: sum(len(suppress(detections).label) for detections in proposals),
        "NMS, all videos in one call": lambda: len(nms(start, end, score, group, threshold=TIOU)),
        "Python loop": lambda: sum(len(python_loop(video, TIOU)) for video in rows),
    }
    if torchvision is not None:
        tensors = [[torch.from_numpy(a) for a in d] for d in proposals]
        timed["torchvision"] = lambda: sum(len(torchvision_nms(*video, TIOU)) for video in tensors)
    print(f"  {'proposer':<40} {len(label):>9,} {proposing:9.2f}")
    kept, times = {}, {name: [] for name in timed}
    for _ in range(ROUNDS):
        for name, function in timed.items():
            begin = time.process_time()
            kept[name] = function()
            times[name].append(time.process_time() - begin)
    assert len(set(kept.values())) == 1, kept
    for name, seconds in times.items():
        ratio = statistics.median(loop / own for loop, own in zip(times["Python loop"], seconds, strict=True))
        print(f"  {name:<40} {kept[name]:>9,} {statistics.median(seconds):9.2f} {ratio:9.1f}x")


def random_intervals(count: int, classes: int) -> Detections:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, count / 2, count)
    return Detections(
        rng.integers(0, classes, count), start, start + rng.exponential(10, count) + 0.1, rng.random(count)
    )


def random_video(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Smooth activations (C, T), and class scores of which ten pass the threshold."""
    noise = rng.random((CLASSES, SNIPPETS + 8))
    activation = np.lib.stride_tricks.sliding_window_view(noise, 9, axis=1).mean(2) ** 4
    class_scores = np.zeros(CLASSES)
    class_scores[rng.choice(CLASSES, 10, replace=False)] = rng.uniform(0.2, 1, 10)
    return activation / activation.max(), class_scores


def python_loop(rows: list[list[float]], threshold: float) -> list[list[float]]:
    """NMS of (class, start, end, score) rows as public codes write it: NumPy in a Python loop, class by class."""
    table = np.array(rows)
    kept: list[list[float]] = []
    for c in np.unique(table[:, 0]):
        mine = table[table[:, 0] == c]
        start, end = mine[:, 1], mine[:, 2]
        length = end - start
        order = mine[:, 3].argsort()[::-1]
        while order.size > 0:
            best, rest = order[0], order[1:]
            kept.append(mine[best].tolist())
            inner = np.maximum(0.0, np.minimum(end[best], end[rest]) - np.maximum(start[best], start[rest]))
            tiou = inner / (length[best] + length[rest] - inner)
            order = rest[np.where(tiou <= threshold)[0]]
    return kept


def torchvision_nms(label: Any, start: Any, end: Any, score: Any, threshold: float) -> Any:
    """The C++ kernel, class by class as the supervised toolboxes call theirs, on boxes of height one."""
    kept = []
    for c in label.unique():
        mine = (label == c).nonzero()[:, 0]
        zeros = torch.zeros_like(start[mine])
        boxes = torch.stack([start[mine], zeros, end[mine], zeros + 1], 1)
        kept.append(mine[torchvision.ops.nms(boxes, score[mine], threshold)])
    return torch.cat(kept)


def python_proposals(
    activation: np.ndarray, class_scores: np.ndarray, edges: np.ndarray
) -> list[tuple[int, float, float, float]]:
    """Proposals as public codes make them: a loop over classes, thresholds and connected components."""
    found = {}
    for c in np.where(class_scores >= 0.1)[0].tolist():
        for threshold in THRESHOLDS:
            inside = np.where(activation[c] >= threshold * activation[c].max())[0]
            for run in np.split(inside, np.where(np.diff(inside) != 1)[0] + 1):
                first, last = run[0], run[-1] + 1
                margin = (last - first) / 4
                low, high = max(0, round(first - margin)), min(SNIPPETS, round(last + margin))
                outer = np.concatenate([activation[c, low:first], activation[c, last:high]])
                score = activation[c, first:last].mean() - (outer.mean() if outer.size else 0.0)
                found[c, float(edges[first]), float(edges[last])] = score + 0.2 * class_scores[c]
    return [(*key, score) for key, score in found.items()]


if __name__ == "__main__":
    main()
