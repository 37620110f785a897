"""The paired bootstrap, against a slow twin that draws and copies in the obvious way."""

import numpy as np
import pytest
from wtal_core import bootstrap
from wtal_core.bootstrap import difference, drawn, parts, resampled, times_drawn
from wtal_core.kinds.evaluator import Instances
from wtal_core.kinds.suppressor import VideoDetections
from wtal_core.prediction.detect import Localized


class Share:
    """An evaluator by the contract: which share of all instances has a detection that begins and ends with it."""

    def __init__(self):
        self.seen = []

    def __call__(self, truth, detections, classes, scores):
        assert list(truth) == list(detections) == list(scores)
        self.seen.append(sorted(truth))
        found = [
            any((start, end) == pair for pair in zip(detections[name].start, detections[name].end, strict=True))
            for name, one in truth.items()
            for label, start, end in zip(*one, strict=True)
            if label >= 0
        ]
        return type("Verdict", (), {"mean_ap": np.array([np.mean(found), np.mean(found) / 2])})


def example(seed=0, videos=5):
    generator = np.random.default_rng(seed)
    truth, detections, scores = {}, {}, {}
    for number in range(videos):
        count = 0 if number == 1 else int(generator.integers(1, 4))
        label = np.full(count, -1 if number == 2 else 0)
        start = np.arange(count, dtype=float)
        hit = generator.random(count) < 0.5
        truth[f"v{number}"] = Instances(label, start, start + 1)
        detections[f"v{number}"] = VideoDetections(label[hit], start[hit], start[hit] + 1, np.ones(hit.sum()))
        scores[f"v{number}"] = np.ones(1)
    return truth, Localized(detections, scores)


def slowly(truth, localized, times):
    """Of each resample, the share of instances that are found, copy by copy."""
    values = []
    for counts in times:
        found = []
        for (name, one), count in zip(truth.items(), counts, strict=True):
            for _ in range(count):
                for label, start in zip(one.label, one.start, strict=True):
                    if label >= 0:
                        found.append(start in localized.detections[name].start)
        values.append(0.75 * sum(found) / len(found) if found else np.nan)
    return np.array(values)


def test_resamples_equal_a_slow_twin():
    truth, localized = example()
    times = times_drawn(5, 300)
    times[7] = [0, 3, 2, 0, 0]  # nothing but videos without an instance
    values = resampled(Share(), truth, localized, ["a"], times)
    np.testing.assert_allclose(values, slowly(truth, localized, times), rtol=1e-12)
    assert np.isnan(values[7])


def test_each_draw_has_as_many_videos_and_the_same_ones_again():
    times = times_drawn(5)
    assert times.shape == (1000, 5)
    assert (times.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(times, times_drawn(5))
    assert list(parts()) == [(0, 250), (250, 500), (500, 750), (750, 1000)]


def test_a_video_drawn_twice_has_two_names():
    assert drawn({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 0, "c": 1}) == {"a": 1, "a#2": 1, "c": 3}
    assert drawn({"a": 1, "a#2": 2}, {"a": 2, "a#2": 1}) == {"a": 1, "a##2": 1, "a#2": 2}


def test_interval_of_the_difference_holds_the_middle_95_percent():
    generator = np.random.default_rng(0)
    one, other = generator.random((3, 1000)), generator.random((2, 1000))
    other[:, 0] = np.nan
    answer = difference(one, other, (0.5, 0.4))
    apart = sorted(one.mean(0)[1:] - other.mean(0)[1:])
    assert answer.difference == pytest.approx(0.1)
    assert apart[23] <= answer.low <= apart[25]
    assert apart[973] <= answer.high <= apart[975]
    assert answer.draws == 999


def test_equal_detections_differ_by_nothing():
    truth, localized = example()
    values = resampled(Share(), truth, localized, ["a"], times_drawn(5, 50))[None]
    assert difference(values, values, (0.3, 0.3))[:3] == (0, 0, 0)


def test_number_of_draws_is_told():
    assert bootstrap.DRAWS == 1000
