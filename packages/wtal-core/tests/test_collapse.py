"""Models that say the same of every video or snippet are found, and healthy ones are not suspected."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from wtal_core import config
from wtal_core import run as runs
from wtal_core.prediction.collapse import advice, collapses, spread
from wtal_core.prediction.predict import StreamPrediction

from . import naive
from .conftest import CLASSES

NAMES = ("a", "b", "c")


def drawn(seed=0, N=12, C=3, T=9, **constant):
    """Predictions of N videos that vary, but for what is given as constant: a number, or an array."""
    generator = np.random.default_rng(seed)
    shapes = {"attention": (C, T), "response": (C, T), "class_scores": (C,)}
    return [
        StreamPrediction(
            *(np.full(shape, constant.get(name, generator.random(shape))) for name, shape in shapes.items())
        )
        for _ in range(N)
    ]


def found(predictions, differs=True, untrained=None):
    C = len(predictions[0].class_scores)
    return collapses(predictions, np.broadcast_to(differs, C), NAMES[:C], untrained or drawn(seed=99, C=C)[0])


# The deviation


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-7])
def test_the_deviation_is_that_of_its_slow_twin(scale):
    values = np.random.default_rng(0).random((4, 7)) * scale
    values[0, 0], values[1, 1] = 0, 1
    assert spread(values, 1) == pytest.approx([naive.log_odds_deviation(row) for row in values.tolist()], rel=1e-9)
    assert spread(values, 0) == pytest.approx([naive.log_odds_deviation(row) for row in values.T.tolist()], rel=1e-9)


def test_small_odds_differ_as_large_ones_do():
    odds = np.array([0.5, 1.0, 2.0])
    assert spread(1e-4 * odds / (1 + 1e-4 * odds), 0) == pytest.approx(spread(odds / (1 + odds), 0))


# What is found, and what not


def test_models_that_vary_are_not_suspected():
    for seed in range(5):
        assert found(drawn(seed)) == []


@pytest.mark.parametrize("name", ["attention", "response"])
@pytest.mark.parametrize("value", [0.0, 1e-9, 0.3, 0.5, 1.0])
def test_a_map_that_is_constant_over_snippets(name, value):
    told = f"{name} hardly differs between snippets in 12 of 12 videos (about {value:.2g})"
    assert found(drawn(**{name: value})) == [told]


@pytest.mark.parametrize("deviation", [0.05, 0.08, 0.12, 0.5])
def test_the_limit_is_that_of_the_slow_twin(deviation):
    generator = np.random.default_rng(1)
    videos = []
    for number, one in enumerate(drawn(N=20)):
        T = (1, 2, 3, 40)[number % 4]
        maps = 1 / (1 + np.exp(-generator.normal(0, deviation, (3, T))))
        videos.append(one._replace(attention=maps, response=generator.random((3, T))))
    constant, of = naive.constant_videos([one.attention.tolist() for one in videos])
    assert of == 10
    answer = found(videos)
    assert bool(answer) == (constant >= 0.9 * of)
    if answer:
        assert f"in {constant} of {of} videos (about 0." in answer[0]


def test_some_videos_may_be_constant_but_not_nearly_all():
    varied, flat = drawn(N=20), drawn(N=20, attention=0.25)
    assert found(flat[:17] + varied[17:]) == []
    told = "attention hardly differs between snippets in 18 of 20 videos (about 0.25)"
    assert found(flat[:18] + varied[18:]) == [told]


def test_each_video_may_have_a_constant_of_its_own():
    videos = [one._replace(attention=np.full((3, 9), (n + 1) / 20)) for n, one in enumerate(drawn())]
    assert found(videos) == ["attention hardly differs between snippets in 12 of 12 videos (about 0.05 to 0.6)"]


def test_one_class_that_varies_is_enough():
    maps = np.full((3, 9), 0.5)
    maps[2] = np.linspace(0.1, 0.9, 9)
    assert found(drawn(attention=maps)) == []


def test_what_nobody_learns_is_no_collapse():
    """Attention of one on all that is seen, response of one: they were so before training. Or of 1 / T."""
    untrained = drawn(N=1, attention=1.0, response=1.0)[0]
    assert found(drawn(attention=1.0, response=1.0), untrained=untrained) == []
    assert len(found(drawn(attention=1.0), untrained=untrained._replace(attention=np.linspace(0, 1, 9)[None]))) == 1
    of_length = [one._replace(attention=np.full((3, T), 1 / T)) for T, one in enumerate(drawn(), start=3)]
    assert found(of_length, untrained=untrained) == []
    nearly = [*drawn(N=11, attention=1.0), drawn(N=1, attention=np.linspace(0.99, 1, 9))[0]]
    assert len(found(nearly, untrained=untrained)) == 1


def test_class_scores_that_are_constant_over_videos():
    assert found(drawn(class_scores=np.array([0.1, 0.2, 0.9]))) == [
        "class scores hardly differ between the 12 videos (about 0.1 to 0.9)"
    ]
    assert found(drawn(C=1, class_scores=0.5)) == ["class scores hardly differ between the 12 videos (about 0.5)"]


def test_a_class_that_is_never_or_always_predicted():
    videos = drawn()
    for one in videos:
        one.class_scores[:] = [1e-8, one.class_scores[1], 0.97]
    assert found(videos) == [
        "class 'a' is never predicted, as scores hardly differ between the 12 videos (about 1e-08)",
        "class 'c' is always predicted, as scores hardly differ between the 12 videos (about 0.97)",
    ]
    for one in videos:
        one.class_scores[2] = 0.02
    assert found(videos) == [
        "2 of 3 classes, such as 'a', are never predicted, as scores hardly differ between the 12 videos (about 1e-08 "
        "to 0.02)"
    ]


def test_one_class_of_few_videos_may_be_alike_by_chance():
    for N in (3, 9, 10):
        videos = drawn(N=N)
        for one in videos:
            one.class_scores[0] = 0.3
        assert len(found(videos)) == (N >= 10)


def test_a_class_in_which_videos_do_not_differ_may_have_one_score():
    videos = drawn(class_scores=np.array([0.9, 0.9, 0.9]))
    assert found(videos, differs=False) == []
    for one, score in zip(videos, np.linspace(0.1, 0.9, 12), strict=True):
        one.class_scores[1:] = score
    assert found(videos, differs=np.array([False, True, True])) == []
    assert len(found(videos, differs=np.array([True, True, False]))) == 1


@pytest.mark.parametrize("shape", [{"T": 1}, {"T": 2}, {"N": 1}, {"N": 2}])
def test_one_video_or_one_snippet_tells_nothing(shape):
    constant = {"attention": 0.5, "response": 0.5} | ({"class_scores": 0.5} if "N" in shape else {})
    assert found(drawn(**shape, **constant)) == []


def test_nan_is_no_constant():
    """It is the proposer's to name."""
    assert found(drawn(attention=np.nan, response=np.nan)) == []


