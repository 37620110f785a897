"""What is published: each package's sdist, the wheel built from it, its metadata and what it declares.

Slow, as every bare environment installs its dependencies: only the `dist` environment runs it.
"""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("core", "aggregators", "star", "localize", "eval")
PUBLISHED = [ROOT / "packages" / f"wtal-{name}" for name in OURS]
FOLDERS = PUBLISHED + sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))

pytestmark = pytest.mark.skipif("WTAL_DISTRIBUTIONS" not in os.environ, reason="builds wheels: run `tox run -e dist`")


def run(*command: object, **options: object) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The sdist and the wheel of a folder, the wheel built from the sdist."""
    results = {}

    def build(folder: Path) -> tuple[Path, Path]:
        if folder not in results:
            out = tmp_path_factory.mktemp(folder.name)
            run(sys.executable, "-m", "build", "--outdir", out, folder)
            (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
            results[folder] = sdist, wheel
        return results[folder]

    return build


def test_every_package_is_found():
    assert set(PUBLISHED) == {path.parent for path in ROOT.glob("packages/*/pyproject.toml")}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_contents_and_metadata(folder, built):
    sdist, wheel = built(folder)
    declared = project(folder)
    stem = f"{declared['name'].replace('-', '_')}-{declared['version']}"
    assert (sdist.name, wheel.name) == (f"{stem}.tar.gz", f"{stem}-py3-none-any.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    run(sys.executable, "-m", "check_wheel_contents", wheel)

    contents = set(zipfile.ZipFile(wheel).namelist())
    package = declared["name"].replace("-", "_")
    plugins = {f"{module}.py" for module in declared["entry-points"]["wtal"].values()}
    assert {part.partition("/")[0] for part in contents} == {package, *plugins, f"{stem}.dist-info"}
    sources = {path.relative_to(folder / "src").as_posix() for path in (folder / "src").rglob("*") if path.is_file()}
    published = {name for name in sources if "__pycache__" not in name and ".egg-info" not in name}
    assert {name for name in contents if ".dist-info/" not in name} == published
    assert f"{package}/py.typed" in contents

    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{stem}/") for name in archive.getnames()}
    assert {"PKG-INFO", "README.md", "pyproject.toml"} <= names
    assert {f"src/{name}" for name in published} <= names
    assert not [name for name in names if "__pycache__" in name]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\((?!https?:)([^)]+)\)", readme)
    assert set(pictures) <= names
    assert f"{stem}.dist-info/licenses/LICENSE" in contents
    assert {"CHANGELOG.md", "LICENSE"} <= names
    assert f"## {declared['version']}" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_dependencies_are_declared_and_used(folder):
    # The examples name pytest in an extra for their tests, which are not part of src.
    options = () if folder in PUBLISHED else ("--per-rule-ignores", "DEP002=pytest")
    run(sys.executable, "-m", "deptry", "src", *options, cwd=folder)


def test_oldest_constraints_are_the_lower_bounds():
    bounds, pinned = {}, {}
    for folder in PUBLISHED:
        declared = project(folder)
        for line in sum(declared.get("optional-dependencies", {}).values(), declared.get("dependencies", [])):
            name, bound = re.match(r"([\w.-]+)[>=]=([\w.]+)", line).groups()
            assert bounds.setdefault(name, bound) == bound, f"{folder.name}: another lower bound of {name}"
    for line in (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            pinned[name] = version
    assert pinned.pop("torch") == "2.13.0"
    del bounds["torch"]
    assert {name: pinned[name] for name in bounds} == bounds


@pytest.mark.parametrize("name", OURS)
def test_wheel_works_alone(name, built, tmp_path):
    _, wheel = built(PUBLISHED[OURS.index(name)])
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=True)
    python = bare / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", ROOT / "constraints.txt", wheel)
    run(python, "-m", "pip", "check")
    assert run(python, "-c", f"import wtal_{name}; print(wtal_{name}.__name__)") == f"wtal_{name}\n"
    installed = run(python, "-m", "pip", "list", "--format", "freeze").splitlines()
    ours = {line.partition("==")[0].replace("_", "-") for line in installed if line.lower().startswith("wtal")}
    assert ours == {f"wtal-{name}"}
    if name in ("localize", "eval"):
        assert not any(line.startswith("torch==") for line in installed)
    if name in ("core", "eval"):
        command = {"core": "wtal", "eval": "wtal-eval"}[name]
        assert "Example" in run(python.with_name(command), *(["run"] if name == "core" else []), "--help")
