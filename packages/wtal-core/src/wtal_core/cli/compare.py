"""`wtal compare`: several experiments on the same test videos, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wtal_core.cli.options import Annotations, Dask, Features, Settings, Workers, with_home
from wtal_core.cli.run import elsewhere, numbers_of, resumable, say_supervision, say_warnings
from wtal_core.source import Source, settings_of, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wtal_core.comparison import Comparison, Row


def command(
    experiments: Annotated[
        list[Source],
        typer.Argument(
            metavar="EXPERIMENT...",
            parser=source_of,
            help="TOML files, or names of presets; the others are compared with the first.",
            show_default=False,
        ),
    ],
    annotations: Annotations = None,
    features: Features = None,
    settings: Settings = None,
    seeds: Annotated[str, typer.Option(help="Seeds of each experiment.")] = "0,1,2",
    bounds: Annotated[
        bool,
        typer.Option(
            "--bounds",
            help="Add chance, and full supervision: what the first experiment's data, localization and evaluation give "
            "with random predictions, and with a model that the annotated segments of the training videos teach, "
            "snippet by snippet: its own if that gives snippet logits, else a snippet-classifier.",
        ),
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="PATH", parser=with_home, help="Where runs go, to NAME/seed-N, and the comparison.")
    ] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is there; a finished run is only scored again.")
    ] = False,
    workers: Workers = None,
    dask: Dask = None,
) -> None:
    """Run several experiments with several seeds, and print one table: mean and spread, the best in bold.

    Below it, the difference of each experiment from the first, with a 95 % interval by a paired bootstrap over the test
    videos. Writes `comparison.md` and, with all numbers, `comparison.json`.

    Example: `wtal compare maan.toml stpn.toml --seeds 0,1,2 --bounds`
    """
    from wtal_core import comparison
    from wtal_core.lock import taking
    from wtal_core.progress import bars
    from wtal_core.tasks import pool

    numbers = numbers_of(seeds)
    rows = comparison.rows_of(experiments, settings_of(settings, annotations, features), bounds)
    folder = elsewhere(out)
    with taking(folder):
        comparison.check_folders(rows, numbers, folder, resume)
        for row in rows:
            if row.ranked:
                say_supervision(row.experiment, row.found, row.name)
        with bars() as progress, resumable(), pool(workers, dask, len(rows) * len(numbers)) as executor:
            outcome = comparison.compare(rows, numbers, folder, resume, executor, progress)
        show(outcome, rows, numbers, folder)
    print(f"{out / 'comparison.md'}: this table; {out / 'comparison.json'}: all numbers")


def show(outcome: Comparison, rows: Sequence[Row], seeds: Sequence[int], folder: Path) -> None:
    """Print a comparison, and write it to the folder as Markdown and as JSON."""
    from wtal_core import published
    from wtal_core.comparison import as_object, folder_of, sentences
    from wtal_core.files import write
    from wtal_core.report import markdown, notes_of, print_evaluations
    from wtal_core.run import read_warnings
    from wtal_core.run.directory import as_json

    beside = [line for row in rows if row.ranked for line in published.lines(row.experiment, row.found.dataset)]
    said = [*dict.fromkeys(beside), *sentences(outcome, rows)]
    table = markdown(outcome.contents, outcome.ranked)
    runs = [(row.name, seed) for row in rows for seed in seeds]
    warned = [
        f"warning: {name}, seed {seed}: {one}"
        for name, seed in runs
        for one in read_warnings(folder_of(folder, name, seed))
    ]
    lines = [*(f"note: {note}" for note in notes_of(outcome.contents)), *said, *warned]
    write(folder / "comparison.md", table + "".join(f"\n{line}\n" for line in lines))
    write(folder / "comparison.json", as_json(as_object(outcome, seeds)))
    print_evaluations(outcome.contents, outcome.ranked)
    for line in said:
        print(line)
    for run in runs:
        say_warnings(folder_of(folder, *run))
