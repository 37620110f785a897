"""Choosing settings by cross-validation inside the training subset."""

import importlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from wtal_core import config, tasks
from wtal_core.data.dataset import Dataset
from wtal_core.lock import taking
from wtal_core.tuning import search
from wtal_core.tuning.plan import plan_of
from wtal_core.tuning.tuned import annotated, key_of, keys_of

from .conftest import edit_json, python, write_data

pytestmark = pytest.mark.usefixtures("fakes")

GRID = ("--grid", "training.iterations=[2,12]", "--grid", "localization.proposer.fraction=[0.0,0.5]")


@pytest.fixture
def here(monkeypatch):
    """Tasks are computed in this process, and counted."""
    done = []

    def counted(*arguments, fold=search.search_fold):
        done.append(arguments)
        fold(*arguments)

    @contextmanager
    def pool(_workers, _dask, _tasks):
        with ThreadPoolExecutor(1) as executor:
            yield executor

    monkeypatch.setattr(tasks, "pool", pool)
    monkeypatch.setattr(search, "search_fold", counted)
    return done


@pytest.fixture
def tune(wtal, tiny, tmp_path, here):
    """`tune(*more)`: the command on the tiny data, to `tmp_path / "out"`."""

    def call(*more, grid=GRID):
        return wtal("tune", tiny, "--out", tmp_path / "out", *grid, *more)

    return call


def forget_segments(annotations, subset, of=None):
    def forget(content):
        for name, video in content["database"].items():
            if video["subset"] == subset and of in (None, name):
                for annotation in video["annotations"]:
                    del annotation["segment"]

    edit_json(annotations, forget)


# The search


def test_a_training_serves_every_localization_of_a_fold(tune, here, tmp_path):
    answer = tune()
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[:2] == [
        "note: settings are chosen with the segments of the training videos, which is more than labels",
        "4 points, 2 trainings, 3 folds: 6 of 6 runs to do",
    ]
    assert len(here) == 6
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "plan.json",
        "trainings",
        "tune.json",
        "tune.md",
        "tuned.toml",
    ]
    found = json.loads((out / "tune.json").read_text())
    assert [len(videos) for videos in found["folds"]] == [2, 2, 2]
    assert len(found["points"]) == 4
    for point in found["points"]:
        assert point["mean"] == sum(point["folds"]) / 3
    means = [point["mean"] for point in found["points"]]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) > 1
    best = 100 * means[0]
    assert answer.out.splitlines()[-1] == (
        f"best of 4 points, 3 folds, mAP {best:.1f}; all points: {out / 'tune.md'}; next: wtal run {out / 'tuned.toml'}"
    )


def test_a_point_scores_as_a_run_on_the_same_videos(tune, wtal, tiny, tmp_path):
    """By another road: the fold as the test subset of a data set of its own, and `wtal run` on it."""
    assert tune().code == 0
    found = json.loads((tmp_path / "out" / "tune.json").read_text())
    for fold, videos in enumerate(found["folds"]):

        def move(content, videos=videos):
            for name, video in list(content["database"].items()):
                if video["subset"] == "validation":
                    del content["database"][name]
                elif name in videos:
                    video["subset"] = "validation"

        annotations = tiny.parent / f"fold-{fold}.json"
        shutil.copy(tiny.parent / "annotations.json", annotations)
        edit_json(annotations, move)
        for point in found["points"]:
            options = [word for setting in point["settings"] for word in ("--set", setting)]
            out = tmp_path / f"run-{fold}" / point["settings"][0] / point["settings"][1]
            assert wtal("run", tiny, "--set", f"data.annotations={annotations}", *options, "--out", out).code == 0
            content = json.loads((out / "seed-0" / "evaluation.json").read_text())
            mean_ap = content["localization"]["mean_ap"]
            assert sum(mean_ap) / len(mean_ap) == point["folds"][fold]


def test_the_test_subset_is_not_looked_at(tune, tiny, tmp_path, monkeypatch):
    assert tune().code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("tune*")}
    shutil.rmtree(tmp_path / "out")
    edit_json(
        tiny.parent / "annotations.json",
        lambda content: content["database"].update(
            {
                name: {"subset": "validation"}
                for name, one in content["database"].items()
                if one["subset"] == "validation"
            }
        ),
    )
    for path in (tiny.parent / "features").rglob("*.npy"):
        if path.stem in ("v6", "v7", "v8"):
            path.write_text("no array")
    read = Dataset.read
    seen = set()
    monkeypatch.setattr(Dataset, "read", lambda self, video, *rest: (seen.add(video.name), read(self, video, *rest))[1])
    answer = tune()
    assert (answer.code, answer.err) == (0, "")
    assert seen == {f"v{n}" for n in range(6)}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("tune*")} == before


