"""Statistics, batches, determinism, and checkpoints."""

import re

import naive
import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from wtal_core import config, training
from wtal_core.attention_pooling import AttentionPooling
from wtal_core.dataset import open_dataset
from wtal_core.errors import RunError
from wtal_core.model import statistics

# Statistics


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_statistics_are_those_of_all_snippets_together(lengths, seed):
    generator = np.random.default_rng(seed)
    videos = [generator.normal(3, 2, size=(length, 4)).astype(np.float32) for length in lengths]
    for video in videos:
        video[:, 1] = 7  # a constant feature
    mean, deviation = statistics(iter(videos), 4)
    if sum(lengths) > 1:
        expected = naive.statistics(videos)
        np.testing.assert_allclose(mean, expected[0], rtol=1e-12)
        np.testing.assert_allclose(deviation, expected[1], rtol=1e-9)
    assert deviation[1] == 1


def test_statistics_survive_a_large_mean():
    generator, offset = np.random.default_rng(0), np.array([1e4, 1e6, -1e7])
    videos = [generator.normal(offset, size=(50, 3)).astype(np.float32) for _ in range(4)]
    mean, deviation = statistics(videos, 3)
    expected = naive.statistics(videos)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-13)
    np.testing.assert_allclose(deviation, expected[1], rtol=1e-7)


def test_a_constant_is_constant_though_its_mean_is_rounded():
    videos = [np.full((n, 1), 0.1) for n in (3, 7, 11)]
    assert statistics(videos, 1)[1] == 1


def test_statistics_of_nothing_change_nothing():
    mean, deviation = statistics([], 3)
    assert (mean.tolist(), deviation.tolist()) == ([0, 0, 0], [1, 1, 1])


# Batches


@given(videos=st.integers(1, 12), batch=st.integers(1, 15), seed=st.integers(0, 9))
def test_each_epoch_is_a_permutation(videos, batch, seed):
    row = np.concatenate([training.batch_indices(seed, videos, batch, i) for i in range(3 * videos)])
    epochs = row.reshape(-1, videos)
    assert (np.sort(epochs, axis=1) == np.arange(videos)).all()


def test_epochs_are_shuffled_differently_and_by_the_seed():
    first, second, other = (training.batch_indices(s, 20, 20, i) for s, i in [(0, 0), (0, 1), (1, 0)])
    assert first.tolist() != second.tolist()
    assert first.tolist() != other.tolist()


def test_a_batch_depends_on_nothing_but_its_arguments():
    later = training.batch_indices(3, 7, 4, 5)
    for iteration in range(5):
        training.batch_indices(3, 7, 4, iteration)
    assert training.batch_indices(3, 7, 4, 5).tolist() == later.tolist()


# Training


@pytest.fixture
def train(tiny, registry):
    """Train the stream rgb of the tiny data set: `train("seed=1", checkpoint=path)` gives the model and the metrics."""

    def do(*settings, **keywords):
        experiment = config.load(tiny, settings)
        dataset = open_dataset(experiment.data, registry)
        metrics = []
        model = training.train_stream(dataset, "rgb", experiment, registry, report=metrics.append, **keywords)
        return model, metrics

    return do


def same(one, other):
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_the_seed_decides_and_nothing_else_does(train):
    model, metrics = train()
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global generator is the one that must not matter
    again, metrics_again = train()
    other, _ = train("seed=1")
    assert same(model, again)
    assert metrics == metrics_again
    assert not same(model, other)


def test_the_callers_generators_are_left_alone(train):
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train()
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_training_lowers_the_loss_and_ends_in_evaluation_mode(train):
    model, metrics = train("training.iterations=150", "training.learning_rate=0.01", "training.feature_dropout=0")
    assert [metric.iteration for metric in metrics] == list(range(10, 151, 10))
    assert metrics[-1].terms["loss"] < 0.7 * metrics[0].terms["loss"]
    assert not model.training
    assert not any(module.training for module in model.modules())


def test_metrics_come_every_tenth_iteration_and_at_the_last(train):
    _, metrics = train("model.decoder.sparsity=0.5")
    assert [(metric.stream, metric.iteration) for metric in metrics] == [("rgb", 10), ("rgb", 12)]
    for _, _, terms in metrics:
        assert list(terms) == ["classification", "sparsity", "loss"]
        assert terms["loss"] == pytest.approx(terms["classification"] + terms["sparsity"], rel=1e-6)


