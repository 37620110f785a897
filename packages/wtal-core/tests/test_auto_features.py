"""The feature reader `auto`: each layout is found, and each near miss says what it looks like and what to set."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_core.builtin.auto_features import auto
from wtal_core.data.names import meet

from .conftest import SHARED
from .test_features import FEATURES, joint, raised, write_csv, write_hdf5, write_npy, write_npz

OF_TWO = {(video, stream): FEATURES[:rows] for video, rows in (("v1", 4), ("v2", 3)) for stream in ("rgb", "flow")}


def by_subset(path, arrays):
    for (video, stream), array in arrays.items():
        (path / "train" / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / "train" / stream / f"{video}.npy", array)
    return path


def npz_file(path, arrays):
    np.savez(path.with_suffix(".npz"), **{f"{stream}/{video}": array for (video, stream), array in arrays.items()})
    return path.with_suffix(".npz")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_npy, ".npy files, float32, (T, D)"),
        (by_subset, ".npy files, float32, (T, D)"),
        (write_npz, "arrays in .npz files, float32, (T, D)"),
        (npz_file, "arrays in one .npz file, float32, (T, D)"),
        (write_csv, ".csv files, float32, (T, D)"),
        (lambda path, arrays: write_hdf5(path.with_suffix(".h5"), arrays) or path, "datasets of HDF5, float32, (T, D)"),
    ],
)
def test_each_layout_is_found(tmp_path, write, said):
    store = auto(write(tmp_path / "features", OF_TWO))
    names = store.names("flow")
    assert [name.rpartition("/")[2] for name in names] == ["v1", "v2"]
    np.testing.assert_array_equal(store.read(names[1], "flow"), FEATURES[:3])
    assert store.layout("flow") == said


def test_one_file_with_all_videos_is_found_in_its_folder(tmp_path):
    file = joint(tmp_path, [FEATURES, FEATURES[:2]])
    np.save(tmp_path / "labels.npy", FEATURES)
    for path in (tmp_path, file):
        store = auto(path, {"rgb": [0, 1], "flow": [1, 3]}, allow_pickle=True)
        assert (store.names("rgb"), store.shape("v1", "flow")) == (["v0", "v1"], (2, 2))
        assert store.layout("flow") == "arrays in one .npy file, float32, (T, D), columns 1 to 3"
        assert raised(ValueError, auto, path).startswith(f"{file}: pickled, as W-TALC's features are; data.reader = ")


def test_flat_hdf5_is_one_stream(tmp_path):
    with h5py.File(tmp_path / "f", "w") as file:
        file["v1"], file["v2"] = FEATURES, FEATURES[:2]
    store = auto(tmp_path / "f")
    assert store.names("features") == ["v1", "v2"]
    assert raised(OSError, store.names, "rgb") == (
        f"{tmp_path}/f: 2 datasets of HDF5 without streams, such as 'v1' with D = 3; set data.streams = ['features'] "
        "to take them whole, or split them by data.reader = { name = 'hdf5', streams = { rgb = [0, 1], flow = "
        "[1, 3] } }"
    )


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_npy(tmp_path / "elsewhere", OF_TWO)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "rgb").symlink_to(tmp_path / "elsewhere" / "rgb")
    (tmp_path / "elsewhere" / "rgb" / "up").symlink_to(tmp_path / "f")
    (tmp_path / "elsewhere" / "rgb" / "._v1.npy").write_bytes(b"of macOS")
    assert auto(tmp_path / "f").names("rgb") == ["v1", "v2"]


SIDECARS = SHARED / "data/formats/wtalc/Thumos14reduced-Annotations"


@pytest.mark.skipif(not SIDECARS.exists(), reason="needs ../shared")
def test_the_published_index_of_wtalc(tmp_path):
    file = joint(tmp_path, [FEATURES] * 412)
    shutil.copy(SIDECARS / "videoname.npy", tmp_path / "Set-Annotations" / "videoname.npy")
    store = auto(tmp_path, {"rgb": [0, 2], "flow": [2, 3]}, allow_pickle=True)
    assert len(store.names("rgb")) == 412
    assert store.names("flow")[0] == "video_test_0000004"
    assert store.path == file


def test_one_array_alone_is_no_data_set(tmp_path):
    np.save(tmp_path / "v.npy", FEATURES)
    assert raised(ValueError, auto, tmp_path / "v.npy") == (
        f"{tmp_path}/v.npy: a file with an array (4, 3) of float32, but one with all videos has shape (N, T, D); for a "
        "folder of files set data.features to the folder"
    )


# (D, T)


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=5, unique=True), st.integers(1, 6), st.booleans(), st.booleans()
)
def test_turned_arrays_are_those_that_agree_on_the_first_axis(tmp_path_factory, lengths, width, turned, led):
    path = tmp_path_factory.mktemp("turned")
    arrays = [np.arange(length * width).reshape(length, width) for length in lengths]
    for number, array in enumerate(arrays):
        stored = array.T if turned else array
        np.save(path / f"v{number}.npy", stored[None] if led else stored)
    store = auto(path)
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(store.read(f"v{number}", "features"), array)
        np.testing.assert_array_equal(store.read(f"v{number}", "features", np.array([0, -1])), array[[0, -1]])
    assert store.layout("features").endswith("(D, T), turned" if turned else "(T, D)")


@pytest.mark.parametrize("shapes", [[(4, 3)], [(4, 3), (4, 3)], [(4, 3), (4, 3), (4, 2)]])
def test_what_could_be_either_is_t_by_d_and_a_setting_turns_it(tmp_path, shapes):
    for number, shape in enumerate(shapes):
        np.save(tmp_path / f"v{number}.npy", np.ones(shape))
    assert auto(tmp_path).shape("v0", "features") == (4, 3)
    assert auto(tmp_path, transposed=True).shape("v0", "features") == (3, 4)


def test_that_it_could_be_either_is_said(tmp_path):
    np.save(tmp_path / "v.npy", FEATURES)
    store = auto(tmp_path)
    store.shape("v", "features")
    assert store.layout("features") == (
        ".npy files, float32, (T, D) by default, all being alike (transposed = true turns them)"
    )


# Near misses


def touch(*names):
    def write(path):
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(b"\x80\x02}q\x00.")

    return write


TRIED = "which no reader reads (csv, hdf5, npy and npz were tried)"
SAVE = "save each array with numpy.save as STREAM/VIDEO.npy, and set data.features to the folder"


@pytest.mark.parametrize(
    ("write", "below", "said"),
    [
        (touch(), "none", "no such folder of features"),
        (touch(), "", "a folder without a file; set data.features to where the features are"),
        (
            touch("rgb/a.npy", "rgb/b.npy", "a.csv"),
            "",
            "a folder with 1 .csv and 2 .npy files; say which are features by data.reader = 'csv' or 'npy'",
        ),
        (touch("rgb/a.pt", "rgb/b.pt"), "", f"a folder of 2 .pt files, such as 'rgb/a.pt', {TRIED}; {SAVE}"),
        (touch("a.h5"), "", f"a folder of 1 .h5 files, such as 'a.h5', {TRIED}; set data.features = '{{path}}/a.h5'"),
        (
            touch("a.h5", "b.h5"),
            "",
            f"a folder of 2 .h5 files, such as 'a.h5', {TRIED}; put their datasets into one HDF5 file, with a group "
            "for each video, and set data.features to it",
        ),
        (touch("f.pkl"), "f.pkl", f"a pickle, {TRIED}; {SAVE}"),
        (
            touch("f.h5"),
            "f.h5",
            f"a file that is called as HDF5 and is none, {TRIED}; set data.features = '{{path}}/f.h5'",
        ),
        (
            touch("I-I3D-JOINTFeatures.npy", "I-UNT-JOINTFeatures.npy"),
            "",
            "a folder with 'I-I3D-JOINTFeatures.npy' and 'I-UNT-JOINTFeatures.npy', each of all videos; set "
            "data.features to one of them",
        ),
    ],
)
def test_near_misses(tmp_path, write, below, said):
    write(tmp_path)
    path = tmp_path / below
    answer = raised((OSError, ValueError), auto, path)
    assert answer == f"{path}: {said.format(path=tmp_path)}"


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "f.zip").write_bytes(b"PK\3\4 and more")
    assert raised(ValueError, auto, tmp_path / "f.zip") == (
        f"{tmp_path}/f.zip: a zip archive, {TRIED}; unpack it, and set data.features to the folder"
    )


def test_what_is_neither_file_nor_folder():
    assert raised(ValueError, auto, Path("/dev/null")) == (
        "/dev/null: neither a file nor a folder; set data.features to where the features are"
    )


# Names


@given(
    st.sets(
        st.sampled_from([f"{f}{p}{n}{s}" for f in ("", "t/") for p in ("", "v_") for n in "ab" for s in ("", ".mp4")])
    ),
    st.data(),
)
def test_no_features_are_of_two_videos(present, data):
    names = [f"{f}{p}{n}" for f in ("", "t/") for p in ("", "v_") for n in "ab"]
    wanted = data.draw(st.lists(st.sampled_from(names), unique=True))
    meeting = meet(wanted, present)
    assert len(set(meeting.met.values())) == len(meeting.met)
    assert all(meeting.met[name] == name for name in wanted if name in present)
    assert not meeting.met.keys() & meeting.several.keys()
