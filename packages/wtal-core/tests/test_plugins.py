"""Discovery, quarantine, conflicts, and the messages of the registry."""

import importlib
import json
import re
import sys

import pytest
from wtal_core.discovery import Component, Origin
from wtal_core.errors import PluginError
from wtal_core.kinds import KINDS
from wtal_core.registry import discover

from .conftest import FAKES, hook, plugin, python, write_distribution

HEALTHY = plugin(hook("wtal_aggregators", {"healthy": "healthy_impl:Pooling"}))
IMPLEMENTATION = """
from torch import nn

class Pooling(nn.Module):
    def __init__(self, power=1, *, num_classes):
        super().__init__()
        if power < 0:
            raise ValueError(f"power must not be negative, got {power}")
        self.power, self.num_classes = power, num_classes
"""


def message(call, *arguments):
    """The whole message of the PluginError that a call raises."""
    with pytest.raises(PluginError) as error:
        call(*arguments)
    return str(error.value)


@pytest.fixture
def healthy(install):
    install("healthy", {"_healthy_plugin": HEALTHY, "healthy_impl": IMPLEMENTATION})


# Discovery


def test_a_plugin_is_found_with_its_origin_and_without_importing_what_it_names(healthy):
    component = discover().find("aggregator", "healthy")
    assert component == Component(
        "aggregator", "healthy", "healthy_impl:Pooling", Origin("healthy", "1.0", "plug = _healthy_plugin")
    )
    assert str(component.origin) == "healthy 1.0"
    assert "healthy_impl" not in sys.modules


def test_a_component_is_built_with_the_users_options_and_the_hosts(healthy):
    bound = discover().build("aggregator", {"name": "healthy", "power": 2}, num_classes=3)
    assert (type(bound.made).__module__, bound.made.power, bound.made.num_classes) == ("healthy_impl", 2, 3)


def test_a_component_comes_back_bound_and_knows_whose_it_is(healthy):
    registry = discover()
    for kind, name, given in (("aggregator", "healthy", {"num_classes": 2}), ("clip", "whole", {})):
        bound = registry.build(kind, name, **given)
        assert isinstance(bound, KINDS[kind].module.Bound)
        assert bound.component == registry.find(kind, name)


def test_what_is_only_offered_reaches_those_who_ask_for_it(install):
    source = "from torch import nn\nclass Pooling(nn.Module):\n    pass\n"
    install(
        "plain",
        {"_plain_plugin": plugin(hook("wtal_aggregators", {"plain": "plain_impl:Pooling"})), "plain_impl": source},
    )
    assert type(discover().build("aggregator", "plain", num_classes=2).made).__name__ == "Pooling"


def test_the_core_registers_its_own_components_like_anybody():
    registry = discover()
    assert registry.find("decoder", "attention-pooling").origin.distribution == "wtal-core"
    assert registry.names("feature reader") == ["auto", "csv", "hdf5", "npy", "npz"]


def test_every_kind_of_component_has_a_hook(install):
    body = "".join(hook(kind.hook, {"mine": "somewhere:Thing"}) for kind in KINDS.values())
    install("every", {"_every_plugin": plugin(body)})
    registry = discover()
    assert [kind for kind in KINDS if "mine" not in registry.names(kind)] == []
    assert registry.quarantined == ()


def test_an_object_may_be_the_plugin_instead_of_a_module(install):
    source = plugin(
        'class Plugin:\n    @hookimpl\n    def wtal_aggregators(self):\n        return {"o": "a:b"}\nit = Plugin()'
    )
    install("object", {"_object_plugin": source}, entry_points={"plug": "_object_plugin:it"})
    assert discover().find("aggregator", "o").target == "a:b"


def test_other_groups_of_entry_points_are_not_ours(install):
    folder = install("foreign", {"_foreign_plugin": HEALTHY})
    (folder / "foreign-1.0.dist-info" / "entry_points.txt").write_text("[pytest11]\nplug = _foreign_plugin\n")
    importlib.invalidate_caches()
    assert "healthy" not in discover().names("aggregator")
    assert "_foreign_plugin" not in sys.modules


