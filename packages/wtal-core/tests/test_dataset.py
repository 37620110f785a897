"""Time axis, joint streams, and what is checked before training."""

import errno
import os

import numpy as np
import pytest
from wtal_core import config
from wtal_core.contracts import Instance, Video
from wtal_core.data.dataset import Moments, examine, survey
from wtal_core.data.timeline import snippet_edges
from wtal_core.errors import DataError, Problems, WtalError
from wtal_core.registry import discover
from wtal_core.testing import tmp_plugin

from . import naive
from .conftest import edit_json

# The time axis


@pytest.mark.parametrize(
    ("grid", "edges"),
    [
        (config.SnippetGrid(25, 16), [0.0, 0.64, 1.28, 1.92]),
        (config.SnippetGrid(25, 16, 16), [0.0, 0.64, 1.28, 1.92]),
        (config.SnippetGrid(10, 2, 6), [0.2, 0.4, 0.6, 0.8]),
        (config.SnippetGrid(10, 4, 2), [-0.1, 0.3, 0.7, 1.1]),
    ],
)
def test_edges_on_a_grid_of_frames_surround_the_windows_middles(grid, edges):
    found = snippet_edges(grid, 3, None)
    np.testing.assert_allclose(found, edges, rtol=0, atol=1e-12)
    middles = [naive.snippet_middle(grid, i) for i in range(3)]
    np.testing.assert_allclose((found[:-1] + found[1:]) / 2, middles, rtol=0, atol=1e-12)


def test_edges_on_a_grid_of_frames_do_not_look_at_the_duration():
    grid = config.SnippetGrid(10, 2)
    np.testing.assert_array_equal(snippet_edges(grid, 4, 3.0), snippet_edges(grid, 4, None))


@pytest.mark.parametrize(("length", "edges"), [(4, [0, 0.5, 1, 1.5, 2]), (1, [0, 2]), (0, [0])])
def test_edges_by_duration_share_the_video_evenly(length, edges):
    np.testing.assert_array_equal(snippet_edges("duration", length, 2.0), edges)


def test_edges_by_duration_need_one():
    with pytest.raises(ValueError, match=r"^the grid is 'duration', but the video has none$"):
        snippet_edges("duration", 3, None)


# Opening: everything is fine


@pytest.fixture
def opened(registry, tiny):
    """Open the tiny data set with settings: `opened("data.classes=[...]")`."""

    def do(*settings):
        dataset, found = examine(config.load(tiny, settings).data, registry)
        if found:
            raise Problems(found)
        return dataset

    return do


@pytest.fixture
def problems(opened):
    """The messages of all problems of opening the tiny data set."""

    def do(*settings):
        with pytest.raises(WtalError) as error:
            opened(*settings)
        raised = error.value
        return [str(problem) for problem in (raised.problems if isinstance(raised, Problems) else [raised])]

    return do


@pytest.fixture
def folder(tiny):
    return tiny.parent


def video(folder, name, **changes):
    """Change a video's annotation."""
    edit_json(folder / "annotations.json", lambda content: content["database"][name].update(changes))


def replace(folder, name, array, stream="rgb"):
    (folder / "features" / stream).mkdir(exist_ok=True)
    np.save(folder / "features" / stream / f"{name}.npy", array)


def test_an_open_data_set(opened, folder):
    dataset = opened()
    assert dataset.classes == ("jump", "run")
    assert [v.name for v in dataset.training] == [f"v{i}" for i in range(6)]
    assert [v.name for v in dataset.test] == ["v6", "v7", "v8"]
    assert dict(dataset.feature_dims) == {"rgb": 4, "flow": 4}
    assert dataset.length(dataset.test[0], "rgb") == 10
    np.testing.assert_allclose(dataset.edges(dataset.test[0], 10), np.arange(11) * 0.2)
    saved = np.load(folder / "features" / "flow" / "v6.npy")
    np.testing.assert_array_equal(dataset.read(dataset.test[0], "flow"), saved)
    np.testing.assert_array_equal(dataset.read(dataset.test[0], "flow", np.array([3, 3, 1])), saved[[3, 3, 1]])


