"""Predictions: what models say, averaged, stored, fused, and cut into detections."""

import json
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from wtal_core import config
from wtal_core.contracts import Assemblies, Intervals
from wtal_core.data.timeline import snippet_edges
from wtal_core.errors import PluginError
from wtal_core.kinds.suppressor import VideoDetections
from wtal_core.prediction.detect import localize
from wtal_core.prediction.fuse import fuse, mean
from wtal_core.prediction.predict import StreamPrediction, average, require_even
from wtal_core.prediction.store import load_predictions, save_predictions
from wtal_core.registry import discover
from wtal_core.testing import tmp_plugin

pytestmark = pytest.mark.usefixtures("fakes")

GENERATOR = np.random.default_rng(0)
ONE, TWO = (
    StreamPrediction(GENERATOR.random((2, 5)), GENERATOR.random((2, 5)), np.array(scores))
    for scores in ([0.2, 1.0], [0.6, 0.4])
)
WEIGHTS = [0.25, 0.75]


def settings(fusion="activations", stream_weights=None, proposer="threshold"):
    return config.Localization(
        proposer=proposer, suppressor="nms", fusion=fusion, stream_weights=stream_weights, activation="cas"
    )


def own(*rows):
    """Intervals of a decoder, of rows (label, start, end, score)."""
    label, start, end, score = np.array(rows, dtype=float).reshape(-1, 4).T
    return Intervals(label.astype(np.int64), start, end, score)


def rows_of(intervals):
    """The rows of intervals, or of detections."""
    return list(zip(*(field.tolist() for field in intervals), strict=True))


# Fusion


def test_fused_activations_are_the_weighted_mean_of_the_products():
    (fused,) = fuse([ONE, TWO], settings("activations", WEIGHTS))
    for label, snippet in np.ndindex(2, 5):
        parts = [one.attention[label, snippet] * one.response[label, snippet] for one in (ONE, TWO)]
        assert fused.activation[label, snippet] == pytest.approx(0.25 * parts[0] + 0.75 * parts[1], rel=1e-12)
    np.testing.assert_allclose(fused.attention, 0.25 * ONE.attention + 0.75 * TWO.attention, rtol=1e-12)
    np.testing.assert_allclose(fused.class_scores, [0.5, 0.55], rtol=1e-12)


def test_fused_attention_weighs_each_streams_own_response():
    fused = fuse([ONE, TWO], settings("attention", WEIGHTS))
    assert len(fused) == 2
    for maps, stream in zip((ONE, TWO), fused, strict=True):
        for label, snippet in np.ndindex(2, 5):
            attention = 0.25 * ONE.attention[label, snippet] + 0.75 * TWO.attention[label, snippet]
            assert stream.attention[label, snippet] == pytest.approx(attention, rel=1e-12)
            activation = attention * maps.response[label, snippet]
            assert stream.activation[label, snippet] == pytest.approx(activation, rel=1e-12)
        np.testing.assert_allclose(stream.class_scores, [0.5, 0.55], rtol=1e-12)


@pytest.mark.parametrize("fusion", ["activations", "attention"])
def test_one_stream_alone_is_its_own_fusion(fusion):
    (fused,) = fuse([ONE], settings(fusion))
    np.testing.assert_array_equal(fused.activation, ONE.attention * ONE.response)
    assert fused.intervals is None


def test_the_intervals_of_streams_are_side_by_side_with_their_shares_of_the_score():
    one, two = ONE._replace(intervals=own((0, 0, 2, 0.8))), TWO._replace(intervals=own((1, 1, 5, 0.4), (0, 2, 3, 0.2)))
    (fused,) = fuse([one, two], settings("activations", WEIGHTS))
    expected = [(0, 0, 2, 0.2), (1, 1, 5, 0.3), (0, 2, 3, 0.15)]
    np.testing.assert_allclose(rows_of(fused.intervals), expected, rtol=1e-12)
    each = fuse([one, two], settings("attention", WEIGHTS))
    np.testing.assert_allclose(rows_of(each[0].intervals), expected[:1], rtol=1e-12)
    np.testing.assert_allclose(rows_of(each[1].intervals), expected[1:], rtol=1e-12)
    np.testing.assert_allclose(rows_of(mean(each).intervals), expected, rtol=1e-12)


