"""Every preset runs on features in each layout that people have, with an excerpt of THUMOS14's own annotation."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from wtal_core import config
from wtal_core.check import component_problems
from wtal_core.cli import main
from wtal_core.registry import discover
from wtal_core.source import preset_file

ANNOTATIONS = Path(__file__).parent / "data" / "thumos14" / "gt.json"
PRESETS = discover().names("preset")
WIDTH = 8
SPLIT = "data.reader={ name = 'auto', streams = { rgb = [0, 8], flow = [8, 16] } }"


def write_npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def basnet(folder, subset, name, rgb, flow):
    """`train/rgb/VIDEO.npy`, `train/flow/VIDEO.npy`, `test/...`."""
    write_npy(folder / subset / "rgb" / f"{name}.npy", rgb)
    write_npy(folder / subset / "flow" / f"{name}.npy", flow)


def actionformer(folder, _subset, name, rgb, flow):
    """`VIDEO.npy`, rgb and flow side by side."""
    write_npy(folder / f"{name}.npy", np.concatenate([rgb, flow], axis=1))


def archives(folder, _subset, name, rgb, flow):
    """`VIDEO.npz` with an array a stream."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", rgb=rgb, flow=flow)


def hdf5(folder, _subset, name, rgb, flow):
    """One HDF5 file, `/v_VIDEO/STREAM`."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "features.h5", "a") as file:
        file[f"v_{name}/rgb"], file[f"v_{name}/flow"] = rgb, flow


def tables(folder, _subset, name, rgb, flow):
    """`VIDEO.csv` with a header, rgb and flow side by side."""
    folder.mkdir(exist_ok=True)
    header = ",".join(f"f{number}" for number in range(2 * WIDTH))
    np.savetxt(folder / f"{name}.csv", np.concatenate([rgb, flow], axis=1), delimiter=",", header=header, comments="")


def wtalc(folder, _subset, name, rgb, flow):
    """One pickled array of arrays, and the names of its videos in a folder beside it."""
    features, names = folder / "Thumos14-I3D-JOINTFeatures.npy", folder / "Thumos14-Annotations" / "videoname.npy"
    names.parent.mkdir(parents=True, exist_ok=True)
    known = [*np.load(names)] if names.exists() else []
    kept = [*np.load(features, allow_pickle=True)] if known else []
    together = np.empty(len(known) + 1, dtype=object)
    together[:] = [*kept, np.concatenate([rgb, flow], axis=1)]
    np.save(features, together, allow_pickle=True)
    np.save(names, np.array([*known, name.encode()]))


PICKLED = SPLIT.replace("'auto'", "'auto', allow_pickle = true")
LAYOUTS = {basnet: (), actionformer: (SPLIT,), archives: (), hdf5: (), tables: (SPLIT,), wtalc: (PICKLED,)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder or file of random features in each layout, of the excerpt's 20 videos at 25 frames per second."""
    generator = np.random.default_rng(0)
    folders = {layout: tmp_path_factory.mktemp(layout.__name__) / "features" for layout in LAYOUTS}
    for name, video in json.loads(ANNOTATIONS.read_text())["database"].items():
        length = 3 + int(max(float(one["segment"][1]) for one in video["annotations"]) * 25 / 16)
        streams = generator.normal(size=(2, length, WIDTH)).astype(np.float32)
        for layout, folder in folders.items():
            layout(folder, video["subset"], name, *streams)
    files = {hdf5: "features.h5", wtalc: "Thumos14-I3D-JOINTFeatures.npy"}
    return folders | {layout: folders[layout] / file for layout, file in files.items()}


def wtal(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def words(preset, store, layout, out):
    """A command's arguments: the excerpt's own names of the subsets, and three steps instead of thousands."""
    table = config.to_table(config.load(preset_file(discover(), preset)))
    settings = [*LAYOUTS[layout], "data.training_subset=train", "data.test_subset=test", "training.iterations=3"]
    settings += [f"stages.{number}.models=1" for number in range(len(table["stages"]))]
    given = [preset, "--annotations", ANNOTATIONS, "--features", store]
    return [*given, *(word for setting in settings for word in ("--set", setting)), "--out", out]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_valid(preset):
    assert list(component_problems(config.load(preset_file(discover(), preset)), discover())) == []


def test_there_is_a_preset_of_each_method_on_both_data_sets():
    methods = ("maan", "stpn", "star", "star-literal", "wtalc", "recommended")
    assert {f"{method}-{data}" for method in methods for data in ("thumos14", "activitynet13")} <= set(PRESETS)


CASES = [(preset, list(LAYOUTS)[number % len(LAYOUTS)]) for number, preset in enumerate(PRESETS)]
CASES += [("maan-thumos14", layout) for layout in LAYOUTS if ("maan-thumos14", layout) not in CASES]


@pytest.mark.parametrize(("preset", "layout"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_a_preset_runs_on_features_as_they_lie(stores, tmp_path, capsys, preset, layout):
    assert wtal("run", *words(preset, stores[layout], layout, tmp_path)) == 0
    printed = capsys.readouterr().out
    assert preset in printed
    rows = [name for table in config.load(preset_file(discover(), preset)).published for name in table.rows]
    about = re.findall(r"^published \((.+); here (.+)\): ", printed, re.MULTILINE)
    assert [here for _, here in about] == ["8 videos, 5 classes"] * len(rows)
    evaluation = json.loads((tmp_path / "seed-0" / "evaluation.json").read_text())
    assert len(evaluation["localization"]["average_precision"]) == 5


def test_maan_beside_what_its_paper_reports(stores, tmp_path, capsys):
    wtal("run", *words("maan-thumos14", stores[basnet], basnet, tmp_path))
    assert capsys.readouterr().out.splitlines()[-1] == (
        "published (MAAN Table 1, 212 videos, 20 classes; here 8 videos, 5 classes): MAAN 0.1: 59.8, 0.2: 50.8, "
        "0.3: 41.1, 0.4: 30.6, 0.5: 20.3, 0.6: 12.0, 0.7: 6.9, 0.8: 2.6, 0.9: 0.2, Cls mAP: 94.1"
    )


def test_compare_says_once_what_papers_report(stores, tmp_path, capsys):
    first, *rest = words("stpn-thumos14", stores[hdf5], hdf5, tmp_path)
    assert wtal("compare", first, "maan-thumos14", *rest, "--seeds", "0", "--workers", "1") == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("published (")]
    named = [re.search(r"\): (.+?) 0\.1: ", line)[1] for line in lines]
    assert named == ["STPN", "STPN (its own paper, I3D)", "Dropout", "Norm", "SoftMaxNorm", "MAAN"]
    kept = (tmp_path / "comparison.md").read_text()
    assert all(f"\n{line}\n" in kept for line in lines)
    assert (tmp_path / "maan-thumos14" / "seed-0").is_dir()


def test_tuning_a_preset(stores, tmp_path, capsys):
    given = words("maan-thumos14", stores[basnet], basnet, tmp_path)
    grid = "localization.proposer.threshold=[0.1,0.2]"
    assert wtal("tune", *given, "--grid", grid, "--folds", "2", "--workers", "1") == 0
    text = (tmp_path / "tuned.toml").read_text()
    assert "maan-thumos14.toml with settings chosen" in text
    tuned = config.load(tmp_path / "tuned.toml")
    assert Path(tuned.data.annotations) == ANNOTATIONS
    assert [table.source for table in tuned.published] == ["MAAN Table 1"]
