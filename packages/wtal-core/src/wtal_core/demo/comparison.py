"""The rows of the demo's table: every method, between chance and full supervision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wtal_core import config
from wtal_core.check import opened
from wtal_core.comparison import Row, chance_row
from wtal_core.demo import METHODS


def rows_of(experiments: Mapping[str, Path]) -> list[Row]:
    """The rows of the experiments that `write_demo` wrote; chance takes the settings that were chosen for the bound."""
    loaded = {name: config.load(path) for name, path in experiments.items()}
    supervised, *methods = (Row(name, loaded[name], opened(loaded[name])) for name in ("supervised", *METHODS))
    return [chance_row(supervised), *methods, supervised._replace(ranked=False)]
