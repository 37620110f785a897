"""`wtal convert`: what is read back is what was there, whatever happens between."""

import os
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from wtal_core import convert as module
from wtal_core.builtin.features import Hdf5File

from .test_auto_features import by_subset
from .test_features import joint, write_csv, write_hdf5, write_npy, write_npz

pytestmark = pytest.mark.usefixtures("fakes")

GENERATOR = np.random.default_rng(0)
ARRAYS = {
    (f"v{number}", stream): GENERATOR.normal(size=(rows, 3)).astype(np.float32)
    for number, rows in enumerate((40, 17, 1))
    for stream in ("rgb", "flow")
}


def error(answer):
    assert (answer.code, answer.out) == (2, "")
    return answer.err


@pytest.mark.parametrize("write", [write_npy, write_npz, write_csv, write_hdf5])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_layout_becomes_one_file(wtal, tmp_path, write, dtype):
    source = write(tmp_path / "in", ARRAYS)
    answer = wtal("convert", source, tmp_path / "out.h5", "--dtype", dtype)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"{tmp_path}/out.h5: 6 arrays of {dtype}; read back and as written",
        f"next: wtal validate EXPERIMENT --set data.features={tmp_path}/out.h5",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.h5"]
    store = Hdf5File(tmp_path / "out.h5")
    for (name, stream), array in ARRAYS.items():
        np.testing.assert_array_equal(store.read(name, stream), array.astype(dtype))
        assert store.read(name, stream).dtype == dtype
        store.verify(name, stream)


def test_subsets_in_folders_stay_in_the_names(wtal, tmp_path):
    wtal("convert", by_subset(tmp_path / "in", ARRAYS), tmp_path / "out.h5")
    assert Hdf5File(tmp_path / "out.h5").names("rgb") == ["train/v0", "train/v1", "train/v2"]


def test_a_joined_pickled_array_is_split(wtal, tmp_path):
    arrays = [array for (_, stream), array in ARRAYS.items() if stream == "rgb"]
    file = joint(tmp_path, arrays)
    out = tmp_path / "out.h5"
    assert "allow_pickle = true" in error(wtal("convert", file, out, "--streams", "rgb=0:2,flow=2:3"))
    answer = wtal("convert", file, out, "--streams", "rgb=0:2,flow=2:3", "--allow-pickle")
    assert (answer.code, answer.err) == (0, "")
    np.testing.assert_array_equal(Hdf5File(out).read("v1", "flow"), arrays[1][:, 2:])


@pytest.mark.parametrize("streams", ["rgb,", "rgb=0:2,flow", "rgb,rgb", "rgb=a:b"])
def test_streams_that_are_none(wtal, tmp_path, streams):
    assert error(wtal("convert", tmp_path, tmp_path / "out.h5", "--streams", streams)) == (
        f"error: --streams {streams}: expected names with commas between, such as rgb,flow, or "
        "rgb=0:1024,flow=1024:2048\n"
    )


def test_a_reader_may_have_options(wtal, tmp_path):
    source = write_npy(tmp_path / "in", {key: array.T for key, array in ARRAYS.items()})
    answer = wtal("convert", source, tmp_path / "out.h5", "--reader", "{ name = 'npy', transposed = true }")
    assert (answer.code, answer.err) == (0, "")
    assert Hdf5File(tmp_path / "out.h5").shape("v0", "rgb") == (40, 3)
    assert error(wtal("convert", source, tmp_path / "b.h5", "--reader", "{ transposed = true }")) == (
        "error: --reader { transposed = true }: a table needs a `name`, such as { name = 'npy', transposed = true }\n"
    )


def test_what_float16_does_not_hold_is_refused(wtal, tmp_path):
    arrays = {**ARRAYS, ("v1", "flow"): np.array([[1, 2], [65504, -65505]], np.float32)}
    source, out = write_npy(tmp_path / "in", arrays), tmp_path / "out.h5"
    assert error(wtal("convert", source, out, "--dtype", "float16")) == (
        "error: video 'v1', stream 'flow': -65505 at snippet 1, feature 1, is more than float16 holds (65504); use "
        "--dtype float32\n"
    )
    assert not out.exists()


def test_what_is_there_is_not_overwritten(wtal, tmp_path):
    source, out = write_npy(tmp_path / "in", ARRAYS), tmp_path / "out.h5"
    out.write_text("mine")
    for more in ([], ["--resume"]):
        assert error(wtal("convert", source, out, *more)) == (
            f"error: {out}: is there already, and complete; remove it or choose another name\n"
        )
    assert out.read_text() == "mine"