def test_a_distribution_found_twice_on_the_path_counts_once_and_the_first_wins(install, tmp_path):
    install("twice", {"_twice_plugin": plugin(hook("wtal_aggregators", {"t": "old:T"}))}, folder=tmp_path / "later")
    install(
        "Twice", {"_twice_plugin": plugin(hook("wtal_aggregators", {"t": "new:T"}))}, "2.0", folder=tmp_path / "earlier"
    )
    component = discover().find("aggregator", "t")
    assert (component.target, component.origin.version) == ("new:T", "2.0")


def test_the_order_does_not_depend_on_the_path(install, monkeypatch):
    names = ["cc", "aa", "bb"]
    folders = [
        install(n, {f"_{n}_plugin": plugin(hook("wtal_aggregators", {n: "z:Z", "shared": "z:Z"}))}) for n in names
    ]
    install("broken-b", {"_broken_b": "1/0"})
    install("broken-a", {"_broken_a": "1/0"})
    found = []
    for path in (sys.path, list(reversed(sys.path))):
        monkeypatch.setattr(sys, "path", list(path))
        importlib.invalidate_caches()
        found.append(discover())
    assert all(str(folder) in sys.path for folder in folders)
    assert found[0] == found[1]
    origins = [c.origin.distribution for c in found[0].components if c.name == "shared"]
    assert origins == ["aa", "bb", "cc"]
    assert [q.origin.distribution for q in found[0].quarantined] == ["broken-a", "broken-b"]


# Quarantine

BROKEN = {
    "import failure": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax error": ("def", "SyntaxError: invalid syntax (_broken_plugin.py, line 2)"),
    "exit at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "misspelt hook": (
        hook("wtal_agregators", {"mine": "a:b"}),
        "unknown hook 'wtal_agregators'; did you mean 'wtal_aggregators' or 'wtal_evaluators' or 'wtal_suppressors'?",
    ),
    "undecorated hook": (
        "def wtal_aggregators():\n    return {'mine': 'a:b'}",
        "function 'wtal_aggregators' looks like a hook but lacks @hookimpl",
    ),
    "undecorated misspelt hook": (
        "def wtal_poolings():\n    return {'mine': 'a:b'}",
        "function 'wtal_poolings' looks like a hook but lacks @hookimpl",
    ),
    "hook that raises": (
        "@hookimpl\ndef wtal_aggregators():\n    raise RuntimeError('no luck')",
        "RuntimeError: no luck",
    ),
    "hook that exits": ("@hookimpl\ndef wtal_aggregators():\n    raise SystemExit('bye')", "SystemExit: bye"),
    "no mapping": (
        hook("wtal_aggregators", [("mine", "a:b")]),
        "TypeError: hook 'wtal_aggregators' returned list, not a mapping of names to 'module:attribute'",
    ),
    "no string target": (
        hook("wtal_aggregators", {"mine": 3}),
        "TypeError: hook 'wtal_aggregators' maps 'mine' to 3, not to a string 'module:attribute'",
    ),
    "no string name": (
        hook("wtal_aggregators", {3: "a:b"}),
        "TypeError: hook 'wtal_aggregators' maps 3 to 'a:b', not to a string 'module:attribute'",
    ),
    "malformed target": (
        hook("wtal_aggregators", {"mine": "module.attribute"}),
        "TypeError: hook 'wtal_aggregators' maps 'mine' to 'module.attribute', not to a string 'module:attribute'",
    ),
    "newer contract": (
        "wtal_contract = 2\n" + hook("wtal_aggregators", {"mine": "a:b"}),
        "it needs contract 2, and wtal-core 0.1.0 has 1: pip install --upgrade wtal-core",
    ),
    "contract that is no number": (
        "wtal_contract = '1'",
        "wtal_contract must be a whole number of 1 or more, got '1'",
    ),
    "no hook": ("x = 1", "it has no hooks; wtal_core.kinds shows a complete plugin"),
    "message that raises": (
        "class Silent(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Silent",
        "Silent: (its message cannot be shown)",
    ),
    **{
        f"name {name!r}": (
            hook("wtal_aggregators", {name: "a:b"}),
            f"TypeError: hook 'wtal_aggregators' gives the name {name!r}; "
            "a name has letters, digits, '_', '.' and '-' only",
        )
        for name in ("", "a b", "a\nb", "[red]a", "a[/b]")
    },
    "two errors": (
        hook("wtal_aggregators", 1) + hook("wtal_proposers", 2),
        "TypeError: hook 'wtal_aggregators' returned int, not a mapping of names to 'module:attribute'; "
        "TypeError: hook 'wtal_proposers' returned int, not a mapping of names to 'module:attribute'",
    ),
}


