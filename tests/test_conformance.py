"""Every component of ours keeps the contract of its kind, clause by clause; it takes the same kit as a third party's.

The components of wtal-core are tried in its own tests, and those of examples in theirs.
"""

from functools import partial
from pathlib import Path

import pytest
from wtal_core.registry import discover
from wtal_core.testing import check, clauses, no_strange_plugins, parametrize_with_clauses

OURS = [folder.name for folder in sorted((Path(__file__).parents[1] / "packages").iterdir()) if folder.is_dir()]

with no_strange_plugins(*OURS):
    REGISTRY = discover()

OPTIONS = [
    ("aggregator", "maa", {"validate": True}),
    ("decoder", "star", {"modules": ["sparsity", "coverage", "ram"], "label_order": "class", "beam_width": 2}),
    ("decoder", "star", {"max_steps": 1}),
    ("decoder", "star", {"attention_normalization": "softmax"}),
    ("decoder", "star", {"coverage_mechanism": "original"}),
    ("activation", "st-gradcam", {"class_threshold": 0.5}),
    ("activation", "attended-st-gradcam", {"class_threshold": 0.5}),
    ("proposer", "threshold", {"upsampling": 3, "bridge": 1.0, "minimum_length": 1.0, "class_score": "multiply"}),
    ("proposer", "multi-threshold", {"attention_threshold": [0.5], "rule": "range"}),
    ("suppressor", "nms", {"across_classes": True}),
    ("suppressor", "soft-nms", {"across_classes": True}),
    ("suppressor", "soft-nms", {"decay": "linear", "minimum_score": 0.25}),
]

#: The clauses that a component cannot promise, as it is built with such an option, and why.
WAIVED = {("suppressor", "across_classes"): {"classes": "it is asked to suppress across classes"}}


def cases():
    """A case for each clause of each component, as it is built without options and with some."""
    plain = [(one.kind, one.name, {}) for one in REGISTRY.components if one.origin.distribution != "wtal-core"]
    for kind, name, options in [*plain, *OPTIONS]:
        waived = {}
        for option in options:
            waived |= WAIVED.get((kind, option), {})
        make = partial(REGISTRY.load(kind, name), **options)
        written = "-".join(f"{key}={value}" for key, value in options.items())
        for one in parametrize_with_clauses(kind, make, waive=waived).args[1]:
            named = "-".join(filter(None, [kind, name, written, one.id]))
            yield pytest.param(*one.values, id=named, marks=one.marks)


@pytest.mark.filterwarnings("ignore:RAM is off")  # the kit also gives targets without counts
@pytest.mark.parametrize("clause", list(cases()))
def test_a_component_keeps_its_contract(clause):
    clause()


def test_every_kind_that_leaves_provide_is_tried():
    kinds = {one.kind for one in REGISTRY.components if one.origin.distribution != "wtal-core"}
    assert kinds == {"aggregator", "decoder", "activation", "proposer", "suppressor", "evaluator"}
    assert {one.origin.distribution for one in REGISTRY.components} == set(OURS)


@pytest.mark.parametrize("name", ["nms", "soft-nms"])
def test_suppression_across_classes_needs_its_waiver(name):
    make = partial(REGISTRY.load("suppressor", name), across_classes=True)
    with pytest.raises(AssertionError, match="what it does to one class depends on no other"):
        check("suppressor", make, waive={one.name: "tried above" for one in clauses("suppressor")[:-1]})
