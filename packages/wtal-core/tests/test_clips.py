"""Clips: which snippets of a video one step sees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_core.builtin.clips import Crop, Segments, Uniform, Whole
from wtal_core.testing import parametrize_with_clauses


@parametrize_with_clauses("clip", Segments)
def test_segments_keep_the_contract(clause):
    clause()


@parametrize_with_clauses("clip", Uniform)
def test_uniform_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("clip", lambda: Crop(snippets=5))
def test_a_crop_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("clip", Whole)
def test_the_whole_keeps_the_contract(clause):
    clause()


@pytest.mark.parametrize("make", [Segments, Uniform, Crop])
@pytest.mark.parametrize("snippets", [0, -1])
def test_there_is_no_clip_of_nothing(make, snippets):
    with pytest.raises(ValueError, match=f"^snippets must be 1 or more, got {snippets}$"):
        make(snippets=snippets)


@pytest.mark.parametrize(("make", "contiguous"), [(Segments, False), (Uniform, False), (Crop, True), (Whole, True)])
def test_only_stretches_show_neighbours(make, contiguous):
    assert make().contiguous is contiguous


# Segments


def segments(length, number, generator):
    return Segments(snippets=number)(length, generator)


#: Length, number of segments, key of the generator, and what was drawn when clips were not yet components.
RECORDED = [
    (
        (400, 20, [0, 0, 0]),
        [12, 25, 40, 60, 96, 118, 132, 154, 170, 198, 216, 220, 257, 260, 294, 303, 337, 350, 365, 388],
    ),
    ((7, 12, [3, 1, 5]), [0, 0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 6]),
    (
        (1001, 20, [7, 1, 41]),
        [41, 94, 107, 153, 221, 265, 314, 392, 435, 474, 528, 555, 620, 690, 704, 781, 802, 898, 918, 983],
    ),
]


@pytest.mark.parametrize(("given", "rows"), RECORDED)
def test_segments_draw_what_was_recorded(given, rows):
    length, number, key = given
    assert segments(length, number, np.random.default_rng(key)).tolist() == rows


@given(length=st.integers(1, 500), number=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_each_sampled_snippet_lies_in_its_segment(length, number, seed):
    rows = segments(length, number, np.random.default_rng(seed))
    assert rows.shape == (number,)
    assert rows.dtype == np.int64
    numbers = np.arange(number)
    first, last = numbers * length // number, -(-(numbers + 1) * length // number) - 1
    assert (first <= rows).all()
    assert (rows <= last).all()
    assert (np.diff(rows) >= 0).all()
    if length % number == 0:
        assert (rows // (length // number) == numbers).all()


def test_a_shorter_video_repeats_its_snippets_and_misses_none():
    rows = segments(3, 12, np.random.default_rng(0))
    assert rows.tolist() == sorted([0, 1, 2] * 4)


def test_every_snippet_of_a_segment_is_drawn_equally_often():
    generator = np.random.default_rng(0)
    draws = np.array([segments(12, 3, generator) for _ in range(4000)])
    frequencies = np.bincount(draws.ravel(), minlength=12) / 4000
    np.testing.assert_allclose(frequencies, 0.25, atol=0.04)


class AlmostOne:
    @staticmethod
    def random(size):
        return np.full(size, np.nextafter(1.0, 0.0))


@pytest.mark.parametrize(("length", "number"), [(1, 1), (7, 7), (400, 20), (10**9, 1)])
def test_rounding_never_leaves_the_video(length, number):
    assert segments(length, number, AlmostOne())[-1] == length - 1


# The others


@pytest.mark.parametrize(
    ("length", "snippets", "rows"),
    [
        (10, 5, [1, 3, 5, 7, 9]),
        (9, 3, [1, 4, 7]),
        (10, 3, [1, 5, 8]),
        (10, 10, list(range(10))),
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (2, 5, [0, 0, 1, 1, 1]),
        (1, 3, [0, 0, 0]),
        (7, 1, [3]),
    ],
)
def test_uniform_shows_the_middle_of_each_part(length, snippets, rows):
    clip = Uniform(snippets=snippets)
    assert clip(length, np.random.default_rng(0)).tolist() == rows
    assert clip(length, None).tolist() == rows  # nothing is drawn


@given(length=st.integers(1, 2000), snippets=st.integers(1, 500))
def test_a_uniform_row_holds_the_middle_of_its_part(length, snippets):
    rows = Uniform(snippets=snippets)(length, None)
    middles = (np.arange(snippets) + 0.5) * length / snippets
    assert (rows <= middles).all()
    assert (middles <= rows + 1).all()


@pytest.mark.parametrize("length", [1, 4, 5])
def test_a_video_that_is_no_longer_is_seen_whole(length):
    assert Crop(snippets=5)(length, np.random.default_rng(0)).tolist() == list(range(length))


def test_every_stretch_is_drawn_equally_often():
    clip, generator = Crop(snippets=5), np.random.default_rng(0)
    draws = np.array([clip(8, generator) for _ in range(4000)])
    assert (np.diff(draws) == 1).all()
    np.testing.assert_allclose(np.bincount(draws[:, 0], minlength=4) / 4000, 0.25, atol=0.03)
    assert draws.max() == 7


def test_the_whole_is_every_snippet():
    assert Whole()(4, None).tolist() == [0, 1, 2, 3]
