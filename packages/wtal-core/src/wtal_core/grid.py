"""Grids: `key=[value, ...]` lines, every combination of their values, and an experiment at each."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from wtal_core import config
from wtal_core.check import component_problems
from wtal_core.data.dataset import Dimensions
from wtal_core.errors import ConfigError, PluginError, Problems, WtalError
from wtal_core.registry import Registry

#: What is changed at a point of a grid, as `key=value`; and the experiments at several.
Point = tuple[str, ...]
Points = dict[Point, config.Experiment]


def axes_of(grid: Sequence[str]) -> dict[str, list[str]]:
    """The values of each key of a grid, as `key=value` settings, in the order in which they are given.

    Example:
        axes_of(["localization.proposer.threshold=[0.1, 0.2]"])

    Raises:
        ConfigError: a key comes twice or after one of its own options, or a value is no list.
    """
    axes: dict[str, list[str]] = {}
    for line in grid:
        written, _, text = line.partition("=")
        key = ".".join(part.strip() for part in written.split("."))
        if key in axes:
            raise ConfigError(f"--grid {line}: {key} is in the grid already; give all its values in one list")
        if options := [other for other in axes if other.startswith(f"{key}.")]:
            raise ConfigError(f"--grid {line}: {key} would replace {options[0]}, which stands before it; give it first")
        try:
            (values,) = tomllib.loads(f"values = {text}").values()
        except (ValueError, RecursionError):  # no TOML, or more than one value
            values = None
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"--grid {line}: expected key=[value, ...], such as localization.proposer.threshold=[0.1,0.2]"
            )
        axes[key] = [f"{key}={inline(value)}" for value in values]
    return axes


def combinations(axes: Mapping[str, Sequence[str]]) -> Iterator[Point]:
    """Every combination of the axes' settings; the last key varies fastest."""
    return itertools.product(*axes.values())


def at_point(experiment: config.Experiment, settings: Point) -> config.Experiment:
    """The experiment at a point; raises ConfigError as `config.configure`, which names the setting."""
    return config.configure(experiment, settings, "--grid")


def configured(
    points: Iterable[Point],
    experiment: config.Experiment,
    change: Callable[[config.Experiment, Point], config.Experiment] = at_point,
) -> Points:
    """The experiment at each point, as `change` makes it.

    Raises:
        ConfigError: a setting names no key, or its value has a wrong type.
        Problems: several of these, each once.
    """
    found: Points = {}
    problems: dict[str, WtalError] = {}
    for settings in points:
        try:
            found[settings] = change(experiment, settings)
        except WtalError as error:
            problems.setdefault(str(error), error)
    refuse(problems.values())
    return found


def try_components(points: Mapping[Point, config.Experiment], registry: Registry, sizes: Dimensions) -> None:
    """Try the components of each point on a small example, so that a mistake in the last costs nothing.

    Raises:
        WtalError: what is wrong, with the first point that has it; `Problems` lists several.
    """
    problems: dict[str, WtalError] = {}
    for settings, experiment in points.items():
        for problem in component_problems(experiment, registry, sizes):
            problems.setdefault(str(problem), PluginError(f"{' '.join(settings)}: {problem}"))
    refuse(problems.values())


def refuse(problems: Iterable[WtalError]) -> None:
    """Raise a problem as it is, several in a list, and nothing if there is none."""
    several = list(problems)
    if several:
        raise several[0] if len(several) == 1 else Problems(several)


def inline(value: Any) -> str:
    """A value as TOML writes it inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{bare(key)} = {inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (dt.date, dt.time)):  # a datetime is a date
        return value.isoformat()
    return repr(value)


def bare(key: str) -> str:
    """A key as TOML writes it, in quotes only where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else inline(key)
