"""What a training step of STAR costs beside one of attention pooling, and how its memory grows with the length.

    python benchmarks/star_step.py [--rounds 15] [--device cpu] [--threads 2]

Both decoders get the same features, aggregator, labels (1 to 3 a video) and optimizer. The two steps take turns, and
the ratio is the median over rounds. Memory is what autograd keeps for the backward pass, each storage counted once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F
from wtal_star import Star

if TYPE_CHECKING:
    from collections.abc import Callable

B, T, D, C = 16, 400, 1024, 20


class Norm(nn.Module):
    """Attention-weighted mean, for a checkout without wtal-aggregators."""

    def forward(self, features: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        weights = attention / attention.sum(1, keepdim=True).clamp_min(1e-30)
        return torch.bmm(weights.unsqueeze(1), features).squeeze(1)


class AttentionPooling(nn.Module):
    """FC D-256, LeakyReLU, FC 256-1, sigmoid; aggregate; linear classifier."""

    def __init__(self, aggregator: nn.Module) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(D, 256), nn.LeakyReLU(), nn.Linear(256, 1), nn.Sigmoid())
        self.aggregator = aggregator
        self.classifier = nn.Linear(D, C, bias=False)

    def total_loss(self, features: torch.Tensor, mask: torch.Tensor, targets: SimpleNamespace) -> torch.Tensor:
        attention = self.attention(features).squeeze(-1) * mask
        logits = self.classifier(self.aggregator(features, attention, mask))
        return F.binary_cross_entropy_with_logits(logits, targets.labels)


class StarStep(Star):
    def total_loss(self, features: torch.Tensor, mask: torch.Tensor, targets: SimpleNamespace) -> torch.Tensor:
        return torch.stack(list(self.loss(self(features, mask, targets), targets).values())).sum()


def batch(length: int, device: str) -> tuple[torch.Tensor, torch.Tensor, SimpleNamespace]:
    torch.manual_seed(0)
    features = torch.randn(B, length, D, device=device)
    mask = torch.ones(B, length, dtype=torch.bool, device=device)
    labels = torch.zeros(B, C)
    for video in range(B):
        labels[video, torch.randperm(C)[: 1 + video % 3]] = 1
    counts = labels * torch.randint(1, 16, labels.shape)
    return features, mask, SimpleNamespace(labels=labels.to(device), counts=counts.to(device))


def timed_step(model: AttentionPooling | StarStep, data: tuple) -> Callable[[], float]:
    optimizer = torch.optim.Adam(model.parameters(), 5e-4)
    synchronize = torch.cuda.synchronize if data[0].is_cuda else lambda: None

    def step() -> float:
        synchronize()
        start = time.perf_counter()
        optimizer.zero_grad()
        model.total_loss(*data).backward()
        optimizer.step()
        synchronize()
        return time.perf_counter() - start

    return step


def kept_bytes(model: AttentionPooling | StarStep, data: tuple) -> int:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.total_loss(*data)
    del loss
    return sum(kept.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    aggregators: dict[str, Callable[[], nn.Module]] = {"norm": Norm}
    try:
        from wtal_aggregators import MarginalizedAverage
    except ImportError:
        print("wtal-aggregators is not installed: no row for maa")
    else:
        aggregators["maa"] = MarginalizedAverage
    stem, whole = (), ("sparsity", "coverage", "ram")
    data = batch(T, arguments.device)
    print(f"B {B}, T {T}, D {D}, C {C}, 1 to 3 labels a video, {arguments.device}, {torch.get_num_threads()} threads")
    print(f"{'aggregator':12}{'modules':10}{'pooling ms':>12}{'STAR ms':>10}{'ratio':>8}")
    for name, aggregator in aggregators.items():
        for label, modules in (("stem", stem), ("all", whole)):
            pooling = timed_step(AttentionPooling(aggregator()).to(arguments.device), data)
            star = timed_step(StarStep(D, C, aggregator(), modules=modules).to(arguments.device), data)
            times = [(pooling(), star()) for _ in range(arguments.rounds + 2)][2:]
            ratio = statistics.median(s / p for p, s in times)
            p, s = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
            print(f"{name:12}{label:10}{p:12.1f}{s:10.1f}{ratio:8.2f}")
    print(f"\n{'T':>6}{'MB kept, features included':>30}{'MB beyond the features':>26}")
    for length in (100, 200, 400, 800, 1600):
        features, mask, targets = batch(length, arguments.device)
        model = StarStep(D, C, Norm(), modules=whole).to(arguments.device)
        kept = kept_bytes(model, (features, mask, targets))
        print(f"{length:6}{kept / 1e6:30.1f}{(kept - features.nbytes) / 1e6:26.1f}")


if __name__ == "__main__":
    main()
