"""Tables with a header: `video,label,start,end` and, for detections, `score`; for ground truth, perhaps `subset`.

Columns may come in any order, and others are ignored. A ground-truth row without label names a video without instances.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..dataset import DetectionSet, GroundTruth, choose_subset, ground_truth_by_name, subset_notes
from ..intervals import Detections, InputError


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Read one subset of a table; see `wtal_eval.read_ground_truth`."""
    subsets: dict[str, str] = {}
    videos: dict[str, tuple[list[str], list[float], list[float]]] = {}
    for where, row in _rows(path, ("video", "label", "start", "end")):
        video = row["video"]
        if subsets.setdefault(video, row.get("subset", "")) != row.get("subset", ""):
            raise InputError(f"{where}: video {video!r} is in subset {row['subset']!r} and in {subsets[video]!r}")
        labels, starts, ends = videos.setdefault(video, ([], [], []))
        if row["label"]:
            labels.append(row["label"])
            starts.append(_number(row, "start", where))
            ends.append(_number(row, "end", where))
    sizes = Counter(subsets.values())
    chosen = choose_subset(sizes, subset, str(path))
    rows_of_subset = {video: rows for video, rows in videos.items() if subsets[video] == chosen}
    return ground_truth_by_name(rows_of_subset, subset_notes(sizes, chosen))


def read_detections(path: Path) -> DetectionSet:
    """Read a table of detections; see `wtal_eval.read_detections`."""
    labels: dict[str, int] = {}
    videos: dict[str, list[tuple[int, float, float, float]]] = {}
    for where, row in _rows(path, ("video", "label", "start", "end", "score")):
        label = labels.setdefault(row["label"], len(labels))
        numbers = (_number(row, "start", where), _number(row, "end", where), _number(row, "score", where))
        videos.setdefault(row["video"], []).append((label, *numbers))
    columns = {}
    for video, rows in videos.items():
        index, starts, ends, scores = zip(*rows, strict=True)
        columns[video] = Detections(np.array(index, np.int64), np.array(starts), np.array(ends), np.array(scores))
    return DetectionSet(columns, tuple(labels))


def _rows(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.reader(lines)
        try:
            header = next(table, [])
            missing = [column for column in wanted if column not in header]
            if missing:
                raise InputError(f"{path}: no column {', '.join(missing)} in the header {','.join(header)!r}")
            for row in table:
                where = f"{path}, line {table.line_num}"
                if not row:
                    continue
                if len(row) != len(header):
                    raise InputError(f"{where}: {len(row)} fields under a header of {len(header)}")
                yield where, dict(zip(header, row, strict=True))
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not a text file: {error}") from None
        except csv.Error as error:
            raise InputError(f"{path}, line {table.line_num}: {error}") from None


def _number(row: dict[str, str], field: str, where: str) -> float:
    try:
        return float(row[field])
    except ValueError:
        raise InputError(f"{where}: {field} {row[field]!r} is not a number") from None
