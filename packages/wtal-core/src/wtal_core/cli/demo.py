"""`wtal demo`: the whole job on real recordings, from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wtal_core.cli.options import with_home


def command(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=with_home,
            help="A new folder for data and runs. Default: a temporary one.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds of each method.")] = 3,
) -> None:
    """Compare MAAN, STPN, their baselines and STAR on real wrist-sensor recordings of exercises, in a few minutes.

    Signals are real, the order of exercises is composed. Needs the extra: `pip install "wtal-core[demo]"`.

    Example: `wtal demo --out my-demo --seeds 1`
    """
    import tempfile

    from wtal_core.cli.compare import show
    from wtal_core.cli.run import elsewhere
    from wtal_core.comparison import compare
    from wtal_core.demo import write_demo
    from wtal_core.demo.comparison import rows_of
    from wtal_core.errors import RunError
    from wtal_core.lock import taking
    from wtal_core.progress import bars
    from wtal_core.tasks import pool

    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: not an empty folder; choose another --out")
    folder = out or Path(tempfile.mkdtemp(prefix="wtal-demo-"))
    with taking(folder):
        rows = rows_of(write_demo(folder))
        print(f"{folder}: 160 sessions of 10 people; 7 people train, 3 others are evaluated")
        runs = elsewhere(folder / "runs")
        with bars() as progress, pool(None, None, len(rows) * seeds) as executor:
            outcome = compare(rows, range(seeds), runs, False, executor, progress)
        show(outcome, rows, range(seeds), runs)
    print(f"Look around: wtal validate {folder / 'maan.toml'}; wtal evaluate {folder / 'runs' / 'maan' / 'seed-0'}")
