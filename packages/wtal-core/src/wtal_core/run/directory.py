"""The directory of a run.

- `config.toml`: the resolved experiment, defaults included
- `environment.json`: versions, device, threads
- `metrics.jsonl`: losses, one line per `training.loop.LOG_EVERY` iterations and model
- `checkpoints/STREAM.safetensors`: weights, feature statistics, optimiser
- `predictions/SUBSET.h5`: what the models say of each video, so that localizing again needs no network
- `stages.json`: where there are several stages or a teacher, who taught each one and what it did not take over
- `detections.json`: intervals of the test subset, in ActivityNet's format
- `classification.json`: video-level class scores of the test subset, in ActivityNet's format
- `evaluation.json`: what the evaluators say of both
- `warnings.json`: what was looked at and is to beware of: models that collapsed, classes that nobody teaches
- `.lock`: there while a process works here; no other one may then change the run

Where there are several stages, checkpoints and predictions lie in folders `stage-N` below theirs, and where a stage has
several models, its checkpoints in `model-N` below that.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wtal_core import check, config
from wtal_core.data.dataset import Dataset
from wtal_core.data.names import writable
from wtal_core.errors import RunError
from wtal_core.files import remove_leftovers, write
from wtal_core.lock import taking
from wtal_core.model import torch_device
from wtal_core.registry import Registry


@dataclass(frozen=True)
class Run:
    """A run directory, the experiment it holds, and what that experiment opens."""

    path: Path
    experiment: config.Experiment
    registry: Registry
    dataset: Dataset

    def model_name(self, stage: int, member: int, stream: str) -> str:
        """What a model is called: its stream, below its stage and its number where there are several."""
        several = self.experiment.stages[stage].models > 1
        return "/".join([*self._below(stage), *([f"model-{member}"] if several else []), stream])

    def checkpoint(self, stage: int, member: int, stream: str) -> Path:
        """Where a model's weights lie."""
        return self.path / "checkpoints" / f"{self.model_name(stage, member, stream)}.safetensors"

    def predictions(self, stage: int, subset: str) -> Path:
        """Where a stage's predictions of a subset lie."""
        return self.path.joinpath("predictions", *self._below(stage), f"{subset}.h5")

    def _below(self, stage: int) -> list[str]:
        return [f"stage-{stage}"] if len(self.experiment.stages) > 1 else []


def create(path: Path, experiment: config.Experiment, found: check.Opened, *, resume: bool = False) -> Run:
    """Start a run directory, or with `resume` take up one that holds the same experiment, which `check.opened` opened.

    Raises:
        RunError: the directory holds a run and `resume` is not set, or holds another experiment, or cannot be written,
            or another process holds it.
    """
    with taking(path):
        check_free(path, experiment, resume=resume)
        remove_leftovers(path)
        write(path / "environment.json", as_json(_environment(experiment, found.registry)))
        write(path / "config.toml", config.dump(config.settled(experiment)))
    return Run(path, config.settled(experiment), *found)


def check_free(path: Path, experiment: config.Experiment, *, resume: bool) -> None:
    """Make sure that a run can start or continue here.

    Raises:
        RunError: the directory holds a run and `resume` is not set, or holds another experiment; or its path is not
            UTF-8, in which alone checkpoints can be read back.
    """
    if not writable(str(path)):
        raise RunError(
            f"{str(path)!a} is a path that is not UTF-8, and checkpoints cannot be read there; choose another --out"
        )
    settled = path / "config.toml"
    if not settled.exists():
        return
    if not resume:
        raise RunError(f"{path} already holds a run; continue it with --resume, or choose another --out")
    later = ("localization", "evaluation", "device", "trackers", "published")  # nothing that training depends on
    before = config.load(settled)
    changed = [
        key for key in config.differences(config.settled(experiment), before) if key.partition(".")[0] not in later
    ]
    if changed:
        raise RunError(f"{path} holds another experiment, which differs in {', '.join(changed)}; choose another --out")


def finished(path: Path, experiment: config.Experiment) -> bool:
    """Whether a directory holds this experiment's run to its end, evaluation included."""
    settled = path / "config.toml"
    if not (settled.exists() and (path / "evaluation.json").exists()):
        return False
    changed = config.differences(config.settled(experiment), config.load(settled))
    return all(key.partition(".")[0] in ("device", "trackers", "published") for key in changed)


def reopen(path: Path, settings: Sequence[str], section: str) -> Run:
    """Open an existing run with settings of one section changed; where the data lies may change too.

    Raises:
        RunError: there is no run, or a setting belongs to another section, which the run's outputs depend on.
        WtalError: as `check.opened`.
    """
    before = config.load(_settled(path))
    experiment = config.configure(before, settings)
    allowed = (f"{section}.", "data.annotations", "data.features", "device")
    for key in config.differences(before, experiment):
        if not key.startswith(allowed):
            raise RunError(
                f"{path} was trained with another {key}; this command changes only {section}.*, start a new run"
            )
    return Run(path, experiment, *check.opened(experiment))


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the folder of an existing run for several steps, each of which would take it by itself.

    Raises:
        RunError: there is no run, or another process holds it.
    """
    _settled(path)
    with taking(path):
        yield


def as_json(content: Any) -> str:
    """The text of a JSON file."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _settled(path: Path) -> Path:
    """The experiment of an existing run."""
    settled = path / "config.toml"
    if not settled.exists():
        raise RunError(f"{path}: no run here (no config.toml); make one with: wtal train EXPERIMENT.toml")
    return settled


def _environment(experiment: config.Experiment, registry: Registry) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "torch", "wtal-core")}
    versions |= {c.origin.distribution: c.origin.version for c in registry.components}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(torch_device(experiment)),
        "threads": torch.get_num_threads(),
        "versions": dict(sorted(versions.items())),
    }
