"""Stages: one teaches the next, models continue and freeze, several are averaged, and all of it resumes to the byte."""

import itertools
import json
import random
import shutil
from typing import ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from wtal_core import check, config
from wtal_core import run as runs
from wtal_core.builtin.attention_pooling import AttentionPooling
from wtal_core.prediction.fuse import fuse
from wtal_core.prediction.predict import StreamPrediction
from wtal_core.run import metrics, results, steps
from wtal_core.testing import tmp_plugin
from wtal_core.training import loop

from .conftest import edit_json

pytestmark = pytest.mark.usefixtures("fakes")

THREE = """
[[stages]]
models = 2

[[stages]]
model = { decoder = { name = "snippet-classifier", hidden = 6 } }
training = { losses = ["snippet-targets"], iterations = 7 }
teacher = "sure"

[[stages]]
model = { decoder = { name = "snippet-classifier", hidden = 6 } }
training = { losses = [{ name = "snippet-targets", weight = 0.5 }], iterations = 6 }
teacher = { name = "sure", threshold = 0.3 }
start = "continue"
frozen = ["embedding"]
models = 3
"""


class Sure:
    """Says of a video's own classes where they are active; of the others, nothing."""

    heard: ClassVar = []  # of all that were built

    def __init__(self, threshold=0.5):
        self.threshold = threshold

    def __call__(self, prediction, detections, edges, video):
        self.heard.append((self.threshold, prediction, detections, edges, video))
        targets, own = np.full((len(video.labels), len(edges) - 1), np.nan), video.labels > 0
        active = np.ones(targets.shape) if prediction is None else prediction.activation
        targets[own] = active[own] > self.threshold * active.max()
        return targets


@pytest.fixture(autouse=True)
def sure():
    """Install the teacher `sure`; what it hears."""
    Sure.heard.clear()
    with tmp_plugin("teacher", "sure", Sure):
        yield Sure.heard


def staged(tiny, stages, streams='["rgb"]'):
    """Give the tiny experiment these stages."""
    text = tiny.read_text().replace("streams = ['rgb', 'flow']", f"streams = {streams}")
    tiny.write_text(text.replace("iterations = 12", "iterations = 6") + stages)
    return tiny


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def complete(experiment, found, path, resume=False):
    """Run an experiment to its end."""
    run = runs.create(path, experiment, found, resume=resume)
    runs.train(run)
    runs.evaluate(run, runs.localize(run))
    return run


