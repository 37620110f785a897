"""The data of an experiment: which videos train and test, their targets, their checked features, their time axis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from wtal_core import config
from wtal_core.builtin.annotation_layouts import advice
from wtal_core.contracts import AMBIGUOUS, FloatArray, IntArray, TrainingVideo, Video
from wtal_core.data.names import normal
from wtal_core.data.problems import distinct, examine_features, label_problems, unreadable
from wtal_core.data.timeline import grid_of, snippet_edges
from wtal_core.data.videos import frame_rates, read_videos, remarks, select_subset, unknown_grids
from wtal_core.errors import DataError, PluginError, Problems, WtalError, abridged, one_line
from wtal_core.kinds.evaluator import Instances
from wtal_core.kinds.feature_reader import Bound as Store
from wtal_core.registry import Registry


class Dimensions(NamedTuple):
    """What a model is built for."""

    feature_dim: int  # D
    num_classes: int  # C
    snippet_seconds: float | None = None  # from one snippet to the next; None where videos differ by more than a tenth


@dataclass(frozen=True, eq=False)
class Dataset:
    """Videos, classes and features of an experiment. Made by `examine`, which checks them."""

    data: config.Data
    classes: tuple[str, ...]
    training: tuple[Video, ...]
    test: tuple[Video, ...]
    store: Store
    feature_dims: Mapping[str, int]  # of each stream that has a model
    notes: tuple[str, ...] = ()  # how the annotations were read, and what is odd in them
    rates: Mapping[str, float] = field(
        default_factory=dict
    )  # annotated frames per second, of the videos that have them
    found: str = ""  # what the features look like, in a line

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that have a model each; `rgb+flow` is one of joint streams."""
        return tuple(map(config.stream_name, self.data.streams))

    def read(self, video: Video, stream: str, rows: IntArray | None = None) -> NDArray[np.float32]:
        """The features (T, D) of a video as float32, or the given rows of them, joint streams side by side.

        A whole video is looked at here; rows are not, because training begins when all videos have been (`survey`).

        Raises:
            DataError: they cannot be read; or a whole video holds NaN or infinity.
        """
        parts = _parts(stream)
        # A single stream is read to its own end, joint ones to the end that they share.
        wanted = np.arange(self.length(video, stream)) if rows is None and len(parts) > 1 else rows
        arrays = [self._read(video, part, wanted) for part in parts]
        if rows is None:
            for part, features in zip(parts, arrays, strict=True):
                self._refuse_infinite(video, part, features)
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)

    def _read(self, video: Video, part: str, rows: IntArray | None) -> NDArray[np.float32]:
        try:
            return np.array(self.store.read(video.name, part, rows), dtype=np.float32)
        except (OSError, ValueError) as error:
            raise unreadable(video, part, error) from error

    def _refuse_infinite(self, video: Video, part: str, features: NDArray[np.float32]) -> None:
        finite = np.isfinite(features)
        if not finite.all():
            snippet, column = np.argwhere(~finite)[0]
            raise DataError(
                f"video {video.name!r}, stream {part!r}: {features[snippet, column]} at snippet {snippet}, feature "
                f"{column} of {self.data.features}; extract this video's features again or list it in data.exclude"
            )

    def dimensions(self, stream: str) -> Dimensions:
        """What a model of a stream is built for."""
        steps = [np.diff(self.edges(video, self.shared_length(video))).mean() for video in self.training]
        common = float(np.median(steps))
        regular = bool(np.allclose(steps, common, rtol=0.1, atol=0))
        return Dimensions(self.feature_dims[stream], len(self.classes), common if regular else None)

    def length(self, video: Video, stream: str) -> int:
        """T, the number of snippets that the joint parts of a stream share."""
        return min(self.store.shape(video.name, part)[0] for part in _parts(stream))

    def shared_length(self, video: Video) -> int:
        """The number of snippets that all streams share."""
        return min(self.length(video, stream) for stream in self.streams)

    def edges(self, video: Video, parts: int) -> FloatArray:
        """The times in seconds between which a video's snippets lie, (T + 1,); see `timeline.snippet_edges`.

        For another number of `parts` than the T that all streams share: those between so many equal parts of them.
        """
        length = self.shared_length(video)
        grid = grid_of(self.data, video.name)
        edges = snippet_edges(grid, length, video.duration, self.rates.get(video.name))
        if parts == length:
            return edges
        return np.interp(np.linspace(0, length, parts + 1), np.arange(length + 1), edges)

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
        return {video.name: self.segments(video) for video in self.test}

    def segments(self, video: Video) -> Instances:
        """The annotated intervals of a video, as far as their segments are known."""
        index = {name: i for i, name in enumerate(self.classes)} | {AMBIGUOUS: -1}
        instances = [instance for instance in video.instances if instance.segment is not None]
        times = np.array([instance.segment for instance in instances], dtype=np.float64).reshape(-1, 2)
        labels = np.array([index[instance.label] for instance in instances], dtype=np.int64)
        return Instances(labels, times[:, 0], times[:, 1])

    def taught(self, video: Video, full_supervision: bool) -> TrainingVideo:
        """What a teacher may know of a training video."""
        labels = (self.targets([video])[0] > 0).astype(np.float64)
        known = all(instance.segment is not None for instance in video.instances)
        return TrainingVideo(video.name, labels, self.segments(video) if full_supervision and known else None)


