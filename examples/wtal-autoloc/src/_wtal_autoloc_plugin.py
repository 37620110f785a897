"""Names the decoder for the wtal host; imported by the host alone."""

from wtal_core import hookimpl


@hookimpl
def wtal_decoders() -> dict[str, str]:
    return {"autoloc": "wtal_autoloc.decoder:AutoLoc"}
