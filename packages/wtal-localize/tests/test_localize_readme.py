"""The README's examples run, and print what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
import wtal_localize

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ARRAYS, TENSORS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_arrays(capsys):
    exec(ARRAYS, {})
    assert capsys.readouterr().out == re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]


def test_tensors():
    pytest.importorskip("torch").manual_seed(0)
    names = {}
    exec(TENSORS, names)
    detections = names["detections"]
    assert 0 < len(detections.label) <= len(names["found"].label)
    assert (np.diff(detections.score) <= 0).all()
    assert set(detections.label) <= set(range(5))
    assert 0 <= detections.start.min() < detections.end.max() <= 64


def test_every_public_name_is_explained():
    assert [name for name in wtal_localize.__all__ if f"`{name}" not in README] == []
