"""Published tables, to every digit that they print."""

import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from wtal_eval import ActivityNet, Detections, Segments

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "evaluation"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the published detections are not at {DATA}")
TENTHS = tuple(k / 10 for k in range(1, 10))


def load(directory):
    database = json.loads((DATA / directory / "ground_truth.json").read_text())["database"]
    results = json.loads((DATA / directory / "detections.json").read_text())["results"]
    classes = sorted({a["label"] for video in database.values() for a in video["annotations"]})
    index = {name: i for i, name in enumerate(classes)}

    def columns(rows):
        label = np.array([index[row["label"]] for row in rows], np.int64)
        start, end = np.array([[float(t) for t in row["segment"]] for row in rows]).reshape(-1, 2).T
        return label, start, end

    ground_truth = {name: Segments(*columns(video["annotations"])) for name, video in database.items()}
    detections = {
        name: Detections(*columns(rows), np.array([row["score"] for row in rows], float))
        for name, rows in results.items()
    }
    return ground_truth, detections, classes


def percent(fraction):
    return str(Decimal(100 * float(fraction)).quantize(Decimal("0.01"), ROUND_HALF_UP))


PUBLISHED = {
    "thumos14-autoloc": (TENTHS, "46.67 41.71 35.77 29.02 21.21 13.40 5.80 1.56 0.21"),
    "thumos14-stpn": (TENTHS, "52.12 44.20 34.70 26.06 17.70 10.09 4.99 1.34 0.10"),
    "activitynet12-autoloc": (None, "27.33 24.94 22.51 19.90 17.47 15.14 12.97 10.02 6.83 3.27"),
}


@needs_data
@pytest.mark.parametrize("directory", PUBLISHED)
def test_published_tables(directory):
    thresholds, figures = PUBLISHED[directory]
    result = ActivityNet(thresholds)(*load(directory))
    assert [percent(x) for x in result.mean_ap] == figures.split()


@needs_data
@pytest.mark.parametrize(("directory", "average"), [("thumos14-autoloc", "21.70"), ("activitynet12-autoloc", "16.04")])
def test_published_averages(directory, average):
    result = ActivityNet(PUBLISHED[directory][0])(*load(directory))
    assert percent(result.average(*result.tiou_thresholds[[0, -1]])) == average


@needs_data
def test_published_average_of_stpn_is_that_of_its_rounded_figures():
    result = ActivityNet(TENTHS)(*load("thumos14-stpn"))
    assert percent(np.mean([float(percent(x)) for x in result.mean_ap]) / 100) == "21.26"
    assert 100 * result.average(0.1, 0.9) == pytest.approx(21.254975689792847, abs=1e-12)  # the reference script's


@needs_data
def test_detections_outside_the_ground_truth_count_as_false_and_are_named():
    result = ActivityNet([0.1])(*load("thumos14-autoloc"))
    assert result.notes == (
        "275 detections in 3 videos without ground truth count as false: "
        "video_test_0000270, video_test_0001292, video_test_0001496",
    )
