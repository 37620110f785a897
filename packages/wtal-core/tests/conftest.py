"""Fake installed distributions, a tiny data set, and the command line in this process."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FAKES = Path(__file__).parent / "fakes"
SHARED = Path(__file__).parents[3].parent / "shared"


def write_distribution(folder, distribution, modules, version="1.0", entry_points=None):
    """Write what an installer would: modules, and metadata that names the entry points of the group `wtal`."""
    for module, source in modules.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{module}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    entries = entry_points or {"plug": next(iter(modules))}
    (info / "entry_points.txt").write_text("[wtal]\n" + "".join(f"{n} = {v}\n" for n, v in entries.items()))


@pytest.fixture
def clean_modules():
    """Forget the modules that a test imports from its own folders, so that no other test finds them."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "pytest-of-" in file or file.startswith(str(FAKES)):
            del sys.modules[name]


@pytest.fixture
def install(tmp_path, monkeypatch, clean_modules):
    """Install a fake distribution for one test: `install("alpha", {"_alpha_plugin": source})`."""

    def do(distribution, modules, version="1.0", entry_points=None, folder=None):
        folder = folder or tmp_path / "site" / f"{distribution}-{version}"
        write_distribution(folder, distribution, modules, version, entry_points)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return do


@pytest.fixture
def fakes(monkeypatch, clean_modules):
    """Install the distribution `wtal-fakes`, which has the components that experiments use and the core has not."""
    monkeypatch.syspath_prepend(str(FAKES))
    importlib.invalidate_caches()


@pytest.fixture
def registry(fakes):
    from wtal_core.registry import discover

    return discover()


def plugin(body):
    """The source of a plugin module."""
    return f"from wtal_core import hookimpl\n{body}\n"


def hook(name, returned):
    """The source of one hook."""
    return f"@hookimpl\ndef {name}():\n    return {returned!r}\n"


CLASSES = ("jump", "run")


def write_data(folder, streams=("rgb", "flow"), training=6, test=3, dim=4, seed=0):
    """A data set of two classes whose features give them away: 2 s per video, 10 frames per second, stride 2."""
    generator = np.random.default_rng(seed)
    database = {}
    for number in range(training + test):
        name, label = f"v{number}", number % 2
        start = int(generator.integers(0, 6))
        database[name] = {
            "subset": "training" if number < training else "validation",
            "duration": 2.0,
            "annotations": [{"label": CLASSES[label], "segment": [start * 0.2, (start + 4) * 0.2]}],
        }
        for stream in streams:
            features = generator.normal(size=(10, dim)).astype(np.float32)
            features[start : start + 4, label] += 4
            (folder / "features" / stream).mkdir(parents=True, exist_ok=True)
            np.save(folder / "features" / stream / f"{name}.npy", features)
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    (folder / "tiny.toml").write_text(
        '[data]\nannotations = "annotations.json"\nfeatures = "features"\n'
        f"streams = {list(streams)}\ngrid = {{ frames_per_second = 10, stride = 2 }}\n"
        '[training]\nclip = { name = "segments", snippets = 5 }\n'
        "learning_rate = 0.01\niterations = 12\nbatch_size = 4\ncheckpoint_every = 5\n"
    )
    return folder / "tiny.toml"


@pytest.fixture(scope="session")
def arena(tmp_path_factory):
    """The folder that the tiny data set lies in, at the same path for every test, so that a run of it can be kept."""
    folder = tmp_path_factory.mktemp("arena")
    write_data(folder / "pristine")
    return folder


@pytest.fixture
def tiny(arena):
    """The experiment file of a tiny data set, fresh for each test."""
    shutil.rmtree(arena / "data", ignore_errors=True)
    shutil.copytree(arena / "pristine", arena / "data")
    return arena / "data" / "tiny.toml"


def edit_json(path, change):
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def wtal(capsys):
    """The command line in this process: `wtal("run", file)` gives `code`, `out` and `err`."""
    from wtal_core.cli import main

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=stopped.value.code, out=captured.out, err=captured.err)

    return call


def python(*arguments, path=(), cwd=None):
    """Another Python with `path` before its own."""
    folders = [*map(str, path), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, cwd=cwd, check=False
    )
