"""Several attentions over each sequence, (B, S, T), and the pooling that learns an exponent for each class."""

from __future__ import annotations

import re

import pytest
import torch
import wtal_aggregators as wa
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from . import naive
from .conftest import NEEDS_NUMBA

LINEAR = [wa.WeightedSum, wa.Dropout, wa.Norm, wa.SoftmaxNorm, wa.Mean, wa.MarginalizedAverage]
REFERENCE = pytest.param("MarginalizedAverageReference", marks=NEEDS_NUMBA)
SMOOTH = [wa.WeightedSum, wa.Norm, wa.SoftmaxNorm, wa.MarginalizedAverage, wa.Max, REFERENCE]
B, S, T, D = 4, 3, 6, 2
C = S


def build(aggregator):
    if isinstance(aggregator, str):
        aggregator = getattr(pytest.importorskip("wtal_aggregators.reference"), aggregator)
    return aggregator().eval()


def inputs(random, length=T):
    """Attention that is all zero in places, and a mask with a hole, a single snippet and an empty row."""
    x = torch.randn(B, length, D, dtype=torch.float64, generator=random)
    a = torch.rand(B, S, length, dtype=torch.float64, generator=random)
    a[0, 1] = 0
    mask = torch.rand(B, length, generator=random) < 0.6
    mask[0], mask[1, ::2], mask[2], mask[3] = True, False, torch.arange(length) == length - 1, False
    a[1, 0, 0] = torch.nan  # where the mask hides it
    return x.requires_grad_(), a.requires_grad_(), mask


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("length", [1, T])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("aggregator", [*LINEAR, wa.Max, REFERENCE])
def test_each_attention_is_pooled_as_if_alone(aggregator, masked, length, random):
    model, (x, a, mask) = build(aggregator), inputs(random, length)
    if not masked:
        a, mask = a.detach().nan_to_num(0.5).requires_grad_(), None
    pooled = model(x, a, mask)
    assert pooled.shape == (B, S, D)
    alone = torch.stack([model(x, a[:, s], mask) for s in range(S)], 1)
    torch.testing.assert_close(pooled, alone)
    g = torch.randn(B, S, D, dtype=torch.float64, generator=random)
    options = {"allow_unused": True, "materialize_grads": True}
    torch.testing.assert_close(
        torch.autograd.grad(pooled, (x, a), g, **options), torch.autograd.grad(alone, (x, a), g, **options)
    )
    if aggregator is not wa.Max:
        coefficients = model.coefficients(a, mask)
        assert coefficients.shape == (B, S, length)
        torch.testing.assert_close(coefficients @ x, pooled)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("aggregator", SMOOTH)
def test_gradients(aggregator, random):
    model, (x, a, mask) = build(aggregator), inputs(random)
    a = a.detach().nan_to_num(0.5)
    if aggregator is wa.Norm:
        a[0, 1, 0] = 0.5  # from nothing to something is a step, not a slope
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, a: model(x, a, mask), (x, a))


def test_as_many_attentions_as_videos_are_not_taken_for_theirs(random):
    x, a = torch.randn(3, T, D, generator=random), torch.rand(3, 3, T, generator=random)
    mask = torch.rand(3, T, generator=random) < 0.6
    for model in (wa.WeightedSum(), wa.MarginalizedAverage(), wa.Norm()):
        pooled = model(x, a, mask)
        for b in range(3):
            torch.testing.assert_close(pooled[b], model(x[b], a[b], mask[b]))


