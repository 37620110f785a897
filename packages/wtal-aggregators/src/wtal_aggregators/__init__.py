"""Marginalized average aggregation (MAA) and the attention poolings it is compared with, for any PyTorch model."""

from wtal_aggregators.marginalized import (
    MarginalizedAverage,
    marginalized_average,
    marginalized_average_coefficients,
    marginalized_average_factors,
)
from wtal_aggregators.pooling import (
    Dropout,
    Max,
    Mean,
    Norm,
    SoftmaxNorm,
    WeightedSum,
    weighted_sum,
)

__all__ = [
    "Dropout",
    "MarginalizedAverage",
    "Max",
    "Mean",
    "Norm",
    "SoftmaxNorm",
    "WeightedSum",
    "marginalized_average",
    "marginalized_average_coefficients",
    "marginalized_average_factors",
    "weighted_sum",
]
