import json
import re
from pathlib import Path

import numpy as np
import pytest
from wtal_eval import AMBIGUOUS, InputError, evaluate, read_detections, read_ground_truth
from wtal_eval.exclusions import EXCLUSIONS, excluded_videos

OFFICIAL = Path(__file__).parents[3].parent / "shared" / "data" / "evaluation" / "thumos14-official"
DATABASE = {
    "database": {
        "a": {"subset": "test", "duration": 9.5, "annotations": [{"label": "run", "segment": [0, 2.5]}]},
        "b": {"subset": "test", "annotations": []},
        "c": {"subset": "Training", "annotations": [{"label": "swim", "segment": ["0.5", "2"]}]},
    }
}
RESULTS = {
    "version": "1.3",
    "results": {
        "a": [
            {"label": "run", "segment": ["0", "2.5"], "score": 1, "extra": None},
            {"label": "fly", "segment": [3, 4], "score": 0.5},
        ],
        "b": [],
    },
}


def refused(message, read, *arguments):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read(*arguments)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_activitynet_json(write):
    ground_truth = read_ground_truth(write("g.json", DATABASE), "test")
    assert ground_truth.classes == ("run",)
    assert sorted(ground_truth.videos) == ["a", "b"]
    assert ground_truth.videos["a"].end.tolist() == [2.5]
    assert ground_truth.videos["b"].label.tolist() == []
    assert read_ground_truth(write("g.json", DATABASE), "Training").videos["c"].start.tolist() == [0.5]
    detections = read_detections(write("d.json", RESULTS))
    assert detections.labels == ("run", "fly")
    a = detections.videos["a"]
    assert [column.tolist() for column in a] == [[0, 1], [0.0, 3.0], [2.5, 4.0], [1.0, 0.5]]
    assert detections.videos["b"].score.shape == (0,)


def test_the_label_ambiguous_is_no_class(write):
    rows = [{"label": "Ambiguous", "segment": [0, 1]}, {"label": "run", "segment": [0, 1]}]
    ground_truth = read_ground_truth(write("g.json", {"database": {"a": {"subset": "test", "annotations": rows}}}))
    assert ground_truth.classes == ("run",)
    assert ground_truth.videos["a"].label.tolist() == [AMBIGUOUS, 0]


def detection(**change):
    row = {"label": "run", "segment": [0, 1], "score": 0.5, **change}
    return json.dumps({"results": {"a": [{k: v for k, v in row.items() if v is not None}]}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (" ", "Input data was truncated (byte 1)"),
        (detection()[:-4], "Input data was truncated (byte 67)"),
        ('{"results": {"a": [{"label": "', "Input data was truncated (byte 30)"),
        ('{"results": {"a": [}}', "JSON is malformed: invalid character (byte 19)"),
        (detection(score=float("nan")), "results['a'][0].score is NaN (line 1, byte 65): give a number"),
        (
            detection(segment=[0, float("-inf")]),
            "results['a'][0].segment[1] is -Infinity (line 1, byte 52): give a number",
        ),
        (
            {"database": {}},
            "Object missing required field `results`, but it has `database`: "
            "detections come first, ground truth second",
        ),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "Object missing required field `results`"),
        ('{"results": []}', "Expected `object`, got `array` - at `results`"),
        ('{"results": {"a": {}}}', "Expected `array`, got `object` - at `results['a']`"),
        (detection(score=None), "Object missing required field `score` - at `results['a'][0]`"),
        (detection(label=3), "Expected `str`, got `int` - at `results['a'][0].label`"),
        (detection(score="1"), "Expected `float`, got `str` - at `results['a'][0].score`"),
        (detection(segment=[0]), "Expected `array` of at least length 2, got 1 - at `results['a'][0].segment`"),
        (detection(segment=[0, "x"]), "results['a'][0].segment: 'x' is not a number"),
    ],
)
def test_bad_detection_json(write, content, message):
    path = write("d.json", content)
    refused(f"{path}: {message}", read_detections, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "Object missing required field `database`"),
        (
            {"results": {}},
            "Object missing required field `database`, but it has `results`: "
            "detections come first, ground truth second",
        ),
        ({"database": {}}, "no video, so there is nothing to score"),
        (
            {"database": {"a": {"subset": "x", "annotations": None}}},
            "Expected `array`, got `null` - at `database['a'].annotations`",
        ),
        (
            {"database": {"a": {"subset": "x", "annotations": [{"label": "run", "segment": [0, None]}]}}},
            "Expected `float | str`, got `null` - at `database['a'].annotations[0].segment[1]`",
        ),
        (
            {"database": {"a": {"subset": "x", "annotations": [{"label": "run", "segment": ["z", 1]}]}}},
            "database['a'].annotations[0].segment: 'z' is not a number",
        ),
        (DATABASE, "several subsets, name one of 'Training' (1 video), 'test' (2 videos)"),
    ],
)
def test_bad_ground_truth_json(write, content, message):
    path = write("g.json", content)
    refused(f"{path}: {message}", read_ground_truth, path)


