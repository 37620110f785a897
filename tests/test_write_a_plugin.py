"""The guide `docs/write-a-plugin.md` holds: every file in it is written, every command run, every output compared.

A decimal number stands for any other, as seconds and mAP differ between machines; `...` stands for any text, and runs
of spaces are one.
"""

import doctest
import os
import re
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from wtal_core.kinds import KINDS

GUIDE = Path(__file__).parents[1] / "docs" / "write-a-plugin.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment like this one, to install the plugin into; its `wtal` runs with it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    scripts = folder / "bin"
    (packages,) = folder.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "this.pth").write_text("\n".join(lines))
    (scripts / "wtal").write_text(f'#!/bin/sh\nexec "{scripts}/python" -m wtal_core "$@"\n')
    (scripts / "wtal").chmod(0o755)
    # Python may keep the bytecode of a module that is rewritten within the second.
    return os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "80",  # as the guide shows it
        "CI": "",  # with which pytest cuts no line
    }


def steps(text):
    """Each file as (path, content), each command as (command, output), in order."""
    for language, body in BLOCK.findall(text):
        if language == "console":
            for command in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                line, _, output = command.partition("\n")
                yield "run", line, output
        else:
            first, _, content = body.partition("\n")
            yield "write", first.removeprefix("# "), content


def test_the_guide_is_read_whole():
    text = GUIDE.read_text(encoding="utf-8")
    kinds = [kind for kind, _, _ in steps(text)]
    assert kinds.count("run") == len(re.findall(r"^\$ ", text, re.MULTILINE)) > 15
    assert kinds.count("write") == len(re.findall(r"^```(?!console)\w+$", text, re.MULTILINE)) == 4


def test_the_guide_lists_every_kind():
    table = re.findall(r"^\| ([a-z ]+) \| .+ \| `\w+\W", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert table == list(KINDS)


@pytest.mark.skipif(sys.platform == "win32", reason="the guide's commands are those of a Unix shell")
def test_every_command_of_the_guide_prints_what_it_says(environment, tmp_path):
    for kind, head, body in steps(GUIDE.read_text(encoding="utf-8")):
        if kind == "write":
            path = tmp_path / head
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
            continue
        done = subprocess.run(
            head, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        got = done.stdout + done.stderr
        wanted, measured = (re.sub(r"\d+\.\d+", "#", text) for text in (body, got))
        assert CHECKER.check_output(wanted, measured, FLAGS), f"$ {head}\n{got}\n-- instead of --\n{body}"
