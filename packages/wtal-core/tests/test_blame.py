"""Whatever a component raises or answers in a run names the component, its distribution, and the video."""

import copy
import re

import numpy as np
import pytest
import torch
import wtal_core.check
from torch import nn
from wtal_core import binding
from wtal_core.builtin.activitynet import ActivityNet
from wtal_core.builtin.annotations_teacher import AnnotationsTeacher
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.builtin.clips import Segments
from wtal_core.builtin.epochs import Epochs
from wtal_core.builtin.features import NpyFolder
from wtal_core.builtin.snippet_targets import SnippetTargets
from wtal_core.cli import main
from wtal_core.errors import PluginError
from wtal_core.registry import discover
from wtal_core.testing import tmp_plugin

from .conftest import hook, plugin

pytestmark = pytest.mark.usefixtures("fakes", "real_only")


@pytest.fixture
def real_only(monkeypatch):
    """Let the rehearsal pass, as a component does that goes wrong on real data alone."""
    monkeypatch.setattr(wtal_core.check, "component_problems", lambda *_: [])


@pytest.fixture
def components(fakes):
    import wtal_fakes

    return wtal_fakes


NOTE = "note: stage 0 is taught by 'annotations', which reads segments: full supervision\n"


def error(answer):
    """The one error of a command that ended with exit code 2; it may have said before what is there and who teaches."""
    said = re.sub(r"\Afeatures: .*\n(note: annotations .*\n)?", "", answer.out)
    assert (answer.code, said.removeprefix(NOTE)) == (2, "")
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
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        "decoder 'attention-pooling' of wtal-core 0.1.0 fails in iteration 1 of training, stream 'rgb': "
        "ContractError: the loss must be a dict of named terms, got None"
    )


def test_a_decoder_may_copy_its_aggregator(wtal, tiny, tmp_path, components, monkeypatch):
    plain = AttentionPooling.__init__

    def build(self, feature_dim, num_classes, aggregator):
        plain(self, feature_dim, num_classes, copy.deepcopy(aggregator))

    monkeypatch.setattr(AttentionPooling, "__init__", build)
    monkeypatch.setattr(components.Mean, "forward", lambda self, features, *_: features[:, 0, :2])
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith("aggregator 'maa' of wtal-fakes 1.0 fails in ")


def test_a_decoder_may_hide_what_its_aggregator_answers(wtal, tiny, tmp_path, components, monkeypatch):
    """The wrapper holds the answer, so that whatever the decoder makes of it, the aggregator is named."""
    plain = AttentionPooling.forward

    def forward(self, features, *given):
        decoding = plain(self, features, *given)
        return decoding._replace(pooled=torch.zeros_like(decoding.pooled))

    monkeypatch.setattr(AttentionPooling, "forward", forward)
    monkeypatch.setattr(components.Mean, "forward", lambda self, features, *_: features[:, 0] + float("inf"))
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith(
        "aggregator 'maa' of wtal-fakes 1.0 fails in iteration 1 of training, stream 'rgb': ContractError: "
        "pooled features must be finite, got "
    )


def test_an_aggregator_is_a_module_in_its_wrapper_too(fakes):
    aggregator = discover().build("aggregator", "maa")
    decoder = discover().build("decoder", "attention-pooling", feature_dim=4, num_classes=2, aggregator=aggregator)
    assert isinstance(aggregator, nn.Module)
    assert aggregator in decoder.made.modules()
    assert aggregator.made in decoder.made.modules()
    assert aggregator.power == 1.0
    assert not hasattr(aggregator, "coefficients")


# The kinds of which the core ships the usual ones


@pytest.fixture
def taught(tiny):
    """The experiment file of a run with a teacher and its loss."""
    more = (
        'losses = ["snippet-targets"]\n[model]\ndecoder = "snippet-classifier"\n[[stages]]\nteacher = "annotations"\n'
    )
    tiny.write_text(tiny.read_text() + more)
    return tiny


