import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wtal_eval import PROTOCOLS, Detections, Segments, compare, match
from wtal_eval.comparison import resampled_map

from . import naive
from .test_eval_protocols import arrays, detection_sets, ground_truths

CLASSES = ("jump", "run", "swim")


def matched(ground_truth, detections, protocol="activitynet", tiou=(0.25, 0.5)):
    return match(arrays(Segments, ground_truth), arrays(Detections, detections), CLASSES, PROTOCOLS[protocol], tiou)


def repeated(videos, weights):
    return {f"{name}#{i}": rows for name, rows in videos.items() for i in range(weights.get(name, 0))}


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14-11point"])
@settings(max_examples=100, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets, data=st.data())
def test_weights_equal_repeated_videos(protocol, ground_truth, detections, data):
    # Distinct scores: the copies of tied detections would interleave, which weights cannot say.
    scores = iter(data.draw(st.permutations(range(40))))
    detections = {v: [(c, s, e, float(next(scores))) for c, s, e, _ in rows] for v, rows in detections.items()}
    matching = matched(ground_truth, detections, protocol)
    weights = {v: data.draw(st.integers(0, 3)) for v in matching.videos}
    result = resampled_map(matching, np.array([[weights[v] for v in matching.videos]], np.int64).reshape(1, -1))
    literal = naive.average_precision(
        protocol, repeated(ground_truth, weights), repeated(detections, weights), 3, (0.25, 0.5)
    )
    present = ~np.isnan(literal[0])
    expected = np.array(literal)[:, present].mean(axis=1) if present.any() else np.zeros(2)
    np.testing.assert_allclose(result[0], expected, rtol=0, atol=1e-12)


GROUND_TRUTH = {f"v{i}": [(i % 3, 0.0, 10.0)] for i in range(12)}
GOOD = {f"v{i}": [(i % 3, 0.0, 10.0, 0.9 + i / 1000)] for i in range(12)}
BAD = {f"v{i}": [(i % 3, 0.0, 10.0 if i % 2 else 4.0, 0.9 + i / 1000)] for i in range(12)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_difference_and_interval(protocol):
    comparison = compare(matched(GROUND_TRUTH, GOOD, protocol), matched(GROUND_TRUTH, BAD, protocol), resamples=200)
    assert comparison.difference[0] == 0
    assert comparison.difference[1] > 0
    assert (comparison.low <= comparison.difference).all()
    assert (comparison.difference <= comparison.high).all()
    assert comparison.high[1] > comparison.low[1] > 0
    assert comparison.average[0] == pytest.approx(comparison.difference.mean(), abs=1e-15)
    assert comparison.resamples == 200


def test_interval_is_the_middle_95_percent_of_the_resampled_differences():
    first, second = matched(GROUND_TRUTH, GOOD), matched(GROUND_TRUTH, BAD)
    comparison = compare(first, second, resamples=201)
    weights = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 201)
    apart = np.sort(resampled_map(first, weights)[:, 1] - resampled_map(second, weights)[:, 1])
    assert (comparison.low[1], comparison.high[1]) == pytest.approx((apart[5], apart[195]), abs=1e-15)
    assert apart[5] < apart[10] < apart[190] < apart[195]


def test_detections_against_themselves_do_not_differ():
    comparison = compare(matched(GROUND_TRUTH, BAD), matched(GROUND_TRUTH, BAD), resamples=50)
    assert not comparison.difference.any()
    assert not comparison.low.any()
    assert not comparison.high.any()


def test_seed_decides():
    first, second = matched(GROUND_TRUTH, GOOD), matched(GROUND_TRUTH, BAD)
    one, same, other = (compare(first, second, 50, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.low, same.low)
    assert (one.low != other.low).any()


def test_small_steps_give_the_same(monkeypatch):
    first, second = matched(GROUND_TRUTH, GOOD), matched(GROUND_TRUTH, BAD)
    before = compare(first, second, 50)
    monkeypatch.setattr("wtal_eval.comparison.WEIGHTS_AT_ONCE", 8)
    after = compare(first, second, 50)
    np.testing.assert_array_equal(before.low, after.low)
    np.testing.assert_array_equal(before.high, after.high)


@pytest.mark.parametrize(
    "other",
    [
        matched(GROUND_TRUTH, BAD, "thumos14"),
        matched(GROUND_TRUTH, BAD, tiou=(0.5,)),
        matched({"v0": [(0, 0.0, 10.0)]}, BAD),
        matched({**GROUND_TRUTH, "v0": [(0, 0.0, 9.0)]}, BAD),
    ],
)
def test_different_settings_are_refused(other):
    message = "both need the same ground truth, classes, protocol and thresholds"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compare(matched(GROUND_TRUTH, GOOD), other)
