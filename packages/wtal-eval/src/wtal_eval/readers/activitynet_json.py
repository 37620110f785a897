"""ActivityNet's JSON: `{"database": {video: {"subset", "annotations"}}}` and `{"results": {video: [detection, ...]}}`.

A segment is two numbers, or two strings that hold numbers. Keys beside those that are read are ignored, and so is what
the entries of other subsets hold. But no object of a file may hold a key twice: a decoder would keep the last alone.
"""

from __future__ import annotations

import gc
import types
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

from .. import names
from ..dataset import DetectionSet, GroundTruth, choose_subset, ground_truth_by_name, subset_notes
from ..intervals import Detections, FloatArray, InputError
from ..text import finite, read_bytes

GROUND_TRUTH_KEY = "database"
DETECTIONS_KEY = "results"

T = TypeVar("T")


class _Segment(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    start: float | str
    end: float | str


class _Annotation(msgspec.Struct, gc=False):
    label: str
    segment: _Segment | None = None  # named with its label where it is missing


class _Detection(msgspec.Struct, gc=False):
    label: str
    segment: _Segment
    score: float


class _Video(msgspec.Struct, gc=False):
    subset: str
    annotations: list[_Annotation] = []


class _InSubset(msgspec.Struct, gc=False):
    subset: str


_Keys = dict[str, msgspec.Raw]
_IN_SUBSET = msgspec.json.Decoder(_InSubset)
_CACHED = 1 << 18
"""Bytes examined in one step, which stay in the cache."""

_NONE = msgspec.Raw(b"")


class _GroundTruthFile(msgspec.Struct):
    database: dict[str, msgspec.Raw]


class _DetectionFile(msgspec.Struct):
    results: dict[str, msgspec.Raw]
    version: msgspec.Raw = _NONE  # with the next one, the usual company: named here, a look at all keys is spared
    external_data: msgspec.Raw = _NONE


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read one subset of a ground-truth file; see `wtal_eval.read_ground_truth`."""
    file = _File(path, GROUND_TRUTH_KEY)
    database = file.decode(_GroundTruthFile).database
    file.demand_keys_once()
    file.demand_names_once(database)
    decoder = msgspec.json.Decoder(_Video)
    videos = []
    for name, part in database.items():
        videos.append((name, file.subset_of(part), partial(file.decode_part, decoder, name, part)))
    return _ground_truth(videos, subset, str(path))


def ground_truth_from_object(content: Mapping[str, Any], subset: str | None = None) -> GroundTruth:
    """As `read_ground_truth`, from the decoded JSON."""
    where = "ground truth"
    videos = []
    for name, part in _parts(content, where, GROUND_TRUTH_KEY).items():
        of = part.get("subset") if isinstance(part, Mapping) else None
        decoded = partial(_converted, part, _Video, where, GROUND_TRUTH_KEY, name)
        videos.append((name, of if isinstance(of, str) else None, decoded))
    return _ground_truth(videos, subset, where)


def read_detections(path: Path) -> DetectionSet:
    """Read a detection file; see `wtal_eval.read_detections`."""
    file = _File(path, DETECTIONS_KEY)
    top = file.decode(_DetectionFile)
    file.demand_outer_keys_once([part for part in (top.version, top.external_data) if part is not _NONE], top.results)
    file.demand_names_once(top.results)
    usual = _usual_detection(top.results.values())
    kinds = [(msgspec.json.Decoder(_rows_of(kind)), len(kind.__struct_fields__)) for kind in (usual, _Detection)]

    def videos() -> Iterator[tuple[str, list[_Detection]]]:  # one by one, so that only one exists as objects
        for name, part in top.results.items():
            decoder, keys = kinds[0]
            try:
                rows = decoder.decode(part)
            except (msgspec.DecodeError, RecursionError):
                decoder, keys = kinds[1]
                rows = file.decode_part(decoder, name, part)
            file.demand_keys_once(part, keys * len(rows))
            yield name, rows

    with _without_collection():
        return _detections(videos(), str(path))


def _usual_detection(parts: Iterable[msgspec.Raw]) -> type[_Detection]:
    """A detection with all keys of the first one of a file, of which the others will have as many."""
    try:
        first = next((rows[0] for part in parts if (rows := msgspec.json.decode(part, type=list[_Keys]))), {})
    except (msgspec.DecodeError, RecursionError):
        return _Detection
    others = sorted(first.keys() - {"label", "segment", "score"})
    fields = [(f"other_{i}", msgspec.Raw, msgspec.field(name=key)) for i, key in enumerate(others)]
    if not fields:
        return _Detection
    return cast("type[_Detection]", msgspec.defstruct("_UsualDetection", fields, bases=(_Detection,), gc=False))


def _rows_of(kind: type[_Detection]) -> type[list[_Detection]]:
    return cast("type[list[_Detection]]", types.GenericAlias(list, kind))


def detections_from_object(content: Mapping[str, Any]) -> DetectionSet:
    """As `read_detections`, from the decoded JSON."""
    where = "detections"
    parts = _parts(content, where, DETECTIONS_KEY).items()
    return _detections(
        ((name, _converted(part, list[_Detection], where, DETECTIONS_KEY, name)) for name, part in parts), where
    )


class _File:
    """A file of one object that holds, under `key`, an object of videos.

    No decoder tells that a key came twice, but each time takes a colon: a text that has no more of them than the keys
    and the strings that were kept has lost none. What counting does not settle is walked through, once.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._where, self._key = str(path), key
        self._content = read_bytes(path)
        self._is_sound = False

    def decode(self, kind: type[T]) -> T:
        """The whole, with the parts of the videos still encoded."""
        with self._explained():
            return msgspec.json.decode(self._content, type=kind)

    def decode_part(self, decoder: msgspec.json.Decoder[T], name: str, part: msgspec.Raw) -> T:
        """What a video holds."""
        try:
            return self._decoded(decoder, part)
        except msgspec.ValidationError as error:
            raise InputError(f"{self._where}: {_inside(error, self._key, name)}") from None

    def subset_of(self, part: msgspec.Raw) -> str | None:
        """The subset that a video says it is of, if it does."""
        try:
            return self._decoded(_IN_SUBSET, part).subset
        except msgspec.ValidationError:
            return None

    def _decoded(self, decoder: msgspec.json.Decoder[T], part: msgspec.Raw) -> T:
        try:
            return decoder.decode(part)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, RecursionError):
            with self._explained():
                msgspec.json.decode(self._content)  # raises again, with the position in the whole file
            raise

    def demand_names_once(self, videos: Mapping[str, msgspec.Raw]) -> None:
        """Demand that no two spellings name one video."""
        if len({names.as_met(name) for name in videos}) < len(videos):
            self._walk()

    def demand_outer_keys_once(self, others: Sequence[msgspec.Raw], videos: Mapping[str, msgspec.Raw]) -> None:
        """Demand it of the top level, the object of videos, and of what else is known of the top level: `others`."""
        colons, inside = _colons(self._content), sum(map(_colons, videos.values()))
        if colons != inside + len(videos) + 1 + sum(map(_colons, others)) + len(others):
            whole = self.decode(dict[str, msgspec.Raw])
            others = [part for key, part in whole.items() if key != self._key]
            kept = inside + sum(map(_colons, others)) + len(whole) + len(videos)
            if colons != kept + sum(name.count(":") for name in (*whole, *videos)) or self._escapes_colons:
                self._walk()
        for part in others:
            self.demand_keys_once(part)

    def demand_keys_once(self, part: msgspec.Raw | None = None, least: int = 0) -> None:
        """Demand it of a part, or of the whole file.

        Args:
            part: Some value of the file.
            least: The number of keys that a decoder has found in it.
        """
        content = self._content if part is None else part
        colons = _colons(content)
        if colons == least or self._is_sound:
            return
        try:
            kept = _colons(msgspec.json.encode(msgspec.json.decode(content)))
        except (msgspec.MsgspecError, OverflowError, RecursionError):  # a number that the decoder cannot hold, say
            kept = -1
        if kept != colons or self._escapes_colons:
            self._walk()

    @cached_property
    def _escapes_colons(self) -> bool:
        """Whether a string may hold a colon that is none in the text."""
        return b"\\" in self._content and (b"\\u003a" in self._content or b"\\u003A" in self._content)

    def _walk(self) -> None:
        if not self._is_sound and (found := self._fault()):
            raise InputError(f"{self._where}: {found}")
        self._is_sound = True

    def _fault(self) -> str | None:
        from .json_scan import fault  # rarely needed

        return fault(self._content, self._key)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except msgspec.ValidationError as error:
            message = str(error).replace("$.", "")
            for wanted, other in ((GROUND_TRUTH_KEY, DETECTIONS_KEY), (DETECTIONS_KEY, GROUND_TRUTH_KEY)):
                if message == f"Object missing required field `{wanted}`" and f'"{other}"'.encode() in self._content:
                    message += f", but it has `{other}`: detections come first, ground truth second"
            raise InputError(f"{self._where}: {message}") from None
        except (msgspec.DecodeError, RecursionError) as error:
            message = self._fault() or str(error)
            if isinstance(error, msgspec.DecodeError) and "(" not in message:
                message += f" (byte {len(self._content)})"
            raise InputError(f"{self._where}: {message}") from None


