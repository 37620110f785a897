"""Names this package's components for the wtal host; imported by the host alone, so it may import from it."""

from collections.abc import Mapping

from wtal_core import hookimpl


@hookimpl
def wtal_activations() -> Mapping[str, str]:
    return {
        "cas": "wtal_localize:ClassActivationSequence",
        "attention": "wtal_localize:Attention",
        "st-gradcam": "wtal_localize:STGradCAM",
        "attended-st-gradcam": "wtal_localize:AttendedSTGradCAM",
        "snippet": "wtal_localize:SnippetActivation",
    }


@hookimpl
def wtal_proposers() -> Mapping[str, str]:
    return {
        "threshold": "wtal_localize:Threshold",
        "multi-threshold": "wtal_localize:MultiThreshold",
        "intervals": "wtal_localize:OwnIntervals",
    }


@hookimpl
def wtal_suppressors() -> Mapping[str, str]:
    return {
        "nms": "wtal_localize:NonMaximumSuppression",
        "soft-nms": "wtal_localize:SoftNonMaximumSuppression",
        "none": "wtal_localize:NoSuppression",
    }