def test_features_arrive_as_float32_whatever_the_file_has(opened, folder):
    replace(folder, "v0", np.ones((10, 4), np.int16))
    dataset = opened()
    assert dataset.read(dataset.training[0], "rgb").dtype == np.float32


def test_classes_have_the_order_of_the_experiment_if_it_gives_one(opened):
    dataset = opened('data.classes=["run","jump"]')
    assert dataset.classes == ("run", "jump")
    np.testing.assert_array_equal(dataset.targets(dataset.training[:2]), [[0, 1], [1, 0]])


def test_targets_count_instances(opened, folder):
    video(folder, "v0", annotations=[{"label": "run"}, {"label": "jump"}, {"label": "run"}])
    dataset = opened()
    np.testing.assert_array_equal(dataset.targets(dataset.training[:2]), [[1, 2], [0, 1]])


def test_ground_truth_has_every_test_video_also_without_instances(opened, folder):
    video(folder, "v6", annotations=[{"label": "run", "segment": [0.5, 1]}, {"label": "jump", "segment": [0, 0.25]}])
    video(folder, "v7", annotations=[])
    truth = opened().ground_truth()
    assert list(truth) == ["v6", "v7", "v8"]
    assert [field.tolist() for field in truth["v6"]] == [[1, 0], [0.5, 0.0], [1.0, 0.25]]
    assert [field.shape for field in truth["v7"]] == [(0,), (0,), (0,)]


def test_hdf5_holds_a_data_set_too(opened, folder):
    import h5py

    with h5py.File(folder / "features.h5", "w") as file:
        for path in (folder / "features").glob("*/*.npy"):
            file[f"{path.stem}/{path.parent.name}"] = np.load(path)
    dataset = opened("data.reader=hdf5", "data.features=features.h5")
    np.testing.assert_array_equal(dataset.read(dataset.test[0], "rgb"), np.load(folder / "features" / "rgb" / "v6.npy"))


# Joint streams


def test_joint_streams_lie_side_by_side_over_the_snippets_that_they_share(opened, folder):
    rgb, flow = (np.arange(10 * width, dtype=np.float32).reshape(10, width) + width for width in (4, 3))
    for number in range(9):
        replace(folder, f"v{number}", flow, "flow")
    replace(folder, "v0", rgb[:9])
    replace(folder, "v1", flow[:9], "flow")
    dataset = opened('data.streams=[["rgb","flow"]]')
    assert (dataset.streams, dict(dataset.feature_dims)) == (("rgb+flow",), {"rgb+flow": 7})
    first, second = dataset.training[:2]
    assert [dataset.length(v, "rgb+flow") for v in dataset.training[:3]] == [9, 9, 10]
    np.testing.assert_array_equal(dataset.read(first, "rgb+flow"), np.hstack([rgb[:9], flow[:9]]))
    saved = np.load(folder / "features" / "rgb" / "v1.npy")
    np.testing.assert_array_equal(dataset.read(second, "rgb+flow"), np.hstack([saved[:9], flow[:9]]))
    rows = np.array([8, 0, 0])
    np.testing.assert_array_equal(dataset.read(first, "rgb+flow", rows), np.hstack([rgb[rows], flow[rows]]))
    assert dataset.read(first, "rgb+flow").dtype == np.float32


def test_joint_streams_beside_a_single_one(opened, folder):
    replace(folder, "v0", np.ones((9, 4)))
    for number in range(9):
        replace(folder, f"v{number}", np.ones((10, 2)), "audio")
    dataset = opened('data.streams=["flow",["rgb","audio"]]')
    assert dict(dataset.feature_dims) == {"flow": 4, "rgb+audio": 6}
    assert [dataset.length(dataset.training[0], stream) for stream in dataset.streams] == [10, 9]
    assert dataset.shared_length(dataset.training[0]) == 9
    assert dataset.read(dataset.training[0], "flow").shape == (10, 4)