@pytest.mark.parametrize("standardize", [True, False])
def test_the_model_carries_the_statistics_of_the_training_subset(train, tiny, standardize):
    model, _ = train(f"training.standardize={str(standardize).lower()}")
    videos = [np.load(tiny.parent / "features" / "rgb" / f"v{i}.npy") for i in range(6)]
    mean, deviation = naive.statistics(videos) if standardize else (np.zeros(4), np.ones(4))
    np.testing.assert_allclose(model.mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(model.deviation.numpy(), deviation, rtol=1e-5)
    features = torch.from_numpy(videos[0])[None]
    np.testing.assert_allclose(model.prepare(features)[0].numpy(), (videos[0] - mean) / deviation, rtol=1e-4, atol=1e-5)


def test_features_are_dropped_in_training_only(train):
    model, _ = train("training.feature_dropout=0.9")
    features = torch.ones(1, 50, 4) + 5
    assert (model.prepare(features) != 0).all()
    assert (model.train().prepare(features) == 0).float().mean() > 0.5


@pytest.mark.parametrize("counts", [False, True])
def test_the_decoder_sees_counts_only_if_the_experiment_says_so(train, tiny, monkeypatch, counts):
    seen = []
    plain = AttentionPooling.loss
    monkeypatch.setattr(AttentionPooling, "loss", lambda *a: seen.append(a[2]) or plain(*a))
    train(f"data.counts={str(counts).lower()}", "training.iterations=1")
    (targets,) = seen
    assert targets.labels.sum(1).tolist() == [1, 1, 1, 1]
    assert (targets.counts is not None) == counts


@pytest.mark.parametrize("iterations", [10, 3])
def test_a_loss_that_is_not_finite_is_an_error(train, iterations):
    said = (
        f"stream 'rgb': the loss is not finite at iteration {iterations}: {{'classification': nan, 'loss': nan}}; "
        "lower training.learning_rate or standardise the features"
    )
    with pytest.raises(RunError, match=f"^{re.escape(said)}$"):
        train("training.learning_rate=1e30", f"training.iterations={iterations}")


def test_no_checkpoint_holds_tensors_that_are_not_finite(train, tmp_path):
    checkpoint = tmp_path / "rgb.safetensors"
    with pytest.raises(RunError):
        train("training.learning_rate=1e30", checkpoint=checkpoint)
    assert not checkpoint.exists() or all(
        torch.isfinite(tensor).all() for tensor in safetensors.torch.load_file(checkpoint).values()
    )


# Checkpoints


def test_a_checkpoint_is_safetensors_with_model_optimiser_and_iteration(train, tmp_path):
    model, _ = train(checkpoint=tmp_path / "c" / "rgb.safetensors")
    with safetensors.safe_open(tmp_path / "c" / "rgb.safetensors", framework="pt") as file:
        assert file.metadata() == {"wtal": '{"iteration": 12, "classes": ["jump", "run"]}'}
        names = set(file.keys())
    parameters = [name for name, _ in model.named_parameters()]
    assert names == {f"model.{name}" for name in model.state_dict()} | {
        f"optimizer.{name}.{key}" for name in parameters for key in ("step", "exp_avg", "exp_avg_sq")
    }
    assert [file.name for file in (tmp_path / "c").iterdir()] == ["rgb.safetensors"]
    assert training.checkpoint_iteration(tmp_path / "c" / "rgb.safetensors") == 12


@pytest.mark.parametrize("reached", [5, 10])
def test_a_resumed_training_equals_an_uninterrupted_one(train, tmp_path, monkeypatch, reached):
    whole, metrics = train(checkpoint=tmp_path / "whole")
    save = training.save_checkpoint

    def save_and_stop(path, model, optimizer, iteration, classes):
        save(path, model, optimizer, iteration, classes)
        if iteration == reached:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(training, "save_checkpoint", save_and_stop)
        train(checkpoint=tmp_path / "parts")
    assert training.checkpoint_iteration(tmp_path / "parts") == reached
    resumed, rest = train(checkpoint=tmp_path / "parts")
    assert same(whole, resumed)
    assert rest == [metric for metric in metrics if metric.iteration > reached]
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_finished_training_is_only_loaded(train, tmp_path):
    whole, _ = train(checkpoint=tmp_path / "c")
    before = (tmp_path / "c").stat().st_mtime_ns
    again, metrics = train(checkpoint=tmp_path / "c")
    assert same(whole, again)
    assert metrics == []
    assert (tmp_path / "c").stat().st_mtime_ns == before


def test_a_checkpoint_of_another_model_is_refused(train, tmp_path):
    checkpoint = tmp_path / "c"
    train(checkpoint=checkpoint)
    tensors = safetensors.torch.load_file(checkpoint)
    tensors["model.decoder.classifier.weight"] = torch.zeros(3, 4)
    about = {"wtal": '{"iteration": 5, "classes": ["jump", "run"]}'}
    safetensors.torch.save_file(tensors, checkpoint, metadata=about)
    with pytest.raises(RunError, match=f"^{re.escape(str(checkpoint))}: not a checkpoint of this experiment's model: "):
        train(checkpoint=checkpoint)


@pytest.mark.parametrize("content", [b"", b"junk", safetensors.torch.save({"a": torch.zeros(1)})])
def test_a_file_that_is_no_checkpoint_is_refused(train, tmp_path, content):
    checkpoint = tmp_path / "c"
    checkpoint.write_bytes(content)
    with pytest.raises(RunError, match=f"^{re.escape(str(checkpoint))}: not a checkpoint: "):
        train(checkpoint=checkpoint)


def test_a_decoder_s_complaint_names_the_video(train, monkeypatch):
    def refuse(self, features, mask=None, targets=None):
        error = ValueError("too many labels")
        error.position = 1
        raise error

    monkeypatch.setattr(AttentionPooling, "forward", refuse)
    with pytest.raises(RunError, match=r"^stream 'rgb', video 'v\d': too many labels$"):
        train()


def test_a_decoder_may_refuse_targets_before_training(fakes, wtal, tiny, tmp_path, monkeypatch):
    class RefusalError(ValueError):
        position, reason = 2, "has 9 labels"

    def refuse(self, targets):
        assert targets.labels.tolist() == [[1, 0], [0, 1]] * 3
        assert self.classifier.in_features == 4  # that of the data: a decoder may be particular about it
        raise RefusalError("video 2 of the batch has 9 labels")

    monkeypatch.setattr(AttentionPooling, "check_targets", refuse, raising=False)
    for command in ("validate", "run"):
        answer = wtal(command, tiny, "--out", tmp_path / "new")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == "error: decoder 'attention-pooling', video 'v2' has 9 labels\n"
    assert not (tmp_path / "new").exists()
