"""ActivityNet's JSON: what is read, and the message of each malformed entry."""

import json

import pytest
from wtal_core.builtin.activitynet import ActivityNet
from wtal_core.contracts import Instance, Video
from wtal_core.data.dataset import open_reader
from wtal_core.data.videos import read_videos, select_subset
from wtal_core.errors import DataError, PluginError, Problems, WtalError
from wtal_core.registry import discover
from wtal_core.testing import parametrize_with_clauses, tmp_plugin

from .conftest import SHARED

NFC, NFD = "caf\xe9", "cafe\u0301"


def read_annotations(path, exclude=(), reader="activitynet", subsets=None):
    """The videos as a data set gets them from the reader."""
    return read_videos(open_reader(discover(), "annotation reader", reader, path), path, exclude, subsets)


@pytest.fixture
def write(tmp_path):
    def do(database):
        (tmp_path / "a.json").write_text(json.dumps({"database": database}))
        return tmp_path / "a.json"

    return do


def entry(**changes):
    return {"subset": "training", "duration": 10.0, "annotations": [{"label": "jump", "segment": [1, 2]}]} | changes


def test_a_video_with_all_its_keys(write):
    jump = {"label": "jump", "segment": [1, 2.5]}
    videos = read_annotations(write({"v": entry(annotations=[jump, {"label": "run"}], url="x", resolution="1x1")}))
    assert videos == {"v": Video("v", "training", 10.0, (Instance("jump", (1.0, 2.5)), Instance("run")))}
    assert videos["v"].labels == {"jump", "run"}


@pytest.mark.parametrize(
    ("given", "video"),
    [
        ({"subset": "t"}, Video("v", "t", None, ())),
        ({"subset": "t", "duration": None}, Video("v", "t", None, ())),
        ({"subset": "t", "duration": "7.5"}, Video("v", "t", 7.5, ())),
        ({"subset": "t", "duration_second": 7}, Video("v", "t", 7.0, ())),
        ({"subset": "t", "annotations": []}, Video("v", "t", None, ())),
        (
            {"subset": "t", "annotations": [{"label": "a", "segment": ["0.0", "1e1"]}]},
            Video("v", "t", None, (Instance("a", (0.0, 10.0)),)),
        ),
        (
            {"subset": "t", "annotations": [{"label": "a", "segment": None}]},
            Video("v", "t", None, (Instance("a", None),)),
        ),
        (
            {"subset": "t", "annotations": [{"label": "a", "segment": [3, 3]}]},
            Video("v", "t", None, (Instance("a", (3.0, 3.0)),)),
        ),
        (
            {"subset": "t", "duration": 3, "annotations": [{"label": "a", "segment": [3.5, 5]}]},
            Video("v", "t", 3.0, (Instance("a", (3.5, 5.0)),)),
        ),
        (
            {"subset": "t", "fps": "25", "annotations": [{"label": "a", "segment(frames)": [50, 75], "label_id": 3}]},
            Video("v", "t", None, (Instance("a", (2.0, 3.0)),)),
        ),
        (
            {"subset": "t", "duration": 3, "annotations": [{"label": "a", "segment": [3, 5]}]},
            Video("v", "t", 3.0, (Instance("a", (3.0, 5.0)),)),
        ),
    ],
)
def test_what_may_be_absent_or_in_another_form(write, given, video):
    assert read_annotations(write({"v": given})) == {"v": video}


def segment(value, **changes):
    return entry(annotations=[{"label": "a", "segment": [0, 1]}, {"label": "b", "segment": value}], **changes)