def test_people_are_not_split(wtal, tmp_path, here):
    experiment = write_data(tmp_path, training=8, test=0, streams=("rgb",))

    def rename(content):
        content["database"] = {f"p{int(name[1]) // 4}-{name}": one for name, one in content["database"].items()}

    edit_json(tmp_path / "annotations.json", rename)
    for path in (tmp_path / "features" / "rgb").iterdir():
        path.rename(path.with_name(f"p{int(path.stem[1]) // 4}-{path.name}"))
    arguments = ("--grid", "training.iterations=[2]", "--group", r"p\d", "--folds", "2", "--out", tmp_path / "out")
    answer = wtal("tune", experiment, *arguments)
    assert (answer.code, answer.err) == (0, "")
    folds = json.loads((tmp_path / "out" / "tune.json").read_text())["folds"]
    assert sorted(sorted({name[:2] for name in fold}) for fold in folds) == [["p0"], ["p1"]]


# Labels alone


def test_labels_choose_by_classification(tune, tiny, here, tmp_path):
    forget_segments(tiny.parent / "annotations.json", "training", of="v3")
    answer = tune()
    assert (answer.code, answer.err) == (0, "")
    note = (
        "training videos have labels without segments, so settings are chosen by classification mAP, by which "
        "thresholds and proposals cannot be chosen; kept as in the experiment: localization.proposer.fraction"
    )
    assert answer.out.splitlines()[:2] == [f"note: {note}", "2 points, 2 trainings, 3 folds: 6 of 6 runs to do"]
    assert ", classification mAP " in answer.out.splitlines()[-1]
    assert "[localization]" not in (tmp_path / "out" / "tuned.toml").read_text()
    assert note in (tmp_path / "out" / "tuned.toml").read_text()
    assert json.loads((tmp_path / "out" / "tune.json").read_text())["measure"] == "classification mAP"


def test_labels_score_as_where_segments_are_known(tune, tiny, tmp_path, monkeypatch):
    known = []
    sweep = search.sweep

    def kept(*arguments):
        outcomes = sweep(*arguments)
        known.extend(outcome.content["classification"]["mean_ap"] for outcome in outcomes)
        return outcomes

    monkeypatch.setattr(search, "sweep", kept)
    assert tune(grid=GRID[:2]).code == 0
    shutil.rmtree(tmp_path / "out")
    forget_segments(tiny.parent / "annotations.json", "training")
    assert tune(grid=GRID[:2]).code == 0
    found = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").rglob("fold-*.json"))]
    assert [one["mean_ap"] for fold in found for one in fold] == known
    assert len(known) == 6


def test_labels_choose_no_localization_setting(tune, tiny):
    forget_segments(tiny.parent / "annotations.json", "training")
    answer = tune(grid=GRID[2:])
    assert answer.code == 2
    assert answer.err == (
        f"error: {tiny.parent / 'annotations.json'}: training videos have labels without segments, by which "
        "localization.proposer.fraction cannot be chosen; give a --grid of training or model settings, or annotate the "
        "segments\n"
    )


# Resuming


def test_a_killed_search_goes_on(tune, here, tmp_path, monkeypatch):
    assert tune().code == 0
    names = ("tune.json", "tune.md", "tuned.toml")
    whole = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    shutil.rmtree(tmp_path / "out")
    here.clear()
    training = search.runs.train
    calls = []

    def stopping(run, *rest):
        calls.append(run.path)
        if len(calls) >= 3:
            raise search.RunError("killed")
        training(run, *rest)

    monkeypatch.setattr(search.runs, "train", stopping)
    answer = tune()
    assert answer.code == 2
    assert answer.err.splitlines()[0] == "error: training 1 of 2, fold 3 of 3: killed"
    assert not (tmp_path / "out" / "tune.json").exists()
    monkeypatch.setattr(search.runs, "train", training)
    here.clear()
    answer = tune("--resume")
    assert answer.code == 0
    assert "4 points, 2 trainings, 3 folds: 4 of 6 runs to do" in answer.out
    assert len(here) == 4
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == whole
    here.clear()
    assert tune("--resume").code == 0
    assert here == []


