"""`wtal localize`: detections from the trained models of a run."""

from __future__ import annotations

from wtal_core.cli.options import RunDirectory, Settings
from wtal_core.cli.run import say_warnings


def command(run: RunDirectory, settings: Settings = None) -> None:
    """Localize the test subset with a run's trained models; write detections.json and classification.json.

    Activations are stored, so that doing it again with other thresholds runs no network. The settings stay in the run's
    config.toml, and an evaluation of older detections goes.

    Example: `wtal localize runs/maan/seed-0 --set localization.proposer.threshold=0.3`
    """
    from wtal_core import run as runs
    from wtal_core.progress import bars

    with runs.holding(run), bars() as progress:
        runs.localize(runs.reopen(run, settings or [], section="localization"), progress)
    print(f"{run / 'detections.json'}: written; next: wtal evaluate {run}")
    say_warnings(run)
