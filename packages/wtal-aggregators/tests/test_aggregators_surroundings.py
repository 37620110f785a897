"""Marginalized averaging under what else PyTorch does, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import wtal_aggregators as wa
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from wtal_aggregators import _quadrature

from .conftest import NEEDS_NUMBA


@pytest.fixture
def inputs(device, random):
    x = torch.randn(3, 6, 2, dtype=torch.float64, generator=random).to(device).requires_grad_()
    p = torch.rand(3, 6, dtype=torch.float64, generator=random).to(device).requires_grad_()
    mask = torch.tensor([[1] * 6, [1, 1, 0, 1, 0, 0], [0] * 6], dtype=torch.bool, device=device)
    return x, p, mask


def gradients(pooled, *leaves):
    return pooled, *torch.autograd.grad(pooled.square().sum(), leaves)


@pytest.mark.parametrize("masked", [False, True])
def test_compiles_into_one_graph(inputs, masked):
    x, p, mask = inputs
    mask = mask if masked else None
    compiled = torch.compile(wa.marginalized_average, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        gradients(compiled(x, p, mask), x, p), gradients(wa.marginalized_average(x, p, mask), x, p)
    )


def test_vmap_and_grad(inputs):
    x, p, mask = inputs
    expected = wa.marginalized_average(x, p, mask)
    torch.testing.assert_close(torch.func.vmap(wa.marginalized_average)(x, p, mask), expected)
    slices = torch.func.vmap(wa.marginalized_average, in_dims=(1, 1, 1), out_dims=1)
    torch.testing.assert_close(slices(x.transpose(0, 1), p.T, mask.T), expected.T)

    def loss(x, p):
        return wa.marginalized_average(x, p, mask).square().sum()

    torch.testing.assert_close(torch.func.grad(loss, (0, 1))(x, p), gradients(expected, x, p)[1:])


def test_per_sample_and_second_derivatives(inputs):
    x, p, _ = inputs

    def loss(x, p):
        return wa.marginalized_average(x, p).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss, 1))(x, p)
    torch.testing.assert_close(per_sample, torch.autograd.grad(loss(x, p), p)[0])
    hessian = torch.func.hessian(loss, 1)(x[0], p[0])
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(lambda p: loss(x[0], p), p[0]))
    tangents = torch.func.jvp(lambda p: loss(x, p), (p,), (torch.ones_like(p),))[1]
    torch.testing.assert_close(tangents, per_sample.sum())
    # transforms leave nothing behind
    torch.testing.assert_close(wa.marginalized_average(x, p), torch.func.vmap(wa.marginalized_average)(x, p))


def test_forward_mode(inputs):
    x, p = (z.detach() for z in inputs[:2])
    direction = torch.linspace(-1, 1, p.numel(), dtype=p.dtype, device=p.device).view_as(p)
    for f in (lambda p: wa.marginalized_average(x, p), wa.marginalized_average_coefficients):
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(p, direction))).tangent
        torch.testing.assert_close(tangent, torch.func.jvp(f, (p,), (direction,))[1])


def test_batched_gradients(inputs):
    x, p, mask = inputs
    pooled = wa.marginalized_average(x, p, mask)
    directions = torch.eye(pooled.numel(), dtype=p.dtype, device=p.device).view(-1, *pooled.shape)

    def back(g, **options):
        return torch.autograd.grad(pooled, (x, p), g, retain_graph=True, **options)

    expected = tuple(map(torch.stack, zip(*map(back, directions), strict=True)))
    torch.testing.assert_close(back(directions, is_grads_batched=True), expected)
    torch.testing.assert_close(torch.func.vmap(back)(directions), expected)


def test_autocast(inputs, device):
    x, p = (z.detach().float().requires_grad_() for z in inputs[:2])
    with torch.autocast(device, dtype=torch.bfloat16):
        pooled = wa.marginalized_average(x, p)
        weights = wa.marginalized_average_coefficients(p)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(weights, wa.marginalized_average_coefficients(p), rtol=0, atol=0)
    torch.testing.assert_close(pooled.float(), wa.marginalized_average(x, p), rtol=2e-2, atol=2e-2)
    pooled.sum().backward()
    assert x.grad.dtype == p.grad.dtype == torch.float32


def test_inference_mode_leaves_nothing_behind(inputs, monkeypatch):
    x, p, _ = inputs
    monkeypatch.setattr(wa.marginalized, "_on_device", {})
    monkeypatch.setattr(wa._compiled, "kernels_for", lambda p: None)
    with torch.inference_mode():
        inferred = wa.marginalized_average(x, p)
    torch.testing.assert_close(wa.marginalized_average(x, p), inferred.clone())
    assert torch.autograd.gradgradcheck(wa.marginalized_average, (x, p))
    # A compiled graph saves the nodes for its backward, which no tensor of inference mode may be.
    torch.compile(wa.marginalized_average, fullgraph=True, backend="aot_eager")(x, p).sum().backward()


@pytest.mark.parametrize("tracer", [make_fx, lambda f: make_fx(f, tracing_mode="fake")])
def test_tracing_bakes_nothing_in(inputs, tracer, monkeypatch):
    x, p = (z.detach() for z in inputs[:2])
    monkeypatch.setattr(wa._compiled, "kernels_for", lambda p: None)
    wa.marginalized_average(x, p)  # keeps the nodes, which are no fake tensors
    traced = tracer(lambda x, p: wa.marginalized_average(x, p))(x, p)
    torch.testing.assert_close(traced(x * 2, p / 2), wa.marginalized_average(x * 2, p / 2))


def test_jit_trace_bakes_nothing_in(inputs):
    x, p = (z.detach() for z in inputs[:2])
    traced = torch.jit.trace(lambda x, p: wa.marginalized_average(x, p), (x, p))
    torch.testing.assert_close(traced(x * 2, p / 2), wa.marginalized_average(x * 2, p / 2))


def test_shapes_on_meta():
    x, p = torch.empty(3, 6, 2, device="meta", requires_grad=True), torch.empty(3, 6, device="meta")
    pooled = wa.marginalized_average(x, p)
    assert (pooled.device.type, pooled.shape) == ("meta", (3, 2))


def pooled_with_a_tangent(x, p):
    with forward_ad.dual_level():
        return wa.marginalized_average(x, forward_ad.make_dual(p, torch.ones_like(p)))


AROUND = {  # what may surround a call, from features and attention
    "nothing": wa.marginalized_average,
    "vmap": torch.func.vmap(wa.marginalized_average),
    "grad": torch.func.grad(lambda x, p: wa.marginalized_average(x, p).sum(), (0, 1)),
    "forward mode": pooled_with_a_tangent,
    "compile": torch.compile(wa.marginalized_average, fullgraph=True, backend="aot_eager"),
}


@pytest.mark.parametrize("call", AROUND.values(), ids=AROUND)
def test_the_nodes_are_copied_once(inputs, call, monkeypatch):
    monkeypatch.setattr(wa._compiled, "kernels_for", lambda p: None)
    monkeypatch.setattr(wa.marginalized, "_on_device", {})
    x, p = (z.detach() for z in inputs[:2])
    wa.marginalized_average(x, p)
    copies = []
    monkeypatch.setattr(wa.marginalized, "_copied", lambda *which: copies.append(which))
    for _ in range(2):
        call(x, p)
    assert copies == []


def test_a_compiled_graph_holds_the_nodes(inputs):
    graphs = []

    def remember(graph, _):
        graphs.append(graph)
        return graph

    torch.compile(wa.marginalized_average, fullgraph=True, backend=remember)(*inputs[:2])
    (graph,) = graphs
    called = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert torch.bmm in called
    assert torch.tensor not in called


def test_what_wraps_the_nodes_keeps_none(inputs, monkeypatch):
    monkeypatch.setattr(wa._compiled, "kernels_for", lambda p: None)
    monkeypatch.setattr(wa.marginalized, "_on_device", {})
    x, p = (z.detach() for z in inputs[:2])
    AROUND["grad"](x, p)
    make_fx(lambda x, p: wa.marginalized_average(x, p), tracing_mode="fake")(x, p)
    assert wa.marginalized._on_device == {}
    AROUND["forward mode"](x, p)
    assert len(wa.marginalized._on_device) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("call", AROUND.values(), ids=AROUND)
def test_the_host_does_not_wait(call):
    x = torch.randn(3, 6, 2, device="cuda", requires_grad=True)
    p = torch.rand(3, 6, device="cuda", requires_grad=True)
    mask = torch.ones(3, 6, dtype=torch.bool, device="cuda")
    wa.marginalized_average(x, p, mask).sum().backward()  # copies the nodes to the device
    call(x.detach(), p.detach())  # and compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        wa.marginalized_average(x, p, mask).sum().backward()
        call(x.detach(), p.detach())
    finally:
        torch.cuda.set_sync_debug_mode("default")


@NEEDS_NUMBA
def test_compiled_loops_also_run_interpreted():
    import numpy as np
    from wtal_aggregators import _compiled

    p, g = torch.rand(2, 9, dtype=torch.float64), torch.randn(2, 9, dtype=torch.float64)
    interpreted = _compiled.Kernels(lambda loop: loop)
    expected = wa.marginalized_average_coefficients(p)
    torch.testing.assert_close(interpreted.coefficients(p), expected)
    q = p.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(wa.marginalized_average_coefficients(q), q, g)
    torch.testing.assert_close(interpreted.gradient(p, g), gradient)
    assert isinstance(_compiled._arrays(_quadrature.rule_for(torch.float64))[1], np.ndarray)


def python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120).stdout


def test_works_without_numba():
    code = """