def test_a_broken_array_is_named_and_the_rest_is_kept(wtal, tmp_path):
    source, out = write_npy(tmp_path / "in", ARRAYS), tmp_path / "out.h5"
    (source / "flow" / "v1.npy").write_text("nothing")
    said = error(wtal("convert", source, out))
    assert said == (
        f"error: video 'v1', stream 'flow': {source}/flow/v1.npy: not a readable .npy file: not an array of numbers, "
        "and pickled objects are never loaded; extract it again or remove it, and go on with --resume\n"
    )
    np.save(source / "flow" / "v1.npy", ARRAYS["v1", "flow"])
    assert error(wtal("convert", source, out)) == (
        f"error: {out}.unfinished: an unfinished conversion; go on with --resume, or remove it\n"
    )
    assert error(wtal("convert", source, out, "--resume", "--dtype", "float16")) == (
        f"error: {out}.unfinished: an unfinished conversion to other settings, dtype float32; set the same, or remove "
        "it\n"
    )
    answer = wtal("convert", source, out, "--resume")
    assert answer.out.startswith(f"{out}: 6 arrays of float32, 4 of them were there already; read back")


def test_a_finished_array_that_has_changed_is_written_again(wtal, tmp_path):
    source, out = write_npy(tmp_path / "in", ARRAYS), tmp_path / "out.h5"
    (source / "flow" / "v2.npy").write_text("nothing")
    wtal("convert", source, out)
    np.save(source / "flow" / "v2.npy", ARRAYS["v2", "flow"])
    with h5py.File(f"{out}.unfinished", "r+") as file:
        file["v0/rgb"][3, 1] += 1
    assert ", 4 of them were there already" in wtal("convert", source, out, "--resume").out
    np.testing.assert_array_equal(Hdf5File(out).read("v0", "rgb"), ARRAYS["v0", "rgb"])


def test_a_file_that_nobody_can_read_is_begun_again(wtal, tmp_path):
    source, out = write_npy(tmp_path / "in", ARRAYS), tmp_path / "out.h5"
    (tmp_path / "out.h5.unfinished").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    assert wtal("convert", source, out, "--resume").out.startswith(f"{out}: 6 arrays of float32; read back")


def test_what_is_read_back_otherwise_is_no_conversion(wtal, tmp_path, monkeypatch):
    source, out = write_npy(tmp_path / "in", ARRAYS), tmp_path / "out.h5"
    monkeypatch.setattr(module, "digest", lambda array: str(random.random()))
    assert error(wtal("convert", source, out)) == (
        f"error: {out}.unfinished: video 'v0', stream 'rgb': what is read back is not what was written; check the "
        "disk, and go on with --resume\n"
    )
    assert not out.exists()


def test_killed_at_any_moment_it_goes_on(tmp_path):
    arrays = {(f"v{number:03}", "rgb"): GENERATOR.normal(size=(60, 256)) for number in range(120)}
    source, out = write_npy(tmp_path / "in", arrays), tmp_path / "out.h5"
    command = [sys.executable, "-m", "wtal_core", "convert", str(source), str(out), "--streams", "rgb", "--resume"]
    kills = 0
    for seed in range(200):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        unfinished = tmp_path / "out.h5.unfinished"
        size = unfinished.stat().st_size if unfinished.exists() else 0
        goal = size + random.Random(seed).randrange(1, 4_000_000)
        while process.poll() is None and kills < 5:
            if unfinished.exists() and unfinished.stat().st_size >= goal:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.0005)
        _, said = process.communicate()
        if process.returncode == 0:
            break
        assert (process.returncode, said) == (-signal.SIGKILL, b"")
        assert not out.exists()
    assert kills > 0
    store = Hdf5File(out)
    assert store.names("rgb") == sorted(name for name, _ in arrays)
    for (name, stream), array in arrays.items():
        np.testing.assert_array_equal(store.read(name, stream), array.astype(np.float32))


def test_validate_finds_what_has_changed_since(wtal, tiny, tmp_path):
    out = tmp_path / "out.h5"
    assert wtal("convert", tiny.parent / "features", out).code == 0
    answer = wtal("validate", tiny, "--set", f"data.features={out}")
    assert (answer.code, answer.err) == (0, "")
    with h5py.File(out, "r+") as file:
        file["v3/rgb"][2, 1] += 0.5
    assert error(wtal("validate", tiny, "--set", f"data.features={out}")) == (
        f"error: video 'v3', stream 'rgb': {out}: dataset '/v3/rgb': its content is not what was written, by its "
        "sha256; convert it again\n"
    )
