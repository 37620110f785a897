"""Detections and class scores on disk, in ActivityNet's format: written, and read back against a data set.

What is read back may have been made elsewhere, so every value is looked at: a score that comes twice or not at all
would change figures in silence.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from wtal_core import config
from wtal_core.contracts import FloatArray
from wtal_core.data.names import by_normal_form, normal
from wtal_core.errors import RunError
from wtal_core.files import write
from wtal_core.kinds.suppressor import VideoDetections, parts
from wtal_core.prediction.detect import Localized
from wtal_core.text import read_json

_AGAIN = "make it again with: wtal localize"
_Content = TypeVar("_Content")


def write_localized(folder: Path, localized: Localized, classes: Sequence[str]) -> None:
    """Write `detections.json` and `classification.json`.

    Raises:
        RunError: a file cannot be written.
    """
    detections = {
        name: [
            {"label": classes[label], "segment": [start, end], "score": score}
            for label, start, end, score in zip(*(part.tolist() for part in parts(found)), strict=True)
        ]
        for name, found in localized.detections.items()
    }
    scores = {
        name: [{"label": label, "score": score} for label, score in zip(classes, values.tolist(), strict=True)]
        for name, values in localized.class_scores.items()
    }
    for file, results in (("detections.json", detections), ("classification.json", scores)):
        content = {"version": "VERSION 1.3", "results": results, "external_data": {}}
        write(folder / file, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_localized(folder: Path, videos: Sequence[str], classes: Sequence[str]) -> Localized:
    """Read both back; raises as `read_detections` and `read_class_scores`."""
    return Localized(
        read_detections(folder / "detections.json", videos, classes),
        read_class_scores(folder / "classification.json", videos, classes),
    )


class _StageRecord(msgspec.Struct):
    """What `stages.json` says of a stage."""

    teacher: config.Component | None
    full_supervision: bool  #: the teacher reads annotated segments
    models: int
    start: str
    fresh: dict[str, list[str]]  #: of each model, the parameters that it did not take over from the stage before


def record_stage(
    path: Path, settings: config.StageSettings, full_supervision: bool, fresh: Mapping[str, list[str]]
) -> None:
    """Put what a stage is taught into `stages.json`, and what models that begin now do not take over (`fresh`).

    Raises:
        RunError: the file cannot be read or written.
    """
    known = _known(path, dict[str, _StageRecord], "stages")
    name, stage = f"stage-{settings.number}", settings.stage
    told = {**known[name].fresh, **fresh} if name in known else dict(fresh)
    known[name] = _StageRecord(stage.teacher, full_supervision, stage.models, stage.start, told)
    write(path, json.dumps(msgspec.to_builtins(known), indent=1) + "\n")


def record_warnings(folder: Path, about: str, sentences: Sequence[str]) -> None:
    """Put what to beware of into `warnings.json`, in the place of what was said of the same before.

    Args:
        folder: of the run.
        about: what was looked at.
        sentences: none where nothing is suspicious.

    Raises:
        RunError: the file cannot be read or written.
    """
    path = folder / "warnings.json"
    known = _known(path, dict[str, list[str]], "warnings")
    known[about] = list(sentences)
    write(path, json.dumps(known, indent=1) + "\n")


def read_warnings(folder: Path) -> list[str]:
    """What to beware of in a run, a sentence each; none where nobody has looked.

    Raises:
        RunError: the file cannot be read.
    """
    known = _known(folder / "warnings.json", dict[str, list[str]], "warnings")
    return [sentence for sentences in known.values() for sentence in sentences]


def _known(path: Path, kind: type[_Content], what: str) -> _Content:
    """What a record says already, in a table of the given form; an empty one where there is no file."""
    try:
        return msgspec.convert(read_json(path, RunError) if path.exists() else {}, kind)
    except OSError as error:
        raise RunError(f"{path}: cannot read: {error.strerror or error}") from error
    except (RunError, msgspec.ValidationError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise RunError(f"{path}: not a record of {what}: {reason}; delete it") from error


def read_detections(path: Path, videos: Sequence[str], classes: Sequence[str]) -> dict[str, VideoDetections]:
    """The intervals of each of the videos; none where the file has no entry, which is said in a warning.

    Raises:
        RunError: the file is missing or malformed, has no video of these, or an unknown class.
    """
    index = {name: i for i, name in enumerate(classes)}
    none = np.zeros(0)
    detections = {name: VideoDetections(none.astype(np.int64), none, none, none) for name in videos}
    missing = dict.fromkeys(videos)
    for name, records in _read(path, _Interval, videos, index):
        times = np.array([record.segment for record in records], dtype=np.float64).reshape(-1, 2)
        for number in np.flatnonzero(~(np.isfinite(times).all(axis=1) & (times[:, 0] <= times[:, 1])))[:1]:
            start, end = times[number]
            raise RunError(
                f"{path}: video {name!r}, [{number}].segment: expected start <= end in seconds, got "
                f"[{start:g}, {end:g}]; {_AGAIN}"
            )
        labels = np.array([index[record.label] for record in records], dtype=np.int64)
        scores = np.array([record.score for record in records], dtype=np.float64)
        detections[name] = VideoDetections(labels, times[:, 0], times[:, 1], scores)
        del missing[name]
    if missing:
        warnings.warn(
            f"{path}: {len(missing)} of {len(videos)} videos of the test subset have no entry, such as "
            f"{next(iter(missing))!r}; they count as videos without detections",
            stacklevel=2,
        )
    return detections


def read_class_scores(path: Path, videos: Sequence[str], classes: Sequence[str]) -> dict[str, FloatArray]:
    """The scores (C,) of each of the videos.

    Raises:
        RunError: the file is missing or malformed, or a video has not exactly one score of each class.
    """
    index = {name: i for i, name in enumerate(classes)}
    scores: dict[str, FloatArray] = {}
    for name, records in _read(path, _Score, videos, index):
        labels = [record.label for record in records]
        counts = Counter(labels)
        for label in classes:
            if counts[label] != 1:
                raise RunError(
                    f"{path}: video {name!r} has {counts[label]} scores of class {label!r}, not one; {_AGAIN}"
                )
        scores[name] = np.zeros(len(index))
        scores[name][[index[label] for label in labels]] = [record.score for record in records]
    for name in videos:
        if name not in scores:
            raise RunError(f"{path}: video {name!r} of the test subset has no entry; {_AGAIN}")
    return scores


class _Score(msgspec.Struct):
    label: str
    score: float


class _Interval(_Score):
    segment: tuple[float, float]


_Record = TypeVar("_Record", bound=_Score)


def _read(
    path: Path, kind: type[_Record], videos: Sequence[str], index: Mapping[str, int]
) -> Iterator[tuple[str, list[_Record]]]:
    """The records of each of the videos that has an entry; names of videos and classes are in normal form."""
    try:
        content = read_json(path, RunError)
    except OSError as error:
        raise RunError(f"{path}: cannot read: {error.strerror or error}; make it with: wtal localize") from error
    except RunError as error:
        raise RunError(f"{error}; {_AGAIN}") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise RunError(f"{path}: not results in ActivityNet's format: no object under the key 'results'; {_AGAIN}")
    try:
        spelt = by_normal_form(results)
    except ValueError as error:
        raise RunError(f"{path}: videos {error}") from error
    wanted = set(videos)
    others = [spelling for name, spelling in spelt.items() if name not in wanted]
    if len(others) == len(results):
        raise RunError(f"{path}: no video of the test subset has an entry; {_AGAIN}")
    if others:
        warnings.warn(
            f"{path}: {len(others)} videos are not of the test subset, such as {others[0]!r}, and are not scored",
            stacklevel=3,
        )
    for name, spelling in spelt.items():
        if name not in wanted:
            continue
        records: list[_Record]
        try:
            records = msgspec.convert(results[spelling], list[kind])  # type: ignore[valid-type]
        except msgspec.ValidationError as error:
            text, _, where = str(error).partition(" - at `$")
            place = f"video {name!r}, {where.rstrip('`')}" if where else f"video {name!r}"
            raise RunError(f"{path}: {place}: {text}; {_AGAIN}") from error
        for record in records:
            record.label = normal(record.label)
        unknown = {record.label for record in records} - index.keys()
        if unknown:
            raise RunError(f"{path}: video {name!r} has unknown classes: {', '.join(sorted(unknown))}")
        for number, record in enumerate(records):
            if not math.isfinite(record.score):
                raise RunError(
                    f"{path}: video {name!r}, [{number}].score: expected a finite number, got {record.score}; {_AGAIN}"
                )
        yield name, records
