"""All that can be wrong with an experiment, looked for in one place and before any training.

`validate` prints what is found here, and a run refuses to start with it. Components are tried on small examples, so
that a mistake in the last of them costs nothing; then the data are opened, and the components are asked what they have
against them.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from wtal_core import config
from wtal_core.binding import blaming, during
from wtal_core.contracts import Batch, Targets
from wtal_core.data import dataset as data
from wtal_core.data.dataset import Dataset, Dimensions
from wtal_core.errors import ConfigError, DataError, PluginError, Problems, WtalError, one_line, together
from wtal_core.kinds import loss as losses
from wtal_core.kinds.decoder import Refusal
from wtal_core.model import StreamModel, build_model, torch_device
from wtal_core.prediction.predict import require_even
from wtal_core.registry import Registry, discover
from wtal_core.training.batches import targets_of
from wtal_core.training.checkpoint import load_model_tensors, model_tensors
from wtal_core.training.teaching import lessons_of, of_untaught, untaught

#: Of a small example. A component may be particular about them, so that they are the data's once these are open.
SMALL = Dimensions(8, 2, 1.0)


class Opened(NamedTuple):
    """What an experiment opens."""

    registry: Registry
    dataset: Dataset


def opened(experiment: config.Experiment, *, scored: bool = False) -> Opened:
    """Find the components of an experiment, open its data, and make torch compute the same bytes every time.

    Raises:
        WtalError: anything is wrong, as `examine` finds it; `Problems` lists several.
    """
    found, problems = examine(experiment, scored=scored)
    if found is None or problems:
        raise together(problems)
    if torch_device(experiment).type != "cpu":
        # Where a GPU has only an operation that adds up in any order, a warning says so and the run goes on.
        torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(experiment.threads)
    return found


def examine(experiment: config.Experiment, *, scored: bool) -> tuple[Opened | None, list[WtalError]]:
    """What an experiment opens, if it can be opened, and all that is wrong with it but for the values of features.

    A test subset that shall be `scored` needs its segments.
    """
    problems: list[WtalError] = []
    try:
        torch_device(experiment)
    except ConfigError as error:
        problems.append(error)
    try:
        registry = discover(experiment.disable_plugins)
        try:
            dataset, found = data.examine(experiment.data, registry)
        except WtalError:
            problems += component_problems(experiment, registry)
            raise
        problems += component_problems(experiment, registry, sizes_of(dataset))
        problems += found
    except Problems as several:
        return None, problems + list(several.problems)
    except WtalError as error:
        return None, [*problems, error]
    if not problems:  # models that can be built, and a data set whose labels are known
        problems += training_problems(dataset, experiment, registry)
    if scored:
        problems += data.segment_problems(dataset)
    return Opened(registry, dataset), problems


def sizes_of(dataset: Dataset) -> Dimensions:
    """Those of the data, as far as they could be read."""
    widths = [width for width in dataset.feature_dims.values() if width]
    if not widths or not dataset.classes:
        return SMALL._replace(feature_dim=widths[0]) if widths else SMALL
    return SMALL._replace(feature_dim=widths[0], num_classes=len(dataset.classes))


def component_problems(experiment: config.Experiment, registry: Registry, sizes: Dimensions = SMALL) -> list[WtalError]:
    """What cannot be built or fails on a small example, each with the name of the component, once."""
    rehearsal = _Rehearsal(registry, sizes, experiment.data.counts)
    found: dict[str, WtalError] = {}
    # The generators are put back, and nothing that is computed here is used.
    with (
        torch.random.fork_rng(devices=()),
        warnings.catch_warnings(action="ignore"),
        during("fails on a small example"),
    ):
        for problem in itertools.chain(
            *map(rehearsal.stage, config.stages(experiment)),
            *(rehearsal.tried("evaluator", choice) for choice in config.evaluators(experiment).values()),
        ):
            found.setdefault(str(problem), problem)
        for tracker in experiment.trackers:  # building one writes files
            try:
                registry.chosen("tracker", tracker)
            except WtalError as error:
                found.setdefault(str(error), error)
    return list(found.values())


class _Rehearsal(NamedTuple):
    """The components of an experiment, tried on a small example."""

    registry: Registry
    sizes: Dimensions
    counts: bool

    def tried(
        self, kind: str, choice: config.Component, use: Callable[[Any], object] | None = None
    ) -> Iterator[WtalError]:
        """Build a component and try it, by its kind's rehearsal or by `use`; what goes wrong names it."""
        C = self.sizes.num_classes
        try:
            bound = self.registry.build(kind, choice, num_classes=C)
            try:
                bound.rehearse(C) if use is None else use(bound)
            except ValueError as error:  # by which some kinds refuse their arguments
                raise PluginError(f"{bound.component} fails on a small example: {one_line(error)}") from error
        except WtalError as error:
            yield error

    def stage(self, settings: config.StageSettings) -> Iterator[WtalError]:
        """Of all components of a stage."""
        teacher, training, localization = settings.stage.teacher, settings.training, settings.localization
        yield from self.model(settings)
        yield from self.tried("clip", training.clip)
        yield from self.tried("clip", localization.clip)
        yield from self.tried("sampler", training.sampler)
        yield from self.tried("proposer", localization.proposer)
        yield from self.tried("suppressor", localization.suppressor)
        if teacher is not None:
            first = settings.number == 0
            yield from self.tried("teacher", teacher, lambda bound: bound.rehearse(self.sizes.num_classes, first))

    def model(self, settings: config.StageSettings) -> Iterator[WtalError]:
        """Of the aggregator, the decoder, the losses and the activation, which are tried one upon the other."""
        pooling = list(self.tried("aggregator", settings.model.aggregator))
        activation = list(self.tried("activation", settings.localization.activation))
        yield from (*pooling, *activation)
        if pooling:  # the decoder would fail for the same reason
            try:
                self.registry.find("decoder", config.name_of(settings.model.decoder))
            except WtalError as error:
                yield error
            return
        try:
            model = build_model(settings, self.registry, self.sizes)
            batch = self.batch(settings)
            decoding = model.train()(batch.features, None, batch.targets)
            lacks = [(loss, field) for loss in model.losses for field in losses.missing(loss, decoding, batch.targets)]
            for loss, field in lacks:
                yield PluginError(f"{loss.component} needs {field}, and {_source(field, settings)}")
            if not lacks and (problem := _loss_problem(model, model.terms(batch))):
                yield problem
            read = model.eval()(batch.features[:1].requires_grad_())
        except WtalError as error:
            yield error
            return
        if not activation:
            yield from self.tried("activation", settings.localization.activation, lambda bound: bound(read))

    def batch(self, settings: config.StageSettings) -> Batch:
        """What a step of training might see."""
        D, C, _ = self.sizes
        labels = torch.eye(C)[[0, -1]]
        snippets = None if settings.stage.teacher is None else labels.unsqueeze(2).expand(2, C, 6).contiguous()
        targets = Targets(labels, labels if self.counts else None, snippets)
        return Batch(torch.rand(2, 6, D), None, targets, torch.arange(6).expand(2, 6))


