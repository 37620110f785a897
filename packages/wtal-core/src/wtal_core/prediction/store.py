"""Predictions on disk: what the trained models say of a subset, so that localization can be repeated without them.

One HDF5 file, `/VIDEO/STREAM/{attention,response,class_scores}` in float32, with `intervals` and `assemblies` where
there are some. Its `key` says what it was made with; with another key the file is stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from wtal_core.contracts import Assemblies, Intervals
from wtal_core.files import replacing
from wtal_core.prediction.predict import StreamPrediction


def save_predictions(
    path: Path, key: str, streams: Sequence[str], predictions: Mapping[str, Sequence[StreamPrediction]]
) -> None:
    """Write the predictions of a subset's videos, one per stream."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["key"] = key
        for name, of_video in predictions.items():
            for stream, prediction in zip(streams, of_video, strict=True):
                group = file.create_group(f"{name}/{stream}")
                for part in StreamPrediction._fields[:3]:
                    _write(group, part, getattr(prediction, part))
                for part in ("intervals", "assemblies"):
                    for field, array in ({} if (some := getattr(prediction, part)) is None else some._asdict()).items():
                        _write(group, f"{part}/{field}", array)


def load_predictions(
    path: Path, key: str, streams: Sequence[str], videos: Sequence[str]
) -> dict[str, list[StreamPrediction]] | None:
    """Read them back in float64, or None where there is no such file, or a stale or a spoilt one."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("key") != key:
                return None
            return {name: [_read(file[f"{name}/{stream}"]) for stream in streams] for name in videos}
    except Exception:  # HDF5 has an error of its own for each place that can be spoilt; all are made again
        return None


def _write(group: h5py.Group, name: str, array: np.ndarray) -> None:
    # An attention that is the same for every class packs to the size of one.
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.size else {}
    kept = array if array.dtype.kind == "i" else array.astype(np.float32)
    group.create_dataset(name, data=kept, **packed)


def _read(group: h5py.Group) -> StreamPrediction:
    attention, response, class_scores = (group[part][()].astype(np.float64) for part in StreamPrediction._fields[:3])
    if not (attention.ndim == 2 and response.shape == attention.shape and class_scores.shape == attention.shape[:1]):
        raise ValueError("arrays that do not fit each other")
    if not np.isfinite(class_scores).all():  # activations that are not finite are the proposer's to name
        raise ValueError("scores that are not finite")
    intervals, assemblies = None, None
    if "intervals" in group:
        label, *times = (group[f"intervals/{field}"][()] for field in Intervals._fields)
        intervals = Intervals(label.astype(np.int64), *(array.astype(np.float64) for array in times))
    if "assemblies" in group:
        assemblies = Assemblies(*(group[f"assemblies/{field}"][()].astype(np.float64) for field in Assemblies._fields))
    return StreamPrediction(attention, response, class_scores, intervals, assemblies)
