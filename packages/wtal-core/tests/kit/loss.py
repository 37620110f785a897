"""Losses, sound and broken."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from wtal_core.builtin.snippet_targets import SnippetTargets

KIND = "loss"


def visible(batch):
    """The mask (B, T) as numbers."""
    return torch.ones_like(batch.features[..., 0]) if batch.mask is None else batch.mask.float()


class Sparsity:
    """The mean of the attention over visible snippets."""

    def __call__(self, decoding, batch):
        seen = visible(batch)
        return {"sparsity": ((decoding.attention[:, 0] * seen).sum(1) / seen.sum(1)).mean()}


class Smoothness:
    """Attention of neighbours that are both visible shall be alike."""

    def __call__(self, decoding, batch):
        seen = visible(batch)
        pairs = seen[:, 1:] * seen[:, :-1]
        steps = decoding.attention[:, 0].diff(dim=1) ** 2
        return {"smoothness": (steps * pairs).sum() / pairs.sum().clamp(min=1)}


class Centres(nn.Module):
    """Pooled features shall lie near their class's centre, which is learnt, and counts its steps in a buffer."""

    needs = ("pooled",)

    def __init__(self, num_classes):
        super().__init__()
        self.centre = nn.Parameter(torch.rand(num_classes))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, decoding, batch):
        self.steps += 1
        distance = (decoding.pooled.mean((1, 2))[:, None] - self.centre) ** 2
        return {"centre": (distance * batch.targets.labels).sum() / self.steps}


SOUND = [SnippetTargets, Sparsity, Smoothness, Centres, lambda: lambda decoding, batch: {}]


def losing(call, base=Sparsity, **members):
    return type("Broken", (base,), {"__call__": call, **members})


def changed(change):
    return losing(lambda self, decoding, batch: change(Sparsity()(decoding, batch)["sparsity"], decoding, batch))


class Counting(Sparsity):
    """Weighs less at each step."""

    def __init__(self):
        self.calls = 0

    def __call__(self, decoding, batch):
        self.calls += 1
        return {"sparsity": super().__call__(decoding, batch)["sparsity"] / self.calls}


class ForgetfulCentres(Centres):
    def forward(self, decoding, batch):
        self.calls = getattr(self, "calls", 0) + 1
        return {"centre": super().forward(decoding, batch)["centre"] / self.calls}


def erases_labels(term, decoding, batch):
    batch.targets.labels.zero_()
    return {"sparsity": term}


def doubles_features(term, decoding, batch):
    batch.features.mul_(2)
    return {"sparsity": term}


def of_rows(select):
    """The mean of some snippet logits."""
    return losing(
        lambda self, decoding, batch: {"mean": select(decoding.snippet_logits.mean(2), visible(batch))},
        needs=("snippet_logits",),
    )


BROKEN = {
    "form": [
        changed(lambda term, *_: term),
        changed(lambda term, *_: [("sparsity", term)]),
        changed(lambda term, *_: {0: term}),
        changed(lambda term, *_: {"sparsity": term[None]}),
        changed(lambda term, *_: {"sparsity": term.item()}),
        changed(lambda term, *_: {"sparsity": term.long()}),
        changed(lambda term, *_: {"sparsity": term.detach()}),
        changed(lambda term, *_: {"sparsity": term * np.inf}),
        changed(lambda term, *_: {"sparsity": term + 0 * (term - term).sqrt()}),
        losing(Sparsity.__call__, needs=("snippet_scores",)),
        losing(Sparsity.__call__, needs="pooled"),
        # The teacher's NaN, where it says nothing, is taken for a target.
        losing(
            lambda self, decoding, batch: {
                "snippets": F.mse_loss(decoding.snippet_logits.transpose(1, 2), batch.targets.snippets)
            },
            needs=("snippet_logits", "targets.snippets"),
        ),
    ],
    "untouched": [changed(erases_labels), changed(doubles_features)],
    "state": [
        Counting,
        ForgetfulCentres,
        changed(lambda term, *_: {"sparsity": term * random.random()}),
        changed(lambda term, *_: {"sparsity": term * float(np.random.random())}),  # noqa: NPY002
    ],
    "hidden": [
        of_rows(lambda logits, seen: logits.mean()),
        of_rows(lambda logits, seen: (logits * seen).mean()),
        of_rows(lambda logits, seen: logits.amax(1).sum()),
        changed(lambda term, decoding, batch: {"sparsity": decoding.attention.mean()}),
        changed(lambda term, decoding, batch: {"sparsity": term + decoding.features.sum()}),
        changed(lambda term, decoding, batch: {"sparsity": term + batch.features.sum()}),
        changed(lambda term, decoding, batch: {"sparsity": term + (batch.rows.float() ** 2).sum()}),
        losing(
            lambda self, decoding, batch: {"background": decoding.background_logits.sum()},
            needs=("background_logits",),
        ),
    ],
    "needs": [
        losing(lambda self, decoding, batch: {"pooled": decoding.pooled.sum()}),
        losing(lambda self, decoding, batch: {"counts": batch.targets.counts.sum() * decoding.attention.sum()}),
        type("Broken", (SnippetTargets,), {"needs": ("snippet_logits",)}),
    ],
}