def examine(data: config.Data, registry: Registry) -> tuple[Dataset, list[WtalError]]:
    """Read the annotations, open the features, and check all that can be checked without reading every array.

    Returns:
        What could be opened, and all that is wrong: missing files, lengths that disagree with durations, widths that
        differ, training videos without labels, unknown classes.

    Raises:
        WtalError: what keeps the rest from being looked at.
    """
    path = Path(data.annotations)
    annotations = open_annotations(data, registry)
    videos = read_videos(annotations, path, data.exclude, (data.training_subset, data.test_subset))
    training = tuple(select_subset(videos, data.training_subset, path))
    test = tuple(select_subset(videos, data.test_subset, path))
    classes = tuple(map(normal, data.classes or sorted(set().union(*(video.labels for video in training)))))
    store = open_reader(registry, "feature reader", data.reader, Path(data.features))
    used = distinct(training, test)
    rates = frame_rates(annotations, {video.name for video in used})
    problems = list(label_problems(data, classes, training, test))
    problems += unknown_grids(data.video_grids, videos, path)
    streams = {stream: _parts(stream) for stream in map(config.stream_name, data.streams)}
    parts = list(itertools.chain(*streams.values()))
    widths, line, found = examine_features(data, parts, store, used, rates)
    dims = {stream: sum(widths.get(part, 0) for part in parts) for stream, parts in streams.items()}
    notes = (*annotations.notes, *remarks(used, path))
    return Dataset(data, classes, training, test, store, dims, notes, rates, line), problems + found


def open_annotations(data: config.Data, registry: Registry) -> Any:
    """The annotation reader of an experiment at its path, bound.

    Raises:
        DataError, PluginError: as `open_reader`; where another reader of this package would do, the message names it.
    """
    path = Path(data.annotations)
    try:
        return open_reader(registry, "annotation reader", data.annotation_reader, path)
    except DataError as error:
        raise DataError(f"{error}{advice(path, config.name_of(data.annotation_reader))}") from error


def open_reader(registry: Registry, kind: str, choice: config.Component, path: Path) -> Any:
    """A reader at its path, bound.

    Raises:
        DataError: a file is missing or malformed; which one the reader says itself, and it is not its fault.
        PluginError: the reader cannot be built otherwise.
    """
    try:
        return registry.build(kind, choice, path=path)
    except PluginError as error:
        if isinstance(error.__cause__, OSError | ValueError) and str(path) in str(error.__cause__):
            raise DataError(one_line(error.__cause__)) from error
        raise


def _parts(stream: str) -> list[str]:
    """The streams that a model's is made of."""
    return stream.split("+")


