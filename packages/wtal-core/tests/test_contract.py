"""A plugin recorded when contract 1 was current works unchanged: contracts grow, and never change."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from wtal_core import testing
from wtal_core.plugins import KINDS, discover

RECORDED = Path(__file__).parent / "contract_1"
SHA256 = {
    "_wtal_recorded_plugin.py": "a10ea18e7a794c041e017e5ed0358abae2bb57f7137c8b2600c059450281a8cf",
    "wtal_recorded.py": "15b0caf246e29c1694ee13842bc6ed74ef54919a225aed4938f9f954e5c7d07e",
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


def test_a_whole_run_of_recorded_components(recorded, wtal, tiny, tmp_path):
    keys = ["model.aggregator", "model.decoder", "localization.activation", "localization.proposer"]
    keys += ["localization.suppressor", "evaluation.evaluator", "data.reader"]
    settings = [part for key in keys for part in ("--set", f"{key}=recorded")]
    answer = wtal("run", tiny, "--out", tmp_path / "out", *settings)
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "out" / "seed-0" / "evaluation.json").exists()
