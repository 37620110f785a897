"""What reading costs an iteration of training: features in `.npy` files and in HDF5 beside features in memory.

    python benchmarks/pipeline.py [--rounds 9] [--threads 1] [--times 1]

Needs wtal-core and wtal-aggregators, and writes two stores of THUMOS14's size to a temporary folder: 412 videos of 320
snippets in the mean, 2048 features in float32, 1.1 GB each; `--times 10` makes ten times as many videos, and leaves out
what holds them in memory. Each row trains MAAN, batches of 16 videos of 20 snippets; the last is a plain loop over a
`torch.utils.data.DataLoader` on memory maps. Times are medians of wall time over interleaved rounds, ratios medians of
the rounds' ratios to the first row. All files fit the system's cache unless the machine is smaller than they are. The
last line is the most memory that the process has held.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from wtal_core import config
from wtal_core.contracts import Batch, IntArray, Targets
from wtal_core.convert import convert
from wtal_core.data.dataset import Dataset, examine
from wtal_core.model import build_model
from wtal_core.registry import Registry, discover
from wtal_core.training.loop import Task, train

VIDEOS, SNIPPETS, WIDTH, CLASSES = 412, 320, 2048, 20
BATCH, ROWS = 16, 20
ITERATIONS = 50

Features = Mapping[str, NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--times", type=int, default=1, help="how many times the videos of THUMOS14")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder, registry = Path(name), discover()
        write_stores(folder, VIDEOS * given.times, registry)
        ways = ways_to_train(folder, registry, in_memory=given.times == 1)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for round_ in range(given.rounds + 1):
            for way, run in ways.items():
                begin = time.perf_counter()
                run()
                if round_:  # the first one reads headers and fills the system's cache
                    times[way].append((time.perf_counter() - begin) / ITERATIONS)
    tell(
        f"One iteration of MAAN, {BATCH} videos of {ROWS} snippets of {WIDTH} features, {given.threads} threads", times
    )
    print(f"  at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MB")


def tell(title: str, times: dict[str, list[float]]) -> None:
    print(title)
    first, *_ = times.values()
    for way, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(found, first, strict=True))
        print(f"  {way:<40} {statistics.median(found) * 1e3:7.2f} ms   {ratio:5.2f}")


def write_stores(folder: Path, videos: int, registry: Registry) -> None:
    """Features as `.npy` files and, converted, in HDF5, and annotations of two classes a video."""
    generator = np.random.default_rng(0)
    (folder / "npy" / "rgb").mkdir(parents=True)
    database = {}
    for number in range(videos):
        length = int(generator.integers(SNIPPETS // 4, SNIPPETS * 7 // 4))
        features = generator.standard_normal((length, WIDTH), np.float32)
        np.save(folder / "npy" / "rgb" / f"video_{number}.npy", features)
        labels = generator.choice(CLASSES, 2, replace=False)
        database[f"video_{number}"] = {
            "subset": "validation" if number == 0 else "training",
            "duration": length,
            "annotations": [{"label": f"class {label}"} for label in labels],
        }
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    store = registry.build("feature reader", "npy", path=folder / "npy")
    convert(store, ["rgb"], folder / "hdf5")


def ways_to_train(folder: Path, registry: Registry, in_memory: bool) -> dict[str, Callable[[], None]]:
    """By their names, functions that build a model and train it for `ITERATIONS`."""
    opened = {reader: open_dataset(folder, reader, registry) for reader in ("npy", "hdf5")}
    experiment, npy = opened["npy"]
    names = [video.name for video in npy.training]
    maps = {name: np.load(folder / "npy" / "rgb" / f"{name}.npy", mmap_mode="r") for name in names}
    ways = {}
    if in_memory:
        held = {name: np.array(array) for name, array in maps.items()}
        memory = dataclasses.replace(npy, store=Memory(held))
        ways["in memory"] = lambda: trained(memory, experiment, registry, folder)
    for reader, (of_reader, dataset) in opened.items():
        ways[reader] = lambda e=of_reader, d=dataset: trained(d, e, registry, folder)
    if in_memory:
        ways["a DataLoader, in memory"] = lambda: plain(held, npy, experiment, registry)
    ways["a DataLoader, memory maps"] = lambda: plain(maps, npy, experiment, registry)
    return ways


def open_dataset(folder: Path, reader: str, registry: Registry) -> tuple[config.Experiment, Dataset]:
    path = folder / f"{reader}.toml"
    path.write_text(
        f'data = {{ annotations = "annotations.json", features = "{reader}", reader = "{reader}", streams = ["rgb"], '
        f'grid = "duration" }}\n'
        f"[training]\nstandardize = false\nbatch_size = {BATCH}\niterations = {ITERATIONS}\n"
        f'clip = {{ name = "segments", snippets = {ROWS} }}\n'
    )
    experiment = config.load(path)
    dataset, problems = examine(experiment.data, registry)
    if problems:
        raise SystemExit("\n".join(map(str, problems)))
    return experiment, dataset


def trained(dataset: Dataset, experiment: config.Experiment, registry: Registry, folder: Path) -> None:
    """The training of a run, and nothing of what a run does before it."""
    checkpoint = folder / "checkpoint.safetensors"
    settings = config.stages(experiment)[0]
    task = Task(dataset, "rgb", settings, 0, torch.device("cpu"), registry, checkpoint)
    train(task, None, lambda *_: None, lambda *_: None)
    checkpoint.unlink()


@dataclasses.dataclass
class Memory:
    """A store that holds all."""

    features: Features

    def names(self, stream: str) -> list[str]:  # noqa: ARG002 - one stream
        return sorted(self.features)

    def shape(self, name: str, stream: str) -> tuple[int, ...]:  # noqa: ARG002
        return self.features[name].shape

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.float32]:  # noqa: ARG002
        return self.features[name] if rows is None else self.features[name][rows]


class Clips(TorchDataset):
    """Random snippets of each video, as one would write it."""

    def __init__(self, features: Features, labels: torch.Tensor) -> None:
        self.features, self.labels = list(features.values()), labels

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.features[number]
        rows = np.sort(np.random.randint(0, len(features), ROWS))  # noqa: NPY002 - as one would write it
        return torch.from_numpy(features[rows]), self.labels[number], torch.from_numpy(rows)


class Batches(Sampler[list[int]]):
    def __init__(self, videos: int) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return ITERATIONS

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(ITERATIONS):
            yield torch.randint(self.videos, (BATCH,)).tolist()


def plain(features: Features, dataset: Dataset, experiment: config.Experiment, registry: Registry) -> None:
    """The same model and optimiser in a loop of a few lines: no checks, no checkpoint, no seed for an iteration."""
    settings = config.stages(experiment)[0]
    model = build_model(settings, registry, dataset.dimensions("rgb")).train()
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.training.learning_rate, weight_decay=settings.training.weight_decay
    )
    labels = torch.from_numpy(dataset.targets(dataset.training) > 0).float()
    for clips, of_clips, rows in DataLoader(Clips(features, labels), batch_sampler=Batches(len(features))):
        terms = model.terms(Batch(model.standardized(clips), None, Targets(of_clips), rows))
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


if __name__ == "__main__":
    main()
