"""Time: named grids, annotated rates, offsets, single videos, and which grid would fit lengths that disagree."""

from typing import get_args

import numpy as np
import pytest
from wtal_core import config
from wtal_core.config import SnippetGrid
from wtal_core.data.dataset import examine
from wtal_core.data.fitting import Length, fitting_grid
from wtal_core.data.timeline import expected_length, misfit, snippet_edges
from wtal_core.errors import Problems, WtalError

from .conftest import edit_json


def test_every_named_grid_may_be_named():
    names, table = get_args(config.Grid)
    assert (get_args(names), table) == (("duration", *config.GRIDS), SnippetGrid)


@pytest.mark.parametrize(
    ("grid", "rate", "edges"),
    [
        ("i3d-25fps-16", None, [0, 0.64, 1.28]),
        ("i3d-25fps-16", 30.0, [0, 0.64, 1.28]),
        ("i3d-stride-4", 30.0, [6 / 30, 10 / 30, 14 / 30]),
        ("tsp-15fps-16", None, [0, 16 / 15, 32 / 15]),
        ("untrimmednet-10fps-4", None, [0, 0.4, 0.8]),
        (SnippetGrid("annotated", 4, 16), 25.0, [6 / 25, 10 / 25, 14 / 25]),
        (SnippetGrid(25, 4, 16, -8), None, [-2 / 25, 2 / 25, 6 / 25]),
        (SnippetGrid(10, 2, offset=3), None, [0.3, 0.5, 0.7]),
    ],
)
def test_edges(grid, rate, edges):
    np.testing.assert_allclose(snippet_edges(grid, 2, None, rate), edges, rtol=0, atol=1e-12)


def test_actionformers_snippets_stand_at_its_window_centres():
    edges = snippet_edges("i3d-stride-4", 50, None, 29.97)
    for i in range(50):
        seconds = (i * 4 + 0.5 * 16) / 29.97  # its segments * fps / feat_stride - feat_offset, solved for seconds
        assert (edges[i] + edges[i + 1]) / 2 == pytest.approx(seconds, abs=1e-12)


def test_an_annotated_rate_must_be_there():
    said = (
        "data.grid wants the annotated frames per second, and the annotations have none for this video; give a "
        "number as "
        "data.grid.frames_per_second"
    )
    assert misfit("i3d-stride-4", 10, None) == misfit("i3d-stride-4", 10, 3.0) == said
    with pytest.raises(ValueError) as error:  # noqa: PT011 - it is held below
        snippet_edges("i3d-stride-4", 10, None)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("grid", "windows"),
    [
        (SnippetGrid(10, 2), 50),  # of 100 frames
        (SnippetGrid(10, 4, 16), 22),
        (SnippetGrid(10, 4, 16, 8), 20),
        (SnippetGrid(10, 4, 16, -8), 26),
    ],
)
def test_the_number_of_windows(grid, windows):
    frames = 100
    padding = int(-min(grid.offset, 0))
    starts = range(int(grid.offset), frames + padding - (grid.window or grid.stride) + 1, grid.stride)
    assert len(starts) == windows == int(expected_length(grid, float(frames)))


# Which grid would fit

DURATIONS = (12.0, 60.5, 211.3, 33.3)


def lengths(of, rates=(None,) * 4):
    return [Length(f"v{i}", of(d), d, r) for i, (d, r) in enumerate(zip(DURATIONS, rates, strict=True))]


def told(of, grid="i3d-25fps-16", rates=(None,) * 4):
    return fitting_grid(lengths(of, rates), grid)


def test_a_grid_that_fits_is_told():
    assert told(lambda d: int(d * 25 / 16)) is None
    assert told(lambda d: int(d * 25 / 16), SnippetGrid(25, 8)) == (
        'T is 1.5625 snippets a second in all 4 videos: set data.grid = "i3d-25fps-16"'
    )
    assert told(lambda d: int((d * 30 - 16) / 4) + 1) == (
        "T is 7.5 snippets a second in all 4 videos: set data.grid = { frames_per_second = 30, stride = 4, "
        "window = 16 }"
    )
    assert told(lambda d: round(d * 7.3)) == (
        "T is 7.3 snippets a second in all 4 videos: set data.grid = { frames_per_second = 116.8, stride = 16 }"
    )


def test_a_grid_of_annotated_rates_is_told():
    rates = (25.0, 30.0, 24.0, 29.97)
    found = [
        Length(one.video, int((one.duration * r - 16) / 4) + 1, one.duration, r)
        for one, r in zip(lengths(int), rates, strict=True)
    ]
    assert fitting_grid(found, "i3d-25fps-16") == (
        'T is the annotated frames a second by 4 in all 4 videos: set data.grid = "i3d-stride-4"'
    )


