"""Readings on disk: what the trained models say of a subset, so that localization can be repeated without them.

One HDF5 file per subset, `/VIDEO/STREAM/{attention,response,class_scores}`, float32. Its `key` says which weights and
which activation it was made with; with another key the file is stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from wtal_core.contracts import ActivationMaps
from wtal_core.files import replacing
from wtal_core.localization import Reading


def save_readings(path: Path, key: str, streams: Sequence[str], readings: Mapping[str, Sequence[Reading]]) -> None:
    """Write the readings of a subset's videos, one per stream."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["key"] = key
        for name, of_video in readings.items():
            for stream, reading in zip(streams, of_video, strict=True):
                group = file.create_group(f"{name}/{stream}")
                for part, array in (*reading.maps._asdict().items(), ("class_scores", reading.class_scores)):
                    # An attention that is the same for every class packs to the size of one.
                    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.size else {}
                    group.create_dataset(part, data=array.astype(np.float32), **packed)


def load_readings(
    path: Path, key: str, streams: Sequence[str], videos: Sequence[str]
) -> dict[str, list[Reading]] | None:
    """Read them back in float64, or None where there is no such file, or a stale or a spoilt one."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("key") != key:
                return None
            return {name: [_read(file[f"{name}/{stream}"]) for stream in streams] for name in videos}
    except Exception:  # HDF5 has an error of its own for each place that can be spoilt; all are made again
        return None


def _read(group: h5py.Group) -> Reading:
    parts = (group[part][()].astype(np.float64) for part in ("attention", "response", "class_scores"))
    attention, response, class_scores = parts
    if not (attention.ndim == 2 and response.shape == attention.shape and class_scores.shape == attention.shape[:1]):
        raise ValueError("arrays that do not fit each other")
    if not np.isfinite(class_scores).all():  # activations that are not finite are the proposer's to name
        raise ValueError("scores that are not finite")
    return Reading(ActivationMaps(attention, response), class_scores)