def test_unknown_subset_lists_those_present(write):
    path = write("g.json", DATABASE)
    message = f"{path}: no subset 'testing', only 'Training' (1 video), 'test' (2 videos)"
    refused(message, read_ground_truth, path, "testing")


def test_files_of_unknown_form(tmp_path):
    path = tmp_path / "x.xml"
    refused(f"{path}: detections must be a .json, .csv or .txt file", read_detections, path)
    message = f"{path}: ground truth must be a .json or .csv file or a folder of THUMOS text files"
    refused(message, read_ground_truth, path)


@pytest.fixture
def thumos(write):
    write("gt/detclasslist.txt", "7 Run\r\n12 Swim\r\n")
    write("gt/Run_test.txt", "v1  0.0 2.0\nv2 1.0 3.0\n\n")
    write("gt/Swim_test.txt", "v1 5.0 6.0\n")
    write("gt/Ambiguous_test.txt", "v3 0.0 1.0\n")
    write("gt/Run_val.txt", "v9 0.0 2.0\n")
    return write("gt/Swim_val.txt", "").parent


def test_thumos_text(write, thumos):
    ground_truth = read_ground_truth(thumos, "test")
    assert ground_truth.classes == ("Run", "Swim")
    assert {name: video.label.tolist() for name, video in ground_truth.videos.items()} == {
        "v1": [0, 1],
        "v2": [0],
        "v3": [AMBIGUOUS],
    }
    detections = write("d.txt", "v1.mp4 0.0 2.0 7 0.9\nv1 5 6 12 0.8\nv2 1 3 07 0.7\n")
    for protocol in ("activitynet", "thumos14", "thumos14-11point"):
        result = evaluate(ground_truth, read_detections(detections), protocol=protocol, tiou_thresholds=[0.5])
        assert result.mean_ap.tolist() == [1.0]
    named = write("n.txt", "v1 0.0 2.0 Run 0.9\nv1 5 6 Swim 0.8\nv2 1 3 Run 0.7\n")
    assert evaluate(ground_truth, read_detections(named), tiou_thresholds=[0.5]).mean_ap.tolist() == [1.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("v1 0 1 7", "'v1 0 1 7' does not have the form `video start end class score`"),
        ("v1 0 x 7 1", "'x' is not a number"),
        ("v1 0 inf 7 1", "'inf' is not finite"),
    ],
)
def test_bad_thumos_text(write, line, message):
    path = write("d.txt", f"v1 0 1 7 1\n{line}\n")
    refused(f"{path}, line 2: {message}", read_detections, path)


def test_bad_thumos_folder(thumos):
    message = f"{thumos}: no subset 'train', only 'test' (2 videos), 'val' (1 video)"
    refused(message, read_ground_truth, thumos, "train")
    (thumos / "detclasslist.txt").write_text("Run 7\n")
    refused(f"{thumos / 'detclasslist.txt'}, line 1: 'Run' is not a class number", read_ground_truth, thumos, "test")
    (thumos / "detclasslist.txt").unlink()
    with pytest.raises(FileNotFoundError, match="detclasslist"):
        read_ground_truth(thumos, "test")


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"the official annotation is not at {OFFICIAL}")
def test_official_thumos_annotation():
    ground_truth = read_ground_truth(OFFICIAL, "test")
    assert len(ground_truth.classes) == 20
    assert ground_truth.class_numbers["7"] == "BaseballPitch"
    labels = np.concatenate([video.label for video in ground_truth.videos.values()])
    assert (len(ground_truth.videos), (labels >= 0).sum(), (labels == AMBIGUOUS).sum()) == (213, 3358, 99)
    for name, excluded in EXCLUSIONS.items():
        assert len(set(ground_truth.videos) - set(excluded)) == int(name.removeprefix("thumos14-"))
    only_ambiguous = [name for name, video in ground_truth.videos.items() if (video.label == AMBIGUOUS).all()]
    assert only_ambiguous == list(EXCLUSIONS["thumos14-212"])


def test_csv(write):
    text = "start,end,video,label,subset,note\n0,2,a,run,test,x\n1,3,a,swim,test,\n,,b,,test,\n0,1,c,run,train,\n"
    ground_truth = read_ground_truth(write("g.csv", text), "test")
    assert ground_truth.classes == ("run", "swim")
    assert {name: video.start.tolist() for name, video in ground_truth.videos.items()} == {"a": [0.0, 1.0], "b": []}
    detections = read_detections(write("d.csv", "video,label,start,end,score\na,run,0,2,0.9\na,swim,1,3,0.8\n"))
    assert evaluate(ground_truth, detections).mean_ap.tolist() == [1.0] * 10
    without_subset = read_ground_truth(write("g.csv", "video,label,start,end\na,run,0,1\n"))
    assert list(without_subset.videos) == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,label,start,end\n", ": no column score in the header 'video,label,start,end'"),
        ("\n", ": no column video, label, start, end, score in the header ''"),
        ("video,label,start,end,score\na,run,0,1\n", ", line 2: 4 fields under a header of 5"),
        ("video,label,start,end,score\na,run,0,?,1\n", ", line 2: end '?' is not a number"),
    ],
)
def test_bad_csv(write, text, message):
    path = write("d.csv", text)
    refused(f"{path}{message}", read_detections, path)


