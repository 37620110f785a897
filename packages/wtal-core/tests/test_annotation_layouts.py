"""Annotations in the layouts of the field: what `auto` finds and reads, and what is said of a near miss."""

import json
import os
import pickle

import numpy as np
import pytest
from wtal_core import config
from wtal_core.builtin.pickled import load_lists
from wtal_core.contracts import Instance, Video
from wtal_core.data.dataset import open_annotations
from wtal_core.data.videos import frame_rates, read_videos, remarks
from wtal_core.errors import DataError, Problems
from wtal_core.registry import discover

from .conftest import SHARED


def opened(path, reader="auto"):
    data = config.Data(str(path), "features", "duration", annotation_reader=reader)
    return open_annotations(data, discover())


def read(path, reader="auto"):
    return read_videos(opened(path, reader), path)


def refusal(path, reader="auto"):
    with pytest.raises((DataError, Problems)) as error:
        read(path, reader)
    return str(error.value)


@pytest.fixture
def write(tmp_path):
    """Write text into a file below the folder of the test, and give its path."""

    def do(name, *lines):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("\n".join(lines) + "\n")
        return path

    return do


JUMP = Instance("jump", (1.0, 2.5))


# Tables


@pytest.mark.parametrize(
    "header",
    [
        "video,label,start,end,subset",
        "video-id,class,t-start,t-end,split",
        "filename,event_label,onset,offset,subset",
        "Name,Action,Start Time,End Time,Set",
        "video_name,category,start_seconds,end_seconds,partition",
        "file\taction\tbegin\tstop\tsubset",
        "video;type;start;end;subset",
    ],
)
def test_a_table_with_the_headers_in_use(write, header):
    mark = next(mark for mark in "\t;," if mark in header)
    path = write(
        "a.csv", header, mark.join(["v", "jump", "1", "2.5", "training"]), mark.join(["w", "", "", "", "test"])
    )
    assert read(path) == {"v": Video("v", "training", None, (JUMP,)), "w": Video("w", "test", None, ())}


def test_a_table_may_have_durations_rates_and_columns_that_nobody_reads(write):
    path = write("a.csv", "url,video,label,start,end,subset,duration,fps", "x,v,jump,1,2.5,training,10,29.97")
    assert read(path) == {"v": Video("v", "training", 10.0, (JUMP,))}
    assert frame_rates(opened(path), {"v"}) == {"v": 29.97}


def test_labels_alone_are_enough(write):
    path = write("a.csv", "video,label,subset", "v,jump,training", "v,run,training")
    assert read(path)["v"].instances == (Instance("jump"), Instance("run"))


def test_several_labels_may_stand_in_a_cell(write):
    path = write("a_weak.tsv", "filename\tevent_labels", "v.wav\tDog,Cat", "w.wav\t")
    assert read(path) == {
        "v.wav": Video("v.wav", "weak", None, (Instance("Dog"), Instance("Cat"))),
        "w.wav": Video("w.wav", "weak", None, ()),
    }


def test_sound_events_in_a_file_for_each_subset(write):
    header = "filename\tonset\toffset\tevent_label"
    path = write("sounds/training.tsv", header, "v\t1\t2.5\tjump").parent
    write("sounds/my_validation.tsv", header, "w\t0\t1\tjump")
    assert {name: video.subset for name, video in read(path).items()} == {"w": "validation", "v": "training"}
    assert opened(path).notes == (
        "annotations 'sounds' are a table, 'filename' as video, 'event_label' as label, 'onset' as start, "
        "'offset' as end, "
        "its subset by the file's name, read by 'table'; videos: 1 in 'training', 1 in 'validation'",
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("v,jump,1,x,t", "a.csv, line 3: start and end must be a number, got 'x'"),
        ("v,jump,1,,t", "a.csv, line 3: start and end must be a number, got ''"),
        ("v,jump,2,1,t", "a.csv, line 3: start and end must have 0 <= start <= end, got [2, 1]"),
        ("v,jump,nan,1,t", "a.csv, line 3: start and end must be finite, got 'nan'"),
        ("v,,1,2,t", "a.csv, line 3: an interval without a label; name its class"),
        ("v,jump,1,2,u", "it is in subset 't' (a.csv, line 2) and in 'u' (a.csv, line 3); keep one"),
    ],
)
def test_a_malformed_row_is_named_with_file_video_and_line(write, row, said):
    path = write("a.csv", "video,label,start,end,subset", "v,jump,1,2,t", row)
    assert refusal(path) == f"{path}: video 'v': {said}"


