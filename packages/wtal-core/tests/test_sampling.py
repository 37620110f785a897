"""Which videos make up a batch, which of their snippets, and what is known of them; and the seeds of it all."""

import numpy as np
import pytest
import torch
from wtal_core import config
from wtal_core.builtin.epochs import Epochs
from wtal_core.data.dataset import Dimensions, Moments, examine
from wtal_core.model import build_model
from wtal_core.registry import discover
from wtal_core.seeds import seed_of, seeded
from wtal_core.testing import parametrize_with_clauses, tmp_plugin
from wtal_core.training.batches import clip_rows, make_batch, read_rows, snippet_targets, targets_of

# Epochs


@parametrize_with_clauses("sampler", Epochs)
def test_epochs_keep_the_contract(clause):
    clause()


@pytest.mark.parametrize(
    ("seed", "videos", "batch_size", "recorded"),
    [
        (0, 7, 3, {0: [2, 4, 3], 1: [6, 5, 0], 2: [1, 1, 3], 9: [4, 5, 0]}),
        (5, 3, 5, {0: [1, 2, 0, 0, 2], 1: [1, 0, 1, 2, 2], 2: [0, 1, 1, 2, 0], 9: [0, 1, 2, 0, 1]}),
    ],
)
def test_epochs_give_what_was_recorded(seed, videos, batch_size, recorded):
    for iteration, chosen in recorded.items():
        assert Epochs()(np.ones((videos, 2)), batch_size, seed, iteration).tolist() == chosen


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10])
def test_every_video_comes_once_an_epoch(batch_size):
    labels = np.ones((7, 1))
    row = np.concatenate([Epochs()(labels, batch_size, 3, iteration) for iteration in range(70)])
    for first in range(0, len(row) - 6, 7):
        assert sorted(row[first : first + 7]) == list(range(7))


# Rows and features


@pytest.fixture
def dataset(registry, tiny):
    found, problems = examine(config.load(tiny).data, registry)
    assert problems == []
    return found


class Given:
    """A clip that shows what it was told to."""

    contiguous = False

    def __init__(self, *rows):
        self.rows = iter(rows)
        self.asked = []

    def __call__(self, length, generator):
        self.asked.append((length, generator))
        return np.array(next(self.rows))


def test_the_rows_of_a_batch_are_as_long_as_its_longest_clip(dataset):
    clip, generator = Given([3, -1, 5], [1], [0, 9, 9, 9]), np.random.default_rng(0)
    rows = clip_rows(dataset, dataset.training[:3], "rgb", clip, generator)
    assert rows.tolist() == [[3, -1, 5, -1], [1, -1, -1, -1], [0, 9, 9, 9]]
    assert rows.dtype == np.int64
    assert clip.asked == [(10, generator)] * 3  # one generator for all, one video after the other


def test_features_are_read_at_their_rows_and_zero_where_hidden(dataset):
    rows = np.array([[3, -1, 5, 5], [-1, -1, 0, -1]])
    features = read_rows(dataset, dataset.training[:2], "flow", rows)
    first, second = (dataset.read(video, "flow") for video in dataset.training[:2])
    zero = np.zeros(4)
    np.testing.assert_array_equal(features, [[first[3], zero, first[5], first[5]], [zero, zero, second[0], zero]])
    assert features.dtype == np.float32


def test_a_teachers_columns_are_read_at_the_rows():
    lessons = [np.arange(8.0).reshape(2, 4) / 8, np.arange(6.0).reshape(2, 3) / 8]
    targets = snippet_targets(lessons, np.array([[3, 0, -1], [2, 3, 2]]))  # row 3 is beyond the second's shared length
    nan = np.nan
    expected = [[[0.375, 0, nan], [0.875, 0.5, nan]], [[0.25, nan, 0.25], [0.625, nan, 0.625]]]
    np.testing.assert_array_equal(targets, np.array(expected, np.float32))
    assert targets.dtype == np.float32


def test_what_a_teacher_does_not_say_stays_unsaid():
    lessons = [np.array([[0.5, np.nan], [np.nan, 1]])]
    np.testing.assert_array_equal(snippet_targets(lessons, np.array([[1, 0]]))[0], [[np.nan, 0.5], [1, np.nan]])


@pytest.mark.parametrize("counts", [False, True])
def test_counts_are_given_only_if_the_experiment_says_so(counts):
    targets = targets_of(np.array([[2.0, 0], [1, 3]]), counts, torch.device("cpu"))
    assert targets.labels.tolist() == [[1, 0], [1, 1]]
    assert targets.snippets is None
    assert (None if targets.counts is None else targets.counts.tolist()) == ([[2, 0], [1, 3]] if counts else None)


