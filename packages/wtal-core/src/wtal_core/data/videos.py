"""The videos of a data set: what an annotation reader gives, under one form of names, without those left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from wtal_core.contracts import Instance, Video
from wtal_core.data.names import misplaced, normal
from wtal_core.errors import TOLD, DataError, Problems, WtalError, abridged, did_you_mean, nearest, one_line
from wtal_core.kinds.annotation_reader import Bound


def read_videos(
    annotations: Bound, path: Path, exclude: Collection[str] = (), subsets: Collection[str] | None = None
) -> dict[str, Video]:
    """The videos that are annotated under a path, in the order of the file, but for those to `exclude`.

    Names of videos, subsets and classes are in normal form from here on (`names`). What the videos of other `subsets`
    than those wanted hold, where some are named, need not be complete and is not read.

    Raises:
        DataError: the reader cannot say which videos there are.
        Problems: entries are malformed, or names meet; they are listed, each with file, video and key.
    """
    excluded = {normal(name): name for name in exclude}
    videos: dict[str, Video] = {}
    spelt: dict[str, str] = {}  # the names as the file has them
    problems: list[WtalError] = []
    try:
        names = annotations.names()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {one_line(error)}") from error
    unwanted = {} if subsets is None else _unwanted(annotations, names, subsets)
    for given in names:
        name = normal(given)
        if name in spelt:
            problems.append(_same_name(path, spelt[name], given))
            continue
        spelt[name] = given
        if name in excluded:
            continue
        if given in unwanted:
            videos[name] = Video(name, unwanted[given], None, ())
            continue
        try:
            videos[name] = _admitted(annotations.video(given))
        except (OSError, ValueError) as error:
            problems.append(DataError(f"{path}: video {given!r}: {one_line(error)}"))
    unknown = [given for name, given in excluded.items() if name not in spelt]
    problems = [*_unknown_exclusions(path, unknown, list(spelt)), *abridged(problems, f"malformed entries of {path}")]
    if problems:
        raise Problems(problems)
    return videos


def _same_name(path: Path, one: str, other: str) -> DataError:
    if one == other:
        return DataError(f"{path}: video {one!r} comes twice; remove one")
    return DataError(
        f"{path}: videos {one!a} and {other!a} have the same name, for names are compared in Unicode's form NFC and "
        "without white space around them; rename or remove one"
    )


def _unwanted(annotations: Bound, names: Collection[str], subsets: Collection[str]) -> dict[str, str]:
    """The videos in none of the subsets, with the one that they are in; those without one are read, and say so."""
    of_video = {}
    for name in names:
        with suppress(OSError, ValueError):
            of_video[name] = normal(annotations.subset(name))
    wanted = {name for subset in subsets for name in _alike(subset, set(of_video.values()))}
    return {name: subset for name, subset in of_video.items() if subset not in wanted}


def _admitted(video: Video) -> Video:
    """A video with its names in normal form.

    Raises:
        ValueError: its name cannot name features.
    """
    name = normal(video.name)
    if misplaced(name):
        raise ValueError(
            "features are looked for by this name, so it must be a path within a folder: without '.', '..', an empty "
            "part or a control character; rename the video"
        )
    instances = tuple(Instance(normal(label), segment) for label, segment in video.instances)
    return video._replace(name=name, subset=normal(video.subset), instances=instances)


def unknown_grids(names: Collection[str], videos: Collection[str], path: Path) -> Iterator[WtalError]:
    """What data.video_grids names, and the annotations lack."""
    for name in sorted(map(normal, names)):
        if name not in videos:
            known = f"; {near}" if (near := nearest(name, list(videos))) else ""
            yield DataError(f"{path}: no video {name!r}, which data.video_grids names{known}")


def frame_rates(annotations: Bound, names: Collection[str]) -> dict[str, float]:
    """The annotated frames per second of the videos of these names in normal form, as far as they are known."""
    rates = {}
    for given in annotations.names():
        if (name := normal(given)) in names:
            with suppress(OSError, ValueError):  # told of where the video was read
                if (rate := annotations.frames_per_second(given)) is not None:
                    rates[name] = rate
    return rates


def remarks(videos: Collection[Video], path: Path) -> list[str]:
    """What is odd about the instances of the videos that are used; they are kept, because they are the ground truth.

    Raises:
        DataError: most videos have segments that start after their end, so that times cannot be seconds.
    """
    timed = [video for video in videos if video.duration is not None]
    beyond = {video.name: _count(video, lambda start, _, duration: start > duration) for video in timed}
    past = {video.name: _count(video, lambda start, end, duration: start <= duration < end) for video in timed}
    twice = {video.name: len(video.instances) - len(set(video.instances)) for video in videos}
    late = [name for name, count in beyond.items() if count]
    if len(timed) > 1 and len(late) > len(timed) / 2:
        raise DataError(
            f"{path}: in {len(late)} of {len(timed)} videos, such as {late[0]!r}, segments start after the video's "
            "end; segments and durations must both be seconds, so look whether one of them is frames or fractions"
        )
    said = (
        _remark(beyond, "start after the end of their video, so nothing can match them"),
        _remark(past, "end after their video"),
        _remark(twice, "repeat another one of their video to the digit", what="instance"),
    )
    return [one for one in said if one]


def _count(video: Video, holds: Callable[[float, float, float], bool]) -> int:
    assert video.duration is not None
    segments = [instance.segment for instance in video.instances if instance.segment is not None]
    return sum(holds(start, end, video.duration) for start, end in segments)


def _remark(counts: Mapping[str, int], odd: str, what: str = "segment") -> str | None:
    names = [name for name, count in counts.items() if count]
    total = sum(counts.values())
    if not total:
        return None
    some = f"1 {what}" if total == 1 else f"{total} {what}s"
    where = repr(names[0]) if len(names) == 1 else f"{len(names)} videos, such as {names[0]!r}"
    verb = odd if total > 1 else _singular(odd)
    return f"{some} of {where} {verb}; kept"


def _singular(odd: str) -> str:
    verb, rest = odd.split(" ", 1)
    return f"{verb}s {rest.replace('their', 'its').replace('match them', 'match it')}"


def select_subset(videos: Mapping[str, Video], subset: str, path: Path) -> list[Video]:
    """The videos of one subset, sorted by name: the subset of that name, else the only one that differs in case.

    Raises:
        DataError: no video is in the subset, or several differ in case; the message lists the subsets that exist.
    """
    present = {video.subset for video in videos.values()}
    alike = _alike(subset, present)
    if not alike:
        raise DataError(f"{path}: no video in subset {subset!r}; {did_you_mean(normal(subset), list(present))}")
    if len(alike) > 1:
        raise DataError(f"{path}: subset {subset!r} may be {' or '.join(map(repr, alike))}; name it as the file does")
    return sorted((video for video in videos.values() if video.subset == alike[0]), key=lambda video: video.name)


def _alike(subset: str, present: Collection[str]) -> list[str]:
    """The subset of this name, else all that differ from it in case."""
    name = normal(subset)
    return [name] if name in present else sorted(other for other in present if other.casefold() == name.casefold())


def _unknown_exclusions(path: Path, unknown: list[str], names: list[str]) -> Iterator[WtalError]:
    """What data.exclude names and the file lacks. Similar names are looked for only as often as they are told."""
    yield from abridged(
        (
            DataError(
                f"{path}: no video {name!r}, which data.exclude names"
                + (f"; {near}" if number < TOLD and (near := nearest(name, names)) else "")
            )
            for number, name in enumerate(unknown)
        ),
        "names in data.exclude of no video",
    )
