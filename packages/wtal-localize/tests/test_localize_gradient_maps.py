import inspect
import re
from types import SimpleNamespace

import numpy as np
import pytest
from wtal_localize import AttendedSTGradCAM, Attention, ClassActivationSequence, STGradCAM, st_gradcam
from wtal_localize.activations import best_assembly

from . import naive

torch = pytest.importorskip("torch")

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
S, T, E, C = 3, 7, 5, 4


def decode(head, assemblies=S, device="cpu", dtype=torch.float32, seed=0):
    """A decoding whose assemblies pool the features under an attention of their own."""
    torch.manual_seed(seed)
    features = torch.randn(1, T, E, dtype=dtype, device=device)
    attention = torch.nn.Linear(E, assemblies).to(device, dtype)(features).sigmoid().transpose(1, 2)
    pooled = attention @ features
    head = head.to(device, dtype)
    logits = head(pooled)
    weight = head.weight if isinstance(head, torch.nn.Linear) else None
    scores = logits.sigmoid().amax(1)
    return SimpleNamespace(
        features=features,
        attention=attention,
        class_scores=scores,
        pooled=pooled,
        logits=logits,
        probabilities=None,
        head_weight=weight,
    )


class Recurrent(torch.nn.Module):
    """A head in which earlier assemblies reach later logits."""

    def __init__(self):
        super().__init__()
        self.cell = torch.nn.LSTMCell(E, 6)
        self.output = torch.nn.Linear(6, C)

    def forward(self, pooled):
        state, logits = None, []
        for x in pooled.unbind(1):
            state = self.cell(x, state)
            logits.append(self.output(state[0]))
        return torch.stack(logits, 1)