def test_joint_streams_are_standardised_each_by_itself(opened):
    apart = survey(opened()).statistics
    joint = survey(opened('data.streams=[["rgb","flow"]]')).statistics["rgb+flow"]
    for part in ("mean", "deviation"):
        expected = np.concatenate([getattr(apart[stream], part) for stream in ("rgb", "flow")])
        np.testing.assert_array_equal(getattr(joint, part), expected)


def test_what_is_wrong_with_joint_streams_is_said_of_their_parts(opened, problems, folder):
    array = np.ones((10, 4), np.float32)
    array[2, 1] = np.nan
    replace(folder, "v1", array, "flow")
    joint = 'data.streams=[["rgb","flow"]]'
    dataset = opened(joint)
    said = (
        f"video 'v1', stream 'flow': nan at snippet 2, feature 1 of {folder}/features; "
        "extract this video's features again or list it in data.exclude"
    )
    with pytest.raises(DataError) as error:
        dataset.read(dataset.training[1], "rgb+flow")
    assert str(error.value) == said
    assert [str(problem) for problem in survey(dataset).problems] == [said]
    replace(folder, "v2", np.ones((10, 5)), "flow")
    (folder / "features" / "rgb" / "v3.npy").unlink()
    replace(folder, "v4", np.ones((11, 4)))
    replace(folder, "v4", np.ones((9, 4)), "flow")
    assert problems(joint) == [
        f"video 'v3', stream 'rgb': {folder}/features/rgb/v3.npy: no such feature file; "
        "extract its features again or list it in data.exclude",
        f"video 'v2', stream 'flow' of {folder}/features: D = 5 features, but most videos have 4; "
        "extract it again or list it in data.exclude",
        "video 'v4': streams differ by more than one snippet: rgb 11, flow 9",
    ]


# One pass over every value


def test_a_survey_is_the_mean_and_the_deviation_of_the_training_subset(opened, folder):
    generator = np.random.default_rng(0)
    for number in range(9):
        features = generator.normal(3, 2, size=(9 + number % 3, 4)).astype(np.float32)
        features[:, 2] = 7.5  # constant
        replace(folder, f"v{number}", features)
    dataset = opened()
    found = survey(dataset)
    assert found.problems == []
    for stream in dataset.streams:
        saved = [np.load(folder / "features" / stream / f"v{number}.npy") for number in range(6)]
        mean, deviation = naive.statistics(saved)
        np.testing.assert_allclose(found.statistics[stream].mean, mean, rtol=1e-12)
        np.testing.assert_allclose(found.statistics[stream].deviation, deviation, rtol=1e-12)
        assert found.statistics[stream].count == sum(map(len, saved))
    assert found.statistics["rgb"].deviation[2] == 1.0


def test_moments_do_not_cancel_where_the_mean_is_large():
    generator = np.random.default_rng(0)
    parts = [1e6 + generator.normal(size=(n, 3)) for n in (1, 7, 40, 2)]
    moments = Moments(3)
    for part in parts:
        moments.add(part)
    mean, deviation = naive.statistics(parts)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-15)
    np.testing.assert_allclose(moments.deviation, deviation, rtol=1e-9)


def counted(dataset, monkeypatch):
    """What is read from the store from now on: video, stream, and whether the whole of it."""
    read, store = [], type(dataset.store)
    real = store.read

    def counting(self, name, stream, rows=None):
        read.append((name, stream, rows is None))
        return real(self, name, stream, rows)

    monkeypatch.setattr(store, "read", counting)
    return read


def test_a_survey_reads_every_array_once_and_tells_of_each_video(opened, monkeypatch):
    dataset = opened("data.test_subset=training")
    read, told = counted(dataset, monkeypatch), []
    found = survey(dataset, told.append)
    assert sorted(read) == [(f"v{i}", stream, True) for i in range(6) for stream in ("flow", "rgb")]
    assert told == [f"v{i}" for i in range(6)]
    assert survey(dataset, told.append) is found
    assert (len(read), len(told)) == (12, 12)


