"""The conformance kit: does a component keep the contract of its kind (`wtal_core.kinds`)?

A test of a plugin needs three lines, and gets one result for each clause of the contract:

    from wtal_core.testing import parametrize_with_clauses

    @parametrize_with_clauses("aggregator", MyPooling)
    def test_my_pooling_keeps_the_contract(clause):
        clause()

Each clause is tried on inputs of rising size, and raises `ContractError` where it does not hold: what happened, and the
smallest of its inputs that shows it. A clause that a component cannot promise is waived by its name, with the reason,
and is then shown as skipped: `waive={"classes": "suppresses across classes"}`. `check(kind, make)` tries all of them
outside pytest.

`tmp_plugin` installs a component under a name for a while, so that an experiment can use it;
`no_strange_plugins` leaves only the plugins of the distributions named, and `only_plugins` is a fixture that does it.
"""

from wtal_core.answers import ContractError
from wtal_core.testing.environment import no_strange_plugins, only_plugins, tmp_plugin
from wtal_core.testing.parametrize import parametrize_with_clauses
from wtal_core.testing.trial import Clause, check, clauses

__all__ = [
    "Clause",
    "ContractError",
    "check",
    "clauses",
    "no_strange_plugins",
    "only_plugins",
    "parametrize_with_clauses",
    "tmp_plugin",
]