@pytest.mark.parametrize("aggregator", [*LINEAR, lambda: wa.ClassSoftmax(C)])
def test_features_are_not_copied(aggregator, random):
    x, a = torch.randn(B, 50, 300, generator=random), torch.rand(B, S, 50, generator=random)

    features = x.untyped_storage().data_ptr()

    class Recorder(TorchDispatchMode):
        made = 0

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            result = operator(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
                if storage is not None and storage.data_ptr() != features:  # no view of them
                    self.made = max(self.made, storage.nbytes() // tensor.element_size())
            return result

    model = aggregator()
    with torch.no_grad(), Recorder() as recorder:
        assert model(x, a, torch.rand(B, 50, generator=random) < 0.6).shape == (B, S, 300)
    assert 0 < recorder.made < x.numel()


def test_transforms_and_compilers(random):
    x, a, mask = (z.detach() for z in inputs(random))
    expected = wa.marginalized_average(x, a, mask)
    torch.testing.assert_close(torch.func.vmap(wa.marginalized_average)(x, a, mask), expected)
    compiled = torch.compile(wa.marginalized_average, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, a, mask), expected)


@pytest.mark.parametrize("aggregator", [*LINEAR, wa.Max])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            ((2, 4, 3), (5, 6, 4), None),
            "the leading dimensions of features (2, 4, 3) and attention (5, 6, 4) do not broadcast",
        ),
        (
            ((2, 4, 3), (2, 6, 4), (5, 4)),
            "the leading dimensions of mask (5, 4) and attention (2, 6, 4) do not broadcast",
        ),
        (
            ((2, 4, 3), (2, 6, 5), None),
            "features (2, 4, 3) and attention (2, 6, 5) do not fit: "
            "expected features (..., T, D) and attention (..., T)",
        ),
    ],
)
def test_what_does_not_fit(aggregator, shapes, message):
    x, a = (torch.zeros(shape) for shape in shapes[:2])
    mask = None if shapes[2] is None else torch.ones(shapes[2], dtype=torch.bool)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        aggregator()(x, a, mask)


def class_softmax(random):
    model = wa.ClassSoftmax(C).double()
    with torch.no_grad():
        model.exponent.copy_(torch.tensor([-1.0, 0.0, 5.0]))
    return model, *inputs(random)


@pytest.mark.parametrize("length", [1, T])
def test_class_softmax_equals_the_slow_twin(random, length):
    model, *_ = class_softmax(random)
    x, a, mask = (z.detach() for z in inputs(random, length))
    exponent = model.exponent.tolist()
    for real in (mask, None):
        attention = a if real is not None else a.nan_to_num(0.5)
        seen = torch.ones_like(mask) if real is None else mask
        expected = [
            naive.class_softmax(*(z[b].tolist() for z in (x, attention)), exponent, seen[b].tolist()) for b in range(B)
        ]
        torch.testing.assert_close(model(x, attention, real).detach(), torch.tensor(expected, dtype=torch.float64))
        one = attention[:, 1]
        torch.testing.assert_close(model(x, one, real), model(x, one.unsqueeze(1).expand(B, C, length), real))


def test_class_softmax_begins_as_softmax_norm_and_learns(random):
    x, a, mask = inputs(random)
    model = wa.ClassSoftmax(C).double()
    torch.testing.assert_close(model(x, a, mask), wa.SoftmaxNorm()(x, a, mask))
    model(x, a, mask).square().sum().backward()
    assert model.exponent.grad.abs().min() > 0
    assert not a.grad[~mask.unsqueeze(1).expand_as(a)].any()


@pytest.mark.parametrize("per_class", [False, True])
def test_gradients_of_class_softmax(random, per_class):
    model, x, a, mask = class_softmax(random)
    a = (a if per_class else a[:, 1]).detach().nan_to_num(0.5).requires_grad_()

    def pool(x, a, exponent):
        return torch.func.functional_call(model, {"exponent": exponent}, (x, a, mask))

    assert torch.autograd.gradcheck(pool, (x, a, model.exponent))
    assert torch.autograd.gradgradcheck(pool, (x, a, model.exponent))


@pytest.mark.parametrize("shape", [(6,), (2, 4, 6), (1, 2, 3, 6)])
def test_class_softmax_refuses_what_does_not_fit(shape):
    message = (
        f"attention {shape} and exponent (3,) do not fit: expected attention (B, T) or (B, C, T) and exponent (C,)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wa.ClassSoftmax(3)(torch.zeros(2, 6, 1), torch.zeros(shape))
