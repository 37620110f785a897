"""Run directories: what is written, resumed, refused, and never half written."""

import errno
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from wtal_core.errors import RunError
from wtal_core.files import replacing, write
from wtal_core.training import loop

from .conftest import edit_json

FILES = {
    "checkpoints/flow.safetensors",
    "checkpoints/rgb.safetensors",
    "classification.json",
    "config.toml",
    "detections.json",
    "environment.json",
    "evaluation.json",
    "metrics.jsonl",
    "warnings.json",
    "predictions/test.h5",
}

pytestmark = pytest.mark.usefixtures("fakes")


def contents(folder):
    """Every file below a folder, by its relative path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def out(arena):
    shutil.rmtree(arena / "out", ignore_errors=True)
    return arena / "out"


@pytest.fixture
def done(wtal, tiny, arena, out):
    """The directory of a finished run: the first test that wants it runs it, the others get a copy."""
    if not (arena / "kept").exists():
        assert wtal("run", tiny, "--out", out).code == 0
        shutil.copytree(out, arena / "kept")
    else:
        shutil.copytree(arena / "kept", out)
    return out / "seed-0"


# What a run writes


def test_a_run_writes_all_its_files(done):
    assert set(contents(done)) == FILES


def test_detections_are_in_activitynets_format_best_first(done):
    content = json.loads((done / "detections.json").read_text())
    assert list(content) == ["version", "results", "external_data"]
    assert list(content["results"]) == ["v6", "v7", "v8"]
    for records in content["results"].values():
        assert records
        for record in records:
            assert list(record) == ["label", "segment", "score"]
            assert record["label"] in ("jump", "run")
            assert 0 <= record["segment"][0] < record["segment"][1] <= 2
        scores = [record["score"] for record in records]
        assert scores == sorted(scores, reverse=True)


def test_class_scores_name_every_class_of_every_test_video(done):
    results = json.loads((done / "classification.json").read_text())["results"]
    assert {name: [record["label"] for record in records] for name, records in results.items()} == {
        name: ["jump", "run"] for name in ("v6", "v7", "v8")
    }
    assert all(0 <= record["score"] <= 1 for records in results.values() for record in records)


def test_the_evaluation_holds_both_protocols(done):
    content = json.loads((done / "evaluation.json").read_text())
    assert list(content) == ["localization", "classification"]
    localization = content["localization"]
    assert localization["tiou_thresholds"] == [0.1, 0.5]
    assert list(localization["average_precision"]) == ["jump", "run"]
    assert localization["notes"] == ["recall, not precision"]
    assert len(localization["mean_ap"]) == 2


def test_the_environment_names_versions_and_every_plugin(done):
    environment = json.loads((done / "environment.json").read_text())
    assert {"numpy", "torch", "wtal-core", "wtal-fakes"} <= set(environment["versions"])
    assert environment["versions"]["wtal-fakes"] == "1.0"
    assert environment["threads"] == 1


def test_metrics_are_lines_of_both_streams(done):
    lines = [json.loads(line) for line in (done / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stream"], line["iteration"]) for line in lines] == [
        ("rgb", 10),
        ("rgb", 12),
        ("flow", 10),
        ("flow", 12),
    ]
    assert all(line["loss"] == line["classification"] for line in lines)


# The same bytes


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(wtal, tiny, done, tmp_path):
    wtal("run", tiny, "--out", tmp_path / "again")
    wtal("run", tiny, "--out", tmp_path / "other", "--seeds", "1")
    assert contents(tmp_path / "again" / "seed-0") == contents(done)
    other = contents(tmp_path / "other" / "seed-1")
    assert other["detections.json"] != contents(done)["detections.json"]


def test_train_localize_and_evaluate_make_what_run_makes(wtal, tiny, done, tmp_path):
    run = tmp_path / "steps" / "seed-0"
    steps = [("train", tiny, "--out", tmp_path / "steps"), ("localize", run), ("evaluate", run)]
    assert [(answer.code, answer.err) for answer in (wtal(*step) for step in steps)] == [(0, "")] * 3
    assert contents(run) == contents(done)


@pytest.mark.parametrize("saves", range(6))
def test_a_resumed_run_equals_an_uninterrupted_one(wtal, tiny, done, tmp_path, monkeypatch, saves):
    save, count = loop.save_checkpoint, []

    def interrupted(*arguments):
        count.append(1)
        if len(count) > saves:
            raise RunError("interrupted")
        save(*arguments)

    arguments = ["run", tiny, "--out", tmp_path / "parts"]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", interrupted)
        assert wtal(*arguments).code == 2
    assert wtal(*arguments, "--resume").code == 0
    assert contents(tmp_path / "parts" / "seed-0") == contents(done)


def test_a_finished_run_resumes_to_itself(wtal, tiny, done, out):
    before = contents(done)
    assert wtal("run", tiny, "--out", out, "--resume").code == 0
    assert contents(done) == before


@pytest.mark.parametrize(
    "spoilt",
    [
        b'{"stream": "fl',
        b"\0" * 4096,
        b"\0" * 8 + b'{"stream": "flow", "iteration": 12, "loss": 1}\n',
        b"\xff\xfe\n",
        b"[" * 200_000 + b"\n",
        b'{"stream": "flow"}\n',
        b'{"stream": "flow", "iteration": "x"}\n',
        b'{"stream": "flow", "iteration": 1, "loss": ' + b"[" * 200_000 + b"\n",
        b"7\n",
        b"\n",
    ],
)
@pytest.mark.parametrize("where", ["front", "end"])
def test_lines_that_are_no_metrics_are_dropped_on_resuming_and_said(wtal, tiny, done, out, spoilt, where):
    before = contents(done)
    file = done / "metrics.jsonl"
    good = file.read_bytes()
    if where == "front" and not spoilt.endswith(b"\n"):
        spoilt += b"\n"
    file.write_bytes(spoilt + good if where == "front" else good + spoilt)
    answer = wtal("run", tiny, "--out", out, "--resume")
    assert (answer.code, answer.err) == (0, f"warning: {file}: lines that are no metrics are dropped: 1\n")
    assert contents(done) == before


def test_metrics_that_cannot_be_written(wtal, tiny, out, monkeypatch):
    monkeypatch.setattr("wtal_core.run.metrics.cut", lambda *_: None)
    log = out / "seed-0" / "metrics.jsonl"
    log.mkdir(parents=True)
    assert refused(wtal("train", tiny, "--out", out)) == f"{log}: cannot write: Is a directory"


# What is refused


def refused(answer):
    """The message of an error that the user can fix: exit code 2, nothing but `error:` lines, no traceback."""
    assert answer.code == 2
    assert all(line.startswith("error: ") for line in answer.err.splitlines())
    assert "Traceback" not in answer.err
    return answer.err.replace("error: ", "").rstrip("\n")


def test_an_existing_run_is_refused(wtal, tiny, done, out):
    before = contents(done)
    assert refused(wtal("run", tiny, "--out", out)) == (
        f"{done} already holds a run; continue it with --resume, or choose another --out"
    )
    assert contents(done) == before


def test_a_run_folder_that_is_not_utf8_is_refused_before_training(wtal, tiny, tmp_path):
    answer = wtal("run", tiny, "--out", tmp_path / "caf\udce9")
    assert (answer.code, answer.out) == (2, "")
    shown = f"{tmp_path}/caf\\udce9/seed-0"
    assert answer.err == (
        f"error: '{shown}' is a path that is not UTF-8, and checkpoints cannot be read there; choose another --out\n"
    )
    assert not (tmp_path / "caf\udce9").exists()


def test_another_experiment_is_refused_with_the_keys_that_differ(wtal, tiny, done, out):
    before = contents(done)
    changes = ["--set", "training.iterations=20", "--set", "model.decoder.sparsity=1"]
    assert refused(wtal("train", tiny, "--out", out, "--resume", *changes)) == (
        f"{done} holds another experiment, which differs in model.decoder, model.decoder.name, model.decoder.sparsity, "
        "training.iterations; choose another --out"
    )
    assert contents(done) == before


@pytest.mark.parametrize("command", ["localize", "evaluate"])
def test_no_run_at_all(wtal, command, tmp_path):
    assert refused(wtal(command, tmp_path)) == (
        f"{tmp_path}: no run here (no config.toml); make one with: wtal train EXPERIMENT.toml"
    )


@pytest.mark.parametrize(
    ("command", "setting", "key", "section"),
    [
        ("localize", "training.iterations=5", "training.iterations", "localization"),
        ("localize", "seed=5", "seed", "localization"),
        ("localize", "data.test_subset=training", "data.test_subset", "localization"),
        ("localize", "evaluation.evaluator=x", "evaluation.evaluator", "localization"),
        ("evaluate", "localization.proposer=x", "localization.proposer", "evaluation"),
    ],
)
def test_a_setting_of_another_section_is_refused(wtal, done, command, setting, key, section):
    before = contents(done)
    assert refused(wtal(command, done, "--set", setting)) == (
        f"{done} was trained with another {key}; this command changes only {section}.*, start a new run"
    )
    assert contents(done) == before


def test_a_stream_that_is_not_trained_or_not_to_the_end(wtal, done):
    finish = f"wtal train {done}/config.toml --out {done.parent} --seeds 0 --resume"
    flow = done / "checkpoints" / "flow.safetensors"
    tensors = flow.read_bytes()
    flow.unlink()
    assert refused(wtal("localize", done)) == (f"{flow}: stream 'flow' is not trained; finish it with: {finish}")
    assert rb"\"iteration\": 12" in tensors
    flow.write_bytes(tensors.replace(rb"\"iteration\": 12", rb"\"iteration\": 10"))
    assert refused(wtal("localize", done)) == (f"{flow}: training stopped at iteration 10; finish it with: {finish}")


def test_detections_that_are_missing_or_of_another_data_set(wtal, done):
    file = done / "detections.json"
    edit_json(file, lambda content: content["results"]["v6"][0].update(label="swim"))
    assert refused(wtal("evaluate", done)) == f"{file}: video 'v6' has unknown classes: swim"
    file.write_text("{")
    assert refused(wtal("evaluate", done)).startswith(f"{file}: line 1, column 2: not valid JSON: ")
    file.unlink()
    assert refused(wtal("evaluate", done)) == (
        f"{file}: cannot read: No such file or directory; make it with: wtal localize"
    )


@pytest.mark.parametrize("key", ["segment", "score"])
def test_a_record_that_lacks_a_key_is_named(wtal, done, key):
    edit_json(done / "detections.json", lambda content: content["results"]["v6"][0].pop(key))
    assert refused(wtal("evaluate", done)).startswith(f"{done}/detections.json: ")


def test_segments_are_asked_for_before_training(wtal, tiny, out):
    edit_json(
        tiny.parent / "annotations.json", lambda content: content["database"]["v6"]["annotations"][0].pop("segment")
    )
    said = refused(wtal("run", tiny, "--out", out))
    assert said.endswith("so detections cannot be evaluated")
    assert not (out / "seed-0" / "checkpoints").exists()
    assert wtal("train", tiny, "--out", out, "--resume").code == 0


def test_an_error_of_a_component_names_the_video(wtal, done, monkeypatch):
    import wtal_fakes

    def refuse(*_):
        raise ValueError("nothing to cut")

    monkeypatch.setattr(wtal_fakes.Runs, "__call__", refuse)
    assert refused(wtal("localize", done)) == (
        "proposer 'threshold' of wtal-fakes 1.0 fails on a small example: nothing to cut"
    )
    monkeypatch.setattr("wtal_core.check.component_problems", lambda *_: [])
    assert refused(wtal("localize", done)) == "video 'v6': nothing to cut"


def test_the_checkpoint_of_another_model(wtal, tiny, done):
    before = (done / "detections.json").read_bytes()
    (done / "checkpoints" / "rgb.safetensors").write_bytes(b"junk")
    assert refused(wtal("localize", done)).startswith(f"{done}/checkpoints/rgb.safetensors: not a checkpoint: ")
    assert (done / "detections.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"junk", "half", "about"])
def test_a_spoilt_checkpoint_is_named_and_what_to_do(wtal, tiny, done, out, content):
    before = contents(done)
    file = done / "checkpoints" / "flow.safetensors"
    whole = file.read_bytes()
    spoilt = {"half": whole[: len(whole) // 2], "about": whole.replace(b"iteration", b"iterazion")}.get(
        content, content
    )
    file.write_bytes(spoilt)
    for command in (("localize", done), ("run", tiny, "--out", out, "--resume")):
        said = refused(wtal(*command))
        assert said.startswith(f"{file}: not a checkpoint: ")
        assert said.endswith("; delete it, and the training of its stream starts again with --resume")
    file.unlink()
    assert wtal("run", tiny, "--out", out, "--resume").code == 0
    assert contents(done) == before


@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"\xff", b"[[["])
def test_a_spoilt_experiment_of_a_run_is_one_line(wtal, tiny, done, out, content):
    (done / "config.toml").write_bytes(content)
    for command in (("localize", done), ("evaluate", done), ("run", tiny, "--out", out, "--resume")):
        said = refused(wtal(*command))
        assert said.startswith(f"{done}/config.toml: ")
        assert "\n" not in said


def test_what_a_killed_process_left_half_written_goes_on_resuming(wtal, tiny, done, out):
    before = contents(done)
    (done / ".wtal-0123456789abcdef").touch()
    (done / "checkpoints" / ".wtal-fedcba9876543210").write_text("half")
    (done / ".wtal-mine").write_text("mine")
    assert wtal("run", tiny, "--out", out, "--resume").code == 0
    assert contents(done) == before | {".wtal-mine": b"mine"}


def test_an_evaluator_that_finds_nothing_to_score_with(wtal, tiny, done, monkeypatch):
    import wtal_fakes

    nothing = wtal_fakes.Scores(np.array([0.5]), np.array([np.nan]), np.full((1, 2), np.nan))
    monkeypatch.setattr("wtal_core.kinds.evaluator.verdict", lambda *_: None)
    monkeypatch.setattr(wtal_fakes.Recall, "__call__", lambda *_: nothing)
    before = contents(done)
    said = (
        f"{tiny.parent}/annotations.json: subset 'validation' has nothing to score with: no class has an instance that "
    )
    assert refused(wtal("evaluate", done)) == said + "counts"
    assert contents(done) == before


def test_no_detection_at_all_is_said(wtal, done):
    edit_json(done / "detections.json", lambda content: content["results"].update({n: [] for n in ("v6", "v7", "v8")}))
    answer = wtal("evaluate", done)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1] == "note: no video has a detection, so there is nothing that could score"


def test_a_run_through_links_leaves_the_links(wtal, tiny, done, tmp_path):
    """The folder, and files in it, may lie elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("detections.json", "evaluation.json", "metrics.jsonl", "config.toml"):
        (done / name).rename(elsewhere / name)
        (done / name).symlink_to(elsewhere / name)
    before = contents(done)
    (tmp_path / "link").symlink_to(done)
    assert wtal("localize", tmp_path / "link").code == 0
    assert wtal("evaluate", tmp_path / "link").code == 0
    assert contents(done) == before
    assert all((done / name).is_symlink() for name in ("detections.json", "evaluation.json", "config.toml"))


