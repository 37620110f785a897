"""The README's examples run on tensors of the shapes that they name."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import torch
import wtal_aggregators
from torch import nn

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ONE_LINE, ELSEWHERE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_line_to_replace():
    names = {"features": torch.randn(2, 5, 3), "attention": torch.rand(2, 5), "mask": torch.rand(2, 5) < 0.6}
    exec(ONE_LINE, names)
    pooled = wtal_aggregators.MarginalizedAverage()(names["features"], names["attention"], names["mask"])
    assert torch.equal(names["pooled"], pooled)


def test_where_it_fits():
    names = {
        "self": SimpleNamespace(
            score=nn.Linear(8, 1), score_classes=nn.Linear(8, 5), head=nn.Linear(8, 3), score_places=nn.Conv2d(8, 1, 1)
        ),
        "patches": torch.randn(2, 5, 8),
        "is_patch": torch.rand(2, 5) < 0.6,
        "frames": torch.randn(4, 6, 8),
        "is_frame": torch.arange(6) < torch.tensor([[6], [3], [1], [5]]),
        "maps": torch.randn(2, 8, 3, 4),
    }
    exec(ELSEWHERE, names)
    assert names["logits"].shape == (2, 3)
    assert names["per_class"].shape == (4, 5, 8)
    assert names["pooled"].shape == (2, 8)


def test_every_public_name_is_explained():
    assert [name for name in wtal_aggregators.__all__ if f"`{name}" not in README] == []
