"""Discovery: which plugins are installed, and what they name; nothing that they name is imported.

A loader of our own over `importlib.metadata`, because pluggy's `load_setuptools_entrypoints` drops a second
distribution's entry of the same name silently and lets one ImportError stop the rest. Here a broken plugin is
quarantined and everything else works.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

import pluggy

from wtal_core import __version__
from wtal_core.errors import PluginError, did_you_mean, failure
from wtal_core.kinds import CONTRACT, NAMED, hookspecs

GROUP = "wtal"

_NAME = re.compile(r"[\w.-]+")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_FILE = re.compile(r"[A-Za-z_][\w.]*:([\w-][\w.-]*/)*[\w-][\w.-]*\.toml")

#: Seconds after which a plugin that is still being imported is named, so that nobody waits for one that hangs.
PATIENCE = 5.0


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
    """A name of one kind, where its class lives (`module:attribute`) or a preset's file, and who provides it."""

    kind: str
    name: str
    target: str
    origin: Origin

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.origin}"


@dataclass(frozen=True)
class Quarantined:
    """A plugin that is set aside: why, and the components it would have provided as far as they are known."""

    origin: Origin
    error: str
    components: tuple[Component, ...] = ()


class Installed(NamedTuple):
    """What the plugins of an environment name."""

    components: tuple[Component, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    disabled: tuple[str, ...] = ()  # distributions that were left out


def installed(disabled: Iterable[str] = ()) -> Installed:
    """Find all plugins of this environment, except those of the distributions in `disabled`.

    Raises:
        PluginError: a distribution in `disabled` is not an installed plugin.
    """
    disabled = tuple(sorted({normalized(name) for name in disabled}))
    entries, quarantined = _entry_points()
    origins = [one.origin for one in entries] + [one.origin for one in quarantined]
    providers = sorted({origin.distribution for origin in origins})
    for name in disabled:
        if name not in providers:
            raise PluginError(
                f"disable_plugins names {name!r}, which is no installed plugin; {did_you_mean(name, providers)}"
            )
    entries = [one for one in entries if one.origin.distribution not in disabled]
    quarantined = [one for one in quarantined if one.origin.distribution not in disabled]
    components: list[Component] = []
    for one in entries:
        with _impatience(one.origin), redirect_stdout(sys.stderr):  # what it prints is no part of a listing
            found, error = _load(one, [other for other in entries if other.module == one.module])
        if error is None:
            components += found
        else:
            quarantined.append(Quarantined(one.origin, error, tuple(found)))
    return Installed(tuple(sorted(components)), tuple(sorted(quarantined, key=lambda one: one.origin)), disabled)


@dataclass(frozen=True)
class _Entry:
    """An entry point of ours, not yet loaded."""

    origin: Origin
    point: EntryPoint
    distribution: Distribution

    @property
    def module(self) -> str:
        return re.split(r"[:\[\s]", self.point.value)[0]


def _entry_points() -> tuple[list[_Entry], list[Quarantined]]:
    """Our entry points in a fixed order, and the distributions whose metadata cannot be read.

    A distribution found twice on the path counts once, as for an import.
    """
    seen, entries, unreadable = set(), [], []
    for distribution in distributions():
        folder = Path(str(getattr(distribution, "_path", "unknown"))).name  # such as wtal_core-0.1.0.dist-info
        name, _, version = folder.rpartition(".")[0].partition("-")
        try:
            name, version = distribution.metadata["Name"], distribution.metadata["Version"] or "(no version)"
            if not name or normalized(name) in seen:
                continue
            seen.add(normalized(name))
            points = distribution.entry_points.select(group=GROUP)
        # Whatever lies on the path, the plugins beside it must go on.
        except Exception as error:
            if _may_be_ours(distribution):
                reason = f"its metadata cannot be read: {failure(error)}; install it again"
                unreadable.append(Quarantined(Origin(normalized(name), version, folder), reason))
            continue
        for point in points:
            origin = Origin(normalized(name), version, f"{point.name} = {point.value}")
            entries.append(_Entry(origin, point, distribution))
    return sorted(entries, key=lambda one: one.origin), unreadable


def _may_be_ours(distribution: Distribution) -> bool:
    """Whether a distribution whose metadata are broken has a plugin, as far as that can be told."""
    try:
        return f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or "")
    except UnicodeError:
        return True


