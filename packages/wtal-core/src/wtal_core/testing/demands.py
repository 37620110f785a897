"""What the clauses of several kinds demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wtal_core.answers import require
from wtal_core.testing.trial import Check, Example, Trial, shown

#: The arrays of an answer.
Arrays = Callable[[Any], Sequence[NDArray[Any]]]


def refused(
    trial: Trial,
    file: Path,
    errors: type[Exception] | tuple[type[Exception], ...],
    function: Callable[..., Any],
    **given: Any,
) -> None:
    """Require that a call raises an error whose message has the whole path of the file, or of the folder it lies in."""
    try:
        answer = trial.call(function, **given)
    except errors as error:
        require(str(file) in str(error), f"{str(error)!r} does not name {str(file)!r}.")
    else:
        require(False, f"It gave {answer!r}.")


def spoil(path: Path) -> None:
    """Write what no layout has into a file, or into all files of a folder."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            file.write_bytes(b"\xff malformed \x00")


def form(trial: Trial, **given: Any) -> None:
    """Require an answer as the kind's `Bound` checks it."""
    trial.checked(**given)


def form_or_refusal(trial: Trial, **given: Any) -> None:
    """Require such an answer, or a `ValueError`."""
    try:
        answer = trial.call(trial.build(), **given)
    except ValueError:
        return
    trial.bound.check(answer, *given.values())


def untouched(trial: Trial, **given: Any) -> None:
    """Require that a call of the component leaves its arguments as they are."""
    trial.call(trial.build(), **given)
    trial.unchanged(**given)


def repeats(arrays: Arrays) -> Check:
    """Require the same answer of a second call."""

    def again(trial: Trial, **given: Any) -> None:
        repeated(trial, arrays, given, given)

    return again


def draws_in_training_alone(build: Callable[[], nn.Module], answer: Callable[[nn.Module], list[Tensor]]) -> None:
    """Require that evaluation leaves torch's generator alone, and that training draws from nothing else."""
    for training in (False, True):
        answers, states = [], []
        for seed in (0, 0, 1):
            module = build().train(training)
            seeded = torch.manual_seed(seed).get_state()
            answers.append(answer(module))
            states.append(torch.get_rng_state())
            require(training or torch.equal(states[-1], seeded), "Evaluation moved torch's generator.")
        for again in answers[1:2] if training else answers[1:]:
            equal = all(map(torch.equal, answers[0], again))
            require(equal, f"It gave {shown(answers[0])}, then {shown(again)}.")
        require(not torch.equal(states[0], states[2]), "It seeded torch's generator.")


def remembers(build: Callable[[int], nn.Module], answer: Callable[[nn.Module], list[Tensor]]) -> None:
    """Require that what a step of training left in a module returns from a checkpoint, into one of other weights."""
    trained = build(0).train()
    answer(trained)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.25)
    state = {name: tensor.detach().contiguous() for name, tensor in trained.state_dict().items()}
    fresh = build(1)
    fresh.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    for training in (False, True):
        torch.manual_seed(0)
        expected = answer(trained.train(training))
        torch.manual_seed(0)
        got = answer(fresh.train(training))
        equal = all(map(same, got, expected))
        require(equal, f"Restored from a checkpoint it gives {shown(got)}, not {shown(expected)}.")


def repeated(trial: Trial, arrays: Arrays, given: Example, again: Example) -> None:
    """Require the same arrays of a call and of one made `again`, and of a third after all other examples."""
    component = trial.build()
    first = [part.copy() for part in arrays(component(*given.values()))]
    for between in ((), trial.examples()):
        for other in between:
            component(*other.values())
        same_arrays(first, arrays(trial.call(component, **again)))


def same(one: Tensor, other: Tensor) -> bool:
    """Whether tensors are equal up to the rounding of float32."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def same_arrays(first: Sequence[NDArray[Any]], again: Sequence[NDArray[Any]]) -> None:
    """Require equal arrays, up to rounding."""
    equal = all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=1e-9, equal_nan=True)
        for one, other in zip(first, again, strict=True)
    )
    require(equal, f"It gave {shown(first)}, then {shown(again)}.")
