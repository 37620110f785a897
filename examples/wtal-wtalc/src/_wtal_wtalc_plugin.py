"""Names W-TALC's components for the wtal host; imported by the host alone."""

from wtal_core import hookimpl


@hookimpl
def wtal_decoders() -> dict[str, str]:
    return {"wtalc": "wtal_wtalc:WTALC"}


@hookimpl
def wtal_losses() -> dict[str, str]:
    return {"co-activity": "wtal_wtalc:CoActivity"}


@hookimpl
def wtal_samplers() -> dict[str, str]:
    return {"class-pairs": "wtal_wtalc:ClassPairs"}


@hookimpl
def wtal_presets() -> dict[str, str]:
    return {name: f"wtal_wtalc:presets/{name}.toml" for name in ("wtalc-thumos14", "wtalc-activitynet13")}
