"""THUMOS's text: a folder of files `CLASS_SUBSET.txt` with lines `video start end`, as the challenge published it.

The subset is the end of a file's name: `val` and `test`, as they are called there. `Ambiguous_SUBSET.txt` holds
intervals of which nobody can say what they show. A list `detclasslist.txt` of `number class` says which classes there
are; without it every class with a file is one. The files may lie in folders below, as in the archives.

`CliffDiving` is a kind of `Diving`, and the official text has each of its instances in both files. Both are kept, as
the published evaluations and weakly supervised methods do: such a video has both labels, and each is ground truth.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from wtal_core.builtin.annotation_table import subset_of
from wtal_core.builtin.entries import interval, only_subset
from wtal_core.contracts import AMBIGUOUS, Instance, Video
from wtal_core.errors import DataError
from wtal_core.text import read_text

CLASS_LIST = "detclasslist.txt"


class _Line(NamedTuple):
    where: str
    label: str
    subset: str
    start: str
    end: str


class ThumosText:
    """THUMOS's text: a folder of `CLASS_SUBSET.txt`, each with lines `video start end` in seconds.

    Raises:
        OSError: the folder or a file of it cannot be read.
        ValueError: there is no such file, or a line has another form; with file and line.
    """

    found = "THUMOS's text, a file for each class and subset"

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise OSError(f"{path}: no such folder of THUMOS's text files, CLASS_SUBSET.txt")
        files = class_files(path)
        if not files:
            raise ValueError(f"{path}: no file CLASS_SUBSET.txt with lines 'video start end'")
        lists = sorted(path.rglob(CLASS_LIST))
        known = {line.split()[-1] for file in lists for line in _text(file).splitlines() if line.split()}
        self._lines: dict[str, list[_Line]] = {}
        strangers = []
        for file in files:
            label = _label(file)
            if known and label not in known | {AMBIGUOUS}:
                strangers.append(file.name)
                continue
            for number, line in enumerate(_text(file).splitlines(), start=1):
                fields = line.split()
                if len(fields) not in (0, 3):
                    raise ValueError(
                        f"{file}: line {number}: {line.strip()!r} does not have the form 'video start end'"
                    )
                if fields:
                    name, start, end = fields
                    one = _Line(f"{file.name}, line {number}", label, subset_of(file), start, end)
                    self._lines.setdefault(name, []).append(one)
        self.notes: tuple[str, ...] = ()
        if strangers:
            files_are = "1 file is" if len(strangers) == 1 else f"{len(strangers)} files are"
            self.notes = (f"{files_are} left out, of no class in {CLASS_LIST}: {', '.join(strangers)}",)

    def names(self) -> list[str]:
        """The videos, in the order in which the files, sorted by name, have them."""
        return list(self._lines)

    def subset(self, name: str) -> str:
        """The subset of a video; raises as `video`."""
        return only_subset((line.subset, line.where) for line in self._lines[name])

    def video(self, name: str) -> Video:
        """One video; its duration is not known.

        Raises:
            ValueError: it is in two subsets, or a line has no sound interval; with the place.
        """
        instances = (
            Instance(line.label, interval(line.start, line.end, f"{line.where}: the interval"))
            for line in self._lines[name]
        )
        return Video(name, self.subset(name), None, tuple(instances))


def class_files(folder: Path) -> list[Path]:
    """The files `CLASS_SUBSET.txt` below a folder, the ambiguous intervals last."""
    files = [file for file in folder.rglob("*_*.txt") if file.is_file() and _is_class_file(file)]
    return sorted(files, key=lambda file: (_label(file) == AMBIGUOUS, file))


def _label(file: Path) -> str:
    return file.stem.rpartition("_")[0]


def _is_class_file(file: Path) -> bool:
    """Whether some line has the form; one that has another is told of when the file is read."""
    try:
        return any(is_line(line) for line in read_text(file).splitlines())
    except DataError:
        return True


def is_line(line: str) -> bool:
    """Whether a line may be `video start end`."""
    fields = line.split()
    try:
        return len(fields) == 3 and float(fields[1]) <= float(fields[2])
    except ValueError:
        return False


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except OSError as error:
        raise OSError(f"{file}: cannot read annotations: {error.strerror}") from error
