"""What a full installation offers, and that offering it costs nothing."""

import json
import subprocess
import sys

import pytest
from wtal_core.plugins import KINDS, discover

EXPECTED = {
    ("activation", "cas"): "wtal-localize",
    ("aggregator", "dropout"): "wtal-aggregators",
    ("aggregator", "maa"): "wtal-aggregators",
    ("aggregator", "mean"): "wtal-aggregators",
    ("aggregator", "norm"): "wtal-aggregators",
    ("aggregator", "softmax-norm"): "wtal-aggregators",
    ("aggregator", "weighted-sum"): "wtal-aggregators",
    ("decoder", "attention-pooling"): "wtal-core",
    ("decoder", "star"): "wtal-star",
    ("evaluator", "activitynet"): "wtal-eval",
    ("evaluator", "classification"): "wtal-eval",
    ("feature reader", "hdf5"): "wtal-core",
    ("feature reader", "npy"): "wtal-core",
    ("proposer", "threshold"): "wtal-localize",
    ("suppressor", "nms"): "wtal-localize",
}


def test_every_component_is_there_and_nothing_is_quarantined():
    registry = discover()
    found = {(c.kind, c.name): c.origin.distribution for c in registry.components}
    assert EXPECTED.items() <= found.items()
    assert registry.quarantined == ()
    assert {kind for kind, _ in found} == set(KINDS)


def test_every_named_component_can_be_loaded():
    registry = discover()
    assert registry.components
    for component in registry.components:
        assert callable(registry.load(component.kind, component.name))


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_listing_imports_neither_torch_nor_a_leaf(arguments):
    code = (
        "import sys; from wtal_core.cli import main\n"
        f"try: main(['plugins', *{arguments}])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "print('IMPORTED', sorted({'torch', 'numba', 'wtal_aggregators', 'wtal_star', 'wtal_localize', 'wtal_eval'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "IMPORTED []"
    assert "attention-pooling" in result.stdout


def test_json_listing_is_json():
    result = subprocess.run(
        [sys.executable, "-m", "wtal_core", "plugins", "--json"], capture_output=True, text=True, check=True
    )
    listed = json.loads(result.stdout)
    names = {(c["kind"], c["name"]) for c in listed["components"]}
    assert set(EXPECTED) <= names
    assert listed["quarantined"] == []
