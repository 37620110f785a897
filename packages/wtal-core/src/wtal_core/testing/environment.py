"""What is installed while a test runs: a component for one test, and no stranger's plugins."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from wtal_core import discovery
from wtal_core.discovery import Component, Installed, Origin
from wtal_core.kinds import known_kind

_numbers = itertools.count()


@contextmanager
def tmp_plugin(kind: str, name: str, make: Callable[..., Any]) -> Iterator[Component]:
    """Install a component under a name, as long as the block lasts; it hides one of that kind and name.

    Args:
        kind: such as "aggregator".
        name: by which an experiment asks for it.
        make: the class, or whatever builds the component.

    Raises:
        PluginError: there is no such kind.
    """
    module = ModuleType(f"_tmp_plugin_{next(_numbers)}")
    module.make = make  # type: ignore[attr-defined]
    origin = Origin("tmp-plugin", "0", f"tmp = {module.__name__}")
    component = Component(known_kind(kind).name, name, f"{module.__name__}:make", origin)

    def with_component(found: Installed) -> Installed:
        others = [one for one in found.components if (one.kind, one.name) != (component.kind, name)]
        return found._replace(components=tuple(sorted([*others, component])))

    sys.modules[module.__name__] = module
    try:
        with _finding(with_component):
            yield component
    finally:
        del sys.modules[module.__name__]


@contextmanager
def no_strange_plugins(*known: str) -> Iterator[None]:
    """Let only the plugins of these distributions be found, as long as the block lasts, whatever is installed.

    Args:
        known: names of distributions.
    """
    ours = {discovery.normalized(name) for name in known}

    def without_strangers(found: Installed) -> Installed:
        return Installed(
            tuple(one for one in found.components if one.origin.distribution in ours),
            tuple(one for one in found.quarantined if one.origin.distribution in ours),
            found.disabled,
        )

    with _finding(without_strangers):
        yield


@contextmanager
def _finding(change: Callable[[Installed], Installed]) -> Iterator[None]:
    """Let discovery find what `change` makes of what is installed."""
    real = discovery.installed
    discovery.installed = lambda disabled=(): change(real(disabled))
    try:
        yield
    finally:
        discovery.installed = real


def only_plugins(*known: str) -> Any:
    """A fixture that does as `no_strange_plugins` in every test below a `conftest.py`, which holds it under any name.

    Example:
        only_ours = only_plugins("wtal-core", "wtal-localize", "wtal-eval", "my-package")

    Args:
        known: names of distributions.
    """
    import pytest  # here, because a kit used by hand needs none

    def only_known_plugins() -> Iterator[None]:
        with no_strange_plugins(*known):
            yield

    return pytest.fixture(autouse=True)(only_known_plugins)
