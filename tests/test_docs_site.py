"""The built documentation site holds every public name of every package: run by `tox run -e docs`."""

import importlib
import inspect
import os
import pkgutil
import re
from pathlib import Path

import msgspec
import pytest
from wtal_core import config

pytestmark = pytest.mark.skipif("WTAL_SITE" not in os.environ, reason="reads the built site: run `tox run -e docs`")
ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.name.replace("-", "_") for path in (ROOT / "packages").iterdir())


def site(page: str) -> str:
    return (Path(os.environ["WTAL_SITE"]) / page).read_text(encoding="utf-8")


def public(package: str) -> set[str]:
    """Every function, class and name of `__all__` in a module without an underscore, where it is offered highest."""
    names, reexported = set(), set()
    top = importlib.import_module(package)
    modules = [package, *(info.name for info in pkgutil.walk_packages(top.__path__, f"{package}."))]
    for name in modules:
        if re.search(r"\._", name):
            continue
        module = importlib.import_module(name)
        own = {
            key
            for key, value in vars(module).items()
            if key[0] != "_" and (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == name
        }
        for key in getattr(module, "__all__", own):
            value = getattr(module, key)
            if (key, id(value)) not in reexported:
                names.add(f"{name}.{key}")
            if hasattr(module, "__all__"):
                reexported.add((key, id(value)))
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_the_api_page(package):
    anchors = set(re.findall(r'id="([\w.]+)"', site(f"generated/{package}.html")))
    assert public(package) - anchors == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_readme_is_a_page(package):
    page = site(f"generated/{package.replace('_', '-')}.html")
    assert f"<h1>{package.replace('_', '-')}<" in page


def test_every_guide_is_in_the_navigation():
    start = site("index.html")
    for guide in (ROOT / "docs").glob("*.md"):
        assert guide.stem == "index" or f'href="{guide.stem}.html"' in start


def keys(table: type, path: str = "") -> list[str]:
    """Every key of an experiment, the tables of lists once."""
    found = []
    for field in msgspec.structs.fields(table):
        key = f"{path}{field.name}"
        found.append(key)
        for name, inner in vars(config).items():
            if (
                isinstance(inner, type)
                and issubclass(inner, config.Table)
                and re.search(rf"\b{name}\b", str(field.type))
            ):
                kind = str(field.type)
                found += keys(
                    inner, f"{key}[i]." if "list" in kind else f"{key}.NAME." if "dict" in kind else f"{key}."
                )
    return found


def test_every_key_of_an_experiment_is_explained():
    rows = re.findall(r"<tr class=\"row-(?:odd|even)\">(.*?)</tr>", site("generated/experiment.html"), re.DOTALL)
    cells = [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)] for row in rows
    ]
    table = {row[0]: row[1:] for row in cells if row}
    assert sorted(table) == sorted(keys(config.Experiment))
    assert {"data.grid.stride", "training.clip", "stages[i].teacher"} <= set(table)
    assert all(kind and meaning for kind, _, meaning in table.values())
    assert table["data.features"] == ["text", "must be given", "a folder or file that the reader understands"]
    assert table["training.clip"][:2] == ["component: clip", "&quot;segments&quot;"]
    assert table["training.feature_dropout"][:2] == ["number from 0 and below 1", "0.5"]
    assert table["localization.fusion"][0] == "&quot;activations&quot; or &quot;attention&quot;"


@pytest.mark.parametrize("page", ["index.html", "generated/experiment.html", "generated/wtal-localize.html"])
def test_wide_tables_are_scrolled(page):
    text = site(page)
    sheet = re.search(r'href="([^"]*tables\.css)', text)[1]
    assert "overflow-x: auto" in (Path(os.environ["WTAL_SITE"]) / page).parent.joinpath(sheet).read_text()
    assert len(re.findall("<table", text)) == len(re.findall(r'<div class="table-wrapper[^"]*">\s*<table', text)) > 0


def test_pictures_are_there():
    page = site("generated/wtal-aggregators.html")
    (picture,) = re.findall(r'<img alt="Weights of one video[^>]*src="([^"]+)"', page)
    assert site(f"generated/{picture}").lstrip().startswith(("<?xml", "<svg"))
