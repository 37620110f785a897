"""The data of an experiment: which videos train and test, their targets, their checked features, their time axis."""

from __future__ import annotations

import errno
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wtal_core import config
from wtal_core.annotations import Video, read_annotations, select_subset
from wtal_core.contracts import FeatureStore, FloatArray, IntArray
from wtal_core.errors import DataError, PluginError, Problems, WtalError, abridged, did_you_mean
from wtal_core.names import AMBIGUOUS, by_normal_form, nearly, normal
from wtal_core.plugins import Component, Registry, blaming


class Instances(NamedTuple):
    """The annotated intervals of one video (`contracts.Segments`)."""

    label: IntArray  # (N,) class index, or -1 where it is ambiguous
    start: FloatArray  # (N,) seconds
    end: FloatArray  # (N,) seconds


@dataclass(frozen=True)
class _HeldStore:
    """A feature store whose answers are held against the contract (`contracts.FeatureStore`).

    `OSError` and `ValueError` pass, by which it says what is wrong with a file; anything else is a `PluginError`.
    Videos are asked for by their normal form, and the store by the names that it gave (`names`).
    """

    store: FeatureStore
    component: Component
    shapes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    spelt: dict[str, Mapping[str, str]] = field(default_factory=dict)  # per stream, the store's names by normal form

    def names(self, stream: str) -> Sequence[str]:
        with self._blaming(f"fails on stream {stream!r}"):
            names = list(self.store.names(stream))
            if not all(isinstance(name, str) for name in names):
                raise TypeError(f"names must be strings, got {names!r}")
        self.spelt[stream] = by_normal_form(names)
        return sorted(self.spelt[stream])

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        if (name, stream) not in self.shapes:
            with self._blaming(f"fails on video {name!r}, stream {stream!r}"):
                length, width = self.store.shape(self._spelt(name, stream), stream)
                self.shapes[name, stream] = operator.index(length), operator.index(width)
        return self.shapes[name, stream]

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        length, width = self.shape(name, stream)
        expected = (length if rows is None else len(rows), width)
        with self._blaming(f"fails on video {name!r}, stream {stream!r}"):
            features = self.store.read(self._spelt(name, stream), stream, rows)
            if not isinstance(features, np.ndarray) or features.shape != expected or features.dtype.kind not in "fiub":
                array = isinstance(features, np.ndarray)
                got = f"{features.shape} of {features.dtype}" if array else type(features).__name__
                raise TypeError(f"features must be an array {expected} of numbers, got {got}")
        return features

    def _spelt(self, name: str, stream: str) -> str:
        return self.spelt.get(stream, {}).get(name, name)

    def _blaming(self, what: str) -> AbstractContextManager[None]:
        return blaming(self.component, what, refusals=(OSError, ValueError))


@dataclass(frozen=True)
class Dataset:
    """Videos, classes and features of an experiment. Made by `open_dataset`, which checks them."""

    data: config.Data
    classes: tuple[str, ...]
    training: tuple[Video, ...]
    test: tuple[Video, ...]
    store: FeatureStore
    feature_dims: Mapping[str, int]  # per stream

    def read(self, video: Video, stream: str, rows: IntArray | None = None) -> NDArray[np.float32]:
        """The features (T, D) of a video as float32, or the given rows of them.

        Raises:
            DataError: they cannot be read, or hold NaN or infinity.
        """
        try:
            features = np.array(self.store.read(video.name, stream, rows), dtype=np.float32)
        except (OSError, ValueError) as error:
            raise _unreadable(video, stream, error) from error
        finite = np.isfinite(features)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            snippet = row if rows is None else rows[row]
            raise DataError(
                f"video {video.name!r}, stream {stream!r}: {features[row, column]} at snippet {snippet}, feature "
                f"{column} of {self.data.features}; extract this video's features again or list it in data.exclude"
            )
        return features

    def length(self, video: Video, stream: str) -> int:
        """T, the number of snippets."""
        return self.store.shape(video.name, stream)[0]

    def edges(self, video: Video, length: int) -> FloatArray:
        """The times in seconds between which a video's `length` snippets lie, (length + 1,); see `snippet_edges`."""
        return snippet_edges(self.data.grid, length, video.duration)

    def targets(self, videos: Sequence[Video]) -> FloatArray:
        """Instances per video and class, (len(videos), C). Labels are where it is positive; ambiguous ones are none."""
        counts = np.zeros((len(videos), len(self.classes)))
        index = {name: i for i, name in enumerate(self.classes)}
        for row, video in zip(counts, videos, strict=True):
            for instance in video.instances:
                if instance.label != AMBIGUOUS:
                    row[index[instance.label]] += 1
        return counts

    def ground_truth(self) -> dict[str, Instances]:
        """The annotated intervals of every test video; those of which nobody can say what they show have label -1.

        Raises:
            Problems: instances of the test subset have no segment.
        """
        problems = list(segment_problems(self))
        if problems:
            raise Problems(problems)
        index = {name: i for i, name in enumerate(self.classes)} | {AMBIGUOUS: -1}
        truth = {}
        for video in self.test:
            instances = [instance for instance in video.instances if instance.segment is not None]
            times = np.array([instance.segment for instance in instances], dtype=np.float64).reshape(-1, 2)
            labels = np.array([index[instance.label] for instance in instances], dtype=np.int64)
            truth[video.name] = Instances(labels, times[:, 0], times[:, 1])
        return truth


