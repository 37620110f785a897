"""The built documentation site holds every public name of every package: run by `tox run -e docs`."""

import importlib
import inspect
import os
import pkgutil
import re
from pathlib import Path

import pytest

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


def test_pictures_are_there():
    page = site("generated/wtal-aggregators.html")
    (picture,) = re.findall(r'<img alt="Weights of one video[^>]*src="([^"]+)"', page)
    assert site(f"generated/{picture}").lstrip().startswith(("<?xml", "<svg"))