IN_TRAINING = "fails in iteration 1 of training, stream 'rgb'"
OURS = [
    (ActivityNet, "names", "annotation reader 'auto'", "fails"),
    (ActivityNet, "video", "annotation reader 'auto'", "fails on video 'v0'"),
    (Epochs, "__call__", "sampler 'epochs'", "fails on the labels of the training subset"),
    (Segments, "__call__", "clip 'segments'", IN_TRAINING),
    (AnnotationsTeacher, "__call__", "teacher 'annotations'", "fails on video 'v0'"),
    (SnippetTargets, "__call__", "loss 'snippet-targets'", IN_TRAINING),
]
REFUSALS = {
    "Epochs": "sampler 'epochs' of wtal-core 0.1.0: too long",
    "AnnotationsTeacher": "teacher 'annotations' of wtal-core 0.1.0, video 'v0': too long",
}


@pytest.mark.parametrize(("raised", "said"), RAISED, ids=[said for _, said in RAISED])
@pytest.mark.parametrize(
    ("kind", "method", "whose", "where"), OURS, ids=[f"{one[0].__name__}.{one[1]}" for one in OURS]
)
def test_whatever_one_of_ours_raises(wtal, taught, tmp_path, monkeypatch, kind, method, whose, where, raised, said):
    monkeypatch.setattr(kind, method, raises(raised))
    expected = f"{whose} of wtal-core 0.1.0 {where}: {said}"
    if isinstance(raised, ValueError):  # by which readers, samplers and teachers refuse
        expected = REFUSALS.get(kind.__name__, expected)
        if kind is ActivityNet:
            videos = [f" video 'v{n}':" for n in range(9)] if method == "video" else [""]
            expected = "\n".join(f"error: {taught.parent / 'annotations.json'}:{one} too long" for one in videos)
            answer = wtal("train", taught, "--out", tmp_path)
            assert (answer.code, answer.out, answer.err) == (2, "", expected + "\n")
            return
    assert error(wtal("train", taught, "--out", tmp_path)) == expected


def test_an_annotation_that_lies_in_a_missing_file_is_named_with_its_video(wtal, tiny, tmp_path, monkeypatch):
    plain = ActivityNet.video
    gone = FileNotFoundError(2, "No such file or directory", "v3.xml")
    monkeypatch.setattr(ActivityNet, "video", lambda self, name: raises(gone)() if name == "v3" else plain(self, name))
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        f"{tiny.parent / 'annotations.json'}: video 'v3': [Errno 2] No such file or directory: 'v3.xml'"
    )


def test_an_annotation_reader_without_notes(wtal, tiny, tmp_path, monkeypatch):
    monkeypatch.delattr(ActivityNet, "notes")
    assert error(wtal("train", tiny, "--out", tmp_path, "--set", "data.annotation_reader=activitynet")) == (
        "annotation reader 'activitynet' of wtal-core 0.1.0 fails: AttributeError: "
        "'ActivityNet' object has no attribute 'notes'"
    )


class Listener:
    """A tracker that hears and does nothing."""

    def __init__(self, directory):
        pass

    def stage(self, name):
        pass

    def metrics(self, name, iteration, values):
        pass

    def evaluation(self, values):
        pass

    def close(self):
        pass


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("__init__", "cannot be built"),
        ("stage", "fails when model 'rgb' begins"),
        ("metrics", "fails in iteration 10 of model 'rgb'"),
        ("evaluation", "fails on the evaluation"),
        ("close", "fails when it is closed"),
    ],
)
def test_whatever_a_tracker_raises(wtal, tiny, tmp_path, method, where):
    tiny.write_text('trackers = ["deaf"]\n' + tiny.read_text())
    with tmp_plugin("tracker", "deaf", type("Deaf", (Listener,), {method: raises(RuntimeError("no luck"))})):
        answer = wtal("run", tiny, "--out", tmp_path)
    assert error(answer) == f"tracker 'deaf' of tmp-plugin 0 {where}: RuntimeError: no luck"


def test_a_tracker_that_cannot_be_closed_hides_no_other_error(wtal, tiny, tmp_path):
    tiny.write_text('trackers = ["deaf"]\n' + tiny.read_text())
    broken = {"metrics": raises(OSError("disk full")), "close": raises(OSError("still full"))}
    with tmp_plugin("tracker", "deaf", type("Deaf", (Listener,), broken)):
        answer = wtal("run", tiny, "--out", tmp_path)
    assert error(answer) == "tracker 'deaf' of tmp-plugin 0 fails in iteration 10 of model 'rgb': OSError: disk full"


