"""Experiments composed of real components, from files to a table."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file
from wtal_core.cli import main


def wtal(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def localization(run: Path) -> np.ndarray:
    return np.array(json.loads((run / "evaluation.json").read_text())["localization"]["mean_ap"])


@pytest.mark.parametrize("aggregator", ["dropout", "maa", "max", "mean", "norm", "softmax-norm", "weighted-sum"])
def test_every_aggregator_runs_by_name(pristine, tmp_path, capsys, aggregator):
    code = wtal("run", pristine / "maan.toml", "--set", f"model.aggregator={aggregator}", "--out", tmp_path)
    assert code == 0
    assert "Cls mAP" in capsys.readouterr().out
    run = tmp_path / "seed-0"
    assert {path.name for path in run.iterdir()} == {
        "checkpoints",
        "classification.json",
        "config.toml",
        "detections.json",
        "environment.json",
        "evaluation.json",
        "metrics.jsonl",
        "predictions",
        "warnings.json",
    }
    assert f'aggregator = "{aggregator}"' in (run / "config.toml").read_text()


def test_an_attention_and_an_exponent_for_each_class(pristine, tmp_path):
    settings = (
        "model.decoder.class_wise=true",
        "model.aggregator=class-softmax",
        "localization.activation=attended-st-gradcam",
        'data.streams=["rgb"]',
    )
    words = [word for setting in settings for word in ("--set", setting)]
    assert wtal("run", pristine / "maan.toml", *words, "--out", tmp_path) == 0
    run = tmp_path / "seed-0"
    tensors = load_file(run / "checkpoints" / "rgb.safetensors")
    (exponent,) = (tensor for name, tensor in tensors.items() if re.search("aggregator.*exponent$", name))
    assert exponent.shape == (3,)
    assert len(set(exponent)) == 3  # each has learnt for itself
    with h5py.File(run / "predictions" / "test.h5") as file:
        attention = next(iter(file.values()))["rgb/attention"][()]
    assert (attention[0] != attention[1]).any()


def test_training_finds_actions_that_labels_alone_reveal(pristine, tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    assert wtal("run", pristine / "maan.toml", "--set", "training.iterations=1", "--out", few) == 0
    assert wtal("run", pristine / "maan.toml", "--set", "training.iterations=300", "--out", many) == 0
    untrained, trained = localization(few / "seed-0"), localization(many / "seed-0")
    assert trained[0] > 0.7
    assert (trained > untrained + 0.3).all()


def test_same_seed_same_bytes_other_seed_others(pristine, tmp_path):
    for out in ("one", "two"):
        assert wtal("run", pristine / "maan.toml", "--seeds", "0,1", "--out", tmp_path / out) == 0
    names = [
        "detections.json",
        "classification.json",
        "evaluation.json",
        "metrics.jsonl",
        "checkpoints/rgb.safetensors",
    ]
    for name in names:
        contents = [
            (tmp_path / out / seed / name).read_bytes() for seed in ("seed-0", "seed-1") for out in ("one", "two")
        ]
        assert contents[0] == contents[1]
        assert contents[2] == contents[3]
        assert contents[0] != contents[2]


def test_parts_give_what_the_whole_gives(pristine, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert wtal("run", pristine / "maan.toml", "--out", whole) == 0
    assert wtal("train", pristine / "maan.toml", "--out", parts) == 0
    assert wtal("localize", parts / "seed-0") == 0
    assert wtal("evaluate", parts / "seed-0") == 0
    for name in ("detections.json", "classification.json", "evaluation.json", "config.toml"):
        assert (whole / "seed-0" / name).read_bytes() == (parts / "seed-0" / name).read_bytes()


def test_localizing_again_with_another_threshold(pristine, tmp_path, capsys):
    assert wtal("run", pristine / "maan.toml", "--out", tmp_path) == 0
    run = tmp_path / "seed-0"
    before = (run / "detections.json").read_bytes()
    assert wtal("localize", run, "--set", "localization.proposer.threshold=0.9") == 0
    assert (run / "detections.json").read_bytes() != before
    assert not (run / "evaluation.json").exists()
    assert "threshold = 0.9" in (run / "config.toml").read_text()
    assert wtal("evaluate", run) == 0
    assert (run / "evaluation.json").exists()


def test_localizing_again_runs_no_network(pristine, tmp_path):
    assert wtal("run", pristine / "maan.toml", "--out", tmp_path) == 0
    run = tmp_path / "seed-0"
    before = (run / "detections.json").read_bytes()
    # The checkpoints have the bytes that the predictions were made with, so these hold; but no model can be loaded.
    config = run / "config.toml"
    config.write_text(config.read_text().replace("iterations = 40", "iterations = 41"))
    assert wtal("localize", run) == 0
    assert (run / "detections.json").read_bytes() == before
    # Another activation is not what was stored.
    assert wtal("localize", run, "--set", "localization.activation=attention") == 2


def test_sweep_looks_at_the_training_subset_unless_told(pristine, tmp_path, capsys):
    assert wtal("run", pristine / "maan.toml", "--set", "training.iterations=200", "--out", tmp_path) == 0
    run = tmp_path / "seed-0"
    capsys.readouterr()
    grid = ("--grid", "localization.proposer.threshold=[0.2,0.95]")
    assert wtal("sweep", run, *grid) == 0
    out = capsys.readouterr().out
    command = f"wtal localize {run} --set localization.proposer.threshold=0.2"
    assert out.splitlines()[-1] == f"best of 2 on the training subset: {command}"
    assert (run / "predictions" / "training.h5").exists()
    assert wtal("sweep", run, *grid, "--on-test-subset") == 0
    out = capsys.readouterr().out
    assert "best of 2 on the test subset" in out
    # The figures are those that localizing and evaluating with the same setting gives.
    swept = next(line for line in out.splitlines() if line.startswith("proposer.threshold=0.2"))
    assert wtal("localize", run, "--set", "localization.proposer.threshold=0.2") == 0
    capsys.readouterr()
    assert wtal("evaluate", run) == 0
    evaluated = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(str(run)))
    assert swept.split()[1:] == evaluated.split()[1:]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            "training.clip.snippets=[1,2]",
            "error: --grid training.clip.snippets=[1,2]: a sweep changes how stored activations become detections, so "
            "keys begin with localization. and are not localization.activation or localization.clip\n",
        ),
        (
            "localization.proposer.threshold=0.2",
            "error: --grid localization.proposer.threshold=0.2: expected key=[value, ...], such as "
            "localization.proposer.threshold=[0.1,0.2]\n",
        ),
    ],
)
def test_a_wrong_grid_is_refused(pristine, tmp_path, capsys, grid, message):
    assert wtal("train", pristine / "maan.toml", "--set", "training.iterations=1", "--out", tmp_path) == 0
    assert wtal("sweep", tmp_path / "seed-0", "--grid", grid) == 2
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "model.aggregator=weightedsum",
            "error: unknown aggregator 'weightedsum'; did you mean 'weighted-sum'?\n",
        ),
        (
            "localization.suppressor.treshold=0.5",
            f"error: suppressor 'nms' of wtal-localize {version('wtal-localize')} has no option 'treshold'; "
            "did you mean 'threshold'? its options: threshold, across_classes\n",
        ),
        (
            "evaluation.evaluator=activitynt",
            "error: unknown evaluator 'activitynt'; did you mean 'activitynet'?\n",
        ),
    ],
)
def test_a_misspelt_component_costs_no_training(pristine, tmp_path, capsys, setting, message):
    assert wtal("run", pristine / "maan.toml", "--set", setting, "--out", tmp_path / "new") == 2
    assert capsys.readouterr().err == message
    assert not (tmp_path / "new").exists()


def test_attended_st_gradcam_of_a_linear_head_is_the_cas(pristine, tmp_path):
    assert wtal("run", pristine / "maan.toml", "--out", tmp_path) == 0
    run = tmp_path / "seed-0"
    by_weights = (run / "predictions" / "test.h5").read_bytes(), json.loads((run / "detections.json").read_text())
    assert wtal("localize", run, "--set", "localization.activation=attended-st-gradcam") == 0
    by_gradient = (run / "predictions" / "test.h5").read_bytes(), json.loads((run / "detections.json").read_text())
    assert by_gradient[0] != by_weights[0]  # it was computed anew
    for name, records in by_weights[1]["results"].items():
        others = by_gradient[1]["results"][name]
        assert [r["label"] for r in others] == [r["label"] for r in records]
        np.testing.assert_allclose([r["segment"] for r in others], [r["segment"] for r in records])
        np.testing.assert_allclose([r["score"] for r in others], [r["score"] for r in records], rtol=1e-5)


def test_streams_fused_by_attention(pristine, tmp_path):
    assert wtal("run", pristine / "maan.toml", "--set", "localization.fusion=attention", "--out", tmp_path) == 0
    results = json.loads((tmp_path / "seed-0" / "detections.json").read_text())["results"]
    assert len(results) == 12
    assert sum(map(len, results.values())) > 0


@pytest.mark.parametrize("fusion", ["activations", "attention"])
def test_attention_is_cut_beside_the_activation(pristine, tmp_path, fusion):
    settings = ["--set", f"localization.fusion={fusion}", "--set", "localization.proposer.name=multi-threshold"]
    assert wtal("run", pristine / "maan.toml", *settings, "--out", tmp_path) == 0
    run = tmp_path / "seed-0"
    only_maxima = ["--set", "localization.proposer.threshold=1.0", "--set", "localization.suppressor=none"]

    def count(levels):
        grid = f"localization.proposer.attention_threshold={levels}"
        assert wtal("localize", run, *only_maxima, "--set", grid) == 0
        return sum(map(len, json.loads((run / "detections.json").read_text())["results"].values()))

    assert count("[0.1, 0.3, 0.5]") > count("[]") > 0


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "must be finite, got nan"), (-0.5, "must be zero or more, got -0.5")]
)
def test_a_wrong_activation_names_its_video_and_class(pristine, tmp_path, capsys, value, said):
    assert wtal("run", pristine / "maan.toml", "--set", 'data.streams=["rgb"]', "--out", tmp_path) == 0
    capsys.readouterr()
    run = tmp_path / "seed-0"
    with h5py.File(run / "predictions" / "test.h5", "r+") as file:
        name = sorted(file)[3]
        file[f"{name}/rgb/attention"][1, 2] = value
        file[f"{name}/rgb/response"][1, 2] = 1
    assert wtal("localize", run) == 2
    assert capsys.readouterr().err == f"error: video {name!r}: activation {said} for class 1 at snippet 2\n"
