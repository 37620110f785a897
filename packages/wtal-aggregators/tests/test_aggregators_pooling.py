"""The poolings side by side: their definitions, padding, and bad input."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
import wtal_aggregators as wa

from .conftest import NEEDS_NUMBA

LINEAR = [wa.WeightedSum, wa.Dropout, wa.Norm, wa.SoftmaxNorm, wa.Mean, wa.MarginalizedAverage]
ALL = [*LINEAR, wa.Max]
A = torch.tensor([0.2, 0.6, 0.0, 1.0])


def reference(name):
    return getattr(pytest.importorskip("wtal_aggregators.reference"), name)


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        (wa.attention_coefficients, A),
        (lambda a: wa.dropout_coefficients(a, training=False), A / 2),
        (wa.norm_coefficients, A / 1.8),
        (wa.softmax_norm_coefficients, A.exp() / A.exp().sum()),
        (wa.mean_coefficients, torch.full((4,), 0.25)),
    ],
    ids=["weighted sum", "dropout", "norm", "softmax norm", "mean"],
)
def test_definitions(coefficients, expected):
    torch.testing.assert_close(coefficients(A), expected)


@pytest.mark.parametrize("cls", [*ALL, wa.MarginalizedAverage2d, wa.WeightedSum2d])
def test_a_module_says_what_its_options_do(cls):
    own = vars(cls).get("__init__")
    options = [] if own is None else list(inspect.signature(own).parameters)[1:]
    text = inspect.getdoc(cls)
    assert [option for option in options if f"\n    {option}: " not in text] == []


def test_dropout_keeps_every_other_snippet_and_does_not_scale():
    a = torch.rand(10_000) + 0.1
    torch.manual_seed(0)
    kept = wa.dropout_coefficients(a)
    assert ((kept == 0) | (kept == a)).all()
    assert 4_800 < (kept == a).sum() < 5_200
    torch.manual_seed(0)
    assert torch.equal(wa.Dropout()(torch.eye(10_000)[:, :3], a), kept[:3])


def test_norm_of_nothing_is_nothing():
    a = torch.zeros(3, requires_grad=True)
    weights = wa.norm_coefficients(a)
    weights.sum().backward()
    assert not weights.any()
    assert torch.isfinite(a.grad).all()


def test_norm_divides_by_whatever_the_sum_is():
    a = torch.tensor([[0.5, torch.nan], [0.5, -1.5]])
    weights = wa.norm_coefficients(a)
    assert weights[0].isnan().all()
    assert weights[1].tolist() == [-0.5, 1.5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_mean_is_as_precise_as_the_attention(dtype):
    a, mask = torch.rand(4).to(dtype), torch.tensor([True, True, True, False])
    third = torch.tensor(1 / 3, dtype=dtype).item()
    assert wa.mean_coefficients(a, mask).tolist() == [third, third, third, 0]
    assert wa.mean_coefficients(a[:3]).tolist() == [third, third, third]


def test_norm_does_not_overflow():
    weights = wa.norm_coefficients(torch.ones(100_000, dtype=torch.float16))
    torch.testing.assert_close(weights, torch.full((100_000,), 1e-5, dtype=torch.float16))


def test_max_shares_the_gradient_of_equal_values():
    x = torch.tensor([[1.0], [3.0], [3.0], [9.0]], requires_grad=True)
    wa.max_pool(x, torch.tensor([True, True, True, False])).sum().backward()
    assert x.grad.flatten().tolist() == [0, 0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("features", "attention", "mask"),
    [
        ((2, 1, 4, 3), (2, 5, 4), (1, 5, 4)),
        ((4, 3), (4,), (2, 5, 4)),
        ((2, 1, 4, 3), (2, 5, 4), None),
        ((4, 3), (4,), (2, 4)),
        ((5, 4, 3), (4,), (5, 4)),
        ((4, 3), (2, 1, 4), (1, 5, 4)),
        ((1, 4, 3), (4,), (2, 5, 4)),
        ((2, 0, 3), (0,), (5, 1, 0)),
    ],
)
@pytest.mark.parametrize("aggregator", [*ALL, pytest.param("MarginalizedAverageReference", marks=NEEDS_NUMBA)])
def test_leading_dimensions_broadcast_alike(aggregator, features, attention, mask):
    model = (reference(aggregator) if isinstance(aggregator, str) else aggregator)().eval()
    x, a = torch.randn(features), torch.rand(attention)
    mask = None if mask is None else torch.rand(mask) < 0.6
    leading = torch.broadcast_shapes(features[:-2], attention[:-1], () if mask is None else mask.shape[:-1])
    T, D = features[-2:]
    pooled = model(x, a, mask)
    expanded = (x.expand(*leading, T, D), a.expand(*leading, T), None if mask is None else mask.expand(*leading, T))
    assert pooled.shape == (*leading, D)
    torch.testing.assert_close(pooled, model(*expanded))


def test_max_pool_keeps_the_leading_dimensions_of_the_mask_without_snippets():
    assert torch.equal(wa.max_pool(torch.rand(2, 0, 4), torch.ones(5, 1, 0, dtype=torch.bool)), torch.zeros(5, 2, 4))


@pytest.mark.parametrize("aggregator", LINEAR, ids=lambda x: x.__name__)
def test_linear_poolings_are_their_coefficients(aggregator, device):
    model, x, a = aggregator().eval(), torch.randn(2, 4, 3).to(device), torch.rand(2, 4).to(device)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0]], dtype=torch.bool, device=device)
    torch.testing.assert_close(model(x, a, mask), (model.coefficients(a, mask).unsqueeze(-1) * x).sum(1))
    assert not model.coefficients(a, mask)[~mask].any()


@pytest.mark.parametrize("lengths", [[4, 1, 0], [0], [3, 3]])
@pytest.mark.parametrize("aggregator", [*ALL, pytest.param("MarginalizedAverageReference", marks=NEEDS_NUMBA)])
def test_padding_changes_nothing(aggregator, lengths, device):
    model = (reference(aggregator) if isinstance(aggregator, str) else aggregator)().eval()
    if device == "cuda" and isinstance(aggregator, str):
        pytest.skip("the reference computes on the CPU")
    T = max(lengths) + 2
    x = torch.randn(len(lengths), T, 3, device=device, requires_grad=True)
    a = torch.rand(len(lengths), T, device=device)
    mask = (torch.arange(T) < torch.tensor(lengths)[:, None]).to(device)
    a[~mask] = torch.nan
    a.requires_grad_()
    pooled = model(x, a, mask)
    for row, length in enumerate(lengths):
        expected = model(x[row, :length], a[row, :length]) if length else torch.zeros(3, device=device)
        torch.testing.assert_close(pooled[row], expected)
    pooled.sum().backward()
    assert not x.grad[~mask].any()
    assert a.grad is None or (torch.isfinite(a.grad).all() and not a.grad[~mask].any())


def padded_maximally(dtype, device):
    """Features that are as large as can be on padding, attention, and a mask."""
    x = torch.randn(3, 4, 64).to(dtype)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)
    x[~mask] = torch.finfo(dtype).max
    return x.to(device), torch.rand(3, 4).to(device), mask.to(device)


def compiled(model):
    torch.compiler.reset()  # there is a limit to how often the `forward` that modules share may be compiled
    return torch.compile(model, fullgraph=True, backend="aot_eager")


TRANSFORMS = {
    "module": lambda model: model,
    "several attentions": lambda model: lambda x, a, mask: model(x.unsqueeze(1), a.unsqueeze(1), mask.unsqueeze(1)),
    "vmap": torch.func.vmap,
    "compile": compiled,
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("aggregator", [*ALL, pytest.param("MarginalizedAverageReference", marks=NEEDS_NUMBA)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_gradient_ignores_the_largest_padding(aggregator, dtype, transform, device):
    if isinstance(aggregator, str):
        if device == "cuda" or transform in (torch.func.vmap, compiled):
            pytest.skip("the reference is for the CPU, without transforms")
        aggregator = reference(aggregator)
    pool = transform(aggregator().eval())
    x, a, mask = padded_maximally(dtype, device)
    derivatives = []
    for features in (x, torch.where(mask.unsqueeze(-1), x, 0)):
        leaves = features.clone().requires_grad_(), a.clone().requires_grad_()
        pooled = pool(*leaves, mask)
        gradients = torch.autograd.grad(pooled.sum(), leaves, allow_unused=True, materialize_grads=True)
        derivatives.append((pooled, *gradients))
    torch.testing.assert_close(*derivatives, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_gradient_of_maa_ignores_the_largest_padding_in_every_way(dtype, device):
    x, a, mask = padded_maximally(dtype, device)

    def over_maps(x, a, mask):
        one, two = x.transpose(1, 2).unflatten(-1, (2, 2)), (z.unflatten(-1, (1, 2, 2)) for z in (a, mask))
        return wa.MarginalizedAverage2d()(one, *two)

    for pool in (wa.marginalized_average, over_maps):
        gradients = []
        for features in (x, torch.where(mask.unsqueeze(-1), x, 0)):
            leaf = a.clone().requires_grad_()
            gradients.append(torch.autograd.grad(pool(features, leaf, mask).sum(), leaf)[0])
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
        assert gradients[0][mask].any()


@pytest.mark.parametrize("aggregator", [wa.WeightedSum, wa.Norm, wa.SoftmaxNorm, wa.MarginalizedAverage, wa.Max])
def test_gradients(aggregator, device):
    x = torch.randn(2, 4, 3, dtype=torch.float64, device=device, requires_grad=True)
    a = torch.rand(2, 4, dtype=torch.float64, device=device, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0]], dtype=torch.bool, device=device)
    assert torch.autograd.gradcheck(lambda x, a: aggregator()(x, a, mask), (x, a))
    assert torch.autograd.gradgradcheck(lambda x, a: aggregator()(x, a, mask), (x, a))


@pytest.mark.parametrize("aggregator", ALL, ids=lambda x: x.__name__)
@pytest.mark.parametrize(
    ("x", "a", "mask", "error", "message"),
    [
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 5),
            None,
            ValueError,
            "features (2, 3, 4) and attention (2, 5) do not fit: expected features (..., T, D) and attention (..., T)",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(5, 3),
            None,
            ValueError,
            "the leading dimensions of features (2, 3, 4) and attention (5, 3) do not broadcast",
        ),
        (
            torch.zeros(3),
            torch.zeros(3),
            None,
            ValueError,
            "features (3,) and attention (3,) do not fit: expected features (..., T, D) and attention (..., T)",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 3),
            torch.ones(2, 1, dtype=torch.bool),
            ValueError,
            "mask (2, 1) and attention (2, 3) do not fit: expected (..., T) for both",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 3),
            torch.ones(5, 3, dtype=torch.bool),
            ValueError,
            "the leading dimensions of mask (5, 3) and attention (2, 3) do not broadcast",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(3),
            torch.ones(5, 3, dtype=torch.bool),
            ValueError,
            "the leading dimensions of features (2, 3, 4) and mask (5, 3) do not broadcast",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 3),
            torch.ones(2, 3),
            TypeError,
            "mask must be a bool tensor, True on real snippets, not torch.float32; try mask.bool()",
        ),
        (
            torch.zeros(2, 3, 4, dtype=torch.int64),
            torch.zeros(2, 3),
            None,
            TypeError,
            "features must be floating point, not torch.int64",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 3, dtype=torch.bool),
            None,
            TypeError,
            "attention must be floating point, not torch.bool",
        ),
        (
            [[[0.5]]],
            torch.zeros(2, 3),
            None,
            TypeError,
            "features must be a torch.Tensor, not builtins.list",
        ),
        (
            torch.zeros(2, 3, 4),
            [0.5, 0.5, 0.5],
            None,
            TypeError,
            "attention must be a torch.Tensor, not builtins.list",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 3),
            [True, True, False],
            TypeError,
            "mask must be a torch.Tensor, not builtins.list",
        ),
    ],
)
def test_bad_arguments(aggregator, x, a, mask, error, message, device):
    arguments = (z.to(device) if isinstance(z, torch.Tensor) else z for z in (x, a, mask))
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        aggregator()(*arguments)


@pytest.mark.parametrize("size", [6e-8, 1e-6, 1e-3])
def test_norm_of_attention_that_float16_hardly_holds_has_a_gradient(size):
    attention = torch.full((2, 4), size, dtype=torch.float16).requires_grad_()
    coefficients = wa.norm_coefficients(attention)
    torch.testing.assert_close(coefficients, torch.full_like(coefficients, 0.25))
    (gradient,) = torch.autograd.grad(coefficients.sum(), attention)
    assert not gradient.any()


@pytest.mark.parametrize(
    ("x", "coefficients", "error", "message"),
    [
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 5),
            ValueError,
            "features (2, 3, 4) and coefficients (2, 5) do not fit: "
            "expected features (..., T, D) and coefficients (..., T)",
        ),
        (
            torch.zeros(3),
            torch.tensor(0.5),
            ValueError,
            "features (3,) and coefficients () do not fit: expected features (..., T, D) and coefficients (..., T)",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(5, 3),
            ValueError,
            "the leading dimensions of features (2, 3, 4) and coefficients (5, 3) do not broadcast",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.ones(2, 3, dtype=torch.int64),
            TypeError,
            "coefficients must be floating point, not torch.int64",
        ),
        (torch.zeros(2, 3, 4), [0.5], TypeError, "coefficients must be a torch.Tensor, not builtins.list"),
        ([[0.5]], torch.zeros(2, 3), TypeError, "features must be a torch.Tensor, not builtins.list"),
    ],
)
def test_bad_arguments_of_a_weighted_sum(x, coefficients, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        wa.weighted_sum(x, coefficients)


@pytest.mark.parametrize(
    ("x", "mask", "error", "message"),
    [
        (
            torch.zeros(2, 3, 4),
            torch.ones(2, 1, dtype=torch.bool),
            ValueError,
            "features (2, 3, 4) and mask (2, 1) do not fit: expected features (..., T, D) and mask (..., T)",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.ones(5, 3, dtype=torch.bool),
            ValueError,
            "the leading dimensions of features (2, 3, 4) and mask (5, 3) do not broadcast",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.ones(2, 3),
            TypeError,
            "mask must be a bool tensor, True on real snippets, not torch.float32; try mask.bool()",
        ),
        (torch.zeros(2, 3, 4), [True], TypeError, "mask must be a torch.Tensor, not builtins.list"),
        (
            torch.zeros(3),
            None,
            ValueError,
            "features must have at least two dimensions, (..., T, D), not (3,)",
        ),
        (
            torch.zeros(2, 3, dtype=torch.int64),
            None,
            TypeError,
            "features must be floating point, not torch.int64",
        ),
        ([[1.0]], None, TypeError, "features must be a torch.Tensor, not builtins.list"),
    ],
)
def test_bad_arguments_of_max_pool(x, mask, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        wa.max_pool(x, mask)


def test_attention_needs_a_dimension():
    with pytest.raises(ValueError, match=re.escape("attention must have at least one dimension, (..., T), not ()")):
        wa.marginalized_average_coefficients(torch.tensor(0.5))


@pytest.mark.parametrize("value", [1.5, -0.25, torch.nan])
def test_values_are_looked_at_when_asked(value):
    a = torch.full((2, 3), 0.5)
    a[1, 2] = value
    message = f"^{re.escape(f'attention (2, 3) must lie in [0, 1], but attention[1, 2] is {value}')}$"
    for call in (
        lambda **rest: wa.marginalized_average(torch.zeros(2, 3, 4), a, **rest),
        lambda **rest: wa.MarginalizedAverage(validate=True)(torch.zeros(2, 3, 4), a, rest.get("mask")),
        lambda **rest: wa.marginalized_average_coefficients(a, **rest),
        lambda **rest: wa.marginalized_average_factors(a, **rest),
    ):
        with pytest.raises(ValueError, match=message):
            call(validate=True)
        call(validate=True, mask=torch.tensor([True, True, False]))
    wa.marginalized_average_coefficients(a)
    wa.marginalized_average_coefficients(torch.tensor([0.0, 1.0]), validate=True)


def test_a_value_is_named_by_its_own_place_under_a_larger_mask():
    mask = torch.tensor([[True, False], [True, True]])
    message = "attention (2,) must lie in [0, 1], but attention[1] is 2"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.marginalized_average_coefficients(torch.tensor([0.5, 2.0]), mask, validate=True)
    wa.marginalized_average_coefficients(torch.tensor([0.5, 2.0]), mask[:1], validate=True)


def test_maps_are_sequences(device):
    x, a = torch.randn(2, 3, 4, 5, device=device), torch.rand(2, 1, 4, 5, device=device)
    mask = torch.rand(2, 1, 4, 5, device=device) < 0.6
    for over_maps, over_sequences in (
        (wa.MarginalizedAverage2d, wa.MarginalizedAverage),
        (wa.WeightedSum2d, wa.WeightedSum),
    ):
        for real in (None, mask):
            sequence = [z.flatten(2).transpose(1, 2) for z in (x, a)]
            flat = None if real is None else real.flatten(1)
            expected = over_sequences()(sequence[0], sequence[1].squeeze(-1), flat)
            torch.testing.assert_close(over_maps()(x, a, real), expected)


def test_gradients_over_maps(device):
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, device=device, requires_grad=True)
    a = torch.rand(2, 1, 2, 3, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(wa.MarginalizedAverage2d(), (x, a))
    assert torch.autograd.gradgradcheck(wa.MarginalizedAverage2d(), (x, a))


def test_gradient_of_maps_lies_in_memory_as_they_do(device):
    x = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    pooled = wa.MarginalizedAverage2d()(x, torch.rand(2, 1, 4, 5, device=device))
    assert torch.autograd.grad(pooled.sum(), x)[0].is_contiguous()
    sequence = x.detach().flatten(1, 2).requires_grad_()
    pooled = wa.marginalized_average(sequence, torch.rand(2, 12, device=device))
    assert torch.autograd.grad(pooled.sum(), sequence)[0].is_contiguous()


def test_bad_maps():
    message = (
        "features (2, 3, 4, 5) and attention (2, 4, 5) do not fit: "
        "expected features (..., D, H, W) and attention (..., 1, H, W)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.MarginalizedAverage2d()(torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5))
    message = "mask (2, 4, 5) and attention (2, 1, 4, 5) do not fit: expected (..., 1, H, W) for both"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.WeightedSum2d()(torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5), torch.ones(2, 4, 5, dtype=torch.bool))
    message = "the leading dimensions of features (2, 3, 4, 5) and attention (3, 1, 4, 5) do not broadcast"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.WeightedSum2d()(torch.zeros(2, 3, 4, 5), torch.zeros(3, 1, 4, 5))
    message = "the leading dimensions of mask (3, 1, 4, 5) and attention (2, 1, 4, 5) do not broadcast"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.WeightedSum2d()(torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5), torch.ones(3, 1, 4, 5, dtype=torch.bool))
    message = "the leading dimensions of features (2, 3, 4, 5) and mask (3, 1, 4, 5) do not broadcast"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.WeightedSum2d()(torch.zeros(2, 3, 4, 5), torch.zeros(1, 1, 4, 5), torch.ones(3, 1, 4, 5, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"^mask must be a torch\.Tensor, not builtins\.bool$"):
        wa.WeightedSum2d()(torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5), True)


def test_a_value_is_named_by_its_place_on_the_map():
    a = torch.full((2, 1, 4, 5), 0.5)
    a[1, 0, 2, 3] = 2
    message = "attention (2, 1, 4, 5) must lie in [0, 1], but attention[1, 0, 2, 3] is 2"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.MarginalizedAverage2d(validate=True)(torch.zeros(2, 3, 4, 5), a)
    wa.MarginalizedAverage2d(validate=True)(torch.zeros(2, 3, 4, 5), a, a <= 1)


@pytest.mark.parametrize("validate", [False, True])
def test_dtypes_of_maps_are_looked_at_before_values(validate):
    model, x, a = wa.MarginalizedAverage2d(validate), torch.zeros(2, 3, 4, 5), torch.full((2, 1, 4, 5), 2.0)
    message = "mask must be a bool tensor, True on real snippets, not torch.float32; try mask.bool()"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        model(x, a, torch.ones(2, 1, 4, 5))
    with pytest.raises(TypeError, match=r"^attention must be floating point, not torch\.int64$"):
        model(x, a.long())
