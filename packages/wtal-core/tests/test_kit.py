"""The conformance kit: sound components pass, and every clause of every kind catches the components that break it.

The components, sound and broken, stand in `kit/`, a file a kind.
"""

import importlib.util
import os
import re
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from wtal_core.errors import PluginError
from wtal_core.kinds import KINDS
from wtal_core.testing import ContractError, check, clauses, parametrize_with_clauses


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


def python(*arguments, cwd=None):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=cwd, check=False
    )


def cases(named):
    """A case for each component, of `(kind, name, components)`."""
    return [
        pytest.param(kind, name, make, id=f"{kind}-{name}-{number}")
        for kind, name, makes in named
        for number, make in enumerate(makes)
    ]


@pytest.mark.parametrize(("kind", "_name", "make"), cases((kind, "sound", kit.SOUND) for kind, kit in KITS.items()))
def test_a_sound_component_passes(kind, _name, make):
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


# Whole messages


def test_a_failure_says_clause_reason_and_smallest_input():
    broken = KITS["aggregator"].BROKEN["hidden"][0]
    with pytest.raises(ContractError) as caught:
        check("aggregator", broken)
    assert str(caught.value) == (
        "aggregator Broken breaks the contract: a snippet that the mask hides, padding at the end or a hole, is as if "
        "it were not there. A hidden snippet turned [[-0.75]] into [[5.083333492279053]].\nThe smallest input that "
        "shows it: features = [[[-0.75], [8.0]]], attention = [[0.5, 1.0]], mask = [[True, False]]"
    )


def said(kind, name, number, message):
    return pytest.param(kind, KITS[kind].BROKEN[name][number], message, id=f"{kind}-{name}-{number}")


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        said("aggregator", "module", 0, "The host refuses it: aggregator '<lambda>' of a test must be an nn.Module,"),
        said("aggregator", "form", 3, "pooled features must be a tensor (1, 1), got list"),
        said("aggregator", "gradient", 0, "The answer does not depend on the features by torch's graph."),
        said("aggregator", "coefficients", 1, "Of pooled features (1, 1) they must be (1, 1), got list."),
        said("decoder", "module", 1, "decoder 'Broken' of a test: context must be a whole number of snippets"),
        said("decoder", "submodule", 0, "Its modules() do not have it."),
        said("decoder", "form", 9, "attention must be a tensor (B, S, T) with S >= 1, got Tensor (1, 1)"),
        said("decoder", "head", 4, "Of class 0 the slope is [[["),
        said("decoder", "pooled", 0, "By features and attention pooled is [[["),
        said("decoder", "pooled", 1, "Of features [[-0.75, 0.0]] alone it pools [["),
        said("decoder", "hidden", 4, "With another snippet hidden, or none, features is [[["),
        said(
            "decoder",
            "loss",
            1,
            "loss term 'classification' must be a scalar tensor, of shape (), got Tensor (1, 1) of torch.float32",
        ),
        said("loss", "form", 9, "The host refuses it: loss 'Broken' of a test: needs must be names among attention, "),
        said("loss", "hidden", 1, "With another snippet hidden, or none, it is {'mean': "),
        said("sampler", "varies", 0, "Seeds 0 and 1 give the same."),
        said("sampler", "varies", 3, "In 40 iterations it never chose the videos ["),
        said("clip", "form", 4, "a clip must show at least one row"),
        said("teacher", "segments", 1, "With segments None it teaches [["),
        said("activation", "untouched", 0, "It left a gradient in the model."),
        said("proposer", "place", 0, "Class 1 is active in [7.0, 8.0), and the answer is [(0.0, 2.0, 3.0, 0.0),"),
        said("proposer", "form", 6, "label must be an array (N,), got list"),
        said("evaluator", "form", 8, "tiou_thresholds must be an array (K,) with K >= 1, got float"),
        said("evaluator", "nothing", 0, "score less than 1. mean_ap is [1.0]."),
        said("feature reader", "shape", 1, "Of an array (1, 1) it says None."),
        said("annotation reader", "videos", 11, "It names ['a', 'b']."),
    ],
)
def test_a_failure_says_what_was_wrong(kind, make, message):
    with pytest.raises(ContractError) as caught:
        checked(kind, make)
    assert message in str(caught.value)


def test_what_a_component_raises_is_said():
    class Raises(torch.nn.Module):
        def forward(self, features, attention, mask=None):
            raise RuntimeError("no\nluck")

    with pytest.raises(ContractError, match=r"\. Checking it raised RuntimeError: no luck\.\nThe smallest") as caught:
        check("aggregator", partial(Raises))
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("error", [RuntimeError("no luck"), SystemExit(3), GeneratorExit()], ids=repr)
def test_whatever_is_raised_in_whichever_call_breaks_the_contract(error):
    class RaisesLater:
        left = 0

        def __call__(self, detections):
            RaisesLater.left -= 1
            if not RaisesLater.left:
                raise error
            return detections

    for call in range(1, 60):
        RaisesLater.left = call
        with pytest.raises(ContractError, match=f"^suppressor .*Checking it raised {type(error).__name__}: ") as caught:
            check("suppressor", RaisesLater)
        assert caught.value.__cause__ is error


