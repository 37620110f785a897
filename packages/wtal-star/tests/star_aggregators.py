"""Stand-ins for the aggregators that a caller injects."""

import torch
from torch import nn


class WeightedSum(nn.Module):
    def forward(self, features, attention, mask=None):
        return torch.einsum("btd,bt->bd", features, attention)


class Norm(nn.Module):
    def forward(self, features, attention, mask=None):
        mass = attention.sum(1, keepdim=True).clamp_min(torch.finfo(attention.dtype).tiny)
        return torch.einsum("btd,bt->bd", features, attention / mass)


class Mean(nn.Module):
    """Whatever the attention."""

    def forward(self, features, attention, mask=None):
        return features.mean(1)


class Halving(nn.Module):
    """Wrong: returns half of the features."""

    def forward(self, features, attention, mask=None):
        return features.mean(1)[:, : features.shape[2] // 2]