def test_a_row_of_another_number_of_fields(write):
    path = write("a.csv", "video,label,start,end", "v,jump,1")
    assert refusal(path) == f"{path}: line 2: 3 fields under a header of 4"


def test_durations_that_contradict_each_other(write):
    path = write("a.csv", "video,label,duration", "v,jump,10", "v,run,11")
    assert refusal(path) == f"{path}: video 'v': a.csv, line 3: duration is 11, but 10 in a.csv, line 2; keep one"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "v,jump,1,2",
            "no column video (or video-id, video-name, videoname) and label (or class, event-label, action)",
        ),
        ("video,start,end", "no column label (or class, event-label, action)"),
        ("video,label,start", "no column end (or offset, t-end, stop)"),
    ],
)
def test_a_table_without_the_columns(write, header, said):
    path = write("a.csv", header)
    assert refusal(path) == (
        f"{path}: line 1: {said} in the header {header!r}; the first line must name the columns, such as "
        "video,label,start,end"
    )


def test_columns_of_which_two_could_be_one(write):
    path = write("a.csv", "filename,name,label")
    assert refusal(path) == f"{path}: the columns 'filename' and 'name' could each be video; name one of them video"


# THUMOS's text


def test_thumos_text_of_both_subsets_in_folders_below(write, tmp_path):
    write("th/val/annotation/Diving_val.txt", "video_validation_1  1 2.5")
    write("th/test/annotation/Diving_test.txt", "video_test_1  1.0 2.5", "", "video_test_1 4 5")
    write("th/test/annotation/CliffDiving_test.txt", "video_test_1  1.0 2.5")
    path = write("th/test/annotation/Ambiguous_test.txt", "video_test_1  3.0 3.5").parents[2]
    videos = read(path)
    assert videos["video_validation_1"] == Video("video_validation_1", "val", None, (Instance("Diving", (1.0, 2.5)),))
    assert videos["video_test_1"].labels == {"CliffDiving", "Diving"}
    assert videos["video_test_1"].instances == (
        Instance("CliffDiving", (1.0, 2.5)),
        Instance("Diving", (1.0, 2.5)),
        Instance("Diving", (4.0, 5.0)),
        Instance("Ambiguous", (3.0, 3.5)),
    )
    assert remarks(list(videos.values()), path) == []


def test_the_class_list_says_which_files_are_classes(write):
    write("th/Diving_test.txt", "v 1 2")
    write("th/Other_test.txt", "v 1 2")
    path = write("th/detclasslist.txt", "1 Diving").parent
    assert read(path)["v"].labels == {"Diving"}
    assert opened(path).notes[1:] == ("1 file is left out, of no class in detclasslist.txt: Other_test.txt",)


def test_malformed_thumos_text(write):
    path = write("th/Diving_test.txt", "v 1 2", "w 3 1").parent
    write("th/Jump_val.txt", "v 1 2")
    assert refusal(path).splitlines() == [
        f"{path}: video 'v': it is in subset 'test' (Diving_test.txt, line 1) and in 'val' (Jump_val.txt, line "
        "1); keep one",
        f"{path}: video 'w': Diving_test.txt, line 2: the interval must have 0 <= start <= end, got [3, 1]",
    ]
    write("th/Diving_test.txt", "v 1 2", "v 1 2 3")
    assert refusal(path) == f"{path}/Diving_test.txt: line 2: 'v 1 2 3' does not have the form 'video start end'"


# W-TALC's sidecars


def lists(*entries):
    array = np.empty(len(entries), object)
    for row, entry in enumerate(entries):
        array[row] = entry
    return array


