"""Collapse: a trained model that says the same of every video, or the same of every snippet.

Nothing else shows it at once: the loss falls a little and stays, and the detections are somewhere. What varies is
measured in log-odds, log(p / (1 - p)), as a standard deviation. So the scale does not matter: .0001 and .0002 differ as
.33 and .5 do, which is how a ranking and a relative threshold see them, and a class that is rare is held to the same as
one that is not. Closer than `SURE` to 0 or 1 all is alike.

The limits lie below what models have that have learnt nothing: on the demo's recordings the attention of untrained ones
deviates by .12 to .21 between snippets and class scores by as much between videos, where a longer video, whose mean is
taken, and fewer features leave less. Trained well, the least is .8 for attention and .6 for the scores of a class. In
between it is a cliff: under a rising weight decay MAAN's and SoftMaxNorm's attention goes from .7 at once to .06 and to
.0000003, and the mAP from 60 to 4, while the class scores still deviate by .3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wtal_core import config
from wtal_core.contracts import FloatArray
from wtal_core.prediction.predict import StreamPrediction

#: The deviation of log-odds below which the snippets of a video count as one.
SNIPPETS_ALIKE = 0.1
#: The same of videos, which is less, because pooling takes means.
VIDEOS_ALIKE = 0.02
#: Probabilities closer than this to 0 or 1 are 0 or 1: no threshold tells them apart.
SURE = 1e-6
#: Fewer values than this may be alike by chance: of videos, and of the snippets of a video.
FEW = 3
#: Fewer videos than this say nothing of one class where the others vary: among many classes one is alike by chance.
FEW_FOR_A_CLASS = 10
#: The share of videos in which a map must be constant; a few may be so by what they show.
NEARLY_ALL = 0.9


class _Map(NamedTuple):
    """What is looked at of an attention or a response (C, T) of one video."""

    length: int  # T
    flat: bool  # one value, to the bit
    alike: bool  # hardly differs between snippets, of any class
    mean: float

    @classmethod
    def of(cls, one: FloatArray) -> _Map:
        flat = _flat(one)
        # The first class that varies is the answer, and mostly the first of all.
        alike = flat or all(spread(row, 0) < SNIPPETS_ALIKE for row in one)
        return cls(one.shape[1], flat, alike, float(one.mean()))


def collapses(
    predictions: Iterable[StreamPrediction],
    differs: NDArray[np.bool_],
    classes: Sequence[str],
    untrained: StreamPrediction,
) -> list[str]:
    """What a stream's models say alike of all videos, or of all snippets of nearly every video, a sentence each.

    Fewer than `FEW` videos, or videos of fewer than `FEW` snippets, tell nothing. A map that nobody learns, such as the
    attention of one on all that is seen, is no collapse: it had one value, to the bit, before training too.

    Args:
        predictions: of the videos, gone through once.
        differs: (C,) bool, whether videos should differ in a class: some have it and some do not.
        classes: the C names.
        untrained: what the same model says of any video before it is trained.
    """
    scores: list[FloatArray] = []
    maps: dict[str, list[_Map]] = {"attention": [], "response": []}
    for one in predictions:
        scores.append(one.class_scores)
        for name, of_videos in maps.items():
            of_videos.append(_Map.of(getattr(one, name)))
    found = list(_constant_classes(scores, differs, classes))
    for name, of_videos in maps.items():
        found += _constant_maps(name, of_videos, _flat(getattr(untrained, name)))
    return found


def _constant_classes(
    of_videos: Sequence[FloatArray], differs: NDArray[np.bool_], classes: Sequence[str]
) -> Iterator[str]:
    if len(of_videos) < FEW or not differs.any():
        return
    scores = np.stack(of_videos)  # (N, C)
    alike = differs & (spread(scores, 0) < VIDEOS_ALIKE)
    if (alike == differs).all():
        yield f"class scores hardly differ between the {len(scores)} videos ({_about(scores.mean(0)[differs])})"
        return
    if len(scores) < FEW_FOR_A_CLASS:
        return
    for word, chosen in (
        ("never", alike & (scores.mean(0) < 0.5)),
        ("always", alike & (scores.mean(0) >= 0.5)),
    ):
        if number := chosen.sum():
            name = repr(classes[int(chosen.argmax())])
            who = f"class {name} is" if number == 1 else f"{number} of {len(classes)} classes, such as {name}, are"
            yield (
                f"{who} {word} predicted, as scores hardly differ between the {len(scores)} videos "
                f"({_about(scores.mean(0)[chosen])})"
            )


def _constant_maps(name: str, maps: Sequence[_Map], untrained_flat: bool) -> Iterator[str]:
    told = [one for one in maps if one.length >= FEW]
    if len(told) < FEW or (untrained_flat and all(one.flat for one in told)):
        return
    constant = [one for one in told if one.alike]
    if len(constant) >= NEARLY_ALL * len(told):
        yield (
            f"{name} hardly differs between snippets in {len(constant)} of {len(told)} videos "
            f"({_about(np.array([one.mean for one in constant]))})"
        )


def _flat(one: FloatArray) -> bool:
    """Whether a map holds one value, to the bit."""
    return bool((one == one.flat[0]).all())


def spread(probabilities: FloatArray, axis: int) -> FloatArray:
    """The standard deviation of log-odds; NaN, which is below no limit, where a probability is NaN."""
    inner = np.clip(probabilities, SURE, 1 - SURE)
    deviation: FloatArray = np.std(np.log(inner / (1 - inner)), axis=axis)
    return deviation


def _about(values: FloatArray) -> str:
    """The lowest and the highest of some values, or the one that they are."""
    ends = dict.fromkeys(f"{value:.2g}" for value in (values.min(), values.max()))
    return f"about {' to '.join(ends)}"


#: Settings of training that make models collapse: what to do with one, and how far a value lies beyond the bound from
#: which it is suspicious, 1 at the bound. Ours: a weight decay of 1e-3 with a dropout of .5 has done it.
_SUSPECTS: dict[str, tuple[str, Callable[[float], float]]] = {
    "learning_rate": ("lower", lambda value: value / 1e-2),
    "weight_decay": ("lower", lambda value: value / 1e-3),
    "feature_dropout": ("lower", lambda value: 0.5 / (1 - value)),
    "iterations": ("raise", lambda value: 200 / value),
}


def advice(settings: config.StageSettings) -> str:
    """What to do about a collapse: which of a stage's settings are the farthest out of bounds, two at most."""
    values = {name: getattr(settings.training, name) for name in _SUSPECTS}
    beyond = {name: excess(values[name]) for name, (_, excess) in _SUSPECTS.items()}
    worst = max(beyond.values())
    if worst < 1:
        return "no setting of training is unusual, so try another seed, or several models in a stage"
    own = settings.stage.training
    words: list[str] = []
    for name in sorted(beyond, key=lambda name: -beyond[name]):
        if beyond[name] >= max(1, worst / 10):  # one that is far better cannot be the cause
            section = f"stages[{settings.number}].training" if name in own else "training"
            words.append(f"{_SUSPECTS[name][0]} {section}.{name} ({values[name]:g})")
    return " or ".join(words[:2])
