"""Names the aggregator for the wtal host; imported by the host alone."""

from wtal_core import hookimpl


@hookimpl
def wtal_aggregators() -> dict[str, str]:
    return {"hide-and-seek": "wtal_hide_and_seek:HideAndSeek"}