def test_resampled_features_are_told():
    assert told(lambda d: 100) == (
        'T is 100 in all 4 videos, whatever their duration, as where features are resampled: set data.grid = "duration"'
    )


def test_a_grid_for_most_videos_names_one_of_the_others():
    found = [Length(f"v{i}", int(d * 25 / 16), d, None) for i, d in enumerate(range(20, 39))]
    found.append(Length("odd", 500, 30.0, None))
    assert fitting_grid(found, SnippetGrid(25, 4)) == (
        "T is 1.5625 snippets a second in 19 of 20 videos, not in 'odd': set data.grid = \"i3d-25fps-16\""
    )
    assert fitting_grid(found, "i3d-25fps-16") is None  # the fault is that video's


def test_lengths_that_no_grid_has():
    found = [Length("v", 100, 10.0, None), Length("w", 100, 100.5, None), Length("x", 7, 55.0, None)]
    assert fitting_grid(found, "i3d-25fps-16") == (
        "no one grid fits: T a second goes from 0.1273 ('x') to 10 ('v'); features of all of each video, evenly "
        "spaced, want "
        'data.grid = "duration"'
    )


# In an experiment


@pytest.fixture
def problems(registry, tiny):
    def do(*settings):
        try:
            _, found = examine(config.load(tiny, settings).data, registry)
        except Problems as several:
            found = several.problems
        except WtalError as one:
            found = [one]
        return [str(one) for one in found]

    return do


def test_validation_says_which_grid_would_fit(problems, tiny):
    said = problems("data.grid.frames_per_second=25")
    assert [one for one in said if "set data.grid" in one] == [
        f"stream {stream!r} of {tiny.parent}/features: T is 5 snippets a second in all 9 videos: set data.grid = "
        "{ frames_per_second = 25, stride = 5 }"
        for stream in ("rgb", "flow")
    ]


def test_a_video_may_have_a_grid_of_its_own(registry, tiny, problems):
    for stream in ("rgb", "flow"):
        np.save(tiny.parent / "features" / stream / "v0.npy", np.ones((20, 4)))
    assert len(problems()) == 2
    own = "data.video_grids.v0={frames_per_second = 10, stride = 1}"
    dataset, found = examine(config.load(tiny, [own]).data, registry)
    assert found == []
    by_name = {video.name: video for video in dataset.training}
    np.testing.assert_allclose(dataset.edges(by_name["v0"], 20), np.arange(21) * 0.1)
    np.testing.assert_allclose(dataset.edges(by_name["v1"], 10), np.arange(11) * 0.2)
    assert problems(own, "data.video_grids.monday=duration") == [
        f"{tiny.parent}/annotations.json: no video 'monday', which data.video_grids names"
    ]


def test_the_annotated_rate_of_each_video_makes_its_edges(registry, tiny):
    edit_json(tiny.parent / "annotations.json", lambda c: [one.update(fps=10) for one in c["database"].values()])
    edit_json(tiny.parent / "annotations.json", lambda c: c["database"]["v1"].update(fps=5, duration=4.0))
    dataset, found = examine(config.load(tiny, ["data.grid.frames_per_second=annotated"]).data, registry)
    assert found == []
    by_name = {video.name: video for video in dataset.training}
    np.testing.assert_allclose(dataset.edges(by_name["v0"], 10), np.arange(11) * 0.2)
    np.testing.assert_allclose(dataset.edges(by_name["v1"], 10), np.arange(11) * 0.4)


def test_an_experiment_with_grids_is_written_and_read_again(tiny, tmp_path):
    experiment = config.load(
        tiny, ['data.grid="i3d-stride-4"', "data.video_grids.v0={frames_per_second=5,stride=2,offset=-1}"]
    )
    (tmp_path / "a.toml").write_text(config.dump(experiment))
    assert config.load(tmp_path / "a.toml").data == experiment.data
    assert experiment.data.video_grids == {"v0": SnippetGrid(5.0, 2, None, -1.0)}


def test_an_unknown_grid_names_the_nearest(tiny):
    with pytest.raises(WtalError) as error:
        config.load(tiny, ["data.grid=i3d-25fps"])
    assert (
        str(error.value)
        == "--set data.grid=i3d-25fps: `data.grid`: no such choice 'i3d-25fps'; did you mean 'i3d-25fps-16'?"
    )
