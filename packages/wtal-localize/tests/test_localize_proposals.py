import inspect
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_localize import MultiThreshold, OwnIntervals, Threshold, proposals, propose

from . import naive


def unpack(detections):
    return list(zip(*(array.tolist() for array in detections), strict=True))


def prediction(activation, class_scores, attention=None, intervals=None):
    return SimpleNamespace(
        activation=np.asarray(activation),
        class_scores=np.asarray(class_scores),
        attention=np.ones_like(activation) if attention is None else np.asarray(attention),
        intervals=intervals,
    )


@st.composite
def curves(draw, C, T):
    values = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.7, 1.0])  # few values, many ties
    return np.array(draw(st.lists(values, min_size=C * T, max_size=C * T))).reshape(C, T)


@st.composite
def videos(draw):
    C, T = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    scores = np.array(draw(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.9]), min_size=C, max_size=C)))
    lengths = st.sampled_from([0.5, 1.0, 1.3, 2.0])
    edges = np.cumsum(draw(st.lists(lengths, min_size=T + 1, max_size=T + 1)))
    return {"activation": draw(curves(C, T)), "class_scores": scores, "edges": edges, "attention": draw(curves(C, T))}


levels = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.35, 0.5, 0.9, 1.0]), min_size=1, max_size=4)
options = st.fixed_dictionaries(
    {},
    optional={
        "rule": st.sampled_from(["maximum", "range", "absolute"]),
        "class_threshold": st.sampled_from([0.0, 0.5, 1.0]),
        "score": st.sampled_from(["mean", "max", "outer-inner-contrast"]),
        "class_score": st.sampled_from(["ignore", "multiply", "add"]),
        "class_weight": st.sampled_from([0.0, 1.0]),
        "upsampling": st.sampled_from([2, 4, 8]),
        "bridge": st.sampled_from([0.5, 1.0, 5.0]),
        "minimum_length": st.sampled_from([0.5, 1.0, 5.0]),
        "attention_threshold": levels,
    },
)


@given(videos(), levels, options)
def test_equals_the_slow_twin(video, threshold, chosen):
    got = unpack(propose(**video, threshold=threshold, **chosen))
    expected = naive.propose(**video, threshold=threshold, **chosen)
    assert [row[0] for row in got] == [row[0] for row in expected]
    np.testing.assert_allclose(np.reshape(got, (-1, 4)), np.reshape(expected, (-1, 4)), rtol=1e-12, atol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    video = prediction(rng.random((3, 40)), rng.random(3)), np.arange(41.0)
    whole = unpack(MultiThreshold()(*video))
    monkeypatch.setattr(proposals, "BLOCK", 1)
    assert unpack(MultiThreshold()(*video)) == whole
    assert len(whole) > 50


@given(videos(), levels, options)
def test_components_are_the_function(video, threshold, chosen):
    attention = video.pop("attention")
    attention_threshold = chosen.pop("attention_threshold", ())
    expected = unpack(propose(**video, threshold=threshold, **chosen))
    edges = video.pop("edges")
    assert unpack(Threshold(threshold, **chosen)(prediction(**video), edges)) == expected
    chosen = {"score": "mean", "class_score": "ignore", **chosen, "attention_threshold": attention_threshold}
    expected = unpack(propose(**video, edges=edges, attention=attention, threshold=threshold, **chosen))
    assert unpack(MultiThreshold(threshold, **chosen)(prediction(**video, attention=attention), edges)) == expected


@given(videos(), st.floats(0, 1), st.floats(0, 1), options)
def test_thresholds_nest_inside_the_video(video, one, other, chosen):
    chosen.pop("attention_threshold", None)
    low, high = (unpack(propose(**video, threshold=f, **chosen)) for f in sorted((one, other)))
    for label, start, end, _ in high:
        assert video["edges"][0] <= start < end <= video["edges"][-1]
        assert any(label == c and s <= start and end <= e for c, s, e, _ in low)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0, [0.1, 0.9]])
