"""Which reader fits the annotations under a path: the reader `auto`, and the advice where another reader fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from wtal_core.builtin.activitynet import ActivityNet
from wtal_core.builtin.annotation_table import Table, columns_of, delimiter, table_files
from wtal_core.builtin.thumos_text import ThumosText, class_files, is_line
from wtal_core.builtin.wtalc import VIDEO_NAMES, WTalc
from wtal_core.contracts import Video
from wtal_core.errors import DataError
from wtal_core.text import read_text

READERS: dict[str, Callable[..., Any]] = {
    "activitynet": ActivityNet,
    "table": Table,
    "thumos14": ThumosText,
    "wtalc": WTalc,
}
_TRIED = (
    "activitynet (a file of JSON), table (a .csv or .tsv file with a header, or a folder of them), thumos14 (a folder "
    "of CLASS_SUBSET.txt) and wtalc (a folder with videoname.npy)"
)


class Look(NamedTuple):
    """What a path looks like."""

    reader: str | None  # that would read it
    seen: str
    advice: str = ""  # where none would


class Auto:
    """Looks at the path, takes the reader that fits, and says in a note which one that is.

    Args:
        path: a file or folder in any layout that a reader of this package knows.
        allow_pickle: read pickled arrays too, as W-TALC's sidecars are, by a machine that runs no code from a file.

    Raises:
        OSError: there is nothing, or it cannot be read.
        ValueError: no reader knows the layout, or its content is malformed.
    """

    def __init__(self, path: Path, *, allow_pickle: bool = False) -> None:
        if not path.exists():
            raise OSError(f"{path}: cannot read annotations: No such file or directory")
        look = look_at(path)
        if look.reader is None:
            raise ValueError(f"{path}: {look.seen}, no annotations that a reader knows; tried {_TRIED}; {look.advice}")
        options = {"allow_pickle": True} if look.reader == "wtalc" and allow_pickle else {}
        self._reader = READERS[look.reader](path, **options)
        self._told = look.reader, path.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What it found, and what the reader left out."""
        reader, name = self._told
        subsets = Counter(map(self._subset, self._reader.names()))
        videos = ", ".join(f"{count} in {subset!r}" for subset, count in sorted(subsets.items()))
        found = f"annotations {name!r} are {self._reader.found}, read by {reader!r}; videos: {videos or 'none'}"
        return (found, *self._reader.notes)

    def _subset(self, name: str) -> str:
        try:
            return self.subset(name)
        except ValueError:
            return "no subset"

    def names(self) -> list[str]:
        """The videos, in the order of the file."""
        return list(self._reader.names())

    def subset(self, name: str) -> str:
        """The subset of a video; raises as `video`."""
        return str(self._reader.subset(name))

    def frames_per_second(self, name: str) -> float | None:
        """The rate of frames of a video, if the annotations have it; raises as `video`."""
        ask = getattr(self._reader, "frames_per_second", None)
        return None if ask is None else ask(name)

    def video(self, name: str) -> Video:
        """One video, as the reader that fits reads it."""
        video: Video = self._reader.video(name)
        return video


def look_at(path: Path) -> Look:
    """What a file or folder looks like, by its names and first bytes.

    Raises:
        OSError: it cannot be read.
    """
    return _folder(path) if path.is_dir() else _file(path)


def advice(path: Path, reader: str) -> str:
    """What to add to the error of a reader of this package where another one fits the path; else nothing."""
    if reader not in READERS or not path.exists():
        return ""
    try:
        look = look_at(path)
    except OSError:
        return ""
    if look.reader in (None, reader):
        return ""
    return f"; it looks like {look.seen}: set data.annotation_reader = {look.reader!r}"


def _folder(path: Path) -> Look:
    if (path / VIDEO_NAMES).exists():
        return Look("wtalc", "a folder of W-TALC's sidecars")
    if class_files(path):
        return Look("thumos14", "a folder of THUMOS's text")
    if table_files(path):
        return Look("table", "a folder of tables")
    files = list(islice((file for file in path.rglob("*") if file.is_file()), 10_000))
    kinds = Counter(file.suffix.lower() or "without a suffix" for file in files)
    many = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3))
    seen = f"a folder with {many} files" if files else "an empty folder"
    texts = sorted(file for file in files if file.suffix.lower() in (".json", ".csv", ".tsv"))
    if texts:
        return Look(None, seen, f"for {texts[0].relative_to(path)} in it, give that file as data.annotations")
    if kinds.keys() & {".npy", ".npz", ".h5", ".hdf5"}:
        return Look(
            None, seen, "features go in data.features; give the annotations' file or folder as data.annotations"
        )
    return Look(None, seen, "give the annotations' file or folder as data.annotations")


_MAGIC = {
    b"\x93NUMPY": "an array of numpy",
    b"\x89HDF": "an HDF5 file",
    b"PK\3\4": "a zip archive",
    b"\x80": "a pickle",
}


def _file(path: Path) -> Look:
    if not path.is_file():  # to open a pipe would wait for ever
        return Look(None, "neither a file nor a folder", "give the annotations' file or folder as data.annotations")
    with path.open("rb") as opened:
        first = opened.read(8)
    for magic, seen in _MAGIC.items():
        if first.startswith(magic):
            if (path.parent / VIDEO_NAMES).exists():
                return Look(
                    None, seen, f"for the sidecars around it, give their folder {path.parent} as data.annotations"
                )
            return Look(None, seen, "annotations are text, or a folder; give their path as data.annotations")
    try:
        text = read_text(path)
    except DataError:
        text = ""  # what is wrong with it, the reader of its suffix says
    if text.lstrip()[:1] in ("{", "[") or path.suffix.lower() == ".json":
        return Look("activitynet", "JSON")
    line = text.partition("\n")[0]
    try:
        columns_of(line.split(delimiter(text)), path)
    except ValueError:
        if path.suffix.lower() not in (".csv", ".tsv") and text:
            return _text(path, line)
    return Look("table", "a table with a header")


def _text(path: Path, line: str) -> Look:
    """What text without a header looks like."""
    if is_line(line):
        seen, remedy = (
            "lines 'video start end'",
            f"for THUMOS's text, give the folder {path.parent} as data.annotations",
        )
    elif len(line.split()) == 1:
        seen, remedy = "a list of names", "labels are in another file; give that as data.annotations"
    else:
        seen = f"text that begins {line.strip()[:60]!r}"
        remedy = "put a header over it, such as video,label,start,end, and save it as a .csv file"
    return Look(None, seen, remedy)
