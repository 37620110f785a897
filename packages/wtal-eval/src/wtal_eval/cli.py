"""The command `wtal-eval`."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no linear algebra here, and numpy loads sooner without threads

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np

from .api import CLASSIFICATION
from .classification import Classification
from .dataset import GroundTruth, with_classes, without_videos
from .evaluation import Evaluation, threshold_range
from .exclusions import EXCLUSIONS, excluded_videos
from .intervals import FloatArray, InputError
from .protocols import PROTOCOLS, Matching, match
from .readers import read_detections, read_ground_truth
from .report import as_csv, as_object, as_text, diagnosis_as_text

DEFAULT_TIOU = "0.1:0.1:0.9,0.5:0.05:0.95"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 2 if the input cannot be evaluated.
    """
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (InputError, OSError) as error:
        print(f"wtal-eval: error: {error}", file=sys.stderr)
        return 2
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
    parser.add_argument("--json", metavar="FILE", help="write all results there")
    parser.add_argument("--csv", metavar="FILE", help="write the average precision of each class there")
    return parser


def _run(options: argparse.Namespace) -> None:
    thresholds = _thresholds(options.tiou)
    needs_matching = [name for name in ("compare", "diagnose", "plot") if getattr(options, name) is not None]
    if options.protocol == CLASSIFICATION and needs_matching:
        raise InputError(f"--{needs_matching[0]} needs a detection protocol, not {CLASSIFICATION}")
    if options.plot is not None:
        _demand_matplotlib()
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
    if comparison is not None:
        sys.stdout.write("".join(f"{name}: {path}\n" for name, path in zip("AB", paths, strict=True)))
    verdicts = [(name, verdict) for name, (verdict, _) in zip("AB", scored, strict=False)]
    sys.stdout.write(as_text(verdicts, comparison, options.per_class))
    if diagnosis is not None:
        sys.stdout.write("\n" + diagnosis_as_text(diagnosis))
    contents = {}
    if options.json is not None:
        content = msgspec.json.encode(as_object(evaluation, comparison, diagnosis))
        contents[Path(options.json)] = msgspec.json.format(content, indent=2) + b"\n"
    if options.csv is not None:
        contents[Path(options.csv)] = as_csv(evaluation).encode()
    if options.plot is not None and matching and diagnosis:
        from .plots import plots

        folder = Path(options.plot)
        contents |= {folder / name: content for name, content in plots(matching, diagnosis).items()}
        folder.mkdir(parents=True, exist_ok=True)
    _write(contents)


def _scored(
    path: str, ground_truth: GroundTruth, options: argparse.Namespace, thresholds: FloatArray
) -> tuple[Evaluation, Matching | None]:
    detections = read_detections(path)
    if options.exclude_videos is not None:
        ground_truth, detections = without_videos(ground_truth, detections, excluded_videos(options.exclude_videos))
    detections = with_classes(detections, ground_truth)
    notes = (*ground_truth.notes, *detections.notes)
    content = ground_truth.videos, detections.videos, ground_truth.classes
    try:
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


def _write(contents: Mapping[Path, bytes]) -> None:
    """Write all files, each whole; or none, if there is no room for one of them."""
    for path in contents:
        if path.is_dir():
            raise InputError(f"{path} is a folder: name a file")
    partials = {path: path.with_name(path.name + ".partial") for path in contents}
    try:
        for path, content in contents.items():
            partials[path].write_bytes(content)
        for path, partial in partials.items():
            partial.replace(path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
