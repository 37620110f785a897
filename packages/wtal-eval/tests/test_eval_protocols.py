import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wtal_eval import ActivityNet, Classification, Detections, InputError, Segments, Thumos14, Thumos14ElevenPoint

from . import naive

COMPONENTS = {"activitynet": ActivityNet, "thumos14": Thumos14, "thumos14-11point": Thumos14ElevenPoint}
CLASSES = ("jump", "run", "swim")
THRESHOLDS = (0.0, 0.25, 0.3, 0.5, 1.0)
NAN, INF = float("nan"), float("inf")

times = st.integers(0, 8).map(lambda k: k / 4)  # a coarse grid: equal tIoU, zero lengths and duplicates are common
spans = st.tuples(times, times).map(sorted)
instances = st.lists(st.tuples(st.integers(-1, 1), spans).map(lambda x: (x[0], *x[1])), max_size=6)
found = st.lists(
    st.tuples(st.integers(0, 2), spans, st.integers(0, 3).map(float)).map(lambda x: (x[0], *x[1], x[2])), max_size=8
)
# Both know the video "a", and some video has an instance: else there is nothing to score, which is refused.
ground_truths = st.fixed_dictionaries({"a": instances}, optional={"b": instances, "c": instances}).filter(
    lambda videos: any(label >= 0 for rows in videos.values() for label, _, _ in rows)
)
detection_sets = st.fixed_dictionaries({"a": found}, optional=dict.fromkeys("bcd", found))


def arrays(kind, videos):
    out = {}
    for name, rows in videos.items():
        columns = list(zip(*rows, strict=True)) or [()] * len(kind._fields)
        out[name] = kind(np.array(columns[0], np.int64), *(np.array(column, float) for column in columns[1:]))
    return out


def score(component, ground_truth, detections, classes=CLASSES):
    return component(arrays(Segments, ground_truth), arrays(Detections, detections), classes)


@pytest.mark.parametrize("protocol", COMPONENTS)
@settings(max_examples=100, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets)
def test_equals_the_literal_twin(protocol, ground_truth, detections):
    result = score(COMPONENTS[protocol](THRESHOLDS), ground_truth, detections)
    expected = np.array(naive.average_precision(protocol, ground_truth, detections, 3, THRESHOLDS))
    np.testing.assert_allclose(result.average_precision, expected, rtol=0, atol=1e-12)
    present = ~np.isnan(expected[0])
    mean = expected[:, present].mean(axis=1) if present.any() else np.zeros(len(THRESHOLDS))
    np.testing.assert_allclose(result.mean_ap, mean, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets)
def test_classification_equals_the_literal_twin(ground_truth, detections):
    result = score(Classification(), ground_truth, detections)
    expected = np.array([naive.classification(ground_truth, detections, 3)])
    np.testing.assert_allclose(result.average_precision, expected, rtol=0, atol=1e-12)
    assert result.tiou_thresholds.tolist() == [0.0]


levels = st.lists(st.integers(-1, 3).map(float), min_size=3, max_size=3)
score_sets = st.fixed_dictionaries(dict.fromkeys("abc", levels))


@settings(max_examples=100, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets, class_scores=score_sets)
def test_class_scores_rank_the_videos_where_they_are_given(ground_truth, detections, class_scores):
    given_ = arrays(Segments, ground_truth), arrays(Detections, detections), CLASSES
    scores = {name: np.array(row) for name, row in class_scores.items()}
    result = Classification()(*given_, scores)
    expected = np.array([naive.classification(ground_truth, detections, 3, class_scores)])
    np.testing.assert_allclose(result.average_precision, expected, rtol=0, atol=1e-12)
    assert result.notes == ()
    for component in (c(THRESHOLDS) for c in COMPONENTS.values()):  # which localize, and have no use for them
        one, other = component(*given_), component(*given_, scores)
        np.testing.assert_array_equal(one.average_precision, other.average_precision)
        assert one.notes == other.notes


