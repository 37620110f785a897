"""A glance at an answer says what `testing.answers` says of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from wtal_core import holding
from wtal_core.localization import VideoDetections
from wtal_core.testing import ContractError, answers

NAN, INF = float("nan"), float("inf")
FEATURES = torch.zeros(1, 3, 2)


def detections(label=(0, 1), start=(0.0, 1.0), end=(1.0, 2.0), score=(0.5, -0.5), kind=np.int64):
    return VideoDetections(np.array(label, dtype=kind), *(np.array(part, dtype=float) for part in (start, end, score)))


def decoding(**changed):
    sound = {
        "attention": torch.full((1, 2, 3), 0.5),
        "patterns": torch.zeros(1, 2, 2),
        "logits": torch.zeros(1, 2, 4),
        "class_scores": torch.ones(1, 4),
        "head_weight": torch.zeros(4, 2),
    }
    return SimpleNamespace(**(sound | changed))


HALF = np.full((2, 3), 0.5)
PATTERNS = [torch.zeros(1, 2), torch.full((1, 2), 3e38), torch.zeros(1, 3), torch.full((1, 2), NAN), None]
PATTERNS += [torch.tensor([[INF, -INF]]), torch.zeros(1, 2).double()]
DECODINGS = [
    decoding(),
    decoding(head_weight=None),
    decoding(probabilities=torch.ones(1, 2, 4)),
    decoding(probabilities=torch.full((1, 2, 4), 1.5)),
    decoding(attention=torch.full((1, 2, 3), -0.1)),
    decoding(attention=torch.full((1, 2, 3), NAN)),
    decoding(attention=torch.zeros(1, 0, 3)),
    decoding(class_scores=torch.full((1, 4), 1.1)),
    decoding(logits=torch.full((1, 2, 4), INF)),
    decoding(head_weight=torch.zeros(2, 4)),
    SimpleNamespace(),
    None,
]
MAPS = [(HALF, HALF), (HALF, HALF * 0), (HALF, HALF * NAN), (HALF, HALF * 3), (HALF, -HALF), (HALF, HALF[:, :2])]
MAPS += [[HALF, HALF], (HALF,), (HALF, HALF.astype(np.float32)), (HALF, HALF.tolist()), None]
DETECTIONS = [
    detections(),
    detections((), (), (), ()),
    detections(kind=np.int32),
    detections(label=(0, 2)),
    detections(label=(-1, 0)),
    detections(score=(0.5,)),
    detections(score=(NAN, 0)),
    detections(score=(INF, 0)),
    detections(end=(0.0, 2.0)),
    detections(end=(1.0, 2.1)),
    detections(start=(-0.1, 1.0)),
    detections(start=(NAN, 1.0)),
    SimpleNamespace(label=np.zeros(0, np.int64)),
    None,
]
CASES = [
    *((holding.hold_patterns, answers.patterns, (one, FEATURES), (one, FEATURES)) for one in PATTERNS),
    *((holding.hold_decoding, answers.decoding, (one, FEATURES, 4), (one, FEATURES, None, 4)) for one in DECODINGS),
    *((holding.hold_maps, answers.maps, (one, 2, 3), (one, 2, 3)) for one in MAPS),
    *((holding.hold_detections, answers.detections, (one, 2, 0.0, 2.0), (one, 2, 0.0, 2.0)) for one in DETECTIONS),
]


def verdict(check, given):
    try:
        check(*given)
    except ContractError as broken:
        return str(broken)
    return None


@pytest.mark.parametrize(("hold", "check", "glanced", "given"), CASES)
def test_a_glance_decides_as_the_contract_does(hold, check, glanced, given):
    assert verdict(hold, glanced) == verdict(check, given)


@pytest.mark.parametrize("cases", [PATTERNS, DECODINGS, MAPS, DETECTIONS])
def test_the_cases_hold_right_and_wrong_answers(cases):
    verdicts = [verdict(check, given) for _, check, _, given in CASES if any(given[0] is case for case in cases)]
    assert None in verdicts
    assert set(verdicts) - {None}
