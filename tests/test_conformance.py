"""Every registered component keeps the contract of its kind; ours take the same kit as a third party's."""

from functools import partial

import h5py
import numpy as np
import pytest
from wtal_core import testing
from wtal_core.plugins import discover


def write_npy(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{name}.npy", array)


def write_hdf5(path, features):
    with h5py.File(path, "w") as file:
        for (name, stream), array in features.items():
            file[f"{name}/{stream}"] = array


WRITERS = {"npy": write_npy, "hdf5": write_hdf5}


@pytest.mark.parametrize("component", discover().components, ids=lambda c: f"{c.kind}-{c.name}")
def test_component_keeps_its_contract(component):
    check = getattr(testing, f"check_{component.kind.replace(' ', '_')}")
    make = discover().load(component.kind, component.name)
    check(make, *([WRITERS[component.name]] if component.kind == "feature reader" else []))


@pytest.mark.filterwarnings("ignore:RAM is off")  # the kit also gives targets without counts
@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("aggregator", "maa", {"validate": True}),
        ("decoder", "attention-pooling", {"sparsity": 1.0}),
        ("decoder", "star", {"modules": ["sparsity", "coverage", "ram"], "label_order": "class", "beam_width": 2}),
        ("decoder", "star", {"max_steps": 1}),
        ("activation", "st-gradcam", {"class_threshold": 0.5}),
        ("activation", "attended-st-gradcam", {"class_threshold": 0.5}),
        ("proposer", "threshold", {"upsampling": 3, "bridge": 1.0, "minimum_length": 1.0, "class_score": "multiply"}),
        ("proposer", "multi-threshold", {"attention_threshold": [0.5], "rule": "range"}),
        ("suppressor", "soft-nms", {"decay": "linear", "minimum_score": 0.25}),
    ],
)
def test_component_keeps_its_contract_with_options(kind, name, options):
    getattr(testing, f"check_{kind}")(partial(discover().load(kind, name), **options))


@pytest.mark.parametrize("name", ["nms", "soft-nms"])
def test_suppression_across_classes_keeps_the_rest_of_its_contract(name):
    make = partial(discover().load("suppressor", name), across_classes=True)
    with pytest.raises(testing.ContractError, match="what it does to one class depends on no other"):
        testing.check_suppressor(make)
    testing.check_suppressor(make, across_classes=True)