def test_coefficients_fail_in_the_name_of_their_aggregator(wtal, tiny, tmp_path, components, monkeypatch):
    monkeypatch.setattr(components.Mean, "coefficients", raises(RuntimeError("no luck")), raising=False)
    plain = AttentionPooling.forward

    def forward(self, features, *given):
        self.aggregator.coefficients(features[..., 0])
        return plain(self, features, *given)

    monkeypatch.setattr(AttentionPooling, "forward", forward)
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        "aggregator 'maa' of wtal-fakes 1.0 fails in iteration 1 of training, stream 'rgb': RuntimeError: no luck"
    )


# What is nobody's


class Stumble(torch.autograd.Function):
    """The identity, which has no way back."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise RuntimeError("no way back")


def test_the_backward_pass_is_the_hosts_and_nobody_is_blamed(wtal, tiny, tmp_path, components, monkeypatch):
    plain = components.Mean.forward
    monkeypatch.setattr(components.Mean, "forward", lambda *given: Stumble.apply(plain(*given)))
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        "stream 'rgb': the gradient cannot be computed in iteration 1: RuntimeError: no way back"
    )


def test_nobody_is_blamed_for_the_memory_of_the_optimiser(wtal, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.optim.Adam, "step", raises(torch.OutOfMemoryError("CUDA out of memory.")))
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        "stream 'rgb': the gradient cannot be computed in iteration 1: OutOfMemoryError: CUDA out of memory."
    )


def test_a_term_that_diverges_is_no_fault_of_its_loss(wtal, taught, tmp_path, monkeypatch):
    plain, calls = SnippetTargets.__call__, []

    def call(self, *given):
        calls.append(given)
        return {name: term / (len(calls) < 3) for name, term in plain(self, *given).items()}

    monkeypatch.setattr(SnippetTargets, "__call__", call)
    assert error(wtal("train", taught, "--out", tmp_path)) == (
        "stream 'rgb': the loss is not finite at iteration 5: {'classification': nan, 'snippets': nan, 'loss': nan}; "
        "lower training.learning_rate or standardise the features"
    )


# When training looks at values


def from_iteration(first, plain, change):
    """A decoder's forward that goes wrong in an iteration of training, and stays so."""
    calls = []

    def forward(self, *given):
        calls.append(self.training)
        return change(plain(self, *given)) if sum(calls) >= first else plain(self, *given)

    return forward


@pytest.mark.parametrize(("first", "caught"), [(1, 1), (3, 3), (4, 10), (5, 10), (10, 10), (11, 12), (12, 12)])
def test_values_are_looked_at_in_the_first_iterations_and_whenever_metrics_are_logged(
    wtal, tiny, tmp_path, monkeypatch, first, caught
):
    def change(decoding):
        return decoding._replace(class_scores=decoding.class_scores + 2)  # which the loss does not read

    monkeypatch.setattr(AttentionPooling, "forward", from_iteration(first, AttentionPooling.forward, change))
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith(
        f"decoder 'attention-pooling' of wtal-core 0.1.0 fails in iteration {caught} of training, stream 'rgb': "
        "ContractError: class_scores must lie in [0, 1], got "
    )


def test_an_aggregator_that_goes_wrong_in_a_logged_iteration_is_named(wtal, tiny, tmp_path, components, monkeypatch):
    plain, calls = components.Mean.forward, []

    def forward(self, *given):
        calls.append(self.training)
        return plain(self, *given) / (sum(calls) < 10)

    monkeypatch.setattr(components.Mean, "forward", forward)
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith(
        "aggregator 'maa' of wtal-fakes 1.0 fails in iteration 10 of training, stream 'rgb': ContractError: "
        "pooled features must be finite, got "
    )


@pytest.mark.parametrize("first", [5, 10])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda decoding: decoding._replace(class_scores=None), "class_scores must be a tensor (4, 2), got NoneType"),
        (lambda decoding: None, "the answer, a NoneType, has no 'features'"),
    ],
)
def test_types_and_shapes_are_held_in_every_iteration(wtal, tiny, tmp_path, monkeypatch, first, change, said):
    monkeypatch.setattr(AttentionPooling, "forward", from_iteration(first, AttentionPooling.forward, change))
    assert error(wtal("train", tiny, "--out", tmp_path)) == (
        f"decoder 'attention-pooling' of wtal-core 0.1.0 fails in iteration {first} of training, stream 'rgb': "
        f"ContractError: {said}"
    )


