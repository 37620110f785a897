"""The ways in which the package can compute MAA, and the devices on which."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from wtal_aggregators import _compiled, marginalized

NEEDS_NUMBA = pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")


@pytest.fixture(params=[pytest.param("compiled", marks=NEEDS_NUMBA), "torch", "transparent"])
def way(request, monkeypatch):
    """Compiled loops, the same in torch, and the operators that compilers and transforms see."""
    if request.param != "compiled":
        monkeypatch.setattr(_compiled, "kernels_for", lambda p: None)
    if request.param == "transparent":
        monkeypatch.setattr(marginalized, "is_eager", lambda *tensors: False)
    return request.param


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")),
    ]
)
def device(request):
    return request.param


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)
