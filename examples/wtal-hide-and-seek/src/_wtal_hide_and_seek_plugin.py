"""Names the clip for the wtal host; imported by the host alone."""

from wtal_core import hookimpl


@hookimpl
def wtal_clips() -> dict[str, str]:
    return {"hide-and-seek": "wtal_hide_and_seek:HideAndSeek"}