def test_csv_video_in_two_subsets(write):
    path = write("g.csv", "video,label,start,end,subset\na,run,0,1,test\na,run,0,1,val\n")
    refused(f"{path}, line 3: video 'a' is in subset 'val' and in 'test'", read_ground_truth, path)


def test_excluded_videos(write):
    assert excluded_videos("thumos14-212") == ("video_test_0001292",)
    assert excluded_videos(str(write("list.txt", "a\n\n b \n"))) == ("a", "b")
    message = "'thumos14-211' is neither a file nor one of thumos14-213, thumos14-212, thumos14-210"
    refused(message, excluded_videos, "thumos14-211")


def test_evaluate_json_objects():
    result = evaluate(DATABASE, RESULTS, subset="test", tiou_thresholds=[0.5])
    assert result.mean_ap.tolist() == [1.0]
    assert result.notes == (
        "subset 'test' has 2 videos; 1 of other subsets left out",
        "1 detection left out, of 1 label that the ground truth lacks: fly",
    )
    assert evaluate(DATABASE, RESULTS, subset="test", protocol="classification").mean_ap.tolist() == [1.0]


def test_evaluate_arrays(write):
    truth = read_ground_truth(write("g.json", DATABASE), "test")
    result = evaluate(truth.videos, {}, ["run"], tiou_thresholds=[0.5])
    assert result.mean_ap.tolist() == [0.0]
    assert result.notes == ("no detection to score: every average precision is 0",)
    message = "classes names the labels of plain arrays; what the readers return has its own"
    with pytest.raises(TypeError, match=f"^{message}$"):
        evaluate(truth, {}, ["run"])


def test_bad_evaluate():
    protocols = "activitynet, thumos14, thumos14-11point, classification"
    refused(f"no protocol 'voc', only {protocols}", lambda: evaluate(DATABASE, RESULTS, protocol="voc"))
    message = "detections: Object missing required field `results`; plain arrays need `classes`"
    refused(message, lambda: evaluate(DATABASE, {}, subset="test"))
    message = "detections: Object missing required field `score` - at `results['a'][0]`"
    bad = {"results": {"a": [{"label": "run", "segment": [0, 1]}]}}
    refused(message, lambda: evaluate(DATABASE, bad, subset="test"))
    message = "detections of video 'a': interval [2.0, 1.0] ends before it starts"
    bad = {"results": {"a": [{"label": "run", "segment": [2, 1], "score": 1}]}}
    refused(message, lambda: evaluate(DATABASE, bad, subset="test"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "detections: Expected `object`, got `list`; files are for `read_ground_truth` and `read_detections`"),
        ("d.json", "detections: Expected `object`, got `str`; files are for `read_ground_truth` and `read_detections`"),
        ({"results": []}, "detections: Expected `object`, got `list` - at `results`"),
        ({"results": {3: []}}, "detections: Expected `str`, got `int` - at the key 3 of `results`"),
        (
            {"results": {"a": [object()]}},
            "detections: object is no JSON value - at `results['a']`",
        ),
    ],
)
def test_objects_of_the_wrong_form(content, message):
    refused(message, lambda: evaluate(DATABASE, content, subset="test"))


def test_numpy_values_in_json_objects():
    row = {"label": "run", "segment": np.array([0, 2.5]), "score": np.float32(0.5)}
    other = {"label": "run", "segment": [np.float64(4), np.int64(5)], "score": np.float64(0.9)}
    result = evaluate(DATABASE, {"results": {"a": [row, other]}}, subset="test", tiou_thresholds=0.5)
    assert result.mean_ap.tolist() == [0.5]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classes": "run"}, TypeError, "classes must be a sequence of names, not the one string 'run'"),
        ({"classes": ["run", "run"]}, InputError, "classes names 'run' more than once"),
        (
            {"classes": ["run"], "subset": "test"},
            TypeError,
            "subset chooses from a JSON object; plain arrays are one subset",
        ),
    ],
)
def test_arguments_that_do_not_fit_plain_arrays(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        evaluate({}, {}, **arguments)


def test_videos_of_other_subsets_are_counted(write, thumos):
    assert read_ground_truth(thumos, "val").notes == ("subset 'val' has 1 video; 2 of other subsets left out",)
    text = "video,label,start,end,subset\na,run,0,1,test\nb,run,0,1,train\nc,run,0,1,train\n"
    assert read_ground_truth(write("g.csv", text), "test").notes == (
        "subset 'test' has 1 video; 2 of other subsets left out",
    )
