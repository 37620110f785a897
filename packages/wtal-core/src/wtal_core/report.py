"""Tables for people."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Standard output; wide enough for every table where no terminal limits it."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False)


def print_evaluations(rows: Mapping[str, Sequence[Mapping[str, Any]]], ranked: Collection[str] = ()) -> None:
    """Print mAP per tIoU, their mean, and the classification mAP, in percent; with the spread over several seeds.

    A row has the contents of evaluation.json, one per seed. All rows need the same tIoU thresholds. Of the rows
    `ranked` the best of each column is bold.
    """
    header, body = _table(rows, ranked, _plus_minus())
    table = Table(*header, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cells in body:
        table.add_row(Text(name), *(Text(text, style="bold" if best else "") for text, best in cells))
    console().print(table)
    for note in notes_of(rows):
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


def markdown(rows: Mapping[str, Sequence[Mapping[str, Any]]], ranked: Collection[str]) -> str:
    """The same table in Markdown."""
    header, body = _table(rows, ranked, "±")
    lines = [header, [":--", *["--:"] * (len(header) - 1)]]
    lines += [
        [name.replace("|", "\\|"), *(f"**{text}**" if best else text for text, best in cells)] for name, cells in body
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def notes_of(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the evaluators note, once."""
    parts = (part for contents in rows.values() for content in contents for part in content.values())
    return list(dict.fromkeys(note for part in parts for note in part["notes"]))


#: A row's name, and of each of its cells the text and whether it is the best.
_Line = tuple[str, list[tuple[str, bool]]]


def _table(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], ranked: Collection[str], plus_minus: str
) -> tuple[list[str], list[_Line]]:
    """The header, and the lines."""
    thresholds = next(iter(rows.values()))[0]["localization"]["tiou_thresholds"]
    header = ["mAP (%) at tIoU", *(f"{t:g}" for t in thresholds), "mean", "Cls mAP"]
    columns = {name: _columns(contents) for name, contents in rows.items()}
    best = (
        np.max([columns[name].mean(axis=1) for name in ranked], axis=0) if ranked else np.full(len(header) - 1, np.nan)
    )
    lines = []
    for name, values in columns.items():
        seeds = f" ({values.shape[1]} seeds)" if values.shape[1] > 1 else ""
        highest = (values.mean(axis=1) == best) & (name in ranked)
        cells = [_mean_and_spread(100 * one, plus_minus) for one in values]
        lines.append((name + seeds, list(zip(cells, highest.tolist(), strict=True))))
    return header, lines


def _columns(contents: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A row's numbers as fractions, (columns, seeds)."""
    localization = np.array([_numbers(content["localization"]["mean_ap"]) for content in contents])
    classification = np.array([_numbers(content["classification"]["mean_ap"])[0] for content in contents])
    return np.stack([*localization.T, localization.mean(axis=1), classification])


def _numbers(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values])


def _mean_and_spread(values: np.ndarray[Any, np.dtype[np.float64]], plus_minus: str) -> str:
    """The mean, and the sample standard deviation over seeds if there are several."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{values.mean():.1f}{plus_minus}{values.std(ddof=1):.1f}"


def _plus_minus() -> str:
    """±, or what stands for it where standard output lacks the sign."""
    try:
        "±".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return "+-"
    return "±"
