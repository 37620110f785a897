"""The example experiments name components and options that exist."""

from pathlib import Path

import pytest
from wtal_core import config
from wtal_core.plugins import discover
from wtal_core.run import component_problems

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_valid(path):
    assert list(component_problems(config.load(path), discover())) == []


def test_there_are_examples():
    assert {"maan-thumos14", "maan-activitynet13"} <= {path.stem for path in EXAMPLES}
