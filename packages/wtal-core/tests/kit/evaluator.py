"""Evaluators, sound and broken."""

from types import SimpleNamespace

import numpy as np

KIND = "evaluator"


class Recall:
    """The share of instances that a detection equals."""

    def __call__(self, ground_truth, detections, classes, class_scores):
        hits, counts = np.zeros(len(classes)), np.zeros(len(classes))
        for name, truth in ground_truth.items():
            rows = list(zip(*(part.tolist() for part in detections[name][:3]), strict=True))
            for row in zip(*(part.tolist() for part in truth), strict=True):
                if row[0] >= 0:
                    counts[row[0]] += 1
                    hits[row[0]] += row in rows
        return verdict(np.divide(hits, counts, out=np.full(len(classes), np.nan), where=counts > 0))


class Ranking:
    """Whether a video that shows a class has the higher score for it."""

    def __call__(self, ground_truth, detections, classes, class_scores):
        precision = np.full(len(classes), np.nan)
        for c in range(len(classes)):
            shown = [scores[c] for name, scores in class_scores.items() if c in ground_truth[name].label]
            others = [scores[c] for name, scores in class_scores.items() if c not in ground_truth[name].label]
            if shown:
                precision[c] = float(min(shown) > max(others, default=0.0))
        return verdict(precision)


def verdict(precision):
    mean = np.array([np.nanmean(precision)])
    return SimpleNamespace(tiou_thresholds=np.array([0.5]), mean_ap=mean, average_precision=precision[None], notes=())


SOUND = [Recall, Ranking]


def evaluating(call, base=Recall):
    return type("Broken", (base,), {"__call__": call})


def changed(**parts):
    def call(self, *given):
        answer = Recall()(*given)
        vars(answer).update({name: part(answer) for name, part in parts.items()})
        return answer

    return evaluating(call)


def by_first_video(self, ground_truth, *given):
    answer = Recall()(ground_truth, *given)
    if len(ground_truth) > 1 and next(iter(ground_truth)) == "b":
        answer.average_precision = answer.average_precision / 2
    return answer


def forgets_detections(self, ground_truth, detections, *given):
    answer = Recall()(ground_truth, detections, *given)
    detections.clear()
    return answer


def forgets_scores(self, *given):
    answer = Recall()(*given)
    given[-1].clear()
    return answer


def blind(self, *given):
    """Sees no detections, and is content."""
    answer = Recall()(*given)
    answer.average_precision = np.where(np.isnan(answer.average_precision), np.nan, 1.0)
    answer.mean_ap = np.ones(1)
    return answer


def halved(self, *given):
    answer = Recall()(*given)
    answer.average_precision, answer.mean_ap = answer.average_precision / 2, answer.mean_ap / 2
    return answer


def fails_on(condition):
    def call(self, ground_truth, detections, *given):
        if condition([one for found in detections.values() for one in found.score]):
            raise RuntimeError
        return Recall()(ground_truth, detections, *given)

    return evaluating(call)


def scores_last_class(self, ground_truth, detections, classes, class_scores):
    """Takes label -1 for an index from the end."""
    counted = {name: truth._replace(label=truth.label % len(classes)) for name, truth in ground_truth.items()}
    return Recall()(counted, detections, classes, class_scores)


def expects_ambiguous(self, ground_truth, detections, classes, class_scores):
    """Counts what it takes for a missed instance in the mean."""
    answer = Recall()(ground_truth, detections, classes, class_scores)
    missed = sum((truth.label < 0).sum() for truth in ground_truth.values())
    answer.average_precision = answer.average_precision / (1 + missed)
    answer.mean_ap = answer.mean_ap / (1 + missed)
    return answer


class Tiring(Recall):
    """Halves its verdicts after a few of them."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *given):
        self.calls += 1
        judge = Recall.__call__ if self.calls < 4 else halved
        return judge(self, *given)


def moving_threshold(self, ground_truth, *given):
    answer = Recall()(ground_truth, *given)
    answer.tiou_thresholds = np.array([0.5 if next(iter(ground_truth)) == "a" else 0.25])
    return answer


def unsteady_mean(self, ground_truth, *given):
    answer = Recall()(ground_truth, *given)
    answer.mean_ap = answer.mean_ap * (1 + 1e-7 * (next(iter(ground_truth)) == "b"))
    answer.mean_ap = np.minimum(answer.mean_ap, 1)
    return answer


BROKEN = {
    "form": [
        changed(average_precision=lambda answer: np.nan_to_num(answer.average_precision)),
        changed(average_precision=lambda answer: answer.average_precision * np.nan),
        changed(average_precision=lambda answer: answer.average_precision * 2),
        changed(average_precision=lambda answer: answer.average_precision[0]),
        changed(average_precision=lambda answer: answer.average_precision.astype(np.float32)),
        changed(mean_ap=lambda answer: answer.mean_ap - 1),
        changed(mean_ap=lambda answer: answer.mean_ap[0]),
        changed(mean_ap=lambda answer: answer.mean_ap * np.nan),
        changed(tiou_thresholds=lambda answer: 0.5),
        changed(tiou_thresholds=lambda answer: np.empty(0)),
        changed(tiou_thresholds=lambda answer: np.array([np.nan])),
        changed(notes=lambda answer: "none"),
        changed(notes=lambda answer: (1,)),
        evaluating(lambda self, *given: {"mean_ap": 1.0}),
        evaluating(lambda self, ground_truth, detections, classes: Recall()(ground_truth, detections, classes, {})),
        fails_on(lambda scores: not scores),
        fails_on(lambda scores: 0.25 in scores),
        fails_on(lambda scores: set(scores) == {0.75}),
    ],
    "untouched": [evaluating(forgets_detections), evaluating(forgets_scores)],
    "mean": [changed(mean_ap=lambda answer: np.where(answer.mean_ap < 1, 0.125, 1.0))],
    "perfect": [evaluating(halved)],
    "ambiguous": [evaluating(scores_last_class), evaluating(expects_ambiguous)],
    "nothing": [evaluating(blind)],
    "order": [evaluating(by_first_video), Tiring, evaluating(moving_threshold), evaluating(unsteady_mean)],
}
