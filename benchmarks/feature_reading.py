"""Time reads of training: twenty random snippets each from the files of a data set, and what they are of an iteration.

    python benchmarks/feature_reading.py

Needs wtal-core and wtal-aggregators. The first row keeps one memory map a file, which a usual limit on open files
forbids for a large data set; the others hold a bounded number of files open. All files fit the system's cache, so that
what is compared is the cost of asking. Times are medians of wall time over interleaved rounds, ratios medians of the
rounds' ratios.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from wtal_core import config
from wtal_core.contracts import FeatureStore, IntArray
from wtal_core.dataset import open_dataset
from wtal_core.features import NpyFolder
from wtal_core.plugins import discover
from wtal_core.training import train_stream

FILES, SNIPPETS, WIDTH = 600, 400, 1024
ROWS = 20  # of one video in one iteration of training (MAAN)
BOUND = 64  # maps
ROUNDS = 15
ITERATIONS = 40

Read = Callable[[str, NDArray[np.int64]], NDArray[np.generic]]


def main() -> None:
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "rgb").mkdir()
        names = [f"video_{number}" for number in range(FILES)]
        for name in names:
            np.save(path / "rgb" / f"{name}.npy", generator.normal(size=(SNIPPETS, WIDTH)).astype(np.float32))
        ways = ways_to_read(path)
        reads: dict[str, list[float]] = {way: [] for way in ways}
        for round_ in range(ROUNDS + 1):
            order = generator.permutation(FILES)
            work = [(names[number], np.sort(generator.integers(0, SNIPPETS, ROWS))) for number in order]
            for way, read in ways.items():
                begin = time.perf_counter()
                for name, rows in work:
                    read(name, rows)
                if round_:  # the first one reads headers and fills the system's cache
                    reads[way].append((time.perf_counter() - begin) / len(work))
        iterations = training(path, names, ways)
    tell(f"{ROWS} of {SNIPPETS} snippets (D = {WIDTH}, float32) from each of {FILES} files, in random order", reads)
    tell("One iteration of training MAAN, a batch of 16 videos, one thread", iterations)


def tell(title: str, times: dict[str, list[float]]) -> None:
    print(title)
    first, *_ = times.values()
    for way, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(found, first, strict=True))
        print(f"  {way:<42} {statistics.median(found) * 1e6:6.0f} us   {ratio:5.2f}")


def training(folder: Path, names: list[str], ways: dict[str, Read]) -> dict[str, list[float]]:
    """Seconds of an iteration, per way to read."""
    instances = [{"label": "jump"}, {"label": "run"}]
    database = {
        name: {"subset": ("training", "validation")[number == 0], "duration": 1, "annotations": instances}
        for number, name in enumerate(names)
    }
    (folder / "a.json").write_text(json.dumps({"database": database}))
    (folder / "e.toml").write_text(
        'data = { annotations = "a.json", features = ".", streams = ["rgb"], grid = "duration" }\n'
        f"training = {{ standardize = false, snippets = {ROWS}, iterations = {ITERATIONS} }}\n"
    )
    experiment, registry = config.load(folder / "e.toml"), discover()
    torch.set_num_threads(1)
    dataset = open_dataset(experiment.data, registry)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(ROUNDS + 1):
        for way, read in ways.items():
            changed = dataclasses.replace(dataset, store=Store(dataset.store, read))
            begin = time.perf_counter()
            train_stream(changed, "rgb", experiment, registry)
            if round_:
                times[way].append((time.perf_counter() - begin) / ITERATIONS)
    return times


@dataclasses.dataclass
class Store:
    """A store with another way to read."""

    store: FeatureStore
    way: Read

    def names(self, stream: str) -> Sequence[str]:
        return self.store.names(stream)

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        return self.store.shape(name, stream)

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        return self.store.read(name, stream) if rows is None else self.way(name, rows)


def ways_to_read(folder: Path) -> dict[str, Read]:
    """By their names, functions that read some rows of a video."""

    def mapped(name: str) -> NDArray[np.generic]:
        array: NDArray[np.generic] = np.load(folder / "rgb" / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    kept, recent = cache(mapped), lru_cache(BOUND)(mapped)
    store = NpyFolder(folder)
    return {
        "a map kept for each file": lambda name, rows: np.asarray(kept(name)[rows]),
        "rows read one by one (what NpyFolder does)": lambda name, rows: store.read(name, "rgb", rows),
        f"the {BOUND} maps last used": lambda name, rows: np.asarray(recent(name)[rows]),
        "a map for each read": lambda name, rows: np.asarray(mapped(name)[rows]),
        "the whole file for each read": lambda name, rows: store.read(name, "rgb")[rows],
    }


if __name__ == "__main__":
    main()