def _loss_problem(model: StreamModel, terms: Mapping[str, Tensor]) -> WtalError | None:
    """What keeps a model from learning by its loss terms; zero is no reason, as where a loss has nothing to say."""
    if not terms:
        return PluginError(f"{model.decode.component} has no loss of its own here; name one in training.losses")
    if any(term.requires_grad for term in terms.values()) or not any(terms.values()):
        return None
    return PluginError(
        f"the loss terms {', '.join(map(repr, terms))} do not depend on any parameter of {model.decode.component} by "
        "torch's graph, so nothing can be learnt from them"
    )


def _source(field: str, settings: config.StageSettings) -> str:
    if field == "targets.snippets":
        return "this stage has no teacher to give them"
    if field == "targets.counts":
        return "data.counts is false"
    return f"decoder {config.name_of(settings.model.decoder)!r} does not give it"


def training_problems(dataset: Dataset, experiment: config.Experiment, registry: Registry) -> list[WtalError]:
    """What training would stumble over, found with models and labels as the data have them."""
    problems: dict[str, WtalError] = {}
    stages = config.stages(experiment)
    before = None
    for settings in stages:
        found: Iterable[WtalError]
        try:  # not any width or time: a decoder may be particular about them
            model = build_model(settings, registry, dataset.dimensions(dataset.streams[0]))
        except PluginError as error:
            found = [error]
        else:
            found = itertools.chain(
                _clip_problems(model, settings, dataset, registry),
                _frozen_problems(model, settings, before),
                _state_problems(model),
                _target_problems(model, dataset),
                _sampler_problems(settings, dataset, registry),
                _teacher_problems(settings, stages, dataset, registry),
            )
            before = model
        where = "" if len(stages) == 1 else f"stages[{settings.number}]: "
        for problem in found:
            problems.setdefault(f"{where}{problem}", type(problem)(f"{where}{problem}"))
    return list(problems.values())


def _clip_problems(
    model: StreamModel, settings: config.StageSettings, dataset: Dataset, registry: Registry
) -> Iterator[WtalError]:
    reading = registry.build("clip", settings.localization.clip)
    learning = registry.build("clip", settings.training.clip)
    for key, clip in (("training.clip", learning), ("localization.clip", reading)):
        if model.decode.context and not clip.contiguous:
            yield ConfigError(
                f"{model.decode.component} looks at {model.decode.context} snippets to each side, and {key} "
                f"{clip.component.name!r} does not show neighbours; use 'crop' or 'whole'"
            )
    for video, stream in itertools.product(dataset.test, dataset.streams):
        length = dataset.length(video, stream)
        try:
            require_even(reading(length, np.random.default_rng(0)), length, reading.component.name)
        except PluginError as error:
            yield ConfigError(f"video {video.name!r}: {error}")
            return


