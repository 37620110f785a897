"""Names the components for the wtal host; imported by the host alone."""

from wtal_core import hookimpl


@hookimpl
def wtal_decoders() -> dict[str, str]:
    return {"background-foreground": "wtal_refineloc.model:BackgroundForeground"}


@hookimpl
def wtal_losses() -> dict[str, str]:
    return {"foreground": "wtal_refineloc.model:Foreground"}


@hookimpl
def wtal_teachers() -> dict[str, str]:
    return {"own-detections": "wtal_refineloc.detections:OwnDetections"}


@hookimpl
def wtal_proposers() -> dict[str, str]:
    return {"class-and-foreground": "wtal_refineloc.detections:ClassAndForeground"}
