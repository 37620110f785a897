"""Feature readers: where the snippet features of a data set lie on disk. Arrays are read when they are asked for.

Each reader finds arrays in a tree: files in folders, datasets in groups, members in archives. One rule says what the
tree means: **a part of an array's path is its stream, the other parts are its video's name**, whichever comes first,
so that `rgb/v1.npy`, `train/rgb/v1.npy`, `v1/rgb.npy`, the member `rgb` of `v1.npz` and the dataset `/v1/rgb` are all
of the stream rgb. Where no part is a stream, all arrays are of one that is called `features`, or are split by the
setting `streams`, which gives each stream its columns: `{ rgb = [0, 1024], flow = [1024, 2048] }`.

A store answers `names`, `shape` and `read` (`kinds.feature_reader.FeatureStore`). What is missing or cannot be opened
raises `OSError` and what is malformed `ValueError`, with the file in the message; the data set adds which video was
wanted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from wtal_core.builtin.arrays import (
    Hdf5Array,
    Loaded,
    PlainArray,
    StoredArray,
    View,
    csv_table,
    npz_member,
    npz_members,
    require_features,
    unopened,
)
from wtal_core.builtin.pickled import load_arrays
from wtal_core.contracts import IntArray
from wtal_core.data.names import normal
from wtal_core.errors import one_line

#: The stream of arrays that none of their path's parts gives another.
WHOLE = "features"

#: The columns of each stream: the first, and the one after the last.
Columns = Mapping[str, list[int]]

#: The path of an array in its tree.
Parts = tuple[str, ...]


class Tree:
    """Arrays in a tree, one for each video and stream.

    Args:
        path: where the tree is.
        streams: the columns of each stream, where arrays hold several side by side.
        transposed: whether arrays are (D, T); None looks, stream by stream (`_looks_turned`).
    """

    reads: ClassVar[str]  # what the arrays are, in messages
    reader: ClassVar[str]  # the reader's name

    def __init__(self, path: Path, streams: Columns | None = None, transposed: bool | None = False) -> None:
        self.path = path
        self._columns = {normal(stream): _columns(stream, pair) for stream, pair in (streams or {}).items()}
        self._transposed = transposed
        self._found: dict[str, dict[str, Parts]] = {}
        self._turned: dict[str, bool] = {}
        self._stored: dict[Parts, StoredArray] = {}  # as they lie
        self._arrays: dict[tuple[str, str], StoredArray] = {}  # as they are read

    def names(self, stream: str) -> list[str]:
        """The videos that have an array of the stream."""
        return sorted(self._places(stream))

    def shape(self, name: str, stream: str) -> tuple[int, int]:
        """(T, D), from the header where there is one."""
        rows, columns = self._array(name, stream).shape
        return rows, columns

    def read(self, name: str, stream: str, rows: IntArray | None = None) -> NDArray[np.generic]:
        """The features (T, D), or some of their rows."""
        return self._array(name, stream).read(rows)

    def layout(self, stream: str) -> str:
        """What was found of a stream, in a few words: in what its arrays lie, their dtype, and how they are read."""
        turned = self._is_turned(stream)
        arrays = [self._stored[place] for place in self._places(stream).values() if place in self._stored]
        dtypes = " and ".join(sorted({str(array.dtype) for array in arrays})) or "unread"
        words = [self.reads, dtypes, "(D, T), turned" if turned else "(T, D)"]
        if self._transposed is None and not turned and len({array.shape for array in arrays}) == 1:
            words[-1] += " by default, all being alike (transposed = true turns them)"
        if columns := self._columns.get(normal(stream)):
            words.append(f"columns {columns.start} to {columns.stop}")
        return ", ".join(words)

    # What a tree has to say

    def _leaves(self) -> Iterator[Parts]:
        """The paths of all arrays."""
        raise NotImplementedError

    def _open(self, place: Parts) -> StoredArray:
        """One of them. Raises `FileNotFoundError` where there is none."""
        raise NotImplementedError

    def _usual(self, name: str, stream: str) -> Parts:
        """Where an array would be that is not there."""
        return stream, *name.split("/")

    # How its paths are read

    @cached_property
    def _all(self) -> list[Parts]:
        return list(self._leaves())

    def _places(self, stream: str) -> dict[str, Parts]:
        """The place of each video's array of a stream."""
        key = normal(stream)
        if key not in self._found:
            if self._columns:
                found = _by_name(self._all, None) if key in self._columns else {}
            else:
                found = _by_name(self._all, key)
                if not found and key == WHOLE:
                    found = _by_name(self._all, None)
            if not found:
                raise FileNotFoundError(self._unmet(stream))
            self._found[key] = found
        return self._found[key]

    def _array(self, name: str, stream: str) -> StoredArray:
        key = (stream, name)
        if key not in self._arrays:
            place = self._place(name, stream)
            array = self._lying(place)
            columns, turned = self._columns.get(normal(stream)), self._is_turned(stream)
            if columns is not None or turned:
                array = View(array, turned, columns or slice(None))
                width = array.array.shape[0 if turned else 1]
                if columns is not None and columns.stop > width:
                    raise ValueError(
                        f"{self._where(place)}: D = {width}, but the setting streams.{stream} ends at {columns.stop}"
                    )
            self._arrays[key] = array
        return self._arrays[key]

    def _place(self, name: str, stream: str) -> Parts:
        usual = self._usual(name, stream)
        try:
            places = self._places(stream)
        except FileNotFoundError:
            return usual
        if name not in places and any(self._usual(other, stream) != place for other, place in places.items()):
            raise FileNotFoundError(
                f"{self.path}: none of its {len(places)} {self.reads} of stream {stream!r} is of this video"
            )
        return places.get(name, usual)

    def _lying(self, place: Parts) -> StoredArray:
        if place not in self._stored:
            self._stored[place] = self._open(place)
        return self._stored[place]

    def _is_turned(self, stream: str) -> bool:
        if self._transposed is not None:
            return self._transposed
        if stream not in self._turned:
            self._turned[stream] = self._looks_turned(stream)
        return self._turned[stream]

    def _looks_turned(self, stream: str) -> bool:
        """Whether arrays are (D, T): they agree on the first axis, and on the second there is no width of most."""
        shapes = []
        try:
            for place in self._places(stream).values():
                try:
                    shapes.append(self._lying(place).shape)
                except (OSError, ValueError):  # told of where it is read
                    continue
        except (OSError, ValueError):
            return False
        if len({first for first, _ in shapes}) != 1:
            return False
        _, most = Counter(second for _, second in shapes).most_common(1)[0]
        return most <= len(shapes) / 2

    def _where(self, place: Parts) -> str:
        return str(self.path.joinpath(*place))

    def _unmet(self, stream: str) -> str:
        """Why there is nothing of a stream: what the tree looks like, and the setting that would read it."""
        what = f"{self.path}: {len(self._all)} {self.reads}"
        if not self._all:
            return f"{self.path}: no {self.reads} here or below"
        example = "/".join(self._all[0])
        if self._columns:
            named = ", ".join(map(repr, self._columns))
            return f"{what}, and the reader's setting `streams` gives columns to {named}, but none to {stream!r}"
        if candidates := _repeated(self._all):
            listed = ", ".join(map(repr, candidates))
            return (
                f"{what}, such as {example!r}, and {stream!r} is no part of their paths; set data.streams to those of "
                f"{listed} that are streams"
            )
        try:
            width = self._lying(self._all[0]).shape[-1]
        except (OSError, ValueError):
            width = 2048
        return (
            f"{what} without streams, such as {example!r} with D = {width}; set data.streams = [{WHOLE!r}] to take "
            f"them whole, or split them by data.reader = {{ name = {self.reader!r}, streams = {{ rgb = "
            f"[0, {width // 2}], flow = [{width // 2}, {width}] }} }}"
        )


