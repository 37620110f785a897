"""Checkpoints: a model's and its optimiser's tensors, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import Parameter

from wtal_core.binding import blaming
from wtal_core.errors import PluginError, RunError, one_line
from wtal_core.files import replacing
from wtal_core.model import StreamModel


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
    learnt = dict(learnt_parameters(model))
    names = list(learnt)
    if list(map(id, learnt.values())) != list(map(id, optimizer.param_groups[0]["params"])):
        raise PluginError(
            f"{model.decode.component} cannot be saved: it, or its aggregator, replaced or tied parameters in "
            "training; do so when it is built"
        )
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[number]}.{key}": _plain(value) for key, value in state.items()}
    about: dict[str, Any] = {"iteration": iteration, "classes": list(classes)}
    if tied:
        about["tied"] = tied
    with replacing(path) as temporary:
        # One entry, because safetensors writes several in any order, and equal checkpoints must be equal to the byte.
        try:
            safetensors.torch.save_file(tensors, temporary, metadata={"wtal": json.dumps(about)})
        except SafetensorError as error:
            raise RunError(f"{path}: cannot write: {one_line(error)}") from error


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
    model.load_state_dict(_state(model, tensors, tied))


def _state(model: StreamModel, tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors by all of their names, as the model had them."""
    state = model.state_dict()
    given = {**tensors, **{name: tensors[origin] for name, origin in tied.items() if origin in tensors}}
    return {
        name: _restored(tensor, state[name]) if isinstance(state.get(name), Tensor) else tensor
        for name, tensor in given.items()
    }


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


def _tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Those of the model, and those of the optimiser."""
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: not a checkpoint: {one_line(error)}; {_DELETE}") from error
    model, optimizer = (
        {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
        for part in ("model.", "optimizer.")
    )
    return model, optimizer


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
    of_model, of_optimizer = _tensors(path)
    with blaming(model.decode.component, doing=f"fails on the checkpoint {path}"):
        try:
            load_model_tensors(model, of_model, about.tied)
            if optimizer is not None:
                _load_optimizer(optimizer, model, of_optimizer)
        except RuntimeError as error:
            raise RunError(
                f"{path}: not a checkpoint of this experiment's model: {one_line(error)}; {_DELETE}"
            ) from error
    return about.iteration


def _load_optimizer(optimizer: torch.optim.Optimizer, model: StreamModel, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    numbers = {name: (number, parameter) for number, (name, parameter) in enumerate(learnt_parameters(model))}
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


def take_over(path: Path, model: StreamModel) -> list[str]:
    """Put the tensors of another model's checkpoint that have the same names and shapes into a model.

    Returns:
        The names of the decoder's parameters that stay as they were built.

    Raises:
        RunError: the file is no checkpoint.
    """
    state = model.state_dict()
    taken = {
        name: tensor
        for name, tensor in _state(model, _tensors(path)[0], _about(path).tied).items()
        if isinstance(state.get(name), Tensor) and tensor.shape == state[name].shape
    }
    with blaming(model.decode.component, doing=f"fails on the checkpoint {path}"):
        model.load_state_dict(taken, strict=False)
    return [name for name, _ in model.decoder.named_parameters() if f"decoder.{name}" not in taken]


def learnt_parameters(model: StreamModel) -> list[tuple[str, Parameter]]:
    """The parameters that an optimiser moves, with their names: all but the frozen ones."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
