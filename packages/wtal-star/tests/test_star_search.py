import math

import pytest
import torch
from wtal_star.search import beam_search

from . import naive

C = 3


def table_step(tables):
    """Random log-probabilities for each video and history; the state is the video and its history's code."""

    def step(index, state, previous):
        video, code = state
        code = code * (C + 1) + previous
        return torch.stack([tables(int(v), int(k)) for v, k in zip(video, code, strict=True)]), (video, code)

    return step


def random_tables(video, code):
    generator = torch.Generator().manual_seed(1000 * video + code)
    return (3 * torch.randn(C + 1, generator=generator)).log_softmax(0)


def start(num_videos):
    return torch.arange(num_videos), torch.zeros(num_videos, dtype=torch.int64)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 5])
def test_a_wide_beam_is_exhaustive_for_every_video(max_steps):
    num_videos = 6
    symbols, steps = beam_search(table_step(random_tables), start(num_videos), C, max_steps, width=100)
    lengths = set()
    for video in range(num_videos):
        scored = []
        for sequence in naive.all_sequences(C, max_steps):
            score, code, previous = 0.0, 0, C
            for symbol in sequence:
                code = code * (C + 1) + previous
                score += random_tables(video, code)[symbol].item()
                previous = symbol
            scored.append((score, sequence))
        best = max(scored)[1]
        assert symbols[video][steps[video]].tolist() == best
        assert (symbols[video][~steps[video]] == C).all()
        lengths.add(len(best))
    assert symbols.shape[1] == max(lengths)
    assert max_steps == 1 or len(lengths) > 1


def test_narrow_beams_are_no_better_than_wide_ones():
    def score(width):
        symbols, steps = beam_search(table_step(random_tables), start(6), C, 4, width)
        total = []
        for video in range(6):
            value, code, previous = 0.0, 0, C
            for symbol in symbols[video][steps[video]].tolist():
                code = code * (C + 1) + previous
                value += random_tables(video, code)[symbol].item()
                previous = symbol
            total.append(value)
        return torch.tensor(total)

    greedy, wide = score(1), score(100)
    assert (wide >= greedy - 1e-5).all()
    assert (wide > greedy + 1e-3).any()


@pytest.mark.parametrize("width", [1, 2])
def test_ties_go_to_the_lower_symbol(width):
    symbols, _ = beam_search(table_step(lambda video, code: torch.zeros(C + 1)), start(2), C, 10, width)
    assert symbols.tolist() == [[0, 1, 2, 3]] * 2


def test_a_beam_wider_than_the_choices_holds_no_impossible_sequence():
    def only_end(video, code):
        return torch.tensor([-math.inf] * C + [0.0])

    symbols, steps = beam_search(table_step(only_end), start(2), C, 3, width=50)
    assert symbols.tolist() == [[C]] * 2
    assert steps.all()
