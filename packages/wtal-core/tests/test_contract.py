"""A plugin recorded when contract 1 was current works unchanged: contracts grow, and never change."""

import ast
import hashlib
import inspect
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from wtal_core import contracts, kinds
from wtal_core.kinds import KINDS
from wtal_core.registry import discover
from wtal_core.testing import check

from .conftest import edit_json

RECORDED = Path(__file__).parent / "contract_1"
SHA256 = {
    "_wtal_recorded_plugin.py": "605f2ca0a9a53bd09fb7246d438d99a0edeec1e18c92d33a7bfa7c0aa03a50b5",
    "wtal_recorded.py": "2e5f503b9cfa6bcd0800d2ef8384781acdb5c054a7bfe9e11d5a4741533df336",
}


@pytest.fixture
def recorded(install):
    return install("recorded", {path.stem: path.read_text() for path in sorted(RECORDED.glob("*.py"))})


@pytest.mark.parametrize("name", SHA256)
def test_the_record_was_not_edited(name):
    assert hashlib.sha256((RECORDED / name).read_bytes()).hexdigest() == SHA256[name]


def test_a_recorded_plugin_names_a_component_of_every_kind(recorded):
    registry = discover()
    assert registry.quarantined == ()
    assert [kind for kind in KINDS if "recorded" not in registry.names(kind)] == []


def write_features(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{name}.npy", array)


def write_annotations(path, videos):
    path.write_text("".join(f"{json.dumps(video)}\n" for video in videos))


WRITE = {"feature reader": write_features, "annotation reader": write_annotations}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, "recorded") for kind in KINDS]
    + [
        ("aggregator", "recorded-class-wise"),
        ("decoder", "recorded-snippets"),
        ("teacher", "recorded-annotated"),
        ("evaluator", "classification"),
    ],
)
def test_the_kit_asks_no_more_of_it_than_when_it_was_recorded(recorded, kind, name):
    check(kind, discover().load(kind, name), write=WRITE.get(kind))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("aggregator", {"power": 2.0}),
        ("decoder", {"most_labels": 1, "proposes": True}),
        ("proposer", {"needs_intervals": True}),
        ("clip", {"share": 0.9}),
        ("loss", {"weight": 0.5}),
        ("tracker", {"file": "other.txt"}),
    ],
)
def test_nor_of_its_options(recorded, kind, options):
    check(kind, partial(discover().load(kind, "recorded"), **options))


EXPERIMENT = """
trackers = [{ name = "recorded", file = "notes.txt" }]

[data]
annotations = "annotations.txt"
features = "features"
annotation_reader = "recorded"
reader = "recorded"
streams = [["rgb", "flow"]]
grid = { frames_per_second = 10, stride = 2 }

[model]
aggregator = { name = "recorded", power = 2 }
decoder = { name = "recorded", most_labels = 1, proposes = true }

[training]
clip = { name = "recorded", share = 0.3 }
sampler = "recorded"
learning_rate = 0.01
iterations = 12
batch_size = 4

[localization]
activation = "recorded"
proposer = { name = "recorded", needs_intervals = true }
suppressor = "recorded"

[evaluation]
evaluator = "recorded"

[[stages]]

[[stages]]
start = "continue"
teacher = "recorded"
training = { losses = [{ name = "recorded", weight = 0.5 }] }

[[stages]]
teacher = "recorded-annotated"
model = { decoder = "recorded-snippets" }
training = { losses = ["recorded"] }
localization = { proposer = "recorded" }
"""


@pytest.fixture
def experiment(recorded, tiny):
    """An experiment of recorded components alone, in three stages; tell it of the annotations as they are now."""

    def do():
        database = json.loads((tiny.parent / "annotations.json").read_text())["database"]
        write_annotations(
            tiny.parent / "annotations.txt",
            [
                (name, one["subset"], one["duration"], [(a["label"], a["segment"]) for a in one["annotations"]])
                for name, one in database.items()
            ],
        )
        file = tiny.parent / "recorded.toml"
        file.write_text(EXPERIMENT)
        return file

    return do


def test_a_whole_run_of_recorded_components_with_options(experiment, wtal, tmp_path):
    answer = wtal("run", experiment(), "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    run = tmp_path / "out" / "seed-0"
    assert json.loads((run / "evaluation.json").read_text())["localization"]["mean_ap"] == [1.0]
    told = (run / "notes.txt").read_text().splitlines()
    assert told[0] == "stage stage-0/rgb+flow"
    assert "metrics stage-1/rgb+flow 12 classification agreement loss" in told
    assert told[-1] == "evaluation localization/mAP@0.5 classification/mAP"


def test_a_recorded_decoder_says_which_video_it_cannot_learn_from(experiment, wtal, tiny, tmp_path):
    run = {"label": "run", "segment": [0.0, 1.0]}
    edit_json(tiny.parent / "annotations.json", lambda content: content["database"]["v2"]["annotations"].append(run))
    answer = wtal("run", experiment(), "--out", tmp_path / "out")
    assert (answer.code, answer.err.splitlines()[0]) == (
        2,
        "error: stages[0]: decoder 'recorded', video 'v2' has more than 1 labels",
    )


def surface():
    """Hooks, what the host gives to constructors, and the calls and fields of what crosses borders, a line each."""
    for kind in KINDS.values():
        yield f"{kind.hook}() -> Mapping[str, str]: {kind.name}, given {kind.given}, offered {kind.offered}"
    yield from calls(contracts)
    for kind in KINDS.values():
        yield from calls(kind.module, protocols_alone=True)


def calls(module, protocols_alone=False):
    """The calls and fields of a module's classes: names, parameters and types, without docstrings."""
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef) or (protocols_alone and not is_protocol(node)):
            continue
        for member in node.body:
            if isinstance(member, ast.FunctionDef):
                yield f"{node.name}.{member.name}({ast.unparse(member.args)}) -> {ast.unparse(member.returns)}"
            elif isinstance(member, ast.AnnAssign):
                yield f"{node.name}.{ast.unparse(member)}"


def is_protocol(node):
    return any(ast.unparse(base) == "Protocol" for base in node.bases)


def test_every_kind_has_a_protocol():
    assert [kind for kind in KINDS if not list(calls(KINDS[kind].module, protocols_alone=True))] == []


def test_hooks_and_calls_are_those_recorded_under_the_number_of_the_contract():
    """If this fails, raise `kinds.CONTRACT` and record the new surface, and a plugin, under the new number."""
    recorded = Path(__file__).parent / f"contract_{kinds.CONTRACT}" / "surface.txt"
    assert list(surface()) == recorded.read_text().splitlines()