def test_intervals_end_with_the_snippets_that_all_streams_have():
    long = StreamPrediction(np.ones((2, 6)), np.ones((2, 6)), np.ones(2), own((0, 4, 6, 1), (1, 5, 6, 1), (1, 0, 5, 1)))
    (fused,) = fuse([ONE, long], settings())
    assert rows_of(fused.intervals) == [(0, 4, 5, 0.5), (1, 0, 5, 0.5)]
    assert rows_of(fuse([ONE, long], settings("attention"))[1].intervals) == [(0, 4, 5, 0.5), (1, 0, 5, 0.5)]


def test_a_teacher_reads_the_mean_of_the_streams():
    each = fuse([ONE, TWO], settings("attention"))
    np.testing.assert_allclose(mean(each).activation, (each[0].activation + each[1].activation) / 2, rtol=1e-12)
    np.testing.assert_array_equal(mean(each).attention, each[0].attention)
    (one,) = fuse([ONE, TWO], settings())
    assert mean([one]) is one


# Several models


def test_models_are_averaged_and_their_intervals_share_the_score():
    first = ONE._replace(intervals=own((0, 0, 2, 0.9)), assemblies=Assemblies(np.ones((2, 5)), np.zeros((2, 2))))
    second = TWO._replace(intervals=own((1, 1, 5, 0.6)), assemblies=Assemblies(np.zeros((2, 5)), np.ones((2, 2))))
    third = ONE._replace(intervals=None)
    found = average([first, second, third])
    for name in ("attention", "response", "class_scores"):
        expected = (2 * getattr(ONE, name) + getattr(TWO, name)) / 3
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-6)
    np.testing.assert_allclose(rows_of(found.intervals), [(0, 0, 2, 0.3), (1, 1, 5, 0.2)], rtol=1e-6)
    assert found.assemblies.attention.tolist() == [[1] * 5] * 2 + [[0] * 5] * 2
    assert found.assemblies.probabilities.tolist() == [[0, 0]] * 2 + [[1, 1]] * 2
    assert average([first]) is first


@pytest.mark.parametrize("models", [1, 3])
def test_what_is_stored_is_what_was_computed(tmp_path, models):
    """Of an average too, whose scores and shares are no numbers of float32 by themselves."""
    generator = np.random.default_rng(1)

    def drawn(*shape):
        return generator.random(shape).astype(np.float32).astype(np.float64)

    def interval():
        return Intervals(np.array([0, 1]), drawn(2), 4 * drawn(2), drawn(2))

    members = [
        StreamPrediction(drawn(2, 5), drawn(2, 5), drawn(2), interval(), Assemblies(drawn(3, 5), drawn(3, 2)))
        for _ in range(models)
    ]
    none = StreamPrediction(drawn(2, 5), drawn(2, 5), drawn(2), own())
    computed = {"jump/v1": [average(members), ONE._replace(attention=drawn(2, 5), response=drawn(2, 5)), none]}
    computed["jump/v1"][1] = computed["jump/v1"][1]._replace(class_scores=drawn(2))
    save_predictions(tmp_path / "p.h5", "key", ("a", "b", "c"), computed.items())
    stored = load_predictions(tmp_path / "p.h5", "key", ("a", "b", "c"), ["jump/v1"])
    for before, after in zip(computed["jump/v1"], stored["jump/v1"], strict=True):
        assert flat(before) == flat(after)
    assert load_predictions(tmp_path / "p.h5", "other", ("a", "b", "c"), ["jump/v1"]) is None


def flat(prediction):
    """Every array of a prediction: its dtype, shape and bytes."""
    found = []
    for part in prediction:
        arrays = [None] if part is None else part if isinstance(part, tuple) else [part]
        found += [a if a is None else (a.dtype, a.shape, np.ascontiguousarray(a).tobytes()) for a in arrays]
    return found


# Detections


def edges_of_seconds(length):
    return snippet_edges(config.SnippetGrid(1, 1), length, None)


DATASET = SimpleNamespace(classes=("jump", "run"), edges=lambda _, length: edges_of_seconds(length))


def detected(predictions, intervals, duration=None, fusion="activations"):
    """Localize with a proposer that answers `intervals` (label, start, end, score); also what it was given."""
    given = []

    def propose(prediction, edges):
        given.append((prediction, edges))
        label, start, end, score = np.array(intervals, dtype=float).reshape(-1, 4).T
        return VideoDetections(label.astype(int), start, end, score)

    with tmp_plugin("proposer", "mine", lambda: propose):
        video = SimpleNamespace(name="v", duration=duration)
        found = localize(DATASET, [video], {"v": predictions}, settings(fusion, None, "mine"), discover())
    return rows_of(found.detections["v"]), found.class_scores["v"], given


