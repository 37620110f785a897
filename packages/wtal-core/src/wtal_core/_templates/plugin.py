"""Names the placeholder kind for the wtal host; imported by the host alone."""

from wtal_core import hookimpl


@hookimpl
def placeholder_hook() -> dict[str, str]:
    """Each name, and where what it names can be imported from."""
    return {"placeholder-component": "placeholder_package:PlaceholderClass"}