def _frozen_problems(
    model: StreamModel, settings: config.StageSettings, before: StreamModel | None
) -> Iterator[WtalError]:
    names = [name for name, _ in model.decoder.named_parameters()]
    frozen = tuple(settings.stage.frozen)
    for prefix in frozen:
        if not any(name.startswith(prefix) for name in names):
            yield ConfigError(f"`frozen`: no parameter's name begins with {prefix!r}; there are {', '.join(names)}")
    learnt = [name for name, parameter in model.decoder.named_parameters() if parameter.requires_grad]
    if list(model.learnt.parameters()) or any(not name.startswith(frozen) for name in learnt):
        if before is not None and settings.stage.start == "continue":
            yield from _lost_problems(model, frozen, before)
        return
    yield (
        ConfigError("`frozen` leaves nothing to train")
        if learnt
        else PluginError(f"{model.decode.component} has no parameter to train")
    )


def _lost_problems(model: StreamModel, frozen: tuple[str, ...], before: StreamModel) -> Iterator[WtalError]:
    """A parameter that is to stay as the stage before left it, and that the stage before does not have."""
    shapes = {name: getattr(tensor, "shape", None) for name, tensor in before.decoder.state_dict().items()}
    lost = [
        (name, tuple(parameter.shape))
        for name, parameter in model.decoder.named_parameters()
        if name.startswith(frozen) and shapes.get(name) != parameter.shape
    ]
    for name, shape in lost[:1]:
        yield ConfigError(
            f"`frozen`: the stage before has no parameter {name!r} of shape {shape} to take over, and nothing else "
            "would move it from where it was drawn"
        )


def _state_problems(model: StreamModel) -> Iterator[WtalError]:
    """A state that no checkpoint can hold."""
    try:
        with blaming(model.decode.component, doing="cannot be saved and restored"):
            tensors, tied = model_tensors(model)
            load_model_tensors(model, safetensors.torch.load(safetensors.torch.save(tensors)), tied)
    except PluginError as error:
        yield error


def _target_problems(model: StreamModel, dataset: Dataset) -> Iterator[WtalError]:
    """What the decoder has against the training subset's labels and counts, if it says so."""
    targets = targets_of(dataset.targets(dataset.training), dataset.data.counts, torch.device("cpu"))
    try:
        model.decode.check_targets(targets)
    except Refusal as error:
        yield DataError(f"decoder {model.decode.component.name!r}, {error.of(dataset.training)}")
    except PluginError as error:
        yield error


def _sampler_problems(settings: config.StageSettings, dataset: Dataset, registry: Registry) -> Iterator[WtalError]:
    sampler = registry.build("sampler", settings.training.sampler)
    labels = (dataset.targets(dataset.training) > 0).astype(np.float64)
    try:
        with during("fails on the labels of the training subset"):
            sampler(labels, settings.training.batch_size, 0, 0)
    except (ValueError, WtalError) as error:
        yield error if isinstance(error, WtalError) else DataError(f"{sampler.component}: {one_line(error)}")


def _teacher_problems(
    settings: config.StageSettings, stages: Sequence[config.StageSettings], dataset: Dataset, registry: Registry
) -> Iterator[WtalError]:
    """What keeps a teacher from its work, as far as that needs no predictions."""
    if settings.stage.teacher is None:
        return
    teacher = registry.build("teacher", settings.stage.teacher)
    unknown = [video.name for video in dataset.training if any(i.segment is None for i in video.instances)]
    if teacher.full_supervision and unknown:
        yield DataError(
            f"{dataset.data.annotations}: {teacher.component} reads segments, and {len(unknown)} training videos, such "
            f"as {unknown[0]!r}, have labels without one; annotate them, or list them in data.exclude"
        )
    elif teacher.full_supervision or settings.number == 0:
        yield from _silence_problems(teacher, settings, dataset, registry)
    before = stages[settings.number - 1].localization
    if settings.number and config.name_of(before.clip) != "whole":
        yield ConfigError(
            "a teacher speaks of every snippet, so localization.clip of the stage before must be 'whole', got "
            f"{config.name_of(before.clip)!r}"
        )


def _silence_problems(
    teacher: Any, settings: config.StageSettings, dataset: Dataset, registry: Registry
) -> Iterator[WtalError]:
    """Classes of which a teacher says nothing."""
    assert settings.stage.teacher is not None
    try:
        lessons = lessons_of(dataset, settings.stage.teacher, None, registry)
    except PluginError as error:
        if settings.number == 0:  # a later one may need the stage before
            yield error
        return
    labels = dataset.targets(dataset.training)
    if len(silent := untaught(lessons.values(), labels)):
        yield DataError(
            f"{teacher.component} says {of_untaught(dataset.classes, labels, silent)}; correct what it reads of "
            "them, list them in data.exclude, or choose another teacher"
        )
