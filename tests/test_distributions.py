"""Each wheel is built, installed alone in a bare environment, and imported there.

Slow, as every bare environment installs its dependencies: only the `dist` environment runs it.
"""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("core", "aggregators", "star", "localize", "eval")

pytestmark = pytest.mark.skipif("WTAL_DISTRIBUTIONS" not in os.environ, reason="builds wheels: run `tox run -e dist`")


def run(*command: object) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("name", OURS)
def test_wheel_works_alone(name, tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT / "packages" / f"wtal-{name}")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"wtal_{name}-0.1.0-py3-none-any.whl"
    contents = set(zipfile.ZipFile(wheel).namelist())
    assert {f"wtal_{name}/__init__.py", f"wtal_{name}/py.typed", f"_wtal_{name}_plugin.py"} <= contents
    assert {part.partition("/")[0] for part in contents} == {
        f"wtal_{name}",
        f"_wtal_{name}_plugin.py",
        f"wtal_{name}-0.1.0.dist-info",
    }
    assert f"wtal_{name}-0.1.0.dist-info/licenses/LICENSE" in contents

    bare = tmp_path / "bare"
    venv.create(bare, with_pip=True)
    python = bare / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
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
