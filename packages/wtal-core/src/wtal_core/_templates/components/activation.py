"""An activation: it reads from a decoding how strongly each class is seen in each snippet.

T snippets, E features, C classes, S assemblies.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Maps(NamedTuple):
    """Their product localizes."""

    attention: NDArray[np.float64]  # (C, T) in [0, 1]
    response: NDArray[np.float64]  # (C, T) in [0, 1]


class PlaceholderClass:
    """The mean attention of the assemblies, and the classifier's response to each single snippet.

    Args:
        temperature: above 0; the higher, the closer all responses come to one half.

    Raises:
        ValueError: temperature is not above 0; or a decoding has no linear head to read snippets with.
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def __call__(self, decoding: Any) -> Maps:
        """Read the decoding of one video, attention (1, S, T), of the features (1, T, E) that it pooled."""
        if decoding.head_weight is None:
            raise ValueError("this activation needs a decoder with a linear head, one that gives head_weight")
        with torch.no_grad():
            response = torch.sigmoid(decoding.head_weight @ decoding.features[0].T / self.temperature)
            attention = decoding.attention[0].mean(0).expand_as(response)
        return Maps(attention.double().cpu().numpy(), response.double().cpu().numpy())
