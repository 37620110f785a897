"""Files as other people write them: encodings, keys and names that come twice, odd values, odd headers."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wtal_eval import AMBIGUOUS, Detections, InputError, Segments, evaluate, match, read_detections, read_ground_truth
from wtal_eval.exclusions import excluded_videos
from wtal_eval.protocols import PROTOCOLS

BOM = b"\xef\xbb\xbf"
ROW = {"label": "run", "segment": [0, 10], "score": 0.9}
TRUTH = {"database": {"a": {"subset": "test", "annotations": [{"label": "run", "segment": [0, 10]}]}}}


def refused(message, read, *arguments):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read(*arguments)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


FORMS = {
    "d.json": (read_detections, json.dumps({"results": {"a": [ROW]}}).encode()),
    "d.txt": (read_detections, b"a 0 10 run 0.9\n"),
    "d.csv": (read_detections, b"video,label,start,end,score\na,run,0,10,0.9\n"),
    "g.json": (read_ground_truth, json.dumps(TRUTH).encode()),
    "g.csv": (read_ground_truth, b"video,label,start,end\na,run,0,10\n"),
    "list.txt": (lambda path: excluded_videos(str(path)), b"a\n"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_byte_order_mark_is_no_part_of_a_text(write, name):
    read, content = FORMS[name]
    path = write(name, BOM + content)
    result = read(path)
    assert (result if name == "list.txt" else tuple(result.videos)) == ("a",)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda c: c.decode().encode("utf-16"), ", line 1, byte 1: UTF-16, not UTF-8: save it as UTF-8"),
        (lambda c: c.decode().encode("utf-16-le"), ", line 1, byte 2: UTF-16, not UTF-8: save it as UTF-8"),
        (lambda c: c.decode().encode("utf-16-be"), ", line 1, byte 1: UTF-16, not UTF-8: save it as UTF-8"),
        (lambda c: c.decode().encode("utf-32"), ", line 1, byte 1: UTF-32, not UTF-8: save it as UTF-8"),
        (
            lambda c: b"\n\n" + "\u00e9".encode("latin-1") + c,
            ", line 3, byte 1: byte 0xe9 is not UTF-8, but Latin-1 or another encoding: save it as UTF-8",
        ),
        (
            lambda c: c + b"\n\n" + b"\0" * 5,
            ", line {last}, byte 1: a NUL byte, which no text holds: save it as UTF-8",
        ),
    ],
)
def test_other_encodings_are_named(write, name, broken, message):
    read, content = FORMS[name]
    path = write(name, broken(content))
    refused(f"{path}{message.format(last=content.count(10) + 3 if b'.' else 0)}", read, path)


def test_a_mark_where_files_were_joined(write):
    path = write("d.txt", b"a 0 10 run 0.9\n" + BOM + b"b 0 10 run 0.9\n")
    refused(f"{path}, line 2, byte 1: a byte-order mark inside the text: remove it", read_detections, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"results": {"a": [1],\n "b": [], "a": []}}',
            "the key 'a' comes twice in `results` (line 1, byte 14 and line 2, byte 11): join them or remove one",
        ),
        (
            '{"results": {"a": [], "\\u0061": []}}',
            "the key 'a' comes twice in `results` (line 1, byte 14 and line 1, byte 23): join them or remove one",
        ),
        (
            '{"results": {}, "results": {}}',
            "the key 'results' comes twice (line 1, byte 2 and line 1, byte 17): join them or remove one",
        ),
        (
            '{"results": {}, "x": {"k": 1, "k": 2}}',
            "the key 'k' comes twice in `x` (line 1, byte 23 and line 1, byte 31): join them or remove one",
        ),
        (
            '{"results": {"a": [{"label": "run", "score": 1, "score": 2, "segment": [0, 1]}]}}',
            "the key 'score' comes twice in `results['a'][0]` (line 1, byte 37 and line 1, byte 49): "
            "join them or remove one",
        ),
        (
            '{"results": {"a\\u003a": [{"label": "a\\u003a", "score": 1, "score": 2, "segment": [0, 1]}]}}',
            "the key 'score' comes twice in `results['a:'][0]` (line 1, byte 47 and line 1, byte 59): "
            "join them or remove one",
        ),
        (
            '{"results": {"a": [], "a ": []}}',
            "'a' and 'a ' are one name (white space at the ends and Unicode forms do not count) in `results` "
            "(line 1, byte 14 and line 1, byte 23): join them or rename one",
        ),
    ],
)
def test_keys_that_come_twice(write, content, message):
    path = write("d.json", content)
    refused(f"{path}: {message}", read_detections, path)


@pytest.mark.parametrize("inside", ['"subset": "test", "subset": "test"', '"subset": "train", "annotations": []'])
def test_keys_that_come_twice_in_ground_truth(write, inside):
    path = write("g.json", f'{{"database": {{"a": {{"annotations": [], "subset": "x", {inside}}}}}}}')
    with pytest.raises(
        InputError, match=r"^.*: the key '(subset|annotations)' comes twice in `database\['a'\]` \(line 1, "
    ):
        read_ground_truth(path)


keys = st.sampled_from(["a", "a:", "b", "\\u003a", "label"])
values = st.recursive(
    st.sampled_from(['"x"', '":"', "1", "null", '"\\u003a"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: f"[{','.join(v)}]"),
        st.lists(st.tuples(keys, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{key}": {value}' for key, value in pairs) + "}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(extra=values, count=st.integers(0, 2), key=keys)
def test_no_key_that_comes_twice_is_overlooked(tmp_path_factory, extra, count, key):
    row = f'{{"label": "run", "segment": [0, 1], "score": 1, "more": {extra}}}'
    rows = ",".join([row] * count)
    other = '[{"label": ":", "segment": [0, 1], "score": 1}]'
    text = f'{{"results": {{"v": [{rows}], "w": {other}}}, "{key}": {extra}}}'
    twice = []

    def pairs(found):
        twice.extend(1 for _ in range(len(found) - len(dict(found))))
        return dict(found)

    json.loads(text, object_pairs_hook=pairs)
    path = tmp_path_factory.getbasetemp() / "twice.json"
    path.write_text(text)
    if twice:
        with pytest.raises(InputError, match=" comes twice "):
            read_detections(path)
    else:
        assert set(read_detections(path).videos) == {"v", "w"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            json.dumps({"results": {"a": [{**ROW, "score": 10**400}]}}),
            "Number out of range - at `results['a'][0].score`",
        ),
        ('{"results": {"a": ' + "[" * 200000, "arrays and objects nested more than 500 deep (line 1, byte 517)"),
        ('{"results": {"a": [{"label": "run", "x": ' + "[" * 200000 + "]" * 200000 + "}]}}", None),
        ('{"results": {"a": [{"label": "\\ud800"}]}}', None),
    ],
)
def test_odd_json_is_one_sentence(write, content, message):
    path = write("d.json", content)
    if message:
        refused(f"{path}: {message}", read_detections, path)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*$"):
        read_detections(path)


def test_what_is_not_scored_need_not_be_complete(write):
    odd = {
        "b": {"subset": "train", "annotations": [{"label": "run"}]},
        "c": {"subset": "train"},
        "d": {"subset": "train", "annotations": None, "duration": 10**400},
    }
    content = {"database": TRUTH["database"] | odd}
    truth = read_ground_truth(write("g.json", json.dumps(content)), "test")
    assert list(truth.videos) == ["a"]
    notes = ("subset 'test' has 1 video; 3 of other subsets left out",)
    assert truth.notes == notes
    assert evaluate(content, {"results": {"a": [ROW]}}, subset="test", tiou_thresholds=0.5).notes == notes
    path = write("g.csv", "video,label,start,end,subset\na,run,0,1,test\nb,run,?,,train\n")
    assert list(read_ground_truth(path, "test").videos) == ["a"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "Expected `object`, got `null` - at `database['b']`"),
        ([], "Expected `object`, got `array` - at `database['b']`"),
        ({"subset": 3}, "Expected `str`, got `int` - at `database['b'].subset`"),
        ({"annotations": []}, "Object missing required field `subset` - at `database['b']`"),
    ],
)
@pytest.mark.parametrize("subset", ["test", None])
def test_a_video_of_no_subset_may_be_one_to_score(write, entry, message, subset):
    content = {"database": TRUTH["database"] | {"b": entry}}
    path = write("g.json", json.dumps(content))
    refused(f"{path}: {message}", read_ground_truth, path, subset)
    refused(f"ground truth: {message}", lambda: evaluate(content, {"results": {"a": [ROW]}}, subset=subset))


def test_a_video_without_annotations_has_no_instance(write):
    path = write("g.json", json.dumps({"database": TRUTH["database"] | {"b": {"subset": "test"}}}))
    assert read_ground_truth(path).videos["b"].label.size == 0


def test_a_subset_that_differs_in_case_is_taken_where_only_one_does(write):
    path = write("g.json", json.dumps(TRUTH))
    assert list(read_ground_truth(path, "TEST").videos) == ["a"]
    path = write("g.csv", "video,label,start,end,subset\na,run,0,1,Test\nb,run,0,1,TEST\n")
    assert list(read_ground_truth(path, "Test").videos) == ["a"]
    message = f"{path}: no subset 'test', only 'TEST' (1 video), 'Test' (1 video)"
    refused(message, read_ground_truth, path, "test")


def test_an_instance_without_segment(write):
    content = {"database": {"a": {"subset": "x", "annotations": [{"label": "run"}]}}}
    path = write("g.json", json.dumps(content))
    message = "database['a'].annotations[0]: 'run' has no segment: give it [start, end]"
    refused(f"{path}: {message}", read_ground_truth, path)
    refused(f"ground truth: {message}", lambda: evaluate(content, {"results": {}}))
    path = write("g.csv", "video,label,start,end\na,,0,1\n")
    refused(f"{path}, line 2: an interval of video 'a' without label: name its class", read_ground_truth, path)


def test_ambiguous_is_never_a_class(write):
    rows = "video,label,start,end\na,run,0,1\na,Ambiguous ,2,3\na,ambiguous,4,5\n"
    truth = read_ground_truth(write("g.csv", rows))
    assert truth.classes == ("ambiguous", "run")
    assert truth.videos["a"].label.tolist() == [1, AMBIGUOUS, 0]
    assert truth.notes == ("ambiguous is scored as a class; only the label 'Ambiguous' marks ambiguous intervals",)
    message = "classes: 'Ambiguous' is no class: give such intervals the label -1"
    one = {"a": Segments([0], [0.0], [1.0])}
    refused(message, lambda: match(one, {}, ["run", "Ambiguous"], PROTOCOLS["thumos14"]))


def test_thumos_files_belong_to_the_class_with_the_longest_name(write):
    write("gt/detclasslist.txt", "1 Jump\n2 Jump_High\n3 [a]*\n4 Rest\n")
    write("gt/Jump_test.txt", "clip.mp4 0 10\n")
    write("gt/Jump_High_test.txt", "clip.MKV 20 30\n")
    write("gt/[a]*_test.txt", "clip 40 50\n")
    truth = read_ground_truth(write("gt/Other_test.txt", "clip 0 1\n").parent)
    assert truth.classes == ("Jump", "Jump_High", "[a]*")
    assert list(truth.videos) == ["clip"]
    assert truth.notes == (
        "1 class without a file, so without instances: Rest",
        "1 file of no class in detclasslist.txt left out: Other_test.txt",
    )
    found = read_detections(write("d.txt", "clip.avi 0 10 1 0.9\nclip 20 30 2 0.9\nclip 40 50 3 0.9\n"))
    assert evaluate(truth, found, tiou_thresholds=0.5).mean_ap.tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7 Run\n\u00b2 Swim\n", ", line 2: '\u00b2' is not a class number"),
        ("7 Run\n07 Swim\n", ", line 2: class number '7' comes twice, first in {path}, line 1: remove one"),
        ("7 Run\n8 Run\n", ", line 2: class 'Run' comes twice, first in {path}, line 1: remove one"),
    ],
)
def test_bad_class_lists(write, text, message):
    path = write("gt/detclasslist.txt", text)
    refused(f"{path}{message.format(path=path)}", read_ground_truth, path.parent)


def test_names_meet_in_one_form(write):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    truth = read_ground_truth(write("g.csv", f"video,label,start,end\n{composed},jump,0,10\n{composed},jump ,20,30\n"))
    assert truth.classes == ("jump",)
    assert truth.notes == (
        "1 label spelled in several ways, each taken for one (white space at the ends and Unicode forms do not "
        "count): 'jump' and 'jump '",
    )
    rows = [{"label": " jump", "segment": [0, 10], "score": 1}, {"label": "jump", "segment": [20, 30], "score": 1}]
    found = read_detections(write("d.json", json.dumps({"results": {decomposed + " ": rows}})))
    assert evaluate(truth, found, tiou_thresholds=0.5).mean_ap.tolist() == [1.0]
    one = Segments([0], [0.0], [1.0])
    refused(
        "ground truth: 'a' and 'a ' are one name (white space at the ends and Unicode forms do not count): rename or "
        "join the two videos",
        lambda: match({"a": one, "a ": one}, {}, ["run"], PROTOCOLS["activitynet"]),
    )


def test_names_are_strings():
    one = {"a": Segments([0], [0.0], [1.0])}
    with pytest.raises(TypeError, match=r"^classes: the name of a class must be a string, not 1$"):
        match(one, {}, [1], PROTOCOLS["thumos14"])
    with pytest.raises(TypeError, match=r"^ground truth: the name of a video must be a string, not 1$"):
        match({1: one["a"]}, {}, ["run"], PROTOCOLS["thumos14"])


def arrays(videos):
    return {name: Detections([0], [0.0], [10.0], [0.9]) for name in videos}


def test_what_nearly_meets_is_said(write):
    truth = {name: Segments([0], [0.0], [10.0]) for name in ("a", "b", "c")}
    result = match(truth, arrays(["a", "v_b", "test/C.mp4"]), ["run"], PROTOCOLS["activitynet"], [0.5])
    assert result.notes == (
        "2 detections in 2 videos without ground truth count as false: test/C.mp4, v_b; 2 of them nearly meet a name "
        "('test/C.mp4' and 'c'; apart in a folder before it, a suffix such as .mp4, a prefix v_, upper and lower "
        "case): spell them alike in both files",
    )
    refused(
        "none of the 1 video of the detections is in the ground truth, which has others, e.g. 'v_a' and 'a': 1 of them "
        "nearly meets a name ('v_a' and 'a'; apart in a prefix v_): spell them alike in both files",
        lambda: match(truth, arrays(["v_a"]), ["run"], PROTOCOLS["activitynet"]),
    )
    refused(
        "the ground truth has none of the 1 label of the detections, but others, e.g. 'Run' and 'run': 1 of them "
        "nearly meets a name ('Run' and 'run'; apart in upper and lower case): spell them alike in both files",
        lambda: evaluate(TRUTH, {"results": {"a": [{**ROW, "label": "Run"}]}}),
    )


@pytest.mark.parametrize(
    "label",
    [np.array([2**64 - 1], np.uint64), np.array([2**63], np.uint64), np.array([255], np.uint8), np.array([1], ">u4")],
)
def test_labels_are_checked_before_they_are_cast(label):
    message = f"ground truth of video 'b': label {label[0]} is not in [-1, 1)"
    truth = {"a": Segments([0], [0.0], [1.0]), "b": Segments(label, [0.0], [1.0])}
    refused(message, lambda: match(truth, {}, ["run"], PROTOCOLS["thumos14"]))


@pytest.mark.parametrize("header", ["video-name,t-start,t-end,label", "video_id,t_start,t_end,Label"])
def test_known_names_of_columns(write, header):
    video, start, end, label = header.split(",")
    truth = read_ground_truth(write("g.csv", f"{header}\na,0,10,run\n"))
    assert truth.videos["a"].end.tolist() == [10.0]
    renamed = f"read `{video}` as `video`, "
    renamed += f"`{label}` as `label`, " if label != "label" else ""
    assert truth.notes == (renamed + f"`{start}` as `start`, `{end}` as `end`",)
    found = read_detections(write("d.csv", f"{header},score\na,0,10,run,0.5\n"))
    assert evaluate(truth, found, tiou_thresholds=0.5).mean_ap.tolist() == [1.0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "video,class,start,end",
            "no column label in the header 'video,class,start,end'; 'class' looks like label: call it label",
        ),
        (
            "video;label;start;end",
            "no column video, label, start, end in the header 'video;label;start;end'; it is parted by "
            "';': part it by commas",
        ),
        (
            "video,label,t-start,t_start,end",
            "the columns 't-start' and 't_start' could each be start: name the others otherwise",
        ),
    ],
)
def test_odd_headers(write, header, message):
    path = write("g.csv", f"{header}\n")
    refused(f"{path}: {message}", read_ground_truth, path)


def test_an_underscore_is_no_part_of_a_number(write):
    path = write("d.txt", "a 0 1_0 run 1\n")
    refused(f"{path}, line 1: '1_0' is not a number", read_detections, path)


def test_classification_of_nothing_scores_nothing():
    result = evaluate(TRUTH, {"results": {}}, protocol="classification")
    assert result.mean_ap.tolist() == [0.0]
