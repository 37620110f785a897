"""A folder belongs to one process, until that process ends, however it does."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from wtal_core import lock
from wtal_core.errors import RunError
from wtal_core.lock import taking

from .conftest import FAKES

fcntl = pytest.importorskip("fcntl")

HOLD = """
import pathlib, sys
from wtal_core.lock import taking
with taking(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(*arguments):
    folders = os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path / "run"` until it is killed, or its standard input ends."""
    process = start("-c", HOLD, tmp_path / "run")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def said(folder, process):
    return (
        f"{folder}: in use by process {process.pid} on {socket.gethostname()}; wait until it ends, or choose another "
        "directory"
    )


def test_the_second_process_is_refused_with_the_first_ones_number_and_host(tmp_path, holder):
    with pytest.raises(RunError) as refused, taking(tmp_path / "run"):
        pytest.fail("held twice")
    assert str(refused.value) == said(tmp_path / "run", holder)
    assert holder.poll() is None
    assert [file.name for file in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_link_to_the_folder_is_the_folder(tmp_path, holder):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(RunError) as refused, taking(tmp_path / "link"):
        pytest.fail("held twice")
    assert str(refused.value) == said(tmp_path / "link", holder)


def test_a_killed_process_leaves_nothing_in_the_way(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = tmp_path / "run" / ".lock"
    assert lock.read_text() == f"process {holder.pid} on {socket.gethostname()}\n"
    with taking(tmp_path / "run"):
        assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert not lock.exists()


def test_the_same_process_may_take_it_again(tmp_path):
    with taking(tmp_path), taking(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    with taking(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_a_folder_that_stays_empty_goes(tmp_path):
    with taking(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with taking(tmp_path / "a" / "b"):
        (tmp_path / "a" / "file").touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["a", "file"]


def test_a_file_that_is_removed_between_opening_and_locking_is_no_lock(tmp_path, monkeypatch):
    """Else the second process holds a file that the third cannot see."""
    opened = []

    def remove_first(handle, operation):
        if not opened:
            (tmp_path / ".lock").unlink()
        opened.append(handle)
        flock(handle, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", remove_first)
    with taking(tmp_path):
        assert len(opened) == 2
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} ")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    text = rf"{tmp_path}: this file system has no locks \({os.strerror(number)}\); make sure that no other process"
    with pytest.warns(UserWarning, match=text), taking(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_many_processes_hold_it_one_after_the_other(tmp_path):
    """Each adds one to a number, which a second at the same time would lose."""
    count = (
        "import sys, pathlib, time\nfrom wtal_core.lock import taking\nfrom wtal_core.errors import RunError\n"
        "folder, number = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])\n"
        "done = 0\n"
        "while done < 50:\n"
        "    try:\n"
        "        with taking(folder):\n"
        "            before = int(number.read_text())\n            time.sleep(0.0005)\n"
        "            number.write_text(str(before + 1))\n            done += 1\n"
        "    except RunError: time.sleep(0.0005)\n"
    )
    (tmp_path / "number").write_text("0")
    processes = [start("-c", count, tmp_path / "run", tmp_path / "number") for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [""] * 3
    assert (tmp_path / "number").read_text() == "150"


# The commands


@pytest.fixture
def running(fakes, tiny, tmp_path):
    """A training that takes long, in a process of its own."""
    settings = ("--set", "training.iterations=1000000", "--set", "training.checkpoint_every=1")
    process = start("-m", "wtal_core", "train", tiny, "--out", tmp_path, *settings)
    while not (tmp_path / "seed-0" / "checkpoints" / "rgb.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def test_every_command_that_writes_is_refused(running, wtal, tiny, tmp_path):
    run = tmp_path / "seed-0"
    settings = ("--set", "training.iterations=1000000", "--set", "training.checkpoint_every=1", "--resume")
    for command in (
        ("run", tiny, "--out", tmp_path, *settings),
        ("train", tiny, "--out", tmp_path, "--seeds", "1,0", *settings),
        ("localize", run),
        ("evaluate", run),
        ("sweep", run, "--grid", "localization.proposer.fraction=[0.5]"),
    ):
        answer = wtal(*command)
        assert (answer.code, answer.out, answer.err) == (2, "", f"error: {said(run, running)}\n")
    assert not (tmp_path / "seed-1").exists()
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert (run / ".lock").exists()
    assert wtal("localize", run).err.startswith(f"error: {run}/checkpoints/rgb.safetensors: training stopped at ")
    assert not (run / ".lock").exists()


def test_a_finished_run_has_no_lock_and_can_be_read_by_a_sweep_while_another_holds_it(fakes, wtal, tiny, tmp_path):
    assert wtal("run", tiny, "--out", tmp_path).code == 0
    run = tmp_path / "seed-0"
    grid = ("--grid", "localization.proposer.fraction=[0.5]")
    assert wtal("sweep", run, *grid).code == 0
    assert not list(tmp_path.rglob(".lock"))
    process = start("-c", HOLD, run)
    assert process.stdout.readline() == "held\n"
    assert wtal("sweep", run, *grid).code == 0  # its predictions are stored
    shutil.rmtree(run / "predictions")
    assert wtal("sweep", run, *grid).err == f"error: {said(run, process)}\n"
    process.communicate()
    assert lock._held == set()
