"""What one step sees: clips, hidden snippets, padding, and who chooses the videos."""

import json

import numpy as np
import pytest
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.testing import tmp_plugin
from wtal_core.training.batches import read_rows, snippet_targets

from .conftest import edit_json

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def seen():
    """Decoding and batch of every step that an experiment with the loss `listening` took, or was rehearsed with."""
    given = []

    class Listening:
        def __call__(self, decoding, batch):
            given.append((decoding, batch))
            return {"nothing": decoding.class_scores.sum() * 0}

    with tmp_plugin("loss", "listening", Listening):
        yield given


@pytest.fixture
def train(wtal, tiny, tmp_path):
    """Train the stream rgb of the tiny data set with a clip and the loss `listening`."""

    def do(clip, *settings):
        chosen = ('data.streams=["rgb"]', f"training.clip={clip}", "training.losses=['listening']", *settings)
        words = [word for setting in chosen for word in ("--set", setting)]
        answer = wtal("train", tiny, "--out", tmp_path / "out", *words)
        assert (answer.code, answer.err) == (0, "")
        return tmp_path / "out" / "seed-0"

    return do


@pytest.fixture
def unequal(tiny):
    """Make the training videos v0 and v1 shorter, of 7 and 3 snippets."""
    for name, length in (("v0", 7), ("v1", 3)):
        file = tiny.parent / "features" / "rgb" / f"{name}.npy"
        np.save(file, np.load(file)[:length])

    def shorten(content):
        for name, length in (("v0", 7), ("v1", 3)):
            content["database"][name]["duration"] = length / 5
            content["database"][name]["annotations"][0]["segment"] = [0, 0.5]

    edit_json(tiny.parent / "annotations.json", shorten)
    return {"v0": 7, "v1": 3} | {f"v{n}": 10 for n in range(2, 6)}


def standardized(tiny):
    """The features of the training videos, by the statistics of all of them together."""
    videos = [np.load(tiny.parent / "features" / "rgb" / f"v{n}.npy").astype(np.float64) for n in range(6)]
    everything = np.concatenate(videos)
    return [(video - everything.mean(0)) / everything.std(0) for video in videos]


def test_hidden_rows_are_masked_zeros_without_attention(train, tiny, seen):
    class Hiding:
        """Every third snippet, from a random one on, is hidden."""

        contiguous = True

        def __call__(self, length, generator):
            rows = np.arange(length)
            if length > 3:
                rows[generator.integers(3) :: 3] = -1
            return rows

    with tmp_plugin("clip", "hiding", Hiding):
        train("hiding", "training.feature_dropout=0")
    steps = seen[-12:]
    videos = standardized(tiny)
    holes = set()
    for decoding, batch in steps:
        assert batch.rows.shape == (4, 10)
        assert (batch.mask == (batch.rows >= 0)).all()
        assert (~batch.mask).any(1).all()
        assert (batch.features[~batch.mask] == 0).all()
        assert (decoding.features[~batch.mask] == 0).all()
        assert (decoding.attention[:, 0][~batch.mask] == 0).all()
        assert (decoding.attention[:, 0][batch.mask] > 0).all()
        holes |= {tuple(row) for row in batch.mask.tolist()}
        for features, shown in zip(batch.features.numpy(), batch.mask.numpy(), strict=True):
            assert any(np.allclose(features[shown], one[shown], rtol=1e-4, atol=1e-4) for one in videos)
    assert len(holes) == 3


def test_a_crop_is_a_stretch_and_short_videos_are_whole(train, unequal, seen):
    train("{ name = 'crop', snippets = 5 }", "training.iterations=40")
    firsts = set()
    for _, batch in seen[-40:]:
        for row in batch.rows.tolist():
            shown = [n for n in row if n >= 0]
            assert row == shown + [-1] * (len(row) - len(shown))
            assert shown == list(range(shown[0], shown[0] + len(shown)))
            assert len(shown) in (5, 3)
            firsts.add((len(shown), shown[0]))
    assert firsts == {(5, first) for first in range(6)} | {(3, 0)}


def test_whole_videos_are_padded_at_the_end(train, unequal, tiny, seen):
    train("whole", "training.iterations=20", "training.feature_dropout=0")
    videos = standardized(tiny)
    padded = 0
    for decoding, batch in seen[-20:]:
        lengths = (batch.rows >= 0).sum(1).tolist()
        assert batch.rows.shape[1] == max(lengths)
        assert (batch.mask is None) == (len(set(lengths)) == 1)
        if batch.mask is None:
            continue
        padded += 1
        for features, row, length, attention in zip(
            batch.features.numpy(), batch.rows.tolist(), lengths, decoding.attention[:, 0], strict=True
        ):
            assert row == list(range(length)) + [-1] * (len(row) - length)
            same = [one for one in videos if len(one) == length]
            assert any(np.allclose(features[:length], one, rtol=1e-4, atol=1e-4) for one in same)
            assert (features[length:] == 0).all()
            assert (attention[length:] == 0).all()
    assert padded > 10


