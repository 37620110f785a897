"""What marginalized average aggregation costs beside the weighted sum of the same tensors, and how exact it is.

    OMP_NUM_THREADS=2 python benchmarks/aggregators.py [--rounds 15] [--device cpu] [--device cuda]

Every device that is present, unless some are named. Weighted sum: `torch.bmm(attention.unsqueeze(1), features)` with
PyTorch's own gradient; of maps, on the flattened maps as they lie; of padded batches, with the attention zero on
padding. All ways take turns in one process, and a ratio is the median over rounds of the ratio within a round. Peak
memory is the growth of the process's resident set over its inputs, each way in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import wtal_aggregators as wa
from torch import Tensor
from wtal_aggregators import _compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    Pooling = Callable[[Tensor, Tensor], Tensor]

SHAPES = {  # (B, T, D): the ratio aimed at, forward + backward on two cores
    (16, 400, 2048): 1.05,
    (4, 4_000, 1024): 1.05,
    (1, 100_000, 256): 1.10,
    (16, 400, 1024): 1.15,
    (16, 20, 1024): 1.40,
}
MAPS = ((16, 512, 14), (16, 256, 28), (16, 2048, 7))  # B, D, height and width
SCALING = (20, 200, 2_000, 20_000, 100_000)  # T at B 1, D 256


def bmm(x: Tensor, p: Tensor) -> Tensor:
    return torch.bmm(p.unsqueeze(1), x).squeeze(1)


def bmm_of_maps(x: Tensor, p: Tensor) -> Tensor:
    return torch.bmm(p.flatten(2), x.flatten(2).transpose(1, 2)).squeeze(1)


def recurrence(x: Tensor, p: Tensor) -> Tensor:
    """Algorithm 1 with its inner loop as tensor operations."""
    B, T, D = x.shape
    b = (torch.arange(T, device=x.device) / torch.arange(1, T + 1, device=x.device)).unsqueeze(-1)  # b_{i-1}
    q, m = x.new_ones(B, 1, 1), x.new_zeros(B, 1, D)
    none = x.new_zeros(B, 1, 1)
    for t in range(T):
        p_t, x_t = p[:, t, None, None], x[:, t, None]
        taken = p_t * (b[: t + 1] * m + (1 - b[: t + 1]) * q * x_t)
        m = torch.cat([(1 - p_t) * m, none.expand(-1, -1, D)], 1) + torch.cat([none.expand(-1, -1, D), taken], 1)
        q = torch.cat([(1 - p_t) * q, none], 1) + torch.cat([none, p_t * q], 1)
    return m.sum(1)


def inputs(x_shape: tuple[int, ...], p_shape: tuple[int, ...], D: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(x_shape, device=device, requires_grad=True)
    p = torch.rand(p_shape, device=device, requires_grad=True)
    return x, p, torch.randn(x_shape[0], D, device=device)


def sequences(B: int, T: int, D: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    return inputs((B, T, D), (B, T), D, device)


def maps(B: int, D: int, side: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    return inputs((B, D, side, side), (B, 1, side, side), D, device)


def seconds(name: str, pooling: Pooling, x: Tensor, p: Tensor, g: Tensor) -> tuple[float, float]:
    """Forward, and forward with backward; a way named "maa plain" as if numba were not installed.

    One named "..., sum" is given the gradient of its sum, which is a single number, expanded.
    """
    x.grad = p.grad = None
    if name.endswith(", sum"):
        g = g.new_ones(()).expand_as(g)
    kernels_for = _compiled.kernels_for
    if name.startswith("maa plain"):
        _compiled.kernels_for = lambda _: None
    wait(x.device)
    started = time.perf_counter()
    pooled = pooling(x, p)
    wait(x.device)
    halfway = time.perf_counter()
    pooled.backward(g)
    wait(x.device)
    finished = time.perf_counter()
    _compiled.kernels_for = kernels_for
    return halfway - started, finished - started


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(ways: dict[str, Pooling], arguments: tuple[Tensor, Tensor, Tensor], rounds: int) -> dict[str, list[float]]:
    """Per way the medians of: forward s, forward + backward s, and their ratios to the first way within a round."""
    for name, pooling in ways.items():
        seconds(name, pooling, *arguments)
    measured: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        base: tuple[float, float] | None = None
        for name, pooling in ways.items():
            forward, both = seconds(name, pooling, *arguments)
            base = base or (forward, both)
            measured[name].append([forward, both, forward / base[0], both / base[1]])
    return {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in measured.items()}


def peak_mib(way: str, shape: tuple[int, int, int]) -> float:
    """Growth of the resident set while pooling forward and backward: the median of five processes."""
    command = [sys.executable, __file__, "--peak", way, *map(str, shape)]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(5))
    return statistics.median(float(run.stdout) for run in runs)


def measure_peak(way: str, shape: tuple[int, int, int]) -> None:
    seconds(way, WAYS[way], *sequences(1, 50, 8, "cpu"))  # imports and compiles
    arguments = sequences(*shape, "cpu")
    before = status_kib("VmRSS")
    seconds(way, WAYS[way], *arguments)
    print((status_kib("VmHWM") - before) / 2**10)


FIRST_CALL = """
import time, torch, wtal_aggregators as wa
x, p = torch.randn(16, 20, 64, requires_grad=True), torch.rand(16, 20, requires_grad=True)
wall, cpu = time.perf_counter(), time.process_time()
wa.marginalized_average(x, p).sum().backward()
print(f"{time.perf_counter() - wall:.2f} s ({time.process_time() - cpu:.2f} s of CPU time)")
"""


def first_call(cache: str) -> str:
    """How long the first forward and backward of a process take, given numba's cache."""
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", FIRST_CALL]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


