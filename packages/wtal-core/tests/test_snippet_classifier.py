"""The decoder `snippet-classifier`: pooling, competition, context in seconds, the suppressed branch."""

import json
import math
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from wtal_core.builtin.snippet_classifier import (
    LogProbabilities,
    SnippetClassifier,
    cross_entropy,
    log_probabilities,
    pool_snippets,
)
from wtal_core.contracts import Targets
from wtal_core.kinds.decoder import WeightedMean

from . import naive
from .conftest import edit_json

POOLINGS = ("max", "top-k", "log-sum-exp", "linear-softmax")
FRACTIONS = (0.02, 0.3, 0.7)


def drawn(background, B=3, T=10, C=4, seed=0):
    """Logits, background logits or None, and what is seen: all, a hole and an end, one snippet."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(B, T, C, generator=generator, dtype=torch.float64)
    other = torch.randn(B, T, generator=generator, dtype=torch.float64) if background else None
    seen = torch.ones(B, T, dtype=torch.bool)
    seen[1, [0, 4, 9]] = False
    seen[2, torch.arange(T) != 5] = False
    return logits, other, seen


def built(**options):
    torch.manual_seed(0)
    given = {"snippet_seconds": 0.5, "hidden": 5} | options
    return SnippetClassifier(3, 4, WeightedMean(), **given).double().eval()


@pytest.mark.parametrize("background", [False, True])
def test_probabilities_are_those_of_the_slow_twin(background):
    logits, other, _ = drawn(background)
    present, absent = log_probabilities(logits, other)
    expected = [
        naive.snippet_probabilities(of_video.tolist(), None if other is None else other[b].tolist())
        for b, of_video in enumerate(logits)
    ]
    np.testing.assert_allclose(present.exp(), expected, rtol=1e-12)
    np.testing.assert_allclose(absent.exp(), 1 - np.array(expected), rtol=1e-9)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_that_of_the_slow_twin(pooling, background):
    logits, other, seen = drawn(background)
    snippets = log_probabilities(logits, other)
    fractions = (0.0,) if pooling == "max" else FRACTIONS
    present, absent = pool_snippets(snippets, seen, pooling, fractions)
    for b, of_video in enumerate(snippets.present.exp()):
        for k in range(of_video.shape[1]):
            expected = naive.pooled_probability(of_video[seen[b], k].tolist(), pooling, FRACTIONS)
            assert math.exp(present[b, k]) == pytest.approx(expected, rel=1e-10)
            assert math.exp(absent[b, k]) == pytest.approx(1 - expected, rel=1e-8)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_gradient_of_the_pooled_loss_is_that_of_finite_differences(pooling, background):
    logits, other, seen = drawn(background)
    leaves = [part.requires_grad_() for part in (logits, other) if part is not None]
    labels = torch.eye(logits.shape[2] + background, dtype=torch.float64)[[0, 1, 2]]

    def loss(*parts):
        snippets = log_probabilities(parts[0], parts[1] if background else None)
        return cross_entropy(pool_snippets(snippets, seen, pooling, FRACTIONS), labels)

    assert torch.autograd.gradcheck(loss, leaves)
    (slope,) = torch.autograd.grad(loss(*leaves), [logits])
    assert not slope[~seen].any()
    assert slope[seen].any()


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("logit", "label"), [(60.0, 0.0), (-200.0, 1.0), (3000.0, 0.0)])
def test_what_is_sure_and_wrong_is_unlearnt_in_single_precision(pooling, background, logit, label):
    logits = torch.full((1, 3, 1), logit, requires_grad=True)
    snippets = log_probabilities(logits, torch.zeros(1, 3) if background else None)
    pooled = pool_snippets(snippets, torch.ones(1, 3, dtype=torch.bool), pooling, (1.0,))
    labels = torch.tensor([[label]])
    term = cross_entropy(LogProbabilities(*(part[:, :1] for part in pooled)), labels)
    term.backward()
    assert float(term.detach()) == pytest.approx(abs(logit), rel=1e-4)
    assert float(logits.grad.sum()) == pytest.approx(math.copysign(1, logit), rel=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_in_a_video_of_which_nothing_is_seen_is_no_class(pooling):
    logits, other, seen = drawn(True)
    logits.requires_grad_()
    present, absent = pool_snippets(log_probabilities(logits, other), seen & False, pooling, FRACTIONS)
    assert not present.exp().any()
    assert (absent.exp() == 1).all()
    (slope,) = torch.autograd.grad(present.sum() + absent.sum(), [logits])
    assert not slope.any()


@pytest.mark.parametrize("length", range(1, 130))
def test_top_k_counts_the_snippets_that_are_seen_and_no_rounding(length):
    """The mean of the k highest of 1, 0, 0, ... is 1 / k."""
    logits = torch.full((1, length + 3, 1), -100.0)
    logits[0, 1] = 100.0
    seen = torch.arange(length + 3).unsqueeze(0) < length if length > 1 else torch.arange(4).unsqueeze(0) == 1
    for hundredths in (2, 5, 7, 10, 13, 28, 55, 70, 100):
        k = max(1, -(-length * hundredths // 100))
        present, _ = pool_snippets(log_probabilities(logits, None), seen, "top-k", (hundredths / 100,))
        assert round(1 / math.exp(present), 3) == k


@pytest.mark.parametrize("pooling", [*POOLINGS, "aggregator"])
@pytest.mark.parametrize("background", [False, True])
def test_scores_and_loss_are_those_of_the_snippets_and_labels(pooling, background):
    decoder = built(pooling=pooling, background=background, fractions=FRACTIONS, classification=0.5)
    x = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    decoding = decoder(x, mask)
    other = decoding.background_logits
    p = torch.tensor(
        [
            naive.snippet_probabilities(of_video, None if other is None else other[b].tolist())
            for b, of_video in enumerate(decoding.snippet_logits.tolist())
        ],
        dtype=torch.float64,
    )[..., :4]
    if pooling == "aggregator":
        expected = []
        for b in range(2):
            for c in range(4):
                weights = (p[b, :, c] * mask[b]).unsqueeze(1)
                pooled = (weights * decoding.features[b]).sum(0) / weights.sum()
                rest = None if other is None else decoder.background(pooled).tolist()
                expected.append(naive.snippet_probabilities([decoder.head(pooled).tolist()], rest)[0][c])
    else:
        shown = [p[b, mask[b], c].tolist() for b in range(2) for c in range(4)]
        expected = [naive.pooled_probability(one, pooling, FRACTIONS) for one in shown]
    np.testing.assert_allclose(decoding.class_scores.detach().flatten(), expected, rtol=1e-9)
    labels = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]], dtype=torch.float64)
    terms = decoder.loss(decoding, Targets(labels))
    scores = decoding.class_scores.detach()
    assert list(terms) == ["classification"]
    twin = naive.binary_cross_entropy(scores.tolist(), labels.tolist())
    assert float(terms["classification"].detach()) == pytest.approx(0.5 * twin, rel=1e-9)


def test_without_a_weight_it_leaves_learning_to_others():
    decoder = built(classification=0.0)
    assert decoder.loss(decoder(torch.zeros(1, 2, 3).double()), Targets(torch.zeros(1, 4))) == {}


def test_the_attention_of_a_class_is_its_probability_where_an_aggregator_pools():
    decoder = built(pooling="aggregator", background=True)
    decoding = decoder(torch.randn(1, 6, 3, dtype=torch.float64))
    present, _ = log_probabilities(decoding.snippet_logits, decoding.background_logits)
    torch.testing.assert_close(decoding.attention, present.exp()[..., :4].transpose(1, 2))
    torch.testing.assert_close(decoding.probabilities, torch.diag_embed(decoding.class_scores))


def test_the_suppressed_branch_reads_filtered_features_and_has_no_background():
    decoder = built(background=True, suppressed=True, context=1.5, pooling="top-k", fractions=(0.5,))
    x = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 6:] = False
    decoding = decoder(x, mask)
    attention = decoding.attention
    assert attention.shape == (2, 1, 8)
    assert attention[0].std() > 0.01
    assert not attention[1, 0, 6:].any()

    plain = built(background=True, context=1.5, pooling="top-k", fractions=(0.5,))  # without a filter, the same weights
    plain.load_state_dict({k: v for k, v in decoder.state_dict().items() if not k.startswith("filter")})
    filtered, base = plain(x * attention.transpose(1, 2), mask), plain(x, mask)
    torch.testing.assert_close(decoding.snippet_logits, filtered.snippet_logits)
    torch.testing.assert_close(decoding.class_scores, filtered.class_scores)

    labels = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]], dtype=torch.float64)
    expected = 0.0
    for branch, there in ((base, 1.0), (filtered, 0.0)):
        scores = branch.video.present.exp()
        wanted = torch.cat([labels, torch.full((2, 1), there, dtype=torch.float64)], 1)
        expected += naive.binary_cross_entropy(scores.tolist(), wanted.tolist())
    assert float(decoder.loss(decoding, Targets(labels))["classification"].detach()) == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize(
    ("context", "seconds", "reach"),
    [
        (0, 0.5, 0),
        (0.1, 0.5, 1),
        (1.5, 0.5, 1),
        (2.5, 0.5, 2),
        (3.5, 0.5, 3),
        (3.5, 1.0, 1),
        (0.14, 0.02, 3),
        ("neighbours", None, 3),
    ],
)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("suppressed", [False, True])
def test_a_context_is_what_a_snippet_sees(context, seconds, reach, layers, suppressed):
    decoder = built(
        context=context, snippet_seconds=seconds, layers=layers, background=suppressed, suppressed=suppressed
    )
    assert decoder.context == reach * (layers + suppressed)
    x = torch.randn(1, 41, 3, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(decoder(x).snippet_logits[0, 20].sum(), [x])
    sees = slope[0].abs().sum(1).nonzero().flatten().tolist()
    assert sees == list(range(20 - decoder.context, 21 + decoder.context))


def test_one_snippet_is_enough():
    for options in ({"pooling": "top-k"}, {"background": True, "suppressed": True}, {"pooling": "aggregator"}):
        decoding = built(context=2.5, **options)(torch.ones(1, 1, 3).double())
        assert decoding.class_scores.isfinite().all()


def test_a_whole_video_is_read_as_its_crops_are_where_their_context_is_seen():
    decoder = built(context=1.5, layers=2)
    x = torch.randn(1, 12, 3, dtype=torch.float64)
    whole, crop = decoder(x).snippet_logits, decoder(x[:, 2:10]).snippet_logits
    torch.testing.assert_close(whole[:, 4:8], crop[:, 2:6])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"hidden": 0}, "hidden and layers must be 1 or more, got 0 and 1"),
        ({"layers": 0}, "hidden and layers must be 1 or more, got 5 and 0"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"fractions": []}, "fractions must be one or more in (0, 1], got []"),
        ({"fractions": [0.1, 0.0]}, "fractions must be one or more in (0, 1], got [0.1, 0.0]"),
        ({"fractions": [math.nan]}, "fractions must be one or more in (0, 1], got [nan]"),
        ({"classification": -1.0}, "classification must be 0 or more, got -1.0"),
        ({"context": -1.0}, "context must be 0 s or more, got -1.0"),
        ({"context": math.inf}, "context must be 0 s or more, got inf"),
        (
            {"context": 2.0, "snippet_seconds": None},
            "context is in seconds, and the snippets of the training videos have no common length; set it to "
            "'neighbours', or give data.grid in frames",
        ),
        ({"suppressed": True}, "suppressed needs background = true and a pooling other than 'aggregator'"),
        (
            {"suppressed": True, "background": True, "pooling": "aggregator"},
            "suppressed needs background = true and a pooling other than 'aggregator'",
        ),
    ],
)
def test_a_wrong_option_is_one_sentence(options, told):
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        built(**options)


# In an experiment


CONTEXT = "model.decoder={ name = 'snippet-classifier', hidden = 4, context = 0.6 }"
CROP = "training.clip={ name = 'crop', snippets = 8 }"


@pytest.fixture
def run(wtal, tiny, fakes, tmp_path):
    def do(*settings, command="validate"):
        flags = [word for one in ('data.streams=["rgb"]', *settings) for word in ("--set", one)]
        return wtal(command, tiny, *(() if command == "validate" else ("--out", tmp_path / "out")), *flags)

    return do


def test_seconds_of_a_snippet_come_from_the_grid(run, tmp_path):
    assert run(CONTEXT, CROP, command="run").code == 0
    weights = load_file(tmp_path / "out" / "seed-0" / "checkpoints" / "rgb.safetensors")
    assert weights["model.decoder.embedding.0.weight"].shape == (4, 4, 3)  # 0.6 s are 3 snippets of 2 frames


def test_a_context_needs_neighbours(run):
    answer = run(CONTEXT)
    assert (answer.code, answer.err) == (
        2,
        "error: decoder 'snippet-classifier' of wtal-core 0.1.0 looks at 1 snippets to each side, and training.clip "
        "'segments' does not show neighbours; use 'crop' or 'whole'\n",
    )


def test_a_context_needs_snippets_of_one_length(run, tiny):
    def lengthen(content):
        content["database"]["v0"]["duration"] = 2.3

    grid = "data.grid='duration'"
    assert run(CONTEXT, CROP, grid).code == 0
    edit_json(tiny.with_name("annotations.json"), lengthen)
    assert run(CROP, grid, "model.decoder='snippet-classifier'").code == 0
    answer = run(CONTEXT, CROP, grid)
    assert (answer.code, answer.err) == (
        2,
        "error: decoder 'snippet-classifier' of wtal-core 0.1.0: context is in seconds, and the snippets of the "
        "training videos have no common length; set it to 'neighbours', or give data.grid in frames\n",
    )


def test_all_stages_that_lack_a_context_are_named_beside_what_else_is_wrong(run, tiny):
    edit_json(tiny.with_name("annotations.json"), lambda content: content["database"]["v0"].update(duration=2.3))
    with tiny.open("a") as file:
        file.write("[[stages]]\n[[stages]]\nlocalization = { clip = { name = 'uniform', snippets = 4 } }\n[[stages]]\n")
        file.write("model = { decoder = 'snippet-classifier' }\nteacher = 'label-set'\n")
    answer = run(CONTEXT, CROP, "data.grid='duration'")
    lacks = (
        "decoder 'snippet-classifier' of wtal-core 0.1.0: context is in seconds, and the snippets of the training "
        "videos have no common length; set it to 'neighbours', or give data.grid in frames\n"
    )
    assert (answer.code, answer.err) == (
        2,
        f"error: stages[0]: {lacks}error: stages[1]: {lacks}"
        "error: stages[2]: a teacher speaks of every snippet, so localization.clip of the stage before must be "
        "'whole', got 'uniform'\n",
    )


def test_a_guide_without_an_attention_that_is_learnt_is_refused_before_training(run):
    settings = ("training.losses=['background']", CROP)
    plain = "model.decoder={ name = 'snippet-classifier', hidden = 4, background = true, suppressed = "
    answer = run(plain + "false }", *settings)
    assert (answer.code, answer.err) == (
        2,
        "error: loss 'background' of wtal-core 0.1.0 fails on a small example: ValueError: it needs a decoder that "
        "learns one attention for all classes, as snippet-classifier does with suppressed = true\n",
    )
    assert run(plain + "true }", *settings).code == 0


def test_stages_learn_from_label_sets(run, tiny, tmp_path):
    """A stage of two models, and one that learns what they say; the labels are found where they are."""
    with tiny.open("a") as file:
        file.write("[[stages]]\nmodels = 2\n[[stages]]\nteacher = { name = 'label-set', smoothing = 0.6 }\n")
        file.write("training = { losses = ['snippet-targets', 'label-set'] }\n")
    decoder = (
        "model.decoder={ name = 'snippet-classifier', hidden = 4, background = true, pooling = 'top-k', context = 0.6 }"
    )
    assert run(decoder, CROP, "training.losses=['label-set']", "training.iterations=3", command="run").code == 0
    lines = [json.loads(line) for line in next((tmp_path / "out").rglob("metrics.jsonl")).read_text().splitlines()]
    assert {"classification", "label_set", "snippets"} <= set(lines[-1])
    assert "snippets" not in lines[0]
