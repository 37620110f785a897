"""Feature readers: the same questions to all layouts, and each one's own ways to be wrong."""

import errno
import os
import pickle
import re
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from wtal_core.builtin.arrays import PlainArray
from wtal_core.builtin.features import CsvFolder, Hdf5File, NpyFolder, NpzFolder, npy
from wtal_core.builtin.pickled import load_arrays

from .conftest import python

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


def write_npy(path, arrays):
    for (video, stream), array in arrays.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{video}.npy", array)
    return path


def write_hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for (video, stream), array in arrays.items():
            file[f"{video}/{stream}"] = array
    return path


LAYOUTS = {"npy": (write_npy, NpyFolder), "hdf5": (write_hdf5, Hdf5File)}


@pytest.fixture(params=LAYOUTS)
def store_of(request, tmp_path):
    write, reader = LAYOUTS[request.param]
    return lambda arrays: reader(write(tmp_path / "features", arrays))


def test_names_are_those_of_the_stream_sorted(store_of):
    store = store_of({("b", "rgb"): FEATURES, ("a.1", "rgb"): FEATURES, ("c", "flow"): FEATURES})
    assert store.names("rgb") == ["a.1", "b"]
    assert store.names("flow") == ["c"]


def test_shape_and_content(store_of):
    store = store_of({("v", "rgb"): FEATURES, ("v", "flow"): FEATURES[:2] + 1})
    assert store.shape("v", "rgb") == (4, 3)
    assert store.shape("v", "flow") == (2, 3)
    np.testing.assert_array_equal(store.read("v", "rgb"), FEATURES)
    np.testing.assert_array_equal(store.read("v", "flow"), FEATURES[:2] + 1)


@pytest.mark.parametrize("rows", [[0], [3, 0, 2], [1, 1, 1], [0, 1, 2, 1, 2, 3], [3, 3, 0, 1, 0], []])
def test_rows_in_any_order_with_repeats(store_of, rows):
    rows = np.array(rows, dtype=np.int64)
    read = store_of({("v", "rgb"): FEATURES}).read("v", "rgb", rows)
    np.testing.assert_array_equal(read, FEATURES[rows])
    assert read.shape == (len(rows), 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint16])
def test_any_kind_of_number_keeps_its_type(store_of, dtype):
    read = store_of({("v", "rgb"): FEATURES.astype(dtype)}).read("v", "rgb")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, FEATURES)


def test_no_snippets_have_a_shape_too(store_of):
    store = store_of({("v", "rgb"): FEATURES[:0]})
    assert store.shape("v", "rgb") == (0, 3)
    assert store.read("v", "rgb").shape == (0, 3)


def test_a_broken_video_is_no_obstacle_to_another(store_of):
    store = store_of({("bad", "rgb"): FEATURES[0], ("good", "rgb"): FEATURES})
    assert store.names("rgb") == ["bad", "good"]
    np.testing.assert_array_equal(store.read("good", "rgb"), FEATURES)


WHERE = {"npy": "{path}/rgb/v.npy", "hdf5": "{path}: dataset '/v/rgb'"}


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (FEATURES[0], "expected features of shape (T, D), got shape (3,)"),
        (np.stack([FEATURES] * 2), "expected features of shape (T, D), got shape (2, 4, 3)"),
        (np.float32(3), "expected features of shape (T, D), got shape ()"),
        (np.zeros((4, 3), bool), "expected numbers, got dtype bool"),
        (np.zeros((4, 3), complex), "expected numbers, got dtype complex128"),
        (np.array([[b"abc"]]), "expected numbers, got dtype |S3"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_an_array_of_features(tmp_path, layout, array, said):
    write, reader = LAYOUTS[layout]
    path = write(tmp_path / "features", {("v", "rgb"): array})
    store = reader(path)
    for question in (store.shape, store.read):
        with pytest.raises(ValueError, match=r".") as error:
            question("v", "rgb")
        assert str(error.value) == f"{WHERE[layout].format(path=path)}: {said}"


# A folder of .npy files


def test_npy_reads_only_what_is_asked_for(tmp_path):
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): np.zeros((1000, 512))}))
    store.shape("v", "rgb")
    tracemalloc.start()
    store.read("v", "rgb", np.array([5, 999]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000  # of four million bytes


@pytest.mark.parametrize("stored", [np.asfortranarray(FEATURES), FEATURES.astype(">f8"), FEATURES[:, :0]])
def test_npy_in_any_layout(tmp_path, stored):
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): stored}))
    assert store.shape("v", "rgb") == stored.shape
    np.testing.assert_array_equal(store.read("v", "rgb"), stored)
    np.testing.assert_array_equal(store.read("v", "rgb", np.array([3, 0, 3])), stored[[3, 0, 3]])


