"""Detections and class scores read back: every odd value is a sentence with file, video and key."""

import json
import warnings

import pytest
from wtal_core.errors import RunError
from wtal_core.run.results import read_class_scores, read_detections

VIDEOS, CLASSES = ("v1", "v2"), ("jump", "run")
AGAIN = "; make it again with: wtal localize"
GOOD = '{"label": "run", "score": 0.5, "segment": [1, 2.5]}'


def detections(records, **others):
    return json.dumps({"results": {"v1": [], "v2": "RECORDS"} | others}).replace('"RECORDS"', records)


@pytest.fixture
def said(tmp_path):
    """What is said of a file of some content, without the file's name and what to do."""

    def do(content, read=read_detections):
        file = tmp_path / "a.json"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(RunError) as error:
            read(file, VIDEOS, CLASSES)
        message = str(error.value)
        assert message.startswith(f"{file}: ")
        assert "\n" not in message
        return message.removeprefix(f"{file}: ")

    return do


def test_what_is_read(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("\ufeff" + detections(f"[{GOOD}]"), encoding="utf-8")
    found = read_detections(file, VIDEOS, CLASSES)
    assert list(found) == ["v1", "v2"]
    assert [field.tolist() for field in found["v2"]] == [[1], [1.0], [2.5], [0.5]]
    assert [field.tolist() for field in found["v1"]] == [[], [], [], []]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ('[{"label": "run", "score": NaN, "segment": [1, 2]}]', "[0].score: expected a finite number, got nan"),
        (
            f'[{GOOD}, {{"label": "run", "score": -Infinity, "segment": [1, 2]}}]',
            "[1].score: expected a finite number, got -inf",
        ),
        (f'[{{"label": "run", "score": {"9" * 400}, "segment": [1, 2]}}]', "[0].score: "),
        (
            f'[{{"label": "run", "score": {"9" * 5000}, "segment": [1, 2]}}]',
            "[0].score: expected a finite number, got inf",
        ),
        (f'[{{"label": "run", "score": 0.5, "segment": [1, {"9" * 400}]}}]', "[0].segment"),
        (
            '[{"label": "run", "score": 0.5, "segment": [1, NaN]}]',
            "[0].segment: expected start <= end in seconds, got [1, nan]",
        ),
        (
            '[{"label": "run", "score": 0.5, "segment": [3, 2]}]',
            "[0].segment: expected start <= end in seconds, got [3, 2]",
        ),
        ('[{"label": "run", "score": 0.5, "segment": [3]}]', "[0].segment: Expected `array` of length 2, got 1"),
        ('[{"label": "run", "score": "0.5", "segment": [1, 2]}]', "[0].score: Expected `float`, got `str`"),
        ('[{"label": "run", "score": null, "segment": [1, 2]}]', "[0].score: Expected `float`, got `null`"),
        ('[{"label": "run", "score": true, "segment": [1, 2]}]', "[0].score: Expected `float`, got `bool`"),
        ('[{"label": 1, "score": 0.5, "segment": [1, 2]}]', "[0].label: Expected `str`, got `int`"),
        ('[{"label": "run", "score": 0.5}]', "[0]: Object missing required field `segment`"),
        ("[7]", "[0]: Expected `object`, got `int`"),
    ],
)
def test_a_wrong_value_is_named_with_video_and_key(said, records, message):
    answer = said(detections(records))
    assert answer.startswith(f"video 'v2', {message}")
    assert answer.endswith(AGAIN)


def test_a_list_that_is_none(said):
    assert said(detections("{}")) == f"video 'v2': Expected `array`, got `object`{AGAIN}"


