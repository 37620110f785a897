"""Names this package's components for the wtal host; imported by the host alone, so it may import from it."""

from collections.abc import Mapping

from wtal_core import hookimpl


@hookimpl
def wtal_evaluators() -> Mapping[str, str]:
    return {
        "activitynet": "wtal_eval:ActivityNet",
        "classification": "wtal_eval:Classification",
        "thumos14": "wtal_eval:Thumos14",
        "thumos14-11point": "wtal_eval:Thumos14ElevenPoint",
    }
