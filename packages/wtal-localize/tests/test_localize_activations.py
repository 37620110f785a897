import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from wtal_localize import (
    Attention,
    ClassActivationSequence,
    SnippetActivation,
    class_activation_sequence,
    snippet_activation,
)

from . import naive


def decoding(features, attention, weight, pooled=()):
    return SimpleNamespace(features=features, attention=attention, head_weight=weight, pooled=pooled)


@pytest.mark.parametrize("T", [0, 1, 7])
def test_cas_equals_its_definition(T):
    rng = np.random.default_rng(0)
    x, a, w = rng.normal(size=(T, 5)), rng.random(T), rng.normal(size=(3, 5))
    maps = class_activation_sequence(x, a, w)
    assert maps.attention.shape == maps.response.shape == (3, T)
    assert maps.attention.dtype == maps.response.dtype == np.float64
    np.testing.assert_allclose(maps.attention * maps.response, np.reshape(naive.cas(x, a, w), (3, T)), rtol=1e-12)


def test_component_reads_a_decoding():
    rng = np.random.default_rng(1)
    x, a, w = rng.normal(size=(1, 4, 5)).astype("f4"), rng.random((1, 1, 4)).astype("f4"), rng.normal(size=(3, 5))
    expected = class_activation_sequence(x[0], a[0, 0], w)
    for got, want in zip(ClassActivationSequence()(decoding(x, a, w)), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_component_reads_tensors_with_a_graph(dtype):
    torch = pytest.importorskip("torch")
    x, a = torch.randn(1, 4, 5, dtype=getattr(torch, dtype)), torch.rand(1, 1, 4, requires_grad=True)
    w = torch.randn(3, 5, requires_grad=True)
    maps = ClassActivationSequence()(decoding(x, a, w))
    expected = torch.sigmoid(w.double() @ x[0].double().T)
    np.testing.assert_allclose(maps.response, expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_array_equal(maps.attention, a.detach().double().numpy()[0].repeat(3, 0))


def test_extreme_responses_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        response = class_activation_sequence([[1e4], [-1e4]], [1, 1], [[1.0]]).response
    np.testing.assert_array_equal(response, [[1.0, 0.0]])


def test_no_linear_head():
    message = (
        "the activation 'cas' needs a decoder with a linear head, and this one gives no head_weight; "
        "use 'attended-st-gradcam', which is the same for linear heads and works for any"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(decoding(np.ones((1, 4, 5)), np.ones((1, 1, 4)), None))


def test_no_assemblies_at_all():
    message = (
        "the activation 'cas' needs a decoder with a linear head, and this one gives no head_weight; "
        "use 'snippet', which reads snippet_logits"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(decoding(np.ones((1, 4, 5)), np.ones((1, 1, 4)), None, pooled=None))


@pytest.mark.parametrize("shape", [(1, 2, 4), (2, 1, 4), (1, 4)])
def test_one_video_and_one_assembly(shape):
    message = (
        "the activation 'cas' needs attention of shape (1, 1, T), one video and one assembly, "
        f"got {shape}; use 'attended-st-gradcam' for several assemblies"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(decoding(np.ones((1, 4, 5)), np.ones(shape), np.ones((3, 5))))


def test_shapes_that_do_not_fit():
    message = "features (T, E), attention (T,) and weight (C, E) do not fit: got (4, 5), (3,) and (2, 5)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        class_activation_sequence(np.ones((4, 5)), np.ones(3), np.ones((2, 5)))


@pytest.mark.parametrize(
    ("name", "where", "value", "message"),
    [
        ("features", (2, 0), np.nan, "features must be finite, got nan at snippet 2, feature 0"),
        ("features", (0, 4), np.inf, "features must be finite, got inf at snippet 0, feature 4"),
        ("attention", (3,), np.nan, "attention must be in [0, 1], got nan at snippet 3"),
        ("attention", (1,), 1.5, "attention must be in [0, 1], got 1.5 at snippet 1"),
        ("attention", (0,), -0.5, "attention must be in [0, 1], got -0.5 at snippet 0"),
        ("weight", (1, 2), np.nan, "weight must be finite, got nan for class 1, feature 2"),
    ],
)
def test_values_that_make_no_sense(name, where, value, message):
    given = {"features": np.ones((4, 5)), "attention": np.ones(4), "weight": np.ones((2, 5))}
    given[name][where] = value
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        class_activation_sequence(**given)
    one = decoding(given["features"][None], given["attention"][None, None], given["weight"])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(one)


def test_text_is_refused():
    with pytest.raises(ValueError, match=r"^weight must hold real numbers, got dtype <U1$"):
        class_activation_sequence(np.ones((4, 1)), np.ones(4), [["a"]])


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 4, 5), (4, 5)])
def test_features_of_one_video(shape):
    message = f"decoding.features must have shape (1, T, E), one video, got {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(decoding(np.ones(shape), np.ones((1, 1, 4)), np.ones((3, 5))))


def snippets(logits, attention, background=None, scores=None):
    """A decoding of a decoder that classifies snippets and has no assemblies."""
    return SimpleNamespace(
        snippet_logits=logits, attention=attention, background_logits=background, class_scores=scores, logits=None
    )


@pytest.mark.parametrize("competing", [True, False])
@pytest.mark.parametrize("S", [1, 3])
@pytest.mark.parametrize("T", [1, 6])
def test_snippet_activation_equals_its_twin(T, S, competing):
    rng = np.random.default_rng(T)
    logits, attention = rng.normal(size=(T, 3)), rng.random((S, T))
    background = rng.normal(size=T) if competing else None
    function = snippet_activation(logits, attention, background)
    given = snippets(logits[None], attention[None], None if background is None else background[None])
    for maps in (function, SnippetActivation()(given)):
        assert maps.attention.dtype == maps.response.dtype == np.float64
        np.testing.assert_array_equal(maps.attention, attention.repeat(3 // S, 0))
        np.testing.assert_allclose(maps.response, naive.snippet_probabilities(logits, background), rtol=1e-12)


def test_background_takes_its_share_and_classes_compete():
    maps = snippet_activation(np.log([[1.0, 2.0], [1.0, 2.0]]), [[1.0, 1.0]], np.log([1.0, 5.0]))
    np.testing.assert_allclose(maps.response, [[1 / 4, 1 / 8], [2 / 4, 2 / 8]], rtol=1e-12)
    with np.errstate(over="raise", invalid="raise"):
        extreme = snippet_activation([[1e4, 0.0], [-1e4, -1e4]], [[0.0, 1.0]], [0.0, 1e4])
        alone = snippet_activation([[1e4, -1e4]], [[1.0]])
    assert extreme.response.tolist() == [[1, 0], [0, 0]]
    assert alone.response.tolist() == [[1], [0]]


def test_snippet_maps_of_a_video_without_snippets():
    for background in (None, np.ones(0)):
        assert [m.shape for m in snippet_activation(np.ones((0, 3)), np.ones((1, 0)), background)] == [(3, 0)] * 2


@pytest.mark.parametrize("S", [1, 3])
def test_attention_without_assemblies_is_the_one_or_the_classes_own(S):
    attention = np.random.default_rng(0).random((1, S, 4))
    maps = Attention()(snippets(np.ones((1, 4, 3)), attention, scores=np.ones((1, 3))))
    np.testing.assert_array_equal(maps.attention, attention[0].repeat(3 // S, 0))
    np.testing.assert_array_equal(maps.response, np.ones((3, 4)))


def test_attention_of_neither_one_nor_one_a_class():
    message = "attention must be one for every class or one a class, (1, T) or (C, T) with C = 3, got (2, 4)"
    given = snippets(np.ones((1, 4, 3)), np.ones((1, 2, 4)), scores=np.ones((1, 3)))
    for activation in (SnippetActivation(), Attention()):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            activation(given)


def test_no_snippet_logits():
    message = (
        "the activation 'snippet' needs a decoder that classifies snippets, and this one gives no snippet_logits; "
        "use 'attended-st-gradcam', which reads pooled and logits"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SnippetActivation()(snippets(None, np.ones((1, 1, 4))))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("logits", (2, 4, 3), "decoding.snippet_logits must have shape (1, T, C), one video, got (2, 4, 3)"),
        ("logits", (4, 3), "decoding.snippet_logits must have shape (1, T, C), one video, got (4, 3)"),
        ("attention", (2, 1, 4), "decoding.attention must have shape (1, S, T), one video, got (2, 1, 4)"),
        ("attention", (1, 4), "decoding.attention must have shape (1, S, T), one video, got (1, 4)"),
        ("attention", (1, 1, 5), "snippet_logits (T, C) and attention (S, T) do not fit: got (4, 3) and (1, 5)"),
        ("background", (2, 4), "decoding.background_logits must have shape (1, T), one video, got (2, 4)"),
        ("background", (1, 4, 1), "decoding.background_logits must have shape (1, T), one video, got (1, 4, 1)"),
        ("background", (1, 5), "background_logits must have shape (T,) = (4,), got (5,)"),
    ],
)
def test_snippet_decodings_that_do_not_fit(name, shape, message):
    given = {"logits": np.ones((1, 4, 3)), "attention": np.ones((1, 1, 4)), "background": np.ones((1, 4))}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SnippetActivation()(snippets(**{**given, name: np.ones(shape)}))


@pytest.mark.parametrize(
    ("name", "where", "value", "message"),
    [
        ("logits", (0, 2, 1), np.nan, "snippet_logits must be finite, got nan at snippet 2 for class 1"),
        ("logits", (0, 0, 0), np.inf, "snippet_logits must be finite, got inf at snippet 0 for class 0"),
        ("attention", (0, 0, 3), 1.5, "attention must be in [0, 1], got 1.5 in row 0 at snippet 3"),
        ("attention", (0, 0, 3), np.nan, "attention must be in [0, 1], got nan in row 0 at snippet 3"),
        ("background", (0, 1), -np.inf, "background_logits must be finite, got -inf at snippet 1"),
    ],
)
def test_snippet_values_that_make_no_sense(name, where, value, message):
    given = {"logits": np.ones((1, 4, 3)), "attention": np.ones((1, 1, 4)), "background": np.ones((1, 4))}
    given[name][where] = value
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SnippetActivation()(snippets(**given))


def test_import_stays_light():
    code = "import sys, wtal_localize; print(sorted({'torch', 'numba', 'scipy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
