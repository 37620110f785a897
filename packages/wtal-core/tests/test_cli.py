"""The `wtal` command: exit codes, messages, help, silence."""

import json
import pickle
import re
import sys
from collections import Counter

import numpy as np
import pytest
from wtal_core import config
from wtal_core.builtin.activitynet import ActivityNet
from wtal_core.builtin.features import NpyFolder
from wtal_core.cli import main
from wtal_core.errors import ConfigError, DataError, PluginError, Problems
from wtal_core.testing import tmp_plugin

from .conftest import FAKES, edit_json, hook, plugin, python

COMMANDS = [
    "run",
    "train",
    "localize",
    "evaluate",
    "sweep",
    "tune",
    "validate",
    "plugins",
    "describe",
    "new-plugin",
    "data",
    "demo",
]

pytestmark = pytest.mark.usefixtures("fakes")


# Help


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_helps_with_an_example(wtal, command, flag):
    answer = wtal(command, flag)
    assert (answer.code, answer.err) == (0, "")
    text = " ".join(answer.out.split())
    assert re.search(rf"Example: wtal {command} ", text)


def test_the_help_lists_every_command_and_the_exit_codes(wtal):
    answer = wtal("--help")
    assert (answer.code, answer.err) == (0, "")
    for word in [*COMMANDS, "--debug", "Exit codes"]:
        assert word in answer.out


@pytest.mark.parametrize("arguments", [["nope"], ["run", "--nope"], ["run"], ["localize"], ["plugins", "extra"]])
def test_wrong_usage_is_exit_code_2_on_stderr(wtal, arguments):
    answer = wtal(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "Usage: wtal" in answer.err
    assert "Traceback" not in answer.err


# Errors


@pytest.mark.parametrize("command", ["run", "train", "validate"])
def test_an_error_is_one_message_on_stderr(wtal, command, tmp_path):
    answer = wtal(command, tmp_path / "none.toml")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: {tmp_path}/none.toml: cannot read the experiment: No such file or directory\n"


def test_several_errors_are_a_line_each(wtal, tiny):
    answer = wtal("run", tiny, "--set", "model.aggregator=maan", "--set", "localization.proposer=treshold")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        "error: unknown aggregator 'maan'; did you mean 'maa'? (not installed: pip install wtal-aggregators)",
        "error: unknown proposer 'treshold'; did you mean 'threshold'? (not installed: pip install wtal-localize)",
    ]


@pytest.mark.parametrize("position", range(3))
def test_debug_shows_the_traceback_wherever_it_stands(tmp_path, position):
    arguments = ["run", str(tmp_path / "none.toml")]
    arguments.insert(position, "--debug")
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the experiment"):
        main(arguments)


def test_debug_in_a_process_of_its_own(tiny):
    script = "from wtal_core.cli import main; main()"
    done = python("-c", script, "train", tiny, "--set", "seed=x", "--debug", path=[FAKES])
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("ConfigError: --set seed=x: `seed`: Expected `int`, got `str`\n")


