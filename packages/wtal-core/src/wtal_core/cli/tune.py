"""`wtal tune`: which settings are best, by cross-validation inside the training subset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wtal_core.cli.options import Annotations, Dask, Experiment, Features, Resume, Settings, Workers, with_home
from wtal_core.source import load, settings_of


def command(
    experiment: Experiment,
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=[VALUE,...]",
            help="Values to try, of any key of the experiment. Repeatable: all combinations are tried.",
        ),
    ],
    folds: Annotated[int, typer.Option(min=2, help="Parts of the training videos, each held out once.")] = 3,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds in a video's name the person or source whose videos are never split: its first group, or all "
            "that it matches. Default: every video by itself.",
            show_default=False,
        ),
    ] = None,
    annotations: Annotations = None,
    features: Features = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=with_home,
            help="Where the result goes. Default: runs/NAME-tuned, of the file or preset.",
            show_default=False,
        ),
    ] = None,
    resume: Resume = False,
    workers: Workers = None,
    dask: Dask = None,
) -> None:
    """Choose training and localization settings by cross-validation inside the training subset; write tuned.toml.

    The test subset is not looked at. A training serves all points of the grid that differ only in how the last stage's
    stored predictions become detections. The best mean mAP wins; of training videos that have only labels, the best
    mean classification mAP, by which no localization setting is chosen.

    Example: `wtal tune maan.toml --grid 'training.weight_decay=[0.0,0.01]' --group 'person-[0-9]+'`
    """
    from wtal_core.cli.run import resumable, say_supervision
    from wtal_core.lock import taking
    from wtal_core.progress import bars
    from wtal_core.report import print_points
    from wtal_core.tasks import perform, pool
    from wtal_core.tuning import folder as results
    from wtal_core.tuning.plan import plan_of
    from wtal_core.tuning.search import ranking_of, tasks_of

    where = out or Path("runs") / f"{experiment.name}-tuned"
    given = settings_of(settings, annotations, features)
    base = load(experiment, given)
    request = results.Request(experiment.path, base, given, grid, group)
    plan = plan_of(base, grid, folds, group)
    with taking(where):
        results.begin(where, request, plan, resume=resume)
        say_supervision(base, plan.opened)
        for note in results.notes(plan):
            print(f"note: {note}")
        tasks = tasks_of(where, plan)
        print(
            f"{len(plan.points)} points, {len(plan.trainings)} trainings, {folds} folds: "
            f"{len(tasks)} of {len(plan.trainings) * folds} runs to do",
            flush=True,
        )
        if tasks:
            with bars() as progress, pool(workers, dask, len(tasks)) as executor, resumable():
                perform(tasks, executor, progress.stage("tune", len(tasks)))
        ranking = ranking_of(where, plan)
        results.write_results(where, request, plan, ranking)
    print_points(results.measure(plan), [(row.settings, [row.mean, *row.folds]) for row in ranking.rows[:10]])
    print(f"{results.verdict(plan, ranking)}; all points: {where / 'tune.md'}; next: wtal run {where / 'tuned.toml'}")