@given(hypothesis_numpy.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(0, 5))), st.data())
def test_npy_rows_are_those_of_the_array(tmp_path_factory, array, data):
    rows = data.draw(st.lists(st.integers(-len(array), len(array) - 1)))
    store = NpyFolder(write_npy(tmp_path_factory.mktemp("rows"), {("v", "rgb"): array}))
    np.testing.assert_array_equal(store.read("v", "rgb", np.array(rows, np.int64)), array[np.array(rows, np.int64)])


def test_npy_keeps_no_file_open(tmp_path):
    write_npy(tmp_path, {(f"v{i}", stream): FEATURES for i in range(600) for stream in ("rgb", "flow")})
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        "import numpy as np; from pathlib import Path; from wtal_core.builtin.features import NpyFolder\n"
        f"store = NpyFolder(Path({str(tmp_path)!r}))\n"
        "kept = [store.read(name, s, r) for s in ('rgb', 'flow') for name in store.names(s) for r in ([1], None)]\n"
        "print(len(kept))"
    )
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("2400\n", "")


@pytest.mark.parametrize("array", [FEATURES[:3], np.ones((9, 2), np.float32)])
def test_a_file_that_changes_after_it_was_first_read_is_named(tmp_path, array):
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): FEATURES}))
    store.shape("v", "rgb")
    write_npy(tmp_path, {("v", "rgb"): array})
    for rows in (None, np.array([1])):
        said = raised(ValueError, store.read, "v", "rgb", rows)
        assert said == f"{tmp_path}/rgb/v.npy: the file has changed since it was first read; start again"


def test_npy_names_in_subfolders_are_paths(tmp_path):
    store = NpyFolder(write_npy(tmp_path, {("w", "rgb"): FEATURES}))
    (tmp_path / "rgb" / "jump").mkdir()
    np.save(tmp_path / "rgb" / "jump" / "v.1.npy", FEATURES)
    assert store.names("rgb") == ["jump/v.1", "w"]
    np.testing.assert_array_equal(store.read("jump/v.1", "rgb"), FEATURES)


def raised(kind, call, *arguments):
    with pytest.raises(kind) as error:
        call(*arguments)
    return str(error.value)


def test_npy_says_which_folder_or_file_is_missing(tmp_path):
    assert raised(OSError, NpyFolder, tmp_path / "none") == f"{tmp_path}/none: no such folder of features"
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): FEATURES}))
    assert raised(OSError, store.read, "w", "rgb") == f"{tmp_path}/rgb/w.npy: no such feature file"
    assert raised(OSError, store.shape, "v", "flow") == f"{tmp_path}/flow/v.npy: no such feature file"
    assert raised(OSError, store.names, "flow") == (
        f"{tmp_path}: 1 .npy files, such as 'rgb/v', and 'flow' is no part of their paths; set data.streams to those "
        "of 'rgb', 'v' that are streams"
    )


NO_NPY = "not a readable .npy file: "
ZIP = "a zip archive, as .npz and torch files are; save the one array with numpy.save"
PICKLED = NO_NPY + "not an array of numbers, and pickled objects are never loaded"