@pytest.fixture
def done(wtal, tiny, tmp_path):
    """The directory of a finished run of three stages."""
    answer = wtal("run", staged(tiny, THREE), "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    return tmp_path / "out" / "seed-0"


def weights(run, name):
    tensors = safetensors.torch.load_file(run / "checkpoints" / f"{name}.safetensors")
    return {key.removeprefix("model."): tensor for key, tensor in tensors.items() if key.startswith("model.")}


# What a run of stages holds


def test_a_run_of_stages_shows_them(done):
    assert set(contents(done)) == {
        "checkpoints/stage-0/model-0/rgb.safetensors",
        "checkpoints/stage-0/model-1/rgb.safetensors",
        "checkpoints/stage-1/rgb.safetensors",
        "checkpoints/stage-2/model-0/rgb.safetensors",
        "checkpoints/stage-2/model-1/rgb.safetensors",
        "checkpoints/stage-2/model-2/rgb.safetensors",
        "predictions/stage-0/training.h5",
        "predictions/stage-1/training.h5",
        "predictions/stage-2/test.h5",
        "classification.json",
        "config.toml",
        "detections.json",
        "environment.json",
        "evaluation.json",
        "metrics.jsonl",
        "stages.json",
        "warnings.json",
    }
    logged = [json.loads(line) for line in (done / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stream"], line["iteration"]) for line in logged] == [
        ("stage-0/model-0/rgb", 6),
        ("stage-0/model-1/rgb", 6),
        ("stage-1/rgb", 7),
        ("stage-2/model-0/rgb", 6),
        ("stage-2/model-1/rgb", 6),
        ("stage-2/model-2/rgb", 6),
    ]
    assert list(logged[2]) == ["stream", "iteration", "classification", "snippets", "loss"]


def test_stages_json_says_who_taught_and_what_was_not_taken_over(done):
    teacher = {"name": "sure", "threshold": 0.3}
    nobody = {"full_supervision": False, "models": 1, "start": "fresh", "fresh": {}}
    assert json.loads((done / "stages.json").read_text()) == {
        "stage-0": nobody | {"teacher": None, "models": 2},
        "stage-1": nobody | {"teacher": "sure"},
        "stage-2": {
            "teacher": teacher,
            "full_supervision": False,
            "models": 3,
            "start": "continue",
            "fresh": {f"stage-2/model-{member}/rgb": [] for member in range(3)},
        },
    }


def test_the_first_model_of_the_first_stage_is_that_of_a_run_without_stages(wtal, tiny, done, tmp_path):
    plain = tmp_path / "plain.toml"
    text = tiny.read_text().split("[[stages]]")[0]
    for name in ("annotations.json", "features"):
        text = text.replace(f'"{name}"', f'"{tiny.parent / name}"')
    plain.write_text(text)
    assert wtal("train", plain, "--out", tmp_path / "plain").code == 0
    alone = (tmp_path / "plain" / "seed-0" / "checkpoints" / "rgb.safetensors").read_bytes()
    assert (done / "checkpoints" / "stage-0" / "model-0" / "rgb.safetensors").read_bytes() == alone


def test_one_stage_without_a_teacher_keeps_the_plain_layout(wtal, tiny, tmp_path):
    assert wtal("run", staged(tiny, '[[stages]]\nstart = "fresh"\n'), "--out", tmp_path).code == 0
    files = set(contents(tmp_path / "seed-0"))
    assert {"checkpoints/rgb.safetensors", "predictions/test.h5"} < files
    assert not [name for name in files if "stage" in name]


def test_models_and_stages_start_differently(wtal, tiny, tmp_path):
    two = "[[stages]]\nmodels = 2\n[[stages]]\nmodels = 2\n"
    for seed in (0, 1):
        assert wtal("train", staged(tiny, two), "--out", tmp_path, "--seeds", seed).code == 0
        two = ""  # the file has them now
    found = [file.read_bytes() for file in sorted(tmp_path.rglob("*.safetensors"))]
    assert len(found) == len(set(found)) == 8


# Teachers


def test_a_teacher_hears_the_stage_before(done, sure):
    before = {threshold: [one for one in sure if one[0] == threshold] for threshold in (0.5, 0.3)}
    names = [f"v{n}" for n in range(6)]
    for threshold, stage in ((0.5, 0), (0.3, 1)):
        real = [one for one in before[threshold] if one[4].name in names]
        assert [one[4].name for one in real] == names
        run = runs.reopen(done, [], section="localization")
        stored = runs.predict(run, "training", stage=stage)
        for _, prediction, detections, edges, video in real:
            (expected,) = fuse(stored[video.name], run.experiment.localization)
            np.testing.assert_array_equal(prediction.activation, expected.activation)
            np.testing.assert_array_equal(prediction.class_scores, expected.class_scores)
            np.testing.assert_allclose(edges, np.arange(11) / 5, rtol=1e-12)
            assert len(detections.label) > 0
            assert video.labels.tolist() == [1 - int(video.name[1]) % 2, int(video.name[1]) % 2]
            assert video.segments is None


def test_a_stage_of_several_models_teaches_their_mean(done):
    """Model by model, by hand."""
    run = runs.reopen(done, [], section="localization")
    models = steps.load_models(run, 0)["rgb"]
    assert len(models) == 2
    assert not any(module.training for model in models for module in model.modules())
    video = run.dataset.training[2]
    features = torch.from_numpy(run.dataset.read(video, "rgb")).unsqueeze(0)
    found = [StreamPrediction(*_maps(model, features)) for model in models]
    (stored,) = runs.predict(run, "training", stage=0)[video.name]
    for name in ("attention", "response", "class_scores"):
        expected = (getattr(found[0], name) + getattr(found[1], name)) / 2
        np.testing.assert_allclose(getattr(stored, name), expected, rtol=1e-6)


def _maps(model, features):
    decoding = model(model.standardized(features))
    attention = decoding.attention[0, 0].detach().double().numpy()
    response = torch.sigmoid(decoding.features[0] @ decoding.head_weight.T).T.detach().double().numpy()
    return np.broadcast_to(attention, response.shape), response, decoding.class_scores[0].detach().double().numpy()


def test_a_teacher_of_the_first_stage_hears_of_no_prediction(wtal, tiny, tmp_path, sure):
    one = '[[stages]]\nteacher = "sure"\n'
    assert wtal("train", staged(tiny, one), "--out", tmp_path).code == 0
    assert sure
    assert all(prediction is None and detections is None for _, prediction, detections, _, _ in sure)
    run = tmp_path / "seed-0"
    assert json.loads((run / "stages.json").read_text())["stage-0"]["teacher"] == "sure"
    assert (run / "checkpoints" / "rgb.safetensors").exists()
    assert not (run / "predictions").exists()


def test_a_teacher_that_cannot_teach_names_the_video(wtal, tiny, tmp_path):
    class Choosy:
        def __call__(self, prediction, detections, edges, video):
            if video.name == "v3":
                raise ValueError("too short to teach")
            return np.zeros((len(video.labels), len(edges) - 1))

    with tmp_plugin("teacher", "choosy", Choosy):
        answer = wtal("train", staged(tiny, '[[stages]]\nteacher = "choosy"\n'), "--out", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: teacher 'choosy' of tmp-plugin 0, video 'v3': too short to teach\n"


def test_a_teacher_needs_whole_videos_of_the_stage_before(wtal, tiny):
    uniform = "localization = { clip = { name = 'uniform', snippets = 4 } }\n"
    file = staged(tiny, f'[[stages]]\n{uniform}[[stages]]\nteacher = "sure"\n')
    answer = wtal("validate", file)
    assert (answer.code, answer.err) == (
        2,
        "error: stages[1]: a teacher speaks of every snippet, so localization.clip of the stage before must be "
        "'whole', got 'uniform'\n",
    )
    file.write_text(file.read_text().replace(f"[[stages]]\n{uniform}[[stages]]", f"[[stages]]\n[[stages]]\n{uniform}"))
    assert wtal("validate", file).code == 0  # the last stage may be read as one likes


# Targets


@pytest.fixture
def batches():
    """What the loss `listening` was given, whole batches in the order of training."""
    given = []

    class Listening:
        needs = ("targets.snippets",)

        def __call__(self, decoding, batch):
            given.append(batch)
            return {"nothing": decoding.class_scores.sum() * 0}

    with tmp_plugin("loss", "listening", Listening):
        yield given


LISTENING = 'training = { clip = "whole", losses = ["listening"], iterations = 2 }\n'


def test_annotated_segments_are_full_supervision_and_the_run_says_so(wtal, tiny, tmp_path, batches):
    file = staged(tiny, f'[[stages]]\nteacher = "annotations"\n{LISTENING}')
    for command, seeds in (("train", "0,1"), ("run", "1")):  # several seeds of `run` would be other processes' work
        answer = wtal(command, file, "--out", tmp_path / command, "--seeds", seeds)
        assert (answer.code, answer.err) == (0, "")
        note = "note: stage 0 is taught by 'annotations', which reads segments: full supervision"
        assert answer.out.splitlines().count(note) == 1
        record = json.loads((tmp_path / command / "seed-1" / "stages.json").read_text())["stage-0"]
        assert (record["teacher"], record["full_supervision"]) == ("annotations", True)
    database = json.loads((tiny.parent / "annotations.json").read_text())["database"]
    spoken = {
        tuple((start <= (t + 0.5) / 5 < end) for t in range(10))
        for video in database.values()
        for start, end in [video["annotations"][0]["segment"]]
    }
    for batch in batches[-2:]:
        of_label = batch.targets.snippets[torch.arange(4), batch.targets.labels.argmax(1)]
        assert {tuple(row) for row in of_label.bool().tolist()} <= spoken
        assert (batch.targets.snippets.sum(1) == of_label).all()


def test_a_run_that_learns_from_labels_says_nothing(wtal, tiny, tmp_path):
    assert "note: stage" not in wtal("train", staged(tiny, '[[stages]]\nteacher = "sure"\n'), "--out", tmp_path).out


def test_videos_without_segments_are_not_taught_by_annotations(wtal, tiny, tmp_path):
    edit_json(tiny.parent / "annotations.json", lambda c: c["database"]["v1"]["annotations"][0].pop("segment"))
    answer = wtal("train", staged(tiny, '[[stages]]\nteacher = "annotations"\n'), "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"error: {tiny.parent}/annotations.json: teacher 'annotations' of wtal-core 0.1.0 reads segments, and 1 "
        "training videos, such as 'v1', have labels without one; annotate them, or list them in data.exclude\n"
    )
    assert not (tmp_path / "out").exists()


def test_nothing_is_said_beyond_the_snippets_that_all_streams_share(wtal, tiny, tmp_path, batches):
    for number in range(6):
        file = tiny.parent / "features" / "flow" / f"v{number}.npy"
        np.save(file, np.load(file)[:9])
    stage = f'[[stages]]\nteacher = "annotations"\n{LISTENING}'
    assert wtal("train", staged(tiny, stage, '["rgb", "flow"]'), "--out", tmp_path).code == 0
    rgb, flow = (batch.targets.snippets for batch in (batches[-3], batches[-1]))
    assert rgb.shape == (4, 2, 10)
    assert rgb[..., 9].isnan().all()
    assert not rgb[..., :9].isnan().any()
    assert flow.shape == (4, 2, 9)
    assert not flow.isnan().any()


def test_targets_follow_the_rows_of_a_clip(wtal, tiny, tmp_path, batches):
    """A clip that hides a row: NaN there, and the teacher's column everywhere else."""

    class Holes:
        def __call__(self, length, generator):
            rows = np.arange(length)[length > 1 :: 2].copy()
            rows[2:3] = -1
            return rows

    class Counting:
        def __call__(self, prediction, detections, edges, video):
            T = len(edges) - 1
            return np.tile(np.arange(T) / T, (len(video.labels), 1))

    stage = '[[stages]]\nteacher = "counting"\n' + LISTENING.replace('"whole"', '"holes"')
    with tmp_plugin("clip", "holes", Holes), tmp_plugin("teacher", "counting", Counting):
        assert wtal("train", staged(tiny, stage), "--out", tmp_path).code == 0
    (batch,) = batches[-1:]
    assert batch.rows.tolist() == [[1, 3, -1, 7, 9]] * 4
    assert batch.mask.tolist() == [[True, True, False, True, True]] * 4
    assert (batch.features[:, 2] == 0).all()
    assert batch.targets.snippets[..., 2].isnan().all()
    np.testing.assert_allclose(batch.targets.snippets[0, 0, [0, 1, 3, 4]], [0.1, 0.3, 0.7, 0.9], rtol=1e-6)


# Joint streams


def test_joint_streams_are_one_model_of_features_side_by_side(wtal, tiny, tmp_path, batches):
    for number in range(6):
        file = tiny.parent / "features" / "flow" / f"v{number}.npy"
        np.save(file, 100 * np.load(file)[:9])
    stage = f'[[stages]]\nteacher = "annotations"\n{LISTENING}'
    assert wtal("run", staged(tiny, stage, '[["rgb", "flow"]]'), "--out", tmp_path).code == 0
    assert (tmp_path / "seed-0" / "checkpoints" / "rgb+flow.safetensors").exists()
    parts = []
    for stream in ("rgb", "flow"):
        videos = [np.load(tiny.parent / "features" / stream / f"v{n}.npy")[:9].astype(np.float64) for n in range(6)]
        everything = np.concatenate(videos)
        parts.append([(video - everything.mean(0)) / everything.std(0) for video in videos])
    expected = [np.concatenate(video, 1) for video in zip(*parts, strict=True)]
    batch = batches[-1]
    assert batch.features.shape == (4, 9, 8)
    for features in batch.features.numpy():
        assert any(np.allclose(features, video, rtol=1e-4, atol=1e-4) for video in expected)


# Continuing and freezing


class Grown(AttentionPooling):
    """Attention pooling with a narrower attention and a module more."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__(feature_dim, num_classes, aggregator)
        self.second = nn.Linear(feature_dim, 2)
        self.attention[0] = nn.Linear(feature_dim, 8)
        self.attention[2] = nn.Linear(8, 1)

    def loss(self, decoding, targets):
        return super().loss(decoding, targets) | {"second": self.second(decoding.pooled).square().mean()}


GROWN = '[[stages]]\n[[stages]]\nmodel = { decoder = "grown" }\nstart = "continue"\n'


@pytest.fixture
def grown():
    with tmp_plugin("decoder", "grown", Grown):
        yield


def test_what_is_equal_in_name_and_shape_is_taken_and_the_rest_is_listed(wtal, tiny, tmp_path, grown, monkeypatch):
    begun = []
    take_over = loop.take_over

    def watched(path, model):
        fresh = take_over(path, model)
        begun.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return fresh

    monkeypatch.setattr(loop, "take_over", watched)
    assert wtal("train", staged(tiny, GROWN), "--out", tmp_path).code == 0
    run = tmp_path / "seed-0"
    (taken,) = begun
    earlier = weights(run, "stage-0/rgb")
    assert torch.equal(taken["decoder.classifier.weight"], earlier["decoder.classifier.weight"])
    assert torch.equal(taken["mean"], earlier["mean"])
    assert json.loads((run / "stages.json").read_text())["stage-1"]["fresh"] == {
        "stage-1/rgb": [
            "attention.0.weight",
            "attention.0.bias",
            "attention.2.weight",
            "second.weight",
            "second.bias",
        ]
    }


def test_frozen_parameters_stay_to_the_bit_and_the_others_learn(done):
    before = weights(done, "stage-1/rgb")
    heads = set()
    for member in range(3):
        after = weights(done, f"stage-2/model-{member}/rgb")
        for name in ("decoder.embedding.0.weight", "decoder.embedding.0.bias"):
            assert torch.equal(after[name], before[name])
        assert not torch.equal(after["decoder.head.weight"], before["decoder.head.weight"])
        heads.add(after["decoder.head.weight"].numpy().tobytes())
    assert len(heads) == 3


def test_a_frozen_prefix_that_fits_nothing_is_refused(wtal, tiny, tmp_path, grown):
    file = staged(tiny, GROWN + 'frozen = ["classifier", "third"]\n')
    for command in ("validate", "train"):
        answer = wtal(command, file, "--out", tmp_path / "out")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == (
            "error: stages[1]: `frozen`: no parameter's name begins with 'third'; there are attention.0.weight, "
            "attention.0.bias, attention.2.weight, attention.2.bias, classifier.weight, second.weight, second.bias\n"
        )
    assert not (tmp_path / "out").exists()


def test_nothing_left_to_train_is_refused(wtal, tiny, grown):
    file = staged(tiny, GROWN + 'frozen = ["attention", "classifier", "second"]\n')
    answer = wtal("validate", file)
    assert (answer.code, answer.err) == (2, "error: stages[1]: `frozen` leaves nothing to train\n")


class Still(nn.Module):
    """A decoder that has nothing to learn; its loss has a gradient all the same."""

    def __init__(self, feature_dim, num_classes, aggregator):
        super().__init__()
        self.plain = AttentionPooling(feature_dim, num_classes, aggregator).requires_grad_(False)

    def forward(self, features, mask=None, targets=None):
        return self.plain(features.requires_grad_(), mask, targets)

    def loss(self, decoding, targets):
        return self.plain.loss(decoding, targets)


def test_a_decoder_that_has_nothing_to_train_is_refused(wtal, tiny):
    with tmp_plugin("decoder", "still", Still):
        answer = wtal("validate", tiny, "--set", "model.decoder=still")
    assert (answer.code, answer.err) == (2, "error: decoder 'still' of tmp-plugin 0 has no parameter to train\n")


# Resuming


@pytest.mark.parametrize("seed", range(3))
def test_a_run_of_stages_that_is_killed_again_and_again_equals_an_uninterrupted_one(tiny, tmp_path, monkeypatch, seed):
    """It is interrupted before or after whatever it does, at each checkpoint among them."""
    experiment = config.load(staged(tiny, THREE), ["training.checkpoint_every=2"])
    found = check.opened(experiment)
    complete(experiment, found, tmp_path / "whole")
    generator, left = random.Random(seed), [0]
    places = set()

    def fragile(owner, name):
        plain = getattr(owner, name)

        def call(*arguments, **options):
            for when in ("before", "after"):
                left[0] -= 1
                if left[0] == 0:
                    places.add((name, when))
                    raise KeyboardInterrupt
                if when == "before":
                    answer = plain(*arguments, **options)
            return answer

        monkeypatch.setattr(owner, name, call)

    for owner, name in (
        (loop, "save_checkpoint"),
        (loop, "make_batch"),
        (metrics, "append"),
        (results, "record_stage"),
        (results, "write_localized"),
        (steps, "save_predictions"),
        (steps, "lessons_of"),
    ):
        fragile(owner, name)
    for attempt in itertools.count():
        left[0] = generator.randrange(1, 16)
        try:
            complete(experiment, found, tmp_path / "parts", resume=True)
            break
        except KeyboardInterrupt:
            assert attempt < 200
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert {("save_checkpoint", "before"), ("save_checkpoint", "after")} & places


def test_a_continued_stage_that_is_killed_after_each_checkpoint_keeps_its_list(tiny, tmp_path, monkeypatch, grown):
    experiment = config.load(staged(tiny, GROWN), ["training.checkpoint_every=2"])
    found = check.opened(experiment)
    complete(experiment, found, tmp_path / "whole")
    save = loop.save_checkpoint
    for saves in range(1, 7):
        path, count = tmp_path / f"after-{saves}", itertools.count(1)

        def stop(*arguments, saves=saves, count=count):
            save(*arguments)
            if next(count) == saves:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
            patch.setattr(loop, "save_checkpoint", stop)
            complete(experiment, found, path)
        complete(experiment, found, path, resume=True)
        assert contents(path) == contents(tmp_path / "whole")


def test_a_finished_run_of_stages_resumes_to_itself(wtal, tiny, done):
    before = contents(done)
    assert wtal("run", tiny, "--out", done.parent, "--resume").code == 0
    assert contents(done) == before


def test_localizing_anew_leaves_what_the_teachers_read(wtal, tiny, done):
    """The settings that a teacher depended on are those of its stage, whatever localization says later."""
    before = contents(done)
    changes = ("--set", "localization.proposer.fraction=0.9", "--set", "localization.stream_weights=[2]")
    assert wtal("localize", done, *changes).code == 0
    after = contents(done)
    assert after["detections.json"] != before["detections.json"]
    for name in before:
        if name.startswith(("checkpoints", "predictions")):
            assert after[name] == before[name]
    first, second, third = config.load(done / "config.toml").stages
    assert first.localization["proposer"] == second.localization["proposer"] == "threshold"
    assert first.localization["stream_weights"] == second.localization["stream_weights"] == [1]
    assert third.localization == {}
    assert wtal("train", done / "config.toml", "--out", done.parent, "--resume").code == 0
    assert wtal("run", tiny, "--out", done.parent, "--resume").code == 0
    assert contents(done) == before


def test_the_last_stage_s_own_localization_is_what_localizing_anew_changes(wtal, tiny, tmp_path):
    own = "localization = { proposer = { name = 'threshold', fraction = 0.9 } }\n"
    assert wtal("run", staged(tiny, f"[[stages]]\n[[stages]]\n{own}"), "--out", tmp_path).code == 0
    run = tmp_path / "seed-0"
    before = contents(run)
    kept = config.load(run / "config.toml")
    assert kept.localization.proposer == {"name": "threshold", "fraction": 0.9}
    assert kept.stages[0].localization["proposer"] == "threshold"
    assert wtal("localize", run, "--set", "localization.proposer.fraction=0.1").code == 0
    assert contents(run)["detections.json"] != before["detections.json"]
    assert wtal("run", tiny, "--out", tmp_path, "--resume").code == 0
    assert contents(run) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"stage-0": 3}', "Expected `object`, got `int` - at `$[...]`"),
        ("\0" * 80, "line 1: a NUL byte, which no text has; save it as UTF-8"),
    ],
)
def test_a_spoilt_stages_json_is_one_line(wtal, tiny, done, content, said):
    (done / "stages.json").write_text(content)
    shutil.rmtree(done / "checkpoints" / "stage-2")
    answer = wtal("run", tiny, "--out", done.parent, "--resume")
    assert (answer.code, len(answer.out.splitlines())) == (2, 2)  # what the features and the annotations are
    assert answer.err == f"error: {done}/stages.json: not a record of stages: {said}; delete it\n"


def test_a_teacher_that_says_nothing_at_all(wtal, tiny, tmp_path):
    class Silent:
        def __call__(self, prediction, detections, edges, video):
            return np.full((len(video.labels), len(edges) - 1), np.nan)

    stages = '[[stages]]\nteacher = "silent"\n'
    with tmp_plugin("teacher", "silent", Silent):
        answer = wtal("run", staged(tiny, stages), "--out", tmp_path / "out")
    said = "error: teacher 'silent' of tmp-plugin 0 says nothing of any snippet of the training videos\n"
    assert (answer.code, answer.err) == (2, said)


@pytest.mark.parametrize(("hidden", "sound"), [(6, True), (7, False)])
def test_what_is_frozen_must_come_from_the_stage_before(wtal, tiny, hidden, sound):
    stages = """
    [[stages]]
    model = { decoder = { name = "snippet-classifier", hidden = 6 } }
    [[stages]]
    model = { decoder = { name = "snippet-classifier", hidden = HIDDEN } }
    start = "continue"
    frozen = ["embedding"]
    """.replace("HIDDEN", str(hidden))
    answer = wtal("validate", staged(tiny, stages))
    said = (
        "error: stages[1]: `frozen`: the stage before has no parameter 'embedding.0.weight' of shape (7, 4, 1) to "
        "take over, and nothing else would move it from where it was drawn\n"
    )
    assert (answer.code, answer.err) == ((0, "") if sound else (2, said))


# A teacher that says nothing of a class


def short(content):
    """Every 'jump' lies between the middles of two snippets."""
    for video in content["database"].values():
        for one in video["annotations"]:
            if one["label"] == "jump":
                one["segment"] = [0.55, 0.65]


@pytest.mark.parametrize("command", ["train", "validate"])
def test_annotations_that_cover_no_snippet_are_told_before_training(wtal, tiny, tmp_path, command):
    edit_json(tiny.parent / "annotations.json", short)
    stages = '[[stages]]\n[[stages]]\nteacher = "annotations"\n'
    answer = wtal(command, staged(tiny, stages), "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "error: stages[1]: teacher 'annotations' of wtal-core 0.1.0 says nothing of class 'jump' in any of its 3 "
        "training videos; correct what it reads of them, list them in data.exclude, or choose another teacher\n"
    )
    assert not (tmp_path / "out").exists()


class Deaf:
    """Says nothing of a class, or next to nothing."""

    def __init__(self, *, says=float("nan"), classes=(1,)):
        self.says, self.classes = says, classes

    def __call__(self, prediction, detections, edges, video):
        targets = np.tile(video.labels[:, None], len(edges) - 1)
        targets[list(self.classes)] = self.says
        return targets


def test_a_first_teacher_that_leaves_out_a_class_is_told_before_training(wtal, tiny, tmp_path):
    with tmp_plugin("teacher", "deaf", Deaf):
        answer = wtal("train", staged(tiny, '[[stages]]\nteacher = "deaf"\n'), "--out", tmp_path / "out")
        zero = "[[stages]]\nteacher = { name = 'deaf', says = 0.0, classes = [0, 1] }\n"
        tiny.write_text(tiny.read_text().replace('[[stages]]\nteacher = "deaf"\n', zero))
        both = wtal("train", tiny, "--out", tmp_path / "out")
    told = "correct what it reads of them, list them in data.exclude, or choose another teacher\n"
    assert (answer.code, both.code) == (2, 2)
    assert answer.err == (
        f"error: teacher 'deaf' of tmp-plugin 0 says nothing of class 'run' in any of its 3 training videos; {told}"
    )
    assert both.err == (
        "error: teacher 'deaf' of tmp-plugin 0 says nothing of 2 classes, such as 'jump', in any of their 6 training "
        f"videos; {told}"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("says", [0.0, 0.05, 0.2, "nan"])
def test_a_later_teacher_that_leaves_out_a_class_is_a_warning_that_stays(wtal, tiny, tmp_path, says):
    stages = f"[[stages]]\n[[stages]]\nteacher = {{ name = 'deaf', says = {says} }}\n"
    with tmp_plugin("teacher", "deaf", Deaf):
        answer = wtal("run", staged(tiny, stages), "--out", tmp_path)
    said = (
        []
        if says == 0.2
        else [
            "stages[1]: teacher 'deaf' says nothing of class 'run' in any of its 3 training videos, because stages[0] "
            "does not find it; train stages[0] longer (training.iterations) or with several models (models)"
        ]
    )
    run = tmp_path / "seed-0"
    assert json.loads((run / "warnings.json").read_text())["stage 1, teacher"] == said
    assert (answer.code, answer.err) == (0, "".join(f"warning: {run}: {sentence}\n" for sentence in said))


def test_a_run_whose_process_died_is_taken_up_by_another(tiny, tmp_path):
    experiment = config.load(staged(tiny, THREE))
    runs.create(tmp_path / "died", experiment, check.opened(experiment))
    assert runs.complete(tmp_path / "died", experiment) == runs.complete(tmp_path / "lived", experiment)
    assert {**contents(tmp_path / "died"), "config.toml": b""} == {**contents(tmp_path / "lived"), "config.toml": b""}