def prediction(length, scores=(0.5, 0.5)):
    return StreamPrediction(np.ones((2, length)), np.full((2, length), 0.5), np.array(scores))


def test_streams_meet_over_the_snippets_that_all_have():
    _, scores, ((given, edges),) = detected([prediction(5, (0.2, 0)), prediction(4, (0.4, 1))], [])
    assert given.activation.shape == given.attention.shape == (2, 4)
    assert edges.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(scores, [0.3, 0.5])
    np.testing.assert_array_equal(given.class_scores, scores)


def test_intervals_end_with_the_video_and_those_behind_it_go():
    intervals = [(0, 0, 2, 0.9), (0, 2, 4, 0.8), (0, 3, 4, 0.7), (0, 3.5, 4, 0.6)]
    assert detected([prediction(4)], intervals, duration=3.0)[0] == [(0, 0, 2, 0.9), (0, 2, 3, 0.8)]
    assert detected([prediction(4)], intervals, duration=None)[0] == intervals


def test_intervals_begin_with_the_video(monkeypatch):
    """A window shorter than the stride puts the first snippet's edge before the video."""
    monkeypatch.setattr(DATASET, "edges", lambda _, length: edges_of_seconds(length) - 0.5)
    intervals = [(0, -0.25, 2, 0.9), (0, -0.5, -0.25, 0.8), (0, -0.5, 0, 0.7), (0, 2, 3.5, 0.6)]
    for duration in (None, 4.0):
        assert detected([prediction(4)], intervals, duration)[0] == [(0, 0, 2, 0.9), (0, 2, 3.5, 0.6)]


@pytest.mark.parametrize("fusion", ["activations", "attention"])
@pytest.mark.parametrize(
    ("stream_weights", "shares"), [([1, 3], (0.25, 0.75)), ([0.25, 0.75], (0.25, 0.75)), (None, (0.5, 0.5))]
)
def test_the_experiment_s_ratio_of_streams_is_that_of_the_results(registry, fusion, stream_weights, shares):
    video = SimpleNamespace(name="v", duration=5.0)
    chosen = settings(fusion, stream_weights)
    found = localize(DATASET, [video], {"v": [ONE, TWO]}, chosen, registry)
    scores, detections = found.class_scores["v"], found.detections["v"]
    np.testing.assert_allclose(scores, [0.2 * shares[0] + 0.6 * shares[1], shares[0] + 0.4 * shares[1]])
    fused = fuse([ONE, TWO], settings(fusion, list(shares)))
    for label in (0, 1):
        best = max(one.activation[label].max() for one in fused) * scores[label]
        assert detections.score[detections.label == label].max() == pytest.approx(best)


def test_the_best_come_first_and_ties_have_one_order():
    intervals = [(1, 0, 2, 0.5), (0, 0, 2, 0.5), (0, 0, 1, 0.5), (1, 1, 2, 0.5), (0, 3, 4, 0.9)]
    expected = [(0, 3, 4, 0.9), (0, 0, 1, 0.5), (0, 0, 2, 0.5), (1, 0, 2, 0.5), (1, 1, 2, 0.5)]
    assert detected([prediction(4)], intervals)[0] == expected
    assert detected([prediction(4)], intervals[::-1])[0] == expected


@pytest.mark.parametrize("fusion", ["activations", "attention"])
def test_a_proposer_is_given_the_fused_attention(fusion):
    _, _, given = detected([ONE, TWO], [], fusion=fusion)
    assert len(given) == (1 if fusion == "activations" else 2)
    for fused, _ in given:
        np.testing.assert_allclose(fused.attention, (ONE.attention + TWO.attention) / 2, rtol=1e-12)


def test_no_detections_are_an_empty_list():
    assert detected([prediction(4)], [])[0] == []


# Clips in testing


@pytest.mark.parametrize(
    ("rows", "length", "even"),
    [
        ([0, 1, 2, 3], 4, True),
        ([0, 0, 1, 1], 2, True),
        ([2, 7], 10, True),
        ([0, 1, 2, 3], 8, False),
        ([4, 5, 6, 7], 8, False),
        ([0, -1, 2, 3], 4, False),
        ([0, 4], 10, False),
    ],
)
def test_the_rows_of_a_clip_in_testing_stand_for_equal_parts(rows, length, even):
    if even:
        require_even(np.array(rows), length, "mine")
        return
    with pytest.raises(PluginError) as error:
        require_even(np.array(rows), length, "mine")
    assert str(error.value) == (
        "clip 'mine' does not show the whole video evenly, so it cannot be localization.clip; use 'whole' or 'uniform'"
    )


