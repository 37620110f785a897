"""Aggregators, sound and broken."""

import random
import sys

import numpy as np
import torch
from torch import nn

KIND = "aggregator"


def weighted_mean(features, attention, mask):
    several = attention if attention.ndim == 3 else attention[:, None]
    weights = several if mask is None else several * mask[:, None]
    pooled = weights @ features / weights.sum(2, keepdim=True).clamp(min=1e-6)
    return pooled if attention.ndim == 3 else pooled[:, 0]


class Mean(nn.Module):
    def forward(self, features, attention, mask=None):
        return weighted_mean(features, attention, mask)


class Weighing(Mean):
    def coefficients(self, attention, mask=None):
        weights = attention
        if mask is not None:
            weights = attention * (mask if attention.ndim == 2 else mask[:, None])
        return weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)


class RemembersSteps(Mean):
    """Counts its steps of training, and saves them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, features, attention, mask=None):
        self.steps += self.training
        return weighted_mean(features, attention ** (1 + self.steps), mask)


class ClassWise(Mean):
    """Learns an exponent for each class, and pools once for each, under one attention or one for each."""

    def __init__(self, num_classes):
        super().__init__()
        self.exponent = nn.Parameter(torch.ones(num_classes))

    def coefficients(self, attention, mask=None):
        several = attention if attention.ndim == 3 else attention[:, None]
        weights = several ** self.exponent.exp()[:, None] + 1e-3
        weights = weights if mask is None else weights * mask[:, None]
        return weights / weights.sum(2, keepdim=True).clamp(min=1e-6)

    def forward(self, features, attention, mask=None):
        return self.coefficients(attention, mask) @ features


SOUND = [Mean, Weighing, RemembersSteps, ClassWise]


def pooling(forward, base=Mean, **members):
    return type("Broken", (base,), {"forward": forward, **members})


def changing(change, when=lambda self, features, attention, mask: True):
    """The weighted mean, changed under a condition."""

    def forward(self, features, attention, mask=None):
        pooled = weighted_mean(features, attention, mask)
        return change(self, pooled, features) if when(self, features, attention, mask) else pooled

    return pooling(forward)


def evaluating_alone(self, features, attention, mask):
    return not self.training


def training_alone(self, features, attention, mask):
    return self.training


def several(self, features, attention, mask):
    return attention.ndim == 3


def has_hole(mask):
    """Whether something is seen after something hidden."""
    return mask is not None and bool((mask[:, 1:] & ~mask[:, :-1]).any())


def divides_by_zero(self, features, attention, mask=None):
    weights = attention if attention.ndim == 3 else attention[:, None]
    weights = weights if mask is None else weights * mask[:, None]
    pooled = weights @ features / weights.sum(2, keepdim=True)
    return pooled if attention.ndim == 3 else pooled[:, 0]


def in_place(self, features, attention, mask=None):
    pooled = weighted_mean(features.clone(), attention, mask)
    features.mul_(2)
    return pooled


def doubles_attention(self, attention, mask=None):
    weights = Weighing.coefficients(self, attention, mask)
    attention.mul_(2)
    return weights


def weighing(coefficients):
    return type("Broken", (Weighing,), {"coefficients": coefficients})


class Forgetful(Mean):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features, attention, mask=None):
        return weighted_mean(features, attention, mask) * self.scale

    def state_dict(self, *arguments, **options):
        return {}

    def load_state_dict(self, state):
        pass


class Running(Mean):
    """Learns in training what only evaluation uses, and keeps it to itself."""

    def __init__(self):
        super().__init__()
        self.seen = 0.0

    def forward(self, features, attention, mask=None):
        if self.training:
            self.seen += features.detach().mean()
        return weighted_mean(features, attention, mask) + (0 if self.training else self.seen)


class Projecting(Mean):
    """Draws a fixed projection that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.scale = torch.rand(())

    def forward(self, features, attention, mask=None):
        return weighted_mean(features, attention, mask) * self.scale