@pytest.mark.parametrize(("body", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_quarantined_and_everything_else_works(install, healthy, body, error):
    install("broken", {"_broken_plugin": plugin(body)}, version="0.3")
    registry = discover()
    (quarantined,) = registry.quarantined
    assert (str(quarantined.origin), quarantined.origin.entry_point) == ("broken 0.3", "plug = _broken_plugin")
    assert quarantined.error == error
    assert registry.names("aggregator") == ["healthy"]
    assert registry.build("aggregator", "healthy", num_classes=2).power == 1
    assert message(registry.find, "aggregator", "mine") == (
        "unknown aggregator 'mine'; known: healthy (not installed: pip install wtal-aggregators); "
        f"quarantined, so its names are not known: broken 0.3 ({error})"
    )


def test_a_hook_with_another_signature_is_quarantined(install, healthy):
    install("broken", {"_broken_plugin": plugin("@hookimpl\ndef wtal_aggregators(config):\n    return {}")})
    registry = discover()
    (quarantined,) = registry.quarantined
    assert quarantined.error.startswith("PluginValidationError: ")
    assert "wtal_aggregators(config)" in quarantined.error
    assert registry.names("aggregator") == ["healthy"]


def test_the_error_of_a_quarantined_plugin_is_one_line(install):
    install("broken", {"_broken_plugin": plugin("@hookimpl\ndef wtal_aggregators(config):\n    return {}")})
    assert "\n" not in discover().quarantined[0].error


def test_a_hook_that_forgets_to_return_is_quarantined(install):
    install("broken", {"_broken_plugin": plugin("@hookimpl\ndef wtal_aggregators():\n    {'mine': 'a:b'}")})
    assert [q.error for q in discover().quarantined] == [
        "TypeError: hook 'wtal_aggregators' returned NoneType, not a mapping of names to 'module:attribute'"
    ]


def test_an_entry_point_that_names_a_plain_value_does_not_stop_the_others(install, healthy):
    install("broken", {"_broken_plugin": "it = []"}, entry_points={"plug": "_broken_plugin:it"})
    assert discover().names("aggregator") == ["healthy"]


def test_a_folder_of_metadata_without_metadata_does_not_stop_the_others(install, healthy, tmp_path, monkeypatch):
    (tmp_path / "half" / "gone-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "half"))
    assert discover().names("aggregator") == ["healthy"]


def test_the_known_names_of_a_quarantined_plugin_say_so_when_asked_for(install):
    body = hook("wtal_aggregators", {"mine": "a:b"}) + hook("wtal_proposers", 1)
    install("broken", {"_broken_plugin": plugin(body)})
    registry = discover()
    assert registry.names("aggregator") == []
    assert message(registry.find, "aggregator", "mine") == (
        "aggregator 'mine' belongs to broken 1.0, which is quarantined: "
        "TypeError: hook 'wtal_proposers' returned int, not a mapping of names to 'module:attribute'"
    )


def test_a_healthy_provider_serves_a_name_that_a_quarantined_plugin_has_too(install, healthy):
    body = hook("wtal_aggregators", {"healthy": "a:b"}) + hook("wtal_proposers", 1)
    install("broken", {"_broken_plugin": plugin(body)})
    assert discover().find("aggregator", "healthy").origin.distribution == "healthy"


def test_a_plugin_may_say_that_it_needs_this_contract(install):
    install("careful", {"_careful_plugin": plugin("wtal_contract = 1\n" + hook("wtal_aggregators", {"mine": "a:b"}))})
    registry = discover()
    assert registry.quarantined == ()
    assert registry.find("aggregator", "mine").target == "a:b"


def metadata(folder):
    (info,) = folder.glob("*.dist-info")
    return info


BROKEN_METADATA = {
    "a line without a sign": ("entry_points.txt", b"[wtal]\nnonsense line\n", "TypeError: "),
    "entry points in no encoding": ("entry_points.txt", b"[wtal]\nplug = \xff\xfe\n", "UnicodeDecodeError: "),
    "metadata in no encoding": ("METADATA", b"Metadata-Version: 2.1\nName: br\xff\n", "UnicodeDecodeError: "),
}


@pytest.mark.parametrize(("file", "content", "error"), BROKEN_METADATA.values(), ids=BROKEN_METADATA)
def test_a_distribution_whose_metadata_cannot_be_read_does_not_stop_the_others(install, healthy, file, content, error):
    folder = install("broken", {"_broken_plugin": HEALTHY}, version="0.3")
    (metadata(folder) / file).write_bytes(content)
    registry = discover()
    assert registry.names("aggregator") == ["healthy"]
    (quarantined,) = registry.quarantined
    assert (str(quarantined.origin), quarantined.origin.entry_point) == ("broken 0.3", "broken-0.3.dist-info")
    assert quarantined.error.startswith(f"its metadata cannot be read: {error}")
    assert quarantined.error.endswith("; install it again")
    assert discover(["broken"]).quarantined == ()


def test_the_broken_metadata_of_a_distribution_that_is_no_plugin_are_not_our_business(install, healthy):
    folder = install("foreign", {"_foreign_plugin": HEALTHY})
    (metadata(folder) / "entry_points.txt").write_text("[pytest11]\nnonsense line\n")
    assert discover().quarantined == ()


def test_a_distribution_without_a_version_is_listed(install):
    folder = install("plain", {"_plain_plugin": HEALTHY})
    (metadata(folder) / "METADATA").write_text("Metadata-Version: 2.1\nName: plain\n")
    assert str(discover().find("aggregator", "healthy").origin) == "plain (no version)"


def test_what_a_plugin_prints_is_no_part_of_a_listing(install, capsys):
    install("loud", {"_loud_plugin": "print('hello')\n" + HEALTHY})
    assert discover().names("aggregator") == ["healthy"]
    assert capsys.readouterr() == ("", "hello\n")


def test_a_plugin_that_takes_long_to_import_is_named(install, capsys, monkeypatch):
    monkeypatch.setattr("wtal_core.discovery.PATIENCE", 0.05)
    install("slow", {"_slow_plugin": "import time\ntime.sleep(0.5)\n" + HEALTHY})
    assert discover().names("aggregator") == ["healthy"]
    assert capsys.readouterr().err == (
        "still importing slow 1.0 (plug = _slow_plugin); Ctrl-C stops it, pip uninstall slow if it never ends\n"
    )


# Modules of one name


def recorded(folder, *files):
    """Give a fake distribution the record of files that an installer writes."""
    (metadata(folder) / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def errors(registry):
    return {str(plugin.origin): plugin.error for plugin in registry.quarantined}


def test_a_plugin_that_names_the_module_of_another_stands_aside(install, healthy):
    install("aaa-thief", {"other": ""}, entry_points={"mine": "_healthy_plugin"})
    registry = discover()
    assert registry.find("aggregator", "healthy").origin.distribution == "healthy"
    file = sys.modules["_healthy_plugin"].__file__
    assert errors(registry) == {
        "aaa-thief 1.0": f"healthy 1.0 names a module '_healthy_plugin' too, and Python imports {file} for both: "
        "rename yours"
    }


def test_two_plugins_whose_modules_have_one_name(install):
    names = ("alpha", "beta")
    folders = {n: install(n, {"_my_plugin": plugin(hook("wtal_aggregators", {n: "a:A"}))}) for n in names}
    registry = discover()  # beta is the first on the path
    assert registry.names("aggregator") == ["beta"]
    assert errors(registry) == {
        "alpha 1.0": f"beta 1.0 names a module '_my_plugin' too, and Python imports {folders['beta']}/_my_plugin.py "
        "for both: rename yours"
    }


@pytest.mark.parametrize("recorder", ["alpha", "beta"])
def test_in_one_folder_the_record_says_whose_module_it_is(install, tmp_path, recorder):
    for name in ("alpha", "beta"):
        install(name, {"_my_plugin": HEALTHY}, folder=tmp_path / "site" / name)
    for name in ("alpha", "beta"):
        info = metadata(tmp_path / "site" / name)
        info.rename(tmp_path / "site" / info.name)
    module = (tmp_path / "site" / "beta" / "_my_plugin.py").rename(tmp_path / "site" / "_my_plugin.py")
    (tmp_path / "site" / "alpha" / "_my_plugin.py").unlink()
    sys.path.insert(0, str(module.parent))  # syspath_prepend of `install` puts the path back
    importlib.invalidate_caches()
    for name in ("alpha", "beta"):
        mine = ["_my_plugin.py"] if name == recorder else ["else.py"]
        (module.parent / f"{name}-1.0.dist-info" / "RECORD").write_text("".join(f"{f},,\n" for f in mine))
    registry = discover()
    assert registry.find("aggregator", "healthy").origin.distribution == recorder
    assert list(errors(registry)) == [f"{'beta' if recorder == 'alpha' else 'alpha'} 1.0"]


def test_a_plugin_installed_in_place_has_the_modules_below_its_folder(install, tmp_path):
    source = tmp_path / "source with space"
    folder = install("alpha", {"nothing": ""}, entry_points={"plug": "_my_plugin"})
    (metadata(folder) / "direct_url.json").write_text(
        json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}})
    )
    recorded(folder, "alpha.pth")
    thief = install("beta", {"_my_plugin": HEALTHY}, folder=source / "src")
    (metadata(thief)).rename(folder / "beta-1.0.dist-info")
    registry = discover()
    assert registry.find("aggregator", "healthy").origin.distribution == "alpha"
    assert list(errors(registry)) == ["beta 1.0"]


def test_where_nobody_can_tell_whose_module_it_is_both_stay(install):
    for name in ("alpha", "beta"):
        recorded(install(name, {"nothing": ""}, entry_points={"plug": "_my_plugin"}), "nothing.py")
    install("elsewhere", {"_my_plugin": HEALTHY}, entry_points={"plug": "_my_plugin:no_such"})
    registry = discover(["elsewhere"])
    assert registry.quarantined == ()
    assert [c.origin.distribution for c in registry.components if c.name == "healthy"] == ["alpha", "beta"]


def test_one_plugin_alone_may_name_any_module(install):
    recorded(install("alpha", {"nothing": ""}, entry_points={"plug": "_my_plugin"}), "nothing.py")
    folder = install("bare", {"_my_plugin": HEALTHY})
    (metadata(folder) / "entry_points.txt").write_text("")
    assert discover().find("aggregator", "healthy").origin.distribution == "alpha"


# Conflicts and disabled plugins


@pytest.fixture
def rivals(install):
    install("Alpha.Pool", {"_alpha_plugin": plugin(hook("wtal_aggregators", {"mean": "a:A", "only-a": "a:A"}))})
    install("beta_pool", {"_beta_plugin": plugin(hook("wtal_aggregators", {"mean": "b:B"}))}, version="2.0")


def test_two_providers_of_one_name_conflict_only_when_it_is_asked_for(rivals):
    registry = discover()
    assert registry.quarantined == ()
    assert registry.find("aggregator", "only-a").target == "a:A"
    assert message(registry.find, "aggregator", "mean") == (
        "aggregator 'mean' is provided by alpha-pool 1.0 and beta-pool 2.0; disable one of them in the experiment: "
        "disable_plugins = ['alpha-pool'] or disable_plugins = ['beta-pool'] (`wtal describe` takes --disable); "
        "or uninstall one"
    )


def test_the_same_name_of_another_kind_is_no_conflict(install):
    body = hook("wtal_aggregators", {"same": "a:A"}) + hook("wtal_proposers", {"same": "a:P"})
    install("both", {"_both_plugin": plugin(body)})
    assert discover().find("proposer", "same").target == "a:P"


@pytest.mark.parametrize(("disabled", "winner"), [("beta-pool", "a:A"), ("Beta_Pool", "a:A"), ("alpha.pool", "b:B")])
def test_disabling_one_distribution_settles_a_conflict(rivals, disabled, winner):
    assert discover([disabled]).find("aggregator", "mean").target == winner


def test_a_disabled_plugin_is_not_even_imported_and_is_named_where_something_is_missing(rivals):
    registry = discover(["alpha-pool", "beta-pool"])
    assert "_alpha_plugin" not in sys.modules
    assert message(registry.find, "aggregator", "mean") == (
        "unknown aggregator 'mean'; known: none (not installed: pip install wtal-aggregators) "
        "(disabled: alpha-pool, beta-pool)"
    )


def test_disabling_what_is_not_installed_is_an_error(rivals):
    assert message(discover, ["beta-poll"]) == (
        "disable_plugins names 'beta-poll', which is no installed plugin; did you mean 'beta-pool'?"
    )


# Unknown names, options, and what cannot be loaded


def test_an_unknown_name_lists_the_nearest(healthy):
    assert message(discover().find, "aggregator", "heathy") == (
        "unknown aggregator 'heathy'; did you mean 'healthy'? (not installed: pip install wtal-aggregators)"
    )


def test_what_is_installed_is_not_offered_for_installation():
    assert message(discover().find, "feature reader", "zarr") == (
        "unknown feature reader 'zarr'; known: auto, csv, hdf5, npy, npz"
    )


def test_a_name_given_twice_by_one_distribution_is_said_to_be_its_fault(install):
    body = plugin(hook("wtal_aggregators", {"mean": "a:A"}))
    install("alone", {"_one": body, "_two": body}, entry_points={"one": "_one", "two": "_two"})
    assert message(discover().find, "aggregator", "mean") == (
        "aggregator 'mean' is provided twice by alone 1.0, through 'one = _one' and 'two = _two'"
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_says_what_to_install_if_that_is_not_installed(kind):
    hint = f" (not installed: pip install {kind.usual})"
    assert message(discover().find, kind.name, "x").endswith(hint) == (kind.usual != "wtal-core")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"powr": 2},
            "aggregator 'healthy' of healthy 1.0 has no option 'powr'; did you mean 'power'? its options: power",
        ),
        ({"colour": 2}, "aggregator 'healthy' of healthy 1.0 has no option 'colour'; its options: power"),
        ({"num_classes": 2}, "aggregator 'healthy' of healthy 1.0 has no option 'num_classes'; its options: power"),
        ({"power": -1}, "aggregator 'healthy' of healthy 1.0: power must not be negative, got -1"),
        (
            {"power": "x"},
            "aggregator 'healthy' of healthy 1.0: '<' not supported between instances of 'str' and 'int'",
        ),
    ],
)
def test_a_bad_option_is_named_with_its_component_and_those_that_exist(healthy, options, text):
    registry = discover()
    assert message(lambda: registry.build("aggregator", {"name": "healthy", **options}, num_classes=2)) == text