@pytest.fixture
def sidecars(tmp_path):
    folder = tmp_path / "sidecars"
    folder.mkdir()
    np.save(folder / "videoname.npy", np.array([b"v", b"w"]))
    np.save(folder / "subset.npy", np.array([b"validation", b"test"]))
    np.save(folder / "duration.npy", np.array([[10.0], [20.0]]))
    np.save(folder / "extracted_fps.npy", np.array([10, 10]))
    np.save(folder / "labels.npy", lists(["jump", "run"], []), allow_pickle=True)
    np.save(folder / "labels_all.npy", lists(["jump"], ["run"]), allow_pickle=True)
    np.save(folder / "segments.npy", lists([[1.0, 2.5], [3, 4]], []), allow_pickle=True)
    (folder / "Ambiguous_test.txt").write_text("w  1.0 2.0\nunknown 1 2\n")
    return folder


ALLOWED = {"name": "auto", "allow_pickle": True}


def test_sidecars(sidecars):
    assert read(sidecars, ALLOWED) == {
        "v": Video("v", "validation", 10.0, (JUMP, Instance("run", (3.0, 4.0)))),
        "w": Video("w", "test", 20.0, (Instance("run"), Instance("Ambiguous", (1.0, 2.0)))),
    }
    assert frame_rates(opened(sidecars, ALLOWED), {"v", "w"}) == {"v": 10.0, "w": 10.0}
    assert opened(sidecars, ALLOWED).notes == (
        "annotations 'sidecars' are W-TALC's sidecars, read by 'wtalc'; videos: 1 in 'test', 1 in 'validation'",
        "video 'v' has other labels in labels_all.npy than in labels.npy, which counts",
    )


@pytest.mark.parametrize("reader", ["auto", "wtalc"])
def test_pickled_sidecars_must_be_allowed(sidecars, reader):
    assert refusal(sidecars, reader) == (
        f"{sidecars}/labels.npy: a pickled array, which is not read unless data.annotation_reader = "
        "{ name = 'wtalc', allow_pickle = true }; no code in it is run then either"
    )


class Hostile:
    def __reduce__(self):
        return open, ("ran", "w")