def segment_problems(dataset: Dataset) -> Iterator[WtalError]:
    """What keeps detections from being evaluated: test videos of which only the labels are known."""
    if not any(video.labels for video in dataset.test):
        has = f"nothing but {AMBIGUOUS!r}" if any(video.instances for video in dataset.test) else "no annotation at all"
        yield DataError(
            f"{dataset.data.annotations}: subset {dataset.data.test_subset!r} has {has}, so detections cannot be "
            "evaluated"
        )
    missing = (
        DataError(
            f"{dataset.data.annotations}: video {video.name!r} of subset {dataset.data.test_subset!r} has no segment "
            f"for {', '.join(labels)}, so detections cannot be evaluated"
        )
        for video in dataset.test
        if (labels := sorted({i.label for i in video.instances if i.segment is None}))
    )
    yield from abridged(missing, "videos of the subset without a segment for each label")


class Survey(NamedTuple):
    """What reading every array showed."""

    problems: list[WtalError]
    statistics: Mapping[str, Moments]  # of each stream, over the training subset


#: Of the data sets that are open: the runs of several seeds share one, and what it holds is read once for all of them.
_SURVEYS: WeakKeyDictionary[Dataset, Survey] = WeakKeyDictionary()


def checksum_problems(dataset: Dataset) -> list[WtalError]:
    """The arrays that are not what the checksums in their layout say, where there are any."""
    problems = []
    for video in distinct(dataset.training, dataset.test):
        for part in itertools.chain(*map(_parts, dataset.streams)):
            try:
                dataset.store.verify(video.name, part)
            except FileNotFoundError:  # told of where it is opened
                continue
            except (OSError, ValueError) as error:
                problems.append(DataError(f"video {video.name!r}, stream {part!r}: {one_line(error)}"))
    return list(abridged(problems, "videos and streams that are not what was written"))


def survey(dataset: Dataset, report: Callable[[str], None] = lambda _: None) -> Survey:
    """Read every array once: what is wrong with its values, and mean and deviation of the training subset's.

    Features without a shape are left out: opening the data set has told of them. `report` hears of each finished video.
    Asked again of the same data set, it answers as before.
    """
    if dataset in _SURVEYS:
        for video in distinct(dataset.training, dataset.test):
            report(video.name)
    else:
        _SURVEYS[dataset] = _read_all(dataset, report)
    return _SURVEYS[dataset]


def _read_all(dataset: Dataset, report: Callable[[str], None]) -> Survey:
    problems: list[WtalError] = []
    moments = {stream: Moments(dataset.feature_dims[stream]) for stream in dataset.streams}
    training = {video.name for video in dataset.training}
    for video in distinct(dataset.training, dataset.test):
        for stream in dataset.streams:
            try:
                dataset.length(video, stream)
            except (OSError, ValueError):
                continue
            try:
                features = dataset.read(video, stream)
            except DataError as error:
                problems.append(error)
                continue
            if video.name in training and features.shape[1] == dataset.feature_dims[stream]:
                moments[stream].add(features)
        report(video.name)
    return Survey(list(abridged(problems, "videos and streams whose features cannot be used")), moments)


class Moments:
    """Mean and standard deviation of each of D features over all snippets, in float64 and in one pass.

    Merges each video's moments into the running ones (Chan, Golub and LeVeque 1979), because sums of squares cancel
    where the mean is large.
    """

    def __init__(self, feature_dim: int) -> None:
        self.count = 0
        self.mean: FloatArray = np.zeros(feature_dim)
        self._squares: FloatArray = np.zeros(feature_dim)

    def add(self, features: NDArray[np.floating]) -> None:
        """Take in the features (T, D) of a video, T >= 1."""
        part = features.astype(np.float64)
        total = self.count + len(part)
        shift = part.mean(axis=0) - self.mean
        spread = ((part - part.mean(axis=0)) ** 2).sum(axis=0)
        self._squares += spread + shift**2 * (self.count * len(part) / total)
        self.mean = self.mean + shift * (len(part) / total)
        self.count = total

    @property
    def deviation(self) -> FloatArray:
        """The standard deviation (D,); 1 where a feature is constant, so that it becomes zero instead of NaN."""
        deviation = np.sqrt(self._squares / max(self.count, 1))
        return np.where(deviation > 1e-8 * np.maximum(1.0, np.abs(self.mean)), deviation, 1.0)
