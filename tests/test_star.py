"""STAR in the runner: end to end with gradient maps and fused attention, Table 1's commands, and what it refuses."""

import json
import re
import shlex
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
import wtal_aggregators
from wtal_core import check, config
from wtal_core.cli import main
from wtal_core.registry import discover
from wtal_core.source import preset_file

LITERAL = preset_file(discover(), "star-literal-thumos14")
STAR = ("model.decoder=star", "localization.activation=attended-st-gradcam", "localization.fusion=attention")


def wtal(command: str, path: Path | str, *settings: str, out: Path | None = None) -> int:
    words = [command, str(path), *(word for setting in settings for word in ("--set", setting))]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--out", str(out)] if out else words)
    return stop.value.code or 0


def evaluation(run: Path) -> tuple[np.ndarray, float]:
    content = json.loads((run / "evaluation.json").read_text())
    return np.array(content["localization"]["mean_ap"]), content["classification"]["mean_ap"][0]


def labels(folder: Path, video: str) -> set[str]:
    database = json.loads((folder / "annotations.json").read_text())["database"]
    return {annotation["label"] for annotation in database[video]["annotations"]}


@pytest.fixture(scope="module")
def trained(pristine, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("star")
    assert wtal("run", pristine / "maan.toml", *STAR, "training.iterations=300", out=out) == 0
    return out / "seed-0"


def test_star_finds_actions_that_labels_alone_reveal(pristine, trained, tmp_path):
    assert wtal("run", pristine / "maan.toml", *STAR, "training.iterations=1", out=tmp_path) == 0
    (untrained, before), (mean_ap, after) = evaluation(tmp_path / "seed-0"), evaluation(trained)
    assert mean_ap[0] > 0.7
    assert (mean_ap > untrained + 0.3).all()
    assert after > max(before, 0.9)


def test_rows_of_table_2_localize_one_training_again(trained, capsys):
    checkpoint = trained / "checkpoints" / "rgb.safetensors"
    weights, detections = checkpoint.read_bytes(), set()
    for activation in ("attention", "st-gradcam", "attended-st-gradcam"):
        assert wtal("localize", trained, f"localization.activation={activation}") == 0
        assert wtal("evaluate", trained) == 0
        assert evaluation(trained)[0][0] > 0
        detections.add((trained / "detections.json").read_bytes())
    assert len(detections) == 3
    assert checkpoint.read_bytes() == weights


COMMANDS = re.findall(r"^#     (wtal run .+ --out .+)$", LITERAL.read_text(), re.MULTILINE)


def test_table_1_has_eight_rows():
    rows = [tuple(sorted(config.load(LITERAL, [shlex.split(c)[-1]]).model.decoder["modules"])) for c in COMMANDS]
    assert len(set(rows)) == len(rows) == 8


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: shlex.split(command)[4])
def test_row_of_table_1_runs_as_documented(pristine, tmp_path, command):
    _, _, file, _, _, _, setting = shlex.split(command)
    assert file == LITERAL.stem
    small = (
        f"data.annotations={pristine / 'annotations.json'}",
        f"data.features={pristine / 'features'}",
        "data.training_subset=training",
        "data.test_subset=validation",
        "data.grid.frames_per_second=16",
        "training.iterations=2",
        "training.batch_size=4",
    )
    assert wtal("run", file, setting, *small, out=tmp_path) == 0
    modules = config.load(tmp_path / "seed-0" / "config.toml").model.decoder["modules"]
    metrics = [json.loads(line) for line in (tmp_path / "seed-0" / "metrics.jsonl").read_text().splitlines()]
    assert {line["stream"] for line in metrics} == {"rgb", "flow"}
    for line in metrics:
        assert line.keys() == {"stream", "iteration", "loss", "classification", *modules}


def test_ram_without_counts_is_said_once(pristine, tmp_path, capsys):
    def said():
        """Standard error, less what is said of models that three iterations leave as they were drawn."""
        return [line for line in capsys.readouterr().err.splitlines() if "has collapsed" not in line]

    ram = (*STAR, 'model.decoder.modules=["ram"]', "training.iterations=3")
    with pytest.raises(SystemExit):
        main(
            ["run", str(pristine / "maan.toml"), "--seeds", "0,1", "--out", str(tmp_path / "labels")]
            + [word for setting in ram for word in ("--set", setting)]
        )
    assert said() == [
        "warning: RAM is off: it learns from instance counts, and the targets have none; "
        "in an experiment of wtal, data.counts = true gives them"
    ]
    assert wtal("run", pristine / "maan.toml", *ram, "data.counts=true", out=tmp_path / "counts") == 0
    assert said() == []


def test_a_video_with_too_many_labels_is_named(pristine, tmp_path, capsys):
    for command in ("validate", "run"):
        assert wtal(command, pristine / "maan.toml", *STAR, "model.decoder.max_steps=1", out=tmp_path / "new") == 2
        found = re.fullmatch(
            r"error: decoder 'star', video '(video_\d\d)' has 2 labels, and max_steps is 1: "
            r"raise it to 3, a step for each label and one for the end symbol\n",
            capsys.readouterr().err,
        )
        assert found
        assert len(labels(pristine, found[1])) == 2
    assert not (tmp_path / "new").exists()  # before any training


def test_a_video_whose_present_label_counts_nothing_is_named(pristine, tmp_path, capsys, monkeypatch):
    # Annotations cannot say so, because each one counts; other code that makes targets can.
    targets = check.targets_of

    def forgetful(*arguments):
        made = targets(*arguments)
        return made._replace(counts=made.counts * torch.tensor([0.0, 1.0, 1.0]))

    monkeypatch.setattr(check, "targets_of", forgetful)
    assert wtal("run", pristine / "maan.toml", *STAR, "data.counts=true", out=tmp_path) == 2
    found = re.fullmatch(
        r"error: decoder 'star', video '(video_\d\d)' has class 0, but its count is 0: "
        r"give at least 1, or drop the label\n",
        capsys.readouterr().err,
    )
    assert found
    assert "jump" in labels(pristine, found[1])


def test_an_aggregator_of_another_width_is_named_before_training(pristine, tmp_path, capsys, monkeypatch):
    narrow = wtal_aggregators.Norm.forward
    monkeypatch.setattr(wtal_aggregators.Norm, "forward", lambda *arguments: narrow(*arguments).repeat(1, 2))
    assert wtal("run", pristine / "maan.toml", *STAR, "model.aggregator=norm", out=tmp_path / "new") == 2
    assert capsys.readouterr().err == (
        f"error: aggregator 'norm' of wtal-aggregators {version('wtal-aggregators')} fails on a small example: "
        "ContractError: features (2, 6, 8) must give pooled features (2, 8), got (2, 16)\n"
    )
    assert not (tmp_path / "new").exists()