MALFORMED = [
    ([], "expected an object, got list"),
    ({}, "key 'subset' must be a string, got None"),
    (entry(subset=3), "key 'subset' must be a string, got 3"),
    (entry(duration="long"), "key 'duration' must be a number, got 'long'"),
    (entry(duration=True), "key 'duration' must be a number, got True"),
    (entry(duration=[1]), "key 'duration' must be a number, got [1]"),
    (entry(duration="nan"), "key 'duration' must be finite, got 'nan'"),
    (entry(duration=0), "key 'duration' must be positive, got 0"),
    (entry(duration=-1.5), "key 'duration' must be positive, got -1.5"),
    (entry(annotations={}), "key 'annotations' must be an array, got dict"),
    (entry(annotations=None), "key 'annotations' must be an array, got NoneType"),
    (entry(annotations=["jump"]), "key 'annotations[0].label' must be a string"),
    (entry(annotations=[{"segment": [1, 2]}]), "key 'annotations[0].label' must be a string"),
    (entry(annotations=[{"label": 3}]), "key 'annotations[0].label' must be a string"),
    (segment(3), "key 'annotations[1].segment' must be [start, end] in seconds, got 3"),
    (segment([1]), "key 'annotations[1].segment' must be [start, end] in seconds, got [1]"),
    (segment([1, 2, 3]), "key 'annotations[1].segment' must be [start, end] in seconds, got [1, 2, 3]"),
    (segment([1, "x"]), "key 'annotations[1].segment' must be a number, got 'x'"),
    (segment([1, None]), "key 'annotations[1].segment' must be a number, got None"),
    (segment([1, "inf"]), "key 'annotations[1].segment' must be finite, got 'inf'"),
    (segment([2, 1]), "key 'annotations[1].segment' must have 0 <= start <= end, got [2, 1]"),
    (segment([-1, 1]), "key 'annotations[1].segment' must have 0 <= start <= end, got [-1, 1]"),
    (entry(fps=0), "key 'fps' must be positive, got 0"),
    (
        entry(annotations=[{"label": "a", "segment(frames)": [1, 2]}]),
        "key 'annotations[0]' has 'segment(frames)' without 'segment', and the video no 'fps' to make it seconds",
    ),
    (
        entry(fps=25, annotations=[{"label": "a", "segment(frames)": [1]}]),
        "key 'annotations[0].segment(frames)' must be [start, end] in frames, got [1]",
    ),
]


@pytest.mark.parametrize(("given", "said"), MALFORMED)
def test_a_malformed_entry_is_named_with_file_video_and_key(write, given, said):
    path = write({"good": entry(), "bad one": given})
    with pytest.raises(Problems) as error:
        read_annotations(path)
    assert str(error.value) == f"{path}: video 'bad one': {said}"
    assert list(read_annotations(path, exclude=["bad one"])) == ["good"]


def test_all_malformed_entries_are_listed(write):
    path = write({"a": {}, "b": entry(), "c": []})
    with pytest.raises(Problems) as error:
        read_annotations(path)
    assert [str(problem) for problem in error.value.problems] == [
        f"{path}: video 'a': key 'subset' must be a string, got None",
        f"{path}: video 'c': expected an object, got list",
    ]


def test_excluded_videos_must_exist(write):
    path = write({"video_1": entry(), "video_2": entry()})
    assert list(read_annotations(path, exclude=["video_1"])) == ["video_2"]
    with pytest.raises(Problems) as error:
        read_annotations(path, exclude=["vdeo_1"])
    assert str(error.value) == (
        f"{path}: no video 'vdeo_1', which data.exclude names; did you mean 'video_1' or 'video_2'?"
    )