def test_a_bug_keeps_its_traceback(tiny, monkeypatch):
    from wtal_core.training import loop

    monkeypatch.setattr(loop, "make_batch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["train", str(tiny), "--out", str(tiny.parent / "out")])


def test_several_errors_survive_the_way_from_another_process():
    problems = Problems([PluginError("one"), DataError("two")])
    copy = pickle.loads(pickle.dumps(problems))
    assert (type(copy), str(copy)) == (Problems, "one\ntwo")
    assert [(type(problem), str(problem)) for problem in copy.problems] == [(PluginError, "one"), (DataError, "two")]


# Success


FOUND = (
    "rgb and flow: .npy files, float32, (T, D) by default, all being alike (transposed = true turns them), D = 4, 9 of "
    "9 videos, names equal"
)
NOTE = (
    "note: annotations 'annotations.json' are ActivityNet's JSON, read by 'activitynet'; videos: 6 in 'training', 3 in "
    "'validation'"
)


def test_run_is_quiet_and_prints_a_table(wtal, tiny, tmp_path):
    answer = wtal("run", tiny, "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    found, note, *lines = answer.out.splitlines()
    assert (found, note) == (f"features: {FOUND}", NOTE)
    assert lines[0] == f"{tmp_path}/out/seed-0: done"
    assert re.split(r" {2,}", lines[1].strip()) == ["mAP (%) at tIoU", "0.1", "0.5", "mean", "Cls mAP"]
    cells = re.split(r" {2,}", lines[2].strip())
    content = json.loads((tmp_path / "out" / "seed-0" / "evaluation.json").read_text())
    at_thresholds = [100 * value for value in content["localization"]["mean_ap"]]
    means = [sum(at_thresholds) / 2, 100 * content["classification"]["mean_ap"][0]]
    assert cells == ["tiny", *(f"{value:.1f}" for value in at_thresholds + means)]
    assert lines[3:] == ["note: recall, not precision"]


def test_several_seeds_make_several_runs_and_one_row(wtal, tiny, tmp_path):
    answer = wtal("run", tiny, "--out", tmp_path / "out", "--seeds", "0,1")
    assert (answer.code, answer.err) == (0, "")
    assert sorted(folder.name for folder in (tmp_path / "out").iterdir()) == ["seed-0", "seed-1"]
    row = next(line for line in answer.out.splitlines() if line.startswith("tiny"))
    assert row.startswith("tiny (2 seeds)")
    assert row.count("±") == 4
    for seed in (0, 1):
        assert f"seed = {seed}" in (tmp_path / "out" / f"seed-{seed}" / "config.toml").read_text().splitlines()


def test_a_name_in_brackets_is_shown(wtal, tiny, tmp_path):
    file = tiny.rename(tiny.with_name("tiny[long].toml"))
    answer = wtal("run", file, "--out", tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert "tiny[long]" in answer.out


def test_runs_go_below_the_working_directory_by_default(wtal, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = wtal("train", tiny, "--set", "seed=7")
    assert answer.out == "runs/tiny/seed-7: trained rgb, flow; next: wtal localize runs/tiny/seed-7\n"
    assert (tmp_path / "runs" / "tiny" / "seed-7" / "config.toml").exists()


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("x", "expected whole numbers with commas between, such as 0,1,2"),
        ("", "expected whole numbers with commas between, such as 0,1,2"),
        ("0,,1", "expected whole numbers with commas between, such as 0,1,2"),
        ("1.5", "expected whole numbers with commas between, such as 0,1,2"),
        ("1,1", "seeds must be different numbers, none below 0"),
        ("0,-1", "seeds must be different numbers, none below 0"),
    ],
)
def test_bad_seeds(wtal, tiny, tmp_path, seeds, said):
    answer = wtal("run", tiny, "--out", tmp_path / "out", "--seeds", seeds)
    assert (answer.code, answer.err) == (2, f"error: --seeds {seeds}: {said}\n")
    assert not (tmp_path / "out").exists()


def test_localize_says_what_it_wrote_and_what_is_next(wtal, tiny, tmp_path):
    wtal("train", tiny, "--out", tmp_path)
    run = tmp_path / "seed-0"
    answer = wtal("localize", run)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{run / 'detections.json'}: written; next: wtal evaluate {run}\n"


class Listener:
    """A teacher that denies everything, and keeps what it was shown."""

    shown = []  # noqa: RUF012 - it is built anew for every stage

    def __call__(self, prediction, detections, edges, video):
        self.shown.append((video.name, detections.start.tolist(), detections.score.tolist()))
        return np.full((len(video.labels), len(edges) - 1), 0.5)


def test_localizing_otherwise_later_changes_the_last_stage_and_nothing_that_a_teacher_saw(wtal, tiny, tmp_path):
    run, fraction = tmp_path / "seed-0", "localization.proposer.fraction=0.99"
    tiny.write_text(
        tiny.read_text() + '[localization]\nproposer = { name = "threshold", fraction = 0.5 }\n[[stages]]\n[[stages]]\n'
        'teacher = "listener"\nlocalization = { proposer = { name = "threshold", fraction = 0.25 } }\n'
    )
    with tmp_plugin("teacher", "listener", Listener):
        Listener.shown.clear()
        assert wtal("run", tiny, "--out", tmp_path).err == ""
        shown, detections = Listener.shown[-6:], (run / "detections.json").read_text()
        assert [name for name, *_ in shown] == [f"v{number}" for number in range(6)]
        assert wtal("localize", run, "--set", fraction).err == ""
        assert (run / "detections.json").read_text() != detections
        for file in (run / "config.toml", tiny):
            kept = config.stages(config.settled(config.load(file)))[0].localization
            assert kept.proposer == {"name": "threshold", "fraction": 0.5}
        last = config.stages(config.load(run / "config.toml"))[-1].localization
        assert last.proposer == {"name": "threshold", "fraction": 0.99}
        (run / "checkpoints" / "stage-1" / "rgb.safetensors").unlink()
        Listener.shown.clear()
        assert wtal("train", run / "config.toml", "--out", tmp_path, "--resume").err == ""
        assert Listener.shown[-6:] == shown
        assert wtal("localize", run, "--set", "localization.proposer.fraction=0.25").err == ""
        assert (run / "detections.json").read_text() == detections


def test_validate_describes_what_is_right(wtal, tiny):
    answer = wtal("validate", tiny)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"{tiny}: nothing is wrong",
        "  training: 6 videos, 6 instances",
        "  validation: 3 videos, 3 instances",
        "  2 classes: jump, run",
        "  rgb: D = 4, T from 10 to 10",
        "  flow: D = 4, T from 10 to 10",
        f"  features: {FOUND}",
        f"  {NOTE}",
    ]


def test_validate_lists_all_that_is_wrong(wtal, tiny):
    (tiny.parent / "features" / "rgb" / "v3.npy").unlink()
    answer = wtal("validate", tiny, "--set", "device=toaster")
    assert (answer.code, answer.out) == (2, "")
    lines = answer.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: `device`: cannot compute on 'toaster': ")
    assert lines[0].endswith('; use "auto" or "cpu"')
    assert lines[1].startswith("error: video 'v3', stream 'rgb': ")


def test_validate_counts_what_nobody_can_tell_apart_from_instances(wtal, tiny):
    def change(content):
        for name in ("v7", "v8"):
            content["database"][name]["annotations"].append({"label": "Ambiguous", "segment": [0, 1]})

    edit_json(tiny.parent / "annotations.json", change)
    lines = wtal("validate", tiny).out.splitlines()
    assert lines[1:4] == [
        "  training: 6 videos, 6 instances",
        "  validation: 3 videos, 3 instances, 2 ambiguous intervals",
        "  2 classes: jump, run",
    ]


def nan(folder):
    np.save(folder / "features" / "flow" / "v8.npy", np.full((10, 4), np.nan, np.float32))
    np.save(folder / "features" / "rgb" / "v0.npy", np.full((10, 4), np.inf, np.float32))


def without_segment(folder):
    def change(content):
        content["database"]["v8"]["annotations"] = [{"label": "run"}]
        content["database"]["v1"]["annotations"] = [{"label": "run"}]

    edit_json(folder / "annotations.json", change)


def without_files(folder):
    (folder / "features" / "rgb" / "v3.npy").unlink()
    (folder / "features" / "flow" / "v7.npy").unlink()


def nothing(folder):
    pass


@pytest.mark.parametrize(
    ("spoil", "settings", "count"),
    [
        (nan, [], 2),
        (without_segment, [], 1),
        (without_files, [], 2),
        (without_files, ["device=toaster", "model.aggregator=mean", "data.classes=['run']"], 5),
        (nothing, ["training.clip.snipets=3", "training.sampler=epoch", "localization.clip=hole"], 3),
        (nothing, ["training.losses=['snippet-targets']"], 2),
        (nothing, ["localization.clip={name='crop', snippets=5}"], 1),
        (nothing, ["stages.0.frozen=['tail']"], 1),
        (nothing, ["stages.0.frozen=['']"], 1),
        (without_segment, ["stages.0.teacher=annotations", "data.test_subset=training"], 2),
        (nothing, ["trackers=['tensorbord', {name='tensorboard', flush=1}]"], 2),
        (nothing, ["training.iterations=x", "stages.0.modles=1"], 2),
    ],
)
def test_validate_prints_what_a_run_is_refused_for(wtal, tiny, tmp_path, spoil, settings, count):
    spoil(tiny.parent)
    words = [word for setting in settings for word in ("--set", setting)]
    validated = wtal("validate", tiny, *words)
    assert (validated.code, validated.out) == (2, "")
    assert len(validated.err.splitlines()) == count
    assert len(set(validated.err.splitlines())) == count
    refused = wtal("run", tiny, "--out", tmp_path / "out", *words)
    assert (refused.code, refused.out.removeprefix(f"features: {FOUND}\n{NOTE}\n")) == (2, "")
    if settings and "training.iterations=x" in settings:  # of what is no experiment, the same is said
        assert sorted(refused.err.splitlines()) == sorted(validated.err.splitlines())
    else:
        assert refused.err == validated.err
    assert not list(tmp_path.rglob("*.safetensors"))


NAMELESS = "is a table without a `name`, a string that says which component it is"


@pytest.mark.parametrize(
    ("top", "text", "said"),
    [
        ("", "[model]\naggregator = { power = 2 }", [f"`model.aggregator` {NAMELESS}"]),
        ("trackers = [{ x = 1 }]", "", [f"`trackers[0]` {NAMELESS}"]),
        ("", "[[stages]]\nteacher = { x = 1 }", [f"`stages[0].teacher` {NAMELESS}"]),
        (
            "",
            "[[stages]]\ntraining = { losses = ['b', { x = 1 }, { y = 1 }] }",
            [f"`stages[0].training.losses[{number}]` {NAMELESS}" for number in (1, 2)],
        ),
        (
            "",
            '[[stages]]\ntraining = { iterations = "x", foo = 1 }\n[[stages]]\nmodel = { decoder = 3 }',
            [
                "`stages[0].training.iterations`: Expected `int`, got `str`",
                "unknown key `stages[0].training.foo`; known: batch_size, checkpoint_every, clip, feature_dropout, "
                "iterations, learning_rate, losses, sampler, standardize, weight_decay",
                "`stages[1].model.decoder`: Expected `str | table`, got `int`",
            ],
        ),
        (
            "",
            "[[stages]]\nlocalization = { stream_weights = [1], clip = { name = 1 } }",
            [
                f"`stages[0].localization.clip` {NAMELESS}",
                "`stages[0].localization.stream_weights` must hold one weight for each of the 2 streams, not all zero; "
                "got [1.0]",
            ],
        ),
        ("stages = []", "", ["`stages` is empty; leave it out for one stage"]),
        ("", '[[stages]]\nstart = "continue"', ['`stages[0].start` is "continue", but there is no stage before it']),
    ],
)
def test_what_is_wrong_in_the_file_does_not_hide_what_is_wrong_elsewhere(wtal, tiny, top, text, said):
    without_files(tiny.parent)
    tiny.write_text(f"{top}\n{tiny.read_text()}{text}\n")
    answer = wtal("validate", tiny)
    lines = answer.err.splitlines()
    assert sorted(lines[:-2]) == sorted(f"error: {tiny}: {sentence}" for sentence in said)
    assert lines[-2].startswith("error: video 'v3', stream 'rgb': ")
    assert lines[-1].startswith("error: video 'v7', stream 'flow': ")


def test_data_are_opened_and_surveyed_once_a_run(wtal, tiny, tmp_path, monkeypatch):
    seen = Counter()

    def count(kind, name, label):
        real = getattr(kind, name)

        def counting(self, *given, **named):
            seen[label(*given, **named)] += 1
            return real(self, *given, **named)

        monkeypatch.setattr(kind, name, counting)

    def read(name, stream, rows=None):
        return f"{name} whole" if rows is None else "rows"

    count(ActivityNet, "__init__", lambda path: "annotations")
    count(ActivityNet, "video", lambda name: f"{name} annotated")
    count(NpyFolder, "__init__", lambda *_: "features")
    count(NpyFolder, "shape", lambda name, stream: f"{name} shape")
    count(NpyFolder, "read", read)
    answer = wtal("run", tiny, "--out", tmp_path, "--set", "data.streams=['rgb']")
    assert (answer.code, answer.err) == (0, "")
    assert (seen["annotations"], seen["features"]) == (1, 1)
    assert [seen[f"v{number} annotated"] for number in range(9)] == [1] * 9
    assert [seen[f"v{number} shape"] for number in range(9)] == [1] * 9
    # Training videos are read whole by the survey; test videos also by the models.
    assert [seen[f"v{number} whole"] for number in range(9)] == [1] * 6 + [2] * 3
    assert seen["rows"] == 12 * 4


def test_plugins_lists_the_fakes(wtal):
    answer = wtal("plugins")
    assert (answer.code, answer.err) == (0, "")
    assert re.search(r"^proposer +threshold +wtal-fakes +1\.0 +wtal_fakes:Runs *$", answer.out, re.MULTILINE)


@pytest.mark.parametrize("content", ["mine", None])
def test_demo_refuses_a_folder_that_is_not_empty(wtal, tmp_path, content):
    target = tmp_path / "demo"
    if content:
        target.write_text(content)
    else:
        (target / "below").mkdir(parents=True)
    answer = wtal("demo", "--out", target)
    assert (answer.code, answer.err) == (2, f"error: {target}: not an empty folder; choose another --out\n")


def test_describe_says_what_options_source_and_distribution(wtal):
    answer = wtal("describe", "aggregator", "maa")
    assert (answer.code, answer.err) == (0, "")
    assert [re.sub(r" {2,}", "  ", line).strip() for line in answer.out.splitlines()] == [
        "aggregator maa",
        "",
        "The attention-weighted mean; `power` sharpens the attention.",
        "",
        "option  type  default",
        "power  1.0",
        "",
        "class: wtal_fakes:Mean",
        f"source: {FAKES / 'wtal_fakes.py'}",
        "distribution: wtal-fakes 1.0",
    ]


def test_describe_leaves_out_what_the_host_gives(wtal):
    answer = wtal("describe", "decoder", "attention-pooling")
    rows = [line.split() for line in answer.out.splitlines()]
    assert ["sparsity", "float", "0.0"] in rows
    assert not any(row[:1] in (["feature_dim"], ["num_classes"], ["aggregator"]) for row in rows)


@pytest.mark.parametrize("kind", [("feature-reader",), ("feature", "reader"), ("feature reader",)])
def test_describe_takes_a_kind_of_two_words(wtal, kind):
    answer = wtal("describe", *kind, "npy")
    assert answer.code == 0
    assert ["index", "str", "|", "None", "None"] in [line.split() for line in answer.out.splitlines()]


def test_describe_wants_a_kind_and_a_name(wtal):
    answer = wtal("describe", "maa")
    assert (answer.code, answer.out) == (2, "")
    assert "give a kind and a name" in answer.err


STRANGE = """
import functools
from typing import Literal, Sequence

from torch import nn


class Silent(nn.Module):
    pass

class Any:
    def __init__(self, a, b: "Sequence[float]" = (), /, c: "Rule" = "mean", *more, d: "Lost | None" = None, **others):
        "Takes anything."

class Child(Any):
    pass

class Shy:
    def __repr__(self):
        raise RuntimeError("no")

def shy(x=Shy()):
    "Has a default that cannot be shown."

def plain(x: int = 3, y=None):
    "A function. [bold]"

Rule = Literal["mean", "max"]
part = functools.partial(plain, y=4)
CONST = 3
"""


@pytest.fixture
def strange(install):
    names = ("Silent", "Any", "Child", "shy", "part", "CONST")
    targets = {name: f"strange_impl:{name}" for name in names} | {"dict": "builtins:dict"}
    install("strange", {"_strange_plugin": plugin(hook("wtal_aggregators", targets)), "strange_impl": STRANGE})


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("Silent", "It does not say what it does.", ["no options"]),
        ("Any", "It does not say what it does.", ["c 'mean' | 'max' 'mean'", "d Lost | None None", "any other option"]),
        (
            "Child",
            "It does not say what it does.",
            ["c 'mean' | 'max' 'mean'", "d Lost | None None", "any other option"],
        ),
        ("part", "A function. [bold]", ["x int 3", "y 4"]),
        ("dict", "dict() -> new empty dictionary", ["any other option"]),
    ],
)
def test_describe_shows_the_options_of_whatever_can_be_called(wtal, strange, name, text, rows):
    answer = wtal("describe", "aggregator", name)
    assert (answer.code, answer.err) == (0, "")
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines[2] == text
    assert lines[-5 - len(rows) : -4] == (["option type default"] if rows != ["no options"] else [""]) + rows
    source = "unknown" if name == "dict" else sys.modules["strange_impl"].__file__
    assert lines[-2] == f"source: {source}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CONST", ": 'strange_impl:CONST' is of type int, neither a class nor a function"),
        ("shy", " cannot be described: RuntimeError: no"),
    ],
)
def test_describe_says_whose_component_cannot_be_described(wtal, strange, name, said):
    answer = wtal("describe", "aggregator", name)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: aggregator {name!r} of strange 1.0{said}\n"