def test_the_folder_holds_another_search(tune, tiny, tmp_path):
    assert tune(grid=GRID[:2]).code == 0
    out = tmp_path / "out"
    assert tune(grid=GRID[:2]).err == (
        f"error: {out} already holds a search; continue it with --resume, or choose another --out\n"
    )
    for changed, what in (
        (lambda: tune("--resume"), "--grid"),
        (lambda: tune("--resume", "--folds", "2", grid=GRID[:2]), "--folds"),
        (lambda: tune("--resume", "--group", "v.", grid=GRID[:2]), "--group"),
        (lambda: tune("--resume", "--set", "training.batch_size=3", grid=GRID[:2]), "training.batch_size"),
    ):
        answer = changed()
        assert answer.code == 2
        assert answer.err == f"error: {out} holds another search, which differs in {what}; choose another --out\n"
    spoilt = out / "trainings" / "1" / "fold-1.json"
    spoilt.write_text("[]")
    assert tune("--resume", grid=GRID[:2]).err == (
        f"error: {spoilt}: not the result of this fold: other settings; delete it and go on with --resume\n"
    )


def test_one_process_at_a_time(tiny, tmp_path):
    arguments = ("tune", tiny, "--out", tmp_path / "out", *GRID)
    with taking(tmp_path / "out"):
        path = [importlib.import_module("wtal_fakes").__file__.rpartition("/")[0]]
        answer = python("-m", "wtal_core", *arguments, path=path)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"error: {tmp_path / 'out'}: in use by process ")


def test_processes_compute_the_same_bytes(wtal, tiny, tmp_path, request):
    arguments = ("tune", tiny, "--grid", "training.iterations=[2]", "--folds", "2", "--out")
    answer = wtal(*arguments, tmp_path / "processes", "--workers", "2")
    assert (answer.code, answer.err) == (0, "")
    request.getfixturevalue("here")
    assert wtal(*arguments, tmp_path / "here").code == 0
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in (tmp_path / "processes", tmp_path / "here")
    )
    assert one == other
    assert len(one) == 6


# What is chosen


def test_the_chosen_experiment_runs_and_says_where_its_values_came_from(tune, wtal, tiny, tmp_path):
    tiny.write_text(tiny.read_text() + '[localization]\nproposer = "threshold"\nfusion = "attention"\n')
    assert tune("--set", "training.weight_decay=0.01").code == 0
    path = tmp_path / "out" / "tuned.toml"
    found = json.loads((tmp_path / "out" / "tune.json").read_text())
    best = found["points"][0]
    tuned = f"  # tuned: best of 4 points, 3 folds, mAP {100 * best['mean']:.1f}"
    iterations, fraction = (setting.partition("=")[2] for setting in best["settings"])
    lines = path.read_text().splitlines()
    assert f"iterations = {iterations}{tuned}" in lines
    assert f"proposer.fraction = {fraction}{tuned}" in lines
    assert 'proposer.name = "threshold"  # from tiny.toml' in lines
    assert 'fusion = "attention"  # from tiny.toml' in lines
    assert "weight_decay = 0.01  # from --set" in lines
    assert not [line for line in lines if line.startswith(("seed", "device", "[[stages]]", "[model]"))]
    chosen = config.load(tiny, ["training.weight_decay=0.01", *best["settings"]])
    assert config.load(path) == chosen
    assert wtal("run", path, "--out", tmp_path / "run").code == 0


WHOLE = """
[model]
aggregator = { name = "maa", power = 2.0 }
[training]
losses = [{ name = "label-set", weight = 0.5 }, "smoothness"]
[localization]
proposer = { name = "threshold", fraction = 0.25 }
[[stages]]
models = 2
[[stages]]
training = { iterations = 3 }
teacher = { name = "label-set", smoothing = 2.0 }
"""


@pytest.mark.parametrize("text", ["", WHOLE, "[[stages]]\nlocalization = { fusion = 'attention' }\n"])
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("seed=7", "training.losses=['smoothness']", "training.losses.0.weight=0.1"),
        ("localization.proposer.fraction=0.75", "model.decoder='snippet-classifier'"),
        ("stages.0.models=3", "stages.0.localization.proposer.fraction=0.1", "trackers=['tensorboard']"),
        ("data.classes=['a\\\\b\"', 'é\\u007f']", "data.grid='duration'"),
    ],
)
def test_an_annotated_experiment_reads_back(tiny, text, settings):
    data, _, training = tiny.read_text().partition("[training]")
    tiny.write_text(f"{data}{text}" if "[training]" in text else f"{data}[training]{training}{text}")
    experiment = config.load(tiny, settings)
    sources = {"tuned": [key_of(setting) for setting in settings], "from tiny.toml": keys_of(tiny.read_text())}
    written = annotated(experiment, sources, ["First."])
    copy = tiny.with_name("copy.toml")
    copy.write_text(written)
    assert config.load(copy) == experiment
    assert written.startswith("# First.\n")
    values = [line for line in written.splitlines() if " = " in line]
    assert all(line.endswith(("  # tuned", "  # from tiny.toml", "  # default")) for line in values)
    assert any(line.endswith("  # tuned") for line in values) == bool(settings)


