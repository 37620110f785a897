"""Choosing the settings of an experiment by cross-validation inside its training subset."""