@pytest.mark.parametrize("content", ["[]", "{}", '{"database": []}', "3"])
def test_a_file_in_another_format(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        read_annotations(path)
    assert str(error.value) == (
        f"{path}: no object under the key 'database'; is this an annotation file in ActivityNet's format?"
    )


def test_a_file_that_is_no_json_or_not_there(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(DataError) as error:
        read_annotations(path)
    assert str(error.value) == f"{path}: cannot read annotations: No such file or directory"
    path.write_text("{")
    with pytest.raises(DataError) as error:
        read_annotations(path)
    assert str(error.value) == (
        f"{path}: line 1, column 2: not valid JSON: Expecting property name enclosed in double quotes"
    )


@pytest.mark.parametrize("asked", ["TRAINING", "Training", " training"])
def test_a_subset_is_selected_without_case_and_sorted_by_name(write, asked):
    path = write({"b": entry(subset="TRAINING "), "c": entry(subset="Validation"), "a": entry(subset="TRAINING")})
    videos = read_annotations(path)
    assert list(videos) == ["b", "c", "a"]
    assert [video.name for video in select_subset(videos, asked, path)] == ["a", "b"]


def test_of_subsets_that_differ_in_case_the_one_of_that_very_name_is_meant(write):
    path = write({"a": entry(subset="Test"), "b": entry(subset="test")})
    videos = read_annotations(path)
    assert [video.name for video in select_subset(videos, "test", path)] == ["b"]
    with pytest.raises(DataError) as error:
        select_subset(videos, "TEST", path)
    assert str(error.value) == f"{path}: subset 'TEST' may be 'Test' or 'test'; name it as the file does"


# Names and text


def test_names_are_in_normal_form_from_here_on(write):
    path = write({f" {NFD}\t": entry(subset=" training", annotations=[{"label": "jump "}, {"label": NFD}])})
    assert read_annotations(path) == {NFC: Video(NFC, "training", 10.0, (Instance("jump"), Instance(NFC)))}
    assert read_annotations(path, exclude=[f"{NFC} "]) == {}


def test_two_videos_of_one_name_are_an_error_that_shows_both(write):
    path = write({NFC: entry(), NFD: entry()})
    with pytest.raises(Problems) as error:
        read_annotations(path)
    assert str(error.value) == (
        f"{path}: videos 'caf\\xe9' and 'cafe\\u0301' have the same name, for names are compared in Unicode's form NFC "
        "and without white space around them; rename or remove one"
    )


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "a/./b", "a//b", "a/", "", " ", ".", "x\0", "x\ny"])
def test_a_name_that_is_no_path_within_a_folder_is_refused(write, name):
    path = write({name: entry(), "jump/v1": entry()})
    with pytest.raises(Problems) as error:
        read_annotations(path)
    assert str(error.value) == (
        f"{path}: video {name!r}: features are looked for by this name, so it must be a path within a folder: without "
        "'.', '..', an empty part or a control character; rename the video"
    )


def test_what_nobody_can_tell_is_no_class_of_a_video(write):
    given = entry(annotations=[{"label": "jump"}, {"label": "Ambiguous ", "segment": [1, 2]}, {"label": "ambiguous"}])
    video = read_annotations(write({"v": given}))["v"]
    assert video.instances[1] == Instance("Ambiguous", (1.0, 2.0))
    assert video.labels == {"jump", "ambiguous"}


@pytest.mark.parametrize(
    ("digits", "shown"),
    [
        ("NaN", "nan"),
        ("-Infinity", "-inf"),
        ("1e999", "inf"),
        ("1" * 400, "inf"),
        ("1" * 9000, "inf"),
        (f'"{"1" * 400}"', f"'{'1' * 79} ..."),
    ],
)
@pytest.mark.parametrize("key", ["duration", "annotations[0].segment"])
def test_a_number_that_is_none_is_named_with_video_and_key(tmp_path, key, digits, shown):
    path = tmp_path / "a.json"
    duration, end = (digits, "2") if key == "duration" else ("10", digits)
    video = '"subset": "t", "duration": ' + duration + ', "annotations": [{"label": "a", "segment": [1, ' + end + "]}]"
    path.write_text('{"database": {"v": {' + video + "}}}")
    with pytest.raises(WtalError) as error:
        read_annotations(path)
    assert str(error.value) == f"{path}: video 'v': key '{key}' must be finite, got {shown}"


def test_a_constant_that_json_lacks_is_named_where_nothing_reads_it(write):
    path = write({"v": entry(frames=[{"fps": float("nan")}])})
    with pytest.raises(DataError) as error:
        read_annotations(path)
    assert str(error.value) == (f"{path}: video 'v': key 'frames[0].fps' must be finite, got nan")


def test_what_is_not_wanted_need_not_be_complete(write):
    path = write({"v": entry(), "w": entry(subset="x", duration="long", annotations=[3]), "../x": {"subset": "y"}})
    videos = read_annotations(path, subsets=["Training"])
    assert list(videos) == ["v", "w", "../x"]
    assert videos["w"] == Video("w", "x", None, ())
    with pytest.raises(Problems, match="video 'w': key 'duration' must be a number"):
        read_annotations(path, subsets=["training", "X"])