def test_npy_refuses_pickled_arrays_without_running_them(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): np.array([[Trap()]], dtype=object)}))
    assert raised(ValueError, store.read, "v", "rgb") == f"{tmp_path}/rgb/v.npy: {PICKLED}"
    (tmp_path / "rgb" / "v.npy").write_bytes(pickle.dumps(Trap()))
    assert raised(ValueError, store.read, "v", "rgb") == f"{tmp_path}/rgb/v.npy: {PICKLED}"
    assert not (tmp_path / "sprung").exists()


def torch_file(file, **options):
    import torch

    torch.save(torch.ones(4, 3), file, **options)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda file: file.mkdir(), NO_NPY + "not a file"),
        (os.mkfifo, NO_NPY + "not a file"),
        (lambda file: np.savez(file.open("wb"), a=FEATURES), NO_NPY + ZIP),
        (torch_file, NO_NPY + ZIP),
        (lambda file: torch_file(file, _use_new_zipfile_serialization=False), PICKLED),
        (lambda file: file.write_text("1 2 3\n"), PICKLED),
        (lambda file: file.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr':((((    "), NO_NPY),
        (lambda file: np.save(file.open("wb"), np.zeros((2, 3), [("a", "f4")])), "expected numbers, got dtype [('a'"),
        (lambda file: np.save(file.open("wb"), np.zeros((2, 3), "M8[s]")), "expected numbers, got dtype datetime64[s]"),
    ],
)
def test_npy_names_what_is_no_array_of_features(tmp_path, write, said):
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): FEATURES}))
    file = tmp_path / "rgb" / "v.npy"
    file.unlink()
    write(file)
    for question in (store.shape, store.read):
        answer = raised(ValueError, question, "v", "rgb")
        assert answer.startswith(f"{file}: {said}")
        assert "\n" not in answer


def test_npy_says_why_a_file_cannot_be_opened(tmp_path, monkeypatch):
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): FEATURES}))
    file = tmp_path / "rgb" / "w.npy"
    file.symlink_to(file.name)
    assert raised(OSError, store.read, "w", "rgb") == f"{file}: cannot be opened: Too many levels of symbolic links"

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", refuse)
    assert raised(OSError, store.read, "v", "rgb") == f"{tmp_path}/rgb/v.npy: cannot be opened: Too many open files"


def test_a_stream_has_its_name_in_any_spelling(tmp_path):
    written = {("v", "cafe\u0301"): FEATURES, ("v", "rgb"): FEATURES}
    for store in (NpyFolder(write_npy(tmp_path / "folder", written)), Hdf5File(write_hdf5(tmp_path / "f.h5", written))):
        for stream in ("caf\xe9", " rgb"):
            assert store.names(stream) == ["v"]
            np.testing.assert_array_equal(store.read("v", stream), FEATURES)


@pytest.mark.parametrize("kept", [0, 5, 90, -1])
def test_npy_says_which_file_is_truncated(tmp_path, kept):
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): FEATURES}))
    file = tmp_path / "rgb" / "v.npy"
    file.write_bytes(file.read_bytes()[:kept])
    said = raised(ValueError, store.shape, "v", "rgb")
    assert said.startswith(f"{file}: {NO_NPY}")
    assert "\n" not in said


# One HDF5 file


def test_hdf5_reads_only_what_is_asked_for(tmp_path):
    path = write_hdf5(tmp_path / "f.h5", {("v", "rgb"): np.zeros((1000, 8))})
    store = Hdf5File(path)
    assert isinstance(store._dataset("v/rgb"), h5py.Dataset)


def test_hdf5_says_which_file_or_dataset_is_missing(tmp_path):
    path = tmp_path / "f.h5"
    assert raised(OSError, Hdf5File, path) == f"{path}: no such feature file"
    store = Hdf5File(write_hdf5(path, {("v", "rgb"): FEATURES}))
    assert raised(OSError, store.read, "w", "rgb") == f"{path}: no dataset '/w/rgb'"
    assert raised(OSError, store.shape, "v", "flow") == f"{path}: no dataset '/v/flow'"
    assert raised(OSError, store.names, "flow") == (
        f"{path}: 1 datasets of HDF5, such as 'v/rgb', and 'flow' is no part of their paths; set data.streams to those "
        "of 'rgb', 'v' that are streams"
    )


