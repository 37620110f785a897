"""One way to open a text file, and JSON in it: what is read, and each refusal with its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wtal_core.errors import ConfigError, DataError
from wtal_core.text import read_json, read_text

TEXT = '{"caf\xe9": 1}\n'


@pytest.fixture
def file(tmp_path):
    def do(content):
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return do


def refusal(read, path, wrong=DataError):
    with pytest.raises(wrong) as error:
        read(path, wrong)
    assert type(error.value) is wrong
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_utf8_with_or_without_a_mark_whatever_ends_a_line(file, encoding, newline):
    path = file(TEXT.replace("\n", newline).encode(encoding))
    assert read_text(path) == TEXT
    assert read_json(path) == {"caf\xe9": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("wrong", [DataError, ConfigError])
def test_wide_characters_are_named_with_or_without_a_mark(file, encoding, wrong):
    name = encoding[:6].upper()
    assert refusal(read_text, file(TEXT.encode(encoding)), wrong) == f"line 1: the file is in {name}; save it as UTF-8"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bytes_of_another_encoding_are_named_with_their_line(file, mark):
    assert refusal(read_text, file(mark + b"a\nb caf\xe9\n")) == "line 2: byte 0xe9 is not UTF-8; save it as UTF-8"
    assert refusal(read_text, file(mark + b"\xff")) == "line 1: byte 0xff is not UTF-8; save it as UTF-8"


@pytest.mark.parametrize("content", [b"a\n\nb\0", b"\xef\xbb\xbfabc\n\n\0\0\0\0"])
def test_a_nul_byte_is_named_with_its_line(file, content):
    assert refusal(read_text, file(content)) == "line 3: a NUL byte, which no text has; save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1, "a": 1}', "key 'a' comes twice in one object, at line 1, column 2 and line 1, column 10"),
        ('{"a": 1,\n "\\u0061" : 2}', "key 'a' comes twice in one object, at line 1, column 2 and line 2, column 2"),
        (
            '[{}, {"x": [{"b{": "\\"b{\\":", "b{": 2}]}]',
            "key 'b{' comes twice in one object, at line 1, column 14 and line 1, column 31",
        ),
        ('{"": 1, "b": {}, "": 2}', "key '' comes twice in one object, at line 1, column 2 and line 1, column 18"),
    ],
)
def test_a_key_that_comes_twice_is_named_with_both_places(file, content, said):
    assert refusal(read_json, file(content.encode())) == f"{said}; keep one of them"


def test_equal_keys_of_different_objects_are_none_that_come_twice(file):
    content = {"a": {"a": {"a": "a"}}, "b": [{"a": 1}, {"a": 1}]}
    assert read_json(file(json.dumps(content).encode())) == content


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(value=values, ascii_only=st.booleans())
def test_whatever_python_writes_is_read_back(tmp_path_factory, value, ascii_only):
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value, ensure_ascii=ascii_only), encoding="utf-8", newline="")
    assert read_json(path) == value


@given(value=values, key=st.text(st.characters(codec="utf-8")))
def test_no_repeated_key_is_missed(tmp_path_factory, value, key):
    path = tmp_path_factory.getbasetemp() / "value.json"
    twice = f"{{{json.dumps(key)}: 1, {json.dumps(key, ensure_ascii=False)}: 2}}"
    path.write_text(f"[{json.dumps(value)}, {twice}]", encoding="utf-8", newline="")
    assert refusal(read_json, path).startswith(f"key {key!r} comes twice in one object, at line 1, column ")


@pytest.mark.parametrize("content", ["[" * 200_000, "[" * 200_000 + "]" * 200_000, '{"a":' * 200_000])
def test_nesting_too_deep(file, content):
    assert refusal(read_json, file(content.encode())) == (
        "not readable JSON: its arrays or objects are nested too deeply"
    )


@pytest.mark.parametrize("escape", ["\\ud800", "\\uDFFF", "\\ude00\\ud83d"])
def test_half_a_character(file, escape):
    assert refusal(read_json, file(f'["",\n"x{escape}"]'.encode())) == (
        "line 2: not valid JSON: an escape stands for half a character"
    )
    assert read_json(file(b'["\\ud83d\\ude00"]')) == ["\U0001f600"]


def test_numbers_that_python_writes_or_nobody_means(file):
    assert str(read_json(file(b"[NaN, Infinity, -Infinity]"))) == "[nan, inf, -inf]"
    assert read_json(file(b"[%s]" % (b"1" * 9000))) == [float("inf")]
