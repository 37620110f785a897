"""Segregated temporal assembly recurrent networks (STAR, Xu et al., AAAI 2019)."""

from wtal_star.decoder import Decoding, Star
from wtal_star.sequences import Targets, VideoError, label_sequences

__all__ = ["Decoding", "Star", "Targets", "VideoError", "label_sequences"]
