"""`wtal train`: train the models of a run, and stop there."""

from __future__ import annotations

from wtal_core.cli.options import Annotations, Experiment, Features, Out, Resume, Seeds, Settings
from wtal_core.cli.run import planned, resumable, say_supervision, say_warnings
from wtal_core.source import settings_of


def command(
    experiment: Experiment,
    annotations: Annotations = None,
    features: Features = None,
    settings: Settings = None,
    seeds: Seeds = None,
    out: Out = None,
    resume: Resume = False,
) -> None:
    """Train every stream's model from video-level labels.

    Example: `wtal train maan.toml --set training.clip.snippets=40 --out runs/long`
    """
    from wtal_core import run as runs
    from wtal_core.check import opened
    from wtal_core.progress import bars

    with planned(experiment, settings_of(settings, annotations, features), seeds, out, resume) as plan:
        found = opened(plan[0][1])
        say_supervision(plan[0][1], found)
        for path, seeded in plan:
            run = runs.create(path, seeded, found, resume=resume)
            with bars() as progress, resumable():
                runs.train(run, progress)
            print(f"{path}: trained {', '.join(run.dataset.streams)}; next: wtal localize {path}")
            say_warnings(path)
