import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_localize import (
    Detections,
    NonMaximumSuppression,
    NoSuppression,
    SoftNonMaximumSuppression,
    nms,
    soft_nms,
    suppression,
)

from . import naive

LOOPS = (suppression._arranged, suppression._sorted, suppression._keep, suppression._weaken)


@pytest.fixture(params=["arrays", "interpreted", "compiled"], scope="module", autouse=True)
def way(request):
    """Every test runs all ways: NumPy, and what is to be compiled, as Python and compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for each in LOOPS:
            if request.param == "arrays":
                patch.setattr(each, "small", np.inf)
                patch.setattr(each, "machine_code", None)
            elif request.param == "interpreted":
                patch.setattr(each, "machine_code", each.loop)
            else:
                patch.setattr(each, "small", -1)
                patch.setattr(each, "machine_code", None)
        if request.param == "compiled":
            nms([0], [1], [1])  # compile before anything is timed
            soft_nms([0], [1], [1])
            assert None not in [each.machine_code for each in LOOPS]
        yield request.param


def pack(rows):
    columns = list(zip(*rows, strict=True)) or [()] * 4
    return Detections(*(np.array(c, d) for c, d in zip(columns, (np.int64, float, float, float), strict=True)))


def unpack(detections):
    return list(zip(*(array.tolist() for array in detections), strict=True))


def random_rows(n, seed, classes=3, duration=60.0):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, duration, n)
    end = start + rng.exponential(5, n) + 0.01
    return unpack(Detections(rng.integers(0, classes, n), start, end, rng.normal(0.5, 0.4, n)))


# Few distinct values, so that ties, duplicates and touching intervals are common.
times = st.integers(0, 12).map(lambda n: n / 2)
scores = st.sampled_from([-1.0, -0.2, 0.0, 0.1, 0.5, 0.9])
detection = st.tuples(st.integers(0, 2), times, times, scores).map(lambda d: (d[0], d[1], d[1] + d[2] + 0.5, d[3]))
lists = st.lists(detection, max_size=30)
thresholds = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
suppressors = st.one_of(
    st.builds(NonMaximumSuppression, thresholds, st.booleans()),
    st.builds(SoftNonMaximumSuppression, st.sampled_from(["gaussian", "linear"]), across_classes=st.booleans()),
    st.builds(NoSuppression),
)


@given(lists, thresholds, st.booleans())
def test_nms_equals_the_slow_twin(rows, threshold, across):
    assert unpack(NonMaximumSuppression(threshold, across)(pack(rows))) == naive.nms(rows, threshold, across)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("across", [False, True])
def test_nms_of_many_equals_the_slow_twin(threshold, across):
    rows = random_rows(400, seed=0)
    kept = unpack(NonMaximumSuppression(threshold, across)(pack(rows)))
    assert kept == naive.nms(rows, threshold, across)
    assert threshold == 1 or 0 < len(kept) < len(rows)


@given(lists, st.sampled_from(["gaussian", "linear"]), thresholds, st.sampled_from([0.0, 0.001, 0.2]), st.booleans())
def test_soft_nms_equals_the_slow_twin(rows, decay, threshold, minimum, across):
    got = unpack(SoftNonMaximumSuppression(decay, 0.5, threshold, minimum, across)(pack(rows)))
    assert got == naive.soft_nms(rows, decay, 0.5, threshold, minimum, across)


@pytest.mark.parametrize("decay", ["gaussian", "linear"])
@pytest.mark.parametrize("across", [False, True])
def test_soft_nms_of_many_equals_the_slow_twin(decay, across):
    rows = random_rows(150, seed=1)
    got = unpack(SoftNonMaximumSuppression(decay, minimum_score=0.1, across_classes=across)(pack(rows)))
    assert got == naive.soft_nms(rows, decay, 0.5, 0.3, 0.1, across)
    assert len(got) < len(rows)


@given(lists, suppressors, st.randoms(use_true_random=False))
def test_input_order_does_not_matter(rows, suppress, random):
    assert unpack(suppress(pack(rows))) == unpack(suppress(pack(random.sample(rows, len(rows)))))


@given(lists, thresholds, st.booleans())
def test_kept_pairs_overlap_by_at_most_the_threshold(rows, threshold, across):
    kept = unpack(NonMaximumSuppression(threshold, across)(pack(rows)))
    for i, a in enumerate(kept):
        for b in kept[:i]:
            assert (a[0] != b[0] and not across) or naive.tiou(a[1:3], b[1:3]) <= threshold


@given(lists)
def test_soft_nms_raises_no_score_and_keeps_all_at_minimum_zero(rows):
    start, end, score = (np.array(column) for column in list(zip(*rows, strict=True))[1:] or [[]] * 3)
    kept, weakened = soft_nms(start, end, score, minimum_score=0.0)
    assert sorted(kept) == list(range(len(rows)))
    assert (weakened <= score[kept]).all()
    assert (np.diff(weakened) <= 0).all()


def test_none_keeps_all_best_first():
    rows = [(1, 0.0, 1.0, 0.5), (0, 3.0, 4.0, 0.5), (0, 0.0, 9.0, -0.5), (2, 0.0, 1.0, 0.9), (0, 0.0, 1.0, 0.5)]
    assert unpack(NoSuppression()(pack(rows))) == [rows[3], rows[4], rows[0], rows[1], rows[2]]


def test_seconds_are_not_pixels():
    # With pixel lengths these two overlap by (0.5 + 1) / (1.5 + 1) = 0.6; in seconds by 1/3.
    rows = [(0, 0.0, 1.0, 0.9), (0, 0.5, 1.5, 0.8)]
    assert unpack(NonMaximumSuppression(0.5)(pack(rows))) == rows


def test_negative_scores_and_class_zero_survive():
    rows = [(1, 0.0, 1.0, 0.5), (0, 0.0, 1.0, -0.5)]
    for suppress in (NonMaximumSuppression(), SoftNonMaximumSuppression(), NoSuppression()):
        assert unpack(suppress(pack(rows))) == rows


def test_touching_intervals_do_not_overlap():
    rows = [(0, 0.0, 1.0, 0.9), (0, 1.0, 2.0, 0.8)]
    for suppress in (NonMaximumSuppression(0.0), SoftNonMaximumSuppression("linear", threshold=0.0)):
        assert unpack(suppress(pack(rows))) == rows


def test_the_threshold_itself_is_allowed():
    rows = [(0, 0.0, 2.0, 0.9), (0, 1.0, 2.0, 0.8)]  # tIoU 1/2
    assert len(unpack(NonMaximumSuppression(0.5)(pack(rows)))) == 2
    assert len(unpack(NonMaximumSuppression(0.49)(pack(rows)))) == 1


@pytest.mark.parametrize("suppress", [NonMaximumSuppression(), SoftNonMaximumSuppression(), NoSuppression()])
def test_nothing_gives_nothing(suppress):
    detections = suppress(pack([]))
    assert [array.dtype for array in detections] == [np.int64, np.float64, np.float64, np.float64]
    assert all(array.shape == (0,) for array in detections)


def test_one_detection_is_kept():
    rows = [(7, 1.0, 2.0, 0.25)]
    for suppress in (NonMaximumSuppression(), SoftNonMaximumSuppression(), NoSuppression()):
        assert unpack(suppress(pack(rows))) == rows


def test_functions_without_labels():
    start, end, score = [1, 0, 0], [2, 3, 2], [0.5, 0.5, 0.5]
    assert nms(start, end, score).tolist() == [2, 0]  # ties go to the earlier start, then the earlier end
    kept, weakened = soft_nms(start, end, score, decay="linear", threshold=0.5)
    assert kept.tolist() == [2, 0, 1]
    assert weakened.tolist() == [0.5, 0.5, 0.5 * (1 - 2 / 3)]
    assert nms([], [], []).dtype == np.int64


def test_one_call_thins_a_whole_data_set():
    videos = [random_rows(60, seed) for seed in range(4)]
    C = 3
    together = pack([(video * C + row[0], *row[1:]) for video, rows in enumerate(videos) for row in rows])
    kept = together.take(nms(together.start, together.end, together.score, together.label, ranked=True))
    for video, rows in enumerate(videos):
        mine = kept.take(kept.label // C == video)
        assert unpack(mine._replace(label=mine.label % C)) == unpack(NonMaximumSuppression()(pack(rows)))


def by_label(rows):
    return sorted(rows, key=lambda row: row[0])


def many_groups(shuffled):
    """Groups of 1 to 80, with equal scores in several, and equal intervals of several labels."""
    rng = np.random.default_rng(5)
    rows = [row for label in (0, 2, 3, 9) for row in sorted(random_rows(60 * (label == 9) + 20, label, 1))]
    rows = [(int(n // 20), start, end, round(score, 1)) for n, (_, start, end, score) in enumerate(rows)]
    rows += [(label, 1.0, 2.0, 0.3) for label in range(30, 36)]
    rows += [(40, start, end, round(score, 1)) for _, start, end, score in random_rows(80, 9)]
    return [rows[i] for i in rng.permutation(len(rows))] if shuffled else by_label(rows)


@pytest.mark.parametrize("shuffled", [False, True])
def test_labels_one_by_one_or_ranked_together(monkeypatch, shuffled):
    rows = many_groups(shuffled)
    expected = naive.nms(rows, 0.5)
    detections = pack(rows)
    columns = detections.start, detections.end, detections.score, detections.label
    assert unpack(detections.take(nms(*columns))) == by_label(expected)
    for together in (suppression.TOGETHER, len(rows) - 1, 0):  # how many are ranked before or after they are thinned
        monkeypatch.setattr(suppression, "TOGETHER", together)
        assert unpack(detections.take(nms(*columns, ranked=True))) == expected
        assert unpack(NonMaximumSuppression()(detections)) == expected
    assert unpack(NonMaximumSuppression(across_classes=True)(detections)) == naive.nms(rows, 0.5, across=True)


@given(lists, thresholds)
def test_labels_one_by_one_equal_the_slow_twin(rows, threshold):
    detections = pack(rows)
    kept = nms(detections.start, detections.end, detections.score, detections.label, threshold=threshold)
    assert unpack(detections.take(kept)) == by_label(naive.nms(rows, threshold))


@given(lists, st.sampled_from(["gaussian", "linear"]), st.booleans())
def test_soft_nms_labels_one_by_one_or_ranked_together(rows, decay, ranked):
    label, start, end, score = pack(rows)
    kept, weakened = soft_nms(start, end, score, label, decay=decay, ranked=ranked)
    expected = naive.soft_nms(rows, decay, 0.5, 0.3, 0.001)
    assert unpack(Detections(label[kept], start[kept], end[kept], weakened)) == (
        expected if ranked else by_label(expected)
    )


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 33, 64, 65, 200])
def test_runs_of_any_length_are_arranged(size):
    rng = np.random.default_rng(size)
    group = np.repeat([7, 3, 7, 0], [size, 1, 5, size])
    for key in (
        rng.random(len(group)),
        rng.integers(0, 4, len(group)).astype(float),
        np.arange(len(group))[::-1] * 1.0,
    ):
        order = suppression._arranged(group, key)
        assert order.tolist() == [
            i
            for first, last in suppression._slices(group)
            for i in sorted(range(first, last), key=lambda i: key[i])  # which is stable
        ]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1 / 3, 0.5, 0.9, 1.0])
def test_far_from_zero_and_of_very_different_lengths(threshold):
    rng = np.random.default_rng(7)
    for shift in (0.0, 1e6, -1e9):
        length = 2.0 ** rng.integers(-3, 8, 120)
        start = shift + rng.integers(0, 64, 120) / 2
        rows = unpack(Detections(np.zeros(120, np.int64), start, start + length, rng.integers(0, 9, 120) / 8))
        assert unpack(NonMaximumSuppression(threshold)(pack(rows))) == naive.nms(rows, threshold)


def test_input_is_left_alone():
    detections = pack(random_rows(50, seed=2))
    before = unpack(detections)
    for suppress in (NonMaximumSuppression(), SoftNonMaximumSuppression(), NoSuppression()):
        suppress(detections)
    assert unpack(detections) == before


def test_memory_layout_changes_nothing(way):
    detections = pack(random_rows(300, seed=3))
    expected = [unpack(suppress(detections)) for suppress in (NonMaximumSuppression(), SoftNonMaximumSuppression())]
    table = np.column_stack([detections.start, detections.end, detections.score])[::-1]
    table.flags.writeable = False
    columns = Detections(detections.label[::-1].astype(np.int32), *table.T)
    assert [unpack(s(columns)) for s in (NonMaximumSuppression(), SoftNonMaximumSuppression())] == expected
    for suppress in (NonMaximumSuppression(1), SoftNonMaximumSuppression(sigma=1, threshold=1, minimum_score=0)):
        suppress(detections)
    if way == "compiled":  # once: compiling takes seconds
        for loop in LOOPS:
            assert len(loop.machine_code.dispatcher.signatures) == 1


def python(code, **environment):
    """What another Python prints."""
    return subprocess.check_output([sys.executable, "-c", code], text=True, env={**os.environ, **environment})


@pytest.mark.parametrize(("call", "small"), [("nms", 16384), ("soft_nms", 2048)])
def test_small_inputs_wait_for_no_compiler_until_they_add_up(call, small):
    code = (
        "import sys, numpy as np, wtal_localize as w\n"
        f"s = np.arange({small}.0) * 3\n"
        "for i in range(9):\n"
        f"    w.{call}(s, s + 2, s)\n"
        "    print('numba' in sys.modules)\n"
    )
    assert python(code).split() == ["False"] * 8 + ["True"]
    code = (
        "import sys, numpy as np, wtal_localize as w\n"
        f"s = np.arange({small + 1}.0) * 3\n"
        f"w.{call}(s, s + 2, s)\n"
        "print('numba' in sys.modules)\n"
    )
    assert python(code).split() == ["True"]


def raises(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


BAD_ROWS = [
    (
        [(0, 0, 1, 1), (4, 2, 2, 1)],
        "detections must end after they start, got [2.0, 2.0) at 1 (class 4); drop zero-length intervals first",
    ),
    ([(3, 0, 1, np.nan)], "detections.score must be finite, got nan at 0 (class 3)"),
    ([(3, 0, np.inf, 1)], "detections.end must be finite, got inf at 0 (class 3)"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
@pytest.mark.parametrize("suppress", [NonMaximumSuppression(), SoftNonMaximumSuppression(), NoSuppression()])
def test_bad_values(rows, message, suppress):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        suppress(pack(rows))


def test_bad_shapes_and_labels():
    message = "detections: label, start, end and score must have one shape (N,), got (2,), (2,), (1,), (2,)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nms([0, 1], [1], [1, 1])
    message = "detections.label must hold integer class indices, got dtype float64"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        nms([0], [1], [1], [0.5])
    with raises("detections.label must hold class indices of 0 or more, got -1 at 1"):
        nms([0, 1], [1, 2], [1, 1], [0, -1])
    with raises("detections.score must hold real numbers, got dtype complex128"):
        nms([0], [1], [1j])
    with raises("detections.start must hold real numbers in rows of equal length"):
        nms([[0], [1, 2]], [1, 2], [1, 1])


@pytest.mark.parametrize(
    ("suppress", "message"),
    [
        (NonMaximumSuppression(-0.1), "threshold must be in [0, 1], got -0.1"),
        (NonMaximumSuppression(np.nan), "threshold must be in [0, 1], got nan"),
        (NonMaximumSuppression("0.5"), "threshold must be in [0, 1], got '0.5'"),
        (SoftNonMaximumSuppression(sigma=None), "sigma must be above 0, got None"),
        (SoftNonMaximumSuppression(minimum_score="1"), "minimum_score must be 0 or more, got '1'"),
        (SoftNonMaximumSuppression(threshold=1.1), "threshold must be in [0, 1], got 1.1"),
        (SoftNonMaximumSuppression("cosine"), "decay must be 'gaussian' or 'linear', got 'cosine'"),
        (NonMaximumSuppression(threshold=True), "threshold must be in [0, 1], got True"),
        (NonMaximumSuppression(across_classes="no"), "across_classes must be true or false, got 'no'"),
        (lambda _: nms([0], [1], [1], ranked="yes"), "ranked must be true or false, got 'yes'"),
        (lambda _: soft_nms([0], [1], [1], ranked=1), "ranked must be true or false, got 1"),
        (NonMaximumSuppression(across_classes=1), "across_classes must be true or false, got 1"),
        (SoftNonMaximumSuppression(across_classes="no"), "across_classes must be true or false, got 'no'"),
        (SoftNonMaximumSuppression(sigma=True), "sigma must be above 0, got True"),
        (SoftNonMaximumSuppression(sigma=0), "sigma must be above 0, got 0"),
        (SoftNonMaximumSuppression(minimum_score=-1), "minimum_score must be 0 or more, got -1"),
    ],
)
def test_bad_options(suppress, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        suppress(pack([]))


@pytest.mark.parametrize("suppress", [NonMaximumSuppression, SoftNonMaximumSuppression])
def test_the_docstring_explains_every_option(suppress):
    explained = re.findall(r"^    (\w+): ", inspect.getdoc(suppress).partition("Args:\n")[2], re.MULTILINE)
    assert explained == list(vars(suppress()))
