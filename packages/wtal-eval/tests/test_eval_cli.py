import csv
import json
import subprocess
import sys

import pytest
import wtal_eval
from wtal_eval.cli import main
from wtal_eval.plots import _precision_recall_figure, precision_recall

DATABASE = {
    "database": {
        "a": {"subset": "test", "annotations": [{"label": "run", "segment": [0, 10]}]},
        "b": {"subset": "test", "annotations": [{"label": "swim", "segment": [0, 10]}]},
    }
}


def results(*rows):
    videos = {}
    for video, label, start, end, score in rows:
        videos.setdefault(video, []).append({"label": label, "segment": [start, end], "score": score})
    return {"results": videos}


GOOD = results(("a", "run", 0, 10, 0.9), ("b", "swim", 0, 6, 0.8))
POOR = results(("a", "run", 0, 3, 0.9), ("b", "swim", 0, 6, 0.8))


@pytest.fixture
def files(tmp_path):
    for name, content in (("gt", DATABASE), ("good", GOOD), ("poor", POOR), ("none", {"results": {}})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return lambda *names: [str(tmp_path / f"{name}.json") for name in names]


def test_table(files, capsys):
    assert main([*files("good", "gt"), "--tiou", "0.5,0.7"]) == 0
    assert capsys.readouterr().out == "activitynet, mAP in percent\ntIoU     mAP\n0.5   100.00\n0.7    50.00\n"


def test_usual_averages(files, capsys):
    assert main(files("good", "gt")) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-5:] == [
        ["0.1:0.5", "100.00"],
        ["0.3:0.7", "90.00"],
        ["0.1:0.7", "92.86"],
        ["0.1:0.9", "83.33"],
        ["0.5:0.95", "65.00"],
    ]


def test_per_class(files, capsys):
    assert main([*files("good", "gt"), "--tiou", "0.5,0.7", "--per-class"]) == 0
    assert capsys.readouterr().out.endswith("class     0.5     0.7\nrun    100.00  100.00\nswim   100.00    0.00\n")


@pytest.mark.parametrize("protocol", ["thumos14", "thumos14-11point"])
def test_other_protocols(files, capsys, protocol):
    assert main([*files("good", "gt"), "--tiou", "0.6", "--protocol", protocol]) == 0
    assert capsys.readouterr().out == f"{protocol}, mAP in percent\ntIoU    mAP\n0.6   50.00\n"


def test_classification(files, capsys):
    assert main([*files("poor", "gt"), "--protocol", "classification"]) == 0
    assert capsys.readouterr().out == "classification, mAP in percent\ntIoU         mAP\nanywhere  100.00\n"


def test_no_detection_scores_zero_and_says_so(files, capsys):
    assert main([*files("none", "gt"), "--tiou", "0.5"]) == 0
    output = capsys.readouterr().out
    assert "0.5   0.00\n" in output
    assert output.endswith("note: no detection to score: every average precision is 0\n")