@pytest.mark.parametrize(
    ("scores", "got"), [({}, "[]"), ({"a": [1.0, 2.0]}, "[1.0, 2.0]"), ({"a": [1.0, NAN, 0.0]}, "[1.0, nan, 0.0]")]
)
def test_wrong_class_scores_are_refused(scores, got):
    message = f"class scores of video 'a': expected 3 finite numbers, got {got}"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Classification()({"a": Segments([0], [0.0], [1.0])}, {}, CLASSES, scores)


@pytest.mark.parametrize("component", [*(c(THRESHOLDS) for c in COMPONENTS.values()), Classification()])
@settings(max_examples=30, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets, data=st.data())
def test_neither_video_nor_detection_order_decides(component, ground_truth, detections, data):
    before = score(component, ground_truth, detections)
    shuffled = {v: data.draw(st.permutations(detections[v])) for v in data.draw(st.permutations(sorted(detections)))}
    turned = dict(reversed(ground_truth.items()))
    after = score(component, turned, shuffled)
    np.testing.assert_array_equal(before.average_precision, after.average_precision)
    assert before.notes == after.notes


@settings(max_examples=30, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets, data=st.data())
def test_order_of_the_ground_truth_does_not_decide_in_activitynet(ground_truth, detections, data):
    shuffled = {v: data.draw(st.permutations(rows)) for v, rows in ground_truth.items()}
    before = score(ActivityNet(THRESHOLDS), ground_truth, detections)
    after = score(ActivityNet(THRESHOLDS), shuffled, detections)
    np.testing.assert_array_equal(before.average_precision, after.average_precision)


def test_order_of_the_ground_truth_decides_in_thumos():
    instances = [(0, 0.0, 10.0), (0, 4.0, 12.0)]  # the first overlaps both detections enough, the second only one
    detections = {"a": [(0, 0.0, 8.0, 0.9), (0, 0.0, 6.0, 0.8)]}
    forward = score(Thumos14([0.3]), {"a": instances}, detections, ["jump"])
    backward = score(Thumos14([0.3]), {"a": instances[::-1]}, detections, ["jump"])
    assert forward.mean_ap.tolist() == [0.5]
    assert backward.mean_ap.tolist() == [1.0]


def test_threshold_is_reached_in_activitynet_and_exceeded_in_thumos():
    ground_truth, detections = {"a": [(0, 0.0, 2.0)]}, {"a": [(0, 0.0, 1.0, 0.9)]}
    assert score(ActivityNet([0.5]), ground_truth, detections, ["jump"]).mean_ap.tolist() == [1.0]
    assert score(Thumos14([0.5]), ground_truth, detections, ["jump"]).mean_ap.tolist() == [0.0]


def test_activitynet_tries_the_next_instance_when_the_best_is_taken():
    ground_truth = {"a": [(0, 0.0, 10.0), (0, 4.0, 12.0)]}
    detections = {"a": [(0, 0.0, 10.0, 0.9), (0, 1.0, 10.0, 0.8)]}
    result = score(ActivityNet([0.5, 0.6]), ground_truth, detections, ["jump"])
    assert result.mean_ap.tolist() == [1.0, 0.5]  # tIoU of the second detection: 0.9 (taken), then 6 / 11


def test_of_equal_tiou_the_instance_nearer_to_an_end_of_the_detection_is_taken():
    ground_truth = {"a": [(0, 1.0, 2.0), (0, 7.5, 8.5)]}
    detections = {"a": [(0, 0.0, 9.0, 0.9), (0, 1.0, 2.0, 0.8)]}
    assert score(ActivityNet([0.1]), ground_truth, detections, ["jump"]).mean_ap.tolist() == [1.0]


def test_ambiguous_intervals_forgive_only_detections_without_a_match():
    ground_truth = {"a": [(0, 0.0, 2.0), (-1, 5.0, 6.0)]}
    detections = {"a": [(0, 4.0, 5.5, 0.9), (0, 0.0, 2.0, 0.8), (0, 6.0, 7.0, 0.7)]}
    assert score(Thumos14([0.5]), ground_truth, detections, ["jump"]).mean_ap.tolist() == [1.0]
    result = score(ActivityNet([0.5]), ground_truth, detections, ["jump"])
    assert result.mean_ap.tolist() == [0.5]
    assert result.notes == ("1 ambiguous interval not used: activitynet does not know them",)