@pytest.mark.parametrize("rule", ["maximum", "range"])
@pytest.mark.parametrize("upsampling", [1, 3])
@pytest.mark.parametrize("T", [1, 5])
def test_constant_activation_is_one_proposal(threshold, rule, upsampling, T):
    edges = np.arange(T + 1) * 2.0
    detections = propose(np.full((1, T), 0.3), [1.0], edges, threshold=threshold, rule=rule, upsampling=upsampling)
    assert unpack(detections) == [(0, 0.0, 2.0 * T, pytest.approx(0.3, rel=1e-15))]


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 1), (0.3, 1), (0.31, 0)])
def test_constant_activation_under_an_absolute_level(threshold, count):
    assert (
        len(unpack(propose(np.full((1, 5), 0.3), [1.0], np.arange(6), threshold=threshold, rule="absolute"))) == count
    )


@pytest.mark.parametrize("threshold", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("rule", ["maximum", "range", "absolute"])
def test_zero_activation_is_none(threshold, rule):
    assert unpack(propose(np.zeros((2, 5)), [1.0, 1.0], np.arange(6), threshold=threshold, rule=rule)) == []


@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 0)])
@pytest.mark.parametrize("proposer", [Threshold(), Threshold(upsampling=4, bridge=1), MultiThreshold()])
def test_empty_video_and_no_classes(shape, proposer):
    C, T = shape
    detections = proposer(prediction(np.zeros(shape), np.ones(C)), np.arange(T + 1))
    assert [array.dtype for array in detections] == [np.int64, np.float64, np.float64, np.float64]
    assert all(array.shape == (0,) for array in detections)


def test_arg_max_class_is_kept_when_none_passes():
    activation = np.ones((3, 2))
    assert unpack(propose(activation, [0.01, 0.05, 0.05], [0, 1, 2])) == [(1, 0.0, 2.0, 1.0)]
    assert [row[0] for row in unpack(propose(activation, [0.1, 0.05, 0.3], [0, 1, 2]))] == [0, 2]


def test_the_thresholds_of_maan_for_activitynet():
    curve, edges = [[0.1, 0.3, 1.0, 0.16, 0.12, 0.06, 0.0]], np.arange(8)
    found = unpack(propose(curve, [1.0], edges, threshold=[0.2, 0.15, 0.1, 0.05]))
    assert [row[1:3] for row in found] == [(0, 5), (0, 6), (1, 3), (1, 4)]


def test_outer_inner_contrast_by_hand():
    curve, edges = [[0.0, 0.2, 1.0, 1.0, 0.6, 0.6, 0.4, 0.0]], np.arange(9)
    (found,) = unpack(propose(curve, [0.5], edges, threshold=0.5, score="outer-inner-contrast"))
    assert found == (0, 2.0, 6.0, pytest.approx(0.8 - (0.2 + 0.4) / 2))
    added = propose(curve, [0.5], edges, threshold=0.5, score="outer-inner-contrast", class_score="add")
    assert added.score == pytest.approx([0.8 - 0.3 + 0.2 * 0.5])


def test_contrast_keeps_small_values_beside_large_ones():
    curve = [[1e16, 1.0, 0.5, 2.0, 2.0, 2.0, 2.0, 0.5, 1.0, 1.0]]
    found = unpack(propose(curve, [1.0], np.arange(11), rule="absolute", threshold=1.5, score="outer-inner-contrast"))
    assert found[1] == (0, 3.0, 7.0, 1.5)


def test_attention_that_rounding_lifts_above_one():
    attention = np.full((1, 3), 1 + 2e-16)
    assert len(unpack(propose(np.ones((1, 3)), [1.0], np.arange(4), attention=attention, attention_threshold=1.0))) == 1


def test_contrast_may_be_negative():
    curve = [[1.0, 0.5, 0.5, 0.5, 0.5, 1.0]]
    attention = [[0, 1.0, 1, 1, 1, 0]]
    proposer = MultiThreshold([], attention_threshold=0.5, class_score="ignore")
    (found,) = unpack(proposer(prediction(curve, [1.0], attention), np.arange(7)))
    assert found == (0, 1.0, 5.0, -0.5)


def test_gaps_and_lengths_of_exactly_the_limit_survive_rounding():
    edges = np.arange(8) * 0.1  # 0.30000000000000004 - 0.2 > 0.1 and 0.7000000000000001 - 0.6 > 0.1
    curve = [[0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]]
    assert len(unpack(propose(curve, [1.0], edges, bridge=0.1))) == 2
    assert len(unpack(propose(curve, [1.0], edges, minimum_length=0.1))) == 3


