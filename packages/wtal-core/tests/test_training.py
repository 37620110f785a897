"""Statistics, batches, determinism, and checkpoints."""

import itertools
import json
import re
from typing import NamedTuple

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from wtal_core import config
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.builtin.epochs import Epochs
from wtal_core.data.dataset import Moments, examine, survey
from wtal_core.errors import PluginError, RunError
from wtal_core.model import build_model
from wtal_core.training import loop
from wtal_core.training.checkpoint import checkpoint_iteration, load_checkpoint

from . import naive

# Statistics


def statistics(videos, dim):
    """Mean and deviation of the features of all videos, taken in one by one."""
    moments = Moments(dim)
    for video in videos:
        moments.add(video)
    return moments.mean, moments.deviation


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


def drawn(seed, videos, batch, iteration):
    """The videos of an iteration, as the usual sampler draws them."""
    return Epochs()(np.ones((videos, 1)), batch, seed, iteration)


@given(videos=st.integers(1, 12), batch=st.integers(1, 15), seed=st.integers(0, 9))
def test_each_epoch_is_a_permutation(videos, batch, seed):
    row = np.concatenate([drawn(seed, videos, batch, i) for i in range(3 * videos)])
    epochs = row.reshape(-1, videos)
    assert (np.sort(epochs, axis=1) == np.arange(videos)).all()


def test_epochs_are_shuffled_differently_and_by_the_seed():
    first, second, other = (drawn(s, 20, 20, i) for s, i in [(0, 0), (0, 1), (1, 0)])
    assert first.tolist() != second.tolist()
    assert first.tolist() != other.tolist()


def test_a_batch_depends_on_nothing_but_its_arguments():
    later = drawn(3, 7, 4, 5)
    for iteration in range(5):
        drawn(3, 7, 4, iteration)
    assert drawn(3, 7, 4, 5).tolist() == later.tolist()


# Training


class Metric(NamedTuple):
    iteration: int
    terms: dict[str, float]


@pytest.fixture
def train(tiny, registry, tmp_path):
    """Train the stream rgb of the tiny data set: `train("seed=1", checkpoint=path)` gives the model and the metrics."""
    names = itertools.count()

    def do(*settings, checkpoint=None, lessons=None):
        experiment = config.load(tiny, settings)
        dataset, problems = examine(experiment.data, registry)
        assert not problems
        (stage,) = config.stages(experiment)
        path = checkpoint or tmp_path / f"{next(names)}.safetensors"
        task = loop.Task(dataset, "rgb", stage, experiment.seed, torch.device("cpu"), registry, path, None, lessons)
        metrics = []
        moments = survey(dataset).statistics["rgb"]
        loop.train(task, moments, lambda *line: metrics.append(Metric(*line)), lambda _: pytest.fail("no predecessor"))
        with torch.random.fork_rng(devices=()):
            model = build_model(stage, registry, dataset.dimensions("rgb"))
        load_checkpoint(path, model, dataset.classes)
        return model.eval(), metrics

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


def test_training_lowers_the_loss(train):
    _, metrics = train("training.iterations=150", "training.learning_rate=0.01", "training.feature_dropout=0")
    assert [metric.iteration for metric in metrics] == list(range(10, 151, 10))
    assert metrics[-1].terms["loss"] < 0.7 * metrics[0].terms["loss"]


def test_metrics_come_every_tenth_iteration_and_at_the_last(train):
    _, metrics = train("model.decoder.sparsity=0.5")
    assert [metric.iteration for metric in metrics] == [10, 12]
    for _, terms in metrics:
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
    np.testing.assert_allclose(
        model.standardized(features)[0].numpy(), (videos[0] - mean) / deviation, rtol=1e-4, atol=1e-5
    )


def test_features_are_dropped_in_training_only(train):
    model, _ = train("training.feature_dropout=0.9")
    features = torch.ones(1, 50, 4) + 5
    assert (model(features).features != 0).all()
    assert (model.train()(features).features == 0).float().mean() > 0.5


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
        train("training.learning_rate=1e30", f"training.iterations={iterations}", "training.checkpoint_every=100")


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
    assert checkpoint_iteration(tmp_path / "c" / "rgb.safetensors") == 12


@pytest.mark.parametrize("reached", [5, 10])
def test_a_resumed_training_equals_an_uninterrupted_one(train, tmp_path, monkeypatch, reached):
    whole, metrics = train(checkpoint=tmp_path / "whole")
    save = loop.save_checkpoint

    def save_and_stop(path, model, optimizer, iteration, classes):
        save(path, model, optimizer, iteration, classes)
        if iteration == reached:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        train(checkpoint=tmp_path / "parts")
    assert checkpoint_iteration(tmp_path / "parts") == reached
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


# Modules as people write them