def test_a_component_that_takes_any_option_gets_it(install):
    install(
        "any",
        {
            "_any_plugin": plugin(hook("wtal_suppressors", {"any": "any_impl:make"})),
            "any_impl": "def make(**o): return o",
        },
    )
    assert discover().build("suppressor", {"name": "any", "colour": 1}).made == {"colour": 1}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('no luck')", " cannot be built: RuntimeError: no luck"),
        ("raise KeyError('gone')", " cannot be built: KeyError: 'gone'"),
        ("raise SystemExit(0)", " cannot be built: SystemExit: 0"),
        ("raise ValueError('too\\nlong')", ": too long"),
        ("raise ImportError('pip install numba')", ": pip install numba"),
        ("raise RuntimeError('x' * 9999)", f" cannot be built: RuntimeError: {'x' * 400} ..."),
    ],
)
def test_whatever_a_constructor_raises_names_its_component(install, body, said):
    source = f"class Pooling:\n    def __init__(self):\n        {body}\n"
    install("bad", {"_bad_plugin": plugin(hook("wtal_aggregators", {"bad": "bad_impl:Pooling"})), "bad_impl": source})
    assert message(discover().build, "aggregator", "bad") == f"aggregator 'bad' of bad 1.0{said}"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_impl:Pooling", "ModuleNotFoundError: No module named 'no_such_impl'"),
        ("lazy_impl:Nope", "AttributeError: module 'lazy_impl' has no attribute 'Nope'"),
        ("lazy_exit:Pooling", "SystemExit: 4"),
    ],
)
def test_a_component_that_cannot_be_loaded_names_its_distribution(install, target, reason):
    body = plugin(hook("wtal_aggregators", {"lazy": target}))
    install("lazy", {"_lazy_plugin": body, "lazy_impl": "", "lazy_exit": "raise SystemExit(4)"})
    assert message(discover().load, "aggregator", "lazy") == (
        f"aggregator 'lazy' of lazy 1.0 cannot be loaded from {target!r}: {reason}"
    )