def test_a_survey_goes_on_after_what_is_wrong(opened, folder):
    for number, value in ((1, np.nan), (7, np.inf)):
        replace(folder, f"v{number}", np.full((10, 4), value, np.float32))
    dataset = opened()
    found = survey(dataset)
    assert [str(problem)[:29] for problem in found.problems] == [
        "video 'v1', stream 'rgb': nan",
        "video 'v7', stream 'rgb': inf",
    ]
    assert (found.statistics["rgb"].count, found.statistics["flow"].count) == (50, 60)


def test_what_is_wrong_with_many_arrays_is_counted(opened, folder):
    for number in range(9):
        for stream in ("rgb", "flow"):
            replace(folder, f"v{number}", np.full((10, 4), np.nan, np.float32), stream)
    told = [str(problem) for problem in survey(opened()).problems]
    assert len(told) == 11
    assert told[-1] == "... and 8 more videos and streams whose features cannot be used"


# Edges of another number of parts


@pytest.mark.parametrize(
    "grid", ["duration", "{frames_per_second=10, stride=2}", "{frames_per_second=10,stride=2,window=4}"]
)
@pytest.mark.parametrize("parts", [1, 3, 4, 10, 20, 33])
def test_edges_of_equal_parts_of_the_snippets(opened, grid, parts):
    dataset = opened(f"data.grid={grid}")
    edges, all_of_them = dataset.edges(dataset.training[0], parts), dataset.edges(dataset.training[0], 10)
    assert edges.shape == (parts + 1,)
    np.testing.assert_allclose(edges, np.linspace(all_of_them[0], all_of_them[-1], parts + 1), rtol=0, atol=1e-12)
    if parts == 20:
        np.testing.assert_allclose(edges[::2], all_of_them, rtol=0, atol=1e-12)


def test_edges_are_those_of_the_snippets_that_all_streams_share(opened, folder):
    replace(folder, "v0", np.ones((9, 4)))
    dataset = opened()
    np.testing.assert_allclose(dataset.edges(dataset.training[0], 9), np.arange(10) * 0.2)
    np.testing.assert_allclose(dataset.edges(dataset.training[0], 3), [0, 0.6, 1.2, 1.8])


# Opening: a third party's annotations


class Index:
    """Every feature file of the stream rgb is a video, the last three for testing; the class is its parity."""

    notes = ("1 video is in no list and is left out",)

    def __init__(self, path, *, last=3):
        if not path.is_dir():
            raise OSError(f"{path}: no such folder")
        self.found = sorted(file.stem for file in path.glob("*.npy"))
        self.last = last

    def names(self):
        return self.found

    def video(self, name):
        if not name[1:].isdecimal():
            raise ValueError("its name has no number")
        subset = "validation" if name in self.found[-self.last :] else "training"
        return Video(name, subset, 2.0, (Instance("even" if int(name[1:]) % 2 == 0 else "odd", (0.0, 1.0)),))


@pytest.fixture
def index():
    with tmp_plugin("annotation reader", "index", Index):
        yield ("data.annotation_reader={name='index', last=2}", "data.annotations=features/rgb")


def test_annotations_come_from_the_reader_that_the_experiment_names(fakes, index, tiny):
    dataset, found = examine(config.load(tiny, index).data, discover())
    assert found == []
    assert (dataset.classes, len(dataset.training), len(dataset.test)) == (("even", "odd"), 7, 2)
    assert dataset.notes == Index.notes
    assert list(dataset.ground_truth()) == ["v7", "v8"]


def test_validate_prints_what_a_reader_left_out(fakes, index, wtal, tiny):
    answer = wtal("validate", tiny, *(word for setting in index for word in ("--set", setting)))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1] == "  note: 1 video is in no list and is left out"


def test_what_a_readers_file_lacks_is_said_with_the_file(fakes, index, wtal, tiny, folder):
    replace(folder, "v", np.ones((10, 4)))
    settings = [word for setting in index for word in ("--set", setting)]
    expected = f"error: {folder}/features/rgb: video 'v': its name has no number\n"
    assert wtal("validate", tiny, *settings).err == wtal("run", tiny, *settings).err == expected
    answer = wtal("run", tiny, *settings, "--set", "data.annotations=none")
    assert (answer.code, answer.err) == (2, f"error: {folder}/none: no such folder\n")


