"""Feature readers: the same questions to both layouts, and each one's own ways to be wrong."""

import errno
import os
import pickle
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from wtal_core.builtin.features import Hdf5File, NpyFolder

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
        (FEATURES[None], "expected features of shape (T, D), got shape (1, 4, 3)"),
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
        f"{tmp_path}/flow: no such folder; this layout wants one folder per stream, with one .npy file per video"
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
    assert isinstance(store._dataset("v", "rgb"), h5py.Dataset)


def test_hdf5_says_which_file_or_dataset_is_missing(tmp_path):
    path = tmp_path / "f.h5"
    assert raised(OSError, Hdf5File, path) == f"{path}: no such feature file"
    store = Hdf5File(write_hdf5(path, {("v", "rgb"): FEATURES}))
    assert raised(OSError, store.read, "w", "rgb") == f"{path}: no dataset '/w/rgb'"
    assert raised(OSError, store.shape, "v", "flow") == f"{path}: no dataset '/v/flow'"
    assert store.names("flow") == []


def test_hdf5_ignores_groups_and_datasets_of_another_layout(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["stray"] = FEATURES
        file["v/rgb/deeper"] = FEATURES
    store = Hdf5File(path)
    assert store.names("rgb") == ["v"]
    assert raised(OSError, store.read, "v", "rgb") == f"{path}: no dataset '/v/rgb'"
    assert raised(OSError, store.read, "stray", "rgb") == f"{path}: no dataset '/stray/rgb'"


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
