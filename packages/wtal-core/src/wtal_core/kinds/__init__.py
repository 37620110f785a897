"""The kinds of component: one table here, and one file a kind beside it.

A kind's file holds its protocol, what a right answer looks like, the small example that a component is tried on before
a run, and the clauses of the conformance kit. Reading the table imports none of them, so that listing plugins is cheap.

A plugin is a module that an entry point of the group `wtal` names. It has hooks, one for each kind that it provides,
which return names and where to find what they name. A complete one, `_my_package_plugin.py`:

    from wtal_core import hookimpl

    @hookimpl
    def wtal_aggregators():
        return {"my-pooling": "my_package.pooling:MyPooling"}

with, in its `pyproject.toml`:

    [project.entry-points.wtal]
    my-package = "_my_package_plugin"

It may bring presets too, experiments to run by name: a hook `wtal_presets` then returns names and files in a package,
`{"mine-thumos14": "my_package:presets/thumos14.toml"}`.

Name that module for your package, because Python imports one module of a name, whoever ships it. Keep it outside the
package whose classes it names: an entry point inside it would run the package's `__init__`, and every `wtal plugins`
would pay for it.

The hooks and the calls together are the contract, which has a number. A plugin that needs a certain one says so in its
module, `wtal_contract = 1`; a host with a lower number sets it aside and says why. A higher number only adds: what a
plugin of an earlier one does keeps working.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from pluggy import HookspecMarker

from wtal_core.errors import PluginError, did_you_mean

#: The number of the contract. It rises with every addition to the kinds or to `wtal_core.contracts`.
CONTRACT = 1


class Kind(NamedTuple):
    """One kind of component."""

    name: str  # as people write it
    usual: str  # the distribution that ships the usual ones
    given: tuple[str, ...] = ()  # parameters of the constructor that the host always fills
    offered: tuple[str, ...] = ()  # and those that it fills where the signature has them

    @property
    def identifier(self) -> str:
        """The name in code: its file here, its template, its checker."""
        return self.name.replace(" ", "_")

    @property
    def hook(self) -> str:
        """The hook that names components of this kind: `wtal_` and the plural."""
        return f"wtal_{self.identifier}{'es' if self.name.endswith('s') else 's'}"

    @property
    def module(self) -> Any:
        """The kind's file: `Bound`, `rehearse`, and the clauses."""
        return import_module(f"wtal_core.kinds.{self.identifier}")


#: Every kind by its name.
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("annotation reader", "wtal-core", given=("path",)),
        Kind("feature reader", "wtal-core", given=("path",)),
        Kind("sampler", "wtal-core"),
        Kind("clip", "wtal-core"),
        Kind("aggregator", "wtal-aggregators", offered=("num_classes",)),
        Kind(
            "decoder",
            "wtal-star",
            given=("feature_dim", "num_classes", "aggregator"),
            offered=("snippet_seconds",),
        ),
        Kind("loss", "wtal-core", offered=("num_classes",)),
        Kind("teacher", "wtal-core"),
        Kind("activation", "wtal-localize"),
        Kind("proposer", "wtal-localize"),
        Kind("suppressor", "wtal-localize"),
        Kind("evaluator", "wtal-eval"),
        Kind("tracker", "wtal-core", given=("directory",)),
    )
}

#: What plugins name: components of every kind, and presets, which are experiments in files of theirs.
NAMED: Mapping[str, Kind] = {**KINDS, "preset": Kind("preset", "wtal-core")}


def known_kind(text: str) -> Kind:
    """A kind as the command line takes it, words joined by a hyphen, an underscore or a space.

    Raises:
        PluginError: there is no such kind.
    """
    name = text.replace("-", " ").replace("_", " ")
    if name not in KINDS:
        raise PluginError(f"unknown kind {name!r}; {did_you_mean(name, list(KINDS))}")
    return KINDS[name]


def hookspecs() -> type:
    """The specifications of all hooks: each takes nothing and returns a mapping of names to `module:attribute`.

    Presets are files, `package:path/of/preset.toml`.
    """
    mark = HookspecMarker("wtal")

    def specification(kind: Kind) -> Any:
        def hook() -> Mapping[str, str]:
            raise NotImplementedError

        hook.__name__ = hook.__qualname__ = kind.hook
        hook.__doc__ = f"What a plugin names of the kind {kind.name}."
        return mark(hook)

    return type("Hooks", (), {kind.hook: staticmethod(specification(kind)) for kind in NAMED.values()})