def test_describe_can_leave_out_one_of_two_plugins(wtal, install):
    install("rival", {"_rival_plugin": plugin(hook("wtal_aggregators", {"maa": "a:A"}))})
    assert wtal("describe", "aggregator", "maa").code == 2
    answer = wtal("describe", "aggregator", "maa", "--disable", "rival")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith("distribution: wtal-fakes 1.0\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("agregator", "maa"), "unknown kind 'agregator'; did you mean 'aggregator'?"),
        (
            ("aggregator", "ma"),
            "unknown aggregator 'ma'; did you mean 'maa'? (not installed: pip install wtal-aggregators)",
        ),
    ],
)
def test_describe_names_the_nearest(wtal, arguments, said):
    answer = wtal("describe", *arguments)
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {said}\n")


def test_a_home_folder_that_the_shell_left_is_written_out(wtal, tiny, fakes, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tiny.parent))
    monkeypatch.setenv("USERPROFILE", str(tiny.parent))
    monkeypatch.chdir(tmp_path)
    assert wtal("validate", "~/tiny.toml", "--out", "~/runs").code == 0
    answer = wtal("new-plugin", "thing", "--kind", "aggregator", "--out", "~/thing")
    assert answer.code == 0
    assert (tiny.parent / "thing" / "pyproject.toml").is_file()
    assert wtal("evaluate", "~/none").err.startswith(f"error: {tiny.parent / 'none'}: no run here")
    assert not list(tmp_path.glob("~*"))