def test_an_interrupt_stops_the_kit():
    def interrupted(detections):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("suppressor", lambda: interrupted)


METHODS = {
    "aggregator": "forward",
    "decoder": "forward",
    "feature reader": "read",
    "annotation reader": "video",
    "tracker": "metrics",
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_of_another_type_breaks_the_contract_in_whichever_call(kind):
    sound, method = KITS[kind].SOUND[0], METHODS.get(kind, "__call__")

    def at(calls):
        """A component whose call of this number answers None, and how many calls it had."""
        made = []

        def answer(self, *arguments, **options):
            made.append(1)
            return None if len(made) == calls else getattr(sound, method)(self, *arguments, **options)

        return type("Broken", (sound,), {method: answer}), made

    counting, made = at(0)
    checked(kind, counting)
    for call in range(1, len(made) + 1, max(1, len(made) // 10)):
        broken, _ = at(call)
        with suppress(ContractError):  # of whichever clause; answers that none looks at pass
            checked(kind, broken)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"annotation reader", "feature reader", "tracker", "decoder"}))
def test_an_instance_is_no_way_to_build_one(kind):
    message = r"Building it raised TypeError: .*; give the class or what builds one, not an instance\."
    with pytest.raises(ContractError, match=message):
        checked(kind, KITS[kind].SOUND[0]())


def test_an_unknown_kind_has_no_clauses():
    with pytest.raises(PluginError, match=r"^unknown kind 'agregator'; did you mean 'aggregator'\?$"):
        clauses("agregator")


def test_what_cannot_be_built_is_said():
    with pytest.raises(ContractError, match=r"it is an nn\.Module\. Building it raised TypeError: .*power"):
        check("aggregator", partial(KITS["aggregator"].SOUND[0], power=3))


@pytest.mark.parametrize("kind", ["annotation reader", "feature reader"])
def test_a_reader_is_tried_with_something_to_read(kind):
    with pytest.raises(ContractError, match=r"A reader is tried with `write`, which writes what it reads\."):
        check(kind, KITS[kind].SOUND[0])


def test_the_callers_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check("aggregator", KITS["aggregator"].SOUND[0])
    assert torch.equal(torch.rand(1), expected)


# Waivers, and one result for each clause


def test_a_waived_clause_is_not_tried():
    (across_classes,) = KITS["suppressor"].BROKEN["classes"]
    with pytest.raises(ContractError, match="what it does to one class depends on no other"):
        check("suppressor", across_classes)
    check("suppressor", across_classes, waive={"classes": "suppresses across classes"})


@pytest.mark.parametrize("waiving", [check, parametrize_with_clauses])
@pytest.mark.parametrize(
    ("waive", "message"),
    [
        ({"clases": "a reason"}, "no clause 'clases' of the kind clip: form, draws"),
        ({"draws": " "}, "the waiver of 'draws' needs a reason"),
    ],
)
def test_a_waiver_needs_a_clause_and_a_reason(waiving, waive, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        waiving("clip", KITS["clip"].SOUND[0], waive=waive)


def test_each_clause_is_a_result_of_its_own(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "from wtal_core.testing import parametrize_with_clauses\n"
        "class Mine:\n"
        "    calls = 0\n"
        "    def __call__(self, labels, batch_size, seed, iteration):\n"
        "        self.calls += 1\n"
        "        return (labels[:, 0].argmax() + [self.calls % len(labels)] * batch_size)\n"
        '@parametrize_with_clauses("sampler", Mine, waive={"pure": "counts its calls"})\n'
        "def test_mine(clause):\n"
        "    clause()\n"
    )
    done = python("-m", "pytest", "-rs", "-v", "-p", "no:cacheprovider", "test_mine.py", cwd=tmp_path)
    results = re.findall(r"test_mine\[(\w+)\] ([A-Z]+)", done.stdout)
    assert results == [("form", "PASSED"), ("untouched", "PASSED"), ("pure", "SKIPPED"), ("varies", "FAILED")]
    assert "waived: counts its calls" in done.stdout
    assert "sampler Mine breaks the contract: another seed, or another iteration, gives other videos" in done.stdout
    assert "1 failed, 2 passed, 1 skipped" in done.stdout


def test_a_kit_used_by_hand_needs_no_pytest():
    done = python(
        "-c",
        "import sys; sys.modules['pytest'] = None\n"
        "from wtal_core.builtin.clips import Whole; from wtal_core.testing import check; check('clip', Whole)",
    )
    assert done.returncode == 0, done.stderr