def _parts(content: object, where: str, key: str) -> Mapping[str, object]:
    """The object of videos in a decoded file."""
    if not isinstance(content, Mapping):
        hint = "files are for `read_ground_truth` and `read_detections`"
        raise InputError(f"{where}: Expected `object`, got `{type(content).__name__}`; {hint}")
    if key not in content:
        raise InputError(f"{where}: Object missing required field `{key}`; plain arrays need `classes`")
    videos = content[key]
    if not isinstance(videos, Mapping):
        raise InputError(f"{where}: Expected `object`, got `{type(videos).__name__}` - at `{key}`")
    for name in videos:
        if not isinstance(name, str):
            raise InputError(f"{where}: Expected `str`, got `{type(name).__name__}` - at the key {name!r} of `{key}`")
    return names.met(videos, where)


def _converted(part: object, kind: type[T], where: str, key: str, name: str) -> T:
    try:
        return msgspec.convert(msgspec.to_builtins(part, enc_hook=_plain), kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_inside(error, key, name)}") from None
    except (TypeError, RecursionError) as error:
        raise InputError(f"{where}: {error} - at `{key}[{name!r}]`") from None


def _inside(error: msgspec.ValidationError, key: str, name: str) -> str:
    message, _, path = str(error).partition(" - at `$")
    return f"{message} - at `{key}[{name!r}]{path.removesuffix('`')}`"


