"""`wtal new-plugin`: what it writes is found, described, and keeps the contract of its kind as it is."""

import ast
import runpy
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from wtal_core.kinds import KINDS
from wtal_core.testing import clauses

from .conftest import write_distribution

NAMES = {kind: f"wtal-my-{kind.replace(' ', '-')}" for kind in KINDS}


@pytest.fixture
def written(wtal, tmp_path, monkeypatch, clean_modules):
    """Write a package of a kind, and install it as an installer of an editable package would."""

    def do(kind):
        folder = tmp_path / "new" / NAMES[kind]
        answer = wtal("new-plugin", NAMES[kind], "--kind", kind.replace(" ", "-"), "--out", folder)
        assert (answer.code, answer.err) == (0, "")
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        site = tmp_path / "site"
        write_distribution(site, project["name"], {}, project["version"], project["entry-points"]["wtal"])
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.syspath_prepend(str(folder / "src"))
        return folder, answer

    return do


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_found_and_described(kind, written, wtal):
    written(kind)
    component = NAMES[kind].removeprefix("wtal-")
    assert f"{NAMES[kind]} " in wtal("plugins").out
    answer = wtal("describe", kind, component)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{kind} {component}\n\n")
    assert f"distribution: {NAMES[kind]} 0.1.0" in answer.out
    assert "laceholder" not in answer.out


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass(kind, written):
    folder, _ = written(kind)
    (file,) = (folder / "tests").iterdir()
    (test,) = [test for name, test in runpy.run_path(str(file)).items() if name.startswith("test_")]
    (parametrized,) = test.pytestmark
    assert parametrized.args[0] == "clause"
    assert [one.id for one in parametrized.args[1]] == [one.name for one in clauses(kind)]
    for one in parametrized.args[1]:
        assert one.marks == ()
        test(*one.values)


@pytest.mark.parametrize("kind", KINDS)
def test_it_depends_on_what_it_imports(kind, written):
    folder, _ = written(kind)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (source,) = (folder / "src").glob("*/__init__.py")
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source.read_text()))
        for name in imports(node)
        if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert {Requirement(one).name for one in project["dependencies"]} == imported


def imports(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_it_wrote_and_leaves_no_placeholder(kind, written):
    folder, answer = written(kind)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    listed = [line.strip() for line in answer.out.splitlines() if line.startswith("  ")]
    assert sorted(listed) == [path.relative_to(folder).as_posix() for path in files]
    for path in files:
        assert "placeholder" not in path.read_text().lower() + path.name
    assert answer.out.splitlines()[-1] == (
        f"next: pip install -e '{folder}[test]'; wtal describe {kind.replace(' ', '-')} "
        f"{NAMES[kind].removeprefix('wtal-')}; python -m pytest {folder}"
    )


# Bad input


def refused(wtal, *arguments):
    answer = wtal("new-plugin", *arguments)
    assert (answer.code, answer.out) == (2, "")
    return answer.err


@pytest.mark.parametrize(
    "name", ["Power", "power_mean", "2d-mean", "wtal-2d", "a--b", "-a", "a-", "../a", "wtal-", "é"]
)
def test_a_name_of_another_form(name, wtal, tmp_path):
    expected = (
        f"error: {name!r} cannot name a plugin: use lower-case letters, digits and single hyphens, a letter first, "
        "such as wtal-power-mean\n"
    )
    assert refused(wtal, "--kind", "aggregator", "--out", tmp_path / "new", "--", name) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["lambda", "wtal-core", "torch"])
def test_a_name_whose_package_could_not_be_imported(name, wtal, tmp_path):
    said = refused(wtal, name, "--kind", "aggregator", "--out", tmp_path / "new")
    assert said == (
        f"error: {name!r} cannot name a plugin: a package {name.replace('-', '_')!r} could not be imported "
        "or is there already; choose another name\n"
    )


@pytest.mark.parametrize(
    ("name", "kind", "class_name"),
    [
        ("wtal-true", "aggregator", "True"),
        ("none", "decoder", "None"),
        ("wtal-decoding", "decoder", "Decoding"),
        ("wtal-maps", "activation", "Maps"),
        ("wtal-detections", "proposer", "Detections"),
        ("detections", "suppressor", "Detections"),
        ("wtal-evaluation", "evaluator", "Evaluation"),
        ("wtal-video", "annotation-reader", "Video"),
    ],
)
def test_a_name_whose_class_the_module_needs(name, kind, class_name, wtal, tmp_path):
    said = refused(wtal, name, "--kind", kind, "--out", tmp_path / "new")
    assert said == (
        f"error: {name!r} cannot name a plugin: its {kind.replace('-', ' ')} would be the class {class_name}, "
        "a name that its module uses; choose another name\n"
    )


def test_a_name_that_the_module_only_speaks_of_is_free(wtal, tmp_path):
    answer = wtal("new-plugin", "wtal-balanced", "--kind", "sampler", "--out", tmp_path / "new")
    assert (answer.code, answer.err) == (0, "")
    assert "class Balanced:" in (tmp_path / "new" / "src" / "wtal_balanced" / "__init__.py").read_text()


def test_the_next_commands_can_be_pasted(wtal, tmp_path):
    folder = tmp_path / "my plugins" / "mean"
    answer = wtal("new-plugin", "wtal-mean", "--kind", "aggregator", "--out", folder)
    assert f"pip install -e '{folder}[test]'; " in answer.out
    assert answer.out.endswith(f"; python -m pytest '{folder}'\n")


def test_a_name_that_is_taken(fakes, wtal, tmp_path):
    said = refused(wtal, "wtal-maa", "--kind", "aggregator", "--out", tmp_path / "new")
    assert said == "error: aggregator 'maa' is already provided by wtal-fakes 1.0; choose another name\n"


def test_an_unknown_kind(wtal, tmp_path):
    said = refused(wtal, "wtal-mean", "--kind", "agregator", "--out", tmp_path / "new")
    assert said == "error: unknown kind 'agregator'; did you mean 'aggregator'?\n"


def test_a_folder_that_is_there(wtal, tmp_path):
    said = refused(wtal, "wtal-mean", "--kind", "aggregator", "--out", tmp_path)
    assert said == f"error: {tmp_path}: is already there; choose another name or another --out\n"


def test_a_folder_that_cannot_be_made(wtal, tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "new"
    said = refused(wtal, "wtal-mean", "--kind", "aggregator", "--out", folder)
    assert said == f"error: {folder}: cannot write here: File exists; choose another directory\n"