# Opening: lengths


@pytest.mark.parametrize("window", [2, 6])
@pytest.mark.parametrize(("off", "fits"), [(0, True), (1, True), (-1, True), (2, False), (-2, False)])
def test_the_length_may_differ_from_the_duration_by_one_snippet(opened, problems, folder, window, off, fits):
    length = (20 - window) // 2 + 1 + off
    for stream in ("rgb", "flow"):
        replace(folder, "v0", np.ones((length, 4)), stream)
    for name in [f"v{i}" for i in range(1, 9)]:
        video(folder, name, duration=None)
    settings = [f"data.grid.window={window}"]
    if fits:
        assert opened(*settings).length(opened(*settings).training[0], "rgb") == length
    else:
        assert problems(*settings) == [
            f"video 'v0', stream {stream!r} of {folder}/features: T = {length} snippets, but 2 s at 10 frames per "
            f"second and stride 2 make {length - off:.1f}; correct data.grid, the duration or the features"
            for stream in ("rgb", "flow")
        ]


@pytest.mark.parametrize(("duration", "fits"), [(2.2, True), (2.21, False), (1.8, True), (1.79, False)])
def test_the_border_of_one_snippet_is_exact(opened, problems, folder, duration, fits):
    video(folder, "v0", duration=duration, annotations=[{"label": "jump"}])
    if fits:
        assert opened().training[0].duration == duration
    else:
        assert len(problems()) == 2


def test_no_snippets(problems, folder):
    replace(folder, "v0", np.ones((0, 4)))
    assert f"video 'v0', stream 'rgb' of {folder}/features: no snippets (T = 0)" in problems()


def test_the_grid_duration_needs_the_durations(problems, folder):
    video(folder, "v0", duration=None)
    said = "data.grid is 'duration', but the annotation has no duration"
    assert problems("data.grid=duration") == [
        f"video 'v0', stream {stream!r} of {folder}/features: {said}" for stream in ("rgb", "flow")
    ]


def test_streams_may_differ_by_one_snippet_but_not_by_two(opened, problems, folder):
    replace(folder, "v0", np.ones((9, 4)))
    assert opened().length(opened().training[0], "rgb") == 9
    replace(folder, "v0", np.ones((11, 4)), "flow")
    assert problems() == ["video 'v0': streams differ by more than one snippet: rgb 9, flow 11"]


# Opening: features


def test_a_missing_file_is_named_with_its_video_and_stream(problems, folder):
    (folder / "features" / "flow" / "v7.npy").unlink()
    assert problems() == [
        f"video 'v7', stream 'flow': {folder}/features/flow/v7.npy: no such feature file; "
        "extract its features again or list it in data.exclude"
    ]


def test_missing_features_altogether(problems, folder):
    assert problems("data.features=none") == [f"{folder}/none: no such folder of features"]


def test_names_meet_in_any_spelling(opened, folder):
    nfc, nfd = "caf\xe9", "cafe\u0301"
    edit_json(
        folder / "annotations.json",
        lambda content: content["database"].update({f" {nfc}": content["database"].pop("v0")}),
    )
    for stream in ("rgb", "flow"):
        (folder / "features" / stream / "v0.npy").rename(folder / "features" / stream / f"{nfd}.npy")
    video(folder, "v1", annotations=[{"label": "run "}], subset="training ")
    dataset = opened('data.classes=["run","jump\\t"]')
    assert dataset.classes == ("run", "jump")
    assert dataset.training[-1].name == "v5"
    first = next(v for v in dataset.training if v.name == nfc)
    saved = np.load(folder / "features" / "rgb" / f"{nfd}.npy")
    np.testing.assert_array_equal(dataset.read(first, "rgb"), saved)
    np.testing.assert_array_equal(dataset.read(first, "rgb", np.array([3])), saved[[3]])
    assert len(opened(f'data.exclude=["{nfd}", "v1 "]').training) == 4