def test_many_malformed_entries_are_counted(write):
    path = write({f"v{i}": [] for i in range(3000)})
    with pytest.raises(Problems) as error:
        read_annotations(path, exclude=[f"w{i}" for i in range(2000)])
    told = [str(problem) for problem in error.value.problems]
    assert len(told) == 22
    assert told[10] == "... and 1990 more names in data.exclude of no video"
    assert told[21] == f"... and 2990 more malformed entries of {path}"


@pytest.mark.parametrize(
    ("asked", "said"), [("trainig", "did you mean 'training'?"), ("held-out", "known: Test, training")]
)
def test_an_empty_subset_lists_those_that_exist(write, asked, said):
    path = write({"a": entry(), "b": entry(subset="Test"), "c": entry()})
    with pytest.raises(DataError) as error:
        select_subset(read_annotations(path), asked, path)
    assert str(error.value) == f"{path}: no video in subset {asked!r}; {said}"


# A third party's reader


class Lines:
    """A line a video: name, subset, label; a line that begins with '!' cannot be read."""

    def __init__(self, path):
        if not path.exists():
            raise OSError(f"{path}: no such list")
        self.lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
        if not self.lines:
            raise ValueError(f"{path}: no lines")
        self.asked = []

    notes = ("2 lines without a label are left out",)

    def names(self):
        return iter(self.lines)

    def video(self, name):
        self.asked.append(name)
        if self.lines[name].startswith("!"):
            raise ValueError("key 'label' is illegible")
        subset, label = self.lines[name].split(":")
        return Video(name, subset, None, (Instance(label),))


@pytest.fixture
def listed(tmp_path):
    """Read a list of lines with a third party's reader: `listed("v1:training:jump")`."""

    def do(*lines, reader=Lines, exclude=()):
        path = tmp_path / "list"
        path.write_text("\n".join(lines))
        with tmp_plugin("annotation reader", "lines", reader):
            return read_annotations(path, exclude, "lines")

    return do


def test_a_third_partys_names_follow_the_same_rules(listed, tmp_path):
    assert listed(f"{NFD} :  training :jump ", "w:test:run") == {
        NFC: Video(NFC, "training", None, (Instance("jump"),)),
        "w": Video("w", "test", None, (Instance("run"),)),
    }
    with pytest.raises(Problems) as error:
        listed(f"{NFD}:t:jump", f"{NFC}:t:jump", "../v:t:jump", "w:!", exclude=["x"])
    assert [str(problem) for problem in error.value.problems] == [
        f"{tmp_path}/list: no video 'x', which data.exclude names",
        f"{tmp_path}/list: videos 'cafe\\u0301' and 'caf\\xe9' have the same name, for names are compared in Unicode's "
        "form NFC and without white space around them; rename or remove one",
        f"{tmp_path}/list: video '../v': features are looked for by this name, so it must be a path within a folder: "
        "without '.', '..', an empty part or a control character; rename the video",
        f"{tmp_path}/list: video 'w': key 'label' is illegible",
    ]


def test_a_third_party_s_name_that_comes_twice(listed, tmp_path):
    class Twice(Lines):
        def names(self):
            return [*self.lines, "v"]

    with pytest.raises(Problems) as error:
        listed("v:t:jump", reader=Twice)
    assert str(error.value) == f"{tmp_path}/list: video 'v' comes twice; remove one"


def test_what_is_excluded_is_not_read(tmp_path):
    (tmp_path / "list").write_text(f"{NFD} :!\nv:t:jump\nw:!")
    with tmp_plugin("annotation reader", "lines", Lines):
        reader = open_reader(discover(), "annotation reader", "lines", tmp_path / "list")
        assert list(read_videos(reader, tmp_path / "list", [NFC, " w"])) == ["v"]
    assert reader.made.asked == ["v"]


def test_what_a_third_party_says_of_its_file_is_said_as_it_is(listed, tmp_path):
    with pytest.raises(DataError) as error:
        listed("")
    assert str(error.value) == f"{tmp_path}/list: no lines"
    with tmp_plugin("annotation reader", "lines", Lines), pytest.raises(DataError) as error:
        read_annotations(tmp_path / "none", reader="lines")
    assert str(error.value) == f"{tmp_path}/none: no such list"