WAYS: dict[str, Pooling] = {"bmm": bmm, "maa": wa.marginalized_average, "maa plain": wa.marginalized_average}


def worst_error(dtype: torch.dtype, T: int, device: str) -> float:
    """The largest relative error for T equal probabilities, where c = (1 - (1 - p)^T) / (p T) in closed form."""
    from decimal import Decimal, localcontext

    worst = 0.0
    with localcontext() as context:
        context.prec = 60
        for value in (1.0, 1 - 1e-7, 0.9, 0.7, 0.5, 1 / 3, 0.1, 0.031, 1e-3, 1e-6):
            p = torch.full((T,), value, dtype=dtype, device=device)
            exact = Decimal(p[0].item())
            expected = (1 - (1 - exact) ** T) / T
            computed = wa.marginalized_average_coefficients(p)
            for extreme in (computed.min(), computed.max()):
                worst = max(worst, abs(float(Decimal(extreme.item()) / expected - 1)))
    return worst


def main() -> None:
    present = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", action="append", help="may be given more than once; all that are present if not")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        B, T, D = map(int, options.peak[1:])
        return measure_peak(options.peak[0], (B, T, D))
    for device in options.device or ():
        if device not in present:
            parser.error(f"argument --device: there is no {device!r} here; present: {', '.join(present)}")
    if not options.device and "cuda" not in present:
        print("skipped: cuda (there is no CUDA GPU)")
    for device in options.device or present:
        report(device, options.rounds)
    return None


