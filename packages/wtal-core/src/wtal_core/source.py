"""Where an experiment is read from: a file, or a preset that an installed plugin brings."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wtal_core.binding import blaming
from wtal_core.errors import ConfigError, PluginError, WtalError, together
from wtal_core.registry import Registry, discover

if TYPE_CHECKING:
    from wtal_core.config import Experiment


class Source(NamedTuple):
    """An experiment's file."""

    name: str  #: of its runs and of its row in a table
    path: Path
    preset: bool = False  #: its relative paths are the user's then, not of the file's folder

    def __str__(self) -> str:
        return self.name if self.preset else str(self.path)


def source_of(text: str) -> Source:
    """What the command line names: a file by its path, or else a preset by its name.

    Raises:
        PluginError: as `preset_file`.
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - keeps what it cannot expand
    if path.suffix == ".toml" or path.name != text or path.is_file():
        return Source(path.stem, path)
    try:
        return Source(text, preset_file(discover(), text), preset=True)
    except PluginError as error:
        raise PluginError(f"{error} (an experiment of your own is given by its path, such as {text}.toml)") from None


def preset_file(registry: Registry, name: str) -> Path:
    """The file of a preset.

    Raises:
        PluginError: as `Registry.find`; or the package that holds it cannot be imported.
    """
    component = registry.find("preset", name)
    package, _, file = component.target.partition(":")
    with blaming(component, doing="cannot be found"):
        return Path(str(files(package).joinpath(file)))


def examine(source: Source, settings: Sequence[str] = ()) -> tuple[Experiment | None, list[WtalError]]:
    """As `config.examine`; a preset's relative paths are of the working folder, and must lead to something."""
    from wtal_core import config

    if not source.preset:
        return config.examine(source.path, settings)
    experiment, problems = config.examine(source.path, settings, Path.cwd())
    paths = {} if experiment is None else {key: getattr(experiment.data, key) for key in PATHS}
    absent = {key: path for key, path in paths.items() if not Path(path).exists()}
    for key, path in absent.items():
        problems.append(ConfigError(f"preset {source}: there is no {path}; give --{key} PATH"))
    return (None if absent else experiment), problems


def load(source: Source, settings: Sequence[str] = ()) -> Experiment:
    """As `config.load`, of a preset too."""
    experiment, problems = examine(source, settings)
    if experiment is None or problems:
        raise together(problems)
    return experiment


#: The keys of `data` that the command line has options for.
PATHS = ("annotations", "features")


def settings_of(settings: Sequence[str] | None, annotations: Path | None, features: Path | None) -> list[str]:
    """The settings that a command was given, with those that its options for paths stand for.

    Args:
        settings: of `--set`, relative to the experiment as its file is.
        annotations: relative to the working folder, as a shell completes it.
        features: likewise.
    """
    paths = zip(PATHS, (annotations, features), strict=True)
    given = {key: json.dumps(str(path.absolute()), ensure_ascii=False) for key, path in paths if path is not None}
    return [*(f"data.{key}={text}" for key, text in given.items()), *(settings or ())]