import sys
sys.modules["numba"] = None
import torch, wtal_aggregators as wa
print(wa.marginalized_average_coefficients(torch.ones(2)).tolist())
try:
    import wtal_aggregators.reference
except ImportError as error:
    print(error)
"""
    message = "wtal_aggregators.reference needs numba: pip install 'wtal-aggregators[reference]'"
    assert python(code) == f"[0.5, 0.5]\n{message}\n"


def test_works_with_a_numba_that_cannot_be_imported(tmp_path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs another NumPy')", encoding="utf-8")
    code = f"""
import sys, warnings
sys.path.insert(0, {str(tmp_path)!r})
import torch, wtal_aggregators as wa
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        print(wa.marginalized_average_coefficients(torch.ones(2)).tolist())
print(*[warning.message for warning in caught])
"""
    message = "MAA runs as torch operators, since numba cannot be imported: Numba needs another NumPy"
    assert python(code) == f"[0.5, 0.5]\n[0.5, 0.5]\n{message}\n"


def test_exports_for_any_length(inputs):
    x, p, mask = (z.detach() for z in inputs)
    length = torch.export.Dim("length", min=2)
    exported = torch.export.export(wa.MarginalizedAverage(), (x, p, mask), dynamic_shapes=({1: length},) * 3).module()
    longer = [torch.cat([z, z], 1) for z in (x, p, mask)]
    torch.testing.assert_close(exported(*longer), wa.marginalized_average(*longer))


def test_import_costs_little_beyond_torch():
    code = (
        "import time, torch, sys; started = time.process_time(); import wtal_aggregators; "
        "print(time.process_time() - started, 'numba' in sys.modules)"
    )
    for _ in range(3):  # a busy machine gets another chance
        seconds, numba = python(code).split()
        assert numba == "False"
        if float(seconds) < 0.05:
            break
    else:
        pytest.fail(f"import wtal_aggregators takes {seconds} s after import torch")


@pytest.mark.parametrize("tolerance", [3e-8, 1e-13])
def test_number_of_nodes_is_the_least_that_is_proved_enough(tolerance):
    decay, nodes, _ = _quadrature.rule(tolerance)
    assert _quadrature.error_bound(decay, len(nodes)) <= tolerance < _quadrature.error_bound(decay, len(nodes) - 1)


@pytest.mark.parametrize("count", [1, 2, 12, 19, 40])
def test_rule_is_exact_for_polynomials(count):
    nodes, weights = _quadrature.gauss_legendre(count)
    for degree in (0, 1, count, 2 * count - 1):
        assert sum(w * x**degree for x, w in zip(nodes, weights, strict=True)) == pytest.approx(
            1 / (degree + 1), rel=1e-14
        )
