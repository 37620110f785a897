"""How names meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_core.data.names import by_normal_form, misplaced, nearly, normal

NFC, NFD = "caf\xe9", "cafe\u0301"


@pytest.mark.parametrize("name", [NFC, NFD, f" {NFD}\n", f"\u3000{NFC}\t"])
def test_one_name_in_several_spellings(name):
    assert normal(name) == NFC


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(name):
    assert normal(normal(name)) == normal(name)


def test_names_by_normal_form():
    assert by_normal_form([NFD, "b "]) == {NFC: NFD, "b": "b "}
    assert by_normal_form(["b", "b"]) == {"b": "b"}
    with pytest.raises(ValueError, match=r"^'caf\\xe9' and 'cafe\\u0301' are the same name; rename or remove one$"):
        by_normal_form([NFC, "b", NFD])


@pytest.mark.parametrize("name", ["v1", "jump/v1", "v.1", "..v", "a b", "...", "v_x.mp4"])
def test_a_path_within_a_folder(name):
    assert not misplaced(name)


@pytest.mark.parametrize("name", ["", ".", "..", "/a", "a/", "a//b", "a/./b", "../a", "a/..", "a\0", "a\nb"])
def test_a_path_that_is_none_within_a_folder(name):
    assert misplaced(name)


@pytest.mark.parametrize(
    ("wanted", "present", "difference"),
    [
        ("x", "v_x", "the prefix 'v_'"),
        ("v_x", "x", "the prefix 'v_'"),
        ("Jump_1", "jump_1", "upper and lower case"),
        ("x.mp4", "x", "the suffix of a file"),
        ("x.MKV", "x.mp4", "the suffix of a file"),
        ("x.npy", "x", "the suffix of a file"),
        ("x", "test/x", "the folder before the name"),
        (
            "a/X.mp4",
            "v_x",
            "the folder before the name and the prefix 'v_' and upper and lower case and the suffix of a file",
        ),
    ],
)
def test_what_nearly_meets_is_paired_by_what_it_differs_in(wanted, present, difference):
    assert nearly([wanted, "other"], [present, "another"]) == {difference: [(wanted, present)]}


def test_what_meets_does_not_nearly_meet():
    assert nearly(["x", "y.txt"], ["x", "y"]) == {}