class Tied(AttentionPooling):
    """Two names for one weight, an aggregator that is held twice, buffers that share memory, and odd dtypes."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.again = self.aggregator
        self.register_buffer("whole", torch.arange(6.0))
        self.register_buffer("part", self.whole[2:4])
        self.register_buffer("same", self.whole)
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("spectrum", torch.zeros(2, dtype=torch.complex64))
        self.register_buffer("phase", torch.tensor(1j, dtype=torch.complex128))
        self.register_buffer("halves", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("nothing", torch.zeros(0, 3))
        self.register_buffer("nothing_more", torch.zeros(0, 3))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_buffer("absent", None)

    def loss(self, decoding, targets):
        self.whole += 1
        self.count += 1
        self.spectrum += 1 + 2j
        self.halves *= 1.5
        terms = super().loss(decoding, targets)
        return terms | {"tied": ((self.first(self.whole[:3]) - self.second(self.whole[3:])) ** 2).sum() / 1000}

    def get_extra_state(self):
        return self.count.clone() + 7

    def set_extra_state(self, state):
        assert state == self.count + 7 or self.count == 0


@pytest.fixture
def written(train, monkeypatch, tmp_path):
    """Train a decoder of another class, to the end or until a checkpoint of some iteration."""

    def do(decoder, name, *settings, until=None):
        save = loop.save_checkpoint

        def save_and_stop(path, model, optimizer, iteration, classes):
            save(path, model, optimizer, iteration, classes)
            if iteration == until:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("wtal_core.builtin.attention_pooling.AttentionPooling", decoder)
            patch.setattr(loop, "save_checkpoint", save_and_stop)
            return train(*settings, checkpoint=tmp_path / name)

    return do


@pytest.mark.parametrize("reached", [5, 10])
def test_tied_modules_are_saved_once_and_resume_to_the_byte(written, tmp_path, reached):
    whole, metrics = written(Tied, "whole")
    with pytest.raises(KeyboardInterrupt):
        written(Tied, "parts", until=reached)
    resumed, rest = written(Tied, "parts")
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert rest == [metric for metric in metrics if metric.iteration > reached]
    for model in (whole, resumed):
        decoder = model.decoder
        assert decoder.second.weight is decoder.first.weight
        assert decoder.again is decoder.aggregator
        assert decoder.part.data_ptr() == decoder.whole[2:].data_ptr()
        assert decoder.whole.tolist() == [12, 13, 14, 15, 16, 17]
        assert decoder.part.tolist() == [14, 15]
        assert (decoder.count, decoder.phase, decoder.spectrum[1]) == (12, 1j, 12 + 24j)
    with safetensors.safe_open(tmp_path / "whole", framework="pt") as file:
        names, about = set(file.keys()), json.loads(file.metadata()["wtal"])
    assert about["tied"]["decoder.second.weight"] == "decoder.first.weight"
    assert about["tied"]["decoder.same"] == "decoder.whole"
    assert not {f"model.{name}" for name in about["tied"]} & names
    assert "optimizer.decoder.first.weight.exp_avg" in names
    assert "optimizer.decoder.second.weight.exp_avg" not in names
    assert "model.decoder.scratch" not in names


def dictionary(self):
    return {"count": 3}


class Wrapped(torch.nn.Module):
    get_extra_state = dictionary

    def set_extra_state(self, state):
        pass


class HoldsADictionary(AttentionPooling):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.inner = Wrapped()


class Expanded(AttentionPooling):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register_buffer("wide", torch.zeros(1).expand(3))


class LosesState(AttentionPooling):
    def get_extra_state(self):
        return torch.zeros(2)

    def set_extra_state(self, state):
        raise KeyError("count")


DICTIONARY = (
    "cannot be saved: the extra state of its module {} is of type dict, and a checkpoint holds tensors only; "
    "let get_extra_state return a tensor, or register a buffer"
)


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        (HoldsADictionary, DICTIONARY.format("'decoder.inner'")),
        (Expanded, "cannot be saved and restored: RuntimeError: "),
        (LosesState, "cannot be saved and restored: KeyError: 'count'"),
    ],
)
def test_a_state_that_no_checkpoint_can_hold_is_refused_before_training(
    fakes, wtal, tiny, tmp_path, monkeypatch, decoder, said
):
    monkeypatch.setattr("wtal_core.builtin.attention_pooling.AttentionPooling", decoder)
    for command in ("validate", "train", "run"):
        answer = wtal(command, tiny, "--out", tmp_path / "new")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"error: decoder 'attention-pooling' of wtal-core 0.1.0 {said}")
        assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_an_aggregator_with_such_a_state_is_named(fakes, wtal, tiny, tmp_path, monkeypatch):
    import wtal_fakes

    monkeypatch.setattr(wtal_fakes.Mean, "get_extra_state", dictionary)
    monkeypatch.setattr(wtal_fakes.Mean, "set_extra_state", lambda self, state: None)
    said = DICTIONARY.format("'decoder.aggregator.made'")
    answer = wtal("validate", tiny)
    assert (answer.code, answer.err) == (2, f"error: aggregator 'maa' of wtal-fakes 1.0 {said}\n")


class TiesLater(AttentionPooling):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

    def loss(self, decoding, targets):
        self.second.weight = self.first.weight
        return super().loss(decoding, targets)


def test_what_is_tied_in_training_is_refused_at_the_first_checkpoint(written, tmp_path):
    with pytest.raises(PluginError) as error:
        written(TiesLater, "c")
    assert str(error.value) == (
        "decoder 'attention-pooling' of wtal-core 0.1.0 cannot be saved: it, or its aggregator, replaced or tied "
        "parameters in training; do so when it is built"
    )
    assert not (tmp_path / "c").exists()


def test_a_checkpoint_that_does_not_fit_the_disk_is_one_message(train, tmp_path, monkeypatch):
    def full(*_, **__):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    said = "checkpoint.safetensors: cannot write: Error while serializing: I/O error: No space left on device"
    with pytest.raises(RunError, match=re.escape(said)):
        train(checkpoint=tmp_path / "checkpoint.safetensors")
