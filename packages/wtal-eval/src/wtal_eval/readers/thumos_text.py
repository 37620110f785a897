"""The text files of the THUMOS challenge.

Ground truth is a folder: `<class>_<subset>.txt` with lines `video start end`, `Ambiguous_<subset>.txt` likewise, and
`detclasslist.txt` with lines `number class`. Detections are lines `video start end class score`, where the class is its
number or its name. A video may be named with the suffix of its file, such as `.mp4`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..dataset import DetectionSet, GroundTruth, choose_subset, ground_truth_by_name, subset_notes
from ..evaluation import counted, named
from ..intervals import Detections, InputError
from ..names import AMBIGUOUS_LABEL, as_met, one_name, without_container
from ..text import finite, numbered_lines

CLASS_LIST = "detclasslist.txt"


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read one subset of a folder; see `wtal_eval.read_ground_truth`."""
    numbers = _class_numbers(path / CLASS_LIST)
    names = [name for name in numbers.values() if name != AMBIGUOUS_LABEL]
    files, strangers = _files(path, {*names, AMBIGUOUS_LABEL})
    counts = {
        of: len({_video(video) for _, (video, *_) in _rows_of(by_class.values(), "video start end")})
        for of, by_class in ((of, {n: f for n, f in by_class.items() if n in names}) for of, by_class in files.items())
        if by_class
    }
    if not counts:
        raise InputError(f"{path}: no file <class>_<subset>.txt of a class that {CLASS_LIST} lists")
    subset = choose_subset(counts, subset, str(path))
    videos: dict[str, tuple[list[str], list[float], list[float]]] = {}
    for name in (*names, AMBIGUOUS_LABEL):
        if name in files[subset]:
            for where, (video, start, end) in _rows_of([files[subset][name]], "video start end"):
                labels, starts, ends = videos.setdefault(_video(video), ([], [], []))
                labels.append(name)
                starts.append(_number(start, where))
                ends.append(_number(end, where))
    notes = subset_notes(counts, subset)
    if empty := [name for name in names if name not in files[subset]]:
        notes += (f"{counted(len(empty), 'class', 'classes')} without a file, so without instances: {named(empty)}",)
    if strangers:
        notes += (f"{counted(len(strangers), 'file')} of no class in {CLASS_LIST} left out: {named(strangers)}",)
    return replace(ground_truth_by_name(videos, notes), class_numbers=numbers)


def read_detections(path: Path) -> DetectionSet:
    """Read a detection file; see `wtal_eval.read_detections`."""
    labels: dict[str, int] = {}
    videos: dict[str, list[tuple[int, float, float, float]]] = {}
    for where, (video, start, end, label, score) in _rows_of([path], "video start end class score"):
        label = _class_number(label) or as_met(label)
        row = (labels.setdefault(label, len(labels)), _number(start, where), _number(end, where), _number(score, where))
        videos.setdefault(_video(video), []).append(row)
    columns = {}
    for video, rows in videos.items():
        numbers, starts, ends, scores = zip(*rows, strict=True)
        columns[video] = Detections(np.array(numbers, np.int64), np.array(starts), np.array(ends), np.array(scores))
    return DetectionSet(columns, tuple(labels))


def _class_numbers(path: Path) -> dict[str, str]:
    """The classes that a list names, by their number."""
    numbers: dict[str, str] = {}
    places: dict[str, str] = {}
    for where, (text, spelling) in _rows_of([path], "number class"):
        number, name = _class_number(text), as_met(spelling)
        if number is None:
            raise InputError(f"{where}: {text!r} is not a class number")
        for what, key in (("class number", number), ("class", name)):
            if (first := places.setdefault(f"{what} {key}", where)) != where:
                raise InputError(f"{where}: {what} {key!r} comes twice, first in {first}: remove one")
        numbers[number] = name
    return numbers


def _class_number(text: str) -> str | None:
    """A class number without leading zeros; None if the text is none."""
    return (text.lstrip("0") or "0") if text.isascii() and text.isdigit() else None


def _files(folder: Path, names: Collection[str]) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """The files of each subset by class; and the names of files that might be such, but of none of the classes.

    A file belongs to the class with the longest name that fits: `Jump_High_test.txt` to Jump_High rather than Jump.
    """
    files: dict[str, dict[str, Path]] = {}
    strangers = []
    for path in sorted(folder.iterdir()):
        stem = as_met(path.stem)
        if path.suffix != ".txt" or path.name == CLASS_LIST:
            continue
        fitting = [name for name in names if stem.startswith(f"{name}_") and len(stem) > len(name) + 1]
        if fitting:
            name = max(fitting, key=len)
            of = files.setdefault(stem[len(name) + 1 :], {})
            if of.setdefault(name, path) != path:
                raise InputError(f"{folder}: {one_name(of[name].name, path.name)}: join the two files")
        else:
            strangers.append(path.name)
    known = {*files}
    return files, [name for name in strangers if any(name.endswith(f"_{subset}.txt") for subset in known)]


def _video(name: str) -> str:
    return without_container(as_met(name))


def _rows_of(paths: Collection[Path], form: str) -> Iterator[tuple[str, list[str]]]:
    fields = len(form.split())
    for path in paths:
        for where, line in numbered_lines(path):
            row = line.split()
            if len(row) != fields:
                raise InputError(f"{where}: {line!r} does not have the form `{form}`")
            yield where, row


def _number(text: str, where: str) -> float:
    try:
        return finite(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
