"""Feature readers: the same questions to both layouts, and each one's own ways to be wrong."""

import pickle

import h5py
import numpy as np
import pytest
from wtal_core.features import Hdf5File, NpyFolder

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


@pytest.mark.parametrize("rows", [[0], [3, 0, 2], [1, 1, 1], [3, 3, 0, 1, 0], []])
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
    store = NpyFolder(write_npy(tmp_path, {("v", "rgb"): np.zeros((1000, 8))}))
    assert isinstance(store._map("v", "rgb"), np.memmap)
    whole = store.read("v", "rgb")
    assert np.shares_memory(whole, store._map("v", "rgb"))
    assert store.read("v", "rgb", np.array([5])).base is None or not np.shares_memory(
        store.read("v", "rgb", np.array([5])), whole
    )


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