def test_classification_leaves_out_videos_without_ground_truth():
    detections = {"a": [(0, 0.0, 1.0, 0.5)], "b": [(0, 0.0, 1.0, 0.9)], "c": []}
    result = score(Classification(), {"a": [(0, 5.0, 6.0)]}, detections, ["jump"])
    assert result.mean_ap.tolist() == [1.0]
    assert result.notes == ("1 detection left out, in 1 video without ground truth: b",)


def test_zero_lengths_do_not_match_each_other():
    ground_truth, detections = {"a": [(0, 1.0, 1.0)]}, {"a": [(0, 1.0, 1.0, 0.9)]}
    for component in COMPONENTS.values():
        assert score(component([0.0, 0.5]), ground_truth, detections, ["jump"]).mean_ap.tolist() == [0.0, 0.0]


def test_duplicates_are_false():
    ground_truth, detections = {"a": [(0, 0.0, 1.0)], "b": [(0, 0.0, 1.0)]}, {}
    detections["a"] = [(0, 0.0, 1.0, 0.9), (0, 0.0, 1.0, 0.9)]
    detections["b"] = [(0, 0.0, 1.0, 0.5)]
    for component, expected in ((ActivityNet, (1 + 2 / 3) / 2), (Thumos14, (1 + 2 / 3) / 2)):
        assert score(component([0.5]), ground_truth, detections, ["jump"]).mean_ap[0] == pytest.approx(
            expected, abs=1e-15
        )


def test_class_without_detection_counts_zero_and_class_without_ground_truth_does_not_count():
    ground_truth = {"a": [(0, 0.0, 1.0), (1, 0.0, 1.0)]}
    detections = {"a": [(0, 0.0, 1.0, 0.9), (2, 0.0, 1.0, 0.9)]}
    result = score(ActivityNet([0.5]), ground_truth, detections)
    np.testing.assert_array_equal(result.average_precision, [[1.0, 0.0, np.nan]])
    assert result.mean_ap.tolist() == [0.5]
    assert result.notes == ("1 detection left out, of 1 class without ground truth: swim",)
    np.testing.assert_array_equal(result.per_class["jump"], [1.0])


@pytest.mark.parametrize("component", [ActivityNet(), Thumos14(), Thumos14ElevenPoint(), Classification()])
def test_nothing_to_score(component):
    one = {"a": Detections([0], [0.0], [1.0], [0.5])}
    for empty in ({}, {"a": Segments([], [], [])}, {"a": Segments([-1], [0.0], [1.0])}):
        message = (
            f"the ground truth has {len(empty)} video{'' if empty else 's'} and no instance of any class, so there is "
            "nothing to score: choose a subset with annotations, or exclude fewer videos"
        )
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            component(empty, one, ["jump"])
    silent = component({"a": Segments([0], [0.0], [1.0])}, {"a": Detections([], [], [], [])}, ["jump"])
    assert silent.mean_ap.tolist() == [0.0] * len(silent.tiou_thresholds)
    assert silent.notes == ("no detection to score: every average precision is 0",)


def test_many_pairs_in_small_steps_give_the_same(monkeypatch):
    generator = np.random.default_rng(0)
    start = generator.uniform(0, 50, 300)
    ground_truth = {"a": [(0, s, s + 3.0) for s in start[:100]]}
    detections = {"a": [(0, s, s + 2.5, float(k % 17)) for k, s in enumerate(start[100:])]}
    before = score(ActivityNet(), ground_truth, detections, ["jump"])
    monkeypatch.setattr("wtal_eval.matching.PAIRS_AT_ONCE", 150)
    after = score(ActivityNet(), ground_truth, detections, ["jump"])
    np.testing.assert_array_equal(before.average_precision, after.average_precision)
    expected = naive.average_precision("activitynet", ground_truth, detections, 1, before.tiou_thresholds)
    np.testing.assert_allclose(after.average_precision, expected, rtol=0, atol=1e-12)


