import re

import numpy as np
import pytest
from hypothesis import given, settings
from wtal_eval import PROTOCOLS, Detections, InputError, Segments, diagnose, match
from wtal_eval.diagnosis import KINDS, kinds

from . import naive
from .test_eval_protocols import arrays, detection_sets, ground_truths

CLASSES = ("jump", "run", "swim")


def matched(ground_truth, detections, protocol="activitynet", tiou=(0.5,)):
    return match(arrays(Segments, ground_truth), arrays(Detections, detections), CLASSES, PROTOCOLS[protocol], tiou)


@settings(max_examples=100, deadline=None)
@given(ground_truth=ground_truths, detections=detection_sets)
def test_kinds_equal_the_literal_twin(ground_truth, detections):
    matching = matched(ground_truth, detections)
    found = [KINDS[i] for i in kinds(matching, 0)]
    expected = []
    for label in range(3):
        if any(c == label for rows in ground_truth.values() for c, _, _ in rows):
            expected += naive.kinds(ground_truth, detections, label, 0.5)
    assert found == expected


def test_one_of_each_kind():
    ground_truth = {"a": [(0, 0.0, 10.0), (1, 50.0, 60.0)]}
    detections = {
        "a": [
            (0, 0.0, 10.0, 0.9),
            (0, 1.0, 10.0, 0.8),
            (0, 50.0, 59.0, 0.7),
            (0, 8.0, 12.0, 0.6),
            (0, 58.0, 62.0, 0.5),
            (0, 80.0, 90.0, 0.4),
        ]
    }
    result = diagnose(matched(ground_truth, detections))
    assert result.counts == dict.fromkeys(KINDS, 1)
    assert result.top_counts[0] == {**dict.fromkeys(KINDS, 0), "true positive": 1}
    assert result.top_counts[5] == {**dict.fromkeys(KINDS, 0), "background": 1}
    assert result.mean_ap == 0.5
    assert result.gains == dict.fromkeys(KINDS[1:], 0.0)


def test_gain_is_what_the_removal_of_a_kind_brings():
    ground_truth = {"a": [(0, 0.0, 10.0)]}
    detections = {"a": [(0, 50.0, 60.0, 0.9), (0, 0.0, 4.0, 0.8), (0, 0.0, 10.0, 0.7)]}
    result = diagnose(matched(ground_truth, detections))
    assert result.mean_ap == pytest.approx(1 / 3, abs=1e-15)
    assert result.gains["background"] == pytest.approx(1 / 2 - 1 / 3, abs=1e-15)
    assert result.gains["localization error"] == pytest.approx(1 / 2 - 1 / 3, abs=1e-15)
    assert result.gains["confusion"] == 0


def test_forgiven_detections_belong_to_no_kind():
    ground_truth = {"a": [(0, 0.0, 10.0), (-1, 50.0, 60.0)]}
    detections = {"a": [(0, 50.0, 60.0, 0.9), (0, 0.0, 10.0, 0.7)]}
    result = diagnose(matched(ground_truth, detections, "thumos14"))
    assert result.counts == {**dict.fromkeys(KINDS, 0), "true positive": 1}
    assert result.top_counts[0]["true positive"] == 1
    assert result.mean_ap == 1


def test_buckets():
    ground_truth = {"a": [(0, 0.0, 1.0)], "b": [(0, 0.0, 2.0), (0, 10.0, 13.0)], "c": [(1, 0.0, 4.0)], "d": [(1, 0, 5)]}
    detections = {"a": [(0, 0.0, 1.0, 0.9)], "b": [(0, 30.0, 32.0, 0.8), (0, 0.0, 2.0, 0.7)]}
    result = diagnose(matched(ground_truth, detections))
    assert [b.instances for b in result.by_length] == [1, 1, 1, 1, 1]
    assert [b.missed for b in result.by_length] == [0, 0, 1, 1, 1]
    # Alone, the second of three instances would be one true among two; as three of them, it is three among four.
    assert [b.mean_ap for b in result.by_length] == pytest.approx([1, 3 / 4, 0, 0, 0], abs=1e-15)
    assert [b.instances for b in result.by_count] == [3, 2, 0, 0, 0]
    assert [b.name for b in result.by_count] == ["XS (1)", "S (2-3)", "M (4-7)", "L (8-15)", "XL (16 and more)"]


def test_all_instances_together_score_the_map():
    ground_truth = {v: [(0, 0.0, 10.0)] for v in "abc"}
    detections = {"a": [(0, 0.0, 9.0, 0.9), (0, 40.0, 50.0, 0.8)], "b": [(0, 0.0, 10.0, 0.7)]}
    result = diagnose(matched(ground_truth, detections))
    assert result.by_count[0].mean_ap == pytest.approx(result.mean_ap, abs=1e-15)
    assert result.by_count[0].missed == pytest.approx(1 / 3, abs=1e-15)


def test_a_bucket_without_instances_has_no_figures():
    result = diagnose(matched({"a": [(0, 0.0, 10.0)]}, {}))
    assert result.counts == dict.fromkeys(KINDS, 0)
    assert [bucket.missed for bucket in result.by_count] == pytest.approx([1.0, *[np.nan] * 4], nan_ok=True)
    assert [bucket.mean_ap for bucket in result.by_count] == pytest.approx([0.0, *[np.nan] * 4], nan_ok=True)


def test_threshold_must_have_been_matched():
    message = "the diagnosis needs tIoU 0.75, but only 0.5 were evaluated"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        diagnose(matched({"a": [(0, 0.0, 10.0)]}, {}), 0.75)
