"""Slow, literal twins: one loop per sentence of each protocol, nothing vectorised, nothing shared with the package.

Ground truth is {video: [(label, start, end), ...]}, detections are {video: [(label, start, end, score), ...]}; labels
are class indices, and -1 in ground truth is an ambiguous interval.
"""

import math
from fractions import Fraction

NAN = float("nan")


def tiou(a_start, a_end, b_start, b_end):
    intersection = max(min(a_end, b_end) - max(a_start, b_start), 0.0)
    union = (b_end - b_start) + (a_end - a_start) - intersection
    return intersection / union if union > 0 else NAN


def tiou_of_thumos(a_start, a_end, b_start, b_end):
    intersection = min(a_end, b_end) - max(a_start, b_start)
    return intersection / (max(a_end, b_end) - min(a_start, b_start)) if intersection > 0 else 0.0


def ranked(detections, label):
    """(video, start, end, score) of a class: by falling score, then by video, start and end."""
    rows = [(v, s, e, score) for v, found in detections.items() for c, s, e, score in found if c == label]
    return sorted(rows, key=lambda row: (-row[3], row[0], row[1], row[2]))


def activitynet_flags(ground_truth, detections, label, threshold):
    """True or False for each detection of a class, in order."""
    taken = set()
    flags = []
    for video, start, end, _ in ranked(detections, label):
        candidates = []
        for s, e in sorted((s, e) for c, s, e in ground_truth.get(video, []) if c == label):
            candidates.append([tiou(start, end, s, e), min(abs(start - s), abs(end - e)), s, e, len(candidates)])
        candidates = [c for c in candidates if not math.isnan(c[0])]
        candidates.sort(key=lambda c: (-c[0], c[1], c[2], c[3]))
        hit = False
        for overlap, _, _, _, which in candidates:
            if overlap < threshold:
                break
            if (video, which) in taken:
                continue
            taken.add((video, which))
            hit = True
            break
        flags.append(hit)
    return flags


def thumos_flags(ground_truth, detections, label, threshold):
    """True or False for each detection of a class that is not dropped, in order."""
    rows = ranked(detections, label)
    flags = [False] * len(rows)
    for video, annotations in ground_truth.items():
        for c, s, e in annotations:
            if c != label:
                continue
            best, best_row = -1.0, None
            for i, (v, start, end, _) in enumerate(rows):
                if v == video and not flags[i]:
                    overlap = tiou_of_thumos(start, end, s, e)
                    if overlap > best:
                        best, best_row = overlap, i
            if best_row is not None and best > threshold:
                flags[best_row] = True
    kept = []
    for flag, (video, start, end, _) in zip(flags, rows, strict=True):
        ambiguous = [(s, e) for c, s, e in ground_truth.get(video, []) if c == -1]
        if flag or not any(min(end, e) - max(start, s) > 0 for s, e in ambiguous):
            kept.append(flag)
    return kept


def interpolated(flags, instances):
    precision, recall, hits = [0.0], [0.0], 0
    for rank, flag in enumerate(flags, 1):
        hits += flag
        precision.append(hits / rank)
        recall.append(hits / instances)
    precision.append(0.0)
    recall.append(1.0)
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def at_true_positives(flags, instances):
    total, hits = 0.0, 0
    for rank, flag in enumerate(flags, 1):
        hits += flag
        if flag:
            total += hits / rank
    return total / instances


def eleven_point(flags, instances):
    total = 0.0
    for tenth in range(11):
        best, hits = 0.0, 0
        for rank, flag in enumerate(flags, 1):
            hits += flag
            if Fraction(hits, instances) >= Fraction(tenth, 10):
                best = max(best, hits / rank)
        total += best / 11
    return total


PROTOCOLS = {
    "activitynet": (activitynet_flags, interpolated),
    "thumos14": (thumos_flags, at_true_positives),
    "thumos14-11point": (thumos_flags, eleven_point),
}


def average_precision(protocol, ground_truth, detections, classes, thresholds):
    """[[AP of each class] of each threshold], NaN for a class without ground truth."""
    flags_of, area = PROTOCOLS[protocol]
    table = []
    for threshold in thresholds:
        row = []
        for label in range(classes):
            instances = sum(c == label for found in ground_truth.values() for c, _, _ in found)
            row.append(area(flags_of(ground_truth, detections, label, threshold), instances) if instances else NAN)
        table.append(row)
    return table


def classification(ground_truth, detections, classes, class_scores=None):
    """[AP of each class]: thresholds from the highest score down to none, precision summed over the steps of recall.

    A video's score is that of its class scores if there are some, else of its surest detection.
    """
    row = []
    for label in range(classes):
        scores = {
            v: max((d[3] for d in detections.get(v, []) if d[0] == label), default=-math.inf)
            if class_scores is None
            else class_scores[v][label]
            for v in ground_truth
        }
        positive = {v for v, found in ground_truth.items() if any(c == label for c, _, _ in found)}
        total, recall_before = 0.0, 0.0
        if set(scores.values()) == {-math.inf}:
            row.append(0.0 if positive else NAN)
            continue
        for threshold in sorted(set(scores.values()), reverse=True):
            admitted = {v for v, score in scores.items() if score >= threshold}
            if positive:
                recall = len(admitted & positive) / len(positive)
                total += (recall - recall_before) * len(admitted & positive) / len(admitted)
                recall_before = recall
        row.append(total if positive else NAN)
    return row


def kinds(ground_truth, detections, label, threshold):
    """The kind of error of each detection of a class, in order, under the ActivityNet protocol."""
    out = []
    flags = activitynet_flags(ground_truth, detections, label, threshold)
    for hit, (video, start, end, _) in zip(flags, ranked(detections, label), strict=True):
        own, other = [0.0], [0.0]
        for c, s, e in ground_truth.get(video, []):
            overlap = tiou(start, end, s, e)
            if c >= 0 and not math.isnan(overlap):
                (own if c == label else other).append(overlap)
        if hit:
            out.append("true positive")
        elif max(own) >= threshold:
            out.append("double detection")
        elif max(other) >= threshold:
            out.append("wrong label")
        elif max(own) >= 0.1:
            out.append("localization error")
        elif max(other) >= 0.1:
            out.append("confusion")
        else:
            out.append("background")
    return out
