"""RefineLoc: iterative refinement for weakly supervised action localization (Pardo et al., WACV 2021).

B videos, T snippets, D features, C classes.
"""
