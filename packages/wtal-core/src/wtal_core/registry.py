"""The registry: finds a component by kind and name, and builds it, bound.

Two distributions that give one name conflict only when that name is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from wtal_core import discovery
from wtal_core.binding import blaming
from wtal_core.discovery import Component
from wtal_core.errors import PluginError, did_you_mean, one_line
from wtal_core.kinds import KINDS, NAMED
from wtal_core.options import injected, option_problem, options_of


class Registry(discovery.Installed):
    """The components of all installed plugins."""

    def names(self, kind: str) -> list[str]:
        """The names of one kind, sorted."""
        return sorted({component.name for component in self.components if component.kind == kind})

    def find(self, kind: str, name: str) -> Component:
        """The one component of this kind and name.

        Raises:
            PluginError: nobody provides it, its provider is quarantined, or several distributions provide it.
        """
        found = [c for c in self.components if c.kind == kind and c.name == name]
        if len(found) == 1:
            return found[0]
        if found and len({component.origin.distribution for component in found}) == 1:
            entries = " and ".join(repr(component.origin.entry_point) for component in found)
            raise PluginError(f"{kind} {name!r} is provided twice by {found[0].origin}, through {entries}")
        if found:
            providers = " and ".join(str(component.origin) for component in found)
            if kind == "preset":  # which is read before the experiment can disable anything
                raise PluginError(f"{kind} {name!r} is provided by {providers}; uninstall one")
            settings = " or ".join(f"disable_plugins = [{component.origin.distribution!r}]" for component in found)
            raise PluginError(
                f"{kind} {name!r} is provided by {providers}; disable one of them in the experiment: {settings} "
                "(`wtal describe` takes --disable); or uninstall one"
            )
        for plugin in self.quarantined:
            if any(c.kind == kind and c.name == name for c in plugin.components):
                raise PluginError(f"{kind} {name!r} belongs to {plugin.origin}, which is quarantined: {plugin.error}")
        raise PluginError(self._unknown(kind, name))

    def _unknown(self, kind: str, name: str) -> str:
        message = f"unknown {kind} {name!r}; {did_you_mean(name, self.names(kind))}"
        distribution = NAMED[kind].usual
        if all(c.origin.distribution != distribution for c in self.components):
            message += f" (not installed: pip install {distribution})"
        if self.disabled:
            message += f" (disabled: {', '.join(self.disabled)})"
        suspects = [plugin for plugin in self.quarantined if not plugin.components]
        if suspects:
            message += "; quarantined, so its names are not known: " + ", ".join(
                f"{plugin.origin} ({plugin.error})" for plugin in suspects
            )
        return message

    def load(self, kind: str, name: str) -> Any:
        """Import the class or function that a name stands for.

        Raises:
            PluginError: as `find`; or its module or attribute cannot be imported.
        """
        component = self.find(kind, name)
        module_name, _, attribute = component.target.partition(":")
        # A plugin's import can fail in any way; whichever, the user needs to know whose it was.
        with blaming(component, doing=f"cannot be loaded from {component.target!r}"):
            target: Any = import_module(module_name)
            for part in attribute.split("."):
                target = getattr(target, part)
        if not callable(target):
            what = type(target).__name__
            raise PluginError(f"{component}: {component.target!r} is of type {what}, neither a class nor a function")
        return target

    def chosen(self, kind: str, choice: str | Mapping[str, Any]) -> tuple[Component, Any, dict[str, Any]]:
        """A component by a user's setting, what builds it, and the options, which exist and are of the right types.

        Raises:
            PluginError: as `load`; an option does not exist or has a value of another type, and the message lists those
                that exist.
        """
        options = {"name": choice} if isinstance(choice, str) else dict(choice)
        name = options.pop("name")
        component, target = self.find(kind, name), self.load(kind, name)
        with blaming(component, doing="cannot be built"):
            if problem := option_problem(options_of(target, injected(KINDS[kind], target)), options):
                raise PluginError(f"{component} {problem}")
        return component, target, options

    def build(self, kind: str, choice: str | Mapping[str, Any], **given: Any) -> Any:
        """Construct a component with a user's options and what the host gives, and bind it.

        Of what is given, that which the kind only offers reaches the constructor if its signature has it.

        Raises:
            PluginError: as `chosen`; or the constructor raises anything.
        """
        component, target, options = self.chosen(kind, choice)
        with blaming(component, doing="cannot be built"):
            reached = {key: value for key, value in given.items() if key in injected(KINDS[kind], target)}
            try:
                made = target(**reached, **options)
            except (TypeError, ValueError, ImportError) as error:  # a refusal, which explains itself
                raise PluginError(f"{component}: {one_line(error)}") from error
        return KINDS[kind].module.Bound(made, component, reached)


def discover(disabled: Iterable[str] = ()) -> Registry:
    """The registry of all plugins of this environment, except those of the distributions in `disabled`.

    Raises:
        PluginError: a distribution in `disabled` is not an installed plugin.
    """
    return Registry(*discovery.installed(disabled))
