"""Training of one stream's model.

All randomness of iteration i is a function of (seed, stream, i): which videos, which snippets, which dropout. A resumed
run therefore needs no generator state to equal an uninterrupted one, only the model's and the optimiser's tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wtal_core import config
from wtal_core.binding import during
from wtal_core.contracts import Batch, FloatArray, IntArray
from wtal_core.data.dataset import Dataset, Moments
from wtal_core.errors import PluginError, RunError, failure
from wtal_core.kinds.decoder import Refusal
from wtal_core.model import StreamModel, build_model
from wtal_core.registry import Registry
from wtal_core.seeds import seeded
from wtal_core.training.batches import clip_rows, make_batch
from wtal_core.training.checkpoint import load_checkpoint, save_checkpoint, take_over

#: Iterations between two lines of metrics.
LOG_EVERY = 10
#: The first iterations, in which the values of all answers are looked at; later only in those that are logged, because
#: on a GPU that waits.
CHECKED = 3


@dataclass(frozen=True)
class Task:
    """One model to train."""

    dataset: Dataset
    stream: str
    settings: config.StageSettings
    seed: int  # of this model, which governs everything
    device: torch.device
    registry: Registry
    checkpoint: Path  # where it is saved, and continued from if it is there
    predecessor: Path | None = None  # the checkpoint whose weights it takes over
    lessons: Mapping[str, FloatArray] | None = None  # what a teacher says of each training video, (C, T)


def train(
    task: Task,
    moments: Moments | None,
    report: Callable[[int, dict[str, float]], None],
    fresh: Callable[[list[str]], None],
) -> None:
    """Train a model into its checkpoint, or the rest of it if the checkpoint is there.

    Args:
        task: what to train.
        moments: of the training subset's features; not needed where the checkpoint is there.
        report: called with every `LOG_EVERY`th iteration and its loss terms, and with the last one's.
        fresh: called with the names of the parameters that were not taken over, where there is a predecessor.

    Raises:
        RunError: the decoder refused a video, the loss became NaN or infinite, or the checkpoint does not fit.
        PluginError: a component fails otherwise.
    """
    settings, dataset = task.settings.training, task.dataset
    model, optimizer, start = _begin(task, moments, fresh)
    index = dataset.streams.index(task.stream)
    sampler = task.registry.build("sampler", settings.sampler)
    clip = task.registry.build("clip", settings.clip)
    instances = dataset.targets(dataset.training)
    labels = (instances > 0).astype(np.float64)
    for done in range(start + 1, settings.iterations + 1):
        logs = done % LOG_EVERY == 0 or done == settings.iterations
        saves = done % settings.checkpoint_every == 0 or done == settings.iterations
        what = f"fails in iteration {done} of training, stream {task.stream!r}"
        with during(what, checked=logs or done <= start + CHECKED, finite=done == 1):
            try:
                chosen = sampler(labels, settings.batch_size, task.seed, done - 1)
            except ValueError as error:  # by which it refused nothing before training
                raise PluginError(f"{sampler.component} {what}: {failure(error)}") from error
            generator = np.random.default_rng([task.seed, index, done - 1])
            rows = clip_rows(dataset, [dataset.training[i] for i in chosen], task.stream, clip, generator)
            batch = make_batch(dataset, task.stream, chosen, rows, model, instances, task.lessons)
            with seeded(task.seed, index, done):
                terms = _step(model, optimizer, batch, task, chosen, done)
        if logs or saves:
            values = _finite(terms, task.stream, done)
            if logs:
                report(done, values)
        if saves:
            save_checkpoint(task.checkpoint, model, optimizer, done, dataset.classes)


def _begin(
    task: Task, moments: Moments | None, fresh: Callable[[list[str]], None]
) -> tuple[StreamModel, torch.optim.Optimizer, int]:
    """The model as it was saved, or as it starts; its optimiser; and the iterations that it has seen."""
    dataset, settings = task.dataset, task.settings
    with seeded(task.seed, dataset.streams.index(task.stream), 0):
        model = build_model(settings, task.registry, dataset.dimensions(task.stream), moments).to(task.device)
    model.train()
    for name, parameter in model.decoder.named_parameters():
        if name.startswith(tuple(settings.stage.frozen)):
            parameter.requires_grad_(False)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(
        learnt, lr=settings.training.learning_rate, weight_decay=settings.training.weight_decay
    )
    if task.checkpoint.exists():
        return model, optimizer, load_checkpoint(task.checkpoint, model, dataset.classes, optimizer)
    if task.predecessor is not None:
        fresh(take_over(task.predecessor, model))
    return model, optimizer, 0


def _step(
    model: StreamModel, optimizer: torch.optim.Optimizer, batch: Batch, task: Task, chosen: IntArray, done: int
) -> dict[str, Tensor]:
    """One step down the sum of all loss terms."""
    try:
        terms = model.terms(batch)
    except Refusal as error:
        videos = [task.dataset.training[i] for i in chosen]
        raise RunError(f"stream {task.stream!r}, {error.of(videos)}") from error
    optimizer.zero_grad(set_to_none=True)
    loss = torch.stack(list(terms.values())).sum()
    if not loss.requires_grad:  # zero, as where no loss has anything to say of these videos
        return terms
    try:
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Any component's backward may run here, and the optimiser's memory: nobody can be blamed.
        raise RunError(
            f"stream {task.stream!r}: the gradient cannot be computed in iteration {done}: {failure(error)}"
        ) from error
    return terms


def _finite(terms: Mapping[str, Tensor], stream: str, done: int) -> dict[str, float]:
    values = {name: float(term.detach()) for name, term in terms.items()}
    values["loss"] = float(torch.stack([term.detach() for term in terms.values()]).sum())
    if not all(math.isfinite(value) for value in values.values()):
        raise RunError(
            f"stream {stream!r}: the loss is not finite at iteration {done}: {values}; "
            "lower training.learning_rate or standardise the features"
        )
    return values