def report(device: str, rounds: int) -> None:
    """Print every section for one device, and which of them it does not have."""
    ways = dict(WAYS)
    compiled = device == "cpu" and find_spec("numba") is not None
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\ntorch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {rounds} rounds{load}")
    if not compiled:
        why = "numba is not installed" if device == "cpu" else "numba's loops run on the CPU"
        print(f"skipped on {device}: MAA with compiled loops, and the reference ({why})")
        del ways["maa plain"]  # which `maa` is then

    print("\nforward, and forward + backward (float32): ms, and ratio to bmm")
    print(f"{'shape':>22}  {'way':<14} {'f ms':>9} {'f+b ms':>9} {'f ratio':>8} {'f+b ratio':>9}  target")
    for shape, target in SHAPES.items():
        many = rounds if shape[1] > 20 else 40 * rounds
        print_rows(f"{shape}", compare(ways, sequences(*shape, device), many), f"{target}")

    print("\nthe same with padding: lengths from 1 to T")
    for shape in ((16, 400, 1024), (16, 20, 1024)):
        lengths = torch.linspace(1, shape[1], shape[0], device=device).long()
        mask = torch.arange(shape[1], device=device) < lengths.unsqueeze(-1)
        many = rounds if shape[1] > 20 else 40 * rounds
        print_rows(f"{shape}", compare(padded(ways, mask), sequences(*shape, device), many))

    print("\nthe gradient of a sum, which arrives expanded, beside a dense one; all ratios to bmm with a dense one")
    summed = ways | {f"{name}, sum": way for name, way in ways.items()}
    for shape in ((16, 400, 1024), (16, 20, 1024)):
        print_rows(f"{shape}", compare(summed, sequences(*shape, device), rounds if shape[1] > 20 else 40 * rounds))

    print("\nfeature maps (B, D, H, W): MarginalizedAverage2d")
    over_maps = {name: bmm_of_maps if name == "bmm" else wa.MarginalizedAverage2d() for name in ways}
    for B, D, side in MAPS:
        print_rows(f"({B}, {D}, {side}, {side})", compare(over_maps, maps(B, D, side, device), rounds))

    print("\nscaling at B 1, D 256: forward + backward, ms, and ratio to bmm")
    for T in SCALING:
        rows = compare(ways, sequences(1, T, 256, device), max(rounds, min(20 * rounds, 40_000 // T)))
        cells = (f"{name} {row[1] * 1e3:.3f} ({row[3]:.2f})" for name, row in rows.items())
        print(f"{T:>7}  " + "  ".join(cells), flush=True)

    print("\nthe paper's recurrence: forward + backward at B 1, T 400, D 1024, ms")
    slow: dict[str, Pooling] = {"maa": wa.marginalized_average, "recurrence in torch": recurrence}
    if compiled:
        from wtal_aggregators.reference import marginalized_average_reference

        slow["maa-reference"] = marginalized_average_reference
    for name, row in compare(slow, sequences(1, 400, 1024, device), min(rounds, 3)).items():
        print(f"{name:<20} {row[1] * 1e3:>10.2f}  {row[3]:>8.0f} times", flush=True)

    if compiled:
        with tempfile.TemporaryDirectory() as cache:
            print("\nfirst call of a process, compiling for an empty cache and loading from it then")
            print(f"cold {first_call(cache)}, warm {first_call(cache)}")

    if device == "cpu" and sys.platform == "linux":
        print("\npeak memory of forward + backward beyond the inputs, MiB, and ratio to bmm")
        for shape in ((4, 4_000, 1024), (1, 10_000, 256), (1, 100_000, 256)):
            peaks = {name: peak_mib(name, shape) for name in ways}
            cells = (f"{name} {peak:.0f} ({peak / peaks['bmm']:.2f})" for name, peak in peaks.items())
            print(f"{shape}  " + "  ".join(cells))
    else:
        print(f"\nskipped on {device}: peak memory (it is read from Linux's account of the process)")

    print("\nlargest relative error of the coefficients, equal probabilities from 1e-6 to 1")
    for T in (10, 100, 1_000, 10_000, 100_000):
        errors = ", ".join(
            f"{str(dtype)[6:]} {worst_error(dtype, T, device):.0e}" for dtype in (torch.float64, torch.float32)
        )
        print(f"T {T:>7}: {errors}")


def padded(ways: dict[str, Pooling], mask: Tensor) -> dict[str, Pooling]:
    """The same ways over batches with padding."""

    def sum_of_real(x: Tensor, p: Tensor) -> Tensor:
        return bmm(x, p.where(mask, 0))

    def maa(x: Tensor, p: Tensor) -> Tensor:
        return wa.marginalized_average(x, p, mask)

    return {name: sum_of_real if name == "bmm" else maa for name in ways}


def print_rows(shape: str, rows: dict[str, list[float]], target: str = "") -> None:
    for name, row in rows.items():
        print(
            f"{shape:>22}  {name:<14} {row[0] * 1e3:>9.3f} {row[1] * 1e3:>9.3f} {row[2]:>8.2f} {row[3]:>9.2f}"
            f"  {'' if name == 'bmm' else target}".rstrip(),
            flush=True,
        )


if __name__ == "__main__":
    main()
