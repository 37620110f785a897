"""The command `wtal-eval`."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no linear algebra here, and numpy loads sooner without threads

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec

import msgspec
import numpy as np

from . import console, files
from .api import CLASSIFICATION
from .classification import Classification
from .dataset import GroundTruth, with_classes, without_videos
from .evaluation import Evaluation, threshold_range
from .exclusions import EXCLUSIONS, excluded_videos
from .intervals import FloatArray, InputError
from .protocols import PROTOCOLS, Matching, match
from .readers import read_detections, read_ground_truth
from .report import as_csv, as_object, as_text, diagnosis_as_text
from .text import expanded

DEFAULT_TIOU = "0.1:0.1:0.9,0.5:0.05:0.95"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 2 if the input cannot be evaluated.
    """
    console.prepare()
    try:
        try:
            options = _parser().parse_args(arguments)
        finally:
            console.show("", sys.stdout)  # what --help printed
        _run(options)
    except BrokenPipeError:
        return console.CLOSED_PIPE
    except (InputError, OSError) as error:
        with suppress(OSError):
            console.show(f"wtal-eval: error: {error}\n", sys.stderr)
        return 2
    except KeyboardInterrupt:
        return console.INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wtal-eval",
        description="Score temporal action detections against ground truth.",
        epilog="Example: wtal-eval detections.json ground_truth.json --subset test --exclude-videos thumos14-210",
    )
    parser.add_argument("detections", help="ActivityNet .json, .csv or THUMOS .txt")
    parser.add_argument("ground_truth", help="ActivityNet .json, .csv or a folder of THUMOS text files")
    parser.add_argument("--protocol", choices=(*PROTOCOLS, CLASSIFICATION), default="activitynet")
    parser.add_argument(
        "--tiou", default=DEFAULT_TIOU, help="thresholds, as 0.5 or first:step:last, joined by commas (%(default)s)"
    )
    parser.add_argument("--subset", help="the subset to score; needed if the ground truth has several")
    parser.add_argument(
        "--exclude-videos",
        metavar="FILE|NAME",
        help=f"leave out the videos that a file lists, or a named list: {', '.join(EXCLUSIONS)}",
    )
    parser.add_argument("--per-class", action="store_true", help="print the average precision of each class")
    parser.add_argument("--compare", metavar="OTHER", help="other detections to score beside, with a paired bootstrap")
    parser.add_argument("--diagnose", type=float, metavar="TIOU", help="sort errors into kinds at this threshold")
    parser.add_argument(
        "--plot", metavar="FOLDER", help="write figures there (extra `plot`); at --diagnose or tIoU 0.5"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write all results there; - is standard output, and the tables go to standard error then",
    )
    parser.add_argument(
        "--csv", metavar="FILE", help="write the average precision of each class there; - as for --json"
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    thresholds = _thresholds(options.tiou)
    needs_matching = [name for name in ("compare", "diagnose", "plot") if getattr(options, name) is not None]
    if options.protocol == CLASSIFICATION and needs_matching:
        raise InputError(f"--{needs_matching[0]} needs a detection protocol, not {CLASSIFICATION}")
    if options.plot is not None:
        _demand_matplotlib()
    outputs = {kind: files.target(path) for kind in ("json", "csv") if (path := getattr(options, kind)) is not None}
    inputs = [options.detections, options.ground_truth, options.compare, options.exclude_videos]
    inputs = [path for path in inputs if path is not None]
    files.refuse_clashes(outputs.values(), inputs)
    ground_truth = read_ground_truth(options.ground_truth, options.subset)
    diagnosed = options.diagnose
    if options.plot is not None and diagnosed is None:
        diagnosed = 0.5
        if not np.isclose(thresholds, diagnosed, rtol=0, atol=1e-9).any():
            raise InputError("--plot draws at tIoU 0.5, which --tiou leaves out: name another with --diagnose")
    paths = [options.detections] if options.compare is None else [options.detections, options.compare]
    scored = [_scored(path, ground_truth, options, thresholds) for path in paths]
    evaluation, matching = scored[0]
    other = scored[-1][1]
    comparison, diagnosis = None, None
    if options.compare is not None and matching and other:
        from .comparison import compare

        comparison = compare(matching, other)
    if diagnosed is not None and matching:
        from .diagnosis import diagnose

        diagnosis = diagnose(matching, diagnosed)
    contents = {}
    if options.json is not None:
        content = msgspec.json.encode(as_object(evaluation, comparison, diagnosis))
        contents[outputs["json"]] = msgspec.json.format(content, indent=2) + b"\n"
    if options.csv is not None:
        contents[outputs["csv"]] = as_csv(evaluation).encode()
    if options.plot is not None and matching and diagnosis:
        from .plots import plots

        folder = expanded(options.plot)
        drawn = plots(matching, diagnosis)
        folder.mkdir(parents=True, exist_ok=True)
        contents |= {files.target(str(folder / name)): content for name, content in drawn.items()}
    files.refuse_clashes(contents, inputs)
    files.write(contents)
    text = ""
    if comparison is not None:
        text += "".join(f"{name}: {path}\n" for name, path in zip("AB", paths, strict=True))
    text += as_text(
        [(name, verdict) for name, (verdict, _) in zip("AB", scored, strict=False)], comparison, options.per_class
    )
    if diagnosis is not None:
        text += "\n" + diagnosis_as_text(diagnosis)
    aside = any(each.is_standard_output for each in contents)  # what a program reads there is not mixed with tables
    console.show(text, sys.stderr if aside else sys.stdout)


def _scored(
    path: str, ground_truth: GroundTruth, options: argparse.Namespace, thresholds: FloatArray
) -> tuple[Evaluation, Matching | None]:
    detections = read_detections(path)
    excluded = None if options.exclude_videos is None else excluded_videos(options.exclude_videos)
    try:
        if excluded is not None:
            ground_truth, detections = without_videos(ground_truth, detections, excluded)
        detections = with_classes(detections, ground_truth)
        notes = (*ground_truth.notes, *detections.notes)
        content = ground_truth.videos, detections.videos, ground_truth.classes
        if options.protocol == CLASSIFICATION:
            evaluation, matching = Classification()(*content), None
        else:
            matching = match(*content, PROTOCOLS[options.protocol], thresholds)
            evaluation = matching.evaluate()
    except InputError as error:
        raise InputError(f"{path} against {options.ground_truth}: {error}") from None
    return replace(evaluation, notes=(*notes, *evaluation.notes)), matching


def _thresholds(text: str) -> FloatArray:
    parts = []
    for part in text.split(","):
        try:
            numbers = [float(number) for number in part.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            parts.append(np.array(numbers))
        elif len(numbers) == 3:
            try:
                parts.append(threshold_range(numbers[0], numbers[2], numbers[1]))
            except InputError as error:
                raise InputError(f"--tiou {error}") from None
        else:
            raise InputError(f"--tiou {part!r} is neither a number nor first:step:last, such as 0.1:0.1:0.9")
    return np.concatenate(parts)


def _demand_matplotlib() -> None:
    if find_spec("matplotlib") is None:  # asked before the work, not after it
        raise InputError("--plot needs matplotlib: pip install 'wtal-eval[plot]'")


if __name__ == "__main__":
    sys.exit(main())
