"""Whatever a component raises or answers in a run names the component, its distribution, and the video."""

import copy
import re

import numpy as np
import pytest
import torch
import wtal_core.run
from conftest import hook, plugin
from wtal_core.attention_pooling import AttentionPooling
from wtal_core.cli import main
from wtal_core.errors import PluginError
from wtal_core.features import NpyFolder

pytestmark = pytest.mark.usefixtures("fakes", "real_only")


@pytest.fixture
def real_only(monkeypatch):
    """Let the rehearsal pass, as a component does that goes wrong on real data alone."""
    monkeypatch.setattr(wtal_core.run, "component_problems", lambda *_: [])


@pytest.fixture
def components(fakes):
    import wtal_fakes

    return wtal_fakes


def error(answer):
    """The one error of a command that ended with exit code 2."""
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def raises(raised):
    def do(*_, **__):
        raise raised

    return do


RAISED = [
    (RuntimeError("no luck"), "RuntimeError: no luck"),
    (ValueError("too\nlong"), "ValueError: too long"),
    (KeyError("gone"), "KeyError: 'gone'"),
    (SystemExit(0), "SystemExit: 0"),
    (GeneratorExit("odd"), "GeneratorExit: odd"),
]
PLACES = [
    ("Mean", "forward", "aggregator 'maa'", "fails in iteration 1 of training, stream 'rgb'"),
    ("Activations", "__call__", "activation 'cas'", "fails on video 'v6', stream 'rgb'"),
    ("Runs", "__call__", "proposer 'threshold'", "fails on video 'v6'"),
    ("KeepAll", "__call__", "suppressor 'nms'", "fails on video 'v6'"),
    ("Recall", "__call__", "evaluator 'activitynet'", "fails on the test subset"),
    ("Accuracy", "__call__", "evaluator 'classification'", "fails on the test subset"),
]


@pytest.mark.parametrize(("raised", "said"), RAISED, ids=[said for _, said in RAISED])
@pytest.mark.parametrize(("name", "method", "whose", "where"), PLACES, ids=[name for name, *_ in PLACES])
def test_whatever_it_raises(wtal, tiny, tmp_path, components, monkeypatch, name, method, whose, where, raised, said):
    monkeypatch.setattr(getattr(components, name), method, raises(raised))
    refusal = isinstance(raised, ValueError) and name == "Runs"  # of the activation, which is another's
    expected = "video 'v6': too long" if refusal else f"{whose} of wtal-fakes 1.0 {where}: {said}"
    assert error(wtal("run", tiny, "--out", tmp_path)) == expected


@pytest.mark.parametrize("method", ["forward", "loss"])
def test_whatever_a_decoder_raises_in_training(wtal, tiny, tmp_path, monkeypatch, method):
    monkeypatch.setattr(AttentionPooling, method, raises(KeyError("gone")))
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        "decoder 'attention-pooling' of wtal-core 0.1.0 fails in iteration 1 of training, stream 'rgb': "
        "KeyError: 'gone'"
    )