# Stages


STAGES = """
[[stages]]
[[stages]]
training = { iterations = 3, losses = ["snippet-targets"] }
model = { decoder = "snippet-classifier" }
teacher = "label-set"
"""


def test_localization_is_what_the_last_stage_localizes_by(tiny):
    tiny.write_text(tiny.read_text() + STAGES)
    experiment = config.load(tiny)
    one = plan_of(experiment, ["localization.proposer.fraction=[0.0,0.5]"], 3, None)
    assert [len(points) for points in one.trainings] == [2]
    of_teacher = plan_of(experiment, ["stages.0.localization.proposer.fraction=[0.0,0.5]"], 3, None)
    assert [len(points) for points in of_teacher.trainings] == [1, 1]
    last = plan_of(experiment, ["stages.1.localization.proposer.fraction=[0.0,0.5]"], 3, None)
    assert list(map(config.dump, one.points.values())) == list(map(config.dump, last.points.values()))


@pytest.mark.parametrize(
    ("line", "trainings"),
    [
        ("localization.clip=['whole','uniform']", 2),
        ("localization.fusion=['activations','attention']", 1),
        ("localization.stream_weights=[[1.0,1.0],[1.0,2.0]]", 1),
        ("data.streams=[['rgb'],['rgb','flow'],[['rgb','flow']]]", 3),
        ("seed=[1,2]", 2),
    ],
)
def test_points_share_a_training_where_they_can(tiny, line, trainings):
    tiny.write_text(tiny.read_text() + '[model]\ndecoder = "snippet-classifier"\n')
    assert len(plan_of(config.load(tiny), [line], 3, None).trainings) == trainings


# Refusals


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "training.iteratoins=[1]",
            "--grid training.iteratoins=1: unknown key `training.iteratoins`; did you mean 'iterations'?",
        ),
        ("training.iterations=[5,0]", "--grid training.iterations=0: `training.iterations`: Expected `int` >= 1"),
        (
            "stages.1.models=[2]",
            "--grid stages.1.models=2: expected the number of a table below 1, got '1'",
        ),
        (
            "training.iterations=5",
            "--grid training.iterations=5: expected key=[value, ...], such as "
            "localization.proposer.threshold=[0.1,0.2]",
        ),
        (
            "evaluation.evaluator=['activitynet']",
            "--grid evaluation.evaluator=['activitynet']: all points are scored alike and on the same videos, so "
            "evaluation.evaluator cannot be in the grid; change it for all of them with --set",
        ),
        (
            "data=[1]",
            "--grid data=[1]: all points are scored alike and on the same videos, so data cannot be in the grid; "
            "change it for all of them with --set",
        ),
        (
            "training.learning_rate=[1, 1.0]",
            "--grid: training.learning_rate=1 and training.learning_rate=1.0 are the same experiment, because a value "
            "comes twice, or each stage sets the key itself; leave one out, or give the key of a stage, such as "
            "stages.0.training.iterations",
        ),
        (
            "model.aggregator=['maa','maan']",
            "model.aggregator=\"maan\": unknown aggregator 'maan'; did you mean 'maa'? (not installed: pip install "
            "wtal-aggregators)",
        ),
    ],
)
def test_a_bad_grid_is_refused_before_any_training(tune, here, tmp_path, line, said):
    answer = tune(grid=("--grid", line))
    assert (answer.code, answer.err) == (2, f"error: {said}\n")
    assert here == []
    assert not (tmp_path / "out").exists()


def test_an_option_that_a_component_lacks(tune, here):
    answer = tune(grid=("--grid", "localization.proposer.fraction=[0.5]", "--grid", "model.aggregator.pover=[1.0]"))
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    start = "error: localization.proposer.fraction=0.5 model.aggregator.pover=1.0: aggregator 'maa' of wtal-fakes"
    assert line.startswith(start)
    assert "pover" in line.removeprefix(start)
    assert here == []


def test_folds_are_refused_before_any_training(tune, tiny, here):
    answer = tune("--folds", "7")
    assert (answer.code, answer.err) == (
        2,
        "error: --folds 7: the training videos are of 6 groups only (v0, v1, v2, v3, v4, v5); give --folds 6 or fewer, "
        "or another --group\n",
    )
    answer = tune("--group", "v[0-4]")
    assert (
        answer.err == "error: --group v[0-4]: finds no group in the name of video 'v5'; give one that finds it in all\n"
    )

    def rename(content):
        content["database"]["v0"]["annotations"][0]["label"] = "hop"

    edit_json(tiny.parent / "annotations.json", rename)
    answer = tune()
    assert answer.code == 2
    assert answer.err.startswith("error: class 'hop' has training videos in fold ")
    assert here == []
