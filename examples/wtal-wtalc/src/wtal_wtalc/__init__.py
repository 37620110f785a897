"""W-TALC: top-k mean pooling of class scores, and co-activity similarity between videos of one class.

Paul, Roy and Roy-Chowdhury, "W-TALC: Weakly-supervised Temporal Activity Localization and Classification", ECCV 2018.
B videos, T snippets, D input features, E features as pooled (here E = D), C classes. `mask` (B, T) is True on visible
snippets and may have holes; a length is the number of visible ones.
"""

from wtal_wtalc.co_activity import CoActivity, co_activity
from wtal_wtalc.decoder import WTALC, top_mean
from wtal_wtalc.sampler import ClassPairs

__all__ = ["WTALC", "ClassPairs", "CoActivity", "co_activity", "top_mean"]
