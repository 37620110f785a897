"""Writing a new plugin package: a component that keeps the contract of its kind, to be changed into one's own.

What is written stands in `_templates`, in files that are what they will be but for the words that `_words` replaces.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tokenize import NAME, generate_tokens

from wtal_core.errors import PluginError, RunError
from wtal_core.files import new_folder
from wtal_core.kinds import Kind
from wtal_core.registry import Registry

#: What a template may import, and the requirement that brings it.
_REQUIREMENTS: Mapping[str, str] = {"numpy": "numpy>=1.26,<3", "torch": "torch>=2.4,<3"}


def write_plugin(name: str, kind: Kind, folder: Path, registry: Registry) -> list[Path]:
    """Write the package `name` with one component of a kind into `folder`; return the files, relative to it.

    The component's name is that of the package without a leading `wtal-`.

    Args:
        name: of the distribution: lower-case letters, digits and single hyphens, a letter first.
        kind: one of `kinds.KINDS`.
        folder: a new folder, written whole or not at all.
        registry: what is installed, whose names are taken.

    Raises:
        PluginError: the name is not of this form, or an installed component of this kind has it.
        RunError: there is something at `folder`, or it cannot be written.
    """
    words = _words(name, kind)
    component = words["placeholder-component"]
    for taken in registry.components:
        if (taken.kind, taken.name) == (kind.name, component):
            raise PluginError(f"{kind.name} {component!r} is already provided by {taken.origin}; choose another name")
    if folder.exists():
        raise RunError(f"{folder}: is already there; choose another name or another --out")
    package = words["placeholder_package"]
    specific = files("wtal_core").joinpath("_templates", f"test_{kind.identifier}.txt")
    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/_{package}_plugin.py": "plugin.py",
        f"src/{package}/__init__.py": _component_source(kind),
        f"tests/test_{package}.py": specific.name if specific.is_file() else "test_component.txt",
    }
    with new_folder(folder) as temporary:
        for target, source in sources.items():
            path = temporary / target
            path.parent.mkdir(parents=True, exist_ok=True)
            text = _template(source)
            for word, meant in words.items():
                text = text.replace(word, meant)
            path.write_text(text, encoding="utf-8")
        (temporary / f"src/{package}/py.typed").touch()
    return [Path(target) for target in (*sources, f"src/{package}/py.typed")]


def component_name(name: str) -> str:
    """The component's name in the package `name`: without the `wtal-` that packages of this field start with."""
    return name.removeprefix("wtal-")


def _words(name: str, kind: Kind) -> dict[str, str]:
    """What the templates call things, and what they are called in a package of this name."""
    component, package = component_name(name), name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or not component[0].isalpha():
        raise PluginError(
            f"{name!r} cannot name a plugin: use lower-case letters, digits and single hyphens, a letter first, "
            "such as wtal-power-mean"
        )
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise PluginError(
            f"{name!r} cannot name a plugin: a package {package!r} could not be imported or is there already; "
            "choose another name"
        )
    class_name = "".join(word.capitalize() for word in component.split("-"))
    source = StringIO(_template(_component_source(kind)))
    used = {token.string for token in generate_tokens(source.readline) if token.type == NAME}
    if keyword.iskeyword(class_name) or class_name in used:
        raise PluginError(
            f"{name!r} cannot name a plugin: its {kind.name} would be the class {class_name}, a name that its module "
            "uses; choose another name"
        )
    return {
        "placeholder-distribution": name,
        "placeholder-component": component,
        "placeholder_package": package,
        "PlaceholderClass": class_name,
        "placeholder_component": component.replace("-", "_"),
        "placeholder kind": kind.name,
        "placeholder-kind": kind.name.replace(" ", "-"),
        "placeholder_hook": kind.hook,
        '["placeholder-dependencies"]': json.dumps(
            [requirement for package, requirement in _REQUIREMENTS.items() if package in used]
        ),
    }


def _component_source(kind: Kind) -> str:
    return f"components/{kind.identifier}.py"


def _template(source: str) -> str:
    return files("wtal_core").joinpath("_templates", source).read_text(encoding="utf-8")
