"""numba's cache: written, read, and done without where it is damaged or cannot be written."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching
from wtal_localize import machine_code
from wtal_localize.machine_code import MachineCode

SOURCE = "def double(array):\n    return array * 2\n"


@pytest.fixture
def double(tmp_path, monkeypatch):
    """Makes the machine code of a function with a cache in `tmp_path / "cache"`, as a new process does."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(machine_code, "_warned", set())
    (tmp_path / "doubling.py").write_text(SOURCE, encoding="utf-8")

    def make():
        spec = importlib.util.spec_from_file_location("doubling", tmp_path / "doubling.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["doubling"] = module  # numba unpickles by name
        return MachineCode(module.double, nogil=True)

    yield make
    sys.modules.pop("doubling", None)


def files(tmp_path, suffix):
    return list((tmp_path / "cache").rglob(f"*.{suffix}"))


def test_what_was_compiled_is_read_from_disk(double, tmp_path, recwarn):
    assert double()(np.arange(3)).tolist() == [0, 2, 4]
    assert len(files(tmp_path, "nbi")) == len(files(tmp_path, "nbc")) == 1
    again = double()
    assert again(np.arange(3)).tolist() == [0, 2, 4]
    assert list(again.dispatcher.stats.cache_hits.values()) == [1]
    assert not recwarn.list


def messages(recorded):
    assert {warning.category for warning in recorded} <= {RuntimeWarning}
    return [str(warning.message) for warning in recorded]


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemError('from a pickle')",)


def index(*content):
    """numba's index: its version, then more."""
    return b"".join(pickle.dumps(each) for each in (numba.__version__, *content))


DAMAGE = {
    "empty": (b"", "EOFError: Ran out of input"),
    "text": (b"\x00\xffnot a pickle", "UnpicklingError: invalid load key, '\\x00'."),
    "a pickle that raises": (pickle.dumps(Bomb()), "SystemError: from a pickle"),
    "a class that is gone": (b"cnumba.gone\nGone\n.", "ModuleNotFoundError: No module named 'numba.gone'"),
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(("content", "why"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_named_once_and_done_without(double, tmp_path, recwarn, suffix, content, why):
    double()(np.arange(3))
    (file,) = files(tmp_path, suffix)
    file.write_bytes(content)
    for damaged in (double(), double()):
        for values in (np.arange(3), np.arange(3.0)):  # another type is compiled without the cache as well
            assert damaged(values).tolist() == [0, 2, 4]
    assert messages(recwarn) == [
        f"numba's cache of double cannot be used, so it is compiled in every process: {why}. Delete "
        f"{file.parent}{os.sep}doubling.*.nb[ic], and see that the folder can be written to and the disk has room"
    ]
    assert file.read_bytes() == content


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_cache_is_done_without(double, tmp_path, suffix, share):
    double()(np.arange(3))
    (file,) = files(tmp_path, suffix)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.warns(RuntimeWarning, match="^numba's cache of double cannot be used"):
        assert double()(np.arange(3)).tolist() == [0, 2, 4]


@pytest.mark.parametrize("content", [index(), index(7), index(("stamp", {}, "more"))])
def test_an_index_that_holds_something_else_is_done_without(double, tmp_path, content):
    double()(np.arange(3))
    files(tmp_path, "nbi")[0].write_bytes(content)
    with pytest.warns(RuntimeWarning, match="^numba's cache of double cannot be used"):
        assert double()(np.arange(3)).tolist() == [0, 2, 4]


def test_what_another_numba_left_is_replaced(double, tmp_path, recwarn):
    double()(np.arange(3))
    (file,) = files(tmp_path, "nbi")
    file.write_bytes(pickle.dumps("0.1.0") + b"of another layout")
    double()(np.arange(3))
    assert pickle.loads(file.read_bytes()) == numba.__version__
    assert not recwarn.list


def test_a_full_disk_is_named_once_and_done_without(double, monkeypatch, recwarn):
    def full(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    for function in (double(), double()):  # which have looked at the folder, as numba does before
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            assert function(np.arange(3)).tolist() == [0, 2, 4]
    (message,) = messages(recwarn)
    assert f"in every process: OSError: [Errno {errno.EDQUOT}] {os.strerror(errno.EDQUOT)}. Delete " in message


def test_a_folder_that_becomes_a_file_is_done_without(double, tmp_path):
    function = double()
    (folder,) = (tmp_path / "cache").iterdir()
    folder.rmdir()
    folder.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="^numba's cache of double cannot be used"):
        assert function(np.arange(3)).tolist() == [0, 2, 4]


def test_where_no_folder_can_be_found_code_is_compiled_without(double, monkeypatch, recwarn):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    for function in (double(), double()):
        assert function(np.arange(3)).tolist() == [0, 2, 4]
    (message,) = messages(recwarn)
    assert message.startswith("numba has no cache for double, so it is compiled in every process: RuntimeError: cannot")
    assert message.endswith(". Set NUMBA_CACHE_DIR to a folder that can be written to")


def test_an_error_of_the_function_is_its_own(double, recwarn):
    with pytest.raises(TypeError, match=r"^too many arguments: expected 1, got 2$"):
        double()("text", "more")
    assert not recwarn.list


BOTH = """
import json, warnings
import wtal_localize.suppression as s
s._arranged.small = s._sorted.small = s._keep.small = s._weaken.small = -1
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        kept, (soft, _) = s.nms([0], [1], [1]), s.soft_nms([0], [1], [1])
print(json.dumps([kept.tolist(), soft.tolist(), [str(warning.message) for warning in caught]]))
"""


def test_nms_and_soft_nms_in_processes_that_share_a_cache(tmp_path):
    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        return json.loads(subprocess.check_output([sys.executable, "-c", BOTH], text=True, env=environment))

    assert run() == [[0], [0], []]
    for suffix in ("nbi", "nbc"):
        names = {file.name.partition("-")[0] for file in tmp_path.rglob(f"*.{suffix}")}
        assert names == {f"suppression.{name}_loop" for name in ("_arranged", "_sorted", "_keep", "_weaken")}
        for file in tmp_path.rglob(f"*.{suffix}"):
            file.write_bytes(file.read_bytes()[:9])
        kept, soft, warned = run()
        assert (kept, soft, len(warned)) == ([0], [0], 1)
        assert f"Delete {file.parent}{os.sep}suppression.*.nb[ic]" in warned[0]


def test_the_other_package_has_the_same_text():
    other = Path(__file__).parents[2] / "wtal-aggregators/src/wtal_aggregators/_machine_code.py"
    if not other.exists():
        pytest.skip("the packages do not lie side by side")
    assert other.read_bytes() == Path(machine_code.__file__).read_bytes()
