"""The documentation site: the packages' own READMEs and the pages beside this file, and an API page per package.

Sphinx and not MkDocs, because Sphinx has releases and MkDocs, under every theme of its own, has had none since 2024.
The pages in `generated` are written at each build, as everything that they say stands elsewhere.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

project = "wtal"
copyright = "The wtal authors"  # noqa: A001  # Sphinx reads this name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "wtal"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
exclude_patterns = ["generated/README.md"]  # index.md includes it
myst_heading_anchors = 3
default_role = "code"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
# A type's short name may be that of two, such as Evaluation: it is then linked to one of them.
suppress_warnings = ["ref.python"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
GENERATED = HERE / "generated"
PACKAGES = ("core", "aggregators", "star", "localize", "eval")


def public_modules(package: str) -> list[str]:
    """The package and its modules without an underscore, by name."""
    found = import_module(package)
    names = [info.name for info in pkgutil.walk_packages(found.__path__, f"{package}.")]
    return [package, *sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))]


def public_names(module: str) -> dict[str, Any]:
    """What a module offers: `__all__`, or else the functions and classes defined in it without an underscore."""
    loaded = import_module(module)
    if hasattr(loaded, "__all__"):
        return {name: getattr(loaded, name) for name in sorted(loaded.__all__)}
    return {
        name: value
        for name, value in sorted(vars(loaded).items())
        if not name.startswith("_") and is_documented(value) and value.__module__ == module
    }


def is_documented(value: Any) -> bool:
    """Whether it has a docstring of its own: a function or a class."""
    return inspect.isroutine(value) or inspect.isclass(value)


def api_page(package: str) -> str:
    """One page with every public name once: in the package that offers it, or else in its module."""
    parts = [f"# {package}: API\n"]
    offered: list[Any] = []
    for module in public_modules(package):
        names = public_names(module)
        above = [name for name, value in names.items() if any(value is other for other in offered)]
        if hasattr(import_module(module), "__all__"):
            offered += names.values()
        if len(above) < len(names):
            lines = [f".. automodule:: {module}"]
            if above:
                lines.append(f"   :exclude-members: {', '.join(above)}")
            # Constants have no docstrings, so that automodule passes over them.
            lines += [
                f"\n.. py:data:: {name}\n   :module: {module}\n   :type: {type(value).__name__}"
                for name, value in names.items()
                if not is_documented(value)
            ]
            parts.append(f"## {module}\n\n```{{eval-rst}}\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


def from_markdown(*arguments: Any) -> None:
    """Turn what a docstring has of Markdown into reStructuredText: indented code, and letters after a backtick."""
    lines = arguments[-1]
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line)
        deeper = line[: len(line) - len(line.lstrip())] + "    "
        if line.endswith(":") and lines[i + 1 : i + 2] == [""] and "".join(lines[i + 2 : i + 3]).startswith(deeper):
            lines[i] += ":"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", from_markdown, priority=400)


def repository_page(source: str, folder: Path) -> str:
    """A Markdown file of the repository, its links rewritten to hold in `folder`."""
    path = ROOT / source

    def rewritten(match: re.Match[str]) -> str:
        target = (path.parent / match[1]).resolve()
        if target.is_dir():
            target = GENERATED / f"{target.name}.md"
        elif target == ROOT / "CONTRIBUTING.md":
            target = GENERATED / target.name
        return f"]({os.path.relpath(target, folder)})"

    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", rewritten, path.read_text(encoding="utf-8"))


sys.path.insert(0, str(HERE))
GENERATED.mkdir(exist_ok=True)
pages = {
    "README.md": repository_page("README.md", HERE),
    "CONTRIBUTING.md": repository_page("CONTRIBUTING.md", GENERATED),
    "experiment.md": import_module("keys").page(),
}
for readme in sorted(ROOT.glob("packages/*/README.md")) + sorted(ROOT.glob("examples/*/README.md")):
    pages[f"{readme.parent.name}.md"] = repository_page(str(readme.relative_to(ROOT)), GENERATED)
for name in PACKAGES:
    pages[f"wtal_{name}.md"] = api_page(f"wtal_{name}")
for file, text in pages.items():
    (GENERATED / file).write_text(text, encoding="utf-8")