def test_upsampling_moves_boundaries_between_snippets():
    curve, edges = [[0.0, 1.0, 0.0]], [0.0, 1.0, 2.0, 3.0]
    found = unpack(propose(curve, [1.0], edges, threshold=0.5, upsampling=2, score="max"))
    assert found == [(0, 1.0, 2.0, 0.75)]
    found = unpack(propose(curve, [1.0], edges, threshold=0.3, upsampling=2, score="max"))
    assert found == [(0, 0.5, 2.5, 0.75)]


def test_upsampling_keeps_the_last_snippet():
    curve, edges = [[0.0, 0.5, 0.1]], [0.0, 1.0, 2.0, 3.0]  # 0.5 + (0.1 - 0.5) < 0.1
    for factor in (1, 2, 4):
        found = unpack(propose(curve, [1.0], edges, threshold=0.1, rule="absolute", upsampling=factor))
        assert found[-1][2] == 3.0


GOOD = {"activation": np.ones((2, 3)), "class_scores": np.ones(2), "edges": np.arange(4.0)}
NEGATIVE = [[1, 1, -0.5], [1, 1, 1]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"activation": np.ones(3)}, "activation must have shape (C, T), got (3,)"),
        ({"activation": [[1, 1, 1], [1]]}, "activation must hold real numbers in rows of equal length"),
        ({"activation": [["a", "b", "c"]] * 2}, "activation must hold real numbers, got dtype <U1"),
        ({"activation": np.ones((2, 3), complex)}, "activation must hold real numbers, got dtype complex128"),
        ({"class_scores": ["a", "b"]}, "class_scores must hold real numbers, got dtype <U1"),
        ({"edges": np.arange(4) * 1j}, "edges must hold real numbers, got dtype complex128"),
        (
            {"activation": [[1, 1, 1], [1, np.nan, 1]]},
            "activation must be finite, got nan for class 1 at snippet 1",
        ),
        ({"activation": NEGATIVE}, "activation must be zero or more, got -0.5 for class 0 at snippet 2"),
        ({"class_scores": np.ones(3)}, "class_scores must have shape (C,) = (2,) as activation has, got (3,)"),
        ({"class_scores": [1, np.inf]}, "class_scores must be finite, got inf for class 1"),
        ({"edges": np.arange(3)}, "edges must have shape (T + 1,) = (4,) for activation (2, 3), got (3,)"),
        ({"edges": [0, 1, np.nan, 3]}, "edges must be finite, got nan"),
        ({"edges": [0, 1, 1, 3]}, "edges must increase, got 1.0 before 1.0 at snippet 1"),
        ({"threshold": 1.5}, "threshold must be one or more numbers in [0, 1], got 1.5"),
        ({"threshold": [0.1, np.nan]}, "threshold must be one or more numbers in [0, 1], got [0.1, nan]"),
        ({"threshold": -1, "rule": "absolute"}, "threshold must be one or more numbers 0 or more, got -1"),
        ({"threshold": "0.2"}, "threshold must be one or more numbers in [0, 1], got '0.2'"),
        ({"threshold": True}, "threshold must be one or more numbers in [0, 1], got True"),
        (
            {"threshold": [[0.1], [0.2, 0.3]]},
            "threshold must be one or more numbers in [0, 1], got [[0.1], [0.2, 0.3]]",
        ),
        ({"attention_threshold": None}, "attention_threshold must be one or more numbers in [0, 1], got None"),
        ({"threshold": []}, "threshold must name at least one level"),
        ({"rule": "median"}, "rule must be 'maximum', 'range' or 'absolute', got 'median'"),
        ({"class_threshold": -0.1}, "class_threshold must be in [0, 1], got -0.1"),
        ({"class_threshold": np.nan}, "class_threshold must be in [0, 1], got nan"),
        ({"score": "median"}, "score must be 'mean', 'max' or 'outer-inner-contrast', got 'median'"),
        ({"class_score": "power"}, "class_score must be 'ignore', 'multiply' or 'add', got 'power'"),
        ({"class_weight": -1}, "class_weight must be 0 or more, got -1"),
        ({"class_weight": True}, "class_weight must be 0 or more, got True"),
        ({"upsampling": True}, "upsampling must be an integer of 1 or more, got True"),
        ({"upsampling": 0}, "upsampling must be an integer of 1 or more, got 0"),
        ({"upsampling": 1.5}, "upsampling must be an integer of 1 or more, got 1.5"),
        ({"bridge": None}, "bridge must be 0 or more, got None"),
        ({"bridge": -1}, "bridge must be 0 or more, got -1"),
        ({"minimum_length": np.inf}, "minimum_length must be 0 or more, got inf"),
        (
            {"attention_threshold": 0.5},
            "attention_threshold needs attention (C, T) beside the activation, and none was given",
        ),
        (
            {"attention_threshold": 0.5, "attention": np.ones((1, 3))},
            "attention must have shape (C, T) = (2, 3) as activation has, got (1, 3)",
        ),
        (
            {"attention_threshold": 0.5, "attention": NEGATIVE},
            "attention must be in [0, 1], got -0.5 for class 0 at snippet 2",
        ),
        (
            {"attention_threshold": 0.5, "attention": [[1, 1, 1], [1, 1.5, 1]]},
            "attention must be in [0, 1], got 1.5 for class 1 at snippet 1",
        ),
        (
            {"attention_threshold": 0.5, "attention": [[1, 1, 1], [1, np.nan, 1]]},
            "attention must be in [0, 1], got nan for class 1 at snippet 1",
        ),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        propose(**{**GOOD, **bad})