def test_hdf5_ignores_groups_and_datasets_of_another_layout(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["stray"] = FEATURES
        file["v/rgb/deeper"] = FEATURES
    store = Hdf5File(path)
    assert store.names("rgb") == ["v/deeper"]
    for video in ("v", "stray"):
        said = raised(OSError, store.read, video, "rgb")
        assert said == f"{path}: none of its 1 datasets of HDF5 of stream 'rgb' is of this video"


def test_hdf5_groups_may_lie_in_groups_and_links_lead_anywhere(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["jump/v1/rgb"] = FEATURES
        file["jump/back"] = h5py.SoftLink("/")
        file["jump/self"] = file["jump"]
        file["alias"] = h5py.SoftLink("/jump/v1")
        file["rgb"] = FEATURES  # of no video
    store = Hdf5File(path)
    assert store.names("rgb") == ["alias", "jump/v1"]
    np.testing.assert_array_equal(store.read("jump/v1", "rgb"), FEATURES)
    np.testing.assert_array_equal(store.read("alias", "rgb"), FEATURES)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda group: group.update(rgb=h5py.Empty("f4")), "dataset '/v/rgb': it is null, and holds no features"),
        (lambda group: group.update(rgb=h5py.SoftLink("/none")), "'/v/rgb' is a link to what is not there"),
        (lambda group: group.update(rgb=h5py.ExternalLink("none.h5", "/x")), "'/v/rgb' is a link to what is not there"),
        (lambda group: group.update(rgb=h5py.SoftLink("/v/rgb")), "'/v/rgb' cannot be opened: "),
        (
            lambda group: group.create_dataset("rgb", (2, 3), dtype=h5py.vlen_dtype(np.float32)),
            "dataset '/v/rgb': expected numbers, got dtype object",
        ),
        (
            lambda group: group.update(rgb=np.zeros((2, 3), [("a", "f4")])),
            "dataset '/v/rgb': expected numbers, got dtype [('a'",
        ),
        (
            lambda group: h5py.h5d.create(group.id, b"rgb", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((2, 3))),
            "dataset '/v/rgb': expected numbers: No NumPy equivalent",
        ),
    ],
)
def test_hdf5_names_what_is_no_array_of_features(tmp_path, write, said):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        write(file.create_group("v"))
    store = Hdf5File(path)
    for question in (store.shape, store.read):
        with pytest.raises((OSError, ValueError)) as error:
            question("v", "rgb")
        assert str(error.value).startswith(f"{path}: {said}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_hdf5_says_which_file_is_truncated(tmp_path, kept):
    path = write_hdf5(tmp_path / "f.h5", {("v", "rgb"): FEATURES})
    path.write_bytes(path.read_bytes()[:kept])
    said = raised(OSError, Hdf5File, path)
    assert said.startswith(f"{path}: not a readable HDF5 file: ")
    assert "\n" not in said


def test_a_reader_of_the_other_layout_says_which_to_choose(tmp_path):
    file = write_hdf5(tmp_path / "f.h5", {("v", "rgb"): FEATURES})
    assert raised(OSError, Hdf5File, tmp_path) == (
        f"{tmp_path}: a folder, but this reader wants an HDF5 file; for .npy files set data.reader = 'npy'"
    )
    assert raised(OSError, NpyFolder, file) == (
        f"{file}: a file, but this reader wants a folder; for an HDF5 file set data.reader = 'hdf5'"
    )


def test_hdf5_says_which_dataset_cannot_be_read(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("v/rgb", data=np.zeros((64, 64)), chunks=(64, 64), compression="gzip", fletcher32=True)
        chunk = file["v/rgb"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 4] ^= 0xFF
    path.write_bytes(content)
    store = Hdf5File(path)
    assert store.shape("v", "rgb") == (64, 64)
    for rows in (None, np.array([1])):
        said = raised(ValueError, store.read, "v", "rgb", rows)
        assert said.startswith(f"{path}: cannot read dataset '/v/rgb': ")


# What a tree means


def write_npz(path, arrays):
    path.mkdir()
    for video in {video for video, _ in arrays}:
        members = {stream: array for (name, stream), array in arrays.items() if name == video}
        np.savez(path / f"{video}.npz", **members)
    return path


def write_csv(path, arrays):
    for (video, stream), array in arrays.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        lines = [",".join(map(repr, row)) for row in array.tolist()]
        (path / stream / f"{video}.csv").write_text("\n".join(["f0,f1,f2", *lines]) + "\n")
    return path


TREES = {**LAYOUTS, "npz": (write_npz, NpzFolder), "csv": (write_csv, CsvFolder)}


@pytest.mark.parametrize("layout", TREES)
def test_every_layout_gives_the_same(tmp_path, layout):
    write, reader = TREES[layout]
    store = reader(write(tmp_path / "f", {("v", "rgb"): FEATURES, ("v", "flow"): -FEATURES, ("w", "rgb"): FEATURES}))
    assert (store.names("rgb"), store.names("flow")) == (["v", "w"], ["v"])
    assert store.shape("v", "flow") == (4, 3)
    np.testing.assert_array_equal(store.read("v", "flow"), -FEATURES)
    np.testing.assert_array_equal(store.read("v", "flow", np.array([3, 0, 0])), -FEATURES[[3, 0, 0]])


@pytest.mark.parametrize("order", ["{s}/{v}", "{v}/{s}", "train/{s}/{v}", "{s}/train/{v}", "train/{v}/{s}"])
def test_a_part_of_the_path_is_the_stream_and_the_others_the_name(tmp_path, order):
    for video in ("v1", "v2"):
        for stream in ("rgb", "flow"):
            file = tmp_path / f"{order.format(v=video, s=stream)}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, FEATURES)
    names = NpyFolder(tmp_path).names("rgb")
    assert [name.rpartition("/")[2] for name in names] == ["v1", "v2"]
    assert names == NpyFolder(tmp_path).names("flow")


def test_arrays_without_a_stream_are_taken_whole_or_split(tmp_path):
    for name in ("v", "w"):
        np.save(tmp_path / f"{name}.npy", FEATURES)
    store = NpyFolder(tmp_path)
    assert store.names("features") == ["v", "w"]
    assert raised(OSError, store.names, "rgb") == (
        f"{tmp_path}: 2 .npy files without streams, such as 'v' with D = 3; set data.streams = ['features'] to take "
        "them whole, or split them by data.reader = { name = 'npy', streams = { rgb = [0, 1], flow = [1, 3] } }"
    )
    split = NpyFolder(tmp_path, {"rgb": [0, 1], "flow": [1, 3]})
    assert (split.shape("v", "rgb"), split.shape("v", "flow")) == ((4, 1), (4, 2))
    np.testing.assert_array_equal(split.read("w", "flow", np.array([2, 0])), FEATURES[[2, 0], 1:])
    assert raised(OSError, split.names, "depth") == (
        f"{tmp_path}: 2 .npy files, and the reader's setting `streams` gives columns to 'rgb', 'flow', but none to "
        "'depth'"
    )


def test_columns_that_are_not_there(tmp_path):
    np.save(tmp_path / "v.npy", FEATURES)
    store = NpyFolder(tmp_path, {"rgb": [0, 4]})
    said = raised(ValueError, store.shape, "v", "rgb")
    assert said == f"{tmp_path}/v.npy: D = 3, but the setting streams.rgb ends at 4"
    assert raised(ValueError, NpyFolder, tmp_path, {"rgb": [2, 1]}) == (
        "streams.rgb = [2, 1]: expected the first column and the one after the last, such as [0, 1024]"
    )


def test_a_part_that_all_paths_share_names_no_video(tmp_path):
    path = write_hdf5(tmp_path / "f.h5", {("v_a", "c3d_features"): FEATURES, ("v_b", "c3d_features"): FEATURES})
    assert Hdf5File(path).names("features") == Hdf5File(path).names("c3d_features") == ["v_a", "v_b"]


@pytest.mark.parametrize("layout", [NpyFolder, Hdf5File])
def test_turned_and_led_by_an_axis_of_one(tmp_path, layout):
    write = write_npy if layout is NpyFolder else write_hdf5
    store = layout(write(tmp_path / "turned", {("v", "rgb"): FEATURES.T}), None, True)
    assert store.shape("v", "rgb") == (4, 3)
    np.testing.assert_array_equal(store.read("v", "rgb"), FEATURES)
    np.testing.assert_array_equal(store.read("v", "rgb", np.array([3, 1])), FEATURES[[3, 1]])
    led = layout(write(tmp_path / "led", {("v", "rgb"): FEATURES[None]}))
    np.testing.assert_array_equal(led.read("v", "rgb"), FEATURES)
    np.testing.assert_array_equal(led.read("v", "rgb", np.array([3, 1])), FEATURES[[3, 1]])


def test_turned_columns_are_those_of_d(tmp_path):
    np.save(tmp_path / "v.npy", FEATURES.T)
    np.testing.assert_array_equal(NpyFolder(tmp_path, {"b": [1, 3]}, True).read("v", "b"), FEATURES[:, 1:])


# CSV and zip archives


@pytest.mark.parametrize("header", ["", "a,b,c\n", "0,1,2\n"])
def test_csv_with_and_without_a_header(tmp_path, header):
    (tmp_path / "v.csv").write_text(header + "1,2,3\n4,5.5,6e1\n\n")
    store = CsvFolder(tmp_path)
    assert store.shape("v", "features") == (2, 3)
    np.testing.assert_array_equal(store.read("v", "features"), [[1, 2, 3], [4, 5.5, 60]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "an empty file, and no table of numbers"),
        (b"a,b\n1,x\n", "not a table of numbers: could not convert string 'x' to float32 at row 0, column 2."),
        (
            b"\xff\xfe",
            "not a readable .csv file: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
    ],
)
def test_csv_that_is_none(tmp_path, text, said):
    (tmp_path / "v.csv").write_bytes(text)
    assert raised(ValueError, CsvFolder(tmp_path).read, "v", "features") == f"{tmp_path}/v.csv: {said}"


def test_csv_with_a_row_too_long(tmp_path):
    (tmp_path / "v.csv").write_text("1,2\n3,4,5\n")
    said = raised(ValueError, CsvFolder(tmp_path).read, "v", "features")
    assert said.startswith(f"{tmp_path}/v.csv: not a table of numbers: the number of columns changed from 2 to 3")


def test_npz_with_one_array_and_with_none(tmp_path):
    np.savez_compressed(tmp_path / "v.npz", FEATURES)
    np.savez(tmp_path / "w.npz", FEATURES)
    store = NpzFolder(tmp_path)
    assert store.names("features") == ["v", "w"]
    np.testing.assert_array_equal(store.read("v", "features", np.array([1])), FEATURES[[1]])
    (tmp_path / "x.npz").write_text("nothing")
    (tmp_path / "x.npz").rename(tmp_path / "v.npz")
    said = raised(ValueError, NpzFolder(tmp_path).read, "v", "features")
    assert said == f"{tmp_path}/v.npz: not a readable .npz file: File is not a zip file"


# One file with all videos


def joint(path, arrays, names=None, **options):
    path.mkdir(exist_ok=True)
    content = np.empty(len(arrays), dtype=object)
    content[:] = arrays
    file = path / "Set-I3D-JOINTFeatures.npy"
    np.save(file, content, **options)
    (path / "Set-Annotations").mkdir(exist_ok=True)
    np.save(path / "Set-Annotations" / "videoname.npy", np.array(names or [f"v{i}" for i in range(len(arrays))], "S24"))
    return file


def test_an_array_of_arrays_is_read_only_if_that_is_allowed(tmp_path):
    file = joint(tmp_path, [FEATURES, np.asfortranarray(-FEATURES[:2]), FEATURES.astype(">f8")])
    assert raised(ValueError, npy, file) == (
        f"{file}: pickled, as W-TALC's features are; data.reader = {{ name = 'npy', allow_pickle = true }} reads it, "
        "by a reader that knows arrays of numbers and runs nothing"
    )
    store = npy(file, {"rgb": [0, 2], "flow": [2, 3]}, allow_pickle=True)
    assert store.names("rgb") == ["v0", "v1", "v2"]
    np.testing.assert_array_equal(store.read("v1", "rgb"), -FEATURES[:2, :2])
    np.testing.assert_array_equal(store.read("v2", "flow", np.array([3])), FEATURES[[3], 2:])
    assert raised(OSError, store.read, "v3", "rgb") == f"{file}: its index has no video 'v3'"


def outer(protocol, arrays):
    content = np.empty(len(arrays), dtype=object)
    content[:] = arrays
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({len(arrays)},), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + pickle.dumps(content, protocol)


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_pickled_by_any_protocol_that_numpy_used(tmp_path, protocol):
    arrays = [FEATURES, FEATURES[:1].astype(np.float16), FEATURES.astype(">i4")]
    (tmp_path / "f.npy").write_bytes(outer(protocol, arrays))
    for got, expected in zip(load_arrays(tmp_path / "f.npy"), arrays, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


class Hostile:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "made",
    [
        lambda sprung: Hostile(open, str(sprung), "w"),
        lambda sprung: Hostile(os.mkdir, str(sprung)),
        lambda sprung: Hostile(eval, f"open({str(sprung)!r}, 'w')"),
        lambda sprung: Hostile(np.memmap, str(sprung), "u1", "w+", 0, (9,)),
        lambda sprung: Hostile(getattr, str(sprung), "join"),
    ],
)
def test_no_code_of_a_hostile_file_runs(tmp_path, protocol, made):
    sprung = tmp_path / "sprung"
    (tmp_path / "f.npy").write_bytes(outer(protocol, [made(sprung), FEATURES]))
    said = raised(ValueError, load_arrays, tmp_path / "f.npy")
    assert said.startswith(f"{tmp_path}/f.npy: not a readable array of arrays: it names '")
    assert said.endswith("', which is no part of an array")
    assert not sprung.exists()


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 20))
def test_a_broken_pickle_is_a_value_error_that_names_the_file(tmp_path_factory, junk, at, cut):
    content = outer(4, [FEATURES, FEATURES[:1]])
    file = tmp_path_factory.mktemp("junk") / "f.npy"
    file.write_bytes(content[: 128 + at] + junk + content[128 + at + cut :])
    try:
        assert all(array.dtype.kind in "fiu" for array in load_arrays(file))
    except ValueError as error:
        assert str(error).startswith(f"{file}: ")  # noqa: PT017 - either is right


