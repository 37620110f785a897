"""The conformance kit: sound components pass, and every clause of every kind catches the components that break it.

The components, sound and broken, stand in `kit/`, a file a kind.
"""

import importlib.util
from pathlib import Path

import pytest
from wtal_core.kinds import KINDS
from wtal_core.testing import ContractError, check, clauses


def load(kind):
    """The components of a kind: `SOUND`, `BROKEN` by the clause that catches them, `write` of readers."""
    file = Path(__file__).parent / "kit" / f"{kind.identifier}.py"
    spec = importlib.util.spec_from_file_location(f"kit_{kind.identifier}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KITS = {name: load(kind) for name, kind in KINDS.items()}


def checked(kind, make):
    check(kind, make, write=getattr(KITS[kind], "write", None))


def cases(components):
    return [
        pytest.param(kind, *rest, id=f"{kind}-{'-'.join(map(str, rest[:-1]))}-{number}")
        for kind, *rest, makes in components
        for number, rest in enumerate([*rest, make] for make in makes)
    ]


@pytest.mark.parametrize(("kind", "make"), cases((kind, kit.SOUND) for kind, kit in KITS.items()))
def test_a_sound_component_passes(kind, make):
    checked(kind, make)


@pytest.mark.parametrize("kind", KINDS)
def test_every_clause_has_a_component_that_breaks_it(kind):
    assert list(KITS[kind].BROKEN) == [clause.name for clause in clauses(kind)]
    assert all(KITS[kind].BROKEN.values())


@pytest.mark.parametrize(
    ("kind", "name", "make"),
    cases((kind, name, makes) for kind, kit in KITS.items() for name, makes in kit.BROKEN.items()),
)
def test_a_component_that_breaks_a_clause_is_caught_by_it(kind, name, make):
    (sentence,) = (clause.sentence for clause in clauses(kind) if clause.name == name)
    with pytest.raises(ContractError) as caught:
        checked(kind, make)
    assert f"breaks the contract: {sentence}. " in str(caught.value)
    assert str(caught.value).startswith(f"{kind} ")
