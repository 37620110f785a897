"""The folder of a search: what it holds, so that another search is not mixed with it, and its tables.

- `plan.json`: the experiment, the grid and the folds
- `trainings/N/fold-M.json`: every point that training N serves, on fold M; its run stands in `fold-M` until then
- `tuned.toml`: the experiment with the settings chosen
- `tune.md`, `tune.json`: every point with each fold and the mean
- `.lock`: there while a process works here
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from wtal_core import config
from wtal_core.errors import RunError
from wtal_core.files import remove_leftovers, write
from wtal_core.run.directory import as_json
from wtal_core.text import read_json, read_text
from wtal_core.tuning.plan import Plan, at_point, placed
from wtal_core.tuning.search import Ranking
from wtal_core.tuning.tuned import annotated, key_of, keys_of


class Request(NamedTuple):
    """What was asked for."""

    file: Path
    experiment: config.Experiment
    settings: list[str]  # of --set
    grid: list[str]
    group: str | None


def begin(folder: Path, request: Request, plan: Plan, *, resume: bool) -> None:
    """Write the plan, or make sure that the folder holds the same.

    Raises:
        RunError: the folder holds a search and `resume` is not set, or it holds another one; or it cannot be written.
    """
    path = folder / "plan.json"
    content = {
        "experiment": config.to_table(request.experiment),
        "grid": request.grid,
        "group": request.group,
        "folds": [list(videos) for videos in plan.folds],
        "by_segments": plan.by_segments,
    }
    if path.exists():
        if not resume:
            raise RunError(f"{folder} already holds a search; continue it with --resume, or choose another --out")
        if changed := _changed(path, content):
            raise RunError(
                f"{folder} holds another search, which differs in {', '.join(changed)}; choose another --out"
            )
    remove_leftovers(folder)
    write(path, as_json(content))


def _changed(path: Path, content: dict[str, Any]) -> list[str]:
    """In what an earlier plan differs, in the words of the command line."""
    try:
        before = read_json(path, RunError)
        experiments = [msgspec.convert(one["experiment"], config.Experiment) for one in (before, content)]
    except (OSError, RunError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise RunError(f"{path}: not the plan of a search; choose another --out") from error
    if changed := config.differences(*experiments):
        return changed
    words = {"grid": "--grid", "group": "--group", "by_segments": "the segments of the training videos"}
    words["folds"] = "--folds" if len(before.get("folds", [])) != len(content["folds"]) else "the training videos"
    return [word for key, word in words.items() if before.get(key) != content[key]]


def measure(plan: Plan) -> str:
    """By what the points are compared."""
    return "mAP" if plan.by_segments else "classification mAP"


def verdict(plan: Plan, ranking: Ranking) -> str:
    """The best point in a clause."""
    return (
        f"best of {len(plan.points)} point{'s' * (len(plan.points) != 1)}, {len(plan.folds)} folds, "
        f"{measure(plan)} {100 * ranking.rows[0].mean:.1f}"
    )


def notes(plan: Plan) -> list[str]:
    """What somebody must know who reads the result."""
    if plan.by_segments:
        return ["settings are chosen with the segments of the training videos, which is more than labels"]
    kept = f"; kept as in the experiment: {', '.join(plan.kept)}" if plan.kept else ""
    return [
        "training videos have labels without segments, so settings are chosen by classification mAP, by which "
        f"thresholds and proposals cannot be chosen{kept}"
    ]


def write_results(folder: Path, request: Request, plan: Plan, ranking: Ranking) -> None:
    """Write `tuned.toml`, `tune.json` and `tune.md`.

    Raises:
        RunError: a file cannot be written.
    """
    content = {
        "experiment": request.file.name,
        "measure": measure(plan),
        "tiou_thresholds": ranking.tiou_thresholds if plan.by_segments else None,
        "notes": notes(plan),
        "folds": [list(videos) for videos in plan.folds],
        "points": [
            {"settings": list(row.settings), "folds": list(row.folds), "mean": row.mean} for row in ranking.rows
        ],
    }
    write(folder / "tune.json", as_json(content))
    write(folder / "tune.md", _page(request, plan, ranking))
    write(folder / "tuned.toml", _tuned(request, plan, ranking))


def _tuned(request: Request, plan: Plan, ranking: Ranking) -> str:
    best = ranking.rows[0].settings
    file = request.file.name
    chosen = [key_of(placed(setting, request.experiment)) for setting in best]
    sources = {
        f"tuned: {verdict(plan, ranking)}": chosen,
        "from --set": [key_of(setting) for setting in request.settings],
        f"from {file}": keys_of(read_text(request.file)),
    }
    header = [
        f"{file} with settings chosen by cross-validation inside its training subset.",
        *(f"Note: {note}." for note in notes(plan)),
    ]
    return annotated(at_point(request.experiment, best), sources, header)


def _page(request: Request, plan: Plan, ranking: Ranking) -> str:
    thresholds = ", ".join(f"{one:g}" for one in ranking.tiou_thresholds)
    over = f", the mean over tIoU {thresholds}" if plan.by_segments else ""
    numbers = range(1, len(plan.folds) + 1)
    lines = [
        f"# {request.file.name}, tuned",
        "",
        f"{measure(plan)} in percent{over}; on each fold of the training videos after training on the others.",
        f"Videos of the folds: {', '.join(str(len(videos)) for videos in plan.folds)}.",
        *(f"\nNote: {note}." for note in notes(plan)),
        "",
        f"| settings | mean | {' | '.join(f'fold {number}' for number in numbers)} |",
        f"|---|---|{'---|' * len(plan.folds)}",
    ]
    for row in ranking.rows:
        written = "<br>".join(f"`{setting}`".replace("|", "\\|") for setting in row.settings)
        lines.append(f"| {written} | {' | '.join(f'{100 * value:.1f}' for value in (row.mean, *row.folds))} |")
    return "\n".join(lines) + "\n"