def open_dataset(data: config.Data, registry: Registry) -> Dataset:
    """Read the annotations, open the features, and check all that can be checked without reading every array.

    Raises:
        Problems: all that is wrong: missing files, lengths that disagree with durations, widths that differ,
            training videos without labels, unknown classes.
        WtalError: what keeps the rest from being looked at.
    """
    dataset, problems = examine(data, registry)
    if problems:
        raise Problems(problems)
    return dataset


def examine(data: config.Data, registry: Registry) -> tuple[Dataset, list[WtalError]]:
    """As `open_dataset`, but return the problems beside what could be opened.

    Raises:
        WtalError: what keeps the rest from being looked at.
    """
    path = Path(data.annotations)
    videos = read_annotations(path, data.exclude, (data.training_subset, data.test_subset))
    training = tuple(select_subset(videos, data.training_subset, path))
    test = tuple(select_subset(videos, data.test_subset, path))
    classes = tuple(map(normal, data.classes or sorted(set().union(*(video.labels for video in training)))))
    name, options = config.component(data.reader)
    try:
        opened = registry.build("feature reader", name, options, path=Path(data.features))
    except PluginError as error:
        if isinstance(error.__cause__, OSError):  # the reader says which file is missing, and it is not its fault
            raise DataError(str(error.__cause__)) from error
        raise
    store = _HeldStore(opened, registry.find("feature reader", name))
    problems = list(_label_problems(data, classes, training, test))
    dims, found = _examine_features(data, store, _distinct(training, test))
    return Dataset(data, classes, training, test, store, dims), problems + found


def _examine_features(
    data: config.Data, store: _HeldStore, videos: Sequence[Video]
) -> tuple[dict[str, int], list[WtalError]]:
    """The width of each stream, and what is wrong with names, lengths and widths; problems of one form are together."""
    problems: list[WtalError] = []
    lengths: dict[str, dict[str, int]] = {}
    dims: dict[str, int] = {}
    for stream in data.streams:
        try:
            present = set(store.names(stream))
            if not present:
                raise OSError(f"{data.features}: no features of this stream")
        except (OSError, ValueError) as error:
            problems.append(DataError(f"stream {stream!r}: {error}"))
            continue
        lengths[stream], widths, unreadable = {}, {}, {}
        for video in videos:
            try:
                lengths[stream][video.name], widths[video.name] = store.shape(video.name, stream)
            except (OSError, ValueError) as error:
                unreadable[video.name] = _unreadable(video, stream, error)
        nearly_met = nearly(unreadable.keys() - present, present)
        for difference, pairs in nearly_met.items():
            pairs.sort()
            problems.append(_nearly_met(data, stream, difference, pairs))
            for name, _ in pairs:
                del unreadable[name]
        problems += abridged(unreadable.values(), f"videos of stream {stream!r} without features that can be read")
        values, counts = np.unique(list(widths.values()), return_counts=True)
        dims[stream] = int(values[counts.argmax()]) if len(values) else 0
        if widths and not dims[stream]:
            problems.append(DataError(f"stream {stream!r} of {data.features}: D = 0, so there are no features"))
        others = [
            DataError(
                f"video {name!r}, stream {stream!r} of {data.features}: D = {width} features, but most videos have "
                f"{dims[stream]}; extract it again or list it in data.exclude"
            )
            for name, width in widths.items()
            if width != dims[stream]
        ]
        problems += abridged(others, f"videos of stream {stream!r} with another D")
        told = (_length_problem(data, stream, video, lengths[stream]) for video in videos)
        problems += abridged(filter(None, told), f"videos of stream {stream!r} with a T that does not fit")
    problems += abridged(_disagreements(lengths, videos), "videos whose streams differ by more than one snippet")
    return dims, problems


