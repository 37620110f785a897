"""What is installed while a test runs: a component for one test, and no stranger's plugins."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
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
    real = discovery.installed

    def with_component(disabled: Iterable[str] = ()) -> Installed:
        found = real(disabled)
        others = [one for one in found.components if (one.kind, one.name) != (component.kind, name)]
        return found._replace(components=tuple(sorted([*others, component])))

    sys.modules[module.__name__] = module
    discovery.installed = with_component
    try:
        yield component
    finally:
        discovery.installed = real
        del sys.modules[module.__name__]


@contextmanager
def no_strange_plugins(*known: str) -> Iterator[None]:
    """Let only the plugins of these distributions be found, as long as the block lasts, whatever is installed.

    Args:
        known: names of distributions.
    """
    real, ours = discovery.installed, {discovery.normalized(name) for name in known}

    def without_strangers(disabled: Iterable[str] = ()) -> Installed:
        components, quarantined, left_out = real(disabled)
        return Installed(
            tuple(one for one in components if one.origin.distribution in ours),
            tuple(one for one in quarantined if one.origin.distribution in ours),
            left_out,
        )

    discovery.installed = without_strangers
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
