"""What a run is warned of: models that collapsed, and classes of which a teacher says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wtal_core import config
from wtal_core.contracts import FloatArray, Video
from wtal_core.model import build_model
from wtal_core.prediction.collapse import advice, collapses
from wtal_core.prediction.predict import StreamPrediction, predict
from wtal_core.run import results
from wtal_core.run.directory import Run
from wtal_core.seeds import seeded
from wtal_core.training.teaching import of_untaught, untaught


def watch_predictions(
    run: Run,
    settings: config.StageSettings,
    subset: Literal["training", "test"],
    predictions: Mapping[str, Sequence[StreamPrediction]],
) -> list[str]:
    """Look whether a stage's models have collapsed, by what they say of a subset; a sentence a stream, recorded.

    Labels serve to know in which classes videos differ: that all have one is no fault of the model.
    """
    videos = run.dataset.training if subset == "training" else run.dataset.test
    differs = _differs(run, videos)
    found = []
    for number, stream in enumerate(run.dataset.streams):
        of_stream = (predictions[video.name][number] for video in videos)
        facts = collapses(of_stream, differs, run.dataset.classes, _untrained(run, settings, stream))
        if facts:
            found.append(
                f"{_where(run, settings)}stream {stream!r} has collapsed: {'; '.join(facts)}; {advice(settings)}"
            )
    results.record_warnings(run.path, f"stage {settings.number}, {subset} subset", found)
    return found


def watch_lessons(run: Run, settings: config.StageSettings, lessons: Mapping[str, FloatArray]) -> list[str]:
    """Look whether a stage's teacher says nothing of a class; a sentence, which is recorded.

    It is no error, as it is where no stage before has a part in it (`check`): the models of another seed may find the
    class, and labels teach it still.
    """
    found = []
    labels = run.dataset.targets(run.dataset.training)
    if settings.number and len(silent := untaught(lessons.values(), labels)):
        assert settings.stage.teacher is not None  # whose lessons they are
        before = f"stages[{settings.number - 1}]"
        found = [
            f"{_where(run, settings)}teacher {config.name_of(settings.stage.teacher)!r} says "
            f"{of_untaught(run.dataset.classes, labels, silent)}, because {before} does not find "
            f"{'it' if len(silent) == 1 else 'them'}; train {before} longer (training.iterations) or with several "
            "models (models)"
        ]
    results.record_warnings(run.path, f"stage {settings.number}, teacher", found)
    return found


def _where(run: Run, settings: config.StageSettings) -> str:
    return f"stages[{settings.number}]: " if len(run.experiment.stages) > 1 else ""


def _differs(run: Run, videos: Sequence[Video]) -> NDArray[np.bool_]:
    """Whether some have a class and some do not, (C,): of the training videos, and of these where they have labels."""
    differs = np.ones(len(run.dataset.classes), bool)
    for some in (run.dataset.training, videos):
        labels = run.dataset.targets(some) > 0
        if labels.any():
            differs &= labels.any(0) & ~labels.all(0)
    return differs


def _untrained(run: Run, settings: config.StageSettings, stream: str) -> StreamPrediction:
    """What a model says of noise before it is trained, as before a run (`check`), where it cannot fail for its size."""
    with seeded(0):
        model = build_model(settings, run.registry, run.dataset.dimensions(stream)).eval()
    noise = np.random.default_rng(0).random((6, run.dataset.feature_dims[stream]), np.float32)
    return predict(model, run.registry.build("activation", settings.localization.activation), noise)
