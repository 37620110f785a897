"""What the kit installs for one test, and keeps out of all."""

import sys
from contextlib import suppress

import pytest
from wtal_core.builtin.clips import Crop, Whole
from wtal_core.errors import PluginError
from wtal_core.registry import discover
from wtal_core.testing import no_strange_plugins, tmp_plugin

from .conftest import python


class Middle(Whole):
    """The middle snippet alone."""

    def __call__(self, length, generator):
        return super().__call__(length, generator)[length // 2 :][:1]


def names(kind="clip"):
    return discover().names(kind)


def left_modules():
    return [name for name in sys.modules if name.startswith("_tmp_plugin")]


def test_a_component_is_installed_as_long_as_the_block_lasts():
    before = discover()
    with tmp_plugin("clip", "middle", Middle) as component:
        assert "middle" in names()
        assert discover().find("clip", "middle") == component
        assert discover().load("clip", "middle") is Middle
        assert isinstance(discover().build("clip", "middle").made, Middle)
        assert str(component) == "clip 'middle' of tmp-plugin 0"
        assert discover().components == tuple(sorted([*before.components, component]))
    assert discover() == before
    assert not left_modules()
    with pytest.raises(PluginError, match="unknown clip 'middle'"):
        discover().find("clip", "middle")


def test_it_takes_options_and_is_blamed_as_any_component():
    class Failing(Crop):
        def __call__(self, length, generator):
            raise RuntimeError("no luck")

    with tmp_plugin("clip", "failing", Failing):
        with pytest.raises(PluginError, match=r"clip 'failing' of tmp-plugin 0: snippets must be 1 or more, got 0"):
            discover().build("clip", {"name": "failing", "snippets": 0})
        with pytest.raises(PluginError, match=r"clip 'failing' of tmp-plugin 0 fails: RuntimeError: no luck"):
            discover().build("clip", {"name": "failing", "snippets": 3})(5, None)


def test_a_function_can_build_it():
    with tmp_plugin("clip", "short", lambda: Crop(snippets=2)):
        assert discover().build("clip", "short").made.snippets == 2


def test_it_hides_one_of_its_kind_and_name_alone():
    crop = discover().find("clip", "crop")
    with tmp_plugin("clip", "crop", Middle), tmp_plugin("sampler", "whole", Middle):
        assert discover().load("clip", "crop") is Middle
        assert discover().load("clip", "whole") is Whole
        assert names().count("crop") == 1
    assert discover().find("clip", "crop") == crop
    assert discover().load("clip", "crop") is Crop


def test_it_goes_after_an_exception_too():
    before = discover()
    with pytest.raises(ZeroDivisionError), tmp_plugin("clip", "middle", Middle):
        raise ZeroDivisionError
    assert discover() == before
    assert not left_modules()


def test_blocks_may_be_nested_and_names_reused():
    with tmp_plugin("clip", "outer", Middle):
        with tmp_plugin("clip", "inner", Crop), tmp_plugin("clip", "outer", Whole):
            assert discover().load("clip", "outer") is Whole
            assert discover().load("clip", "inner") is Crop
        assert discover().load("clip", "outer") is Middle
        assert "inner" not in names()


def test_modules_forgotten_by_a_test_do_not_mix_up_what_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "something_else", None)
    with tmp_plugin("clip", "outer", Middle):
        monkeypatch.delitem(sys.modules, "something_else")
        with tmp_plugin("clip", "inner", Crop):
            assert discover().load("clip", "outer") is Middle
        assert discover().load("clip", "outer") is Middle


def test_an_unknown_kind_is_refused():
    with (
        pytest.raises(PluginError, match=r"^unknown kind 'clop'; did you mean 'clip'\?$"),
        tmp_plugin("clop", "a", Crop),
    ):
        pass


def test_kinds_are_named_as_on_the_command_line():
    with tmp_plugin("feature-reader", "mine", Middle) as component:
        assert component.kind == "feature reader"
        assert "mine" in names("feature reader")


def test_commands_see_it(wtal):
    with tmp_plugin("clip", "middle", Middle):
        listed = wtal("plugins")
        assert listed.code == 0
        assert "middle" in listed.out
        described = wtal("describe", "clip", "middle")
        assert described.code == 0
        assert "tmp-plugin" in described.out
    assert "middle" not in wtal("plugins").out


STRANGER = "from wtal_core import hookimpl\n@hookimpl\ndef wtal_clips():\n    return {'crop': 'a:B', 'odd': 'a:B'}\n"


@pytest.fixture
def ours():
    """As a plugin's tests use it."""
    with no_strange_plugins("wtal-core", "wtal-missing"):
        yield


def test_strangers_are_kept_out(install, ours):
    install("stranger", {"_stranger_plugin": STRANGER})
    install("broken", {"_broken_plugin": "1 / 0"})
    assert {component.origin.distribution for component in discover().components} == {"wtal-core"}
    assert discover().quarantined == ()
    assert discover().load("clip", "crop") is Crop  # which the stranger's would make ambiguous


def test_strangers_return_after_an_exception_too(install):
    install("stranger", {"_stranger_plugin": STRANGER})
    with suppress(ZeroDivisionError), no_strange_plugins("wtal-core"):
        assert "odd" not in names()
        raise ZeroDivisionError
    assert "odd" in names()


def test_distributions_are_known_however_they_are_spelt(install):
    install("stranger", {"_stranger_plugin": STRANGER})
    with no_strange_plugins("WTAL_Core", "Stranger"):
        assert {"odd", "whole"} <= set(names())


def test_a_component_can_be_installed_where_strangers_are_kept_out(ours):
    with tmp_plugin("clip", "middle", Middle):
        assert "middle" in names()
    assert "middle" not in names()


def test_a_fixture_keeps_strangers_out_of_every_test_below_its_conftest(install, tmp_path):
    site = install("stranger", {"_stranger_plugin": STRANGER})
    below = tmp_path / "tests" / "below"
    below.mkdir(parents=True)
    listed = (
        "from wtal_core.registry import discover\ndef test():\n    assert ('odd' in discover().names('clip')) is {}\n"
    )
    (below.parent / "test_beside.py").write_text(listed.format(True))
    (below / "conftest.py").write_text(
        "from wtal_core.testing import only_plugins\nonly_ours = only_plugins('wtal-core')\n"
    )
    (below / "test_below.py").write_text(listed.format(False))
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", below.parent, path=[site], cwd=tmp_path)
    assert "2 passed" in done.stdout, done.stdout