def test_two_files_of_one_name_are_an_error(problems, folder):
    for name in ("caf\xe9", "cafe\u0301"):
        replace(folder, name, np.ones((10, 4)))
    said = problems()
    assert len(said) == 1
    assert said[0].startswith("stream 'rgb': 'caf")
    assert said[0].endswith(" are the same name; rename or remove one")


def rename_features(folder, rename):
    for stream in ("rgb", "flow"):
        for file in list((folder / "features" / stream).glob("*.npy")):
            renamed = file.parent / f"{rename.format(file.stem)}.npy"
            renamed.parent.mkdir(exist_ok=True)
            file.rename(renamed)


@pytest.mark.parametrize(
    ("rename", "difference"),
    [
        ("v_{}", "the prefix 'v_'"),
        ("{}.mp4", "the suffix of a file"),
        ("test/{}", "the folder before the name"),
        ("test/v_{}", "the folder before the name and the prefix 'v_'"),
    ],
)
def test_names_meet_but_for_folder_prefix_and_suffix(opened, folder, rename, difference):
    expected = opened().read(opened().training[2], "rgb")
    rename_features(folder, rename)
    dataset = opened()
    np.testing.assert_array_equal(dataset.read(dataset.training[2], "rgb"), expected)
    np.testing.assert_array_equal(dataset.read(dataset.training[2], "rgb", np.array([4])), expected[[4]])
    assert dataset.found.endswith(f"D = 4, 9 of 9 videos, names equal but for {difference}")


def test_features_that_may_be_of_either_are_nobodys(problems, folder):
    for stream in ("rgb", "flow"):
        for subset in ("train", "test"):
            (folder / "features" / stream / subset).mkdir()
            np.save(folder / "features" / stream / subset / "v0.npy", np.ones((10, 4), np.float32))
        (folder / "features" / stream / "v0.npy").unlink()
    assert problems() == [
        f"video 'v0', stream {stream!r} of {folder}/features: no features have this name, and 'test/v0' and 'train/v0' "
        "are as near to it or to another video; rename or remove what is not meant, or set data.features to the folder "
        "that is"
        for stream in ("rgb", "flow")
    ]


@pytest.mark.parametrize(("rename", "name", "difference"), [("V{0[1]}", "V0", "upper and lower case")])
def test_what_nearly_meets_is_said_once(problems, folder, rename, name, difference):
    rename_features(folder, rename)
    assert problems() == [
        f"stream {stream!r} of {folder}/features: 9 videos have features under a name that is only nearly theirs, such "
        f"as 'v0' under {name!r}; names must be equal, and these differ in {difference}: rename the features, or the "
        "videos in the annotations"
        for stream in ("rgb", "flow")
    ]


def many(folder, count, **changes):
    edit_json(
        folder / "annotations.json",
        lambda content: content["database"].update(
            {f"w{i}": dict(content["database"]["v0"], **changes) for i in range(count)}
        ),
    )


def test_problems_of_one_form_are_counted(problems, wtal, tiny, folder):
    many(folder, 3000)
    said = problems()
    for stream in ("rgb", "flow"):
        assert sum(f"stream {stream!r}: {folder}/features/{stream}/w" in line for line in said) == 10
        assert f"... and 2990 more videos of stream {stream!r} without features that can be read" in said
    assert len(said) == 22
    assert len(wtal("validate", tiny).err) < 10_000


def test_a_class_that_many_videos_have_is_unknown_once(problems, folder):
    for name in ("v6", "v7", "v8"):
        video(folder, name, annotations=[{"label": "Run", "segment": [0, 1]}])
    assert problems() == [
        f"{folder}/annotations.json: video 'v6' has class 'Run' (as 2 more have), which the training subset 'training' "
        "lacks; did you mean 'run'?"
    ]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "raise the limit on open files (ulimit -n)"),
        (PermissionError(errno.EACCES, "Permission denied"), "let this user read it"),
        (OSError(errno.EIO, "Input/output error"), "check the disk"),
    ],
)
def test_the_advice_fits_the_cause(opened, folder, monkeypatch, error, remedy):
    dataset = opened()

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError) as raised:
        dataset.read(dataset.training[0], "rgb")
    assert str(raised.value) == (
        f"video 'v0', stream 'rgb': {folder}/features/rgb/v0.npy: cannot be opened: {error.strerror}; {remedy}"
    )


