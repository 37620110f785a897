"""Training of one stream's model from video-level labels.

All randomness of iteration i is a function of (seed, stream, i): which videos, which snippets, which dropout. A resumed
run therefore needs no generator state to equal an uninterrupted one, only the model's and the optimiser's tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wtal_core import config
from wtal_core.annotations import Video
from wtal_core.contracts import IntArray, Targets
from wtal_core.dataset import Dataset, sample_segments
from wtal_core.errors import DataError, PluginError, RunError, WtalError, one_line
from wtal_core.files import replacing
from wtal_core.model import StreamModel, build_model, torch_device
from wtal_core.plugins import Registry

#: Iterations between two lines of metrics.
LOG_EVERY = 10


class Metric(NamedTuple):
    """One line of metrics: loss terms by name, their sum under `loss`."""

    stream: str
    iteration: int
    terms: dict[str, float]


def train_stream(
    dataset: Dataset,
    stream: str,
    experiment: config.Experiment,
    registry: Registry,
    checkpoint: Path | None = None,
    report: Callable[[Metric], None] = lambda _: None,
) -> StreamModel:
    """Train one stream's model, or continue from `checkpoint` if that file exists.

    Args:
        dataset: videos, labels, features.
        stream: which stream's features.
        experiment: the resolved experiment; its seed governs everything.
        registry: where components are found.
        checkpoint: where to save; None keeps the model in memory alone.
        report: called with every `LOG_EVERY`th iteration's losses, and with the last one's.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        RunError: the decoder refused a video, the loss became NaN or infinite, or the checkpoint does not fit.
        PluginError: the decoder or the aggregator fails otherwise.
    """
    settings = experiment.training
    device = torch_device(experiment)
    index = dataset.data.streams.index(stream)
    with _seeded(experiment.seed, index, 0):
        model = build_model(
            experiment,
            registry,
            dataset.feature_dims[stream],
            len(dataset.classes),
            (dataset.read(video, stream) for video in dataset.training),
        ).to(device)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    start = 0
    if checkpoint is not None and checkpoint.exists():
        start = load_checkpoint(checkpoint, model, dataset.classes, optimizer)
    instances = dataset.targets(dataset.training)
    for iteration in range(start, settings.iterations):
        generator = np.random.default_rng([experiment.seed, index, iteration])
        batch = batch_indices(experiment.seed, len(dataset.training), settings.batch_size, iteration)
        features = torch.from_numpy(_sample(dataset, stream, batch, settings.snippets, generator)).to(device)
        targets = _targets(instances[batch], dataset.data.counts, device)
        what = f"fails in iteration {iteration + 1} of training, stream {stream!r}"
        with _seeded(experiment.seed, index, iteration + 1), model.blaming(what):
            try:
                decoding = model(features, None, targets)
                terms: dict[str, Tensor] = model.decoder.loss(decoding, targets)
            except ValueError as error:
                if not hasattr(error, "position"):
                    raise
                raise RunError(f"stream {stream!r}, {_named(error, [dataset.training[i] for i in batch])}") from error
            loss = torch.stack(list(terms.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        done = iteration + 1
        saves = checkpoint is not None and (done % settings.checkpoint_every == 0 or done == settings.iterations)
        logs = done % LOG_EVERY == 0 or done == settings.iterations
        if logs or saves:
            values = {name: float(term.detach()) for name, term in terms.items()} | {"loss": float(loss.detach())}
            if not all(math.isfinite(value) for value in values.values()):
                raise RunError(
                    f"stream {stream!r}: the loss is not finite at iteration {done}: {values}; "
                    "lower training.learning_rate or standardise the features"
                )
            if logs:
                report(Metric(stream, done, values))
        if checkpoint is not None and saves:
            save_checkpoint(checkpoint, model, optimizer, done, dataset.classes)
    return model.eval()


def batch_indices(seed: int, videos: int, batch_size: int, iteration: int) -> IntArray:
    """The videos of one iteration: consecutive stretches of an endless row of shuffled epochs."""
    positions = np.arange(iteration * batch_size, (iteration + 1) * batch_size)
    epochs, offsets = positions // videos, positions % videos
    orders = {epoch: np.random.default_rng([seed, epoch]).permutation(videos) for epoch in np.unique(epochs)}
    return np.array([orders[epoch][offset] for epoch, offset in zip(epochs, offsets, strict=True)])


def save_checkpoint(
    path: Path, model: StreamModel, optimizer: torch.optim.Optimizer, iteration: int, classes: Sequence[str]
) -> None:
    """Write the model's and the optimiser's tensors, the iteration, and what the outputs mean, as safetensors.

    A tensor that has several names (tied weights, a module that is held twice) is written once, under the first. What a
    module does not count as its state, a buffer with `persistent=False`, is not written.

    Raises:
        PluginError: a component's state is not all tensors, or its parameters are no longer those that are trained.
        RunError: the file cannot be written.
    """
    tensors, tied = model_tensors(model)
    tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    names = [name for name, _ in model.named_parameters()]
    if list(map(id, model.parameters())) != list(map(id, optimizer.param_groups[0]["params"])):
        raise PluginError(
            f"{model.components['decoder']} cannot be saved: it, or its aggregator, replaced or tied parameters in "
            "training; do so when it is built"
        )
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[number]}.{key}": _plain(value) for key, value in state.items()}
    about: dict[str, Any] = {"iteration": iteration, "classes": list(classes)}
    if tied:
        about["tied"] = tied
    with replacing(path) as temporary:
        # One entry, because safetensors writes several in any order, and equal checkpoints must be equal to the byte.
        safetensors.torch.save_file(tensors, temporary, metadata={"wtal": json.dumps(about)})


def model_tensors(model: StreamModel) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a model's state, each once and with memory of its own, and the first name of each further name.

    Raises:
        PluginError: a module's extra state is not a tensor; what else there is could only be pickled.
    """
    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            module = name.rpartition(".")[0]
            raise PluginError(
                f"{model.component_of(name)} cannot be saved: the extra state of its module {module!r} is of type "
                f"{type(tensor).__name__}, and a checkpoint holds tensors only; let get_extra_state return a tensor, "
                "or register a buffer"
            )
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and first.setdefault(place, name) != name:
            tied[name] = first[place]
        else:
            tensors[name] = _plain(tensor)
    return tensors, tied