def test_a_dotted_attribute_is_followed(install):
    body = plugin(hook("wtal_aggregators", {"inner": "inner_impl:Outer.Inner"}))
    install("inner", {"_inner_plugin": body, "inner_impl": "class Outer:\n    class Inner: pass"})
    assert discover().load("aggregator", "inner").__qualname__ == "Outer.Inner"


def test_a_target_that_cannot_be_called_is_an_error_of_its_plugin(install):
    body = plugin(hook("wtal_aggregators", {"constant": "constant_impl:POOLING"}))
    install("constant", {"_constant_plugin": body, "constant_impl": "POOLING = 3"})
    assert message(discover().build, "aggregator", "constant") == (
        "aggregator 'constant' of constant 1.0: 'constant_impl:POOLING' is of type int, neither a class nor a function"
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_the_host_gives_is_in_no_list_of_options(install, wtal, kind):
    given = [*kind.given, *kind.offered]
    source = f"def make({', '.join([*given, 'bias: int = 3'])}): 'A maker.'"
    install("maker", {"_maker_plugin": plugin(hook(kind.hook, {"made": "maker_impl:make"})), "maker_impl": source})
    answer = wtal("describe", kind.name, "made")
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[3:8] == [[], ["option", "type", "default"], ["bias", "int", "3"], [], ["class:", "maker_impl:make"]]
    for name in given:
        assert message(discover().build, kind.name, {"name": "made", name: 1}) == (
            f"{kind.name} 'made' of maker 1.0 has no option {name!r}; its options: bias"
        )


# The command, in a process of its own


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"], ["--help"]])
def test_listing_imports_neither_torch_nor_what_plugins_name(arguments):
    script = f"""
import sys
from wtal_core.cli import main
try:
    main({arguments!r})
except SystemExit as stopped:
    assert not stopped.code, stopped.code
heavy = sorted({{"torch", "h5py", "wtal_fakes", "wtal_core.builtin.attention_pooling"}} & set(sys.modules))
print("imported:", heavy, file=sys.stderr)
"""
    done = python("-c", script, path=[FAKES])
    assert (done.returncode, done.stderr) == (0, "imported: []\n")
    assert done.stdout


def test_importing_the_package_imports_little():
    done = python(
        "-c", "import sys, wtal_core; print(sorted({'torch', 'numpy', 'msgspec', 'rich'} & set(sys.modules)))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.fixture
def beside_a_broken_one(tmp_path):
    write_distribution(tmp_path / "broken", "broken", {"_broken_plugin": "1/0"}, version="0.3")
    return [FAKES, tmp_path / "broken"]


def test_the_table_shows_components_with_their_distribution_and_the_quarantined_with_their_error(beside_a_broken_one):
    done = python("-c", "from wtal_core.cli import main; main(['plugins'])", path=beside_a_broken_one)
    assert done.returncode == 0
    lines = [re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines()]
    assert lines[0] == ["kind", "name", "distribution", "version", "class"]
    assert ["aggregator", "maa", "wtal-fakes", "1.0", "wtal_fakes:Mean"] in lines
    assert lines[-1] == ["quarantined: broken 0.3 (plug = _broken_plugin): ZeroDivisionError: division by zero"]


def test_json_gives_programs_the_same(beside_a_broken_one):
    done = python("-c", "from wtal_core.cli import main; main(['plugins', '--json'])", path=beside_a_broken_one)
    content = json.loads(done.stdout)
    origin = {"distribution": "wtal-fakes", "version": "1.0", "entry_point": "fakes = _wtal_fakes_plugin"}
    component = {"kind": "aggregator", "name": "maa", "target": "wtal_fakes:Mean", "origin": origin}
    assert component in content["components"]
    (quarantined,) = content["quarantined"]
    assert quarantined["error"] == "ZeroDivisionError: division by zero"


def test_any_exception_of_an_import_is_quarantined(install, healthy):
    install("broken", {"_broken_plugin": "class Stop(BaseException): pass\nraise Stop('for no reason')"})
    registry = discover()
    assert registry.names("aggregator") == ["healthy"]
    assert [plugin.error for plugin in registry.quarantined] == ["Stop: for no reason"]
