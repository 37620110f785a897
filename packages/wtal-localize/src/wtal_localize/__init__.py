"""From class activations over time to scored intervals: activation maps, proposals, non-maximum suppression.

Everything works on NumPy arrays; torch is needed for nothing but the gradient maps, which import it when called.
"""

from wtal_localize.activations import (
    ActivationMaps,
    Attention,
    ClassActivationSequence,
    SnippetActivation,
    class_activation_sequence,
    snippet_activation,
)
from wtal_localize.detections import Detections
from wtal_localize.gradient_maps import AttendedSTGradCAM, STGradCAM, st_gradcam
from wtal_localize.own_intervals import OwnIntervals
from wtal_localize.proposals import MultiThreshold, Threshold, propose
from wtal_localize.suppression import (
    NonMaximumSuppression,
    NoSuppression,
    SoftNonMaximumSuppression,
    nms,
    soft_nms,
)

__all__ = [
    "ActivationMaps",
    "AttendedSTGradCAM",
    "Attention",
    "ClassActivationSequence",
    "Detections",
    "MultiThreshold",
    "NoSuppression",
    "NonMaximumSuppression",
    "OwnIntervals",
    "STGradCAM",
    "SnippetActivation",
    "SoftNonMaximumSuppression",
    "Threshold",
    "class_activation_sequence",
    "nms",
    "propose",
    "snippet_activation",
    "soft_nms",
    "st_gradcam",
]
