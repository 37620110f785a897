"""The feature reader `auto`: looks at what is there and chooses the reader, or says what it looks like and what to set.

What it decides is of three kinds only: the reader, by the files' suffixes and a file's first bytes; whether arrays are
(D, T), as `features.Tree` says; and that a folder with one `*-JOINTFeatures.npy` means that file. What is ambiguous it
does not decide.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from wtal_core.builtin.arrays import regular, unopened
from wtal_core.builtin.features import CsvFolder, Hdf5File, NpyFile, NpyFolder, NpzFile, NpzFolder, Tree, files_below

_FOLDERS: dict[str, type[Tree]] = {".csv": CsvFolder, ".npy": NpyFolder, ".npz": NpzFolder}
_HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
_TRIED = "csv, hdf5, npy and npz"


def auto(
    path: Path,
    streams: dict[str, list[int]] | None = None,
    transposed: bool | None = None,
    index: str | None = None,
    allow_pickle: bool = False,
) -> Tree:
    """The store under a path, in whichever layout.

    Args:
        path: a folder or a file.
        streams: the columns of each stream, where arrays hold several side by side.
        transposed: whether arrays are (D, T); looked for, if not given.
        index: of one `.npy` file with all videos, the file of their names.
        allow_pickle: let such a file be pickled; the reader of it runs nothing.

    Raises:
        OSError: nothing is there, or it cannot be opened.
        ValueError: no reader reads it, or several do.
    """
    if path.is_dir():
        joint = sorted(path.glob("*-JOINTFeatures.npy"))
        if not joint:
            return _of_folder(path)(path, streams, transposed)
        if len(joint) > 1:
            listed = " and ".join(repr(file.name) for file in joint)
            raise ValueError(f"{path}: a folder with {listed}, each of all videos; set data.features to one of them")
        path = joint[0]
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such folder of features")
    first = _first_bytes(path)
    if first.startswith(b"\x93NUMPY"):
        return NpyFile(path, streams, transposed, index, allow_pickle)
    if first == b"\x89HDF\r\n\x1a\n":
        return Hdf5File(path, streams, transposed)
    if first.startswith(b"PK") and path.suffix == ".npz":
        return NpzFile(path, streams, transposed)
    raise ValueError(f"{path}: {_looks(path, first)}, which no reader reads ({_TRIED} were tried); {_advice(path, 1)}")


def _of_folder(path: Path) -> type[Tree]:
    """The reader of the files in a folder and below.

    Raises:
        ValueError: none reads them, or several do.
    """
    files = list(files_below(path))
    counts = Counter(file.suffix for file in files)
    readers = [suffix for suffix in _FOLDERS if suffix in counts]
    if len(readers) == 1:
        return _FOLDERS[readers[0]]
    if readers:
        told = " and ".join(f"{counts[suffix]} {suffix}" for suffix in readers)
        names = " or ".join(repr(suffix[1:]) for suffix in readers)
        raise ValueError(f"{path}: a folder with {told} files; say which are features by data.reader = {names}")
    if not files:
        raise FileNotFoundError(f"{path}: a folder without a file; set data.features to where the features are")
    suffix, count = counts.most_common(1)[0]
    example = next(file for file in files if file.suffix == suffix)
    kind = f"{suffix} files" if suffix else "files without a suffix"
    raise ValueError(
        f"{path}: a folder of {count} {kind}, such as {example.relative_to(path).as_posix()!r}, which no reader reads "
        f"({_TRIED} were tried); {_advice(example, count)}"
    )


def _advice(file: Path, count: int) -> str:
    if file.suffix in _HDF5:
        if count == 1:
            return f"set data.features = {str(file)!r}"
        return "put their datasets into one HDF5 file, with a group for each video, and set data.features to it"
    if file.suffix in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        return "unpack it, and set data.features to the folder"
    return "save each array with numpy.save as STREAM/VIDEO.npy, and set data.features to the folder"


def _looks(path: Path, first: bytes) -> str:
    if path.suffix in _HDF5:
        return "a file that is called as HDF5 and is none"
    if first.startswith(b"PK"):
        return "a zip archive"
    if first.startswith(b"\x80"):
        return "a pickle"
    return f"a {path.suffix} file" if path.suffix else "a file without a suffix"


def _first_bytes(path: Path) -> bytes:
    try:
        regular(path)
        with path.open("rb") as opened:
            return opened.read(8)
    except OSError as error:
        raise unopened(path, error) from error
    except ValueError:
        raise ValueError(f"{path}: neither a file nor a folder; set data.features to where the features are") from None