def segment_problems(dataset: Dataset) -> Iterator[WtalError]:
    """What keeps detections from being evaluated: test videos of which only the labels are known."""
    if not any(video.labels for video in dataset.test):
        has = f"nothing but {AMBIGUOUS!r}" if any(video.instances for video in dataset.test) else "no annotation at all"
        yield DataError(
            f"{dataset.data.annotations}: subset {dataset.data.test_subset!r} has {has}, so detections cannot be "
            "evaluated"
        )
    yield from abridged(_missing_segments(dataset), "videos of the subset without a segment for each label")


def _missing_segments(dataset: Dataset) -> Iterator[WtalError]:
    for video in dataset.test:
        missing = sorted({i.label for i in video.instances if i.segment is None})
        if missing:
            yield DataError(
                f"{dataset.data.annotations}: video {video.name!r} of subset {dataset.data.test_subset!r} has no "
                f"segment for {', '.join(missing)}, so detections cannot be evaluated"
            )


def content_problems(dataset: Dataset, report: Callable[[str], None] = lambda _: None) -> Iterator[WtalError]:
    """Read every array and yield what is wrong with its values; `report` hears of each finished video.

    Features without a shape are left out: opening the data set has told of them.
    """
    yield from abridged(_unreadable_content(dataset, report), "videos and streams whose features cannot be used")


def _unreadable_content(dataset: Dataset, report: Callable[[str], None]) -> Iterator[WtalError]:
    for video in _distinct(dataset.training, dataset.test):
        for stream in dataset.data.streams:
            try:
                dataset.length(video, stream)
            except (OSError, ValueError):
                continue
            try:
                dataset.read(video, stream)
            except DataError as error:
                yield error
        report(video.name)


def snippet_edges(grid: config.SnippetGrid | str, length: int, duration: float | None) -> FloatArray:
    """The times in seconds between which `length` snippets lie, strictly increasing, shape (length + 1,).

    Snippet t stands for [edges[t], edges[t + 1]). On a frame grid that is the `stride` frames around the middle of
    its window, so that snippets tile the video whatever the window; with "duration" the snippets share the video
    evenly.
    """
    steps = np.arange(length + 1, dtype=np.float64)
    if isinstance(grid, config.SnippetGrid):
        first = ((grid.window or grid.stride) - grid.stride) / 2
        return (first + steps * grid.stride) / grid.frames_per_second
    if duration is None:
        raise ValueError("the grid is 'duration', but the video has none")
    return steps * (duration / max(length, 1))


def sample_segments(length: int, segments: int, generator: np.random.Generator) -> IntArray:
    """One random snippet from each of `segments` equal parts of `length` snippets (MAAN 3.1), in order of time.

    Where the video is shorter than the number of parts, snippets repeat. Returns indices, shape (segments,).
    """
    position = (np.arange(segments) + generator.random(segments)) * (length / segments)
    # Rounding can lift the last position to `length` itself.
    rows: IntArray = np.minimum(position.astype(np.int64), length - 1)
    return rows