def _plain(value: object) -> object:
    """What numpy computed, as the objects that JSON would have given."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _colons(content: bytes | msgspec.Raw) -> int:
    """The number of colons in a text; `bytes.count` takes five times as long."""
    characters = np.frombuffer(content, np.uint8)
    steps = range(0, characters.size, _CACHED)
    return sum(int(np.count_nonzero(characters[i : i + _CACHED] == ord(":"))) for i in steps)


class _Vocabulary(dict[str, int]):
    """Numbers labels in the order in which they are met, whatever their spelling."""

    def __init__(self) -> None:
        super().__init__()
        self.spellings = names.Spellings("label", "labels")
        self.names: dict[str, int] = {}

    def __missing__(self, label: str) -> int:
        self[label] = self.names.setdefault(self.spellings[label], len(self.names))
        return self[label]


def _ground_truth(
    videos: Iterable[tuple[str, str | None, Callable[[], _Video]]], subset: str | None, where: str
) -> GroundTruth:
    """Ground truth from the name, the subset and the decoding of each video."""
    subsets = names.Spellings("subset", "subsets")
    entries = [(name, subsets[of or decoded().subset], decoded) for name, of, decoded in videos]
    sizes = Counter(of for _, of, _ in entries)
    subset = choose_subset(sizes, subset, where)
    rows = {}
    for name, of, decoded in entries:
        if of == subset:
            place = f"{where}: {GROUND_TRUTH_KEY}[{name!r}].annotations"
            annotations = decoded().annotations
            segments = []
            for i, row in enumerate(annotations):
                if row.segment is None:
                    raise InputError(f"{place}[{i}]: {row.label!r} has no segment: give it [start, end]")
                segments.append(row.segment)
            start = _numbers([segment.start for segment in segments], place)
            end = _numbers([segment.end for segment in segments], place)
            rows[name] = ([row.label for row in annotations], start, end)
    return ground_truth_by_name(names.met(rows, where), (*subset_notes(sizes, subset), *subsets.notes()))


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
    return DetectionSet(names.met(columns, where), tuple(labels.names), labels.spellings.notes())


def _numbers(values: list[float | str], place: str) -> FloatArray:
    try:
        return np.frombuffer(array("d", values))  # type: ignore[type-var]  # strings are rare, and raise
    except TypeError:
        numbers = []
        for i, value in enumerate(values):
            try:
                numbers.append(finite(value) if isinstance(value, str) else value)
            except ValueError as error:
                raise InputError(f"{place}[{i}].segment: {error}") from None
        return np.array(numbers)


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
