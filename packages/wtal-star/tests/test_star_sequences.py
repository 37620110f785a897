import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wtal_star import VideoError, label_sequences

from . import naive


def targets(labels, counts=None):
    counts = None if counts is None else torch.tensor(counts, dtype=torch.float32)
    return SimpleNamespace(labels=torch.tensor(labels, dtype=torch.float32), counts=counts)


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(["class", "count"]),
)
def test_sequences_equal_their_twin(counts, order):
    """Zero is absence; repeated counts are ties."""
    labels = [[float(n > 0) for n in video] for video in counts]
    for max_steps in (3, 4, 10):
        symbols, steps = label_sequences(targets(labels, counts), order, max_steps)
        expected = [naive.label_sequence(*video, order, max_steps) for video in zip(labels, counts, strict=True)]
        assert symbols.shape == steps.shape == (len(counts), max(map(len, expected)))
        for b, sequence in enumerate(expected):
            assert symbols[b][steps[b]].tolist() == sequence
            assert (symbols[b][~steps[b]] == 3).all()


def test_too_many_labels_name_the_video():
    reason = "has 3 labels, and max_steps is 2: raise it to 4, a step for each label and one for the end symbol"
    message = f"video 1 of the batch {reason}"
    with pytest.raises(VideoError, match=f"^{re.escape(message)}$") as error:
        label_sequences(targets([[1, 0, 0], [1, 1, 1]]), max_steps=2)
    assert (error.value.position, error.value.reason) == (1, reason)


def test_of_too_many_labels_the_most_are_named():
    with pytest.raises(VideoError, match=r"^video 1 of the batch has 3 labels, and max_steps is 1: raise it to 4,"):
        label_sequences(targets([[1, 1, 0], [1, 1, 1]]), max_steps=1)


@pytest.mark.parametrize(("count", "shown"), [(0.0, "0"), (-2.0, "-2"), (float("nan"), "nan")])
def test_a_count_that_denies_its_label_names_the_video(count, shown):
    message = f"video 1 of the batch has class 2, but its count is {shown}: give at least 1, or drop the label"
    with pytest.raises(VideoError, match=f"^{re.escape(message)}$") as error:
        label_sequences(targets([[1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, count]]))
    assert error.value.position == 1


def test_count_order_needs_counts():
    message = (
        "label_order 'count' needs counts, and the targets have none: use 'class', or give counts "
        "(in an experiment of wtal, data.counts = true gives them)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        label_sequences(targets([[1, 0]]), "count")