def test_an_array_that_says_it_is_huge_is_refused(tmp_path):
    file = joint(tmp_path, [FEATURES, FEATURES[:2]])
    content = file.read_bytes()
    file.write_bytes(content.replace(b"K\x04K\x03\x86", b"K\xffK\xff\x86"))
    assert raised(ValueError, load_arrays, file) == (
        f"{file}: not a readable array of arrays: an array's content is not as long as its shape says"
    )


def test_one_array_of_all_videos(tmp_path):
    np.save(tmp_path / "all.npy", np.stack([FEATURES, -FEATURES]))
    said = raised(OSError, npy, tmp_path / "all.npy")
    assert said == (
        f"{tmp_path}/all.npy: a file with all videos needs an index of their names, and there is no videoname.npy, "
        "here or in a folder *-Annotations; name it by data.reader = { name = 'npy', index = 'FILE.npy' }"
    )
    np.save(tmp_path / "names.npy", np.array(["a", "b"]))
    store = npy(tmp_path / "all.npy", index="names.npy")
    assert store.names("features") == ["a", "b"]
    np.testing.assert_array_equal(store.read("b", "features", np.array([2, 0])), -FEATURES[[2, 0]])
    np.save(tmp_path / "names.npy", np.array(["a"]))
    assert raised(ValueError, npy, tmp_path / "all.npy", None, False, "names.npy") == (
        f"{tmp_path}/all.npy: 2 videos, but its index has 1 names"
    )


