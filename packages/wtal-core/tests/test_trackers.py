"""Trackers: what they are told, and that they are closed."""

import json
import sys
from typing import ClassVar

import pytest
from wtal_core.testing import tmp_plugin
from wtal_core.training import loop

pytestmark = pytest.mark.usefixtures("fakes")


class Recorder:
    """Remembers what it is told."""

    told: ClassVar = []  # of all that were built

    def __init__(self, directory, *, name="r"):
        self.told.append((name, "open", directory))
        self.name = name

    def stage(self, name):
        self.told.append((self.name, "stage", name))

    def metrics(self, name, iteration, values):
        self.told.append((self.name, "metrics", name, iteration, dict(values)))

    def evaluation(self, values):
        self.told.append((self.name, "evaluation", dict(values)))

    def close(self):
        self.told.append((self.name, "close"))


@pytest.fixture
def told():
    Recorder.told.clear()
    with tmp_plugin("tracker", "recorder", Recorder):
        yield Recorder.told


def tracked(tiny, *trackers, more=""):
    tiny.write_text(f"trackers = [{', '.join(trackers)}]\n{tiny.read_text()}{more}")
    return tiny


def test_a_tracker_hears_of_models_metrics_and_results(wtal, tiny, tmp_path, told):
    file = tracked(tiny, '"recorder"', more="[[stages]]\nmodels = 2\n[[stages]]\n")
    assert wtal("run", file, "--out", tmp_path).code == 0
    run = tmp_path / "seed-0"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    models = ("stage-0/model-0", "stage-0/model-1", "stage-1")
    names = [f"{model}/{stream}" for model in models for stream in ("rgb", "flow")]
    assert [one[2] for one in told if one[1] == "stage"] == names
    heard = [one[2:] for one in told if one[1] == "metrics"]
    expected = [
        (line["stream"], line["iteration"], {k: v for k, v in line.items() if k not in ("stream", "iteration")})
        for line in lines
    ]
    assert heard == expected
    content = json.loads((run / "evaluation.json").read_text())
    results = dict(
        zip(("localization/mAP@0.1", "localization/mAP@0.5"), content["localization"]["mean_ap"], strict=True)
    )
    results["classification/mAP"] = content["classification"]["mean_ap"][0]
    assert [one[2] for one in told if one[1] == "evaluation"] == [results]
    assert [one for one in told if one[1] in ("open", "close")] == [("r", "open", run), ("r", "close")] * 2
    assert told[-1] == ("r", "close")


def test_trackers_are_closed_after_an_error_too(wtal, tiny, tmp_path, told, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    file = tracked(tiny, '"recorder"', '{ name = "recorder" }')
    monkeypatch.setattr(loop, "_step", full)
    with pytest.raises(OSError, match="no space left"):
        wtal("train", file, "--out", tmp_path)
    assert [one[1] for one in told] == ["open", "open", "stage", "stage", "close", "close"]


def test_a_tracker_that_fails_is_named_and_closed(wtal, tiny, tmp_path, told, monkeypatch):
    def refuse(self, *_):
        raise ValueError("the server is away")

    monkeypatch.setattr(Recorder, "metrics", refuse)
    answer = wtal("train", tracked(tiny, '"recorder"'), "--out", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: tracker 'recorder' of tmp-plugin 0 ")
    assert answer.err.endswith("ValueError: the server is away\n")
    assert len(answer.err.splitlines()) == 1
    assert told[-1] == ("r", "close")


def test_a_tracker_changes_nothing_of_a_run(wtal, tiny, tmp_path, told):
    assert wtal("run", tiny, "--out", tmp_path / "plain").code == 0
    assert wtal("run", tracked(tiny, '"recorder"'), "--out", tmp_path / "tracked").code == 0
    for name in ("checkpoints/rgb.safetensors", "metrics.jsonl", "detections.json", "evaluation.json"):
        assert (tmp_path / "plain" / "seed-0" / name).read_bytes() == (
            tmp_path / "tracked" / "seed-0" / name
        ).read_bytes()


def test_an_option_that_a_tracker_lacks_is_refused_before_training(wtal, tiny, tmp_path, told):
    answer = wtal("run", tracked(tiny, '{ name = "recorder", colour = "red" }'), "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.err.startswith("error: tracker 'recorder' of tmp-plugin 0 has no option 'colour'")
    assert not (tmp_path / "out").exists()
    assert told == []  # building one writes files


def test_tensorboard_that_is_not_installed(wtal, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delitem(sys.modules, "wtal_core.builtin.tensorboard", raising=False)
    answer = wtal("train", tracked(tiny, '"tensorboard"'), "--out", tmp_path)
    assert (answer.code, answer.err) == (
        2,
        "error: tracker 'tensorboard' of wtal-core 0.1.0 cannot be loaded from "
        "'wtal_core.builtin.tensorboard:TensorBoard': ImportError: the tracker needs tensorboard: "
        "pip install 'wtal-core[tensorboard]'\n",
    )
    assert not (tmp_path / "seed-0" / "checkpoints").exists()


def test_tensorboard_has_terms_and_results(wtal, tiny, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert wtal("run", tracked(tiny, '"tensorboard"'), "--out", tmp_path).code == 0
    events = EventAccumulator(str(tmp_path / "seed-0" / "tensorboard"))
    events.Reload()
    scalars = {
        f"{stream}/{term}": [scalar.step for scalar in events.Scalars(f"{stream}/{term}")]
        for stream in ("rgb", "flow")
        for term in ("classification", "loss")
    }
    assert scalars == {name: [10, 12] for name in scalars}
    assert {"localization/mAP@0.1", "localization/mAP@0.5", "classification/mAP"} <= set(events.Tags()["scalars"])
