"""What a teacher says of the training videos, from the word of the stage before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wtal_core import config
from wtal_core.binding import during
from wtal_core.contracts import FloatArray, IntArray
from wtal_core.data.dataset import Dataset
from wtal_core.errors import PluginError, one_line
from wtal_core.prediction.detect import localize
from wtal_core.prediction.fuse import fuse, mean
from wtal_core.prediction.predict import StreamPrediction
from wtal_core.registry import Registry

#: The localization settings of the stage before, and its predictions of the training videos.
Before = tuple[config.Localization, Mapping[str, Sequence[StreamPrediction]]]
#: The share of what a teacher says at most of any class, up to which it says nothing of one.
NOTHING = 0.1


def fully_supervised(experiment: config.Experiment, registry: Registry) -> dict[int, str]:
    """The stages whose teacher reads annotated segments, and its name.

    Raises:
        PluginError: a teacher cannot be built.
    """
    taught = {n: stage.teacher for n, stage in enumerate(experiment.stages) if stage.teacher is not None}
    return {
        number: config.name_of(choice)
        for number, choice in taught.items()
        if registry.build("teacher", choice).full_supervision
    }


def lessons_of(
    dataset: Dataset, choice: config.Component, before: Before | None, registry: Registry
) -> dict[str, FloatArray]:
    """Targets (C, T) of each training video, over the snippets that all streams share; NaN where nothing is said.

    Args:
        dataset: videos and times.
        choice: which teacher.
        before: of the stage before, or None where there is none.
        registry: where components are found.

    Raises:
        PluginError: the teacher fails on a video, cannot teach it, or what it answers breaks its contract.
    """
    teacher = registry.build("teacher", choice)
    found = None
    if before is not None:
        settings, predictions = before
        found = localize(dataset, dataset.training, predictions, settings, registry).detections
    lessons = {}
    for video in dataset.training:
        said = None if before is None else mean(fuse(before[1][video.name], before[0]))
        edges = dataset.edges(video, dataset.shared_length(video))
        known = dataset.taught(video, teacher.full_supervision)
        try:
            with during(f"fails on video {video.name!r}"):
                lessons[video.name] = teacher(said, None if found is None else found[video.name], edges, known)
        except ValueError as error:
            raise PluginError(f"{teacher.component}, video {video.name!r}: {one_line(error)}") from error
    if all(np.isnan(lesson).all() for lesson in lessons.values()):
        raise PluginError(f"{teacher.component} says nothing of any snippet of the training videos")
    return lessons


def untaught(lessons: Iterable[FloatArray], labels: FloatArray) -> IntArray:
    """The classes of which a teacher says nothing in any training video that has them, as indices.

    Nothing is NaN or zero, and also what nowhere comes above a tenth of the highest target of all classes: a teacher
    that makes the word of the stage before sum to 1 leaves a class that never wins a small share everywhere, and to
    learn that is to learn that the class is not there. The highest of all is the measure because a teacher may speak
    low of everything. A class without a training video is not asked for.

    Args:
        lessons: targets (C, T) of each training video.
        labels: (N, C) of the same videos, positive where a video has the class.
    """
    highest = np.zeros(labels.shape[1])
    for lesson, present in zip(lessons, labels > 0, strict=True):
        highest[present] = np.fmax(highest, np.fmax.reduce(lesson, axis=1))[present]  # which passes over NaN
    return np.flatnonzero((labels > 0).any(0) & (highest <= NOTHING * highest.max()))


def of_untaught(classes: Sequence[str], labels: FloatArray, untaught: IntArray) -> str:
    """The words for classes of which a teacher says nothing."""
    videos = int((labels[:, untaught] > 0).any(1).sum())
    name = classes[untaught[0]]
    if len(untaught) == 1:
        return f"nothing of class {name!r} in any of its {videos} training videos"
    return f"nothing of {len(untaught)} classes, such as {name!r}, in any of their {videos} training videos"