@contextmanager
def _impatience(origin: Origin) -> Iterator[None]:
    """Say whose plugin is being imported if that takes long."""

    def say() -> None:
        print(
            f"still importing {origin} ({origin.entry_point}); Ctrl-C stops it, pip uninstall {origin.distribution} "
            "if it never ends",
            file=sys.stderr,
        )

    timer = threading.Timer(PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _load(entry: _Entry, namesakes: Sequence[_Entry]) -> tuple[list[Component], str | None]:
    """The components of one plugin, and why it must be quarantined, if it must; `namesakes` name the same module."""
    # One manager for each, so that no plugin can stand in the way of another.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs())
    try:
        plugin = entry.point.load()
        if misfit := _contract_misfit(plugin) or _misplaced(entry, namesakes):
            return [], misfit
        hash(plugin)  # pluggy keeps plugins in sets
        manager.register(plugin)
        errors = _unknown_hooks(manager, plugin)
        if not errors and not manager.get_hookcallers(plugin):
            return [], "it has no hooks; wtal_core.kinds shows a complete plugin"
    except KeyboardInterrupt:
        print(f"interrupted while importing {entry.origin} ({entry.origin.entry_point})", file=sys.stderr)
        raise
    # Whatever a stranger's module does while it is imported, the others must go on.
    except BaseException as error:
        return [], failure(error)
    components: list[Component] = []
    for kind in NAMED.values():
        try:
            caller = getattr(manager.hook, kind.hook)
            answers = caller()
            if caller.get_hookimpls() and not answers:
                answers = [None]  # pluggy drops it, and a forgotten `return` with it
            for answer in answers:
                components += _components(kind.name, kind.hook, answer, entry.origin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            errors.append(failure(error))
    return components, "; ".join(errors) or None


def _misplaced(entry: _Entry, namesakes: Sequence[_Entry]) -> str | None:
    """Why the module that Python imported for an entry point is another distribution's, where that can be told."""
    rivals = [one for one in namesakes if one.origin.distribution != entry.origin.distribution]
    file = getattr(sys.modules.get(entry.module), "__file__", None)
    if not rivals or file is None:
        return None
    owners = {
        one.origin.distribution: str(one.origin) for one in namesakes if _installed(one.distribution, Path(file))
    } or {one.origin.distribution: str(one.origin) for one in namesakes if _beside(one.distribution, Path(file))}
    if not owners or list(owners) == [entry.origin.distribution]:
        return None
    others = " and ".join(sorted({str(one.origin) for one in rivals}))
    return f"{others} names a module {entry.module!r} too, and Python imports {file} for both: rename yours"


def _installed(distribution: Distribution, file: Path) -> bool:
    """Whether a distribution's record lists a file, or the folder that it is installed from in place holds it."""
    file = file.resolve()
    for path in distribution.files or ():
        if path.name == file.name and Path(str(path.locate())).resolve() == file:
            return True
    source = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not source.get("dir_info", {}).get("editable"):
        return False
    return file.is_relative_to(Path(url2pathname(urlparse(source["url"]).path)).resolve())


def _beside(distribution: Distribution, file: Path) -> bool:
    """Whether a file lies where a distribution without a record was put."""
    folder = Path(str(distribution.locate_file(""))).resolve()
    return distribution.files is None and file.resolve().is_relative_to(folder)


def _contract_misfit(plugin: Any) -> str | None:
    """Why this host cannot serve the contract that a plugin says it needs, if it cannot."""
    needed = getattr(plugin, "wtal_contract", CONTRACT)
    if type(needed) is not int or needed < 1:
        return f"wtal_contract must be a whole number of 1 or more, got {needed!r}"
    if needed > CONTRACT:
        return (
            f"it needs contract {needed}, and wtal-core {__version__} has {CONTRACT}: pip install --upgrade wtal-core"
        )
    return None


def _unknown_hooks(manager: pluggy.PluginManager, plugin: Any) -> list[str]:
    hooks = [kind.hook for kind in NAMED.values()]
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
    form, target_form = ("package:FILE.toml", _FILE) if kind == "preset" else ("module:attribute", _TARGET)
    if not isinstance(returned, Mapping):
        raise TypeError(f"hook {hook!r} returned {type(returned).__name__}, not a mapping of names to {form!r}")
    for name, target in returned.items():
        if isinstance(name, str) and not _NAME.fullmatch(name):
            raise TypeError(f"hook {hook!r} gives the name {name!r}; a name has letters, digits, '_', '.' and '-' only")
        if not isinstance(name, str) or not isinstance(target, str) or not target_form.fullmatch(target):
            raise TypeError(f"hook {hook!r} maps {name!r} to {target!r}, not to a string {form!r}")
    return [Component(kind, name, target, origin) for name, target in returned.items()]


def normalized(name: str) -> str:
    """A distribution's name as packaging tools compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
