"""Evaluation protocols of temporal action localization, exact to the published digit.

Names load their module when they are first used: most of the time of a small evaluation is spent on imports, and the
command must be able to set up numpy's threads before numpy loads.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import evaluate
    from .classification import Classification
    from .comparison import Comparison, compare
    from .dataset import DetectionSet, GroundTruth
    from .diagnosis import Bucket, Diagnosis, diagnose
    from .evaluation import Evaluation
    from .exclusions import EXCLUSIONS
    from .intervals import AMBIGUOUS, Detections, InputError, Segments
    from .protocols import PROTOCOLS, ActivityNet, Matching, Protocol, Thumos14, Thumos14ElevenPoint, match
    from .readers import read_detections, read_ground_truth

__all__ = [
    "AMBIGUOUS",
    "EXCLUSIONS",
    "PROTOCOLS",
    "ActivityNet",
    "Bucket",
    "Classification",
    "Comparison",
    "DetectionSet",
    "Detections",
    "Diagnosis",
    "Evaluation",
    "GroundTruth",
    "InputError",
    "Matching",
    "Protocol",
    "Segments",
    "Thumos14",
    "Thumos14ElevenPoint",
    "compare",
    "diagnose",
    "evaluate",
    "match",
    "read_detections",
    "read_ground_truth",
]

_NAMES = {
    "api": ("evaluate",),
    "classification": ("Classification",),
    "comparison": ("Comparison", "compare"),
    "dataset": ("DetectionSet", "GroundTruth"),
    "diagnosis": ("Bucket", "Diagnosis", "diagnose"),
    "evaluation": ("Evaluation",),
    "exclusions": ("EXCLUSIONS",),
    "intervals": ("AMBIGUOUS", "Detections", "InputError", "Segments"),
    "protocols": ("PROTOCOLS", "ActivityNet", "Matching", "Protocol", "Thumos14", "Thumos14ElevenPoint", "match"),
    "readers": ("read_detections", "read_ground_truth"),
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
