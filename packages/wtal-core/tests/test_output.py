"""What is printed cannot fail a run: encodings that lack a character, readers that go away, full disks."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wtal_core.cli import main

from .conftest import FAKES

FULL = Path("/dev/full")

# In this process


@pytest.fixture
def printed(monkeypatch, fakes):
    """The command with a standard output of some encoding: its exit code and what was printed."""

    def do(encoding, *arguments):
        name, _, errors = encoding.partition(":")
        streams = {stream: io.BytesIO() for stream in ("stdout", "stderr")}
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:  # noqa: PT012
            for stream, content in streams.items():
                patch.setattr(sys, stream, io.TextIOWrapper(content, encoding=name, errors=errors or "strict"))
            kept = sys.stdout, sys.stderr  # a wrapper that is collected closes what it wraps
            main([str(argument) for argument in arguments])
        return stopped.value.code, *(content.getvalue().decode(name) for content in streams.values()), kept

    return do


@pytest.mark.parametrize(
    ("encoding", "sign", "name"),
    [
        ("ascii", "+-", r"Spr\xfcnge-\u8df3"),
        ("ascii:surrogateescape", "+-", r"Spr\xfcnge-\u8df3"),
        ("ascii:replace", "+-", "Spr?nge-?"),
        ("cp1252", "±", r"Sprünge-\u8df3"),
        ("latin-1", "±", r"Sprünge-\u8df3"),
        ("utf-8", "±", "Sprünge-跳"),
    ],
)
def test_every_encoding_shows_the_table(printed, tiny, encoding, sign, name):
    file = tiny.rename(tiny.with_name("Sprünge-跳.toml"))
    code, out, err, _ = printed(encoding, "run", file, "--out", tiny.parent / "out-跳", "--seeds", "0,1")
    assert (code, err) == (0, "")
    row = next(line for line in out.splitlines() if "(2 seeds)" in line)
    assert row.startswith(f"{name} (2 seeds)")
    assert row.count(sign) == 4


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("run", "--nope"), ("plugins",)])
def test_help_and_tables_in_ascii(printed, arguments):
    code, out, err, _ = printed("ascii", *arguments)
    assert code == (2 if "--nope" in arguments else 0)
    assert out + err


def test_a_file_name_that_is_no_text(printed, tmp_path):
    file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml")
    code, out, err, _ = printed("utf-8", "run", file)
    assert (code, out) == (2, "")
    assert err == f"error: {tmp_path}/\\udcff.toml: cannot read the experiment: No such file or directory\n"


# In a process of its own


def wtal(line, *arguments, stdout=subprocess.PIPE, **environment):
    """The command in the place of `"$@"` in a line for the shell."""
    folders = os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "wtal_core", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": ""} | environment,
        check=False,
    )


pytestmark = pytest.mark.usefixtures("fakes")
posix = pytest.mark.skipif(os.name == "nt", reason="the lines are for a POSIX shell")


@posix
def test_the_c_locale_without_the_help_of_python(tiny, tmp_path):
    environment = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    answer = wtal('"$@"', "run", tiny, "--out", tmp_path, "--seeds", "0,1", **environment)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.decode("ascii").count("+-") == 4


@posix
@pytest.mark.parametrize("line", ["{} | true", "{} 2>&1 | true", "{} <&- >&- 2>&-"])
def test_a_reader_that_went_away_changes_nothing(tiny, tmp_path, line):
    command = f'("$@"; echo $? > "{tmp_path}/status")'
    answer = wtal(line.format(command), "run", tiny, "--out", tmp_path, "--seeds", "0,1")
    assert answer.stderr == b""
    assert (tmp_path / "status").read_text() == "0\n"
    assert all((tmp_path / f"seed-{seed}" / "evaluation.json").exists() for seed in (0, 1))


@posix
@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
def test_a_full_disk_is_said_once(tiny, tmp_path):
    answer = wtal('"$@" > /dev/full', "run", tiny, "--out", tmp_path, "--seeds", "0,1", PYTHONUNBUFFERED="1")
    assert answer.returncode == 0
    assert answer.stderr == b"warning: standard output is lost: No space left on device\n"
    assert all((tmp_path / f"seed-{seed}" / "evaluation.json").exists() for seed in (0, 1))


@posix
@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
def test_an_error_that_cannot_be_shown_keeps_its_exit_code(tmp_path):
    answer = wtal('"$@" 2> /dev/full', "run", tmp_path / "none.toml")
    assert (answer.returncode, answer.stdout) == (2, b"")
