"""Every registered component keeps the contract of its kind; ours take the same kit as a third party's."""

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
