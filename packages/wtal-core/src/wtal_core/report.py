"""Tables for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Standard output; wide enough for every table where no terminal limits it."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False)


def print_evaluations(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print mAP per tIoU, their mean, and the classification mAP, in percent; with the spread over several seeds.

    Args:
        rows: contents of evaluation.json by row name, one per seed. All rows need the same tIoU thresholds.
    """
    thresholds = next(iter(rows.values()))[0]["localization"]["tiou_thresholds"]
    table = Table("mAP (%) at tIoU", *(f"{t:g}" for t in thresholds), "mean", "Cls mAP", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, contents in rows.items():
        localization = np.array([_numbers(content["localization"]["mean_ap"]) for content in contents])
        classification = np.array([_numbers(content["classification"]["mean_ap"])[0] for content in contents])
        columns = [*localization.T, localization.mean(axis=1), classification]
        seeds = f" ({len(contents)} seeds)" if len(contents) > 1 else ""
        table.add_row(Text(name + seeds), *(_mean_and_spread(100 * values) for values in columns))
    console().print(table)
    notes = dict.fromkeys(
        note
        for contents in rows.values()
        for content in contents
        for part in content.values()
        for note in part["notes"]
    )
    for note in notes:
        console().print(f"note: {note}", markup=False)


def print_points(measure: str, rows: Sequence[tuple[Sequence[str], Sequence[float]]]) -> None:
    """Print points of a grid, each with its mean over folds and the folds, in percent.

    Args:
        measure: what the numbers are.
        rows: settings, then the mean and each fold.
    """
    folds = range(1, len(rows[0][1]))
    table = Table(f"{measure} (%)", "mean", *(f"fold {number}" for number in folds), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for settings, values in rows:
        table.add_row(Text(" ".join(settings)), *(f"{100 * value:.1f}" for value in values))
    console().print(table)


def _numbers(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values])


def _mean_and_spread(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """The mean, and the sample standard deviation over seeds if there are several."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{values.mean():.1f}{_plus_minus()}{values.std(ddof=1):.1f}"


def _plus_minus() -> str:
    """±, or what stands for it where standard output lacks the sign."""
    try:
        "±".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return "+-"
    return "±"
