"""The steps of a run: train, predict, localize, evaluate. Each takes up what the ones before have left."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from wtal_core import check, config
from wtal_core.contracts import FloatArray, Video
from wtal_core.data.dataset import Moments, survey
from wtal_core.errors import PluginError, Problems, RunError
from wtal_core.files import remove, write
from wtal_core.kinds.tracker import Bound as Tracker
from wtal_core.lock import taking
from wtal_core.model import StreamModel, build_model, torch_device
from wtal_core.prediction.detect import Localized
from wtal_core.prediction.detect import localize as detect
from wtal_core.prediction.predict import StreamPrediction, predict_videos
from wtal_core.prediction.score import metrics as flat
from wtal_core.prediction.score import score
from wtal_core.prediction.store import StoredPredictions, load_predictions, save_predictions
from wtal_core.progress import Progress, Silent
from wtal_core.run import metrics, results
from wtal_core.run.directory import Run, as_json, create
from wtal_core.run.watch import watch_lessons, watch_predictions
from wtal_core.seeds import seed_of
from wtal_core.training.checkpoint import checkpoint_iteration, load_checkpoint
from wtal_core.training.loop import Task
from wtal_core.training.loop import train as train_model
from wtal_core.training.teaching import fully_supervised, lessons_of

SILENT = Silent()


def train(run: Run, progress: Progress = SILENT) -> None:
    """Train every model of every stage into the run's checkpoints, or the rest of them if the run was interrupted.

    Every value of the features is looked at first: a NaN in the last test video must not cost a night of training.

    Raises:
        Problems: features hold NaN or infinity.
        RunError: another process holds the run, a metric cannot be written, or as `training.loop.train`.
    """
    with taking(run.path), tracking(run) as trackers:
        metrics.cut(run.path / "metrics.jsonl", _reached_by_all(run))
        if not any(_unfinished(run, settings) for settings in config.stages(run.experiment)):
            return
        moments = _surveyed(run, progress)
        for settings in config.stages(run.experiment):
            _train_stage(run, settings, moments, trackers, progress)


def complete(
    path: Path,
    experiment: config.Experiment,
    found: check.Opened | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """A run from its beginning, or from where it stopped, to its evaluation; returns the content of evaluation.json.

    That the directory is free is the caller's to know (`check_free`): what lies there may be of an attempt that died.

    Args:
        path: the run's directory.
        experiment: with the seed of this run.
        found: what the experiment opens; by default it is opened and checked here, as another process has to.
        progress: shows bars.

    Raises:
        WtalError: as `check.opened`, `create` and the steps.
    """
    with taking(path):
        run = create(path, experiment, found or check.opened(experiment, scored=True), resume=True)
        train(run, progress)
        return evaluate(run, localize(run, progress))


def _train_stage(
    run: Run,
    settings: config.StageSettings,
    moments: Mapping[str, Moments],
    trackers: Sequence[Tracker],
    progress: Progress,
) -> None:
    unfinished = _unfinished(run, settings)
    if not unfinished:
        return
    # Told before it is learnt, because a run that is killed has learnt a part.
    supervised = settings.number in fully_supervised(run.experiment, run.registry)
    record = partial(results.record_stage, run.path / "stages.json", settings, supervised)
    if len(run.experiment.stages) > 1 or settings.stage.teacher is not None:
        record({})
    lessons = _taught(run, settings, progress)
    log = run.path / "metrics.jsonl"
    for member, stream in unfinished:
        name = run.model_name(settings.number, member, stream)
        advance = progress.stage(f"train {name}", settings.training.iterations)
        for tracker in trackers:
            tracker.stage(name)

        def report(iteration: int, terms: dict[str, float], name: str = name, advance: Any = advance) -> None:
            metrics.append(log, name, iteration, terms)
            for tracker in trackers:
                tracker.metrics(name, iteration, terms)
            advance(iteration, f"loss {terms['loss']:.4f}")

        def told(fresh: list[str], name: str = name) -> None:
            record({name: fresh})

        task = _task(run, settings, member, stream, lessons)
        train_model(task, moments[stream], report, told)


def _task(
    run: Run, settings: config.StageSettings, member: int, stream: str, lessons: Mapping[str, FloatArray] | None
) -> Task:
    number = settings.number
    before = None
    if settings.stage.start == "continue":
        before = run.checkpoint(number - 1, member % run.experiment.stages[number - 1].models, stream)
    return Task(
        run.dataset,
        stream,
        settings,
        seed_of(run.experiment.seed, number, member),
        torch_device(run.experiment),
        run.registry,
        run.checkpoint(number, member, stream),
        before,
        lessons,
    )


def _unfinished(run: Run, settings: config.StageSettings) -> list[tuple[int, str]]:
    """The models of a stage that are not trained to the end: number and stream."""
    return [
        (member, stream)
        for member, stream in _members(run, settings.stage)
        if _reached(run, settings.number, member, stream) < settings.training.iterations
    ]


def _members(run: Run, stage: config.Stage) -> Iterator[tuple[int, str]]:
    return itertools.product(range(stage.models), run.dataset.streams)


def _reached_by_all(run: Run) -> dict[str, int]:
    """How many iterations every model of every stage has seen, by its name."""
    return {
        run.model_name(number, member, stream): _reached(run, number, member, stream)
        for number, stage in enumerate(run.experiment.stages)
        for member, stream in _members(run, stage)
    }


def _reached(run: Run, stage: int, member: int, stream: str) -> int:
    path = run.checkpoint(stage, member, stream)
    return checkpoint_iteration(path) if path.exists() else 0


def _surveyed(run: Run, progress: Progress) -> Mapping[str, Moments]:
    advance = progress.stage("check features", len(run.dataset.training) + len(run.dataset.test))
    done = itertools.count(1)
    found = survey(run.dataset, lambda name: advance(next(done), name))
    if found.problems:
        raise Problems(found.problems)
    return found.statistics


def _taught(run: Run, settings: config.StageSettings, progress: Progress) -> Mapping[str, FloatArray] | None:
    """What the stage's teacher says of each training video, if there is one."""
    if settings.stage.teacher is None:
        return None
    before = None
    if settings.number:
        earlier = config.stages(run.experiment)[settings.number - 1]
        predictions = predict(run, "training", progress, earlier.number)
        before = earlier.localization, predictions
        _warn(run, watch_predictions(run, earlier, "training", predictions))
    lessons = lessons_of(run.dataset, settings.stage.teacher, before, run.registry)
    _warn(run, watch_lessons(run, settings, lessons))
    return lessons


