"""Experiments by name: where they are found, what their paths are relative to, and what papers report of them."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from wtal_core import config, published
from wtal_core.errors import PluginError
from wtal_core.registry import discover
from wtal_core.source import Source, preset_file, settings_of, source_of

from .conftest import hook, plugin

TABLE = """
[[published]]
source = "Jumps Table 1"
videos = 3
classes = 2
columns = ["0.5", "mean", "Cls mAP"]

[published.rows]
base = [10, 20.04, 30.06]
"best of all" = [11.5, 21.5, 31.5]
"""
KNOWN = sorted(path.stem for path in preset_file(discover(), "recommended").parent.iterdir())


@pytest.fixture
def jumps(install, tiny, fakes, monkeypatch):
    """A plugin with a preset, in a folder that holds its data under the preset's own names."""
    folder = install(
        "jumps", {"_jumps_plugin": plugin(hook("wtal_presets", {"jumps-tiny": "jumps:presets/tiny.toml"}))}
    )
    (folder / "jumps" / "presets").mkdir(parents=True)
    (folder / "jumps" / "__init__.py").touch()
    text = tiny.read_text() + TABLE
    (folder / "jumps" / "presets" / "tiny.toml").write_text(text)
    monkeypatch.chdir(tiny.parent)
    return SimpleNamespace(folder=tiny.parent, text=text)


def said(call, *arguments):
    with pytest.raises(PluginError) as error:
        call(*arguments)
    return str(error.value)


@pytest.mark.parametrize("text", ["mine.toml", "folder/mine", "./mine", "/dev/stdin"])
def test_a_path_is_a_file(text):
    assert source_of(text) == Source(Path(text).stem, Path(text), preset=False)


def test_a_file_without_suffix_is_found_before_a_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("maan-thumos14").mkdir()
    assert source_of("maan-thumos14").preset  # a folder, such as one of runs, is no experiment
    Path("star-thumos14").touch()
    assert not source_of("star-thumos14").preset


def test_an_unknown_name_lists_the_nearest_and_says_how_to_give_a_file():
    assert said(source_of, "maan-thumos") == (
        "unknown preset 'maan-thumos'; did you mean 'maan-thumos14' or 'stpn-thumos14' or 'star-thumos14'? "
        "(an experiment of your own is given by its path, such as maan-thumos.toml)"
    )
    assert said(source_of, "zzz") == (
        f"unknown preset 'zzz'; known: {', '.join(KNOWN)} "
        "(an experiment of your own is given by its path, such as zzz.toml)"
    )


def test_two_plugins_with_one_preset_name(install):
    for name in ("alpha", "beta"):
        install(name, {f"_{name}_plugin": plugin(hook("wtal_presets", {"mine": f"{name}:mine.toml"}))})
    assert said(source_of, "mine") == (
        "preset 'mine' is provided by alpha 1.0 and beta 1.0; uninstall one "
        "(an experiment of your own is given by its path, such as mine.toml)"
    )


@pytest.mark.parametrize(
    "target", ["module:Name", "module:../up.toml", "module:/root.toml", "mine.toml", "m:a\\b.toml", 3]
)
def test_a_preset_is_a_file_inside_its_package(install, target):
    install("odd", {"_odd_plugin": plugin(hook("wtal_presets", {"mine": target}))})
    (quarantined,) = discover().quarantined
    assert quarantined.error == (
        f"TypeError: hook 'wtal_presets' maps 'mine' to {target!r}, not to a string 'package:FILE.toml'"
    )


def test_a_preset_whose_package_is_not_there_is_its_plugin_s_fault(install):
    install("lost", {"_lost_plugin": plugin(hook("wtal_presets", {"mine": "nowhere_at_all:mine.toml"}))})
    assert said(preset_file, discover(), "mine") == (
        "preset 'mine' of lost 1.0 cannot be found: ModuleNotFoundError: No module named 'nowhere_at_all'"
    )


@pytest.mark.parametrize("command", ["run", "train", "validate", "compare", "tune"])
def test_a_preset_without_data_asks_for_it(wtal, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    grid = ["--grid", "training.weight_decay=[0.0]"] if command == "tune" else []
    answer = wtal(command, "maan-thumos14", *grid)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        f"error: preset maan-thumos14: there is no {tmp_path}/thumos14.json; give --annotations PATH",
        f"error: preset maan-thumos14: there is no {tmp_path}/features; give --features PATH",
    ]