def _label_problems(
    data: config.Data, classes: Sequence[str], training: Sequence[Video], test: Sequence[Video]
) -> Iterator[WtalError]:
    where = data.annotations
    if len(set(classes)) < len(classes):
        yield DataError(f"data.classes names a class twice: {', '.join(classes)}")
    if AMBIGUOUS in classes:
        yield DataError(
            f"data.classes names {AMBIGUOUS!r}, the mark of intervals of which nobody can say what they show; remove it"
        )
    unlabelled = (
        DataError(
            f"{where}: training video {video.name!r} has no label, and labels are all that training sees; "
            "annotate it or list it in data.exclude"
        )
        for video in training
        if not video.labels
    )
    yield from abridged(unlabelled, "training videos without a label")
    unknown: dict[str, list[str]] = {}  # per label, the videos that have it
    for video in _distinct(training, test):
        for label in sorted(video.labels - set(classes)):
            unknown.setdefault(label, []).append(video.name)
    source = "data.classes" if data.classes else f"the training subset {data.training_subset!r}"
    for label, names in unknown.items():
        more = f" (as {len(names) - 1} more have)" if len(names) > 1 else ""
        yield DataError(
            f"{where}: video {names[0]!r} has class {label!r}{more}, which {source} lacks; "
            f"{did_you_mean(label, classes)}"
        )


def _nearly_met(data: config.Data, stream: str, difference: str, pairs: Sequence[tuple[str, str]]) -> DataError:
    wanted, present = pairs[0]
    count = "1 video has" if len(pairs) == 1 else f"{len(pairs)} videos have"
    return DataError(
        f"stream {stream!r} of {data.features}: {count} features under a name that is only nearly theirs, such as "
        f"{wanted!r} under {present!r}; names must be equal, and these differ in {difference}: rename the features, or "
        "the videos in the annotations"
    )


_EXTRACT = "extract its features again or list it in data.exclude"
_RAISE_LIMIT = "raise the limit on open files (ulimit -n)"
_REMEDIES = {
    errno.EMFILE: _RAISE_LIMIT,
    errno.ENFILE: _RAISE_LIMIT,
    errno.EACCES: "let this user read it",
    errno.EPERM: "let this user read it",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network drive",
}


def _unreadable(video: Video, stream: str, error: OSError | ValueError) -> DataError:
    cause = error.__cause__ or error  # a reader puts the file before what the system said
    remedy = _REMEDIES.get(cause.errno or 0, _EXTRACT) if isinstance(cause, OSError) else _EXTRACT
    return DataError(f"video {video.name!r}, stream {stream!r}: {error}; {remedy}")


def _length_problem(data: config.Data, stream: str, video: Video, lengths: Mapping[str, int]) -> WtalError | None:
    if video.name not in lengths:
        return None
    problem = _misfit(data.grid, lengths[video.name], video.duration)
    return DataError(f"video {video.name!r}, stream {stream!r} of {data.features}: {problem}") if problem else None


def _disagreements(lengths: Mapping[str, Mapping[str, int]], videos: Sequence[Video]) -> Iterator[WtalError]:
    for video in videos:
        found = {stream: of_video[video.name] for stream, of_video in lengths.items() if video.name in of_video}
        if found and max(found.values()) - min(found.values()) > 1:
            listed = ", ".join(f"{stream} {length}" for stream, length in found.items())
            yield DataError(f"video {video.name!r}: streams differ by more than one snippet: {listed}")


def _misfit(grid: config.SnippetGrid | str, length: int, duration: float | None) -> str | None:
    if length == 0:
        return "no snippets (T = 0)"
    if not isinstance(grid, config.SnippetGrid):
        return "data.grid is 'duration', but the annotation has no duration" if duration is None else None
    if duration is None:
        return None
    expected = (duration * grid.frames_per_second - (grid.window or grid.stride)) / grid.stride + 1
    if abs(length - expected) <= 1 + 1e-6:
        return None
    return (
        f"T = {length} snippets, but {duration:g} s at {grid.frames_per_second:g} frames per second and stride "
        f"{grid.stride} make {expected:.1f}; correct data.grid, the duration or the features"
    )


def _distinct(*subsets: Sequence[Video]) -> list[Video]:
    """The videos of all subsets, each once."""
    return list({video.name: video for videos in subsets for video in videos}.values())