def _warn(run: Run, sentences: Sequence[str]) -> None:
    """Warn at once of what the next stage is about to learn from."""
    for sentence in sentences:
        warnings.warn(f"{run.path}: {sentence}", stacklevel=3)


@contextmanager
def tracking(run: Run) -> Iterator[list[Tracker]]:
    """The run's trackers, closed at the end."""
    with ExitStack() as stack:
        trackers = []
        for choice in run.experiment.trackers:
            trackers.append(run.registry.build("tracker", choice, directory=run.path))
            stack.push(partial(_close, trackers[-1]))
        yield trackers


def _close(tracker: Tracker, failed: type[BaseException] | None, *_: object) -> None:
    """Close a tracker; where something has failed already, that is what is told."""
    with nullcontext() if failed is None else suppress(PluginError):
        tracker.close()


def load_models(run: Run, stage: int) -> dict[str, list[StreamModel]]:
    """The trained models of a stage, by stream.

    Raises:
        RunError: one is not trained, or its training was interrupted.
    """
    settings = config.stages(run.experiment)[stage]
    models: dict[str, list[StreamModel]] = {}
    for stream, member in itertools.product(run.dataset.streams, range(settings.stage.models)):
        path = run.checkpoint(stage, member, stream)
        if not path.exists():
            raise RunError(f"{path}: stream {stream!r} is not trained; finish it with: {_finish(run)}")
        model = build_model(settings, run.registry, run.dataset.dimensions(stream))
        iteration = load_checkpoint(path, model, run.dataset.classes)
        if iteration < settings.training.iterations:
            raise RunError(f"{path}: training stopped at iteration {iteration}; finish it with: {_finish(run)}")
        models.setdefault(stream, []).append(model.to(torch_device(run.experiment)).eval())
    return models