def test_a_decoder_that_gives_no_loss(wtal, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(AttentionPooling, "loss", lambda *_: None)
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith(
        "decoder 'attention-pooling' of wtal-core 0.1.0 fails in iteration 1 of training, stream 'rgb': "
        "AttributeError: "
    )


def test_a_decoder_may_copy_its_aggregator(wtal, tiny, tmp_path, components, monkeypatch):
    plain = AttentionPooling.__init__

    def build(self, feature_dim, num_classes, aggregator):
        plain(self, feature_dim, num_classes, copy.deepcopy(aggregator))

    monkeypatch.setattr(AttentionPooling, "__init__", build)
    monkeypatch.setattr(components.Mean, "forward", lambda self, features, *_: features[:, 0, :2])
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith("aggregator 'maa' of wtal-fakes 1.0 fails in ")


def test_what_an_aggregator_raises_in_the_backward_pass_is_said(wtal, tiny, tmp_path, components, monkeypatch):
    class Stumble(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            raise RuntimeError("no way back")

    plain = components.Mean.forward
    monkeypatch.setattr(components.Mean, "forward", lambda *given: Stumble.apply(plain(*given)))
    assert error(wtal("train", tiny, "--out", tmp_path)).endswith("stream 'rgb': RuntimeError: no way back")


def test_what_a_decoder_has_against_the_labels(wtal, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(AttentionPooling, "check_targets", raises(KeyError("gone")), raising=False)
    assert error(wtal("run", tiny, "--out", tmp_path)) == (
        "decoder 'attention-pooling' of wtal-core 0.1.0 fails on the labels of the training subset: KeyError: 'gone'"
    )


# Wrong answers


MAPS = "fails on video 'v6', stream 'rgb': ContractError: "
WRONG = [
    ("Mean", "forward", lambda x: x * float("nan"), "fails in iteration 1 of training, stream 'rgb': ContractError: "),
    ("Mean", "forward", lambda x: x[:, :2], "fails in iteration 1 of training, stream 'rgb': ContractError: features "),
    ("Mean", "forward", lambda x: "x", "fails in iteration 1 of training, stream 'rgb': ContractError: patterns must "),
    ("Activations", "__call__", lambda maps: None, MAPS + "an activation returns a tuple of two, "),
    ("Activations", "__call__", lambda maps: (maps[0][:, :3], maps[1][:, :3]), MAPS + "attention must be an array "),
    ("Activations", "__call__", lambda maps: (maps[0], maps[1] * np.nan), MAPS + "response must be finite, "),
    ("Activations", "__call__", lambda maps: (maps[0], maps[1] + 1), MAPS + "response must lie in [0, 1], "),
    ("Runs", "__call__", lambda found: None, "fails on video 'v6': ContractError: the answer, a NoneType, has no "),
    (
        "Runs",
        "__call__",
        lambda found: found._replace(label=found.label + 7),
        "fails on video 'v6': ContractError: label must hold class indices from 0 to 1, got ",
    ),
    (
        "Runs",
        "__call__",
        lambda found: found._replace(score=found.score * np.nan),
        "fails on video 'v6': ContractError: score must be finite, got ",
    ),
    (
        "Runs",
        "__call__",
        lambda found: found._replace(end=found.end + 2),
        "fails on video 'v6': ContractError: an interval must lie within the video's [0.0, 2.0), got ",
    ),
    (
        "Runs",
        "__call__",
        lambda found: found._replace(end=found.start),
        "fails on video 'v6': ContractError: an interval must end after its start, got ",
    ),
    ("KeepAll", "__call__", lambda kept: None, "fails on video 'v6': ContractError: the answer, a NoneType, has no "),
    (
        "KeepAll",
        "__call__",
        lambda kept: kept._replace(start=kept.start[:1]),
        "fails on video 'v6': ContractError: start must be an array ",
    ),
    ("Recall", "__call__", lambda scores: None, "fails on the test subset: ContractError: the answer, a NoneType, "),
    (
        "Accuracy",
        "__call__",
        lambda scores: scores._replace(mean_ap=scores.mean_ap * 100),
        "fails on the test subset: ContractError: mean_ap must lie in [0, 1], got ",
    ),
]


@pytest.mark.parametrize(("name", "method", "change", "said"), WRONG)
def test_a_wrong_answer_is_the_error_of_who_gave_it(
    wtal, tiny, tmp_path, components, monkeypatch, name, method, change, said
):
    kind = getattr(components, name)
    original = getattr(kind, method)
    monkeypatch.setattr(kind, method, lambda *given: change(original(*given)))
    whose = next(whose for one, _, whose, _ in PLACES if one == name)
    assert error(wtal("run", tiny, "--out", tmp_path)).startswith(f"{whose} of wtal-fakes 1.0 {said}")


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("class_scores", lambda x: x + 1, "class_scores must lie in [0, 1], got "),
        ("attention", lambda x: x * float("nan"), "attention must be finite, got "),
        ("attention", lambda x: x[..., :3], "features (1, 10, 4) must give attention (1, 1, 10), got (1, 1, 3)"),
    ],
)
def test_a_decoder_that_answers_wrongly_in_evaluation(wtal, tiny, tmp_path, monkeypatch, part, change, said):
    plain = AttentionPooling.forward

    def forward(self, *given):
        decoding = plain(self, *given)
        return decoding if self.training else decoding._replace(**{part: change(getattr(decoding, part))})

    monkeypatch.setattr(AttentionPooling, "forward", forward)
    assert error(wtal("run", tiny, "--out", tmp_path)).startswith(
        f"decoder 'attention-pooling' of wtal-core 0.1.0 fails on video 'v6', stream 'rgb': ContractError: {said}"
    )


def test_an_aggregator_is_not_blamed_for_what_it_was_given(wtal, tiny, tmp_path):
    said = error(wtal("train", tiny, "--out", tmp_path, "--set", "training.learning_rate=1e30"))
    assert said.startswith("stream 'rgb': the loss is not finite at iteration 5: ")


def test_a_message_does_not_print_whole_arrays(wtal, tiny, tmp_path, components, monkeypatch):
    monkeypatch.setattr(
        components.Activations, "__call__", lambda self, decoding, x: (np.full((2, x.shape[1]), 7.123456789),) * 2
    )
    assert len(error(wtal("run", tiny, "--out", tmp_path))) < 600


@pytest.mark.parametrize("component", ["model.decoder", "model.aggregator"])
def test_what_is_trained_must_be_a_module(wtal, tiny, tmp_path, install, component):
    kind = component.partition(".")[2]
    body = plugin(hook(f"wtal_{kind}s", {"loose": "loose_impl:Loose"}))
    source = "class Loose:\n    def __init__(self, feature_dim=1, num_classes=1, aggregator=None): pass"
    install("loose", {"_loose_plugin": body, "loose_impl": source})
    assert error(wtal("train", tiny, "--out", tmp_path, "--set", f"{component}=loose")) == (
        f"{kind} 'loose' of loose 1.0 must be an nn.Module, got Loose"
    )


# Feature readers


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("__init__", raises(RuntimeError("no luck")), "cannot be built: RuntimeError: no luck"),
        ("names", raises(RuntimeError("no luck")), "fails on stream 'rgb': RuntimeError: no luck"),
        ("names", lambda *_: None, "fails on stream 'rgb': TypeError: 'NoneType' object is not iterable"),
        ("names", lambda *_: [1], "fails on stream 'rgb': TypeError: names must be strings, got [1]"),
        ("shape", raises(KeyError("gone")), "fails on video 'v0', stream 'rgb': KeyError: 'gone'"),
        (
            "shape",
            lambda *_: None,
            "fails on video 'v0', stream 'rgb': TypeError: cannot unpack non-iterable NoneType object",
        ),
        (
            "shape",
            lambda *_: (10, 4.0),
            "fails on video 'v0', stream 'rgb': TypeError: 'float' object cannot be interpreted as an integer",
        ),
        ("read", raises(SystemExit(0)), "fails on video 'v0', stream 'rgb': SystemExit: 0"),
        (
            "read",
            lambda *_: None,
            "fails on video 'v0', stream 'rgb': TypeError: features must be an array (10, 4) of numbers, got NoneType",
        ),
        (
            "read",
            lambda *_: np.zeros((9, 4)),
            "fails on video 'v0', stream 'rgb': TypeError: features must be an array (10, 4) of numbers, "
            "got (9, 4) of float64",
        ),
        (
            "read",
            lambda *_: np.full((10, 4), "x"),
            "fails on video 'v0', stream 'rgb': TypeError: features must be an array (10, 4) of numbers, "
            "got (10, 4) of <U1",
        ),
    ],
)
def test_a_reader_that_fails_or_answers_wrongly(wtal, tiny, tmp_path, monkeypatch, method, answer, said):
    monkeypatch.setattr(NpyFolder, method, answer)
    assert error(wtal("train", tiny, "--out", tmp_path)) == f"feature reader 'npy' of wtal-core 0.1.0 {said}"


# The traceback


def test_debug_shows_the_cause(tiny, tmp_path, components, monkeypatch):
    monkeypatch.setattr(components.KeepAll, "__call__", raises(SystemExit(0)))
    with pytest.raises(PluginError, match=re.escape("suppressor 'nms' of wtal-fakes 1.0 fails")) as caught:
        main(["run", str(tiny), "--out", str(tmp_path), "--debug"])
    assert isinstance(caught.value.__cause__, SystemExit)


def test_an_interrupt_is_no_error_of_a_component(tiny, tmp_path, components, monkeypatch):
    monkeypatch.setattr(components.KeepAll, "__call__", raises(KeyboardInterrupt))
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(tiny), "--out", str(tmp_path)])
    assert stopped.value.code == 130
