"""`wtal compare`, and runs that other processes and a Dask cluster compute."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from wtal_core.cli import main

#: What may differ between runs that are the same: files that name a time.
SHORT = ("--set", "training.iterations=6", "--set", 'data.streams=["rgb"]')


@pytest.fixture
def wtal(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code or 0, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def two(pristine):
    """Two experiments."""
    (pristine / "mean.toml").write_text((pristine / "maan.toml").read_text() + '\n[model]\naggregator = "mean"\n')
    return pristine / "maan.toml", pristine / "mean.toml"


@pytest.fixture
def variant(pristine):
    """An experiment with another text, or with its annotations changed, beside the first."""

    def make(name, old="", new="", change=None):
        text = (pristine / "maan.toml").read_text()
        if change is not None:
            content = json.loads((pristine / "annotations.json").read_text())
            change(content["database"])
            (pristine / f"{name}.json").write_text(json.dumps(content))
            old, new = "annotations.json", f"{name}.json"
        assert old in text
        (pristine / f"{name}.toml").write_text(text.replace(old, new))
        return pristine / f"{name}.toml"

    return make


def contents(folder):
    """Every file below a folder by its path, and its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def compared(pristine, tmp_path_factory):
    """One comparison with bounds: what it printed, and its folder."""
    out = tmp_path_factory.mktemp("compared")
    (pristine / "mean.toml").write_text((pristine / "maan.toml").read_text() + '\n[model]\naggregator = "mean"\n')
    files = [str(pristine / "maan.toml"), str(pristine / "mean.toml")]
    command = [sys.executable, "-m", "wtal_core", "compare", *files, "--seeds", "0,1", "--bounds", *SHORT]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_table_bounds_and_differences(compared):
    printed, out = compared
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["chance", "maan", "mean", "supervised"]
    assert re.fullmatch(
        r"mean against maan: [+-]\d+\.\d mAP, 95 % interval \[[+-]\d+\.\d, [+-]\d+\.\d\] "
        r"\(1000 draws of 12 test videos, seed 0\)",
        lines[5],
    )
    assert lines[6:8] == [
        "chance: random activations and class scores, localized and scored by the same settings.",
        "supervised: snippet-classifier, taught snippet by snippet by the annotated segments of training videos.",
    ]
    table = (out / "comparison.md").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ")[1] for line in table[:6]] == ["mAP", ":--", "chance", "maan", "mean", "supervised"]
    assert all("**" not in line for line in (table[2], table[5]))
    numbers = json.loads((out / "comparison.json").read_text())
    assert numbers["seeds"] == [0, 1]
    assert list(numbers["evaluations"]) == ["chance", "maan", "mean", "supervised"]
    kept = json.loads((out / "maan" / "seed-1" / "evaluation.json").read_text())
    assert numbers["evaluations"]["maan"][1] == kept
    for column in range(1, 5):  # the best of the two experiments is bold, by the numbers
        means = [float(re.search(r"[\d.]+", table[row].split(" | ")[column])[0]) for row in (3, 4)]
        bold = ["**" in table[row].split(" | ")[column] for row in (3, 4)]
        assert any(bold)
        assert means[bold.index(True)] == max(means)


def test_runs_of_compare_are_those_of_run_byte_for_byte(compared, two, wtal, tmp_path):
    _, out = compared
    assert wtal("run", two[0], "--seeds", "1", *SHORT, "--out", tmp_path).code == 0  # in this process
    one, other = contents(tmp_path / "seed-1"), contents(out / "maan" / "seed-1")
    assert one.keys() == other.keys()
    differing = {name for name in one if one[name] != other[name] and not name.endswith(".h5")}
    assert differing == set()
    assert wtal("run", two[0], "--seeds", "0,1", *SHORT, "--out", tmp_path / "both", "--workers", "1").code == 0
    again = contents(tmp_path / "both" / "seed-1")
    assert {name for name in one if one[name] != again[name] and not name.endswith(".h5")} == set()


def test_dask_computes_the_same_bytes(compared, two, wtal, tmp_path):
    distributed = pytest.importorskip("distributed")
    _, out = compared
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        answer = wtal("compare", *two, "--seeds", "0,1", *SHORT, "--out", tmp_path, "--dask", cluster.scheduler_address)
    assert (answer.code, answer.err) == (0, "")
    for name in ("maan", "mean"):
        one, other = contents(tmp_path / name), contents(out / name)
        assert one.keys() == other.keys()
        assert {name for name in one if one[name] != other[name] and not name.endswith(".h5")} == set()
    numbers, before = (json.loads((folder / "comparison.json").read_text()) for folder in (tmp_path, out))
    assert numbers["differences"] == before["differences"]


