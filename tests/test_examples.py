"""The example experiments, and the examples of every command's help, name components and options that exist."""

import itertools
import re
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from wtal_core import cli, config
from wtal_core.check import component_problems, examine
from wtal_core.demo import write_demo
from wtal_core.grid import axes_of, combinations
from wtal_core.registry import discover
from wtal_core.source import load, preset_file, settings_of, source_of

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted({*FOLDER.glob("*.toml"), *FOLDER.glob("*/*.toml")} - {*FOLDER.glob("*/pyproject.toml")})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_example_is_valid(path):
    assert list(component_problems(config.load(path), discover())) == []


def test_the_demo_example_is_the_row_of_the_demo():
    demo, example = (
        tomllib.loads(path.read_text(encoding="utf-8"))
        for path in (files("wtal_core.demo") / "experiments" / "star.toml", FOLDER / "star-demo.toml")
    )
    for key in ("annotations", "features"):
        assert example["data"].pop(key) == f"../my-demo/{demo['data'].pop(key)}"
    assert example == demo


def test_the_recommended_experiment_runs_on_the_demo_as_its_head_says(tmp_path, monkeypatch):
    write_demo(tmp_path / "my-demo")
    monkeypatch.chdir(tmp_path)
    text = preset_file(discover(), "recommended").read_text(encoding="utf-8")
    command = re.search(r"wtal run .*?\n\n", text, re.DOTALL)[0].replace("\n#", "").replace("\\", "")
    words = shlex.split(command)
    name, options = words[2], list(itertools.pairwise(words))
    given = [value for option, value in options if option == "--set"]
    paths = {option[2:]: Path(value) for option, value in options if option in ("--annotations", "--features")}
    experiment = load(source_of(name), settings_of(given, paths["annotations"], paths["features"]))
    found, problems = examine(experiment, scored=True)
    assert problems == []
    assert found.dataset.dimensions(found.dataset.streams[0]).snippet_seconds == pytest.approx(0.5)


COMMANDS = [command.callback for command in cli.app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__module__)
def test_the_example_of_a_command_can_be_typed(command):
    (example,) = re.findall(r"Example: `wtal (.+)`", command.__doc__)
    words = shlex.split(example)
    assert command.__module__ == f"wtal_core.cli.{words[0].replace('-', '_')}"
    experiment = config.load(FOLDER / "star-demo.toml")
    for option, value in itertools.pairwise(words):
        if option == "--set":
            experiment = config.configure(experiment, [value])
        if option == "--grid":
            experiment = config.configure(experiment, next(combinations(axes_of([value]))))
    assert list(component_problems(experiment, discover())) == []