HEADS = [lambda: torch.nn.Linear(E, C), lambda: torch.nn.Sequential(torch.nn.Linear(E, C), torch.nn.Tanh()), Recurrent]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("head", HEADS)
def test_equals_one_backward_per_pair(head, device):
    decoding = decode(head(), device=device)
    classes, assemblies = (grid.ravel() for grid in np.meshgrid(np.arange(C), np.arange(S)))
    xi = st_gradcam(decoding.logits, decoding.pooled, decoding.features, classes, assemblies)
    np.testing.assert_allclose(xi, naive.st_gradcam(decoding, classes, assemblies), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_equals_finite_differences(head):
    head = head().double()
    decoding = decode(head, dtype=torch.float64)
    classes, assemblies, step = np.arange(C), np.arange(C) % S, 1e-6
    xi = st_gradcam(decoding.logits, decoding.pooled, decoding.features, classes, assemblies)
    slopes = np.empty((C, E))
    for d in range(E):
        for k, (c, s) in enumerate(zip(classes, assemblies, strict=True)):
            shift = torch.zeros_like(decoding.pooled)
            shift[0, s, d] = step
            above, below = (head(decoding.pooled + sign * shift)[0, s, c].item() for sign in (1, -1))
            slopes[k, d] = (above - below) / (2 * step)
    np.testing.assert_allclose(xi, slopes @ decoding.features[0].numpy().T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_attended_map_of_a_linear_head_is_the_class_activation_sequence(seed, device):
    decoding = decode(torch.nn.Linear(E, C), assemblies=1, device=device, seed=seed)
    for got, expected in zip(AttendedSTGradCAM()(decoding), ClassActivationSequence()(decoding), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_components_take_each_class_from_its_best_assembly(device):
    decoding = decode(Recurrent(), device=device)
    best = decoding.logits[0].softmax(1).argmax(0).cpu().numpy()
    assert len(set(best)) > 1
    attention = decoding.attention[0].detach().cpu().numpy()[best]
    xi = naive.st_gradcam(decoding, np.arange(C), best)
    response = 1 / (1 + np.exp(-xi))
    ones = np.ones((C, T))
    for activation, expected in (
        (Attention(), (attention, ones)),
        (STGradCAM(), (ones, response)),
        (AttendedSTGradCAM(), (attention, response)),
    ):
        for got, want in zip(activation(decoding), expected, strict=True):
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_only_requested_classes_are_computed():
    decoding = decode(Recurrent())
    decoding.class_scores = torch.tensor([[0.2, 0.05, 0.9, 0.0]])
    full = STGradCAM()(decoding).response
    part = STGradCAM(class_threshold=0.1)(decoding).response
    np.testing.assert_allclose(part[[0, 2]], full[[0, 2]], rtol=1e-6)
    assert not part[[1, 3]].any()
    alone = STGradCAM(class_threshold=1.0)(decoding).response  # none passes: the arg-max class
    assert alone.any(axis=1).tolist() == [False, False, True, False]


def test_parameters_and_graph_are_left_alone():
    head = Recurrent()
    decoding = decode(head)
    first = AttendedSTGradCAM()(decoding)
    second = AttendedSTGradCAM()(decoding)
    np.testing.assert_array_equal(first.response, second.response)
    assert all(parameter.grad is None for parameter in head.parameters())
    decoding.logits.sum().backward()  # the graph is still there
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_one_backward_for_all_classes(monkeypatch):
    calls = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or grad(*a, **k))
    AttendedSTGradCAM()(decode(Recurrent()))
    assert len(calls) == 1


def test_under_no_grad_with_a_graph_kept():
    decoding = decode(Recurrent())
    expected = STGradCAM()(decoding).response
    with torch.no_grad():
        np.testing.assert_array_equal(STGradCAM()(decoding).response, expected)


def test_video_without_snippets():
    decoding = decode(torch.nn.Linear(E, C), assemblies=1)
    decoding.features, decoding.attention = decoding.features[:, :0], decoding.attention[..., :0]
    for activation in (Attention(), STGradCAM(), AttendedSTGradCAM(), ClassActivationSequence()):
        assert [maps.shape for maps in activation(decoding)] == [(C, 0), (C, 0)]


def test_best_assembly_by_softmax_over_classes():
    # Class 0 has its larger logit in the second assembly, and its larger probability in the first.
    assert best_assembly(np.array([[[1.0, 0.0], [2.0, 9.0]]]), None).tolist() == [0, 1]
    assert best_assembly(np.array([[[1000.0, 0.0], [0.0, 1000.0]]]), None).tolist() == [0, 1]


def test_best_assembly_by_stated_probabilities():
    stated = np.array([[[0.1, 0.2], [0.3, 0.1]]])
    assert best_assembly(np.array([[[9.0, 0.0], [0.0, 9.0]]]), stated).tolist() == [1, 0]


def test_best_assembly_is_the_first_of_equals():
    assert best_assembly(np.array([[[1.0, 2.0], [1.0, 2.0]]]), None).tolist() == [0, 0]
    assert best_assembly(np.array([[[5.0, -3.0]]]), None).tolist() == [0, 0]


def raises(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("shape", [(2, 1, 3), (1, 0, 3), (1, 3)])
def test_bad_logits(shape):
    with raises(f"decoding.logits must have shape (1, S, C), one video and S >= 1, got {shape}"):
        best_assembly(np.zeros(shape), None)


def test_no_graph():
    with torch.no_grad():
        decoding = decode(Recurrent())
    with raises(
        "the gradient maps need a decoding that keeps its graph, and this one has none: "
        "decode outside torch.no_grad() and torch.inference_mode(), and if all parameters of the model are frozen, "
        "call features.requires_grad_() before"
    ):
        STGradCAM()(decoding)


def test_frozen_models_serve_features_that_require_a_gradient():
    head = Recurrent().requires_grad_(False)
    features = torch.randn(1, T, E).requires_grad_()
    pooled = torch.rand(1, S, T) @ features
    xi = st_gradcam(head(pooled), pooled, features, [0, 1], [0, 2])
    assert np.abs(xi).min() > 0


class OutsideTorch(torch.autograd.Function):
    """A square whose backward leaves torch, so that it cannot be batched."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return torch.from_numpy(2 * x.detach().numpy() * gradient.numpy())


class Square(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.output = torch.nn.Linear(E, C)

    def forward(self, pooled):
        return self.output(OutsideTorch.apply(pooled))


def test_backwards_that_cannot_be_batched_run_one_by_one():
    decoding = decode(Square())
    classes, assemblies = np.arange(C), np.arange(C) % S
    xi = st_gradcam(decoding.logits, decoding.pooled, decoding.features, classes, assemblies)
    np.testing.assert_allclose(xi, naive.st_gradcam(decoding, classes, assemblies), rtol=1e-5, atol=1e-6)
    decoding.pooled = decoding.pooled.clone()
    with raises(
        "decoding.logits do not depend on decoding.pooled: the decoder must compute its logits from the very "
        "tensor that it returns as pooled"
    ):
        STGradCAM()(decoding)


def test_heads_that_refuse_gradients():
    class Checkpointed(torch.nn.Linear):
        def forward(self, pooled):
            return torch.utils.checkpoint.checkpoint(super().forward, pooled, use_reentrant=self.reentrant)

    head = Checkpointed(E, C)
    head.reentrant = False
    STGradCAM()(decode(head))
    head.reentrant = True
    start = (
        "decoding.logits cannot be differentiated with respect to decoding.pooled: the head must allow "
        "torch.autograd.grad, and checkpointing must have use_reentrant=False; torch says: "
    )
    with pytest.raises(ValueError, match=f"^{re.escape(start)}.*incompatible with .grad"):
        STGradCAM()(decode(head))


@pytest.mark.parametrize("missing", ["pooled", "logits"])
def test_no_assemblies(missing):
    decoding = decode(Recurrent())
    setattr(decoding, missing, None)
    for activation in (STGradCAM(), AttendedSTGradCAM()):
        with raises(
            f"the gradient maps need a decoder that gives pooled and logits, and this one gives no {missing}; "
            "use 'snippet', which reads snippet_logits"
        ):
            activation(decoding)


def test_logits_of_a_copy():
    decoding = decode(Recurrent())
    decoding.pooled = decoding.pooled.clone()
    with raises(
        "decoding.logits do not depend on decoding.pooled: the decoder must compute its logits from the very "
        "tensor that it returns as pooled"
    ):
        STGradCAM()(decoding)


@pytest.mark.parametrize("bad", [2, -0.1, np.nan, "0.5", None, [0.5], True])
def test_bad_class_threshold(bad):
    for activation in (STGradCAM(bad), AttendedSTGradCAM(bad)):
        with raises(f"class_threshold must be in [0, 1], got {bad!r}"):
            activation(decode(Recurrent()))


def test_a_class_threshold_looks_at_one_stream():
    """As the docstring says: of two streams each has its own classes, though their mean may pass for both."""
    maps = []
    for scores in ([0.9, 0.0, 0.0, 0.0], [0.0, 0.9, 0.0, 0.0]):
        decoding = decode(Recurrent())
        decoding.class_scores = torch.tensor([scores])
        maps.append(STGradCAM(class_threshold=0.1)(decoding))
    assert [m.response.any(axis=1).tolist()[:2] for m in maps] == [[True, False], [False, True]]


@pytest.mark.parametrize("activation", [STGradCAM, AttendedSTGradCAM])
def test_the_docstring_explains_the_option(activation):
    assert "\n    class_threshold: classes whose video-level score" in inspect.getdoc(activation)


@pytest.mark.parametrize("activation", [Attention(), STGradCAM(), AttendedSTGradCAM()])
@pytest.mark.parametrize("videos", [0, 2])
def test_features_of_one_video(activation, videos):
    decoding = decode(Recurrent())
    decoding.features = decoding.features.repeat(videos, 1, 1)
    with raises(f"decoding.features must have shape (1, T, E), one video, got ({videos}, {T}, {E})"):
        activation(decoding)


@pytest.mark.parametrize(
    ("name", "where", "value", "message"),
    [
        (
            "attention",
            (0, slice(None), 3),
            1.5,
            "decoding.attention must be in [0, 1], got 1.5 for class 0 at snippet 3",
        ),
        (
            "attention",
            (0, slice(None), 3),
            np.nan,
            "decoding.attention must be in [0, 1], got nan for class 0 at snippet 3",
        ),
        ("logits", (0, 1, 2), np.nan, "decoding.logits must be finite, got nan in assembly 1 for class 2"),
        ("class_scores", (0, 2), np.nan, "decoding.class_scores must be finite, got nan for class 2"),
        (
            "probabilities",
            (0, 1, 2),
            np.nan,
            "decoding.probabilities must be finite, got nan in assembly 1 for class 2",
        ),
        ("features", (0, 4, 1), np.nan, "features must be finite, got nan at snippet 4, feature 1"),
    ],
)
def test_values_that_make_no_sense(name, where, value, message):
    decoding = decode(Recurrent())
    decoding.probabilities = decoding.logits.softmax(2)
    wrong = getattr(decoding, name).clone()
    wrong[where] = value
    setattr(decoding, name, wrong)
    with raises(message):
        AttendedSTGradCAM()(decoding)


def test_a_gradient_that_is_not_finite():
    decoding = decode(torch.nn.Linear(E, C), assemblies=1)
    decoding.logits = decoding.pooled.abs().sub(decoding.pooled.abs()).sqrt()[..., :C]  # the slope is infinite
    with pytest.raises(
        ValueError, match=r"^the gradient of decoding.logits must be finite, got nan for class 0, feature 0$"
    ):
        STGradCAM()(decoding)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "attention",
            (1, S, T - 1),
            f"decoding.attention must have shape (1, S, T) = (1, {S}, {T}) as its logits and the features have, "
            f"got (1, {S}, {T - 1})",
        ),
        (
            "attention",
            (1, 1, T),
            f"decoding.attention must have shape (1, S, T) = (1, {S}, {T}) as its logits and the features have, "
            f"got (1, 1, {T})",
        ),
        (
            "class_scores",
            (C,),
            f"decoding.class_scores must have shape (1, C) = (1, {C}) as decoding.logits has, got ({C},)",
        ),
        (
            "probabilities",
            (1, S, C + 1),
            f"decoding.probabilities must have shape (1, S, C) = (1, {S}, {C}) as decoding.logits has, "
            f"got (1, {S}, {C + 1})",
        ),
    ],
)
def test_decodings_that_do_not_fit(name, shape, message):
    decoding = decode(Recurrent())
    setattr(decoding, name, torch.ones(shape))
    for activation in (AttendedSTGradCAM(), *([Attention()] if name != "class_scores" else [])):
        with raises(message):
            activation(decoding)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"classes": [0, C]}, f"classes must be in [0, {C}), got {C}"),
        ({"classes": [0, -1]}, f"classes must be in [0, {C}), got -1"),
        ({"classes": [[0, 1]]}, "classes must have shape (K,), got (1, 2)"),
        ({"classes": [0]}, "classes and assemblies must be pairs, got 1 and 2"),
        ({"assemblies": [S, 0]}, f"assemblies must be in [0, {S}), got {S}"),
        (
            {"features": torch.ones(T, E)},
            "logits (1, S, C), pooled (1, S, E) and features (1, T, E) of one video do not fit: "
            f"got (1, {S}, {C}), (1, {S}, {E}) and ({T}, {E})",
        ),
        (
            {"features": torch.ones(1, T, E + 1)},
            "logits (1, S, C), pooled (1, S, E) and features (1, T, E) of one video do not fit: "
            f"got (1, {S}, {C}), (1, {S}, {E}) and (1, {T}, {E + 1})",
        ),
    ],
)
def test_pairs_and_shapes_that_do_not_fit(bad, message):
    decoding = decode(Recurrent())
    good = {"classes": [0, 1], "assemblies": [0, 1], "features": decoding.features}
    with raises(message):
        st_gradcam(decoding.logits, decoding.pooled, **{**good, **bad})


def test_classes_that_are_no_integers():
    decoding = decode(Recurrent())
    with pytest.raises(TypeError, match=r"^classes must hold integers, got dtype float64$"):
        st_gradcam(decoding.logits, decoding.pooled, decoding.features, [0.5], [0])
