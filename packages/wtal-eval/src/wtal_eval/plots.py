"""Figures of a matching, as PNG files; needs matplotlib (`pip install 'wtal-eval[plot]'`)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from .diagnosis import KINDS, Bucket, Diagnosis
from .intervals import FloatArray
from .protocols import Matching

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED_CURVES = 20
"""More curves than this get no legend."""


def precision_recall(matching: Matching, k: int) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Recall and precision at the true positives (M,) of each class at threshold k, by class name."""
    instances = matching.instances_per_class
    curves = {}
    for c, ranks in matching.true_positive_ranks(k).items():
        found = np.arange(1, ranks.size + 1)
        curves[matching.classes[c]] = (found / instances[c], found / ranks)
    return curves


def plots(matching: Matching, diagnosis: Diagnosis) -> dict[str, bytes]:
    """Draw `precision_recall.png`, `per_class.png` and `diagnosis.png`, all at the diagnosed tIoU.

    Returns:
        The content of each file, by its name.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    k = int(np.argmin(np.abs(matching.tiou_thresholds - diagnosis.tiou)))
    figures = {
        "precision_recall.png": _precision_recall_figure(matching, k),
        "per_class.png": _per_class_figure(matching, k),
        "diagnosis.png": _diagnosis_figure(diagnosis),
    }
    drawn = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        drawn[name] = buffer.getvalue()
    return drawn


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _precision_recall_figure(matching: Matching, k: int) -> Figure:
    from matplotlib import colormaps

    figure = _figure(9, 6)
    axes = figure.add_subplot()
    curves = precision_recall(matching, k)
    axes.set_prop_cycle(color=colormaps["tab20"](range(20)))
    for name, (recall, precision) in curves.items():
        axes.plot(recall, precision, label=_plain(name), linewidth=1, marker="o" if recall.size == 1 else "")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{matching.protocol.name}, tIoU {matching.tiou_thresholds[k]:g}")
    if 0 < len(curves) <= NAMED_CURVES:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return figure


def _plain(name: str) -> str:
    """A name that matplotlib takes for text: no formula between dollars, no leading _, which would hide it."""
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def _per_class_figure(matching: Matching, k: int) -> Figure:
    evaluation = matching.evaluate()
    scores = {c: 100 * ap[k] for c, ap in evaluation.per_class.items() if not np.isnan(ap[k])}
    names = sorted(scores, key=lambda name: (scores[name], name))
    figure = _figure(8, 1.5 + 0.22 * len(names))
    axes = figure.add_subplot()
    axes.barh([_plain(name) for name in names], [scores[name] for name in names])
    axes.axvline(100 * evaluation.mean_ap[k], color="black", linestyle="--", linewidth=1, label="mean")
    axes.set(xlabel="average precision (%)", xlim=(0, 100), ylim=(-0.6, len(names) - 0.4))
    axes.set_title(f"{matching.protocol.name}, tIoU {matching.tiou_thresholds[k]:g}")
    axes.legend(loc="lower right")
    return figure


def _diagnosis_figure(diagnosis: Diagnosis) -> Figure:
    figure = _figure(12, 8)
    profile, gain, length, count = figure.subplots(2, 2).flat
    below = np.zeros(len(diagnosis.top_counts))
    totals = np.maximum([sum(part.values()) for part in diagnosis.top_counts], 1)
    places = [f"{i + 1}G" for i in range(len(diagnosis.top_counts))]
    for kind in KINDS:
        share = 100 * np.array([part[kind] for part in diagnosis.top_counts]) / totals
        profile.bar(places, share, bottom=below, label=kind)
        below += share
    profile.set(xlabel="slice of the ranking (G: instances of the class)", ylabel="detections (%)", ylim=(0, 100))
    profile.set_title(f"kinds of detections at tIoU {diagnosis.tiou:g}")
    profile.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    gain.barh(list(diagnosis.gains), [100 * value for value in diagnosis.gains.values()])
    gain.set(xlabel="mAP gained if removed (points)", title=f"mAP {100 * diagnosis.mean_ap:.2f}")
    _sensitivity(length, diagnosis.by_length, "length of the instance")
    _sensitivity(count, diagnosis.by_count, "instances of the class in the video")
    return figure


def _sensitivity(axes: Axes, buckets: tuple[Bucket, ...], title: str) -> None:
    axes.bar([bucket.name.replace(" ", "\n", 1) for bucket in buckets], [100 * bucket.mean_ap for bucket in buckets])
    axes.set(ylabel="normalised mAP (%)", title=title)
    axes.tick_params(axis="x", labelsize="small")