def test_features_of_no_width(problems, folder):
    for number in range(9):
        replace(folder, f"v{number}", np.ones((10, 0)))
    assert problems() == [f"stream 'rgb' of {folder}/features: D = 0, so there are no features"]


def test_another_width_than_most_videos_have(problems, folder):
    replace(folder, "v3", np.ones((10, 5)))
    assert problems() == [
        f"video 'v3', stream 'rgb' of {folder}/features: D = 5 features, but most videos have 4; "
        "extract it again or list it in data.exclude"
    ]


def test_a_misspelt_stream_is_said_once(problems, folder):
    assert problems("data.streams=['rgb','flo']") == [
        f"stream 'flo': {folder}/features: 18 .npy files, such as 'flow/v0', and 'flo' is no part of their paths; set "
        "data.streams to those of 'flow', 'rgb' that are streams"
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_found_when_a_whole_video_is_read(opened, folder, value):
    array = np.ones((10, 4), np.float32)
    array[7, 3] = value
    replace(folder, "v0", array)
    dataset = opened()
    with pytest.raises(DataError) as error:
        dataset.read(dataset.training[0], "rgb")
    assert str(error.value) == (
        f"video 'v0', stream 'rgb': {value} at snippet 7, feature 3 of {folder}/features; "
        "extract this video's features again or list it in data.exclude"
    )
    np.testing.assert_array_equal(dataset.read(dataset.training[0], "rgb", np.array([6, 8])), array[[6, 8]])


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_value_beyond_float32_is_not_finite(opened, folder):
    replace(folder, "v0", np.full((10, 4), 1e39))
    dataset = opened()
    with pytest.raises(DataError, match=r"^video 'v0', stream 'rgb': inf at snippet 0, feature 0 of "):
        dataset.read(dataset.training[0], "rgb")


# Opening: labels


def test_a_training_video_without_labels(problems, folder):
    video(folder, "v0", annotations=[])
    assert problems() == [
        f"{folder}/annotations.json: training video 'v0' has no label, and labels are all that training sees; "
        "annotate it or list it in data.exclude"
    ]


@pytest.mark.parametrize(
    ("settings", "name", "said"),
    [
        ((), "v6", "video 'v6' has class 'rum', which the training subset 'training' lacks; did you mean 'run'?"),
        (
            ('data.classes=["run","jump"]',),
            "v0",
            "video 'v0' has class 'rum', which data.classes lacks; did you mean 'run'?",
        ),
    ],
)
def test_an_unknown_class(problems, folder, settings, name, said):
    video(folder, name, annotations=[{"label": "rum", "segment": [0, 1]}])
    assert problems(*settings) == [f"{folder}/annotations.json: {said}"]


def test_a_class_named_twice(problems):
    assert problems('data.classes=["run","jump","run"]') == ["data.classes names a class twice: run, jump, run"]


AMBIGUOUS = {"label": "Ambiguous", "segment": [1.5, 2]}


def test_what_nobody_can_tell_is_no_class_and_has_label_minus_one(opened, folder):
    run = {"label": "run", "segment": [0.5, 1]}
    video(folder, "v0", annotations=[{"label": "jump"}, {"label": "Ambiguous"}])
    video(folder, "v6", annotations=[run, AMBIGUOUS])
    dataset = opened()
    assert dataset.classes == ("jump", "run")
    np.testing.assert_array_equal(dataset.targets(dataset.training[:1]), [[1, 0]])
    assert [field.tolist() for field in dataset.ground_truth()["v6"]] == [[1, -1], [0.5, 1.5], [1, 2]]


def test_what_nobody_can_tell_is_no_label_of_a_training_video(problems, folder):
    video(folder, "v0", annotations=[AMBIGUOUS])
    assert problems() == [
        f"{folder}/annotations.json: training video 'v0' has no label, and labels are all that training sees; "
        "annotate it or list it in data.exclude"
    ]


def test_a_test_subset_of_nothing_else_cannot_be_evaluated(opened, folder):
    for name in ("v6", "v7", "v8"):
        video(folder, name, annotations=[AMBIGUOUS])
    with pytest.raises(Problems) as error:
        opened().ground_truth()
    assert str(error.value) == (
        f"{folder}/annotations.json: subset 'validation' has nothing but 'Ambiguous', so detections cannot be evaluated"
    )


def test_what_nobody_can_tell_cannot_be_listed_as_a_class(problems):
    assert problems('data.classes=["run","jump","Ambiguous "]') == [
        "data.classes names 'Ambiguous', the mark of intervals of which nobody can say what they show; remove it"
    ]


def test_one_subset_may_be_both_on_purpose(opened):
    dataset = opened("data.test_subset=Training")
    assert [v.name for v in dataset.test] == [v.name for v in dataset.training]


@pytest.mark.parametrize("missing", [{"label": "run"}, {"label": "run", "segment": None}])
def test_ground_truth_needs_segments(opened, folder, missing):
    for name in ("v6", "v8"):
        video(folder, name, annotations=[{"label": "jump", "segment": [0, 1]}, missing])
    with pytest.raises(Problems) as error:
        opened().ground_truth()
    assert str(error.value).splitlines() == [
        f"{folder}/annotations.json: video {name!r} of subset 'validation' has no segment for run, "
        "so detections cannot be evaluated"
        for name in ("v6", "v8")
    ]


def test_all_problems_come_at_once(problems, folder):
    video(folder, "v0", annotations=[])
    replace(folder, "v3", np.ones((10, 5)))
    (folder / "features" / "flow" / "v7.npy").unlink()
    assert len(problems()) == 3


def test_validation_adds_what_only_reading_every_value_shows(fakes, wtal, tiny, folder):
    array = np.ones((10, 4), np.float32)
    array[2, 1] = np.nan
    replace(folder, "v1", array, "flow")
    video(folder, "v8", annotations=[{"label": "run"}])
    (folder / "features" / "rgb" / "v7.npy").unlink()
    answer = wtal("validate", tiny, "--set", "model.aggregator=stpm", "--set", "localization.proposer.fractoin=1")
    assert (answer.code, answer.out) == (2, "")
    said = [line.removeprefix("error: ").replace(str(folder), "FOLDER") for line in answer.err.splitlines()]
    assert said == [
        "unknown aggregator 'stpm'; known: maa (not installed: pip install wtal-aggregators)",
        "proposer 'threshold' of wtal-fakes 1.0 has no option 'fractoin'; did you mean 'fraction'? "
        "its options: fraction",
        "video 'v7', stream 'rgb': FOLDER/features/rgb/v7.npy: no such feature file; "
        "extract its features again or list it in data.exclude",
        "FOLDER/annotations.json: video 'v8' of subset 'validation' has no segment for run, "
        "so detections cannot be evaluated",
        "video 'v1', stream 'flow': nan at snippet 2, feature 1 of FOLDER/features; "
        "extract this video's features again or list it in data.exclude",
    ]


@pytest.mark.parametrize(
    ("grid", "duration", "seconds"),
    [
        ("{ frames_per_second = 10, stride = 2 }", 2.0, 0.2),
        ("{ frames_per_second = 10, stride = 2, window = 3 }", 2.2, 0.2),  # whatever the durations
        ("'duration'", 2.0, 0.2),
        ("'duration'", 2.15, 0.2),  # v0's snippets are a little longer
        ("'duration'", 2.3, None),
        ("'duration'", 1.7, None),
    ],
)
def test_the_time_of_a_snippet_is_known_where_videos_agree(opened, folder, grid, duration, seconds):
    video(folder, "v0", duration=duration)
    found = opened(f"data.grid={grid}").dimensions("rgb").snippet_seconds
    assert found == (None if seconds is None else pytest.approx(seconds, rel=1e-9))
