"""What a full installation offers, and that offering it costs nothing."""

import inspect
import json
import subprocess
import sys

import pytest
from wtal_core.errors import PluginError
from wtal_core.kinds import KINDS, NAMED
from wtal_core.options import injected, options_of
from wtal_core.registry import discover
from wtal_core.source import preset_file

EXPECTED = {
    ("annotation reader", "activitynet"): "wtal-core",
    ("clip", "crop"): "wtal-core",
    ("clip", "segments"): "wtal-core",
    ("clip", "uniform"): "wtal-core",
    ("clip", "whole"): "wtal-core",
    ("loss", "background"): "wtal-core",
    ("loss", "label-set"): "wtal-core",
    ("loss", "smoothness"): "wtal-core",
    ("loss", "snippet-targets"): "wtal-core",
    ("sampler", "epochs"): "wtal-core",
    ("teacher", "annotations"): "wtal-core",
    ("teacher", "label-set"): "wtal-core",
    ("tracker", "tensorboard"): "wtal-core",
    ("activation", "cas"): "wtal-localize",
    ("activation", "snippet"): "wtal-localize",
    ("aggregator", "class-softmax"): "wtal-aggregators",
    ("aggregator", "dropout"): "wtal-aggregators",
    ("aggregator", "maa"): "wtal-aggregators",
    ("aggregator", "mean"): "wtal-aggregators",
    ("aggregator", "norm"): "wtal-aggregators",
    ("aggregator", "softmax-norm"): "wtal-aggregators",
    ("aggregator", "weighted-sum"): "wtal-aggregators",
    ("decoder", "attention-pooling"): "wtal-core",
    ("decoder", "snippet-classifier"): "wtal-core",
    ("decoder", "star"): "wtal-star",
    ("evaluator", "activitynet"): "wtal-eval",
    ("evaluator", "classification"): "wtal-eval",
    ("feature reader", "hdf5"): "wtal-core",
    ("feature reader", "npy"): "wtal-core",
    ("preset", "maan-thumos14"): "wtal-core",
    ("proposer", "intervals"): "wtal-localize",
    ("proposer", "threshold"): "wtal-localize",
    ("suppressor", "nms"): "wtal-localize",
}


def test_every_component_is_there_and_nothing_is_quarantined():
    registry = discover()
    found = {(c.kind, c.name): c.origin.distribution for c in registry.components}
    assert EXPECTED.items() <= found.items()
    assert registry.quarantined == ()
    assert {kind for kind, _ in found} == set(NAMED)


COMPONENTS = [component for component in discover().components if component.kind in KINDS]


def test_every_named_component_can_be_loaded():
    registry = discover()
    assert COMPONENTS
    for component in COMPONENTS:
        assert callable(registry.load(component.kind, component.name))


def test_every_preset_is_there():
    registry = discover()
    assert all(preset_file(registry, name).is_file() for name in registry.names("preset"))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.kind} {c.name}")
def test_every_option_can_be_given_by_its_name_and_no_other_can(component):
    registry = discover()
    target = registry.load(component.kind, component.name)
    given = dict.fromkeys(injected(KINDS[component.kind], target))
    options = options_of(target, given)
    assert not options.any_other
    for option in options.named:
        parameter = inspect.signature(target).parameters[option.name]
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert not option.required
        assert option.written, f"{option.name} has no type"
    listed = ", ".join(option.name for option in options.named) or "none"
    with pytest.raises(PluginError) as error:
        registry.build(component.kind, {"name": component.name, "q": 1}, **given)
    assert str(error.value) == f"{component} has no option 'q'; its options: {listed}"


@pytest.mark.parametrize(
    ("name", "option", "value", "wanted"),
    [
        ("star", "hidden_size", "many", "int"),
        ("star", "sparsity", "0.1", "float"),
        ("star", "label_order", "any", "'class' | 'count'"),
        ("star", "length_normalized", 1, "bool"),
    ],
)
def test_a_value_of_another_type_is_refused_in_one_sentence(name, option, value, wanted):
    registry = discover()
    given = dict.fromkeys(KINDS["decoder"].given)
    with pytest.raises(PluginError) as error:
        registry.build("decoder", {"name": name, option: value}, **given)
    origin = registry.find("decoder", name).origin
    assert str(error.value) == (f"decoder {name!r} of {origin} wants {wanted} for the option {option!r}, got {value!r}")


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
