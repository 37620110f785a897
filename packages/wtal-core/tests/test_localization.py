"""Fusion of streams, clipping, order of detections."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from wtal_core import config
from wtal_core.contracts import ActivationMaps
from wtal_core.dataset import snippet_edges
from wtal_core.localization import Reading, VideoDetections, call_proposer, detect, fuse, localize

GENERATOR = np.random.default_rng(0)
ONE, TWO = (ActivationMaps(GENERATOR.random((2, 5)), GENERATOR.random((2, 5))) for _ in range(2))
WEIGHTS = np.array([0.25, 0.75])


def test_fused_activations_are_the_weighted_mean_of_the_products():
    _, (fused,) = fuse([ONE, TWO], WEIGHTS, "activations")
    for label, snippet in np.ndindex(2, 5):
        parts = [m.attention[label, snippet] * m.response[label, snippet] for m in (ONE, TWO)]
        assert fused[label, snippet] == pytest.approx(0.25 * parts[0] + 0.75 * parts[1], rel=1e-12)


def test_fused_attention_weighs_each_streams_own_response():
    shared, fused = fuse([ONE, TWO], WEIGHTS, "attention")
    assert len(fused) == 2
    for maps, stream in zip((ONE, TWO), fused, strict=True):
        for label, snippet in np.ndindex(2, 5):
            attention = 0.25 * ONE.attention[label, snippet] + 0.75 * TWO.attention[label, snippet]
            assert shared[label, snippet] == pytest.approx(attention, rel=1e-12)
            assert stream[label, snippet] == pytest.approx(attention * maps.response[label, snippet], rel=1e-12)


@pytest.mark.parametrize("fusion", ["activations", "attention"])
def test_one_stream_alone_is_its_own_fusion(fusion):
    _, (fused,) = fuse([ONE], np.array([1.0]), fusion)
    np.testing.assert_array_equal(fused, ONE.attention * ONE.response)


def edges_of_seconds(length):
    return snippet_edges(config.SnippetGrid(1, 1), length, None)


def detected(readings, intervals, duration=None):
    """Detect with a proposer that answers `intervals` (label, start, end, score); also what the proposer was given."""
    given = []

    def propose(activation, class_scores, edges):
        given.append((activation, class_scores, edges))
        label, start, end, score = np.array(intervals, dtype=float).reshape(-1, 4).T
        return VideoDetections(label.astype(int), start, end, score)

    weights = np.full(len(readings), 1 / len(readings))
    proposer = partial(call_proposer, propose)
    found = detect(readings, weights, "activations", proposer, lambda d: d, edges_of_seconds, duration)
    return list(zip(*(field.tolist() for field in found.detections), strict=True)), found.class_scores, given


def reading(length, scores=(0.5, 0.5)):
    return Reading(ActivationMaps(np.ones((2, length)), np.full((2, length), 0.5)), np.array(scores))


def test_streams_meet_over_the_snippets_that_all_have():
    _, scores, ((activation, given_scores, edges),) = detected([reading(5, (0.2, 0)), reading(4, (0.4, 1))], [])
    assert activation.shape == (2, 4)
    assert edges.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(scores, [0.3, 0.5])
    np.testing.assert_array_equal(given_scores, scores)


def test_intervals_end_with_the_video_and_those_behind_it_go():
    intervals = [(0, 0, 2, 0.9), (0, 2, 4, 0.8), (0, 3, 4, 0.7), (0, 3.5, 4, 0.6)]
    assert detected([reading(4)], intervals, duration=3.0)[0] == [(0, 0, 2, 0.9), (0, 2, 3, 0.8)]
    assert detected([reading(4)], intervals, duration=None)[0] == intervals


def test_intervals_begin_with_the_video():
    """A window shorter than the stride puts the first snippet's edge before the video."""
    intervals = [(0, -0.25, 2, 0.9), (0, -0.5, -0.25, 0.8), (0, -0.5, 0, 0.7), (0, 2, 4, 0.6)]
    for duration in (None, 4.0):
        assert detected([reading(4)], intervals, duration)[0] == [(0, 0, 2, 0.9), (0, 2, 4, 0.6)]


@pytest.mark.parametrize("fusion", ["activations", "attention"])
@pytest.mark.parametrize(
    ("stream_weights", "shares"), [([1, 3], (0.25, 0.75)), ([0.25, 0.75], (0.25, 0.75)), (None, (0.5, 0.5))]
)
def test_the_experiment_s_ratio_of_streams_is_that_of_the_results(registry, fusion, stream_weights, shares):
    settings = config.Localization(proposer="threshold", suppressor="nms", fusion=fusion, stream_weights=stream_weights)
    dataset = SimpleNamespace(classes=("jump", "run"), edges=lambda _, length: edges_of_seconds(length))
    video = SimpleNamespace(name="v", duration=5.0)
    readings = {"v": [Reading(ONE, np.array([0.2, 1.0])), Reading(TWO, np.array([0.6, 0.4]))]}
    found = localize(dataset, [video], readings, settings, registry)["v"]
    np.testing.assert_allclose(found.class_scores, [0.2 * shares[0] + 0.6 * shares[1], shares[0] + 0.4 * shares[1]])
    _, activations = fuse([ONE, TWO], np.array(shares), fusion)
    for label in (0, 1):
        best = max(activation[label].max() for activation in activations) * found.class_scores[label]
        assert found.detections.score[found.detections.label == label].max() == pytest.approx(best)


def test_the_best_come_first_and_ties_have_one_order():
    intervals = [(1, 0, 2, 0.5), (0, 0, 2, 0.5), (0, 0, 1, 0.5), (1, 1, 2, 0.5), (0, 3, 4, 0.9)]
    expected = [(0, 3, 4, 0.9), (0, 0, 1, 0.5), (0, 0, 2, 0.5), (1, 0, 2, 0.5), (1, 1, 2, 0.5)]
    assert detected([reading(4)], intervals)[0] == expected
    assert detected([reading(4)], intervals[::-1])[0] == expected


@pytest.mark.parametrize("fusion", ["activations", "attention"])
def test_a_proposer_that_names_attention_is_given_it(fusion):
    given = []

    class Curious:
        def __call__(self, activation, class_scores, edges, attention=None):
            given.append(attention)
            return VideoDetections(*np.empty((4, 0)))

    readings = [Reading(maps, np.ones(2)) for maps in (ONE, TWO)]
    detect(readings, WEIGHTS, fusion, partial(call_proposer, Curious()), lambda d: d, edges_of_seconds, None)
    assert len(given) == (1 if fusion == "activations" else 2)
    for attention in given:
        np.testing.assert_allclose(attention, 0.25 * ONE.attention + 0.75 * TWO.attention, rtol=1e-12)


def test_no_detections_are_an_empty_list():
    assert detected([reading(4)], [])[0] == []