# In a run


class Everything(NamedTuple):
    features: torch.Tensor
    attention: torch.Tensor
    class_scores: torch.Tensor
    pooled: torch.Tensor
    logits: torch.Tensor
    snippet_logits: torch.Tensor
    background_logits: torch.Tensor
    head_weight: torch.Tensor
    intervals: Intervals | None


class Talkative(nn.Module):
    """A decoder that gives every optional part: two assemblies, a background, intervals of its own."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.attend = nn.Linear(feature_dim, 2)
        self.head = nn.Linear(feature_dim, num_classes + 1, bias=False)
        self.aggregator = aggregator

    def forward(self, features, mask=None, targets=None):
        attention = self.attend(features).sigmoid().transpose(1, 2)
        if mask is not None:
            attention = attention * mask.unsqueeze(1)
        pooled = self.aggregator(features, attention, mask)
        *_, background = logits = self.head(features).unbind(2)
        of_assemblies = self.head(pooled)[..., :-1]
        intervals = None
        if len(features) == 1:
            T = features.shape[1]
            scores = torch.stack(logits[:-1], 2)[0].sigmoid().amax(0).detach().double().numpy()
            intervals = Intervals(np.arange(len(scores)), np.zeros(len(scores)), np.full(len(scores), T / 3), scores)
        return Everything(
            features,
            attention,
            of_assemblies.amax(1).sigmoid(),
            pooled,
            of_assemblies,
            torch.stack(logits[:-1], 2),
            background,
            self.head.weight[:-1],
            intervals,
        )

    def loss(self, decoding, targets):
        return {"classification": nn.functional.binary_cross_entropy(decoding.class_scores, targets.labels)}


def against_background(decoding):
    """An activation that lets the classes compete with the background."""
    logits = torch.cat([decoding.snippet_logits, decoding.background_logits.unsqueeze(2)], 2)
    response = logits.softmax(2)[0, :, :-1].T.detach().double().numpy()
    return np.ones_like(response), response


@pytest.fixture
def talkative(wtal, tiny, tmp_path):
    """The directory of a run whose decoder gives every part, with three models."""
    tiny.write_text(tiny.read_text() + '[model]\ndecoder = "talkative"\n[[stages]]\nmodels = 3\n')
    with tmp_plugin("decoder", "talkative", Talkative), tmp_plugin("activation", "cas", lambda: against_background):
        assert wtal("run", tiny, "--out", tmp_path / "out").code == 0
        yield tmp_path / "out" / "seed-0"


def test_localizing_from_stored_predictions_equals_computing_them(wtal, talkative, monkeypatch):
    names = ("detections.json", "classification.json", "predictions/test.h5")
    before = [(talkative / name).read_bytes() for name in names]
    with monkeypatch.context() as patch:
        patch.setattr("wtal_core.prediction.predict.predict", lambda *_: pytest.fail("a network ran"))
        assert wtal("localize", talkative).code == 0
    assert [(talkative / name).read_bytes() for name in names] == before
    (talkative / "predictions" / "test.h5").unlink()
    assert wtal("localize", talkative).code == 0
    assert [(talkative / name).read_bytes() for name in names] == before


def test_what_is_kept_of_a_decoder_that_says_everything(talkative):
    import h5py

    with h5py.File(talkative / "predictions" / "test.h5") as file:
        video = file["v6/rgb"]
        assert video["attention"].shape == (2, 10)
        assert (video["response"][()].sum(0) < 1).all()  # the background has the rest
        assert video["assemblies/attention"].shape == (6, 10)  # of three models
        np.testing.assert_allclose(video["assemblies/probabilities"][()].sum(1), 1, rtol=1e-6)
        assert video["intervals/label"][()].tolist() == [0, 1] * 3
        assert (video["intervals/score"][()] < 1 / 3).all()
        np.testing.assert_allclose(video["intervals/end"][()], 10 / 3, rtol=1e-6)


@pytest.mark.parametrize("change", ["weights", "clip", "activation"])
def test_what_predictions_depend_on_makes_them_stale(wtal, talkative, monkeypatch, change):
    import wtal_fakes
    from wtal_core.prediction import predict

    ran = []
    plain = predict.predict
    monkeypatch.setattr(predict, "predict", lambda *given: ran.append(1) or plain(*given))
    settings = {
        "weights": [],
        "clip": ["--set", "localization.clip={ name = 'uniform', snippets = 4 }"],
        "activation": ["--set", "localization.activation=other"],
    }[change]
    if change == "weights":
        for member, other in ((0, 1), (1, 0)):
            source = talkative / "checkpoints" / f"model-{member}" / "rgb.safetensors"
            source.rename(talkative / f"{other}.safetensors")
        for member in (0, 1):
            moved = talkative / f"{member}.safetensors"
            moved.rename(talkative / "checkpoints" / f"model-{member}" / "rgb.safetensors")
    with tmp_plugin("activation", "other", wtal_fakes.Activations):
        assert wtal("localize", talkative, *settings).code == 0
        assert len(ran) == 3 * 2 * 3  # videos, streams, models
        assert wtal("localize", talkative).code == 0
        assert len(ran) == 3 * 2 * 3


def test_uniform_clips_make_columns_that_are_equal_parts_of_the_video(wtal, tiny, tmp_path):
    given = []

    def propose(prediction, edges):
        given.append((prediction.activation.shape, edges))
        return VideoDetections(np.array([0]), edges[1:2], edges[2:3], np.array([0.5]))

    clip = "localization.clip={ name = 'uniform', snippets = 4 }"
    with tmp_plugin("proposer", "threshold", lambda: propose):
        assert wtal("run", tiny, "--out", tmp_path / "out", "--set", clip).code == 0
    shape, edges = given[-1]
    assert shape == (2, 4)
    np.testing.assert_allclose(edges, [0, 0.5, 1, 1.5, 2], rtol=1e-12)
    results = json.loads((tmp_path / "out" / "seed-0" / "detections.json").read_text())["results"]
    assert [records[0]["segment"] for records in results.values()] == [pytest.approx([0.5, 1.0])] * 3


def test_a_clip_that_shows_a_stretch_is_refused_in_testing(wtal, tiny, tmp_path):
    clip = "localization.clip={ name = 'crop', snippets = 5 }"
    for command in ("validate", "run"):
        answer = wtal(command, tiny, "--out", tmp_path / "out", "--set", clip)
        assert (answer.code, answer.err) == (
            2,
            "error: video 'v6': clip 'crop' does not show the whole video evenly, so it cannot be localization.clip; "
            "use 'whole' or 'uniform'\n",
        )
    assert not (tmp_path / "out").exists()


def test_a_run_does_not_read_back_what_it_wrote(wtal, tiny, tmp_path, monkeypatch):
    from wtal_core.run import results

    class ReadError(Exception):
        pass

    real = results.read_json

    def read(path, *arguments):
        if path.name == "warnings.json":  # which every step may add to
            return real(path, *arguments)
        raise ReadError(path.name)

    monkeypatch.setattr(results, "read_json", read)
    assert wtal("run", tiny, "--out", tmp_path / "out").code == 0
    with pytest.raises(ReadError, match=r"^detections\.json$"):
        wtal("evaluate", tmp_path / "out" / "seed-0")


class Averages(nn.Module):
    """Pools its input as it is, with nothing to learn before the head."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.head = nn.Linear(feature_dim, num_classes)

    def forward(self, features, mask=None, targets=None):
        pooled = features.mean(1, keepdim=True)
        logits = self.head(pooled)
        ones = torch.ones_like(features[:, None, :, 0])
        scores = logits[:, 0].sigmoid()
        return SimpleNamespace(features=features, attention=ones, class_scores=scores, pooled=pooled, logits=logits)

    def loss(self, decoding, targets):
        return {"classification": ((decoding.class_scores - targets.labels) ** 2).mean()}


def slopes(decoding):
    """Maps that are one, if the logits have a slope in what was pooled."""
    (slope,) = torch.autograd.grad(decoding.logits.sum(), decoding.pooled)
    ones = np.full((decoding.class_scores.shape[1], decoding.features.shape[1]), float(slope.any()))
    return ones, ones


def test_what_is_pooled_from_the_input_alone_is_in_the_graph(wtal, tiny, tmp_path):
    settings = ("--set", "model.decoder=averages", "--set", "localization.activation=slopes")
    with tmp_plugin("decoder", "averages", Averages), tmp_plugin("activation", "slopes", lambda: slopes):
        answer = wtal("run", tiny, "--out", tmp_path / "out", *settings)
    assert (answer.code, answer.err) == (0, "")