# HDF5 as a plain file


def _chunked(group, array):
    group.create_dataset("rgb", data=array, chunks=(1, array.shape[1]))


def _packed(group, array):
    group.create_dataset("rgb", data=array, compression="gzip")


def _with_a_leading_axis(group, array):
    group.create_dataset("rgb", data=array[None])


def _as_integers_of_few_bits(group, array):
    kind = h5py.h5t.NATIVE_INT32.copy()
    kind.set_precision(20)  # numpy has no such type, so that only HDF5 knows what the bytes mean
    space = h5py.h5s.create_simple(array.shape)
    h5py.h5d.create(group.id, b"rgb", kind, space).write(h5py.h5s.ALL, h5py.h5s.ALL, array.astype(np.int32))


def _unwritten(group, array):
    group.create_dataset("rgb", array.shape, np.float32, fillvalue=7)


def _in_another_file(group, array):
    with h5py.File(Path(group.file.filename).with_name("other.h5"), "w") as other:
        other.create_dataset("x", data=array)
    group["rgb"] = h5py.ExternalLink("other.h5", "/x")


def _in_raw_bytes(group, array):
    raw = Path(group.file.filename).with_name("raw.bin")
    raw.write_bytes(b"0123" + array.astype(np.float32).tobytes())
    group.create_dataset("rgb", array.shape, np.float32, external=[(str(raw), 4, h5py.h5f.UNLIMITED)])


