"""A run: its directory, and the steps that fill it.

- `config.toml`: the resolved experiment, defaults included
- `environment.json`: versions, device, threads
- `metrics.jsonl`: losses, one line per `training.LOG_EVERY` iterations and stream
- `checkpoints/STREAM.safetensors`: weights, feature statistics, optimiser
- `readings/SUBSET.h5`: activations and class scores, so that localizing again needs no network
- `detections.json`: intervals of the test subset, in ActivityNet's format
- `classification.json`: video-level class scores of the test subset, in ActivityNet's format
- `evaluation.json`: what the evaluators say of both
- `.lock`: there while a process works here; no other one may then change the run
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from wtal_core import config, evaluation, localization
from wtal_core.dataset import Dataset, content_problems, open_dataset
from wtal_core.errors import Problems, RunError
from wtal_core.files import remove, remove_leftovers, write
from wtal_core.localization import Reading
from wtal_core.lock import taking
from wtal_core.model import StreamModel, build_model, torch_device
from wtal_core.plugins import Registry, discover
from wtal_core.progress import Advance, Progress, Silent
from wtal_core.readings import load_readings, save_readings
from wtal_core.rehearsal import component_problems
from wtal_core.results import read_class_scores, read_detections, write_class_scores, write_detections
from wtal_core.training import Metric, checkpoint_iteration, load_checkpoint, train_stream, training_problems

SILENT = Silent()


@dataclass(frozen=True)
class Run:
    """A run directory, the experiment it holds, and what that experiment opens."""

    path: Path
    experiment: config.Experiment
    registry: Registry
    dataset: Dataset

    def checkpoint(self, stream: str) -> Path:
        """Where a stream's weights lie."""
        return self.path / "checkpoints" / f"{stream}.safetensors"


def prepare(experiment: config.Experiment) -> tuple[Registry, Dataset]:
    """Find the plugins that an experiment wants, open its data, and make torch compute the same bytes every time.

    Raises:
        WtalError: a component, the annotations or the features are wrong; `Problems` lists several.
    """
    registry = discover(experiment.disable_plugins)
    problems = list(component_problems(experiment, registry))
    if problems:
        raise Problems(problems)
    if torch_device(experiment).type != "cpu":
        # Where a GPU has only an operation that adds up in any order, a warning says so and the run goes on.
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(experiment.threads)
    return registry, open_dataset(experiment.data, registry)


def create(path: Path, experiment: config.Experiment, *, resume: bool = False) -> Run:
    """Start a run directory, or take up one that holds the same experiment.

    Raises:
        RunError: the directory holds a run and `resume` is not set, or holds another experiment, or cannot be written,
            or another process holds it.
        WtalError: as `prepare`.
    """
    with taking(path):
        check_free(path, experiment, resume=resume)
        registry, dataset = prepare(experiment)
        if problems := list(training_problems(dataset, experiment, registry)):
            raise Problems(problems)
        remove_leftovers(path)
        write(path / "environment.json", _json(_environment(experiment, registry)))
        write(path / "config.toml", config.dump(experiment))
    return Run(path, experiment, registry, dataset)


def check_free(path: Path, experiment: config.Experiment, *, resume: bool) -> None:
    """Make sure that a run can start or continue here.

    Raises:
        RunError: the directory holds a run and `resume` is not set, or holds another experiment.
    """
    settled = path / "config.toml"
    if not settled.exists():
        return
    if not resume:
        raise RunError(f"{path} already holds a run; continue it with --resume, or choose another --out")
    later = ("localization", "evaluation", "device")  # nothing that training depends on
    changed = [k for k in config.differences(experiment, config.load(settled)) if k.partition(".")[0] not in later]
    if changed:
        raise RunError(f"{path} holds another experiment, which differs in {', '.join(changed)}; choose another --out")


