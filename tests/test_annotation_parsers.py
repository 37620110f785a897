"""wtal-core and wtal-eval each read ActivityNet's format, and import nothing of each other: they must read it alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import wtal_eval
from wtal_core import config
from wtal_core.data.dataset import Dataset, open_reader
from wtal_core.data.videos import read_videos, select_subset
from wtal_core.errors import WtalError
from wtal_core.kinds.suppressor import VideoDetections
from wtal_core.prediction.detect import Localized
from wtal_core.prediction.score import score
from wtal_core.registry import discover

NFC, NFD = "caf\xe9", "cafe\u0301"
REFUSED = "refused"
NOBODY_KNOWS = ""


def core(path: Path, subset: str) -> Dataset:
    videos = read_videos(open_reader(discover(), "annotation reader", "activitynet", path), path, subsets=[subset])
    test = tuple(select_subset(videos, subset, path))
    classes = tuple(sorted(set().union(*(video.labels for video in test))))
    data = config.Data(annotations=str(path), features="", grid="duration", test_subset=subset)
    return Dataset(data, classes, training=(), test=test, store=None, feature_dims={})


def read_by_core(path, subset):
    """What is to be scored: per video its intervals with the names of their classes."""
    try:
        dataset = core(path, subset)
        return named(dataset.ground_truth(), dataset.classes)
    except WtalError:
        return REFUSED


def read_by_eval(path, subset):
    try:
        truth = wtal_eval.read_ground_truth(path, subset)
        wtal_eval.evaluate(truth, {"results": {}})  # which looks at the intervals
        return named(truth.videos, truth.classes)
    except wtal_eval.InputError:
        return REFUSED


def named(truth, classes):
    return {
        video: sorted(
            (classes[label] if label >= 0 else NOBODY_KNOWS, float(start), float(end))
            for label, start, end in zip(of.label.tolist(), of.start, of.end, strict=True)
        )
        for video, of in truth.items()
    }


def one(label="jump", start=1, end=2):
    return {"label": label, "segment": [start, end]}


def entry(*instances, subset="test", **changes):
    return {"subset": subset, "duration": 10, "annotations": list(instances or [one()])} | changes


def odd(*instances, **changes):
    """An entry in question, beside one that is beyond question."""
    return {"v": entry(*instances, **changes), "w": entry(one("run", 3, 4))}


JUMP = [("jump", 1.0, 2.0)]
W = {"w": [("run", 3.0, 4.0)]}
PLAIN = {"v": JUMP} | W
LATIN = json.dumps({"database": {NFC: entry()}}, ensure_ascii=False)
TEXT = json.dumps({"database": odd()})
DEEP = "[" * 200_000

#: Content of the file (the value of `database`, or the text, or the bytes), and what both must make of subset "test".
FILES = {
    "plain": (odd(), PLAIN),
    "byte-order mark": (b"\xef\xbb\xbf" + TEXT.encode(), PLAIN),
    "carriage returns": (json.dumps({"database": odd()}, indent=1).replace("\n", "\r\n"), PLAIN),
    "UTF-16": (TEXT.encode("utf-16"), REFUSED),
    "UTF-16 without mark": (TEXT.encode("utf-16-le"), REFUSED),
    "UTF-32": (TEXT.encode("utf-32"), REFUSED),
    "Latin-1": (LATIN.encode("latin-1"), REFUSED),
    "UTF-8": (LATIN, {NFC: JUMP}),
    "NUL": (TEXT.encode() + b"\0", REFUSED),
    "NUL in a name": (TEXT.encode().replace(b"jump", b"ju\0mp"), REFUSED),
    "empty": (b"", REFUSED),
    "half": (TEXT[:-5], REFUSED),
    "something after it": (TEXT + "}", REFUSED),
    "half a character": (TEXT.replace("jump", "ju\\ud800"), REFUSED),
    "no database": ('{"results": {}}', REFUSED),
    "no video": ({}, REFUSED),
    "a video twice": (TEXT[:-2] + ', "v": ' + json.dumps(entry()) + "}}", REFUSED),
    "a video twice, once escaped": (TEXT[:-2] + ', "\\u0076": ' + json.dumps(entry()) + "}}", REFUSED),
    "a label twice": (TEXT.replace('"label": "jump"', '"label": "run", "label": "jump"'), REFUSED),
    "a subset twice": (TEXT.replace('"subset": "test"', '"subset": "x", "subset": "test"'), REFUSED),
    "an unused key twice": (TEXT.replace('"duration": 10', '"url": 1, "url": 1, "duration": 10'), REFUSED),
    "numbers in strings": (odd(one(start="1.0", end=" 2e0 ")), PLAIN),
    "a number with an underscore": (odd(one(end="1_0")), REFUSED),
    "a number in other digits": (odd(one(start="\u0661")), PLAIN),
    "a number in hexadecimal": (odd(one(end="0x2")), REFUSED),
    "an empty number": (odd(one(end="")), REFUSED),
    "a word for a number": (odd(one(end="long")), REFUSED),
    "null for a number": (odd(one(end=None)), REFUSED),
    "true for a number": (odd(one(end=True)), REFUSED),
    "NaN": (odd(one(end=float("nan"))), REFUSED),
    "Infinity": (odd(one(end=float("inf"))), REFUSED),
    "NaN in a string": (odd(one(end="nan")), REFUSED),
    "Infinity in a string": (odd(one(end="inf")), REFUSED),
    "400 digits": (TEXT.replace("[1, 2]", f"[1, {'1' * 400}]"), REFUSED),
    "9000 digits": (TEXT.replace("[1, 2]", f"[1, {'1' * 9000}]"), REFUSED),
    "nested": (DEEP, REFUSED),
    "nested in a video": ('{"database": {"v": %s}}' % (DEEP + "]" * 200_000), REFUSED),
    "start after end": (odd(one(start=3, end=2)), REFUSED),
    "start at end": (odd(one(start=2, end=2)), {"v": [("jump", 2.0, 2.0)]} | W),
    "end beyond the duration": (odd(one(end=12)), {"v": [("jump", 1.0, 12.0)]} | W),
    "three numbers": (odd({"label": "jump", "segment": [1, 2, 3]}), REFUSED),
    "one number": (odd({"label": "jump", "segment": [1]}), REFUSED),
    "segment an object": (odd({"label": "jump", "segment": {"0": 1, "1": 2}}), REFUSED),
    "no segment": (odd({"label": "jump"}), REFUSED),
    "null segment": (odd({"label": "jump", "segment": None}), REFUSED),
    "ambiguous without a segment": (odd(one(), {"label": "Ambiguous"}), REFUSED),
    "NaN in another subset": (odd(one(end=float("nan")), subset="training"), REFUSED),
    "NaN in an unused key": (odd(fps=float("nan")), REFUSED),
    "Infinity beside the videos": (TEXT[:-1] + ', "version": Infinity}', REFUSED),
    "NaN in a name": (odd(one("NaN")), {"v": [("NaN", 1.0, 2.0)]} | W),
    "what is wrong in another subset": (odd({"segment": [2, "x"]}, subset="training", duration="long"), W),
    "null annotations in another subset": (odd(annotations=None, subset="training"), W),
    "a duration of 400 digits in another subset": (TEXT.replace("10", "1" * 400, 1).replace("test", "x", 1), W),
    "no segment in another subset": (odd({"label": "jump"}, subset="training"), W),
    "null segment in another subset": (odd({"label": "jump", "segment": None}, subset="training"), W),
    "empty annotations": (odd(annotations=[]), {"v": []} | W),
    "null annotations": (odd(annotations=None), REFUSED),
    "no duration": ({"v": {"subset": "test", "annotations": [one()]}, "w": entry(one("run", 3, 4))}, PLAIN),
    "null duration": (odd(duration=None), PLAIN),
    "a number for a label": (odd(one(label=3)), REFUSED),
    "null for a label": (odd(one(label=None)), REFUSED),
    "no label": (odd({"segment": [1, 2]}), REFUSED),
    "ambiguous": (odd(one(), one("Ambiguous", 5, 6)), {"v": [(NOBODY_KNOWS, 5.0, 6.0), *JUMP]} | W),
    "ambiguous with spaces": (odd(one(" Ambiguous ", 5, 6)), {"v": [(NOBODY_KNOWS, 5.0, 6.0)]} | W),
    "ambiguous in small letters": (odd(one("ambiguous", 5, 6)), {"v": [("ambiguous", 5.0, 6.0)]} | W),
    "nothing but ambiguous": ({"v": entry(one("Ambiguous", 5, 6))}, REFUSED),
    "nothing at all": ({"v": entry(annotations=[])}, REFUSED),
    "ambiguous after a byte-order mark": (odd(one("\ufeffAmbiguous", 5, 6)), {"v": [(NOBODY_KNOWS, 5.0, 6.0)]} | W),
    "a name after a byte-order mark": ({"\ufeffv": entry(), "w": entry(one("run", 3, 4))}, PLAIN),
    "labels in two forms": (odd(one(NFC), one(NFD, 3, 4)), {"v": [(NFC, 1.0, 2.0), (NFC, 3.0, 4.0)]} | W),
    "labels with spaces": (odd(one("jump "), one("\tjump", 3, 4)), {"v": [*JUMP, ("jump", 3.0, 4.0)]} | W),
    "a name in another form": ({NFD: entry()}, {NFC: JUMP}),
    "a name with spaces": ({" v\t": entry()}, {"v": JUMP}),
    "two names in two forms": ({NFC: entry(), NFD: entry()}, REFUSED),
    "two names with spaces": ({"v": entry(), "v ": entry()}, REFUSED),
    "a name with a slash": ({"jump/v": entry()}, {"jump/v": JUMP}),
    "names in other letters": ({"v": entry(), "V": entry(one("run", 3, 4))}, {"v": JUMP, "V": W["w"]}),
    "subset in other letters": (odd(subset="Test"), W),
    "what is wrong in a subset of other letters": (odd({"label": "jump"}, subset="Test"), W),
    "only subset in other letters": ({"v": entry(subset="TEST")}, {"v": JUMP}),
    "two subsets in other letters": ({"v": entry(subset="TEST"), "w": entry(subset="Test")}, REFUSED),
    "subset with spaces": (odd(subset=" test "), PLAIN),
    "no annotations": ({"v": {"subset": "test"}, "w": entry(one("run", 3, 4))}, {"v": []} | W),
    "a number for a subset": (odd(subset=3), REFUSED),
    "no subset": ({"v": {"annotations": [one()]}, "w": entry(one("run", 3, 4))}, REFUSED),
    "a list for a video": ({"v": [], "w": entry(one("run", 3, 4))}, REFUSED),
    "subset that is not there": ({"v": entry(subset="training")}, REFUSED),
}


@pytest.fixture
def write(tmp_path):
    def do(content):
        if isinstance(content, dict):
            content = json.dumps({"database": content})
        path = tmp_path / "annotations.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return do


@pytest.mark.parametrize(("content", "expected"), FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize("read", [read_by_core, read_by_eval])
def test_an_odd_file_is_read_alike(write, read, content, expected):
    answer = read(write(content), "test")
    assert answer == expected


def test_an_interval_before_the_recording_is_refused_by_the_runner_alone(write):
    """A recording has no such time. The evaluator compares intervals alone, and files of detections have such times."""
    path = write(odd(one(start=-1)))
    assert read_by_core(path, "test") == REFUSED
    assert read_by_eval(path, "test") == {"v": [("jump", -1.0, 2.0)]} | W


def test_an_interval_after_the_recording_is_read_alike(write):
    """Public files have such intervals, which count as ground truth."""
    path = write(odd(one(start=11, end=12)))
    assert read_by_core(path, "test") == read_by_eval(path, "test") == {"v": [("jump", 11.0, 12.0)]} | W


@pytest.mark.parametrize(
    ("evaluator", "expected"),
    [("activitynet", 0.5), ("thumos14", 1.0), ("thumos14-11point", 1.0), ("classification", 1.0)],
)
def test_a_run_forgives_ambiguous_intervals_where_the_evaluator_does(write, tmp_path, evaluator, expected):
    """A surer detection in an ambiguous interval halves the precision of the right one, unless it is forgiven."""
    path = write({"v": entry(one("jump", 1, 2), one("Ambiguous", 5, 6))})
    detections = {"v": VideoDetections(np.array([0, 0]), np.array([5.0, 1]), np.array([6.0, 2]), np.array([0.9, 0.5]))}
    experiment = config.Experiment(
        data=config.Data(annotations=str(path), features="", grid="duration"),
        evaluation=config.Evaluation(evaluator=evaluator),
    )
    localized = Localized(detections, {"v": np.ones(1)})
    content = score(core(path, "test"), localized, experiment, discover())
    results = [{"label": "jump", "segment": [5, 6], "score": 0.9}, {"label": "jump", "segment": [1, 2], "score": 0.5}]
    (tmp_path / "d.json").write_text(json.dumps({"results": {"v": results}}))
    alone = wtal_eval.evaluate(
        wtal_eval.read_ground_truth(path), wtal_eval.read_detections(tmp_path / "d.json"), protocol=evaluator
    )
    assert content["localization"]["mean_ap"] == alone.mean_ap.tolist()
    np.testing.assert_allclose(alone.mean_ap, expected)
    assert content["classification"]["mean_ap"] == [1.0]
