"""Readers of result and annotation files; the form of the path says which one reads it."""

from __future__ import annotations

from pathlib import Path

from ..dataset import DetectionSet, GroundTruth
from ..intervals import InputError
from ..text import expanded, read_bytes

DETECTION_SUFFIXES = (".json", ".csv", ".txt")


def read_ground_truth(path: str | Path, subset: str | None = None) -> GroundTruth:
    """Read the annotation of one subset.

    Args:
        path: ActivityNet JSON (`.json`), a table (`.csv`) or a folder of THUMOS text files.
        subset: Name of the subset; may be omitted where there is only one.

    Raises:
        OSError: If the file cannot be read.
        InputError: If it has the wrong form, or not that subset.
    """
    path = expanded(path)
    if path.is_dir():
        from .thumos_text import read_ground_truth
    elif path.suffix.lower() == ".json":
        from .activitynet_json import read_ground_truth
    elif path.suffix.lower() == ".csv":
        from .csv_table import read_ground_truth
    else:
        raise InputError(f"{path}: ground truth must be a .json or .csv file or a folder of THUMOS text files")
    return read_ground_truth(path, subset)


def read_detections(path: str | Path) -> DetectionSet:
    """Read detections: ActivityNet JSON (`.json`), a table (`.csv`) or THUMOS text (`.txt`).

    A file of no bytes holds no detection, and a note says so.

    Raises:
        OSError: If the file cannot be read.
        InputError: If it has the wrong form.
    """
    path = expanded(path)
    if path.suffix.lower() in DETECTION_SUFFIXES and _is_empty(path):
        return DetectionSet({}, (), (f"{path} is empty",))
    if path.suffix.lower() == ".json":
        from .activitynet_json import read_detections
    elif path.suffix.lower() == ".csv":
        from .csv_table import read_detections
    elif path.suffix.lower() == ".txt":
        from .thumos_text import read_detections
    else:
        raise InputError(f"{path}: detections must be a .json, .csv or .txt file")
    return read_detections(path)


def _is_empty(path: Path) -> bool:
    """Whether a file holds nothing, but perhaps a byte-order mark."""
    return path.is_file() and path.stat().st_size <= 3 and not read_bytes(path)
