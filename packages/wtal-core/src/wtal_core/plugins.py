"""Discovery of plugins and the registry of their components.

Discovery is a loader of our own over `importlib.metadata`, because pluggy's `load_setuptools_entrypoints` drops a
second distribution's entry of the same name silently and lets one ImportError stop the rest. Here a broken plugin is
quarantined and everything else works; two distributions that give one name conflict only when that name is asked for.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions
from types import ModuleType
from typing import Any

import pluggy

from wtal_core import __version__, hookspecs
from wtal_core.errors import PluginError, did_you_mean, one_line

GROUP = "wtal"

#: Each kind of component, the hook that names it, and the distribution that ships the usual ones.
KINDS: Mapping[str, tuple[str, str]] = {
    "aggregator": ("wtal_aggregators", "wtal-aggregators"),
    "decoder": ("wtal_decoders", "wtal-star"),
    "activation": ("wtal_activations", "wtal-localize"),
    "proposer": ("wtal_proposers", "wtal-localize"),
    "suppressor": ("wtal_suppressors", "wtal-localize"),
    "evaluator": ("wtal_evaluators", "wtal-eval"),
    "feature reader": ("wtal_feature_readers", "wtal-core"),
}


def known_kind(text: str) -> str:
    """A kind as the command line takes it, words joined by a hyphen or a space.

    Raises:
        PluginError: there is no such kind.
    """
    kind = text.replace("-", " ")
    if kind not in KINDS:
        raise PluginError(f"unknown kind {kind!r}; {did_you_mean(kind, list(KINDS))}")
    return kind


_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, order=True)
class Origin:
    """The installed distribution and entry point that a component came from."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, order=True)
class Component:
    """A name of one kind, where its class lives (`module:attribute`), and who provides it."""

    kind: str
    name: str
    target: str
    origin: Origin


@dataclass(frozen=True)
class Quarantined:
    """A plugin that is set aside: why, and the components it would have provided as far as they are known."""

    origin: Origin
    error: str
    components: tuple[Component, ...] = ()


@dataclass(frozen=True)
class Registry:
    """The components of all installed plugins, found without importing any of them."""

    components: tuple[Component, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    disabled: tuple[str, ...] = field(default=())

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
            settings = " or ".join(f"disable_plugins = [{component.origin.distribution!r}]" for component in found)
            raise PluginError(
                f"{kind} {name!r} is provided by {providers}; disable one of them in the experiment: {settings}"
            )
        for plugin in self.quarantined:
            if any(c.kind == kind and c.name == name for c in plugin.components):
                raise PluginError(f"{kind} {name!r} belongs to {plugin.origin}, which is quarantined: {plugin.error}")
        raise PluginError(self._unknown(kind, name))

    def _unknown(self, kind: str, name: str) -> str:
        message = f"unknown {kind} {name!r}; {did_you_mean(name, self.names(kind))}"
        distribution = KINDS[kind][1]
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
        try:
            target: Any = import_module(module_name)
            for part in attribute.split("."):
                target = getattr(target, part)
        # A plugin's import can fail in any way; whichever, the user needs to know whose it was.
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{kind} {name!r} of {component.origin} cannot be loaded from {component.target!r}: {_describe(error)}"
            ) from error
        return target

    def build(self, kind: str, name: str, options: Mapping[str, Any], **injected: Any) -> Any:
        """Construct a component with a user's options and what the host injects.

        Raises:
            PluginError: as `load`; an option does not exist or is refused; the message lists those that exist.
        """
        target = self.load(kind, name)
        whose = f"{kind} {name!r} of {self.find(kind, name).origin}"
        try:
            parameters = inspect.signature(target).parameters
        except (TypeError, ValueError) as error:
            raise PluginError(f"{whose} is not a class or function that can be called: {one_line(error)}") from error
        known = [p for p in parameters if p not in injected]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for option in options:
            if option not in known and not takes_any:
                raise PluginError(f"{kind} {name!r} has no option {option!r}; {did_you_mean(option, known)}")
        try:
            return target(**injected, **options)
        except (TypeError, ValueError, ImportError) as error:
            raise PluginError(f"{whose}: {one_line(error)}") from error


