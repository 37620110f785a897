"""What is wrong with the data of an experiment: labels, and the names, lengths and widths of features."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from wtal_core import config
from wtal_core.contracts import AMBIGUOUS, Video
from wtal_core.data.fitting import Length, fitting_grid
from wtal_core.data.found import found_line
from wtal_core.data.names import Meeting, meet, nearly, normal
from wtal_core.data.timeline import grid_of, misfit
from wtal_core.errors import DataError, WtalError, abridged, did_you_mean, one_line
from wtal_core.kinds.feature_reader import Bound as Store


def label_problems(
    data: config.Data, classes: Sequence[str], training: Sequence[Video], test: Sequence[Video]
) -> Iterator[WtalError]:
    """What keeps labels from being learnt and scored."""
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
    for video in distinct(training, test):
        for label in sorted(video.labels - set(classes)):
            unknown.setdefault(label, []).append(video.name)
    source = "data.classes" if data.classes else f"the training subset {data.training_subset!r}"
    for label, names in unknown.items():
        more = f" (as {len(names) - 1} more have)" if len(names) > 1 else ""
        yield DataError(
            f"{where}: video {names[0]!r} has class {label!r}{more}, which {source} lacks; "
            f"{did_you_mean(label, classes)}"
        )


def examine_features(
    data: config.Data, streams: Sequence[str], store: Store, videos: Sequence[Video], rates: Mapping[str, float]
) -> tuple[dict[str, int], str, list[WtalError]]:
    """The width of each stream, what was found in a line, and what is wrong with names, lengths and widths.

    Problems of one form are together. `rates` are annotated frames per second by video.
    """
    problems: list[WtalError] = []
    lengths: dict[str, dict[str, int]] = {}
    dims: dict[str, int] = {}
    meetings: dict[str, Meeting] = {}
    for stream in streams:
        try:
            present = set(store.names(stream))
            if not present:
                raise OSError(f"{data.features}: no features of this stream")
        except (OSError, ValueError) as error:
            problems.append(DataError(f"stream {stream!r}: {one_line(error)}"))
            continue
        meeting = meetings[stream] = meet([video.name for video in videos], present)
        store.meet(stream, meeting.met)
        lengths[stream], widths, unread = {}, {}, {}
        for video in videos:
            try:
                lengths[stream][video.name], widths[video.name] = store.shape(video.name, stream)
            except (OSError, ValueError) as error:
                unread[video.name] = unreadable(video, stream, error)
        problems += abridged(_several(data, stream, meeting), f"videos of stream {stream!r} with several features")
        for name in meeting.several:
            del unread[name]
        for difference, pairs in nearly(unread.keys() - meeting.met.keys(), present).items():
            problems.append(_nearly_met(data, stream, difference, sorted(pairs)))
            for name, _ in pairs:
                del unread[name]
        problems += abridged(unread.values(), f"videos of stream {stream!r} without features that can be read")
        values, counts = np.unique(list(widths.values()), return_counts=True)
        dims[stream] = int(values[counts.argmax()]) if len(values) else 0
        if widths and not dims[stream]:
            problems.append(DataError(f"stream {stream!r} of {data.features}: D = 0, so there are no features"))
        others = _other_widths(data, stream, widths, dims[stream])
        problems += abridged(others, f"videos of stream {stream!r} with another D")
        misfits = [
            DataError(f"video {video.name!r}, stream {stream!r} of {data.features}: {problem}")
            for video in videos
            if video.name in lengths[stream]
            if (
                problem := misfit(
                    grid_of(data, video.name), lengths[stream][video.name], video.duration, rates.get(video.name)
                )
            )
        ]
        problems += abridged(misfits, f"videos of stream {stream!r} with a T that does not fit")
        if misfits and (told := fitting_grid(_lengths(data, videos, lengths[stream], rates), data.grid)):
            problems.append(DataError(f"stream {stream!r} of {data.features}: {told}"))
    problems += abridged(_disagreements(lengths, videos), "videos whose streams differ by more than one snippet")
    return dims, found_line(store, dims, meetings, len(videos)), problems


def _other_widths(data: config.Data, stream: str, widths: Mapping[str, int], usual: int) -> Iterator[WtalError]:
    for name, width in widths.items():
        if width != usual:
            yield DataError(
                f"video {name!r}, stream {stream!r} of {data.features}: D = {width} features, but most videos have "
                f"{usual}; extract it again or list it in data.exclude"
            )


def _several(data: config.Data, stream: str, meeting: Meeting) -> Iterator[WtalError]:
    for name, others in meeting.several.items():
        may = " and ".join(map(repr, others))
        yield DataError(
            f"video {name!r}, stream {stream!r} of {data.features}: no features have this name, and {may} are as near "
            "to it or to another video; rename or remove what is not meant, or set data.features to the folder that is"
        )


def _lengths(
    data: config.Data, videos: Sequence[Video], lengths: Mapping[str, int], rates: Mapping[str, float]
) -> list[Length]:
    """The lengths of the videos with features and a duration, and without a grid of their own."""
    apart = set(map(normal, data.video_grids))
    return [
        Length(video.name, lengths[video.name], video.duration, rates.get(video.name))
        for video in videos
        if video.duration is not None and lengths.get(video.name) and video.name not in apart
    ]


def _nearly_met(data: config.Data, stream: str, difference: str, pairs: Sequence[tuple[str, str]]) -> DataError:
    wanted, present = pairs[0]
    count = "1 video has" if len(pairs) == 1 else f"{len(pairs)} videos have"
    return DataError(
        f"stream {stream!r} of {data.features}: {count} features under a name that is only nearly theirs, such as "
        f"{wanted!r} under {present!r}; names must be equal, and these differ in {difference}: rename the features, or "
        "the videos in the annotations"
    )


def _disagreements(lengths: Mapping[str, Mapping[str, int]], videos: Sequence[Video]) -> Iterator[WtalError]:
    for video in videos:
        found = {stream: of_video[video.name] for stream, of_video in lengths.items() if video.name in of_video}
        if found and max(found.values()) - min(found.values()) > 1:
            listed = ", ".join(f"{stream} {length}" for stream, length in found.items())
            yield DataError(f"video {video.name!r}: streams differ by more than one snippet: {listed}")


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


def unreadable(video: Video, stream: str, error: OSError | ValueError) -> DataError:
    """The error of a store that cannot read a video, and what to do."""
    cause = error.__cause__ or error  # a reader puts the file before what the system said
    remedy = _REMEDIES.get(cause.errno or 0, _EXTRACT) if isinstance(cause, OSError) else _EXTRACT
    return DataError(f"video {video.name!r}, stream {stream!r}: {one_line(error)}; {remedy}")


def distinct(*subsets: Sequence[Video]) -> list[Video]:
    """The videos of all subsets, each once."""
    return list({video.name: video for videos in subsets for video in videos}.values())
