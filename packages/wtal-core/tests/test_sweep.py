"""Searching localization settings."""

import importlib
import shlex
import tomllib

import pytest
from wtal_core.errors import ConfigError
from wtal_core.sweep import combinations

from .conftest import edit_json

pytestmark = pytest.mark.usefixtures("fakes")


def test_all_combinations_in_the_grids_order():
    grid = ["localization.proposer.fraction=[0.1, 0.2]", 'localization.fusion=["activations", "attention"]']
    assert list(combinations(grid)) == [
        (f"localization.proposer.fraction={fraction}", f'localization.fusion="{fusion}"')
        for fraction in (0.1, 0.2)
        for fusion in ("activations", "attention")
    ]


def test_a_component_stands_before_its_options():
    option, component = "localization.proposer.fraction=[0.1]", "localization.proposer=['threshold']"
    assert len(list(combinations([component, option]))) == 1
    with pytest.raises(ConfigError) as caught:
        list(combinations([option, component]))
    assert str(caught.value) == (
        f"--grid {component}: localization.proposer would replace localization.proposer.fraction, "
        "which stands before it; give it first"
    )


WHERE = (
    "a sweep changes how stored activations become detections, so keys begin with localization. "
    "and are not localization.activation or localization.clip"
)
FORM = "expected key=[value, ...], such as localization.proposer.threshold=[0.1,0.2]"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("training.iterations=[1]", WHERE),
        ("localization.activation=['cas']", WHERE),
        ("localization . activation.name=['cas']", WHERE),
        ("localization.clip=['uniform']", WHERE),
        (" training.iterations=[1]", WHERE),
        ("localization=[1]", WHERE),
        ("localization.proposer.fraction=0.1", FORM),
        ("localization.proposer.fraction=[]", FORM),
        ("localization.proposer.fraction=[0.1", FORM),
        ("localization.proposer.fraction", FORM),
        ("localization.proposer.fraction=[0.1]\nx=1", FORM),
    ],
)
def test_a_bad_axis_is_repeated_with_what_is_wrong(line, said):
    with pytest.raises(ConfigError) as error:
        list(combinations([line]))
    assert str(error.value) == f"--grid {line}: {said}"


def test_a_key_comes_once():
    with pytest.raises(ConfigError) as error:
        list(combinations(["localization.proposer.fraction=[0.1]", "localization. proposer.fraction =[0.2]"]))
    assert str(error.value) == (
        "--grid localization. proposer.fraction =[0.2]: localization.proposer.fraction is in the grid already; "
        "give all its values in one list"
    )


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "1979-05-27",
        "07:32:00",
        "1979-05-27T07:32:00+00:00",
        '"it\'s \\"C:\\\\new\\""',
        '{ name = "threshold", "odd key" = [1e+16, inf] }',
    ],
)
def test_values_of_every_type_stay_toml(value):
    assert list(combinations([f" localization . proposer=[{value}]"])) == [(f"localization.proposer={value}",)]
    assert tomllib.loads(f"value = {value}")


@pytest.fixture
def trained(wtal, tiny, tmp_path):
    """A run in a folder whose name has a space."""
    assert wtal("train", tiny, "--out", tmp_path / "my runs").code == 0
    return tmp_path / "my runs" / "seed-0"


def test_the_command_can_be_pasted(wtal, trained):
    grid = 'localization.proposer=[{ name = "threshold", fraction = 0.5 }]'
    answer = wtal("sweep", trained, "--grid", grid)
    assert (answer.code, answer.err) == (0, "")
    command = answer.out.splitlines()[-1].removeprefix("best of 1 on the training subset: ")
    program, *words = shlex.split(command)
    assert program == "wtal"
    assert words == ["localize", str(trained), "--set", grid.replace("[", "").replace("]", "")]
    assert wtal(*words).code == 0


def test_training_videos_without_segments(wtal, trained, tiny):
    def forget(content):
        for video in content["database"].values():
            if video["subset"] == "training":
                for annotation in video["annotations"]:
                    del annotation["segment"]

    edit_json(tiny.parent / "annotations.json", forget)
    grid = ("--grid", "localization.proposer.fraction=[0.5]")
    answer = wtal("sweep", trained, *grid)
    assert answer.code == 2
    assert answer.err == (
        f"error: {tiny.parent / 'annotations.json'}: a sweep needs segments in the training subset 'training', and not "
        "all of its instances have one; annotate them, or give --on-test-subset, which searches on the test subset, "
        "whose figures are then no longer a test\n"
    )
    assert wtal("sweep", trained, *grid, "--on-test-subset").code == 0


def test_every_setting_is_tried_before_any_is_evaluated(wtal, trained):
    answer = wtal(
        "sweep",
        trained,
        *("--grid", "localization.proposer.fraction=[0.5, 'high']"),
        *("--grid", "localization.suppressor=['nms', 'mns']"),
    )
    assert answer.code == 2
    first, second = answer.err.splitlines()
    assert first.startswith(
        "error: localization.proposer.fraction=0.5 localization.suppressor=\"mns\": unknown suppressor 'mns'; "
        "did you mean 'nms'?"
    )
    start = 'error: localization.proposer.fraction="high" localization.suppressor="nms": proposer \'threshold\' of '
    assert second.startswith(start)
    assert not (trained / "predictions").exists()


def test_what_fails_on_a_video_names_the_settings(wtal, trained, monkeypatch):
    runs = importlib.import_module("wtal_fakes").Runs
    call = runs.__call__

    def short_videos_only(proposer, prediction, edges):
        if len(edges) == 11:  # not so on the small example
            raise ValueError("the video is too long")
        return call(proposer, prediction, edges)

    monkeypatch.setattr(runs, "__call__", short_videos_only)
    answer = wtal("sweep", trained, "--grid", "localization.proposer.fraction=[0.25]")
    assert answer.code == 2
    assert answer.err.startswith("error: localization.proposer.fraction=0.25: video 'v0'")
    assert answer.err.endswith("the video is too long\n")


@pytest.mark.parametrize(("flags", "subset"), [([], "training"), (["--on-test-subset"], "test")])
def test_the_best_setting_is_one_that_localize_takes(wtal, tiny, tmp_path, flags, subset):
    assert wtal("train", tiny, "--out", tmp_path).code == 0
    run = tmp_path / "seed-0"
    answer = wtal("sweep", run, "--grid", "localization.proposer.fraction=[0.0, 0.5, 2]", *flags)
    assert (answer.code, answer.err) == (0, "")
    start = f"best of 3 on the {subset} subset: wtal localize {run} --set "
    last = answer.out.splitlines()[-1]
    assert last.startswith(start)
    setting = last.removeprefix(start)
    assert setting != "localization.proposer.fraction=2"  # which finds nothing
    assert [file.name for file in (run / "predictions").iterdir()] == [f"{subset}.h5"]
    assert wtal("localize", run, "--set", setting).code == 0
