"""No leaf imports a sibling or the core: read from the sources, so that an import inside a function counts too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[1] / "packages"
OURS = {"wtal_core", "wtal_aggregators", "wtal_star", "wtal_localize", "wtal_eval"}


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def test_reader_sees_every_form_of_import():
    source = "import a.b\ndef f():\n    from c.d import e\n    from . import g\n    import h as i\n"
    assert list(imported(source)) == ["a", "c", "h"]


@pytest.mark.parametrize("name", sorted(OURS - {"wtal_core"}))
def test_leaf_imports_neither_sibling_nor_core(name):
    files = sorted((PACKAGES / name.replace("_", "-") / "src" / name).rglob("*.py"))
    assert files
    forbidden = {file.name: sorted((OURS - {name}) & set(imported(file.read_text()))) for file in files}
    assert {file: names for file, names in forbidden.items() if names} == {}


@pytest.mark.parametrize("name", sorted(OURS))
def test_plugin_module_imports_only_hookimpl(name):
    file = PACKAGES / name.replace("_", "-") / "src" / f"_{name}_plugin.py"
    lines = [line for line in file.read_text().splitlines() if line.startswith(("import", "from"))]
    assert lines == ["from collections.abc import Mapping", "from wtal_core import hookimpl"]


def test_core_imports_no_leaf():
    files = sorted((PACKAGES / "wtal-core" / "src").rglob("*.py"))
    assert files
    assert {f.name for f in files if (OURS - {"wtal_core"}) & set(imported(f.read_text()))} == set()