def intervals(rows):
    label, start, end, score = zip(*rows, strict=True) if rows else ((), (), (), ())
    return SimpleNamespace(
        label=np.array(label, np.int64), start=np.array(start), end=np.array(end), score=np.array(score)
    )


@st.composite
def own_intervals(draw):
    video = draw(videos())
    C, T = video["activation"].shape
    places = st.integers(0, 2 * T).map(lambda half: half / 2)
    rows = st.tuples(st.integers(0, C - 1), places, places, st.sampled_from([-0.5, 0.0, 0.25, 1.0]))
    return video, draw(st.lists(rows, max_size=8))


@given(own_intervals(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_own_intervals_equal_the_slow_twin(given_, class_threshold):
    video, rows = given_
    said = prediction(video["activation"], video["class_scores"], intervals=intervals(rows))
    got = unpack(OwnIntervals(class_threshold)(said, video["edges"]))
    expected = naive.own_intervals(rows, video["class_scores"], video["edges"], class_threshold)
    np.testing.assert_allclose(np.reshape(got, (-1, 4)), np.reshape(expected, (-1, 4)), rtol=1e-12, atol=1e-12)


def test_own_intervals_by_hand():
    edges = np.array([0.0, 1.0, 3.0, 7.0])
    rows = [(1, 0.5, 2.5, -0.3), (0, 0.0, 3.0, 0.9), (1, 2.0, 2.0, 1.0)]
    found = OwnIntervals(0.5)(prediction(np.ones((2, 3)), [0.4, 0.6], intervals=intervals(rows)), edges)
    assert unpack(found) == [(1, 0.5, 5.0, -0.3)]  # class 0 is not sure enough, and the last interval has no length
    assert [array.dtype for array in found] == [np.int64, np.float64, np.float64, np.float64]


def test_no_interval_at_all_is_an_answer():
    assert unpack(OwnIntervals()(prediction(np.ones((2, 3)), [0.4, 0.6], intervals=intervals([])), np.arange(4))) == []


def test_a_decoder_without_intervals_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^the proposer 'intervals' needs a decoder that proposes intervals itself, and this one gives none; "
        r"use 'threshold' or 'multi-threshold'$",
    ):
        OwnIntervals()(prediction(np.ones((1, 3)), [1.0]), np.arange(4))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, True, "0.1"])
def test_own_intervals_refuse_a_class_threshold(threshold):
    with pytest.raises(ValueError, match=rf"^class_threshold must be in \[0, 1\], got {re.escape(repr(threshold))}$"):
        OwnIntervals(threshold)


@pytest.mark.parametrize("proposer", [Threshold, MultiThreshold, OwnIntervals])
def test_the_docstring_explains_every_option(proposer):
    explained = re.findall(r"^    (\w+): ", inspect.getdoc(proposer).partition("Args:\n")[2], re.MULTILINE)
    assert sorted(explained) == sorted(vars(proposer()))