def _columns(stream: str, pair: list[int]) -> slice:
    if len(pair) != 2 or not 0 <= pair[0] < pair[1]:
        raise ValueError(
            f"streams.{stream} = {pair}: expected the first column and the one after the last, such as [0, 1024]"
        )
    return slice(*pair)


def _by_name(places: list[Parts], stream: str | None) -> dict[str, Parts]:
    """The place of each video, named by the parts that are not the stream; of all places, if no stream is given.

    Raises:
        ValueError: two places are of one video.
    """
    shared = _shared(places) if stream is None else set()
    found: dict[str, Parts] = {}
    for place in places:
        at = [number for number, part in enumerate(place) if normal(part) == stream] if stream else shared
        if stream and (not at or len(place) == 1):
            continue
        left_out = {min(at)} if stream else shared
        name = "/".join(part for number, part in enumerate(place) if number not in left_out)
        other = found.setdefault(name, place)
        if other != place:
            raise ValueError(f"{'/'.join(other)!r} and {'/'.join(place)!r} are of one video and stream; remove one")
    return found


def _shared(places: list[Parts]) -> set[int]:
    """The positions at which all paths are equal: what they say there tells no video from another."""
    if len(places) < 2 or len({len(place) for place in places}) != 1:
        return set()
    return {number for number, parts in enumerate(zip(*places, strict=True)) if len(set(parts)) == 1}


