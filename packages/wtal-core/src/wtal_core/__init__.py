"""Weakly supervised temporal action localization, composed from plugins.

Importing this package is cheap: it loads neither torch nor any plugin. `hookimpl` marks a plugin's hooks; everything
else lives in the module named for it: `wtal_core.config`, `wtal_core.kinds`, `wtal_core.run`.
"""

from pluggy import HookimplMarker

__all__ = ["hookimpl"]
__version__ = "0.1.0"

hookimpl = HookimplMarker("wtal")
