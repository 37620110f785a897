"""`wtal evaluate`: score the detections of a run."""

from __future__ import annotations

from wtal_core.cli.options import RunDirectory, Settings


def command(run: RunDirectory, settings: Settings = None) -> None:
    """Score a run's detections against the annotations; write evaluation.json and print a table.

    Example: `wtal evaluate runs/maan/seed-0 --set evaluation.evaluator.tiou_thresholds=[0.5,0.75,0.95]`
    """
    from wtal_core import run as runs
    from wtal_core.report import print_evaluations

    with runs.holding(run):
        content = runs.evaluate(runs.reopen(run, settings or [], section="evaluation"))
    print_evaluations({str(run): [content]})
