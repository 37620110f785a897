"""Marginalized average aggregation (MAA) and the attention poolings it is compared with, for any PyTorch model."""

from wtal_aggregators.class_softmax import ClassSoftmax, class_softmax_coefficients
from wtal_aggregators.marginalized import (
    MarginalizedAverage,
    marginalized_average,
    marginalized_average_coefficients,
    marginalized_average_factors,
)
from wtal_aggregators.pooling import (
    Dropout,
    LinearAggregator,
    Max,
    Mean,
    Norm,
    SoftmaxNorm,
    WeightedSum,
    attention_coefficients,
    dropout_coefficients,
    max_pool,
    mean_coefficients,
    norm_coefficients,
    softmax_norm_coefficients,
    weighted_sum,
)
from wtal_aggregators.spatial import MarginalizedAverage2d, WeightedSum2d

__all__ = [
    "ClassSoftmax",
    "Dropout",
    "LinearAggregator",
    "MarginalizedAverage",
    "MarginalizedAverage2d",
    "Max",
    "Mean",
    "Norm",
    "SoftmaxNorm",
    "WeightedSum",
    "WeightedSum2d",
    "attention_coefficients",
    "class_softmax_coefficients",
    "dropout_coefficients",
    "marginalized_average",
    "marginalized_average_coefficients",
    "marginalized_average_factors",
    "max_pool",
    "mean_coefficients",
    "norm_coefficients",
    "softmax_norm_coefficients",
    "weighted_sum",
]
