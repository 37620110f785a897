"""Time reads from HDF5 in the chunks that `wtal convert` may write: twenty random rows, and whole videos.

    python benchmarks/feature_chunks.py

All files fit the system's cache. Times are medians over interleaved rounds, a video each.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from wtal_core.builtin.features import Hdf5File

VIDEOS, SNIPPETS, WIDTH, ROWS, ROUNDS = 60, 320, 2048, 20, 7
CHUNKS = {"contiguous": None, "1 row": 1, "4 rows": 4, "16 rows": 16, "64 rows": 64, "all rows": SNIPPETS}


def main() -> None:
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        stores = {}
        for name, rows in CHUNKS.items():
            path = Path(folder) / f"{name}.h5"
            with h5py.File(path, "w") as file:
                for video in range(VIDEOS):
                    data = generator.normal(size=(SNIPPETS, WIDTH)).astype(np.float32)
                    file.create_dataset(f"{video}/rgb", data=data, chunks=rows and (rows, WIDTH))
            stores[name] = Hdf5File(path)
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(ROUNDS):
            for name, store in stores.items():
                for kind in ("rows", "whole"):
                    wanted = [np.sort(generator.integers(0, SNIPPETS, ROWS)) for _ in range(VIDEOS)]
                    begin = time.perf_counter()
                    for video in range(VIDEOS):
                        store.read(str(video), "rgb", wanted[video] if kind == "rows" else None)
                    times.setdefault((name, kind), []).append((time.perf_counter() - begin) / VIDEOS)
    print(f"{SNIPPETS} x {WIDTH}, float32        {ROWS} rows       whole")
    for name in CHUNKS:
        rows, whole = (statistics.median(times[name, kind]) * 1e3 for kind in ("rows", "whole"))
        print(f"  {name:<20} {rows:8.2f} ms {whole:8.2f} ms")


if __name__ == "__main__":
    main()