def _plain(tensor: Tensor) -> Tensor:
    """A copy that safetensors can write: in order, on the CPU, complex numbers as pairs."""
    tensor = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _restored(tensor: Tensor, like: Tensor) -> Tensor:
    """What `_plain` was given, where that was like another tensor."""
    return torch.view_as_complex(tensor) if like.is_complex() and tensor.shape == (*like.shape, 2) else tensor


def load_model_tensors(model: StreamModel, tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
    """Put what `model_tensors` gave into a model of the same kind.

    Raises:
        RuntimeError: names or shapes differ.
    """
    state = model.state_dict()
    given = {**tensors, **{name: tensors[origin] for name, origin in tied.items() if origin in tensors}}
    model.load_state_dict({name: _restored(t, state[name]) if name in state else t for name, t in given.items()})


class _About(msgspec.Struct):
    """What a checkpoint says beside its tensors."""

    iteration: int
    classes: list[str]
    tied: dict[str, str] = {}  #: further names of a tensor, and the one that it is stored under


_DELETE = "delete it, and the training of its stream starts again with --resume"


def checkpoint_iteration(path: Path) -> int:
    """How many iterations of training a checkpoint has seen.

    Raises:
        RunError: the file is no checkpoint.
    """
    return _about(path).iteration


def _about(path: Path) -> _About:
    try:
        with safe_open(path, framework="pt") as file:
            return msgspec.json.decode(file.metadata()["wtal"], type=_About)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise RunError(f"{path}: not a checkpoint: {one_line(error)}; {_DELETE}") from error


def load_checkpoint(
    path: Path, model: StreamModel, classes: Sequence[str], optimizer: torch.optim.Optimizer | None = None
) -> int:
    """Restore a model, and an optimiser if one is given; return the iteration.

    Raises:
        RunError: the file is unreadable, was trained for other classes, or holds other tensors than the model.
        PluginError: a component fails on its own state.
    """
    about = _about(path)
    if about.classes != list(classes):
        raise RunError(
            f"{path}: trained for the classes {', '.join(about.classes)}, but the data set now has "
            f"{', '.join(classes)}; set data.classes to the former"
        )
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: not a checkpoint: {one_line(error)}; {_DELETE}") from error
    parts = {
        part: {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
        for part in ("model.", "optimizer.")
    }
    with model.blaming(f"fails on the checkpoint {path}"):
        try:
            load_model_tensors(model, parts["model."], about.tied)
            if optimizer is not None:
                _load_optimizer(optimizer, model, parts["optimizer."])
        except RuntimeError as error:
            raise RunError(
                f"{path}: not a checkpoint of this experiment's model: {one_line(error)}; {_DELETE}"
            ) from error
    return about.iteration


def _load_optimizer(optimizer: torch.optim.Optimizer, model: StreamModel, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    numbers = {name: (number, parameter) for number, (name, parameter) in enumerate(model.named_parameters())}
    for entry, tensor in tensors.items():
        name, _, key = entry.rpartition(".")
        if name not in numbers:
            raise RuntimeError(f"optimiser state of a parameter {name!r}, which the model lacks")
        number, parameter = numbers[name]
        value = _restored(tensor, parameter)
        if value.dim() and value.shape != parameter.shape:
            raise RuntimeError(f"{key} of {name!r} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
        state.setdefault(number, {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def training_problems(dataset: Dataset, experiment: config.Experiment, registry: Registry) -> Iterator[WtalError]:
    """Yield what training would stumble over: a state that no checkpoint can hold, targets that the decoder refuses."""
    width = dataset.feature_dims[dataset.data.streams[0]]  # not any: a decoder may be particular about it
    model = build_model(experiment, registry, width, len(dataset.classes), videos=())
    try:
        with model.blaming("cannot be saved and restored"):
            tensors, tied = model_tensors(model)
            load_model_tensors(model, safetensors.torch.load(safetensors.torch.save(tensors)), tied)
    except PluginError as error:
        yield error
    yield from _target_problems(model, dataset, config.component(experiment.model.decoder)[0])


def _target_problems(model: StreamModel, dataset: Dataset, name: str) -> Iterator[WtalError]:
    """What the decoder of this name has against the training subset's labels and counts, if it says so."""
    check = getattr(model.decoder, "check_targets", None)
    if check is None:
        return
    try:
        with model.blaming("fails on the labels of the training subset"):
            check(_targets(dataset.targets(dataset.training), dataset.data.counts, torch.device("cpu")))
    except PluginError as error:
        refusal = error.__cause__
        if isinstance(refusal, ValueError):
            yield DataError(f"decoder {name!r}, {_named(refusal, dataset.training)}")
        else:
            yield error


def _named(error: ValueError, videos: Sequence[Video]) -> str:
    """A decoder's complaint with the video's name: it knows the place in the batch at most, as `error.position`."""
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return one_line(error)
    name = repr(videos[position].name)
    return f"video {name} {error.reason}" if hasattr(error, "reason") else f"video {name}: {one_line(error)}"


def _sample(
    dataset: Dataset, stream: str, batch: IntArray, snippets: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Features (B, T, D) of one random snippet per segment of each video of the batch."""
    videos = [dataset.training[i] for i in batch]
    rows = [sample_segments(dataset.length(video, stream), snippets, generator) for video in videos]
    return np.stack([dataset.read(video, stream, r) for video, r in zip(videos, rows, strict=True)])


def _targets(instances: NDArray[np.float64], counts: bool, device: torch.device) -> Targets:
    tensor = torch.from_numpy(instances).float().to(device)
    return Targets((tensor > 0).float(), tensor if counts else None)


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """Torch's generators as a function of `key`; the caller's state is put back."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed: without a GPU it records a traceback for later at every call, which takes milliseconds.
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
