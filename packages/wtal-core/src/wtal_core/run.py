"""A run: its directory, and the steps that fill it.

- `config.toml`: the resolved experiment, defaults included
- `environment.json`: versions, device, threads
- `metrics.jsonl`: losses, one line per `training.LOG_EVERY` iterations and stream
- `checkpoints/STREAM.safetensors`: weights, feature statistics, optimiser
- `readings/SUBSET.h5`: activations and class scores, so that localizing again needs no network
- `detections.json`: intervals of the test subset, in ActivityNet's format
- `classification.json`: video-level class scores of the test subset, in ActivityNet's format
- `evaluation.json`: what the evaluators say of both
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
import torch

from wtal_core import config, evaluation, localization
from wtal_core.contracts import FloatArray
from wtal_core.dataset import Dataset, content_problems, open_dataset
from wtal_core.errors import Problems, RunError
from wtal_core.files import write
from wtal_core.localization import Localized, Reading, VideoDetections
from wtal_core.model import StreamModel, build_model, torch_device
from wtal_core.plugins import Registry, discover
from wtal_core.progress import Advance, Progress, Silent
from wtal_core.readings import load_readings, save_readings
from wtal_core.rehearsal import component_problems
from wtal_core.training import Metric, checkpoint_iteration, load_checkpoint, target_problems, train_stream

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
        RunError: the directory holds a run and `resume` is not set, or holds another experiment, or cannot be written.
        WtalError: as `prepare`.
    """
    check_free(path, experiment, resume=resume)
    registry, dataset = prepare(experiment)
    if problems := list(target_problems(dataset, experiment, registry)):
        raise Problems(problems)
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
    settled = path / "config.toml"
    if not settled.exists():
        raise RunError(f"{path}: no run here (no config.toml); make one with: wtal train EXPERIMENT.toml")
    before = config.load(settled)
    experiment = config.configure(before, settings)
    allowed = (f"{section}.", "data.annotations", "data.features", "device")
    for key in config.differences(before, experiment):
        if not key.startswith(allowed):
            raise RunError(
                f"{path} was trained with another {key}; this command changes only {section}.*, start a new run"
            )
    return Run(path, experiment, *prepare(experiment))


def train(run: Run, progress: Progress = SILENT) -> None:
    """Train every stream's model into the run's checkpoints, or the rest of it if the run was interrupted.

    Every value of the features is looked at first: a NaN in the last test video must not cost a night of training.

    Raises:
        Problems: features hold NaN or infinity.
        RunError: as `train_stream`.
    """
    _check_content(run, progress)
    for stream in run.experiment.data.streams:
        log = _metrics_log(run, stream)
        advance = progress.stage(f"train {stream}", run.experiment.training.iterations)

        def report(metric: Metric, log: Path = log, advance: Advance = advance) -> None:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stream": metric.stream, "iteration": metric.iteration, **metric.terms}) + "\n")
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
        RunError: a stream is not trained, or its training was interrupted.
    """
    videos = run.dataset.training if subset == "training" else run.dataset.test
    streams = run.experiment.data.streams
    path = run.path / "readings" / f"{subset}.h5"
    key = _readings_key(run)
    readings = load_readings(path, key, streams, [video.name for video in videos])
    if readings is None:
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
    videos = run.dataset.test
    readings = read(run, "test", progress)
    results = localization.localize(run.dataset, videos, readings, run.experiment.localization, run.registry)
    classes = run.dataset.classes
    write(run.path / "detections.json", _activitynet(_interval_records(results, classes)))
    write(run.path / "classification.json", _activitynet(_score_records(results, classes)))
    write(run.path / "config.toml", config.dump(run.experiment))
    (run.path / "evaluation.json").unlink(missing_ok=True)


def evaluate(run: Run) -> dict[str, Any]:
    """Score the run's detections and class scores; write and return the content of evaluation.json.

    Raises:
        RunError: the run has no detections yet, or they are of another data set.
        DataError: the test subset is not annotated with segments.
    """
    detections, class_scores = read_outputs(run)
    content = evaluation.evaluate(run.dataset, detections, class_scores, run.experiment, run.registry)
    write(run.path / "evaluation.json", _json(content))
    write(run.path / "config.toml", config.dump(run.experiment))
    return content


def read_outputs(run: Run) -> tuple[dict[str, VideoDetections], dict[str, FloatArray]]:
    """Read detections.json and classification.json, by video.

    Raises:
        RunError: a file is missing or malformed, or names a class that the data set lacks.
    """
    index = {name: i for i, name in enumerate(run.dataset.classes)}
    detections, class_scores = {}, {}
    for name, records in _read_results(run.path / "detections.json", _Interval, index):
        times = np.array([record.segment for record in records], dtype=np.float64).reshape(-1, 2)
        labels = np.array([index[record.label] for record in records], dtype=np.int64)
        scores = np.array([record.score for record in records], dtype=np.float64)
        detections[name] = VideoDetections(labels, times[:, 0], times[:, 1], scores)
    for name, scored in _read_results(run.path / "classification.json", _Score, index):
        class_scores[name] = np.zeros(len(index))
        for record in scored:
            class_scores[name][index[record.label]] = record.score
    return detections, class_scores


class _Score(msgspec.Struct):
    label: str
    score: float


class _Interval(_Score):
    segment: tuple[float, float]


_Record = TypeVar("_Record", bound=_Score)


class _Results(msgspec.Struct, Generic[_Record]):
    results: dict[str, list[_Record]]


def _read_results(path: Path, kind: type[_Record], index: Mapping[str, int]) -> Iterator[tuple[str, list[_Record]]]:
    results: dict[str, list[_Record]]
    try:
        results = msgspec.json.decode(path.read_bytes(), type=_Results[kind]).results  # type: ignore[valid-type]
    except OSError as error:
        raise RunError(f"{path}: cannot read: {error.strerror}; make it with: wtal localize") from error
    except msgspec.DecodeError as error:
        raise RunError(f"{path}: not results in ActivityNet's format: {error}") from error
    for name, records in results.items():
        unknown = {record.label for record in records} - index.keys()
        if unknown:
            raise RunError(f"{path}: video {name!r} has unknown classes: {', '.join(sorted(unknown))}")
        yield name, records


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


def _metrics_log(run: Run, stream: str) -> Path:
    """The metrics file, without this stream's lines beyond its checkpoint, which will be computed again."""
    path = run.path / "metrics.jsonl"
    checkpoint = run.checkpoint(stream)
    reached = checkpoint_iteration(checkpoint) if checkpoint.exists() else 0
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    kept = []
    for line in lines:
        if not line.endswith("\n"):
            break  # a process that was killed left it half written
        record = msgspec.json.decode(line)
        if record["stream"] != stream or record["iteration"] <= reached:
            kept.append(line)
    write(path, "".join(kept))
    return path


def _interval_records(results: Mapping[str, Localized], classes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [
            {"label": classes[label], "segment": [start, end], "score": score}
            for label, start, end, score in zip(*(field.tolist() for field in result.detections), strict=True)
        ]
        for name, result in results.items()
    }


def _score_records(results: Mapping[str, Localized], classes: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [
            {"label": label, "score": score} for label, score in zip(classes, result.class_scores.tolist(), strict=True)
        ]
        for name, result in results.items()
    }


def _activitynet(results: Mapping[str, Any]) -> str:
    return _json({"version": "VERSION 1.3", "results": results, "external_data": {}})


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