@pytest.mark.parametrize("content", ["[]", "{}", '{"results": []}', "7", '{"results": null}'])
def test_other_json(said, content):
    assert said(content) == f"not results in ActivityNet's format: no object under the key 'results'{AGAIN}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"results": {"v1": [],\n"v2": [], "v1": []}}',
            "key 'v1' comes twice in one object, at line 1, column 14 and line 2, column 11",
        ),
        ('{"results": {}, "results": {}}', "key 'results' comes twice"),
        (detections('[{"label": "run", "score": 0.5, "score": 0.6, "segment": [1, 2]}]'), "key 'score' comes twice"),
        ("[" * 200_000, "not readable JSON: its arrays or objects are nested too deeply"),
        ("", "line 1, column 1: not valid JSON: "),
        (b"\0" * 99, "line 1: "),
        (detections(f"[{GOOD}]").encode("utf-16"), "line 1: the file is in UTF-16"),
        (detections('[{"label": "l\xe4uft"}]').encode("latin-1"), "line 1: byte 0xe4 is not UTF-8"),
    ],
)
def test_what_is_no_proper_json(said, content, message):
    answer = said(content)
    assert answer.startswith(message)
    assert answer.endswith(AGAIN)


def test_an_unknown_class(said):
    assert said(detections(f"[{GOOD}]".replace("run", "swim"))) == "video 'v2' has unknown classes: swim"


NFC, NFD = "caf\xe9", "cafe\u0301"


@pytest.mark.parametrize(("here", "there"), [(NFC, NFD), (NFC, f" {NFC}\t"), (NFC, f"\ufeff{NFC}")])
def test_names_that_another_hand_spelt_meet(tmp_path, here, there):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"results": {there: [{"label": there, "score": 0.5, "segment": [1, 2]}]}}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_detections(file, [here], ["jump", here])
        assert [field.tolist() for field in found[here]] == [[1], [1.0], [2.0], [0.5]]
        assert read_class_scores(file, [here], [here])[here].tolist() == [0.5]


def test_two_entries_of_one_video(said):
    answer = said(json.dumps({"results": {"v1": [], "v1 ": [], "v2": []}}))
    assert answer == "videos 'v1' and 'v1 ' are the same name; rename or remove one"


def test_two_scores_of_one_class(said):
    content = scores(jump=0.3, run=0.4)
    content["results"]["v2"].append({"label": "run ", "score": 0.1})
    assert said(json.dumps(content), read_class_scores) == f"video 'v2' has 2 scores of class 'run', not one{AGAIN}"


def test_nothing_of_the_test_subset(said):
    message = f"no video of the test subset has an entry{AGAIN}"
    assert said('{"results": {}}') == message
    assert said('{"results": {"a": []}}') == message
    assert said('{"results": {"a": []}}', read_class_scores) == message


def test_what_is_left_out_is_said_with_a_count(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"results": {"v2": [], "a": 7, "b": [8]}}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(read_detections(file, VIDEOS, CLASSES)) == ["v1", "v2"]
    assert [str(warning.message) for warning in caught] == [
        f"{file}: 2 videos are not of the test subset, such as 'a', and are not scored",
        f"{file}: 1 of 2 videos of the test subset have no entry, such as 'v1'; they count as videos without "
        "detections",
    ]


def scores(**of_v2):
    records = [{"label": label, "score": value} for label, value in of_v2.items()]
    return {"results": {"v1": [{"label": "run", "score": 0.1}, {"label": "jump", "score": 0.2}], "v2": records}}


def test_class_scores_may_come_in_any_order(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(scores(jump=0.3, run=0.4)))
    found = read_class_scores(file, VIDEOS, CLASSES)
    assert {name: values.tolist() for name, values in found.items()} == {"v1": [0.2, 0.1], "v2": [0.3, 0.4]}


def test_each_class_has_one_score_in_each_video(said):
    content = scores(jump=0.3)
    assert said(json.dumps(content), read_class_scores) == f"video 'v2' has 0 scores of class 'run', not one{AGAIN}"
    content["results"]["v2"] *= 2
    assert said(json.dumps(content), read_class_scores) == f"video 'v2' has 2 scores of class 'jump', not one{AGAIN}"
    del content["results"]["v2"]
    assert said(json.dumps(content), read_class_scores) == f"video 'v2' of the test subset has no entry{AGAIN}"
