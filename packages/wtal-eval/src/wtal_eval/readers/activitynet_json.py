"""ActivityNet's JSON: `{"database": {video: {"subset", "annotations"}}}` and `{"results": {video: [detection, ...]}}`.

A segment is two numbers, or two strings that hold numbers. Keys beside those that are read are ignored.
"""

from __future__ import annotations

import gc
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from ..dataset import DetectionSet, GroundTruth, choose_subset, ground_truth_by_name, subset_notes
from ..intervals import Detections, FloatArray, InputError

GROUND_TRUTH_KEY = "database"
DETECTIONS_KEY = "results"

T = TypeVar("T")


class _Segment(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    start: float | str
    end: float | str


class _Annotation(msgspec.Struct, gc=False):
    label: str
    segment: _Segment


class _Detection(msgspec.Struct, gc=False):
    label: str
    segment: _Segment
    score: float


class _Video(msgspec.Struct, gc=False):
    subset: str
    annotations: list[_Annotation]


class _GroundTruthFile(msgspec.Struct):
    database: dict[str, msgspec.Raw]


class _DetectionFile(msgspec.Struct):
    results: dict[str, msgspec.Raw]


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read one subset of a ground-truth file; see `wtal_eval.read_ground_truth`."""
    content = path.read_bytes()
    with _explained(str(path), content):
        database = msgspec.json.decode(content, type=_GroundTruthFile).database
    return _ground_truth(_decoded(database, _Video, content, str(path), GROUND_TRUTH_KEY), subset, str(path))


def ground_truth_from_object(content: Mapping[str, Any], subset: str | None = None) -> GroundTruth:
    """As `read_ground_truth`, from the decoded JSON."""
    return _ground_truth(_converted(content, _Video, "ground truth", GROUND_TRUTH_KEY), subset, "ground truth")


def read_detections(path: Path) -> DetectionSet:
    """Read a detection file; see `wtal_eval.read_detections`."""
    content = path.read_bytes()
    with _explained(str(path), content):
        results = msgspec.json.decode(content, type=_DetectionFile).results
    with _without_collection():
        return _detections(_decoded(results, list[_Detection], content, str(path), DETECTIONS_KEY), str(path))


def detections_from_object(content: Mapping[str, Any]) -> DetectionSet:
    """As `read_detections`, from the decoded JSON."""
    return _detections(_converted(content, list[_Detection], "detections", DETECTIONS_KEY), "detections")


def _decoded(
    parts: Mapping[str, msgspec.Raw], kind: type[T], content: bytes, where: str, key: str
) -> Iterator[tuple[str, T]]:
    """Each video with its value, decoded one by one, so that only one video at a time exists as objects."""
    decoder = msgspec.json.Decoder(kind)
    for name, part in parts.items():
        try:
            video = decoder.decode(part)
        except msgspec.ValidationError as error:
            raise InputError(f"{where}: {_inside(error, key, name)}") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            with _explained(where, content):
                msgspec.json.decode(content)  # raises again, with the position in the whole file
            raise
        yield name, video


def _converted(content: object, kind: type[T], where: str, key: str) -> Iterator[tuple[str, T]]:
    if not isinstance(content, Mapping):
        hint = "files are for `read_ground_truth` and `read_detections`"
        raise InputError(f"{where}: Expected `object`, got `{type(content).__name__}`; {hint}")
    if key not in content:
        raise InputError(f"{where}: Object missing required field `{key}`; plain arrays need `classes`")
    if not isinstance(content[key], Mapping):
        raise InputError(f"{where}: Expected `object`, got `{type(content[key]).__name__}` - at `{key}`")
    for name, part in content[key].items():
        if not isinstance(name, str):
            raise InputError(f"{where}: Expected `str`, got `{type(name).__name__}` - at the key {name!r} of `{key}`")
        try:
            video = msgspec.convert(msgspec.to_builtins(part, enc_hook=_plain), kind)
        except msgspec.ValidationError as error:
            raise InputError(f"{where}: {_inside(error, key, name)}") from None
        except TypeError as error:
            raise InputError(f"{where}: {error} - at `{key}[{name!r}]`") from None
        yield name, video


def _plain(value: object) -> object:
    """What numpy computed, as the objects that JSON would have given."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


class _Vocabulary(dict[str, int]):
    """Numbers labels in the order in which they are met."""

    def __missing__(self, label: str) -> int:
        self[label] = len(self)
        return self[label]


def _ground_truth(videos: Iterable[tuple[str, _Video]], subset: str | None, where: str) -> GroundTruth:
    database = dict(videos)
    sizes = Counter(video.subset for video in database.values())
    subset = choose_subset(sizes, subset, where)
    rows = {}
    for name, video in database.items():
        if video.subset == subset:
            place = f"{where}: {GROUND_TRUTH_KEY}[{name!r}].annotations"
            labels = [row.label for row in video.annotations]
            start = _numbers([row.segment.start for row in video.annotations], place)
            end = _numbers([row.segment.end for row in video.annotations], place)
            rows[name] = (labels, start, end)
    return ground_truth_by_name(rows, subset_notes(sizes, subset))


def _detections(videos: Iterable[tuple[str, list[_Detection]]], where: str) -> DetectionSet:
    labels = _Vocabulary()
    columns = {}
    for name, rows in videos:
        place = f"{where}: {DETECTIONS_KEY}[{name!r}]"
        columns[name] = Detections(
            np.frombuffer(array("q", [labels[row.label] for row in rows]), np.int64),
            _numbers([row.segment.start for row in rows], place),
            _numbers([row.segment.end for row in rows], place),
            np.frombuffer(array("d", [row.score for row in rows])),
        )
    return DetectionSet(columns, tuple(labels))


def _numbers(values: list[float | str], place: str) -> FloatArray:
    try:
        return np.frombuffer(array("d", values))  # type: ignore[type-var]  # strings are rare, and raise
    except TypeError:
        numbers = []
        for i, value in enumerate(values):
            try:
                numbers.append(float(value))
            except ValueError:
                raise InputError(f"{place}[{i}].segment: {value!r} is not a number") from None
        return np.array(numbers)


@contextmanager
def _explained(where: str, content: bytes) -> Iterator[None]:
    try:
        yield
    except msgspec.ValidationError as error:
        message = str(error).replace("$.", "")
        for wanted, other in ((GROUND_TRUTH_KEY, DETECTIONS_KEY), (DETECTIONS_KEY, GROUND_TRUTH_KEY)):
            if message == f"Object missing required field `{wanted}`" and f'"{other}"'.encode() in content:
                message += f", but it has `{other}`: detections come first, ground truth second"
        raise InputError(f"{where}: {message}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: {_with_position(error, content)}") from None


def _with_position(error: msgspec.DecodeError | UnicodeDecodeError, content: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):  # its position is one inside a string
        try:
            content.decode()
        except UnicodeDecodeError as whole:
            return f"not UTF-8: {whole.reason} (byte {whole.start})"
    message = str(error)
    return message if "(byte " in message else f"{message} (byte {len(content)})"


def _inside(error: msgspec.ValidationError, key: str, name: str) -> str:
    message, _, path = str(error).partition(" - at `$")
    return f"{message} - at `{key}[{name!r}]{path.removesuffix('`')}`"


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pauses the cycle collector: a million fresh objects, none of them in a cycle, would wake it again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
