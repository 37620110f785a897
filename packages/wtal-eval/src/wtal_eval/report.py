"""An evaluation as text for people, and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .evaluation import Evaluation
from .intervals import FloatArray

if TYPE_CHECKING:
    from .comparison import Comparison
    from .diagnosis import Diagnosis

USUAL_AVERAGES = ((0.1, 0.5, 0.1), (0.3, 0.7, 0.1), (0.1, 0.7, 0.1), (0.1, 0.9, 0.1), (0.5, 0.95, 0.05))
"""First threshold, last threshold and step of the averages that papers print."""


def usual_averages(evaluation: Evaluation) -> dict[str, float]:
    """Those of the usual averages whose thresholds were all evaluated, by name ("0.1:0.5")."""
    averages = {}
    for lo, hi, step in USUAL_AVERAGES:
        try:
            averages[f"{lo:g}:{hi:g}"] = evaluation.average(lo, hi, step)
        except ValueError:
            continue
    return averages


def as_text(
    evaluations: Sequence[tuple[str, Evaluation]], comparison: Comparison | None = None, per_class: bool = False
) -> str:
    """The mAP per tIoU in percent, one column each named evaluation, then averages, comparison and notes."""
    some = evaluations[0][1]
    alone = len(evaluations) == 1
    rows = [["tIoU", *("mAP" if alone else name for name, _ in evaluations)]]
    for k, threshold in enumerate(some.tiou_thresholds):
        rows.append([_threshold(some, threshold), *(_percent(e.mean_ap[k]) for _, e in evaluations)])
    averages = [usual_averages(evaluation) for _, evaluation in evaluations]
    rows += [[name, *(_percent(each[name]) for each in averages)] for name in averages[0]]
    if comparison is not None:
        rows[0] += ["A - B", "95 % interval"]
        for row, difference, low, high in zip(
            rows[1:], comparison.difference, comparison.low, comparison.high, strict=False
        ):
            row += [f"{100 * difference:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}"]
    parts = [f"{some.protocol}, mAP in percent", _aligned(rows)]
    if comparison is not None:
        difference, low, high = (100 * value for value in comparison.average)
        parts.append(
            f"mean over all tIoU, A - B: {difference:+.2f} ({low:+.2f} to {high:+.2f}; 95 % of {comparison.resamples} "
            "resamples of the videos)"
        )
    if per_class:
        parts += [_per_class_text("class" if alone else f"class ({name})", e) for name, e in evaluations]
    for name, evaluation in evaluations:
        parts += [f"note{'' if alone else ' on ' + name}: {note}" for note in evaluation.notes]
    return "\n".join(parts) + "\n"


def diagnosis_as_text(diagnosis: Diagnosis) -> str:
    """What kinds of errors there are, what they cost and which instances are hard."""
    rows = [["kind", "detections", "of the best", "mAP if removed"]]
    for kind, count in diagnosis.counts.items():
        gain = f"{100 * diagnosis.gains[kind]:+.2f}" if kind in diagnosis.gains else ""
        rows.append([kind, str(count), str(diagnosis.top_counts[0][kind]), gain])
    parts = [
        f"diagnosis at tIoU {diagnosis.tiou:g}: mAP {_percent(diagnosis.mean_ap)}; the best detections are, of each "
        "class, as many as it has instances",
        _aligned(rows),
    ]
    for title, buckets in (("length", diagnosis.by_length), ("instances per video", diagnosis.by_count)):
        rows = [[title, "instances", "normalised mAP", "missed"]]
        rows += [
            [b.name, str(b.instances), *((_percent(b.mean_ap), _percent(b.missed)) if b.instances else ("", ""))]
            for b in buckets
        ]
        parts.append(_aligned(rows))
    return "\n".join(parts) + "\n"


def as_object(
    evaluation: Evaluation, comparison: Comparison | None = None, diagnosis: Diagnosis | None = None
) -> dict[str, Any]:
    """All of it as an object for JSON. Precisions are fractions; what is not defined is null."""
    content: dict[str, Any] = {
        "protocol": evaluation.protocol,
        "tiou_thresholds": evaluation.tiou_thresholds.tolist(),
        "mean_ap": evaluation.mean_ap.tolist(),
        "averages": usual_averages(evaluation),
        "per_class": {name: _numbers(ap) for name, ap in evaluation.per_class.items()},
        "notes": [_encodable(note) for note in evaluation.notes],
    }
    if comparison is not None:
        content["comparison"] = {
            "difference": comparison.difference.tolist(),
            "low": comparison.low.tolist(),
            "high": comparison.high.tolist(),
            "average": list(comparison.average),
            "resamples": comparison.resamples,
        }
    if diagnosis is not None:
        content["diagnosis"] = diagnosis
    return content


def as_csv(evaluation: Evaluation) -> str:
    """A row for each class and one for the mean, a column for each threshold; fractions, empty where not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", *(f"{threshold:g}" for threshold in evaluation.tiou_thresholds)])
    for name, ap in evaluation.per_class.items():
        writer.writerow([name, *_numbers(ap)])
    writer.writerow(["mean", *evaluation.mean_ap.tolist()])
    return text.getvalue()


def _per_class_text(title: str, evaluation: Evaluation) -> str:
    rows = [[title] + [_threshold(evaluation, threshold) for threshold in evaluation.tiou_thresholds]]
    rows += [[c, *(_percent(value) for value in ap)] for c, ap in evaluation.per_class.items()]
    return _aligned(rows)


def _threshold(evaluation: Evaluation, threshold: float) -> str:
    return "anywhere" if evaluation.protocol == "classification" else f"{threshold:g}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _encodable(text: str) -> str:
    """The text with what stands for undecodable bytes of a path escaped."""
    return text.encode(errors="backslashreplace").decode()


def _numbers(values: FloatArray) -> list[float | None]:
    return [None if value != value else float(value) for value in values]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    columns = max(len(row) for row in rows)
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(columns)]

    def line(row: Sequence[str]) -> Iterator[str]:
        for i, cell in enumerate(row):
            yield cell.ljust(widths[i]) if i == 0 else cell.rjust(widths[i])

    return "\n".join("  ".join(line(row)).rstrip() for row in rows)
