"""`wtal data` where nothing is installed that brings a data set's files."""

import importlib.util

import pytest
from wtal_core.data_sets import DATA_SETS


@pytest.fixture
def without_seglearn(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("wtal_core.demo.recordings.find_spec", lambda name: None if name == "seglearn" else found(name))


def test_list_gives_licence_source_digest_and_what_to_install(wtal):
    answer = wtal("data", "list")
    assert answer.code == 0
    for name, one in DATA_SETS.items():
        assert f"\n{name}: " in "\n" + answer.out
        assert all(part in answer.out for part in (one.licence, one.source, one.sha256, one.install))


def test_an_unknown_data_set(wtal):
    answer = wtal("data", "get", "exercise")
    assert (answer.code, answer.err) == (2, "error: unknown data set 'exercise'; did you mean 'exercises'?\n")


@pytest.mark.parametrize("words", [["get"], ["list", "exercises"]])
def test_get_takes_a_name_and_list_none(wtal, words):
    answer = wtal("data", *words)
    assert answer.code == 2
    assert "get takes the NAME of a data set, and list takes none" in " ".join(answer.err.split())


def test_a_folder_that_holds_something_is_left_alone(wtal, tmp_path):
    (tmp_path / "mine.txt").touch()
    answer = wtal("data", "get", "exercises", "--to", tmp_path)
    assert (answer.code, answer.err) == (2, f"error: {tmp_path}: not an empty folder; choose another --to\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_not_installed_is_asked_for(wtal, tmp_path, without_seglearn):
    answer = wtal("data", "get", "exercises", "--to", tmp_path / "new")
    assert (answer.code, answer.err) == (
        2,
        "error: the demo's recordings come with the package seglearn: pip install 'wtal-core[demo]'\n",
    )
    assert not (tmp_path / "new").exists()