def batch_of(dataset, rows, lessons=None, moments=None):
    model = build_model(config.stages(EXPERIMENT)[0], discover(), Dimensions(4, 2), moments)
    instances = dataset.targets(dataset.training)
    return model, make_batch(dataset, "rgb", np.array([4, 1]), np.array(rows), model, instances, lessons)


EXPERIMENT = config.Experiment(data=config.Data(annotations="", features="", grid="duration"))


def test_a_batch_of_which_all_is_seen_has_no_mask(dataset):
    moments = Moments(4)
    moments.add(dataset.read(dataset.training[0], "rgb"))
    rows = [[0, 4, 9], [2, 2, 2]]
    model, batch = batch_of(dataset, rows, moments=moments)
    assert batch.mask is None
    assert batch.rows.tolist() == rows
    assert batch.targets.labels.tolist() == [[1, 0], [0, 1]]
    assert batch.targets.snippets is None
    saved = [dataset.read(dataset.training[video], "rgb")[where] for video, where in zip((4, 1), rows, strict=True)]
    expected = (np.array(saved) - moments.mean) / moments.deviation
    np.testing.assert_allclose(batch.features.numpy(), expected, rtol=0, atol=1e-5)
    assert model.mean.dtype == batch.features.dtype == torch.float32


def test_what_is_hidden_is_masked_and_zero_after_standardising(dataset):
    moments = Moments(4)
    moments.add(np.full((3, 4), 5.0))
    _, batch = batch_of(dataset, [[0, -1, 9], [2, 3, -1]], moments=moments)
    assert batch.mask.tolist() == [[True, False, True], [True, True, False]]
    assert not batch.features[~batch.mask].any()
    assert batch.features[batch.mask].abs().sum(1).min() > 0


def test_a_batch_has_the_word_of_the_teacher_on_its_own_videos(dataset):
    lessons = {video.name: np.full((2, 10), number / 8) for number, video in enumerate(dataset.training)}
    _, batch = batch_of(dataset, [[0, -1, 9], [2, 3, -1]], lessons)
    nan = float("nan")
    expected = torch.tensor([[[0.5, nan, 0.5]] * 2, [[0.125, 0.125, nan]] * 2])
    torch.testing.assert_close(batch.targets.snippets, expected, equal_nan=True, rtol=0, atol=0)


class Holes:
    """Hides every second snippet, and every second clip is short."""

    def __call__(self, length, generator):
        rows = np.arange(length if generator.random() < 0.5 else max(length - 3, 1))
        rows[1::2] = -1
        return rows


class Seen:
    """A loss that looks at what the host hands over."""

    batches = []  # noqa: RUF012 - of all, for it is built anew for every model

    def __call__(self, decoding, batch):
        self.batches.append(batch)
        return {"seen": decoding.class_scores.sum() * 0}


def test_training_sees_holes_through_a_mask(fakes, wtal, tiny, tmp_path):
    Seen.batches.clear()
    settings = ("--set", "training.clip=holes", "--set", "training.losses=['seen']", "--set", "data.streams=['rgb']")
    with tmp_plugin("clip", "holes", Holes), tmp_plugin("loss", "seen", Seen):
        answer = wtal("train", tiny, "--out", tmp_path, *settings)
    assert (answer.code, answer.err) == (0, "")
    trained = [batch for batch in Seen.batches if batch.features.shape[:2] == (4, 10)]
    assert len(trained) > 3
    for batch in trained:
        assert (batch.mask == (batch.rows >= 0)).all()
        assert not batch.mask[:, 1::2].any()
        assert batch.mask[:, 0].all()
        assert not batch.features[~batch.mask].any()
    assert any(not batch.mask[:, 8].all() for batch in trained)


# Seeds


def test_the_first_model_of_the_first_stage_has_the_seed_of_the_experiment():
    assert [seed_of(seed, 0, 0) for seed in (0, 1, 12345)] == [0, 1, 12345]


def test_every_model_of_every_stage_has_a_seed_of_its_own():
    keys = [(seed, stage, member) for seed in range(4) for stage in range(4) for member in range(4)]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert seed_of(3, 1, 2) == seed_of(3, 1, 2)


def test_a_seed_is_put_back_and_governs_torch():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with seeded(seed_of(1, 2, 3), 0, 5):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    with seeded(seed_of(1, 2, 3), 0, 5):
        assert torch.equal(torch.rand(3), first)
    with seeded(seed_of(1, 2, 3), 0, 6):
        assert not torch.equal(torch.rand(3), first)


def test_what_is_drawn_for_a_video_depends_on_those_before_it_in_the_batch_alone(dataset):
    key = [0, 0, 3]
    clip = discover().build("clip", {"name": "segments", "snippets": 5})
    both = clip_rows(dataset, dataset.training[:2], "rgb", clip, np.random.default_rng(key))
    one = clip_rows(dataset, dataset.training[:1], "rgb", clip, np.random.default_rng(key))
    np.testing.assert_array_equal(both[:1], one)
