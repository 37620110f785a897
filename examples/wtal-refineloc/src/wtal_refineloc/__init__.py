"""Iterative refinement for weakly supervised action localization.

Pardo, Alwassel, Caba, Thabet and Ghanem, "RefineLoc: Iterative Refinement for Weakly-Supervised Action Localization",
WACV 2021. B videos, T snippets, D features, C classes.
"""
