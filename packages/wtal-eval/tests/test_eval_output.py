"""What the command prints and writes, wherever it goes: terminals, pipes, links, devices and other people's files."""

import json
import os
import stat
import subprocess
import sys
from threading import Thread

import pytest
from wtal_eval.cli import main

RUN, SWIM = "\u8dd1", "\u6e38$_$"


@pytest.fixture
def inputs(tmp_path):
    rows = [{"label": RUN, "segment": [0, 10]}, {"label": SWIM, "segment": [0, 10]}]
    (tmp_path / "gt.json").write_text(json.dumps({"database": {"a": {"subset": "test", "annotations": rows}}}))
    (tmp_path / "found.json").write_text(json.dumps({"results": {"a": [{**row, "score": 0.9} for row in rows]}}))
    return [str(tmp_path / "found.json"), str(tmp_path / "gt.json"), "--tiou", "0.5"]


def command(arguments, **options):
    return subprocess.run([sys.executable, "-m", "wtal_eval.cli", *arguments], **options)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_terminal_fails_the_command(inputs, tmp_path, encoding):
    path = tmp_path / "out.json"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = command([*inputs, "--per-class", "--json", str(path)], capture_output=True, env=environment, check=True)
    assert (RUN if encoding == "utf-8" else "\\u8dd1") in done.stdout.decode(encoding)
    assert set(json.loads(path.read_text())["per_class"]) == {RUN, SWIM}
    assert done.stderr == b""
    done = command([inputs[0], str(tmp_path / f"{RUN}.json")], capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--json", "-"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_no_error(inputs, arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = command([*inputs, *arguments], stdout=write, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(write)
    swallowed = arguments == ["--help"] and unbuffered  # by argparse
    assert (done.returncode, done.stderr) == (0 if swallowed else 141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_one_sentence_after_the_files(inputs, tmp_path):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        arguments = [*inputs, "--csv", str(tmp_path / "out.csv")]
        done = command(arguments, stdout=full, stderr=subprocess.PIPE, check=False)
    said = b"wtal-eval: error: [Errno 28] No space left on device: 'standard output'\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_holds_the_file_alone(inputs, name):
    done = command([*inputs, "--json", name], capture_output=True, check=True)
    assert json.loads(done.stdout)["mean_ap"] == [1.0]
    assert done.stderr.startswith(b"activitynet, mAP in percent\n")


def test_standard_output_in_a_file_is_written_through(inputs, tmp_path):
    path = tmp_path / "out.txt"
    with path.open("wb") as out:
        out.write(b"before\n")
        out.flush()
        inode = path.stat().st_ino
        command([*inputs, "--csv", "/dev/stdout"], stdout=out, stderr=subprocess.DEVNULL, check=True)
    assert path.stat().st_ino == inode
    assert path.read_text().startswith("before\nclass,0.5\n")


def test_a_link_stays_and_its_target_changes(inputs, tmp_path):
    (tmp_path / "real").mkdir()
    target, link, other = tmp_path / "real" / "out.json", tmp_path / "link.json", tmp_path / "link2.json"
    target.write_text("old")
    link.symlink_to("real/out.json")
    other.symlink_to(link)
    assert main([*inputs, "--json", str(other)]) == 0
    assert link.is_symlink()
    assert other.is_symlink()
    assert json.loads(target.read_text())["mean_ap"] == [1.0]
    dangling = tmp_path / "dangling.csv"
    dangling.symlink_to("real/new.csv")
    assert main([*inputs, "--csv", str(dangling)]) == 0
    assert (tmp_path / "real" / "new.csv").exists()
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == ["new.csv", "out.json"]


def test_links_that_lead_nowhere(inputs, tmp_path, capsys):
    (tmp_path / "x.json").symlink_to("y.json")
    (tmp_path / "y.json").symlink_to("x.json")
    assert main([*inputs, "--json", str(tmp_path / "x.json")]) == 2
    message = f"wtal-eval: error: {tmp_path / 'x.json'}: its symbolic links lead nowhere: name a file\n"
    assert capsys.readouterr().err == message


def test_modes_are_kept_and_new_ones_follow_the_umask(inputs, tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.csv"
    old.touch()
    old.chmod(0o600)
    before = os.umask(0o027)
    try:
        assert main([*inputs, "--json", str(old), "--csv", str(new)]) == 0
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, new)] == [0o600, 0o640]


def test_a_pipe_and_a_device_are_written_through(inputs, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    assert main([*inputs, "--json", str(pipe), "--csv", os.devnull]) == 0
    reader.join()
    assert json.loads(read[0])["mean_ap"] == [1.0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # noqa: PTH116


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "{tmp}/x", "--csv", "{tmp}/./x"], "{tmp}/x and {tmp}/./x are one file: name two"),
        (["--json", "{tmp}/x", "--csv", "{tmp}/link"], "{tmp}/x and {tmp}/link are one file: name two"),
        (["--json", "-", "--csv", "/dev/stdout"], "- and /dev/stdout are one file: name two"),
        (["--json", "{tmp}/gt.json"], "{tmp}/gt.json is read: name another file to write"),
    ],
)
def test_two_outputs_of_one_file_are_refused(inputs, tmp_path, capsys, arguments, message):
    (tmp_path / "link").symlink_to("x")
    before = (tmp_path / "gt.json").read_text()
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    assert main([*inputs, *arguments]) == 2
    assert capsys.readouterr().err == f"wtal-eval: error: {message.format(tmp=tmp_path)}\n"
    assert (tmp_path / "gt.json").read_text() == before


def test_a_failing_device_leaves_no_file(inputs, tmp_path):
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("no /dev/full here")
    assert main([*inputs, "--json", str(tmp_path / "x.json"), "--csv", "/dev/full"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.json", "gt.json"]


def test_home_is_expanded_everywhere(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list.txt").write_text("z\n")
    arguments = ["~/found.json", "~/gt.json", "--exclude-videos", "~/list.txt", "--compare", "~/found.json"]
    assert main([*arguments, "--json", "~/out.json", "--tiou", "0.5"]) == 0
    assert (tmp_path / "out.json").exists()


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_for_a_file(inputs, tmp_path, capsys, which):
    folder = tmp_path / "folder.json"
    folder.mkdir()
    inputs[which] = str(folder)
    assert main(inputs) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_all_videos_excluded(inputs, tmp_path, capsys):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa\n")
    assert main([*inputs, "--exclude-videos", str(tmp_path / "list.txt")]) == 2
    assert capsys.readouterr().err == (
        f"wtal-eval: error: {inputs[0]} against {inputs[1]}: all 1 video of the ground truth are excluded, "
        "so nothing is left to score: exclude fewer\n"
    )


def test_names_that_matplotlib_would_read_as_formulas(inputs, tmp_path):
    pytest.importorskip("matplotlib")
    assert main([*inputs, "--plot", str(tmp_path / "plots")]) == 0
