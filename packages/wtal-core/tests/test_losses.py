"""Losses beside the decoder's own: what they need, what they name, what they learn."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.testing import tmp_plugin
from wtal_core.training import loop

pytestmark = pytest.mark.usefixtures("fakes")


class Weighing(nn.Module):
    """A loss with something to learn."""

    def __init__(self, num_classes, *, start=0.5):
        super().__init__()
        self.scale = nn.Parameter(torch.full((num_classes,), start))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, decoding, batch):
        if self.training:
            self.steps += 1
        return {"weighing": ((self.scale * decoding.class_scores - batch.targets.labels) ** 2).mean()}


def loss_of(name, *needs):
    """A loss that gives one term of a name, and needs some fields."""

    class Term:
        def __init__(self):
            self.needs = needs

        def __call__(self, decoding, batch):
            return {name: decoding.class_scores.mean() * 0}

    return Term


@pytest.fixture
def run(wtal, tiny, tmp_path):
    """A run of one stream with settings; its answer and its directory."""

    def do(*settings, command="run", out="out", flags=()):
        chosen = [word for setting in ('data.streams=["rgb"]', *settings) for word in ("--set", setting)]
        return wtal(command, tiny, "--out", tmp_path / out, *flags, *chosen), tmp_path / out / "seed-0"

    return do


def test_a_loss_is_trained_logged_and_saved(run):
    with tmp_plugin("loss", "weighing", Weighing):
        answer, folder = run("training.losses=[{ name = 'weighing', start = 0.25 }]")
    assert (answer.code, answer.err) == (0, "")
    tensors = safetensors.torch.load_file(folder / "checkpoints" / "rgb.safetensors")
    assert tensors["model.learnt.0.scale"].shape == (2,)
    assert (tensors["model.learnt.0.scale"] != 0.25).all()
    assert tensors["model.learnt.0.steps"] == 12
    assert tensors["optimizer.learnt.0.scale.step"] == 12
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert list(line) == ["stream", "iteration", "classification", "weighing", "loss"]
        assert line["loss"] == pytest.approx(line["classification"] + line["weighing"], rel=1e-6)


@pytest.mark.parametrize("saves", [0, 1, 2])
def test_a_loss_that_learns_resumes_to_the_byte(run, monkeypatch, saves):
    settings = ("training.losses=['weighing']",)
    save, count = loop.save_checkpoint, []

    def interrupted(*arguments):
        if len(count) == saves:
            raise KeyboardInterrupt
        count.append(1)
        save(*arguments)

    with tmp_plugin("loss", "weighing", Weighing):
        _, whole = run(*settings)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "save_checkpoint", interrupted)
            assert run(*settings, out="parts")[0].code != 0
        answer, parts = run(*settings, out="parts", flags=["--resume"])
    assert answer.code == 0
    for name in ("checkpoints/rgb.safetensors", "metrics.jsonl", "detections.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_a_loss_whose_state_no_checkpoint_holds_is_named(run):
    class Odd(Weighing):
        def get_extra_state(self):
            return {"count": 3}

        def set_extra_state(self, state):
            pass

    with tmp_plugin("loss", "odd", Odd):
        answer, _ = run("training.losses=['odd']", command="validate")
    assert (answer.code, answer.err) == (
        2,
        "error: loss 'odd' of tmp-plugin 0 cannot be saved: the extra state of its module 'learnt.0' is of type dict, "
        "and a checkpoint holds tensors only; let get_extra_state return a tensor, or register a buffer\n",
    )


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("snippet_logits", "decoder 'attention-pooling' does not give it"),
        ("background_logits", "decoder 'attention-pooling' does not give it"),
        ("targets.snippets", "this stage has no teacher to give them"),
        ("targets.counts", "data.counts is false"),
    ],
)
def test_what_a_loss_needs_and_is_not_there_is_refused_before_training(run, field, why):
    with tmp_plugin("loss", "needy", loss_of("nothing", "pooled", field)):
        for command in ("validate", "run"):
            answer, folder = run("training.losses=['needy']", command=command)
            assert (answer.code, answer.out) == (2, "")
            assert answer.err == f"error: loss 'needy' of tmp-plugin 0 needs {field}, and {why}\n"
    assert not folder.exists()


def test_what_a_loss_needs_and_is_there(run):
    with tmp_plugin("loss", "needy", loss_of("nothing", "pooled", "logits", "head_weight", "targets.counts")):
        assert run("training.losses=['needy']", "data.counts=true")[0].code == 0


def test_a_loss_that_needs_what_nobody_knows(run):
    with tmp_plugin("loss", "needy", loss_of("nothing", "flow")):
        answer, _ = run("training.losses=['needy']", command="validate")
    assert answer.err.startswith("error: loss 'needy' of tmp-plugin 0: needs must be names among attention, ")
    assert answer.err.endswith("; got ('flow',)\n")


@pytest.mark.parametrize("losses", [["classification"], ["other", "other"]])
def test_a_name_of_a_term_is_given_once(run, losses):
    with tmp_plugin("loss", "mine", loss_of(losses[0])):
        answer, folder = run(f"training.losses={['mine'] * len(losses)}")
    assert (answer.code, answer.err) == (
        2,
        f"error: loss 'mine' of tmp-plugin 0 gives a term {losses[0]!r}, and another part does so too\n",
    )
    assert not folder.exists()


@pytest.mark.parametrize("name", ["loss", "stream", "iteration"])
def test_a_name_that_the_log_has_is_no_term_s(run, monkeypatch, name):
    said = f"gives a term {name!r}, a name that the log of a run has\n"
    with tmp_plugin("loss", "mine", loss_of(name)):
        answer, folder = run("training.losses=['mine']")
    assert (answer.code, answer.err) == (2, f"error: loss 'mine' of tmp-plugin 0 {said}")
    plain = AttentionPooling.loss
    monkeypatch.setattr(AttentionPooling, "loss", lambda *given: {name: plain(*given)["classification"]})
    answer, folder = run()
    assert (answer.code, answer.err) == (2, f"error: decoder 'attention-pooling' of wtal-core 0.1.0 {said}")
    assert not folder.exists()


def test_an_experiment_without_any_term_is_refused(run):
    answer, folder = run("model.decoder={ name = 'snippet-classifier', classification = 0.0 }")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "error: decoder 'snippet-classifier' of wtal-core 0.1.0 has no loss of its own here; name one in "
        "training.losses\n"
    )
    assert not folder.exists()
    with tmp_plugin("loss", "weighing", Weighing):
        settings = (
            "model.decoder={ name = 'snippet-classifier', classification = 0.0 }",
            "training.losses=['weighing']",
        )
        assert run(*settings)[0].code == 0


def silent(value):
    """A decoder whose own loss never reaches a parameter."""

    class Silent(AttentionPooling):
        def loss(self, decoding, targets):
            return {"constant": torch.tensor(value)}

    return Silent


def test_terms_that_no_parameter_reaches_are_refused_before_training(run):
    said = (
        "error: the loss terms 'constant' do not depend on any parameter of decoder 'silent' of tmp-plugin 0 by "
        "torch's graph, so nothing can be learnt from them\n"
    )
    with tmp_plugin("decoder", "silent", silent(0.5)):
        for command in ("validate", "run"):
            answer, folder = run("model.decoder=silent", command=command)
            assert (answer.code, answer.err) == (2, said)
    assert not folder.exists()


def test_a_step_in_which_no_loss_has_anything_to_say_moves_nothing(run):
    with tmp_plugin("decoder", "silent", silent(0.0)):
        answer, folder = run("model.decoder=silent")
    assert (answer.code, answer.err) == (0, "")
    tensors = safetensors.torch.load_file(folder / "checkpoints" / "rgb.safetensors")
    assert not any(name.startswith("optimizer.") for name in tensors)


def test_components_are_tried_with_the_data_s_width_and_classes(run):
    class Particular(AttentionPooling):
        def __init__(self, feature_dim, num_classes, aggregator, *, first=3):
            super().__init__(feature_dim, num_classes, aggregator)
            self.parts = first, feature_dim - first

        def forward(self, features, mask=None, targets=None):
            assert features.split(self.parts, 2)[1].shape[2] == 1
            return super().forward(features, mask, targets)

    with tmp_plugin("decoder", "particular", Particular):
        assert run("model.decoder=particular", command="validate")[0].code == 0
        answer, _ = run("model.decoder={name='particular',first=5}", command="validate")
    assert answer.err.startswith("error: decoder 'particular' of tmp-plugin 0 fails on a small example: RuntimeError: ")
