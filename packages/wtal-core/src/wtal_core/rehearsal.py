"""Rehearsal: every component built once and tried on a small example, so that a mistake costs no training.

It asks of an answer what the conformance kit asks (`answers`), and leaves the other clauses to the kit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from wtal_core import answers, config, evaluation
from wtal_core.contracts import Targets
from wtal_core.dataset import Instances
from wtal_core.errors import WtalError
from wtal_core.localization import VideoDetections, call_proposer
from wtal_core.model import build_model
from wtal_core.plugins import Registry, blaming

B, T, D, C = 2, 6, 8, 2
FAILS = "fails on a small example"


def component_problems(experiment: config.Experiment, registry: Registry) -> Iterator[WtalError]:
    """Yield what cannot be built or fails on a small example, each with the name of the component."""
    settings = experiment.localization
    edges = np.arange(T + 1.0)
    maps = np.linspace(0.1, 1.0, C * T).reshape(C, T)
    few = VideoDetections(np.array([0, 1]), np.array([0.0, 2.0]), np.array([2.0, 4.0]), np.array([0.9, 0.8]))
    truth = Instances(few.label, few.start, few.end)

    features = torch.rand(B, T, D)
    subset = {"video": truth}

    def pool(aggregator: Any) -> None:
        answers.patterns(aggregator(features, torch.rand(B, T), None), features)

    def propose(proposer: Any) -> None:
        answers.detections(call_proposer(proposer, maps, np.array([0.9, 0.8]), edges, maps), C, 0.0, T)

    def suppress(suppressor: Any) -> None:
        answers.detections(suppressor(few), C, 0.0, T)

    def score(evaluator: Any) -> None:
        answers.evaluation(evaluator(subset, {"video": few}, ["first", "second"]), subset, C)

    trials: list[tuple[str, config.Component, Callable[[Any], Any]]] = [
        ("aggregator", experiment.model.aggregator, pool),
        ("proposer", settings.proposer, propose),
        ("suppressor", settings.suppressor, suppress),
    ]
    trials += [("evaluator", choice, score) for choice in evaluation.evaluators(experiment).values()]
    # The generators are put back, and nothing that is computed here is used.
    with torch.random.fork_rng(devices=()), warnings.catch_warnings(action="ignore"):
        failed = False
        for kind, choice, use in trials:
            for problem in _attempt(registry, kind, choice, use):
                failed |= kind == "aggregator"
                yield problem
        if failed:  # the decoder would fail for the same reason
            yield from _only_built(registry, experiment)
        else:
            yield from _decode(experiment, registry)


def _attempt(registry: Registry, kind: str, choice: config.Component, use: Callable[[Any], Any]) -> Iterator[WtalError]:
    name, options = config.component(choice)
    try:
        built = registry.build(kind, name, options)
    except WtalError as error:
        yield error
        return
    yield from _problem(blaming(registry.find(kind, name), FAILS), lambda: use(built))


def _only_built(registry: Registry, experiment: config.Experiment) -> Iterator[WtalError]:
    for kind, choice in (("decoder", experiment.model.decoder), ("activation", experiment.localization.activation)):
        try:
            registry.find(kind, config.component(choice)[0])
        except WtalError as error:
            yield error


def _decode(experiment: config.Experiment, registry: Registry) -> Iterator[WtalError]:
    try:
        model = build_model(experiment, registry, D, C, videos=())
    except WtalError as error:
        yield error
        model = None
    name, options = config.component(experiment.localization.activation)
    try:
        activation = registry.build("activation", name, options)
    except WtalError as error:
        yield error
        return
    if model is None:
        return
    features = torch.rand(B, T, D)
    targets = Targets(torch.eye(C)[:B], torch.eye(C)[:B] if experiment.data.counts else None)

    def learn() -> None:
        decoding = model(features, None, targets)
        answers.decoding(decoding, features, None, C)
        answers.terms(model.decoder.loss(decoding, targets))

    broken = list(_problem(model.blaming(FAILS), learn))
    yield from broken
    if broken:
        return

    def read() -> None:
        model.eval()
        with model.blaming(FAILS):
            decoding = model.decoder(features[:1], None)
        answers.maps(activation(decoding, features[:1]), C, T)

    yield from _problem(blaming(registry.find("activation", name), FAILS), read)


def _problem(blame: AbstractContextManager[None], call: Callable[[], Any]) -> Iterator[WtalError]:
    """What a component raises, whatever it is, as an error that names it."""
    try:
        with blame:
            call()
    except WtalError as error:
        yield error
