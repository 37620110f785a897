import re

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_localize import Threshold, propose


def rows(detections):
    return list(zip(*(array.tolist() for array in detections), strict=True))


@st.composite
def videos(draw):
    C, T = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    values = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.7, 1.0])  # few values, many ties
    activation = np.array(draw(st.lists(values, min_size=C * T, max_size=C * T))).reshape(C, T)
    scores = np.array(draw(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.9]), min_size=C, max_size=C)))
    edges = np.cumsum(draw(st.lists(st.floats(0.01, 3), min_size=T + 1, max_size=T + 1)))
    return activation, scores, edges


fractions = st.floats(0, 1)
score_names = st.sampled_from(["mean", "max"])


@given(videos(), st.lists(fractions, min_size=1, max_size=4), st.sampled_from([0.0, 0.1, 1.0]), score_names)
def test_equals_the_slow_twin(video, thresholds, class_threshold, score):
    got = rows(Threshold(thresholds, class_threshold, score)(*video))
    expected = naive.propose(*video, thresholds, class_threshold, score)
    assert [row[:3] for row in got] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in got], [row[3] for row in expected], rtol=1e-12)


@given(videos(), fractions, fractions)
def test_thresholds_nest_inside_the_video(video, one, other):
    low, high = (rows(propose(*video, threshold=f)) for f in sorted((one, other)))
    for label, start, end, _ in high:
        assert video[2][0] <= start < end <= video[2][-1]
        assert any(label == c and s <= start and end <= e for c, s, e, _ in low)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0, [0.1, 0.9]])
@pytest.mark.parametrize("T", [1, 5])
def test_constant_activation_is_one_proposal(threshold, T):
    detections = propose(np.full((1, T), 0.3), [1.0], np.arange(T + 1) * 2.0, threshold=threshold)
    assert rows(detections) == [(0, 0.0, 2.0 * T, pytest.approx(0.3, rel=1e-15))]


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0])
def test_zero_activation_is_none(threshold):
    assert rows(propose(np.zeros((2, 5)), [1.0, 1.0], np.arange(6), threshold=threshold)) == []


@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 0)])
def test_empty_video_and_no_classes(shape):
    C, T = shape
    detections = propose(np.zeros(shape), np.ones(C), np.arange(T + 1))
    assert [array.dtype for array in detections] == [np.int64, np.float64, np.float64, np.float64]
    assert all(array.shape == (0,) for array in detections)


def test_arg_max_class_is_kept_when_none_passes():
    activation = np.ones((3, 2))
    assert rows(propose(activation, [0.01, 0.05, 0.05], [0, 1, 2])) == [(1, 0.0, 2.0, 1.0)]
    assert [row[0] for row in rows(propose(activation, [0.1, 0.05, 0.3], [0, 1, 2]))] == [0, 2]


GOOD = {"activation": np.ones((2, 3)), "class_scores": np.ones(2), "edges": np.arange(4.0)}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"activation": np.ones(3)}, "activation must have shape (C, T), got (3,)"),
        (
            {"activation": [[1, 1, 1], [1, np.nan, 1]]},
            "activation must be finite, got nan for class 1 at snippet 1",
        ),
        (
            {"activation": [[1, 1, -0.5], [1, 1, 1]]},
            "activation must be zero or more, got -0.5 for class 0 at snippet 2",
        ),
        ({"class_scores": np.ones(3)}, "class_scores must have shape (C,) = (2,) as activation has, got (3,)"),
        ({"class_scores": [1, np.inf]}, "class_scores must be finite, got inf for class 1"),
        ({"edges": np.arange(3)}, "edges must have shape (T + 1,) = (4,) for activation (2, 3), got (3,)"),
        ({"edges": [0, 1, np.nan, 3]}, "edges must be finite, got nan"),
        ({"edges": [0, 1, 1, 3]}, "edges must increase, got 1.0 before 1.0 at snippet 1"),
        ({"threshold": 1.5}, "threshold must be one or more fractions in [0, 1], got 1.5"),
        ({"threshold": []}, "threshold must be one or more fractions in [0, 1], got []"),
        ({"threshold": np.nan}, "threshold must be one or more fractions in [0, 1], got nan"),
        ({"class_threshold": -0.1}, "class_threshold must be in [0, 1], got -0.1"),
        ({"score": "median"}, "score must be 'mean' or 'max', got 'median'"),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        propose(**{**GOOD, **bad})