def _big_endian(group, array):
    group.create_dataset("rgb", data=array.astype(">f8"))


def _half(group, array):
    group.create_dataset("rgb", data=array.astype(np.float16))


@pytest.mark.parametrize("userblock", [0, 1024])
@pytest.mark.parametrize(
    ("write", "plain"),
    [
        (_chunked, False),
        (_packed, False),
        (_with_a_leading_axis, True),
        (_as_integers_of_few_bits, False),
        (_unwritten, False),
        (_in_another_file, True),
        (_in_raw_bytes, False),
        (_big_endian, True),
        (_half, True),
    ],
)
def test_hdf5_in_one_piece_is_read_as_a_plain_file_and_says_the_same(tmp_path, write, plain, userblock):
    array = np.arange(12.0).reshape(4, 3)
    path = tmp_path / "f.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        write(file.create_group("v"), array)
    store, rows = Hdf5File(path), np.array([3, 0, 0])
    assert isinstance(store._open(("v", "rgb")), PlainArray) == plain
    with h5py.File(path) as file:
        expected = file["v/rgb"][()].reshape(array.shape)
    for got, wanted in ((store.read("v", "rgb"), expected), (store.read("v", "rgb", rows), expected[rows])):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_hdf5_that_shrinks_after_it_was_opened_is_named(tmp_path):
    path = write_hdf5(tmp_path / "f.h5", {("v", "rgb"): FEATURES})
    store = Hdf5File(path)
    store.shape("v", "rgb")
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(
        ValueError, match=re.escape(f"{path}: the file has changed since it was first read; start again")
    ):
        store.read("v", "rgb")


def test_features_are_read_without_preadv_too(tmp_path, monkeypatch):
    """Windows has none."""
    monkeypatch.delattr(os, "preadv")
    store = NpyFolder(write_npy(tmp_path / "folder", {("v", "rgb"): FEATURES}))
    np.testing.assert_array_equal(store.read("v", "rgb"), FEATURES)
    np.testing.assert_array_equal(store.read("v", "rgb", np.array([1, 0, 1])), FEATURES[[1, 0, 1]])