def _repeated(places: list[Parts]) -> list[str]:
    """The parts that may be streams: at a position where paths are alike more often than not."""
    candidates: set[str] = set()
    for parts in zip(*(place for place in places if len(place) == len(places[0])), strict=True):
        if len(places[0]) > 1 and len(set(parts)) <= max(1, min(len(parts) // 2, 8)):
            candidates.update(parts)
    return sorted(candidates)


class _Folder(Tree):
    """Files in folders."""

    suffix: ClassVar[str]

    def __init__(self, path: Path, streams: Columns | None = None, transposed: bool | None = False) -> None:
        if path.is_file():
            raise OSError(f"{path}: a file, but this reader wants a folder; for an HDF5 file set data.reader = 'hdf5'")
        if not path.is_dir():
            raise OSError(f"{path}: no such folder of features")
        super().__init__(path, streams, transposed)

    def _leaves(self) -> Iterator[Parts]:
        for file in files_below(self.path):
            if file.name.endswith(self.suffix):
                yield file.relative_to(self.path).with_name(file.name.removesuffix(self.suffix)).parts

    def _where(self, place: Parts) -> str:
        return str(self._file(place))

    def _file(self, place: Parts) -> Path:
        return self.path.joinpath(*place[:-1], place[-1] + self.suffix)


def files_below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """All files in a folder and below, but hidden ones. Links are followed, but not into the folders that lead there.

    Raises:
        OSError: a folder cannot be opened.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unopened(folder, error) from error
    above = (*above, os.path.realpath(folder))
    folders = [entry.name for entry in entries if _is_folder(entry)]
    files = sorted({entry.name for entry in entries} - set(folders))
    yield from (folder / name for name in files if not name.startswith("._"))
    for name in folders:
        if not name.startswith(".") and os.path.realpath(folder / name) not in above:
            yield from files_below(folder / name, above)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, told of where it is read
        return False


class NpyFolder(_Folder):
    """A file per video and stream, `PATH/STREAM/VIDEO.npy`, each an array (T, D); subsets may have folders too.

    Reading twenty rows of a long video costs twenty rows. No file stays open: only what its header says is kept.
    Pickled arrays are refused.
    """

    reads, reader, suffix = ".npy files", "npy", ".npy"

    def _open(self, place: Parts) -> StoredArray:
        return PlainArray.find(self._file(place))


class NpzFolder(_Folder):
    """A file per video, `PATH/VIDEO.npz`, with an array (T, D) for each stream, or one; read whole each time."""

    reads, reader, suffix = "arrays in .npz files", "npz", ".npz"

    def _leaves(self) -> Iterator[Parts]:
        for place in super()._leaves():
            try:
                members = npz_members(self._file(place))
            except (OSError, ValueError):  # told of where it is read
                members = []
            yield from ((*place, *member.split("/")) for member in members)
            if not members:
                yield place

    def _open(self, place: Parts) -> StoredArray:
        for depth in range(len(place) - 1, 0, -1):
            file = self._file(place[:depth])
            if file.is_file():
                return npz_member(file, "/".join(place[depth:]))
        return self._single(place)

    def _single(self, place: Parts) -> StoredArray:
        """The only array of a file."""
        file = self._file(place)
        members = npz_members(file)
        if len(members) != 1:
            raise ValueError(f"{file}: {len(members)} arrays, and its path does not say which is meant")
        return npz_member(file, members[0])


class NpzFile(Tree):
    """One `.npz` file with all videos: an array (T, D) for each video, or, as `STREAM/VIDEO`, video and stream."""

    reads, reader = "arrays in one .npz file", "npz"

    def _leaves(self) -> Iterator[Parts]:
        yield from (tuple(member.split("/")) for member in npz_members(self.path))

    def _open(self, place: Parts) -> StoredArray:
        return npz_member(self.path, "/".join(place))

    def _where(self, place: Parts) -> str:
        return f"{self.path}: array {'/'.join(place)!r}"


class CsvFolder(_Folder):
    """A file per video, `PATH/VIDEO.csv`: a line of numbers a snippet, with or without a header; read whole each time.

    So lie ActivityNet's TSN features of BSN and what followed it, resampled to 100 or 400 snippets.
    """

    reads, reader, suffix = ".csv files", "csv", ".csv"

    def _open(self, place: Parts) -> StoredArray:
        return csv_table(self._file(place))


class NpyFile(Tree):
    """One `.npy` file with all videos, in the order of an index beside it.

    It holds an array (N, T, D), or, only with `allow_pickle`, an object array of N arrays (T, D), as W-TALC's
    `*-JOINTFeatures.npy`, which takes the memory of the whole file. The index is a `.npy` file of N names; by default
    `videoname.npy` in the folder of the file or in one beside it that is called `*-Annotations`.
    """

    reads, reader = "arrays in one .npy file", "npy"

    def __init__(
        self,
        path: Path,
        streams: Columns | None = None,
        transposed: bool | None = False,
        index: str | None = None,
        allow_pickle: bool = False,
    ) -> None:
        super().__init__(path, streams, transposed)
        try:
            array = PlainArray.of_any_shape(path)
        except ValueError as error:
            if "pickled" not in str(error):
                raise
            if not allow_pickle:
                raise ValueError(
                    f"{path}: pickled, as W-TALC's features are; data.reader = {{ name = 'npy', allow_pickle = true }} "
                    "reads it, by a reader that knows arrays of numbers and runs nothing"
                ) from None
            self._items: list[StoredArray | str] = [_pickled(path, item) for item in load_arrays(path)]
        else:
            if len(array.shape) != 3 or array.by_column or array.dtype.kind not in "fiu":
                raise ValueError(
                    f"{path}: a file with an array {array.shape} of {array.dtype}, but one with all videos has shape "
                    "(N, T, D); for a folder of files set data.features to the folder"
                )
            self._items = [array.part(number) for number in range(array.shape[0])]
        names = _index(path, index)
        if len(names) != len(self._items):
            raise ValueError(f"{path}: {len(self._items)} videos, but its index has {len(names)} names")
        self._number = {(name,): number for number, name in enumerate(names)}

    def _leaves(self) -> Iterator[Parts]:
        yield from self._number

    def _open(self, place: Parts) -> StoredArray:
        if place not in self._number:
            raise FileNotFoundError(f"{self.path}: its index has no video {'/'.join(place)!r}")
        item = self._items[self._number[place]]
        if isinstance(item, str):
            raise ValueError(item)
        return item

    def _where(self, place: Parts) -> str:
        return f"{self.path}: video {'/'.join(place)!r}"

    def _usual(self, name: str, stream: str) -> Parts:  # noqa: ARG002 - the shape of Tree's
        return (name,)


def _pickled(path: Path, array: NDArray[np.generic]) -> StoredArray | str:
    try:
        return Loaded(require_features(array.shape, array.dtype, str(path)), array.dtype, lambda: array)
    except ValueError as error:
        return str(error)


def _index(path: Path, index: str | None) -> list[str]:
    """The names of the videos in a file, from its index."""
    beside = [path.parent / "videoname.npy", *sorted(path.parent.glob("*-Annotations/videoname.npy"))]
    found = [file for file in beside if file.is_file()] if index is None else [path.parent / index]
    if len(found) != 1:
        listed = " and ".join(map(str, found)) or "no videoname.npy, here or in a folder *-Annotations"
        raise OSError(
            f"{path}: a file with all videos needs an index of their names, and there is {listed}; name it by "
            "data.reader = { name = 'npy', index = 'FILE.npy' }"
        )
    try:
        names = np.load(found[0], allow_pickle=False)
    except OSError as error:
        raise unopened(found[0], error) from error
    except Exception as error:  # numpy's parsers, on whatever bytes
        raise ValueError(f"{found[0]}: not a readable index of names: {one_line(error)}") from None
    if names.ndim != 1 or names.dtype.kind not in "SU":
        raise ValueError(f"{found[0]}: expected an array of names, got {names.dtype} {names.shape}")
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8")
    listed_names: list[str] = names.tolist()
    if twice := [name for name, count in Counter(listed_names).items() if count > 1]:
        raise ValueError(f"{found[0]}: video {twice[0]!r} comes twice; remove one")
    return listed_names


class Hdf5File(Tree):
    """One HDF5 file with a dataset (T, D) per video and stream: `/VIDEO/STREAM`, `/STREAM/VIDEO`, or `/VIDEO` alone.

    ActivityNet's C3D features lie so, as `/v_VIDEO/c3d_features`.
    """

    reads, reader = "datasets of HDF5", "hdf5"

    def __init__(self, path: Path, streams: Columns | None = None, transposed: bool | None = False) -> None:
        super().__init__(path, streams, transposed)
        if path.is_dir():
            raise OSError(
                f"{path}: a folder, but this reader wants an HDF5 file; for .npy files set data.reader = 'npy'"
            )
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            raise OSError(f"{path}: no such feature file") from None
        except PermissionError as error:
            raise unopened(path, error) from error
        except OSError as error:
            raise OSError(f"{path}: not a readable HDF5 file: {one_line(error)}") from error

    def _leaves(self) -> Iterator[Parts]:
        yield from _datasets(self._file["/"], (), set())

    def _usual(self, name: str, stream: str) -> Parts:
        return *name.split("/"), stream

    def _where(self, place: Parts) -> str:
        return f"{self.path}: dataset '/{'/'.join(place)}'"

    def verify(self, name: str, stream: str) -> None:
        """Hold an array against its digest, if it has one; raises as `read`."""
        self._in_hdf5(self._place(name, stream)).verify()

    def _open(self, place: Parts) -> StoredArray:
        array = self._in_hdf5(place)
        return array.plain() or array

    def _in_hdf5(self, place: Parts) -> Hdf5Array:
        dataset = self._dataset("/".join(place))
        where = self._where(place)
        try:
            shape, dtype = dataset.shape, dataset.dtype
        except (TypeError, ValueError, RuntimeError) as error:  # a type that numpy has not
            raise ValueError(f"{where}: expected numbers: {one_line(error)}") from error
        if shape is None:
            raise ValueError(f"{where}: it is null, and holds no features")
        return Hdf5Array(self._file, "/".join(place), require_features(shape, dtype, where), dtype)

    def _dataset(self, place: str) -> h5py.Dataset:
        where = f"'/{place}'"
        try:
            link = self._file.get(place, getlink=True)
            dataset = self._file.get(place)
        except (KeyError, OSError, RuntimeError) as error:  # which h5py raises for whatever the library cannot follow
            raise ValueError(f"{self.path}: {where} cannot be opened: {one_line(error)}") from error
        if dataset is None and link is not None:
            raise FileNotFoundError(f"{self.path}: {where} is a link to what is not there")
        if not isinstance(dataset, h5py.Dataset):
            raise FileNotFoundError(f"{self.path}: no dataset {where}")
        return dataset


def _datasets(group: h5py.Group, parts: Parts, above: set[object]) -> Iterator[Parts]:
    """Each member below a group that is none itself. Links are followed, but not into the groups that lead there."""
    above = above | {group.id}
    for member in group:
        place = (*parts, member)
        try:
            if group.get(member, getclass=True) is not h5py.Group:
                yield place
                continue
            below = group[member]
        except (KeyError, OSError, RuntimeError):  # a broken link, told of where it is read
            yield place
            continue
        if below.id not in above:
            yield from _datasets(below, place, above)


def npy(
    path: Path,
    streams: dict[str, list[int]] | None = None,
    transposed: bool | None = False,
    index: str | None = None,
    allow_pickle: bool = False,
) -> Tree:
    """`.npy` files in folders (`NpyFolder`), or one with all videos (`NpyFile`)."""
    if path.is_file() and path.suffix == ".npy":
        return NpyFile(path, streams, transposed, index, allow_pickle)
    return NpyFolder(path, streams, transposed)


def npz(path: Path, streams: dict[str, list[int]] | None = None, transposed: bool | None = False) -> Tree:
    """`.npz` files in folders (`NpzFolder`), or one with all videos (`NpzFile`)."""
    return NpzFile(path, streams, transposed) if path.is_file() else NpzFolder(path, streams, transposed)