def reopen(path: Path, settings: Sequence[str], section: str) -> Run:
    """Open an existing run with settings of one section changed; where the data lies may change too.

    Raises:
        RunError: there is no run, or a setting belongs to another section, which the run's outputs depend on.
        WtalError: as `prepare`.
    """
    before = config.load(_settled(path))
    experiment = config.configure(before, settings)
    allowed = (f"{section}.", "data.annotations", "data.features", "device")
    for key in config.differences(before, experiment):
        if not key.startswith(allowed):
            raise RunError(
                f"{path} was trained with another {key}; this command changes only {section}.*, start a new run"
            )
    return Run(path, experiment, *prepare(experiment))


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the folder of an existing run for several steps, each of which would take it by itself.

    Raises:
        RunError: there is no run, or another process holds it.
    """
    _settled(path)
    with taking(path):
        yield


def _settled(path: Path) -> Path:
    """The experiment of an existing run."""
    settled = path / "config.toml"
    if not settled.exists():
        raise RunError(f"{path}: no run here (no config.toml); make one with: wtal train EXPERIMENT.toml")
    return settled


def train(run: Run, progress: Progress = SILENT) -> None:
    """Train every stream's model into the run's checkpoints, or the rest of it if the run was interrupted.

    Every value of the features is looked at first: a NaN in the last test video must not cost a night of training.

    Raises:
        Problems: features hold NaN or infinity.
        RunError: another process holds the run, a metric cannot be written, or as `train_stream`.
    """
    with taking(run.path):
        _check_content(run, progress)
        for stream in run.experiment.data.streams:
            log = _metrics_log(run, stream)
            advance = progress.stage(f"train {stream}", run.experiment.training.iterations)

            def report(metric: Metric, log: Path = log, advance: Advance = advance) -> None:
                _log(log, metric)
                advance(metric.iteration, f"loss {metric.terms['loss']:.4f}")

            train_stream(run.dataset, stream, run.experiment, run.registry, run.checkpoint(stream), report)


def _check_content(run: Run, progress: Progress) -> None:
    iterations = run.experiment.training.iterations
    checkpoints = [run.checkpoint(stream) for stream in run.experiment.data.streams]
    if all(path.exists() and checkpoint_iteration(path) >= iterations for path in checkpoints):
        return
    advance = progress.stage("check features", len(run.dataset.training) + len(run.dataset.test))
    done = itertools.count(1)
    problems = list(content_problems(run.dataset, lambda name: advance(next(done), name)))
    if problems:
        raise Problems(problems)


def load_models(run: Run) -> dict[str, StreamModel]:
    """The trained models of a run.

    Raises:
        RunError: a stream is not trained, or its training was interrupted.
    """
    models = {}
    for stream in run.experiment.data.streams:
        path = run.checkpoint(stream)
        if not path.exists():
            raise RunError(f"{path}: stream {stream!r} is not trained; finish it with: {_finish(run)}")
        model = build_model(
            run.experiment, run.registry, run.dataset.feature_dims[stream], len(run.dataset.classes), videos=()
        )
        iteration = load_checkpoint(path, model, run.dataset.classes)
        if iteration < run.experiment.training.iterations:
            raise RunError(f"{path}: training stopped at iteration {iteration}; finish it with: {_finish(run)}")
        models[stream] = model.to(torch_device(run.experiment)).eval()
    return models


def _finish(run: Run) -> str:
    """The command that takes up an interrupted training."""
    return f"wtal train {run.path / 'config.toml'} --out {run.path.parent} --seeds {run.experiment.seed} --resume"


def read(run: Run, subset: Literal["training", "test"], progress: Progress = SILENT) -> dict[str, list[Reading]]:
    """What the trained models say of a subset's videos, one reading per stream; computed once and kept.

    Raises:
        RunError: a stream is not trained, or its training was interrupted; or another process holds the run.
    """
    videos = run.dataset.training if subset == "training" else run.dataset.test
    streams = run.experiment.data.streams
    path = run.path / "readings" / f"{subset}.h5"
    key = _readings_key(run)
    readings = load_readings(path, key, streams, [video.name for video in videos])
    if readings is None:
        with taking(run.path):
            models = load_models(run)
            advance = progress.stage(f"read {subset} subset", len(videos))
            done = itertools.count(1)
            readings = localization.read_videos(
                run.dataset, videos, models, run.experiment, run.registry, lambda name: advance(next(done), name)
            )
            save_readings(path, key, streams, readings)
    return readings


def localize(run: Run, progress: Progress = SILENT) -> None:
    """Localize the test subset and write detections and class scores; an older evaluation no longer holds and goes.

    Raises:
        RunError: as `read`.
    """
    videos, classes = run.dataset.test, run.dataset.classes
    with taking(run.path):
        readings = read(run, "test", progress)
        results = localization.localize(run.dataset, videos, readings, run.experiment.localization, run.registry)
        write_detections(run.path / "detections.json", {n: r.detections for n, r in results.items()}, classes)
        write_class_scores(run.path / "classification.json", {n: r.class_scores for n, r in results.items()}, classes)
        write(run.path / "config.toml", config.dump(run.experiment))
        remove(run.path / "evaluation.json")


def evaluate(run: Run) -> dict[str, Any]:
    """Score the run's detections and class scores; write and return the content of evaluation.json.

    Raises:
        RunError: the run has no detections yet, or they are of another data set; or another process holds the run.
        DataError: the test subset is not annotated with segments.
    """
    videos = [video.name for video in run.dataset.test]
    with taking(run.path):
        detections = read_detections(run.path / "detections.json", videos, run.dataset.classes)
        class_scores = read_class_scores(run.path / "classification.json", videos, run.dataset.classes)
        content = evaluation.evaluate(run.dataset, detections, class_scores, run.experiment, run.registry)
        write(run.path / "evaluation.json", _json(content))
        write(run.path / "config.toml", config.dump(run.experiment))
    return content


def _readings_key(run: Run) -> str:
    """Identifies what readings depend on: activation, classes, the features' files, the weights to the bit."""
    features = Path(run.experiment.data.features)
    files = sorted(features.rglob("*")) if features.is_dir() else [features]
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    digest = hashlib.sha256(
        json.dumps([run.experiment.localization.activation, run.dataset.classes, stamps], sort_keys=True).encode()
    )
    for stream in run.experiment.data.streams:
        path = run.checkpoint(stream)
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