class Late(Lines):
    """Opens its files only when they are asked for."""

    def names(self):
        raise OSError("the index is gone")


class LateVideo(Lines):
    def video(self, name):
        raise FileNotFoundError(2, "No such file or directory", f"{name}.xml")


def test_a_file_that_is_missing_later_is_said_with_the_path(listed, tmp_path):
    with pytest.raises(DataError) as error:
        listed("v:t:jump", reader=Late)
    assert str(error.value) == f"{tmp_path}/list: the index is gone"
    with pytest.raises(Problems) as error:
        listed("v:t:jump", "w:t:jump", reader=LateVideo)
    assert str(error.value).splitlines() == [
        f"{tmp_path}/list: video {name!r}: [Errno 2] No such file or directory: '{name}.xml'" for name in ("v", "w")
    ]


def answering(answer):
    class Reader(Lines):
        def video(self, name):
            return answer

    return Reader


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Video("w", "t", None, ()), "it was asked for this video, and gave 'w'"),
        (Video("v", 3, None, ()), "a video's name and subset must be strings, got 'v' and 3"),
        (Video("v", "t", 0.0, ()), "video 'v': the duration must be above 0 s or None, got 0.0"),
        (Video("v", "t", float("nan"), ()), "video 'v': the duration must be above 0 s or None, got nan"),
        (Video("v", "t", None, (Instance(3),)), "video 'v': a label must be a string, got 3"),
        (
            Video("v", "t", None, (Instance("caf\udce9"),)),
            "names must be what UTF-8 can write, as files of a run hold them, got 'caf\\udce9'",
        ),
        (
            Video("v", "t\udce9", None, ()),
            "names must be what UTF-8 can write, as files of a run hold them, got 't\\udce9'",
        ),
        (
            Video("v", "t", None, (Instance("jump", (2, 1)),)),
            "video 'v': a segment must have 0 <= start <= end, got (2, 1)",
        ),
    ],
)
def test_an_answer_that_breaks_the_contract_is_the_readers_fault(listed, answer, said):
    with pytest.raises(PluginError) as error:
        listed("v:t:jump", reader=answering(answer))
    assert str(error.value) == (f"annotation reader 'lines' of tmp-plugin 0 fails on video 'v': TypeError: {said}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (7, "names must be strings, got [7]"),
        ("v\udce9", "names must be what UTF-8 can write, as files of a run hold them, got 'v\\udce9'"),
    ],
)
def test_names_are_strings_that_can_be_written(tmp_path, name, said):
    class Odd:
        def __init__(self, path):
            pass

        def names(self):
            return [name]

    with tmp_plugin("annotation reader", "lines", Odd):
        reader = open_reader(discover(), "annotation reader", "lines", tmp_path)
        with pytest.raises(PluginError) as error:
            reader.names()
    assert str(error.value) == f"annotation reader 'lines' of tmp-plugin 0 fails: TypeError: {said}"


# The contract


def write_activitynet(path, videos):
    database = {
        name: {
            "subset": subset,
            "duration": duration,
            "annotations": [{"label": label, "segment": segment} for label, segment in instances],
        }
        for name, subset, duration, instances in videos
    }
    path.write_text(json.dumps({"database": database}))


@parametrize_with_clauses("annotation reader", ActivityNet, write=write_activitynet)
def test_activitynets_format_keeps_the_contract(clause):
    clause()


# Published files

PUBLISHED = [SHARED / "data" / "formats" / "basnet" / "gt.json"]
PUBLISHED += [
    SHARED / "data" / "evaluation" / name / "ground_truth.json"
    for name in ("thumos14-autoloc", "thumos14-stpn", "activitynet12-autoloc")
]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_files_are_read_whole(path):
    if not path.exists():
        pytest.skip(f"{path} is absent")
    database = json.loads(path.read_text())["database"]
    videos = read_annotations(path)
    assert list(videos) == list(database)
    assert sum(len(video.instances) for video in videos.values()) == sum(
        len(v["annotations"]) for v in database.values()
    )
    first = next(name for name, video in database.items() if video["annotations"])
    annotation = database[first]["annotations"][0]
    assert videos[first].instances[0] == Instance(annotation["label"], tuple(map(float, annotation["segment"])))
