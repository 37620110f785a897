"""Discovery, quarantine, conflicts, and the messages of the registry."""

import importlib
import json
import re
import sys

import pytest
from conftest import FAKES, hook, plugin, python, write_distribution
from wtal_core.errors import PluginError
from wtal_core.plugins import KINDS, Component, Origin, discover

HEALTHY = plugin(hook("wtal_aggregators", {"healthy": "healthy_impl:Pooling"}))
IMPLEMENTATION = """
class Pooling:
    def __init__(self, power=1, *, bias=0):
        if power < 0:
            raise ValueError(f"power must not be negative, got {power}")
        self.power = power
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
    pooling = discover().build("aggregator", "healthy", {"power": 2}, bias=1)
    assert (type(pooling).__module__, pooling.power) == ("healthy_impl", 2)


def test_the_core_registers_its_own_components_like_anybody():
    registry = discover()
    assert registry.find("decoder", "attention-pooling").origin.distribution == "wtal-core"
    assert registry.names("feature reader") == ["hdf5", "npy"]


def test_every_kind_of_component_has_a_hook(install):
    body = "".join(hook(name, {"mine": "somewhere:Thing"}) for name, _ in KINDS.values())
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
    assert registry.build("aggregator", "healthy", {}).power == 1
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
        "disable_plugins = ['alpha-pool'] or disable_plugins = ['beta-pool']"
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
    assert message(discover().find, "feature reader", "zarr") == "unknown feature reader 'zarr'; known: hdf5, npy"


def test_a_name_given_twice_by_one_distribution_is_said_to_be_its_fault(install):
    body = plugin(hook("wtal_aggregators", {"mean": "a:A"}))
    install("alone", {"_one": body, "_two": body}, entry_points={"one": "_one", "two": "_two"})
    said = message(discover().find, "aggregator", "mean")
    assert "alone 1.0 and alone 1.0" not in said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "feature reader"])
def test_every_kind_says_what_to_install(kind):
    assert message(discover().find, kind, "x").endswith(f" (not installed: pip install {KINDS[kind][1]})")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"powr": 2}, "aggregator 'healthy' has no option 'powr'; did you mean 'power'?"),
        ({"colour": 2}, "aggregator 'healthy' has no option 'colour'; known: power"),
        ({"bias": 2}, "aggregator 'healthy' has no option 'bias'; known: power"),
        ({"power": -1}, "aggregator 'healthy' of healthy 1.0: power must not be negative, got -1"),
        (
            {"power": "x"},
            "aggregator 'healthy' of healthy 1.0: '<' not supported between instances of 'str' and 'int'",
        ),
    ],
)
def test_a_bad_option_is_named_with_its_component_and_those_that_exist(healthy, options, text):
    registry = discover()
    assert message(lambda: registry.build("aggregator", "healthy", options, bias=0)) == text


def test_a_component_that_takes_any_option_gets_it(install):
    install(
        "any",
        {
            "_any_plugin": plugin(hook("wtal_aggregators", {"any": "any_impl:make"})),
            "any_impl": "def make(**o): return o",
        },
    )
    assert discover().build("aggregator", "any", {"colour": 1}) == {"colour": 1}


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
    assert message(discover().build, "aggregator", "constant", {}).startswith("aggregator 'constant' of constant 1.0")


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
heavy = sorted({{"torch", "h5py", "wtal_fakes", "wtal_core.attention_pooling"}} & set(sys.modules))
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
