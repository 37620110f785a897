"""`wtal train`: train the models of a run, and stop there."""

from __future__ import annotations

from wtal_core.cli.options import ExperimentFile, Out, Resume, Seeds, Settings
from wtal_core.cli.run import planned, resumable


def command(
    experiment: ExperimentFile, settings: Settings = None, seeds: Seeds = None, out: Out = None, resume: Resume = False
) -> None:
    """Train every stream's model from video-level labels.

    Example: `wtal train maan.toml --set training.snippets=40 --out runs/long`
    """
    from wtal_core import run as runs
    from wtal_core.progress import bars

    with planned(experiment, settings, seeds, out, resume) as plan:
        for path, seeded in plan:
            run = runs.create(path, seeded, resume=resume)
            with bars() as progress, resumable():
                runs.train(run, progress)
            print(f"{path}: trained {', '.join(run.experiment.data.streams)}; next: wtal localize {path}")
