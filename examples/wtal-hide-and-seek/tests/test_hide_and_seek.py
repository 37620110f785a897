from functools import partial

import numpy as np
import pytest
from wtal_core.testing import parametrize_with_clauses
from wtal_hide_and_seek import HideAndSeek, hide


@parametrize_with_clauses("clip", HideAndSeek)
def test_whole_videos_keep_the_contract(clause):
    clause()


@parametrize_with_clauses("clip", partial(HideAndSeek, segment=3, snippets=20))
def test_parts_of_videos_keep_the_contract(clause):
    clause()


def naive_hide(rows, segment, probability, generator):
    shown, draws = [], {}
    for place, row in enumerate(rows):
        run = place // segment
        if run not in draws:
            draws[run] = generator.random()
        shown.append(-1 if draws[run] < probability else row)
    return shown if max(shown) >= 0 else list(rows)


@pytest.mark.parametrize("length", [1, 2, 3, 20, 41])
@pytest.mark.parametrize("segment", [1, 2, 7, 100])
def test_hiding_equals_its_naive_twin(length, segment):
    rows = np.arange(length) * 2
    for seed in range(50):
        got = hide(rows, segment, 0.5, np.random.default_rng(seed))
        assert got.tolist() == naive_hide(rows.tolist(), segment, 0.5, np.random.default_rng(seed))


def test_runs_are_hidden_as_a_whole_and_as_often_as_asked():
    generator = np.random.default_rng(0)
    clip = HideAndSeek(segment=3, probability=0.25)
    hidden = np.stack([clip(9, generator) < 0 for _ in range(4000)]).reshape(4000, 3, 3)
    assert (hidden == hidden[..., :1]).all()
    assert hidden.mean() == pytest.approx(0.25 - 0.25**3, abs=0.01)  # a video never loses all three


def test_a_video_of_one_run_is_never_hidden():
    assert all(HideAndSeek(segment=5)(5, np.random.default_rng(seed)).tolist() == [0, 1, 2, 3, 4] for seed in range(20))


def test_each_row_comes_from_its_part_of_the_video():
    rows = HideAndSeek(probability=0.0, snippets=4)(8, np.random.default_rng(0))
    assert (rows // 2).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"segment": 0}, "segment must be 1 or more, got 0"),
        ({"probability": 1.0}, r"probability must be in \[0, 1\), got 1.0"),
        ({"snippets": 0}, "snippets must be 1 or more, got 0"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        HideAndSeek(**options)
