"""What is written is whole, and what is no file is written to, not replaced."""

import os
import stat
import threading
from pathlib import Path

import pytest
from wtal_core.errors import RunError
from wtal_core.files import new_folder, remove, replacing, write


def test_a_link_stays_and_leads_to_the_new_content(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "a.txt", tmp_path / "link"
    link.symlink_to("there/a.txt")
    for content in ("new", "newer"):  # where nothing is yet, and where something is
        write(link, content)
        assert link.is_symlink()
        assert target.read_text() == content
        assert not target.is_symlink()
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a.txt", "link", "there"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_an_existing_file_keeps_its_mode_and_owner(tmp_path, mode):
    file = tmp_path / "a.txt"
    file.write_text("old")
    if os.getuid() == 0:
        os.chown(file, 12, 34)
    file.chmod(mode)
    before = file.stat()
    write(file, "new")
    after = file.stat()
    assert stat.S_IMODE(after.st_mode) == mode
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert file.read_text() == "new"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_new_file_has_the_mode_of_any_other(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "a.txt", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_what_nobody_may_read_is_not_readable_while_it_is_written(tmp_path):
    (tmp_path / "a.txt").touch(0o600)
    with replacing(tmp_path / "a.txt") as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe, "new")
    reader.join()
    assert got == [b"new"]
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_device_stays_a_device(tmp_path):
    full, null = tmp_path / "full", tmp_path / "null"
    full.symlink_to("/dev/full")
    null.symlink_to("/dev/null")
    write(null, "new")
    with pytest.raises(RunError) as error:
        write(full, "new")
    assert str(error.value) == f"{full}: cannot write: No space left on device"
    remove(null)
    assert all(stat.S_ISCHR(device.stat().st_mode) and device.is_symlink() for device in (full, null))


def test_a_name_as_long_as_a_file_system_takes(tmp_path):
    write(tmp_path / ("a" * 255), "new")
    assert (tmp_path / ("a" * 255)).read_text() == "new"


def test_a_file_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((os.fstat(handle).st_size, (tmp_path / "a").exists())))
    write(tmp_path / "a", "new")
    assert seen == [(3, False)]


def test_what_is_removed_is_a_file_behind_links(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    remove(tmp_path / "link")
    assert [file.name for file in tmp_path.iterdir()] == ["link"]
    remove(tmp_path / "link")
    (tmp_path / "folder").mkdir()
    remove(tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()


def test_a_new_folder_behind_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "to-folder").symlink_to("there")
    (tmp_path / "to-nothing").symlink_to("new")
    for path in (tmp_path / "to-folder" / "new", tmp_path / "to-nothing"):
        with new_folder(path) as temporary:
            (temporary / "file").touch()
        assert (path / "file").exists()
    assert (tmp_path / "to-nothing").is_symlink()
