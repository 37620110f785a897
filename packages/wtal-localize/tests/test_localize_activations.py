import re
import subprocess
import sys
from types import SimpleNamespace

import naive
import numpy as np
import pytest
from wtal_localize import ClassActivationSequence, class_activation_sequence


def decoding(attention, weight):
    return SimpleNamespace(attention=attention, head_weight=weight)


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
    for got, want in zip(ClassActivationSequence()(decoding(a, w), x), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_component_reads_tensors_with_a_graph(dtype):
    torch = pytest.importorskip("torch")
    x, a = torch.randn(1, 4, 5, dtype=getattr(torch, dtype)), torch.rand(1, 1, 4, requires_grad=True)
    w = torch.randn(3, 5, requires_grad=True)
    maps = ClassActivationSequence()(decoding(a, w), x)
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
        ClassActivationSequence()(decoding(np.ones((1, 1, 4)), None), np.ones((1, 4, 5)))


@pytest.mark.parametrize("shape", [(1, 2, 4), (2, 1, 4), (1, 4)])
def test_one_video_and_one_assembly(shape):
    message = (
        "the activation 'cas' needs attention of shape (1, 1, T), one video and one assembly, "
        f"got {shape}; use 'attended-st-gradcam' for several assemblies"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(decoding(np.ones(shape), np.ones((3, 5))), np.ones((1, 4, 5)))


def test_shapes_that_do_not_fit():
    message = "features (T, D), attention (T,) and weight (C, D) do not fit: got (4, 5), (3,) and (2, 5)"
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
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ClassActivationSequence()(decoding(given["attention"][None, None], given["weight"]), given["features"][None])


def test_text_is_refused():
    with pytest.raises(ValueError, match=r"^weight must hold real numbers, got dtype <U1$"):
        class_activation_sequence(np.ones((4, 1)), np.ones(4), [["a"]])


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 4, 5), (4, 5)])
def test_features_of_one_video(shape):
    with pytest.raises(
        ValueError, match=f"^{re.escape(f'features must have shape (1, T, D), one video, got {shape}')}$"
    ):
        ClassActivationSequence()(decoding(np.ones((1, 1, 4)), np.ones((3, 5))), np.ones(shape))


def test_import_stays_light():
    code = "import sys, wtal_localize; print(sorted({'torch', 'numba', 'scipy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
