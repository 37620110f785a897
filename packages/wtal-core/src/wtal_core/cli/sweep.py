"""`wtal sweep`: which localization settings are best, without running a network again."""

from __future__ import annotations

from typing import Annotated

import typer

from wtal_core.cli.options import RunDirectory


def command(
    run: RunDirectory,
    grid: Annotated[
        list[str],
        typer.Option(metavar="KEY=[VALUE,...]", help="Values to try. Repeatable: all combinations are tried."),
    ],
    on_test_subset: Annotated[
        bool, typer.Option("--on-test-subset", help="Look at the test subset; its figures are then no longer a test.")
    ] = False,
    best: Annotated[int, typer.Option(min=1, help="How many combinations to print.")] = 10,
) -> None:
    """Try localization settings on a trained run's training subset, from stored activations; print the best.

    Each combination changes the run's present settings, those of its config.toml. The training subset needs segments.

    Example: `wtal sweep runs/maan/seed-0 --grid 'localization.proposer.threshold=[0.1,0.2,0.3]'`
    """
    import shlex

    from wtal_core import run as runs
    from wtal_core.check import sizes_of
    from wtal_core.progress import bars
    from wtal_core.report import print_evaluations
    from wtal_core.sweep import experiments_of, on_training_subset, sweep

    opened = runs.reopen(run, [], section="localization")
    dataset = opened.dataset if on_test_subset else on_training_subset(opened.dataset)
    dataset.ground_truth()  # says at once if segments are missing
    # Before a network runs for a misspelt setting.
    points = experiments_of(grid, opened.experiment, opened.registry, sizes_of(opened.dataset))
    with bars() as progress:
        predictions = runs.predict(opened, "test" if on_test_subset else "training", progress)
        outcomes = sweep(dataset, predictions, points, opened.registry, progress)
    print_evaluations({_short(outcome.settings): [outcome.content] for outcome in outcomes[:best]})
    chosen = [word for setting in outcomes[0].settings for word in ("--set", setting)]
    subset = "test" if on_test_subset else "training"
    command = shlex.join(["wtal", "localize", str(run), *chosen])
    print(f"best of {len(outcomes)} on the {subset} subset: {command}")


def _short(settings: tuple[str, ...]) -> str:
    return " ".join(setting.removeprefix("localization.") for setting in settings)