def test_rows_are_read_where_they_are_and_zero_where_they_are_hidden():
    class Data:
        def __init__(self):
            self.feature_dims = {"rgb": 2}

        def read(self, video, stream, rows):
            return np.stack([rows + 10 * video, rows], 1).astype(np.float32)

    features = read_rows(Data(), [1, 2], "rgb", np.array([[0, -1, 2], [-1, 3, 3]]))
    assert features.dtype == np.float32
    assert features.tolist() == [[[10, 0], [0, 0], [12, 2]], [[0, 0], [23, 3], [23, 3]]]


def test_targets_of_snippets_are_the_teacher_s_columns():
    lessons = [np.array([[0.1, 0.2, 0.3]]), np.array([[0.5, np.nan]])]
    found = snippet_targets(lessons, np.array([[2, -1, 3], [0, 1, 0]]))
    np.testing.assert_array_equal(found, np.float32([[[0.3, np.nan, np.nan]], [[0.5, np.nan, 0.5]]]))


# Neighbours


class Looking(AttentionPooling):
    """A decoder that looks at two snippets to each side."""

    context = 2


@pytest.mark.parametrize("clip", ["segments", "uniform"])
def test_a_decoder_with_context_needs_neighbours(wtal, tiny, tmp_path, clip):
    said = (
        "error: decoder 'looking' of tmp-plugin 0 looks at 2 snippets to each side, and training.clip "
        f"{clip!r} does not show neighbours; use 'crop' or 'whole'\n"
    )
    settings = ("--set", "model.decoder=looking", "--set", f"training.clip={clip}")
    with tmp_plugin("decoder", "looking", Looking):
        for command in ("validate", "train"):
            answer = wtal(command, tiny, "--out", tmp_path / "out", *settings)
            assert (answer.code, answer.out, answer.err) == (2, "", said)
        settings = (
            "--set",
            "model.decoder=looking",
            "--set",
            "training.clip=crop",
            "--set",
            "localization.clip=uniform",
        )
        answer = wtal("validate", tiny, *settings)
        assert (answer.code, answer.err) == (2, said.replace(clip, "uniform").replace("training", "localization"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("clip", ["{ name = 'crop', snippets = 4 }", "whole"])
def test_a_decoder_with_context_learns_from_neighbours(train, seen, clip):
    with tmp_plugin("decoder", "looking", Looking):
        train(clip, "model.decoder=looking")
    assert all((np.diff(batch.rows.numpy()) == 1).all() for _, batch in seen[-12:])


# Samplers


def test_a_sampler_chooses_the_videos_and_is_told_labels_seed_and_iteration(train, seen):
    asked = []

    class Pairs:
        def __call__(self, labels, batch_size, seed, iteration):
            asked.append((labels.tolist(), batch_size, seed, iteration))
            return np.full(batch_size, iteration % len(labels))

    with tmp_plugin("sampler", "pairs", Pairs):
        train("whole", "training.sampler=pairs", "seed=3")
    labels = [[1, 0], [0, 1]] * 3
    assert asked[-12:] == [(labels, 4, 3, iteration) for iteration in range(12)]
    for iteration, (_, batch) in enumerate(seen[-12:]):
        assert batch.targets.labels.tolist() == [labels[iteration % 6]] * 4


def test_a_sampler_may_refuse_the_labels_before_training(wtal, tiny, tmp_path):
    class Pairs:
        def __call__(self, labels, batch_size, seed, iteration):
            if len(labels) == 6:  # not the small example
                raise ValueError("no class has four videos")
            return np.zeros(batch_size, dtype=np.int64)

    with tmp_plugin("sampler", "pairs", Pairs):
        for command in ("validate", "run"):
            answer = wtal(command, tiny, "--out", tmp_path / "out", "--set", "training.sampler=pairs")
            assert (answer.code, answer.out) == (2, "")
            assert answer.err == "error: sampler 'pairs' of tmp-plugin 0: no class has four videos\n"
    assert not (tmp_path / "out").exists()


def test_the_snippets_of_a_step_do_not_depend_on_those_before(train, seen, tiny, tmp_path):
    """A resumed run must see what an uninterrupted one saw."""
    train("{ name = 'segments', snippets = 5 }", "training.checkpoint_every=1")
    whole = [batch.rows.tolist() for _, batch in seen[-12:]]
    assert len({json.dumps(rows) for rows in whole}) == 12
    (tmp_path / "out").rename(tmp_path / "before")
    train("{ name = 'segments', snippets = 5 }", "training.checkpoint_every=1", "training.iterations=4")
    assert [batch.rows.tolist() for _, batch in seen[-4:]] == whole[:4]