def test_any_object_with_the_arrays_will_do():
    ground_truth = {"a": SimpleNamespace(label=np.array([0]), start=np.array([0]), end=np.array([2]))}
    found = SimpleNamespace(
        label=np.array([0]), start=np.array([0]), end=np.array([2]), score=np.array([1], np.float32)
    )
    assert ActivityNet([0.5])(ground_truth, {"a": found}, ["jump"]).mean_ap.tolist() == [1.0]


GOOD = Segments(np.array([0]), np.array([0.0]), np.array([1.0]))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (([0], [0.0], [1.0], [NAN]), InputError, "detections of video 'b': score nan is not finite"),
        (([0], [0.0], [1.0], [-INF]), InputError, "detections of video 'b': score -inf is not finite"),
        (([0], [NAN], [1.0], [1.0]), InputError, "detections of video 'b': start nan is not finite"),
        (([0], [0.0], [INF], [1.0]), InputError, "detections of video 'b': end inf is not finite"),
        (([0], [2.0], [1.0], [1.0]), InputError, "detections of video 'b': interval [2.0, 1.0] ends before it starts"),
        (([1], [0.0], [1.0], [1.0]), InputError, "detections of video 'b': label 1 is not in [0, 1)"),
        (([-1], [0.0], [1.0], [1.0]), InputError, "detections of video 'b': label -1 is not in [0, 1)"),
        (
            ([0.0], [0.0], [1.0], [1.0]),
            TypeError,
            "detections of video 'b': label must hold class indices, not float64",
        ),
        (([0], ["x"], [1.0], [1.0]), TypeError, "detections of video 'b': start must hold numbers, not <U1"),
        (
            ([0], [0.0], [1.0, 2.0], [1.0]),
            InputError,
            "detections of video 'b': arrays must be one-dimensional and equally long, not (1,), (1,), (2,), (1,)",
        ),
    ],
)
@pytest.mark.parametrize("component", [ActivityNet(), Classification()])
def test_bad_detections_are_refused(component, bad, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        component({"a": GOOD, "b": GOOD}, {"b": Detections(*bad)}, ["jump"])


@pytest.mark.parametrize("component", [ActivityNet(), Classification()])
def test_bad_ground_truth_is_refused(component):
    with pytest.raises(InputError, match=re.escape("ground truth of video 'a': label -2 is not in [-1, 1)")):
        component({"a": Segments([-2], [0.0], [1.0])}, {}, ["jump"])


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ([], "tiou_thresholds is empty: give at least one threshold in [0, 1]"),
        ([0.5, 1.5], "tiou_thresholds must lie in [0, 1], not 1.5"),
        ([NAN], "tiou_thresholds must lie in [0, 1], not nan"),
    ],
)
def test_bad_thresholds_are_refused(thresholds, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ActivityNet(thresholds)({}, {}, ())


def test_average():
    result = score(ActivityNet([0.1, 0.2, 0.25, 0.3]), {"a": [(0, 0.0, 10.0)]}, {"a": [(0, 0.0, 2.2, 1.0)]}, ["jump"])
    assert result.mean_ap.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert result.average(0.1, 0.3) == 0.5
    assert result.average(0.1, 0.3, 0.1) == pytest.approx(2 / 3, abs=1e-15)
    message = "the average 0.1:0.5 needs tIoU 0.5, but only 0.1, 0.2, 0.25, 0.3 were evaluated"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        result.average(0.1, 0.5)
    with pytest.raises(ValueError, match=r"^the average 0\.3:0\.1 ends before it starts$"):
        result.average(0.3, 0.1)
    with pytest.raises(ValueError, match=r"^0\.1:0\.3:0\.3 does not end at 0\.3: no number of steps of 0\.3 "):
        result.average(0.1, 0.3, 0.3)
