"""All that is wrong with an experiment, found in one pass and before any training."""

from __future__ import annotations

from pathlib import Path

from wtal_core import config, dataset
from wtal_core.dataset import Dataset
from wtal_core.errors import Problems, WtalError
from wtal_core.files import check_writable
from wtal_core.model import torch_device
from wtal_core.plugins import discover
from wtal_core.rehearsal import component_problems
from wtal_core.training import training_problems


def validate(path: Path, settings: list[str], out: Path) -> tuple[Dataset | None, list[WtalError]]:
    """Check an experiment file, its components, annotations, every value of its features, and the output directory.

    Returns:
        The data set, if it could be opened, and all problems.
    """
    experiment, problems = config.examine(path, settings)
    try:
        check_writable(out)
    except WtalError as error:
        problems.append(error)
    if experiment is None:
        return None, problems
    opened: Dataset | None = None
    try:
        registry = discover(experiment.disable_plugins)
        problems += component_problems(experiment, registry)
        opened, found = dataset.examine(experiment.data, registry)
        problems += found
    except Problems as several:
        problems += several.problems
    except WtalError as error:
        problems.append(error)
    try:
        torch_device(experiment)
    except WtalError as error:
        problems.append(error)
    if opened is not None:
        if not problems:  # components that can be built, and a data set whose labels are known
            problems += training_problems(opened, experiment, registry)
        problems += dataset.segment_problems(opened)
        problems += dataset.content_problems(opened)
    return opened, problems
