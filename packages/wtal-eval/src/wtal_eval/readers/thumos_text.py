"""The text files of the THUMOS challenge.

Ground truth is a folder: `<Class>_<subset>.txt` with lines `video start end`, `Ambiguous_<subset>.txt` likewise, and
`detclasslist.txt` with lines `number class`. Detections are lines `video start end class score`, where the class is its
number or its name, and the video may end in `.mp4`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..dataset import AMBIGUOUS_LABEL, DetectionSet, GroundTruth, choose_subset, ground_truth_by_name, subset_notes
from ..intervals import Detections, InputError

CLASS_LIST = "detclasslist.txt"


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read one subset of a folder; see `wtal_eval.read_ground_truth`."""
    numbers = {}
    for where, (number, name) in _rows(path / CLASS_LIST, "number class"):
        if not number.isdigit():
            raise InputError(f"{where}: {number!r} is not a class number")
        numbers[str(int(number))] = name
    sizes: dict[str, set[str]] = {}
    for name in numbers.values():
        for file in path.glob(f"{name}_*.txt"):
            found = sizes.setdefault(file.stem.removeprefix(f"{name}_"), set())
            found.update(video for _, (video, *_) in _rows(file, "video start end"))
    counts = {name: len(videos) for name, videos in sizes.items()}
    subset = choose_subset(counts, subset, str(path))
    videos: dict[str, tuple[list[str], list[float], list[float]]] = {}
    names = [*numbers.values()]
    if (path / f"{AMBIGUOUS_LABEL}_{subset}.txt").exists():  # only the test subset has one
        names.append(AMBIGUOUS_LABEL)
    for name in names:
        for where, (video, start, end) in _rows(path / f"{name}_{subset}.txt", "video start end"):
            labels, starts, ends = videos.setdefault(video, ([], [], []))
            labels.append(name)
            starts.append(_number(start, where))
            ends.append(_number(end, where))
    return replace(ground_truth_by_name(videos, subset_notes(counts, subset)), class_numbers=numbers)


def read_detections(path: Path) -> DetectionSet:
    """Read a detection file; see `wtal_eval.read_detections`."""
    labels: dict[str, int] = {}
    videos: dict[str, list[tuple[int, float, float, float]]] = {}
    for where, (video, start, end, label, score) in _rows(path, "video start end class score"):
        label = str(int(label)) if label.isdigit() else label
        row = (labels.setdefault(label, len(labels)), _number(start, where), _number(end, where), _number(score, where))
        videos.setdefault(video.removesuffix(".mp4"), []).append(row)
    columns = {}
    for video, rows in videos.items():
        numbers, starts, ends, scores = zip(*rows, strict=True)
        columns[video] = Detections(np.array(numbers, np.int64), np.array(starts), np.array(ends), np.array(scores))
    return DetectionSet(columns, tuple(labels))


def _rows(path: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    fields = len(form.split())
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                row = line.split()
                if not row:
                    continue
                where = f"{path}, line {number}"
                if len(row) != fields:
                    raise InputError(f"{where}: {line.strip()!r} does not have the form `{form}`")
                yield where, row
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a text file: {error}") from None


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is not a number") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {text!r} is not finite")
    return value