def test_terms_of_a_loss_are_held_in_every_iteration(wtal, tiny, tmp_path, monkeypatch):
    plain, calls = AttentionPooling.loss, []

    def loss(self, *given):
        calls.append(given)
        return plain(self, *given) if len(calls) < 5 else None

    monkeypatch.setattr(AttentionPooling, "loss", loss)
    assert error(wtal("train", tiny, "--out", tmp_path)).startswith(
        "decoder 'attention-pooling' of wtal-core 0.1.0 fails in iteration 5 of training, stream 'rgb': ContractError: "
    )


def test_between_them_no_value_is_looked_at(wtal, tiny, tmp_path, components, monkeypatch):
    looked, plain = [], components.Mean.forward

    def forward(self, *given):
        looked.append(binding.checking())
        return plain(self, *given)

    monkeypatch.setattr(components.Mean, "forward", forward)
    assert wtal("train", tiny, "--out", tmp_path).code == 0
    of_a_stream = [iteration in (1, 2, 3, 10, 12) for iteration in range(1, 13)]
    assert looked[-24:] == 2 * of_a_stream


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        (
            Segments,
            np.array([3, 2]),
            "clip 'segments' of wtal-core 0.1.0 {}: ContractError: the rows of a clip must be ",
        ),
        (Segments, np.array([-1]), "clip 'segments' of wtal-core 0.1.0 {}: ContractError: a clip must show at least "),
        (
            Epochs,
            np.array([6] * 4),
            "sampler 'epochs' of wtal-core 0.1.0 {}: ContractError: the videos of a batch must ",
        ),
        (Epochs, ValueError("no\npair"), "sampler 'epochs' of wtal-core 0.1.0 {}: ValueError: no pair"),
    ],
)
def test_what_a_batch_is_made_of_is_held_in_every_iteration(wtal, tiny, tmp_path, monkeypatch, kind, answer, said):
    plain, calls = kind.__call__, []

    def call(self, *given):
        calls.append(given)
        if len(calls) < 20:
            return plain(self, *given)
        return raises(answer)() if isinstance(answer, Exception) else answer

    monkeypatch.setattr(kind, "__call__", call)
    iteration = 5 if kind is Segments else 19  # a clip is asked for each of four videos; a sampler once before
    where = f"fails in iteration {iteration} of training, stream 'rgb'"
    assert error(wtal("train", tiny, "--out", tmp_path, "--set", "training.iterations=30")).startswith(
        said.format(where)
    )


# Before training


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
    (
        "Mean",
        "forward",
        lambda x: "x",
        "fails in iteration 1 of training, stream 'rgb': ContractError: pooled features must ",
    ),
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


def test_nobody_is_blamed_for_weights_that_have_grown_too_large(wtal, tiny, tmp_path):
    said = error(wtal("train", tiny, "--out", tmp_path, "--set", "training.learning_rate=1e30"))
    assert said == (
        "stream 'rgb': the loss is not finite at iteration 5: {'classification': nan, 'loss': nan}; "
        "lower training.learning_rate or standardise the features"
    )


def test_a_message_does_not_print_whole_arrays(wtal, tiny, tmp_path, components, monkeypatch):
    monkeypatch.setattr(
        components.Activations,
        "__call__",
        lambda self, decoding: (np.full((2, decoding.features.shape[1]), 7.123456789),) * 2,
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
            "got ndarray (9, 4) of float64",
        ),
        (
            "read",
            lambda *_: np.full((10, 4), "x"),
            "fails on video 'v0', stream 'rgb': TypeError: features must be an array (10, 4) of numbers, "
            "got ndarray (10, 4) of <U1",
        ),
    ],
)
def test_a_reader_that_fails_or_answers_wrongly(wtal, tiny, tmp_path, monkeypatch, method, answer, said):
    monkeypatch.setattr(NpyFolder, method, answer)
    assert error(wtal("train", tiny, "--out", tmp_path)) == f"feature reader 'auto' of wtal-core 0.1.0 {said}"


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