def test_a_hostile_sidecar_runs_nothing(sidecars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(sidecars / "labels.npy", lists([Hostile()], []), allow_pickle=True)
    assert refusal(sidecars, ALLOWED) == (
        f"{sidecars}/labels.npy: not a readable array of lists: it names 'io.open', which is no part of an array"
    )
    assert not (tmp_path / "ran").exists()


def test_a_list_that_repeats_itself_is_no_bomb(tmp_path):
    shared = ["x"] * 100_000
    np.save(tmp_path / "l.npy", lists(*[shared] * 1000), allow_pickle=True)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - it is held below
        load_lists(tmp_path / "l.npy")
    assert str(error.value) == f"{tmp_path}/l.npy: not a readable array of lists: it repeats lists without end"


@pytest.mark.parametrize("protocol", range(5))
def test_lists_of_any_protocol(tmp_path, protocol):
    array = lists(["jump", "run"], [[1.5, 2]], [])
    with (tmp_path / "l.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=protocol)
    assert load_lists(tmp_path / "l.npy") == [["jump", "run"], [[1.5, 2]], []]


@pytest.mark.parametrize(
    ("file", "array", "said"),
    [
        ("subset.npy", np.array([b"test"]), "{}/subset.npy: 1 entries, but videoname.npy names 2 videos"),
        ("videoname.npy", np.array([b"v", b"v"]), "{}/videoname.npy: video 'v' comes twice, in rows 0 and 1"),
        ("duration.npy", np.ones((2, 2)), "{}/duration.npy: expected a number for each video"),
        ("duration.npy", np.array([0.0, 1.0]), "{}: video 'v': duration.npy must be positive, got 0"),
        ("segments.npy", lists([[1, 2]], []), "{}: video 'v': 2 labels in labels.npy, but 1 segments in segments.npy"),
        (
            "segments.npy",
            lists([[1, 2], [[1], 2]], []),
            "{}: video 'v': segments.npy must have [start, end] in seconds for each label",
        ),
        (
            "labels.npy",
            lists([1, 2], []),
            "{}: video 'v': expected the name of a video, a subset or a class, got a int",
        ),
    ],
)
def test_malformed_sidecars(sidecars, file, array, said):
    np.save(sidecars / file, array, allow_pickle=True)
    assert refusal(sidecars, ALLOWED) == said.format(sidecars)


# What auto says of what it cannot read

TRIED = (
    "no annotations that a reader knows; tried activitynet (a file of JSON), table (a .csv or .tsv file with a "
    "header, or "
    "a folder of them), thumos14 (a folder of CLASS_SUBSET.txt) and wtalc (a folder with videoname.npy)"
)


def test_near_misses_of_folders(write, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    give = "give the annotations' file or folder as data.annotations"
    assert refusal(folder) == f"{folder}: an empty folder, {TRIED}; {give}"
    write("data/rgb/v.npy", "")
    assert refusal(folder) == f"{folder}: a folder with 1 .npy files, {TRIED}; features go in data.features; {give}"
    write("data/gt.json", "{}")
    write("data/b.json", "{}")
    assert refusal(folder) == (
        f"{folder}: a folder with 2 .json, 1 .npy files, {TRIED}; for b.json in it, give that file as data.annotations"
    )


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    assert refusal(tmp_path / "a.json") == (
        f"{tmp_path}/a.json: neither a file nor a folder, {TRIED}; give the annotations' file or folder as "
        "data.annotations"
    )


def test_near_misses_of_files(write, sidecars):
    path = write("Diving_test.txt", "v 1 2")
    assert refusal(path) == (
        f"{path}: lines 'video start end', {TRIED}; for THUMOS's text, give the folder {path.parent} as "
        "data.annotations"
    )
    path = write("split_test.txt", "v", "w")
    assert (
        refusal(path) == f"{path}: a list of names, {TRIED}; labels are in another file; give that as data.annotations"
    )
    path = write("a.txt", "v jump 1 2")
    assert refusal(path) == (
        f"{path}: text that begins 'v jump 1 2', {TRIED}; put a header over it, such as video,label,start,end, "
        "and save "
        "it as a .csv file"
    )
    path = sidecars / "videoname.npy"
    assert refusal(path) == (
        f"{path}: an array of numpy, {TRIED}; for the sidecars around it, give their folder {sidecars} as "
        "data.annotations"
    )
    path = sidecars.with_name("none.json")
    assert refusal(path) == f"{path}: cannot read annotations: No such file or directory"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"results": {}}, "it has 'results', as detections have; give the file of annotations as data.annotations"),
        ({"v": {"subset": "test"}}, 'it looks like the videos alone; write {"database": ...} around them'),
        (
            [{"filename": "v", "start_seconds": 1}],
            "it looks like a list of instances with the keys 'filename', 'start_seconds'; save it as a table, a "
            ".csv file",
        ),
        ([], "is this an annotation file in ActivityNet's format?"),
    ],
)
def test_near_misses_of_json(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert refusal(path) == f"{path}: no object under the key 'database'; {said}"


def test_the_wrong_reader_is_told_which_one_fits(write, tmp_path, sidecars):
    table = write("a.csv", "video,label", "v,jump")
    assert refusal(table, "activitynet").endswith(
        "; it looks like a table with a header: set data.annotation_reader = 'table'"
    )
    text = write("a.json", json.dumps({"database": {}}))
    assert refusal(text, "table").endswith("; it looks like JSON: set data.annotation_reader = 'activitynet'")
    assert refusal(text, "thumos14") == (
        f"{text}: no such folder of THUMOS's text files, CLASS_SUBSET.txt; it looks like JSON: set "
        "data.annotation_reader = "
        "'activitynet'"
    )
    assert refusal(sidecars, "table").endswith(
        "; it looks like a folder of W-TALC's sidecars: set data.annotation_reader = 'wtalc'"
    )


# What is odd, and kept


def video(name, *segments, duration=10.0):
    return Video(name, "t", duration, tuple(Instance("jump", segment) for segment in segments))


def test_oddities_are_counted(tmp_path):
    videos = [
        video("u", (1, 2)),
        video("x", (4, 5), duration=None),
        video("v", (1, 11), (2, 11), (11, 12), (1, 2), (1, 2)),
        video("w", (9, 12)),
    ]
    assert remarks(videos, tmp_path) == [
        "1 segment of 'v' starts after the end of its video, so nothing can match it; kept",
        "3 segments of 2 videos, such as 'v' end after their video; kept",
        "1 instance of 'v' repeats another one of its video to the digit; kept",
    ]


def test_times_in_other_units_are_refused(tmp_path):
    videos = [video("v", (25, 50)), video("w", (250, 300)), video("x", (1, 2))]
    with pytest.raises(DataError) as error:
        remarks(videos, tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: in 2 of 3 videos, such as 'v', segments start after the video's end; segments and "
        "durations must both "
        "be seconds, so look whether one of them is frames or fractions"
    )


def test_a_run_reads_a_table(wtal, fakes, tiny):
    database = json.loads((tiny.parent / "annotations.json").read_text())["database"]
    lines = ["video,subset,duration,label,start,end"]
    for name, one in database.items():
        lines += [
            ",".join(map(str, (name, one["subset"], one["duration"], a["label"], *a["segment"])))
            for a in one["annotations"]
        ]
    (tiny.parent / "a.csv").write_text("\n".join(lines))
    answer = wtal("validate", tiny, "--set", "data.annotations=a.csv")
    assert (answer.code, answer.err) == (0, "")
    assert (
        "  note: annotations 'a.csv' are a table, read by 'table'; videos: 6 in 'training', 3 in 'validation'"
        in answer.out.splitlines()
    )


# Public files


@pytest.mark.parametrize(
    ("place", "options", "videos", "instances", "subsets"),
    [
        ("formats/basnet/gt.json", {}, 410, 6318, {"train", "test"}),
        ("formats/wtalc/Thumos14reduced-Annotations", {"allow_pickle": True}, 412, 6461, {"validation", "test"}),
        ("evaluation/thumos14-official", {}, 213, 3457, {"test"}),
        ("evaluation/thumos14-stpn/ground_truth.json", {}, 210, 3311, {"test"}),
    ],
)
def test_public_files_are_read_whole(place, options, videos, instances, subsets):
    path = SHARED / "data" / place
    if not path.exists():
        pytest.skip(f"{path} is absent")
    found = read(path, {"name": "auto", **options})
    assert (len(found), sum(len(one.instances) for one in found.values())) == (videos, instances)
    assert {one.subset for one in found.values()} == subsets
    assert len(set().union(*(one.labels for one in found.values()))) == 20


def test_the_public_sidecars_agree_with_the_official_text():
    folder = SHARED / "data"
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    text = read(folder / "evaluation/thumos14-official")
    path = folder / "formats/wtalc/Thumos14reduced-Annotations"
    sidecars = read(path, ALLOWED)
    tests = {name: one for name, one in sidecars.items() if one.subset == "test"}
    assert text.keys() - tests.keys() == {"video_test_0001292"}  # which has nothing but ambiguous intervals
    assert {name: sorted(one.instances) for name, one in tests.items()} == {
        name: sorted(one.instances) for name, one in text.items() if name in tests
    }
    assert remarks(list(sidecars.values()), path) == [
        "30 segments of 5 videos, such as 'video_validation_0000364' start after the end of their video, so "
        "nothing can "
        "match them; kept"
    ]
    cliff = [one for video in text.values() for one in video.instances if one.label == "CliffDiving"]
    diving = {(v.name, one.segment) for v in text.values() for one in v.instances if one.label == "Diving"}
    assert len(cliff) == 217
    assert all(
        (v.name, one.segment) in diving for v in text.values() for one in v.instances if one.label == "CliffDiving"
    )