def _finish(run: Run) -> str:
    """The command that takes up an interrupted training."""
    return f"wtal train {run.path / 'config.toml'} --out {run.path.parent} --seeds {run.experiment.seed} --resume"


def predict(
    run: Run, subset: Literal["training", "test"], progress: Progress = SILENT, stage: int | None = None
) -> StoredPredictions:
    """What a stage's models, by default the last's, say of a subset's videos, by stream; computed once and kept.

    A video is read when it is asked for.

    Raises:
        RunError: a model is not trained, or its training was interrupted; or another process holds the run.
    """
    number = len(run.experiment.stages) - 1 if stage is None else stage
    videos: Sequence[Video] = run.dataset.training if subset == "training" else run.dataset.test
    path, key = run.predictions(number, subset), _key(run, number)
    streams = run.dataset.streams
    names = [video.name for video in videos]
    predictions = load_predictions(path, key, streams, names)
    if predictions is None:
        with taking(run.path):
            models = load_models(run, number)
            settings = config.stages(run.experiment)[number].localization
            made = predict_videos(run.dataset, videos, models, settings, run.registry)
            advance = progress.stage(f"predict {subset} subset", len(videos))
            save_predictions(path, key, streams, _told(made, advance))
            predictions = StoredPredictions(path, key, streams, names)
    return predictions


def _told(
    made: Iterable[tuple[str, list[StreamPrediction]]], advance: Callable[[int, str], None]
) -> Iterator[tuple[str, list[StreamPrediction]]]:
    """The same, telling of each that is done."""
    for number, (name, of_video) in enumerate(made, start=1):
        yield name, of_video
        advance(number, name)


def localize(run: Run, progress: Progress = SILENT) -> Localized:
    """Localize the test subset and write detections and class scores; an older evaluation no longer holds and goes.

    Raises:
        RunError: as `predict`.
    """
    with taking(run.path):
        predictions = predict(run, "test", progress)
        settings = config.stages(run.experiment)[-1]
        localized = detect(run.dataset, run.dataset.test, predictions, settings.localization, run.registry)
        watch_predictions(run, settings, "test", predictions)
        results.write_localized(run.path, localized, run.dataset.classes)
        write(run.path / "config.toml", config.dump(run.experiment))
        remove(run.path / "evaluation.json")
    return localized


def evaluate(run: Run, localized: Localized | None = None) -> dict[str, Any]:
    """Score detections and class scores; write and return the content of evaluation.json.

    Args:
        run: the run.
        localized: what `localize` gave; by default it is read back from the run's files.

    Raises:
        RunError: the run has no detections yet, or they are of another data set; or another process holds the run.
        DataError: the test subset is not annotated with segments.
    """
    with taking(run.path):
        if localized is None:
            videos = [video.name for video in run.dataset.test]
            localized = results.read_localized(run.path, videos, run.dataset.classes)
        content = score(run.dataset, localized, run.experiment, run.registry)
        write(run.path / "evaluation.json", as_json(content))
        write(run.path / "config.toml", config.dump(run.experiment))
        with tracking(run) as trackers:
            for tracker in trackers:
                tracker.evaluation(flat(content))
    return content


def _key(run: Run, stage: int) -> str:
    """Identifies what predictions depend on: activation, clip, classes, the features' files, the weights to the bit."""
    features = Path(run.experiment.data.features)
    files = sorted(features.rglob("*")) if features.is_dir() else [features]
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    settings = config.stages(run.experiment)[stage]
    digest = hashlib.sha256(
        json.dumps(
            [settings.localization.activation, settings.localization.clip, run.dataset.classes, stamps], sort_keys=True
        ).encode()
    )
    for stream, member in itertools.product(run.dataset.streams, range(settings.stage.models)):
        path = run.checkpoint(stage, member, stream)
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()
