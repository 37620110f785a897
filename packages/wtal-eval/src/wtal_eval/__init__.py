"""Evaluation protocols of temporal action localization, exact to the published digit."""

from .classification import Classification
from .evaluation import Evaluation
from .intervals import AMBIGUOUS, Detections, Segments
from .protocols import PROTOCOLS, ActivityNet, Matching, Protocol, Thumos14, Thumos14ElevenPoint, match

__all__ = [
    "AMBIGUOUS",
    "PROTOCOLS",
    "ActivityNet",
    "Classification",
    "Detections",
    "Evaluation",
    "Matching",
    "Protocol",
    "Segments",
    "Thumos14",
    "Thumos14ElevenPoint",
    "match",
]