# Settings of a finished run


def test_localizing_again_with_other_settings_drops_the_old_evaluation(wtal, done):
    before = contents(done)
    assert wtal("localize", done, "--set", "localization.proposer.fraction=0.99").code == 0
    after = contents(done)
    assert after["detections.json"] != before["detections.json"]
    assert after["classification.json"] == before["classification.json"]
    assert set(after) == FILES - {"evaluation.json"}
    assert b"fraction = 0.99" in after["config.toml"]


def test_localizing_again_runs_no_network(wtal, done, monkeypatch):
    from wtal_core.prediction import predict

    before = contents(done)
    with monkeypatch.context() as patch:
        patch.setattr(predict, "predict", lambda *_: pytest.fail("a network ran"))
        assert wtal("localize", done).code == 0
    assert contents(done)["detections.json"] == before["detections.json"]


def spoil(predictions, change):
    """Change a dataset of the predictions in place, so that their key still holds."""
    with h5py.File(predictions, "r+") as file:
        change(file["v6"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        None,
        lambda video: video["rgb"].pop("attention"),
        lambda video: (video.pop("rgb"), video.create_dataset("rgb", data=3)),
        lambda video: video["rgb/class_scores"].write_direct(np.array([np.nan, 1], np.float32)),
        lambda video: (video["rgb"].pop("response"), video["rgb"].create_dataset("response", data=np.zeros((2, 3)))),
        lambda video: (video["rgb"].pop("response"), video["rgb"].create_dataset("response", data=h5py.Empty("f"))),
        lambda video: (video["rgb"].pop("response"), video["rgb"].create_dataset("response", data="x")),
    ],
)
def test_predictions_that_cannot_be_read_are_made_again(wtal, done, content):
    before = contents(done)
    predictions = done / "predictions" / "test.h5"
    if content is None:
        predictions.unlink()
    elif callable(content):
        spoil(predictions, content)
    else:
        predictions.write_bytes(content)
    assert wtal("localize", done).code == 0
    assert wtal("evaluate", done).code == 0
    assert contents(done) == before