class _Logged(msgspec.Struct):
    """What a line of metrics.jsonl must say; the loss terms beside it are the decoder's."""

    stream: str
    iteration: int


def _log(path: Path, metric: Metric) -> None:
    line = json.dumps({"stream": metric.stream, "iteration": metric.iteration, **metric.terms}) + "\n"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from error


def _metrics_log(run: Run, stream: str) -> Path:
    """The metrics file, without this stream's lines beyond its checkpoint, which will be computed again.

    Nor does it keep what is no line of metrics: a killed process leaves half of one, a power cut leaves NULs.
    """
    path = run.path / "metrics.jsonl"
    checkpoint = run.checkpoint(stream)
    reached = checkpoint_iteration(checkpoint) if checkpoint.exists() else 0
    kept, spoilt = [], 0
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    except OSError as error:
        raise RunError(f"{path}: cannot read: {error.strerror or error}") from error
    for line in lines:
        try:
            if not line.endswith(b"\n"):
                raise ValueError("half a line")
            record = msgspec.json.decode(line, type=_Logged)
        except (msgspec.DecodeError, ValueError, RecursionError):
            spoilt += 1
            continue
        if record.stream != stream or record.iteration <= reached:
            kept.append(line)
    if spoilt:
        warnings.warn(f"{path}: lines that are no metrics are dropped: {spoilt}", stacklevel=2)
    write(path, b"".join(kept))
    return path


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


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
