import re

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_localize import Detections, NonMaximumSuppression, nms


def pack(rows):
    columns = list(zip(*rows, strict=True)) or [()] * 4
    return Detections(*(np.array(c, d) for c, d in zip(columns, (np.int64, float, float, float), strict=True)))


def unpack(detections):
    return list(zip(*(array.tolist() for array in detections), strict=True))


# Few distinct values, so that ties, duplicates and touching intervals are common.
times = st.integers(0, 12).map(lambda n: n / 2)
detection = st.tuples(
    st.integers(0, 2), times, times.map(lambda d: d + 0.5), st.sampled_from([-1.0, -0.2, 0.0, 0.1, 0.5, 0.9])
).map(lambda d: (d[0], d[1], d[1] + d[2], d[3]))
lists = st.lists(detection, max_size=30)
thresholds = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])


@given(lists, thresholds)
def test_equals_the_slow_twin(rows, threshold):
    assert unpack(NonMaximumSuppression(threshold)(pack(rows))) == naive.nms(rows, threshold)


@given(lists, thresholds, st.randoms(use_true_random=False))
def test_input_order_does_not_matter(rows, threshold, random):
    shuffled = random.sample(rows, len(rows))
    suppress = NonMaximumSuppression(threshold)
    assert unpack(suppress(pack(rows))) == unpack(suppress(pack(shuffled)))


@given(lists, thresholds)
def test_kept_pairs_overlap_by_at_most_the_threshold(rows, threshold):
    kept = unpack(NonMaximumSuppression(threshold)(pack(rows)))
    for i, a in enumerate(kept):
        for b in kept[:i]:
            assert a[0] != b[0] or naive.tiou(a[1:3], b[1:3]) <= threshold


def test_seconds_are_not_pixels():
    # With pixel lengths these two overlap by (0.5 + 1) / (1.5 + 1) = 0.6; in seconds by 1/3.
    rows = [(0, 0.0, 1.0, 0.9), (0, 0.5, 1.5, 0.8)]
    assert unpack(NonMaximumSuppression(0.5)(pack(rows))) == rows


def test_negative_scores_and_class_zero_survive():
    rows = [(1, 0.0, 1.0, 0.5), (0, 0.0, 1.0, -0.5)]
    assert unpack(NonMaximumSuppression()(pack(rows))) == rows


def test_touching_intervals_do_not_overlap():
    rows = [(0, 0.0, 1.0, 0.9), (0, 1.0, 2.0, 0.8)]
    assert unpack(NonMaximumSuppression(0.0)(pack(rows))) == rows


def test_nothing_gives_nothing():
    detections = NonMaximumSuppression()(pack([]))
    assert [array.dtype for array in detections] == [np.int64, np.float64, np.float64, np.float64]
    assert nms([], [], []).dtype == np.int64


def test_ties_go_to_the_earlier_and_shorter():
    assert nms([1, 0, 0], [2, 3, 2], [0.5, 0.5, 0.5], threshold=0.5).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [(0, 0, 1, 1), (4, 2, 2, 1)],
            "detections must end after they start, got [2.0, 2.0) at 1 (class 4); drop zero-length intervals first",
        ),
        ([(3, 0, 1, np.nan)], "detections.score must be finite, got nan at 0 (class 3)"),
        ([(3, 0, np.inf, 1)], "detections.end must be finite, got inf at 0 (class 3)"),
    ],
)
def test_bad_values(rows, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        NonMaximumSuppression()(pack(rows))


def test_bad_shapes_and_labels():
    message = "detections: label, start, end and score must have one shape (N,), got (2,), (2,), (1,), (2,)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nms([0, 1], [1], [1, 1])
    message = "detections.label must hold integer class indices, got dtype float64"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        nms([0], [1], [1], [0.5])


@pytest.mark.parametrize("threshold", [-0.1, 1.1, np.nan])
def test_bad_threshold(threshold):
    message = f"threshold must be a tIoU in [0, 1], got {threshold}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nms([0], [1], [1], threshold=threshold)
