"""The conformance kit: does a component keep the contract of its kind (`wtal_core.contracts`)?

A test of a plugin needs three lines:

    from wtal_core.testing import check_aggregator

    def test_my_pooling_keeps_the_contract():
        check_aggregator(MyPooling)

A checker tries the clauses of its kind one by one, each on inputs of rising size, and raises `ContractError` at the
first that does not hold: which clause, what happened, and the smallest of its inputs that shows it. It takes the class,
or whatever builds a component: `functools.partial(MyPooling, power=2)`. `clauses("aggregator")` lists what is checked.
"""

from wtal_core.answers import ContractError
from wtal_core.testing.trial import clauses

# Each module adds its clauses in the order in which they are checked.
from wtal_core.testing.aggregators import check_aggregator  # isort: skip
from wtal_core.testing.decoders import check_decoder  # isort: skip
from wtal_core.testing.localization import check_activation, check_proposer, check_suppressor  # isort: skip
from wtal_core.testing.evaluators import check_evaluator  # isort: skip
from wtal_core.testing.readers import check_feature_reader  # isort: skip

__all__ = [
    "ContractError",
    "check_activation",
    "check_aggregator",
    "check_decoder",
    "check_evaluator",
    "check_feature_reader",
    "check_proposer",
    "check_suppressor",
    "clauses",
]
