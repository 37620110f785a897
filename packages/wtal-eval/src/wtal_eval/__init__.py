"""Evaluation protocols of temporal action localization, exact to the published digit."""

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
