"""The components that ship with the host; `_wtal_core_plugin` names them, as anybody's plugin does."""
