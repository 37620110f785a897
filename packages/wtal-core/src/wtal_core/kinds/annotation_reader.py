"""Annotation readers: which videos there are, their subsets, durations, labels and segments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from wtal_core import binding
from wtal_core.answers import require
from wtal_core.binding import blaming
from wtal_core.contracts import Instance, Video
from wtal_core.data.names import writable
from wtal_core.errors import WtalError
from wtal_core.testing import demands, inputs
from wtal_core.testing.trial import Trial, clause


class AnnotationReader(Protocol):
    """The annotations under a path; built as `cls(path=..., **options)`.

    It may also have `subset(name)`, the subset of a video as `video` says it, by which videos of subsets that nobody
    wants stay unread, and `frames_per_second(name)`, which a grid may ask for (None where the file does not say). What
    is missing raises an `OSError`, what has the wrong form a `ValueError`; when it is built, both give the path of the
    file.
    """

    def names(self) -> Iterable[str]:
        """The videos, in the order of the file."""

    def video(self, name: str) -> Video:
        """One of them. A `ValueError` says what is wrong with its entry, and the host which video it is."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out of all the videos, with the count and the reason."""


class Bound(binding.Bound):
    """The annotations, held against the contract; `OSError`, `ValueError` and errors of ours pass."""

    refusals = (OSError, ValueError)

    def names(self) -> list[str]:
        """The videos."""
        with blaming(self.component, self.refusals):
            names = list(self.made.names())
            if not all(isinstance(name, str) for name in names):
                raise TypeError(f"names must be strings, got {names!r}")
            _require_writable(*names)
        return names

    def video(self, name: str) -> Video:
        """One of them."""
        with blaming(self.component, self.refusals, f"fails on video {name!r}"):
            video = _video(self.made.video(name))
            if video.name != name:
                raise TypeError(f"it was asked for this video, and gave {video.name!r}")
        return video

    def subset(self, name: str) -> str:
        """The subset of one of them."""
        ask = getattr(self.made, "subset", None)
        if ask is None:
            return self.video(name).subset
        with blaming(self.component, self.refusals, f"fails on video {name!r}"):
            subset = ask(name)
            if not isinstance(subset, str):
                raise TypeError(f"a subset must be a string, got {subset!r}")
            _require_writable(subset)
        return subset

    def frames_per_second(self, name: str) -> float | None:
        """The rate of frames of one of them, if the reader knows it."""
        ask = getattr(self.made, "frames_per_second", None)
        if ask is None:
            return None
        with blaming(self.component, self.refusals, f"fails on video {name!r}"):
            rate = ask(name)
            if rate is not None and not (math.isfinite(rate) and rate > 0):
                raise TypeError(f"frames per second must be above 0 or None, got {rate!r}")
        return None if rate is None else float(rate)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out."""
        with blaming(self.component):
            return tuple(map(str, self.made.notes))


def _video(answer: Any) -> Video:
    name, subset, duration, instances = answer
    if not isinstance(name, str) or not isinstance(subset, str):
        raise TypeError(f"a video's name and subset must be strings, got {name!r} and {subset!r}")
    _require_writable(name, subset)
    if duration is not None and not (math.isfinite(duration) and duration > 0):
        raise TypeError(f"video {name!r}: the duration must be above 0 s or None, got {duration!r}")
    return Video(name, subset, duration, tuple(_instance(name, *one) for one in instances))


def _instance(video: str, label: Any, segment: Any) -> Instance:
    if not isinstance(label, str):
        raise TypeError(f"video {video!r}: a label must be a string, got {label!r}")
    _require_writable(label)
    if segment is None:
        return Instance(label)
    start, end = map(float, segment)
    if not (math.isfinite(end) and 0 <= start <= end):
        raise TypeError(f"video {video!r}: a segment must have 0 <= start <= end, got {segment!r}")
    return Instance(label, (start, end))


def _require_writable(*names: str) -> None:
    for name in names:
        if not writable(name):
            raise TypeError(f"names must be what UTF-8 can write, as files of a run hold them, got {name!a}")


# Clauses of the kit

#: What is written and read back.
VIDEOS = (
    Video(
        "a", "training", 8.0, (Instance("jump", (1.0, 2.5)), Instance("run", (2.0, 8.0)), Instance("jump", (4.0, 5.0)))
    ),
    Video("b", "training", 4.0, (Instance("run", (0.0, 1.0)),)),
    Video("c", "test", 2.0, ()),
)

promise = partial(clause, "annotation reader", inputs.once)


@promise("names() are the videos, and video(name) has subset, instances and duration, if there is one, again and again")
def _videos(trial: Trial) -> None:
    with trial.reader(VIDEOS) as annotations:
        for _ in range(2):
            names = list(annotations.names())
            require(sorted(names) == [video.name for video in VIDEOS], f"It names {names!r}.")
            for expected in VIDEOS:
                one = _video(trial.call(annotations.video, name=expected.name))
                same = one._replace(duration=expected.duration) == expected
                require(same and one.duration in (None, expected.duration), f"Of {expected} it reads {one}.")
        notes = getattr(annotations, "notes", ())
        told = f"notes must be a tuple of sentences, got {notes!r}"
        require(isinstance(notes, tuple) and all(isinstance(note, str) for note in notes), told)


@promise("what is missing raises an OSError that names the file, what is malformed an error that names it")
def _missing(trial: Trial) -> None:
    with trial.written(VIDEOS) as path:
        nowhere = path.with_name("nowhere")
        demands.refused(trial, nowhere, (OSError, ValueError, WtalError), partial(_read, trial), path=nowhere)
        demands.spoil(path)
        demands.refused(trial, path, (OSError, ValueError, WtalError), partial(_read, trial), path=path)


def _read(trial: Trial, path: Path) -> list[Video]:
    annotations = trial.make(path=path)
    return [annotations.video(name) for name in annotations.names()]
