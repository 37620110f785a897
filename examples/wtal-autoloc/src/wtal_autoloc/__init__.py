"""AutoLoc: boundary regression under the outer-inner-contrastive loss (Shou et al., ECCV 2018).

B videos, T snippets, D features, C classes, A anchors. Places are in snippets: [0, T] is the whole video.
"""