def test_excluded_videos(files, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("b\nz\n")
    assert main([*files("good", "gt"), "--tiou", "0.7", "--exclude-videos", str(tmp_path / "list.txt")]) == 0
    output = capsys.readouterr().out
    assert "0.7   100.00\n" in output
    assert "note: 1 video excluded (1 instance, 1 detection): b; 1 video to exclude not found: z\n" in output


def test_comparison(files, capsys):
    assert main([*files("good", "gt"), "--tiou", "0.5", "--compare", *files("poor")]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"A: {files('good')[0]}\nB: {files('poor')[0]}\n")
    assert "0.5   100.00  50.00  +50.00  +0.00 to +100.00\n" in output
    assert "mean over all tIoU, A - B: +50.00 (+0.00 to +100.00; 95 % of 1000 resamples of the videos)\n" in output


def test_diagnosis(files, capsys):
    assert main([*files("poor", "gt"), "--tiou", "0.5", "--diagnose", "0.5"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["true", "positive", "1", "1"] in lines
    assert ["localization", "error", "1", "1", "+0.00"] in lines


def test_json(files, tmp_path, capsys):
    path = tmp_path / "out.json"
    arguments = ["--tiou", "0.5,0.7", "--json", str(path), "--diagnose", "0.5", "--compare", *files("poor")]
    assert main([*files("good", "gt"), *arguments]) == 0
    content = json.loads(path.read_text())
    assert content["protocol"] == "activitynet"
    assert content["tiou_thresholds"] == [0.5, 0.7]
    assert content["mean_ap"] == [1.0, 0.5]
    assert content["averages"] == {}
    assert content["per_class"] == {"run": [1.0, 1.0], "swim": [1.0, 0.0]}
    assert content["notes"] == []
    assert content["comparison"]["difference"] == [0.5, 0.5]
    assert content["diagnosis"]["counts"]["true positive"] == 2
    assert content["diagnosis"]["by_count"][4] == {
        "name": "XL (16 and more)",
        "instances": 0,
        "mean_ap": None,
        "missed": None,
    }


def test_csv(files, tmp_path):
    path = tmp_path / "out.csv"
    assert main([*files("good", "gt"), "--tiou", "0.5,0.7", "--csv", str(path)]) == 0
    rows = list(csv.reader(path.open()))
    assert rows == [["class", "0.5", "0.7"], ["run", "1.0", "1.0"], ["swim", "1.0", "0.0"], ["mean", "1.0", "0.5"]]


def test_plots(files, tmp_path):
    pytest.importorskip("matplotlib")
    assert main([*files("good", "gt"), "--plot", str(tmp_path / "plots")]) == 0
    written = {path.name: path.read_bytes()[:4] for path in (tmp_path / "plots").iterdir()}
    assert written == dict.fromkeys(("precision_recall.png", "per_class.png", "diagnosis.png"), b"\x89PNG")


def test_precision_and_recall_at_the_true_positives():
    ground_truth = {"a": wtal_eval.Segments([0, 0, 0, 0], [0.0, 10.0, 20.0, 30.0], [1.0, 11.0, 21.0, 31.0])}
    detections = {"a": wtal_eval.Detections([0] * 3, [0.0, 5.0, 10.0], [1.0, 6.0, 11.0], [0.9, 0.8, 0.7])}
    matching = wtal_eval.match(ground_truth, detections, ("run",), wtal_eval.PROTOCOLS["activitynet"], [0.5])
    recall, precision = precision_recall(matching, 0)["run"]
    assert recall.tolist() == [0.25, 0.5]
    assert precision.tolist() == [1.0, 2 / 3]


def test_a_curve_of_one_point_is_seen():
    figures = pytest.importorskip("matplotlib.figure")
    ground_truth = {"a": wtal_eval.Segments([0, 1, 1], [0.0] * 3, [1.0, 1.0, 2.0])}
    detections = {"a": wtal_eval.Detections([0, 1, 1], [0.0] * 3, [1.0, 1.0, 2.0], [0.9, 0.8, 0.7])}
    matching = wtal_eval.match(ground_truth, detections, ("run", "swim"), wtal_eval.PROTOCOLS["activitynet"], [0.5])
    figure = _precision_recall_figure(matching, 0)
    assert isinstance(figure, figures.Figure)
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", ""]


def test_plots_need_matplotlib(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("wtal_eval.cli.find_spec", lambda name: None)
    assert main([*files("good", "gt"), "--plot", str(tmp_path / "plots")]) == 2
    assert capsys.readouterr().err == "wtal-eval: error: --plot needs matplotlib: pip install 'wtal-eval[plot]'\n"
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tiou", "x"], "--tiou 'x' is neither a number nor first:step:last, such as 0.1:0.1:0.9"),
        (["--tiou", "0.5:0.9"], "--tiou '0.5:0.9' is neither a number nor first:step:last, such as 0.1:0.1:0.9"),
        *(
            (
                ["--tiou", bad],
                f"--tiou {bad} is not first:step:last with 0 <= first <= last <= 1 and a step of at least 0.001\n",
            )
            for bad in ("0.9:0.1:0.5", "0.1:0.1:inf", "nan:0.1:0.5", "0:1e-300:1", "0.5:0:0.5", "0.5:0.1:1.1")
        ),
        (
            ["--tiou", "0.1:0.2:0.4"],
            "--tiou 0.1:0.2:0.4 does not end at 0.4: no number of steps of 0.2 leads there from 0.1\n",
        ),
        (["--tiou", "1.5"], "{good} against {gt}: tiou_thresholds must lie in [0, 1], not 1.5"),
        (["--subset", "val"], "{gt}: no subset 'val', only 'test' (2 videos)"),
        (
            ["--protocol", "classification", "--diagnose", "0.5"],
            "--diagnose needs a detection protocol, not classification",
        ),
        (["--diagnose", "0.33"], "the diagnosis needs tIoU 0.33, but only 0.1, 0.2, "),
        (["--exclude-videos", "x"], "'x' is neither a file nor one of thumos14-213, thumos14-212, thumos14-210"),
        (["--compare", "/nowhere.json"], "[Errno 2] No such file or directory: '/nowhere.json'"),
        (["--json", "."], ". is a folder: name a file\n"),
        (["--json", "/nowhere/out.json"], "/nowhere/out.json: there is no folder /nowhere: make it first\n"),
    ],
)
def test_errors(files, capsys, arguments, message):
    good, gt = files("good", "gt")
    assert main([good, gt, *arguments]) == 2
    assert capsys.readouterr().err.startswith("wtal-eval: error: " + message.format(good=good, gt=gt))


def test_errors_in_values_name_the_file(files, tmp_path, capsys):
    (tmp_path / "bad.json").write_text(json.dumps(results(("a", "run", 2, 1, 0.5))))
    bad, gt = files("bad", "gt")
    assert main([bad, gt, "--json", str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err == (
        f"wtal-eval: error: {bad} against {gt}: detections of video 'a': interval [2.0, 1.0] ends before it starts\n"
    )
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("last", [["--csv", "/nowhere/out.csv"], ["--plot", "{file}"]])
def test_either_all_files_are_written_or_none(files, tmp_path, last):
    if last[0] == "--plot":
        pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("in the way")
    last = [part.format(file=tmp_path / "file") for part in last]
    before = sorted(tmp_path.iterdir())
    assert main([*files("good", "gt"), "--json", str(tmp_path / "out.json"), *last]) == 2
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["empty.json", "empty.csv", "empty.txt"])
def test_file_of_no_bytes_scores_zero_and_says_so(files, tmp_path, capsys, name):
    (tmp_path / name).touch()
    assert main([str(tmp_path / name), *files("gt"), "--tiou", "0.5"]) == 0
    assert capsys.readouterr().out == (
        f"activitynet, mAP in percent\ntIoU   mAP\n0.5   0.00\nnote: {tmp_path / name} is empty\n"
        "note: no detection to score: every average precision is 0\n"
    )


def test_plot_needs_a_scored_threshold(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("wtal_eval.cli.find_spec", lambda name: object())
    assert main([*files("good", "gt"), "--tiou", "0.3", "--plot", str(tmp_path / "plots")]) == 2
    assert capsys.readouterr().err == (
        "wtal-eval: error: --plot draws at tIoU 0.5, which --tiou leaves out: name another with --diagnose\n"
    )


def test_failed_writing_leaves_the_old_file(files, tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main([*files("good", "gt"), "--json", str(path)]) == 2
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(".partial*"))


def test_command_does_not_load_what_it_does_not_need(files):
    code = (
        "import sys; from wtal_eval.cli import main; main(sys.argv[1:]); "
        "needless = {'matplotlib', 'wtal_core', 'torch', 'scipy', 'numba', 'wtal_eval.comparison'}; "
        "print(sorted(needless & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *files("good", "gt")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_public_name_loads():
    for name in wtal_eval.__all__:
        assert getattr(wtal_eval, name) is not None
    assert set(wtal_eval.__all__) <= set(dir(wtal_eval))
    with pytest.raises(AttributeError, match=r"^module 'wtal_eval' has no attribute 'nothing'$"):
        wtal_eval.nothing  # noqa: B018