# What is advised


def settings(stage=None, **training):
    stages = [config.Stage(training=stage or {})]
    experiment = config.Experiment(
        data=config.Data("", "", "duration"), training=config.Training(**training), stages=stages
    )
    return config.stages(experiment)[0]


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"weight_decay": 0.1}, "lower training.weight_decay (0.1)"),
        ({"weight_decay": 1e-3}, "lower training.weight_decay (0.001) or lower training.feature_dropout (0.5)"),
        (
            {"weight_decay": 0.01, "learning_rate": 1.0},
            "lower training.learning_rate (1) or lower training.weight_decay (0.01)",
        ),
        ({"feature_dropout": 0.99}, "lower training.feature_dropout (0.99)"),
        ({"iterations": 5, "feature_dropout": 0.0}, "raise training.iterations (5)"),
        (
            {"feature_dropout": 0.0},
            "no setting of training is unusual, so try another seed, or several models in a stage",
        ),
        ({"stage": {"weight_decay": 2}}, "lower stages[0].training.weight_decay (2)"),
    ],
)
def test_the_likely_setting_is_named_with_its_value(training, said):
    assert advice(settings(**training)) == said


# In a run

COLLAPSED = ("training.weight_decay=10", "training.learning_rate=0.05", "training.iterations=60")


def changed(*settings):
    return [part for setting in settings for part in ("--set", setting)]


def warned(run):
    return json.loads((run / "warnings.json").read_text())