def test_settings_of_paths_are_of_the_working_folder_and_give_way_to_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = settings_of(["data.features=mine"], Path('a "b".json'), Path("f "))
    assert given == [
        f'data.annotations="{tmp_path}/a \\"b\\".json"',
        f'data.features="{tmp_path}/f "',
        "data.features=mine",
    ]
    assert settings_of(None, None, None) == []


def test_a_preset_runs_on_what_lies_in_the_working_folder_and_says_what_papers_report(wtal, jumps):
    answer = wtal("run", "jumps-tiny")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-2:] == [
        "published (Jumps Table 1, 3 videos, 2 classes): base 0.5: 10.0, mean: 20.0, Cls mAP: 30.1",
        "published (Jumps Table 1, 3 videos, 2 classes): best of all 0.5: 11.5, mean: 21.5, Cls mAP: 31.5",
    ]
    kept = config.load(jumps.folder / "runs" / "jumps-tiny" / "seed-0" / "config.toml")
    assert Path(kept.data.features) == jumps.folder / "features"
    assert kept.published[0].rows["base"] == [10.0, 20.04, 30.06]


def test_a_file_takes_the_paths_of_options_from_the_working_folder(wtal, tiny, fakes, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(tiny.parent / "features", moved / "features")
    shutil.move(tiny.parent / "annotations.json", moved / "annotations.json")
    monkeypatch.chdir(moved)
    assert wtal("validate", tiny, "--annotations", "annotations.json", "--features", "features").code == 0
    assert wtal("validate", tiny, "--set", "data.annotations=annotations.json", "--features", "features").code == 2


def test_describe_prints_a_preset_to_edit(wtal, jumps, tmp_path):
    answer = wtal("describe", "preset", "jumps-tiny")
    assert (answer.code, answer.out, answer.err) == (0, jumps.text, "")


def test_plugins_lists_presets(wtal, jumps):
    listed = [line.split() for line in wtal("plugins").out.splitlines()]
    assert ["preset", "jumps-tiny", "jumps", "1.0", "jumps:presets/tiny.toml"] in listed


def test_figures_of_another_test_say_in_what_it_differs(write_experiment):
    experiment = write_experiment(TABLE + '\n[evaluation]\nevaluator = { name = "thumos14" }\n')
    dataset = SimpleNamespace(test=[None] * 5, classes=["jump"])
    line, _ = published.lines(experiment, dataset)
    assert line == (
        "published (Jumps Table 1, 3 videos, 2 classes; here 5 videos, 1 class, evaluator thumos14): "
        "base 0.5: 10.0, mean: 20.0, Cls mAP: 30.1"
    )


@pytest.fixture
def write_experiment(tmp_path):
    def do(text):
        path = tmp_path / "e.toml"
        path.write_text('[data]\nannotations = "a.json"\nfeatures = "f"\ngrid = "duration"\n' + text)
        return config.load(path)

    return do


def test_a_published_row_has_a_number_for_each_column(write_experiment, tmp_path):
    with pytest.raises(config.ConfigError) as error:
        write_experiment(TABLE.replace("[10, 20.04, 30.06]", "[10]"))
    assert str(error.value) == (
        f"{tmp_path}/e.toml: `published[0].rows.base` must have one number for each of the 3 columns"
    )


def test_a_run_goes_on_when_what_papers_report_has_changed(wtal, tiny, fakes, tmp_path):
    assert wtal("run", tiny, "--out", tmp_path / "out").code == 0
    tiny.write_text(tiny.read_text() + TABLE)
    assert wtal("run", tiny, "--out", tmp_path / "out", "--resume").code == 0


def test_presets_differ_from_their_siblings_in_nothing_but_data():
    """`recommended` is one set of values, and STPN is MAAN with another aggregator."""
    folder = preset_file(discover(), "recommended").parent

    def differing(one, other):
        return config.differences(*(config.load(folder / f"{name}.toml") for name in (one, other)))

    def parts(keys):
        return {key for key in keys if not key.startswith(("data.", "evaluation.", "published"))} - {"seed"}

    assert parts(differing("recommended", "recommended-thumos14")) == set()
    assert parts(differing("recommended", "recommended-activitynet13")) == {"training.iterations"}
    for data in ("thumos14", "activitynet13"):
        assert set(differing(f"maan-{data}", f"stpn-{data}")) == {"model.aggregator", "published"}


def test_every_file_is_a_preset_and_says_whose_its_values_are():
    folder = preset_file(discover(), "recommended").parent
    assert [path.stem for path in sorted(folder.iterdir()) if " ours" not in path.read_text()] == []
    assert {path.stem for path in folder.iterdir()} == set(discover().names("preset"))