def test_features_changed_in_place_are_read_again(wtal, tiny, done):
    before = contents(done)["detections.json"]
    for name in ("v6", "v7", "v8"):
        file = tiny.parent / "features" / "rgb" / f"{name}.npy"
        np.save(file, np.load(file)[::-1])
    assert wtal("localize", done).code == 0
    assert contents(done)["detections.json"] != before


def test_evaluating_again_with_another_threshold(wtal, done):
    answer = wtal("evaluate", done, "--set", "evaluation.evaluator.tiou_thresholds=[0.3]")
    assert answer.code == 0
    assert json.loads((done / "evaluation.json").read_text())["localization"]["tiou_thresholds"] == [0.3]
    assert "0.3" in answer.out.splitlines()[0]


def test_the_data_may_move(wtal, tiny, done):
    before = contents(done)
    (tiny.parent / "features").rename(tiny.parent / "moved")
    assert refused(wtal("localize", done)) == f"{tiny.parent}/features: no such folder of features"
    assert wtal("localize", done, "--set", f"data.features={tiny.parent}/moved").code == 0
    assert contents(done)["detections.json"] == before["detections.json"]


# Writing


def test_an_output_below_a_file_is_refused(wtal, tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    said = refused(wtal("run", tiny, "--out", tmp_path / "file" / "below"))
    assert said.startswith(f"{tmp_path}/file/below/seed-0/")
    assert said.endswith("cannot write here: Not a directory; choose another directory")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_seed_that_cannot_be_written_leaves_the_others(wtal, tiny, done, out):
    before = contents(done)
    (out / "seed-1").write_text("mine")
    assert refused(wtal("run", tiny, "--out", out, "--seeds", "0,1", "--resume")).startswith(f"{out}/seed-1/")
    assert contents(done) == before
    assert (out / "seed-1").read_text() == "mine"


def test_all_folders_are_looked_at_before_the_first_seed_is_trained(wtal, tiny, done, out):
    done.rename(out / "seed-1")
    refused(wtal("run", tiny, "--out", out, "--seeds", "0,1"))
    assert not (out / "seed-0").exists()


def test_classes_renamed_since_the_training_are_not_taken_for_the_old_ones(wtal, tiny, done):
    annotations = tiny.parent / "annotations.json"
    annotations.write_text(annotations.read_text().replace('"jump"', '"zoom"'))  # sorts after "run"
    refused(wtal("localize", done))


def test_a_result_that_cannot_be_replaced_leaves_the_others(wtal, done):
    (done / "evaluation.json").unlink()
    (done / "evaluation.json").mkdir()
    before = contents(done)
    assert refused(wtal("evaluate", done)) == f"{done}/evaluation.json: cannot write: Is a directory"
    assert contents(done) == before


def test_a_file_is_replaced_whole_with_usual_permissions(tmp_path):
    write(tmp_path / "new" / "a.txt", "one")
    write(tmp_path / "new" / "a.txt", b"two")
    plain = tmp_path / "plain"
    plain.write_text("")
    assert contents(tmp_path / "new") == {"a.txt": b"two"}
    assert (tmp_path / "new" / "a.txt").stat().st_mode == plain.stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write(tmp_path / "a.txt", "old")
    plain = Path.write_bytes

    def half(path, content):
        plain(path, content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(RunError) as error:
        write(tmp_path / "a.txt", "new")
    assert str(error.value) == f"{tmp_path}/a.txt: cannot write: No space left on device"
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_any_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    write(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"a.txt": b"old"}


# Before training


def test_a_nan_in_the_last_test_video_costs_no_training(wtal, tiny, out):
    file = tiny.parent / "features" / "flow" / "v8.npy"
    array = np.load(file)
    array[2, 1] = np.nan
    np.save(file, array)
    assert refused(wtal("run", tiny, "--out", out)).startswith(
        "video 'v8', stream 'flow': nan at snippet 2, feature 1 "
    )
    assert not (out / "seed-0" / "checkpoints").exists()


def test_an_aggregator_of_another_width_is_blamed(wtal, tiny, out, monkeypatch):
    import wtal_fakes

    monkeypatch.setattr(wtal_fakes.Mean, "forward", lambda self, features, *_: features[:, 0, :2])
    assert refused(wtal("train", tiny, "--out", out)) == (
        "aggregator 'maa' of wtal-fakes 1.0 fails on a small example: ContractError: features (2, 6, 8) must give "
        "pooled features (2, 8), got (2, 2)"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("setting", "beginning"),
    [
        (
            'model.decoder.sparsity="a"',
            "decoder 'attention-pooling' of wtal-core 0.1.0 wants float for the option 'sparsity', got 'a'",
        ),
        ("localization.activation=nothing", "unknown activation 'nothing'; "),
    ],
)
def test_an_option_of_a_wrong_value_costs_no_training(wtal, tiny, out, setting, beginning):
    assert refused(wtal("validate", tiny, "--set", setting)).startswith(beginning)
    assert refused(wtal("run", tiny, "--out", out, "--set", setting)).startswith(beginning)
    assert not out.exists()


def test_validate_looks_at_the_output_directory(wtal, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(wtal("validate", tiny, "--out", tmp_path / "file" / "runs")) == (
        f"{tmp_path}/file/runs: cannot write here: {tmp_path}/file is not a directory; choose another directory"
    )
    assert wtal("validate", tiny, "--out", tmp_path / "new" / "runs").code == 0
    assert not (tmp_path / "new").exists()


def test_resuming_does_not_mind_other_localization_settings(wtal, tiny, done, out):
    assert wtal("localize", done, "--set", "localization.fusion=attention").code == 0
    assert wtal("run", tiny, "--out", out, "--resume").code == 0
    assert 'fusion = "activations"' in (done / "config.toml").read_text()


def test_a_test_subset_without_annotations_cannot_be_evaluated(wtal, tiny, out):
    def clear(content):
        for video in content["database"].values():
            if video["subset"] == "validation":
                video["annotations"] = []

    edit_json(tiny.parent / "annotations.json", clear)
    assert refused(wtal("run", tiny, "--out", out)) == (
        f"{tiny.parent}/annotations.json: subset 'validation' has no annotation at all, so "
        "detections cannot be evaluated"
    )