def discover(disabled: Iterable[str] = ()) -> Registry:
    """Find all plugins of this environment, except those of the distributions in `disabled`.

    Raises:
        PluginError: a distribution in `disabled` is not an installed plugin.
    """
    disabled = tuple(sorted({_normalized(name) for name in disabled}))
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    components: list[Component] = []
    quarantined: list[Quarantined] = []
    entries = list(_entry_points())
    providers = sorted({origin.distribution for origin, _ in entries})
    for name in disabled:
        if name not in providers:
            raise PluginError(
                f"disable_plugins names {name!r}, which is no installed plugin; {did_you_mean(name, providers)}"
            )
    for origin, entry in entries:
        if origin.distribution in disabled:
            continue
        found, error = _load(manager, origin, entry)
        if error is None:
            components += found
        else:
            quarantined.append(Quarantined(origin, error, tuple(found)))
    return Registry(tuple(sorted(components)), tuple(quarantined), disabled)


def _entry_points() -> Iterable[tuple[Origin, EntryPoint]]:
    """Our entry points in a fixed order. A distribution found twice on the path counts once, as for an import."""
    seen: dict[str, Distribution] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            seen.setdefault(_normalized(name), distribution)
    for name in sorted(seen):
        for entry in sorted(seen[name].entry_points.select(group=GROUP)):
            yield Origin(name, seen[name].version, f"{entry.name} = {entry.value}"), entry


def _load(manager: pluggy.PluginManager, origin: Origin, entry: EntryPoint) -> tuple[list[Component], str | None]:
    """The components of one plugin, and why it must be quarantined, if it must."""
    try:
        plugin = entry.load()
        if misfit := _contract_misfit(plugin):
            return [], misfit
        hash(plugin)  # pluggy keeps plugins in sets
        name = manager.register(plugin, name=f"{origin.distribution}:{entry.name}")
    except KeyboardInterrupt:
        raise
    # Whatever a stranger's module does while it is imported, the others must go on.
    except BaseException as error:
        return [], _describe(error)
    if name is None:
        return [], "its entry point is blocked"
    components: list[Component] = []
    errors = _unknown_hooks(manager, plugin)
    others = [other for other in manager.get_plugins() if other is not plugin]
    for kind, (hook, _) in KINDS.items():
        try:
            caller = manager.subset_hook_caller(hook, remove_plugins=others)
            answers = caller()
            if caller.get_hookimpls() and not answers:
                answers = [None]  # pluggy drops it, and a forgotten `return` with it
            for answer in answers:
                components += _components(kind, hook, answer, origin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            errors.append(_describe(error))
    return components, "; ".join(errors) or None


def _contract_misfit(plugin: Any) -> str | None:
    """Why this host cannot serve the contract that a plugin says it needs, if it cannot."""
    needed = getattr(plugin, "wtal_contract", hookspecs.CONTRACT)
    if type(needed) is not int or needed < 1:
        return f"wtal_contract must be a whole number of 1 or more, got {needed!r}"
    if needed > hookspecs.CONTRACT:
        return (
            f"it needs contract {needed}, and wtal-core {__version__} has {hookspecs.CONTRACT}: "
            "pip install --upgrade wtal-core"
        )
    return None


def _unknown_hooks(manager: pluggy.PluginManager, plugin: Any) -> list[str]:
    hooks = [hook for hook, _ in KINDS.values()]
    unknown = [caller.name for caller in manager.get_hookcallers(plugin) or [] if not caller.has_spec()]
    unmarked = []
    if isinstance(plugin, ModuleType):
        unmarked = [
            name
            for name, function in vars(plugin).items()
            if name.startswith("wtal_") and inspect.isfunction(function) and not hasattr(function, "wtal_impl")
        ]
    return [f"unknown hook {name!r}; {did_you_mean(name, hooks)}" for name in unknown] + [
        f"function {name!r} looks like a hook but lacks @hookimpl" for name in unmarked
    ]


def _components(kind: str, hook: str, returned: Any, origin: Origin) -> Sequence[Component]:
    if not isinstance(returned, Mapping):
        raise TypeError(
            f"hook {hook!r} returned {type(returned).__name__}, not a mapping of names to 'module:attribute'"
        )
    for name, target in returned.items():
        if not isinstance(name, str) or not isinstance(target, str) or not _TARGET.fullmatch(target):
            raise TypeError(f"hook {hook!r} maps {name!r} to {target!r}, not to a string 'module:attribute'")
    return [Component(kind, name, target, origin) for name, target in returned.items()]


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _normalized(name: str) -> str:
    """A distribution's name as packaging tools compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
