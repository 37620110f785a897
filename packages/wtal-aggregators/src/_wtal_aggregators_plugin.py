"""Names this package's components for the wtal host; imported by the host alone, so it may import from it."""

from collections.abc import Mapping

from wtal_core import hookimpl


@hookimpl
def wtal_aggregators() -> Mapping[str, str]:
    return {
        "dropout": "wtal_aggregators:Dropout",
        "maa": "wtal_aggregators:MarginalizedAverage",
        "maa-reference": "wtal_aggregators.reference:MarginalizedAverageReference",
        "max": "wtal_aggregators:Max",
        "mean": "wtal_aggregators:Mean",
        "norm": "wtal_aggregators:Norm",
        "softmax-norm": "wtal_aggregators:SoftmaxNorm",
        "weighted-sum": "wtal_aggregators:WeightedSum",
    }