class Annealing(Mean):
    """Counts its steps of training, and forgets them."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, features, attention, mask=None):
        self.steps += self.training
        return weighted_mean(features, attention ** (1 + self.steps if self.training else 1), mask)


def unshared(self, features, attention, mask=None):
    pooled = weighted_mean(features, attention, mask)
    return pooled - pooled.mean(0) if len(pooled) > 1 else pooled


def competing(self, features, attention, mask=None):
    """Attentions of one video share its mass."""
    pooled = weighted_mean(features, attention, mask)
    if attention.ndim == 2:
        return pooled
    seen = attention if mask is None else attention * mask[:, None]
    return pooled * seen.amax(2, keepdim=True) / seen.amax((1, 2), True).clamp(min=1e-6)


def no_default(self, features, attention, mask):
    return weighted_mean(features, attention, mask)


def halves_unless_omitted(self, features, attention, mask=()):
    pooled = weighted_mean(features, attention, None if isinstance(mask, tuple) else mask)
    return pooled / 2 if mask is None else pooled


def root_of_attention(self, features, attention, mask=None):
    return weighted_mean(features, attention.sqrt(), mask)


def root_of_the_rest(self, features, attention, mask=None):
    return weighted_mean(features, attention, mask) + 0 * (1 - attention.mean()).sqrt()


def root_about_a_half(self, features, attention, mask=None):
    return weighted_mean(features, attention, mask) + 0 * ((attention - 0.5) ** 2).sqrt().sum()


def root_of_hidden(self, features, attention, mask=None):
    if mask is not None:
        attention = (attention * (mask if attention.ndim == 2 else mask[:, None])).sqrt() ** 2
    return weighted_mean(features, attention, mask)


def by_length(self, features, attention, mask=None):
    """Sees the first snippets, as many as the mask shows: right for padding, wrong for a hole."""
    if mask is not None:
        mask = torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)
    return weighted_mean(features, attention, mask)


BROKEN = {
    "module": [lambda: weighted_mean],
    "form": [
        pooling(lambda self, features, attention, mask=None: features[:, 0, :1].squeeze(-1)),
        changing(lambda self, pooled, x: pooled.double()),
        changing(lambda self, pooled, x: pooled.float()),
        changing(lambda self, pooled, x: pooled.tolist()),
        changing(lambda self, pooled, x: (pooled,), evaluating_alone),
        changing(lambda self, pooled, x: pooled[:, None], training_alone),
        changing(lambda self, pooled, x: pooled[:, 0], several),
        changing(lambda self, pooled, x: pooled[None], lambda self, x, a, mask: a.ndim == 2),
        changing(lambda self, pooled, x: pooled * np.nan, lambda self, x, a, mask: x.shape[1] > 64),
        changing(lambda self, pooled, x: pooled[:, None], lambda self, x, a, mask: mask is not None),
        changing(lambda self, pooled, x: pooled[:, None], lambda self, x, a, mask: mask is None),
        changing(lambda self, pooled, x: pooled * np.nan, lambda self, x, a, mask: has_hole(mask)),
        changing(lambda self, pooled, x: sys.exit(3)),
        changing(lambda self, pooled, x: 1 / 0, evaluating_alone),
        pooling(lambda self, x, a, mask=None: ClassWise.forward(self, x, a, mask)[:, :1], ClassWise),
    ],
    "untouched": [
        pooling(in_place),
        changing(lambda self, pooled, x: (pooled, x.mul_(2))[0], training_alone),
        changing(lambda self, pooled, x: (pooled, x.mul_(2))[0], evaluating_alone),
        weighing(doubles_attention),
    ],
    "draws": [
        changing(lambda self, pooled, x: pooled * torch.rand(())),
        changing(lambda self, pooled, x: (pooled, torch.rand(()))[0], evaluating_alone),
        changing(lambda self, pooled, x: (pooled, torch.manual_seed(7))[0], evaluating_alone),
        changing(lambda self, pooled, x: (pooled, torch.manual_seed(7))[0], training_alone),
        changing(lambda self, pooled, x: pooled * random.random(), training_alone),
        changing(lambda self, pooled, x: pooled * random.random(), evaluating_alone),
    ],
    "extremes": [
        pooling(divides_by_zero),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: self.training and not a.any()),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: not self.training and not a.any()),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: bool((a == 1).all())),
        changing(lambda self, p, x: p * np.nan, lambda self, x, a, mask: mask is not None and not mask.any()),
    ],
    "hidden": [
        pooling(lambda self, features, attention, mask=None: weighted_mean(features, attention, None)),
        pooling(lambda self, x, a, mask=None: weighted_mean(x, a, None if self.training else mask)),
        pooling(lambda self, x, a, mask=None: weighted_mean(x, a, mask if self.training else None)),
        pooling(by_length),
        pooling(lambda self, x, a, mask=None: (by_length if self.training else Mean.forward)(self, x, a, mask)),
        changing(lambda self, pooled, x: pooled * x.shape[1], lambda self, x, a, mask: x.shape[1] > 1),
    ],
    "no_mask": [
        pooling(lambda self, x, a, mask=None: weighted_mean(x, a, mask) * (1 if mask is None else 2)),
        pooling(no_default),
        pooling(halves_unless_omitted),
    ],
    "alone": [pooling(unshared), pooling(competing)],
    "gradient": [
        changing(lambda self, pooled, x: pooled.detach()),
        changing(lambda self, pooled, x: pooled.detach() * torch.ones((), requires_grad=True)),
        pooling(root_of_attention),
        pooling(root_of_the_rest),
        pooling(root_about_a_half),
        pooling(root_of_hidden),
        changing(lambda self, pooled, x: pooled.detach(), training_alone),
        changing(lambda self, pooled, x: pooled.detach(), evaluating_alone),
    ],
    "state": [Forgetful, Running, Projecting, Annealing],
    "coefficients": [
        weighing(lambda self, a, mask=None: a if mask is None else a * (mask if a.ndim == 2 else mask[:, None])),
        weighing(lambda self, a, mask=None: [1]),
        weighing(lambda self, a, mask=None: Weighing.coefficients(self, a, mask)[..., None]),
        weighing(lambda self, a, mask=None: Weighing.coefficients(self, a, mask)[..., :1]),
        weighing(lambda self, a, mask: Weighing.coefficients(self, a, mask)),
        # Weights that cancel on what is hidden.
        type(
            "Broken",
            (Mean,),
            {
                "forward": lambda self, x, a, mask=None: 0 * weighted_mean(x, a, mask),
                "coefficients": lambda self, a, mask=None: (
                    0 * a if mask is None else 0 * a + 1e-9 * ~(mask if a.ndim == 2 else mask[:, None])
                ),
            },
        ),
        # A class-wise one, as if its answer were one.
        pooling(
            lambda self, x, a, mask=None: ClassWise.coefficients(self, a, mask) @ x,
            ClassWise,
            coefficients=lambda self, a, mask=None: ClassWise.coefficients(self, a, mask)[:, 0],
        ),
    ],
}