@pytest.mark.usefixtures("fakes")
def test_a_run_that_collapsed_says_so_and_why(wtal, tiny, tmp_path):
    answer = wtal("run", tiny, "--out", tmp_path, *changed(*COLLAPSED))
    run = tmp_path / "seed-0"
    said = warned(run)
    assert list(said) == ["stage 0, test subset"]
    assert [sentence.partition(": ")[0] for sentence in said["stage 0, test subset"]] == [
        "stream 'rgb' has collapsed",
        "stream 'flow' has collapsed",
    ]
    for sentence in said["stage 0, test subset"]:
        assert re.search(r"attention hardly differs between snippets in 3 of 3 videos \(about 0.5\)", sentence)
        assert sentence.endswith("; lower training.weight_decay (10)")
    printed = "".join(f"warning: {run}: {sentence}\n" for sentence in said["stage 0, test subset"])
    assert (answer.code, answer.err) == (0, printed)
    assert runs.read_warnings(run) == said["stage 0, test subset"]
    before = (run / "warnings.json").read_bytes()
    assert wtal("localize", run).err == printed
    assert (run / "warnings.json").read_bytes() == before


@pytest.mark.usefixtures("fakes")
def test_a_run_that_learns_warns_of_nothing(wtal, tiny, tmp_path):
    answer = wtal("run", tiny, "--out", tmp_path, *changed("training.iterations=60", "training.feature_dropout=0"))
    assert (answer.code, answer.err) == (0, "")
    assert warned(tmp_path / "seed-0") == {"stage 0, test subset": []}


@pytest.mark.usefixtures("fakes")
def test_a_stage_that_collapsed_is_told_before_the_next_one_learns_from_it(wtal, tiny, tmp_path):
    decoder = "model = { decoder = { name = 'snippet-classifier', hidden = 4 } }\n"
    tiny.write_text(
        f"{tiny.read_text()}[[stages]]\ntraining = {{ weight_decay = 10.0, learning_rate = 0.05, iterations = 60 }}\n"
        f"[[stages]]\n{decoder}teacher = 'label-set'\ntraining = {{ losses = ['snippet-targets'] }}\n"
    )
    answer = wtal("train", tiny, "--out", tmp_path)
    said = warned(tmp_path / "seed-0")
    assert list(said) == ["stage 0, training subset", "stage 1, teacher"]
    for sentence in said["stage 0, training subset"]:
        assert sentence.startswith("stages[0]: stream ")
        assert sentence.endswith("; lower stages[0].training.weight_decay (10)")
    sentences = [sentence for part in said.values() for sentence in part]
    printed = "".join(f"warning: {tmp_path / 'seed-0'}: {sentence}\n" for sentence in sentences)
    assert len(sentences) >= 2
    assert (answer.code, answer.err) == (0, printed)


@pytest.mark.usefixtures("fakes")
def test_an_attention_that_nobody_learns_is_no_collapse_of_a_run(wtal, tiny, tmp_path):
    decoder = 'model.decoder={ name = "snippet-classifier", hidden = 4 }'
    answer = wtal("run", tiny, "--out", tmp_path, *changed(decoder, "training.iterations=60"))
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.usefixtures("fakes")
def test_a_spoilt_record_of_warnings_is_one_line(wtal, tiny, tmp_path):
    assert wtal("run", tiny, "--out", tmp_path).code == 0
    (tmp_path / "seed-0" / "warnings.json").write_text('{"stage 0, test subset": 3}')
    answer = wtal("localize", tmp_path / "seed-0")
    assert answer.code == 2
    assert answer.err == (
        f"error: {tmp_path}/seed-0/warnings.json: not a record of warnings: Expected `array`, got `int` - at "
        "`$[...]`; delete it\n"
    )


@pytest.mark.usefixtures("fakes")
def test_an_untrained_model_is_built_without_a_trace(tiny, tmp_path):
    """Looking draws nothing from the caller's generators and leaves the run's bytes alone."""
    import torch
    from wtal_core import check
    from wtal_core.run.watch import _untrained

    experiment = config.load(tiny)
    run = SimpleNamespace(**dict(zip(("registry", "dataset"), check.opened(experiment), strict=True)))
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, other = (_untrained(run, config.stages(experiment)[0], "rgb") for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(one.attention, other.attention)
    assert len(one.class_scores) == len(CLASSES)