def test_resume_runs_only_what_is_missing(compared, two, wtal, tmp_path):
    printed, out = compared
    folder = tmp_path / "out"
    shutil.copytree(out, folder)
    shutil.rmtree(folder / "mean" / "seed-1")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    arguments = ("compare", *two, "--seeds", "0,1", "--bounds", *SHORT, "--out", folder)
    refused = wtal(*arguments)
    sentence = (
        f"error: {folder}/chance/seed-0 already holds a run; continue it with --resume, or choose another --out\n"
    )
    assert (refused.code, refused.err) == (2, sentence)
    answer = wtal(*arguments, "--resume")
    assert answer.code == 0
    assert answer.out.splitlines()[:8] == printed.splitlines()[:8]
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 1


def test_a_killed_compare_lets_go_of_its_runs_and_resumes(two, wtal, tmp_path):
    arguments = ["compare", *map(str, two), "--seeds", "0", "--workers", "1", "--out", str(tmp_path)]
    arguments += ["--set", "training.iterations=300", "--set", 'data.streams=["rgb"]']
    process = subprocess.Popen([sys.executable, "-m", "wtal_core", *arguments])
    log = tmp_path / "maan" / "seed-0" / "metrics.jsonl"
    while not (log.exists() and log.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while (tmp_path / "maan" / "seed-0" / ".lock").exists() and time.monotonic() < deadline:
        answer = wtal(*arguments, "--resume")
        if "in use by" not in answer.err:
            break
        time.sleep(0.1)
    else:
        answer = wtal(*arguments, "--resume")
    assert answer.code == 0
    assert "mean against maan: " in answer.out


def rename_class(database):
    for video in database.values():
        for one in video["annotations"]:
            one["label"] = one["label"].replace("throw", "toss")


def move_a_segment(database):
    database["video_30"]["annotations"][0]["segment"][0] += 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"old": "0.3, 0.5", "new": "0.3, 0.6"},
            "evaluation.evaluator.tiou_thresholds",
        ),
        (
            {"change": rename_class},
            "the classes (only in the first: 1, such as 'throw' and only in the second: 1, such as 'toss')",
        ),
        (
            {"change": lambda database: database.pop("video_30")},
            "the test videos (only in the first: 1, such as 'video_30')",
        ),
        ({"change": move_a_segment}, "the annotated segments of test videos, such as 'video_30'"),
    ],
)
def test_what_is_not_the_same_test_cannot_be_compared(pristine, variant, wtal, tmp_path, change, said):
    first, other = pristine / "maan.toml", variant("other", **change)
    answer = wtal("compare", first, other, "--out", tmp_path / "out")
    sentence = f"error: {first} and {other} cannot be compared: they differ in {said}\n"
    assert (answer.code, answer.err) == (2, sentence)
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_refused(pristine, wtal, tmp_path):
    shutil.copy(pristine / "maan.toml", tmp_path / "maan.toml")
    answer = wtal("compare", pristine / "maan.toml", tmp_path / "maan.toml", "--out", tmp_path / "out")
    sentence = (
        f"error: {pristine / 'maan.toml'} and {tmp_path / 'maan.toml'} are both named 'maan', and their runs would lie "
        "in one folder; rename one\n"
    )
    assert (answer.code, answer.err) == (2, sentence)


def test_a_file_with_the_name_of_a_bound_is_refused(variant, wtal, tmp_path):
    file = variant("supervised")
    answer = wtal("compare", file, "--bounds", "--out", tmp_path / "out")
    sentence = f"error: {file}: --bounds adds a row 'supervised' of its own; rename the file\n"
    assert (answer.code, answer.err) == (2, sentence)


def test_problems_of_all_experiments_are_told_before_any_training(variant, wtal, tmp_path):
    one = variant("one", "weight_decay", "wait_decay")
    two = variant("two", "[training]", '[model]\naggregator = "meen"\n\n[training]')
    answer = wtal("compare", one, two, "--out", tmp_path / "out")
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines[0].startswith(f"error: {one}: unknown key `training.wait_decay`; did you mean 'weight_decay'")
    assert lines[1].startswith(f"error: {two}: no aggregator 'meen'")
    assert len(lines) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seeds", ["0,,1", "", "a"])
def test_a_missing_seed_is_refused(two, wtal, tmp_path, seeds):
    answer = wtal("compare", *two, "--seeds", seeds, "--out", tmp_path / "out")
    sentence = f"error: --seeds {seeds}: expected whole numbers with commas between, such as 0,1,2\n"
    assert (answer.code, answer.err) == (2, sentence)


def test_bounds_need_segments_in_the_training_subset(variant, wtal, tmp_path):
    def forget(database):
        for video in database.values():
            if video["subset"] == "training":
                for one in video["annotations"]:
                    del one["segment"]

    file = variant("labels", change=forget)
    answer = wtal("compare", file, "--bounds", "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.err.startswith(f"error: {file}: --bounds, full supervision: {file.with_suffix('.json')}: teacher ")
    assert "24 training videos, such as 'video_00', have labels without one" in answer.err
