"""A run: its directory, the steps that fill it, and what it found."""

from wtal_core.run.directory import Run, check_free, create, finished, holding, reopen
from wtal_core.run.steps import complete, evaluate, localize, predict, train

__all__ = [
    "Run",
    "check_free",
    "complete",
    "create",
    "evaluate",
    "finished",
    "holding",
    "localize",
    "predict",
    "reopen",
    "train",
]
