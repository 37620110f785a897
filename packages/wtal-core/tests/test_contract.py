"""A plugin recorded when contract 1 was current works unchanged: contracts grow, and never change."""

import ast
import hashlib
import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import edit_json
from wtal_core import contracts, hookspecs, testing
from wtal_core.plugins import KINDS, discover

RECORDED = Path(__file__).parent / "contract_1"
SHA256 = {
    "_wtal_recorded_plugin.py": "a10ea18e7a794c041e017e5ed0358abae2bb57f7137c8b2600c059450281a8cf",
    "wtal_recorded.py": "72b5f807c151c2606477d8a8f0e2977297c6149fdda2085d2de999f1c67048f8",
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


def write(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{name}.npy", array)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kit_asks_no_more_of_it_than_when_it_was_recorded(recorded, kind):
    check = getattr(testing, f"check_{kind.replace(' ', '_')}")
    check(discover().load(kind, "recorded"), *([write] if kind == "feature reader" else []))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("aggregator", {"power": 2.0}), ("decoder", {"most_labels": 1}), ("proposer", {"needs_attention": True})],
)
def test_nor_of_its_options(recorded, kind, options):
    getattr(testing, f"check_{kind}")(partial(discover().load(kind, "recorded"), **options))


@pytest.fixture
def settings(recorded):
    """The options of the command line that choose every recorded component."""
    keys = ["model.aggregator", "model.decoder", "localization.activation", "localization.proposer"]
    keys += ["localization.suppressor", "evaluation.evaluator", "data.reader"]
    return [part for key in keys for part in ("--set", f"{key}=recorded")]


def test_a_whole_run_of_recorded_components_with_options(settings, wtal, tiny, tmp_path):
    settings += ["--set", "model.aggregator.power=2", "--set", "localization.proposer.needs_attention=true"]
    answer = wtal("run", tiny, "--out", tmp_path / "out", *settings)
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "out" / "seed-0" / "evaluation.json").exists()


def test_a_recorded_decoder_says_which_video_it_cannot_learn_from(settings, wtal, tiny, tmp_path):
    file = tiny.parent / "annotations.json"
    run = {"label": "run", "segment": [0.0, 1.0]}
    edit_json(file, lambda content: content["database"]["v2"]["annotations"].append(run))
    settings += ["--set", "model.decoder.most_labels=1"]
    answer = wtal("run", tiny, "--out", tmp_path / "out", *settings)
    assert (answer.code, answer.err) == (2, "error: decoder 'recorded', video 'v2' has more than 1 labels\n")


def surface(module):
    """The calls and fields of a module, a line each: names, parameters and types, without docstrings."""
    for node in ast.parse(inspect.getsource(module)).body:
        for member in node.body if isinstance(node, ast.ClassDef) else [node]:
            where = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            if isinstance(member, ast.FunctionDef):
                yield f"{where}{member.name}({ast.unparse(member.args)}) -> {ast.unparse(member.returns)}"
            elif isinstance(member, ast.AnnAssign):
                yield f"{where}{ast.unparse(member)}"


def test_hooks_and_calls_are_those_recorded_under_the_number_of_the_contract():
    """If this fails, raise `hookspecs.CONTRACT` and record the new surface, and a plugin, under the new number."""
    recorded = Path(__file__).parent / f"contract_{hookspecs.CONTRACT}" / "surface.txt"
    assert [*surface(hookspecs), *surface(contracts)] == recorded.read_text().splitlines()
