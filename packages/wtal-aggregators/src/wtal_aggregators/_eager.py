"""When an operation may run code of its own instead of PyTorch operators that others can see through."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def keeps_tensors_plain() -> bool:
    """Whether a tensor made here is one that may be kept: no tracer, transform or dispatch mode wraps or records it."""
    return not (is_tracing() or transforms_active() or dispatch_modes())


def is_eager(*tensors: Tensor) -> bool:
    """Whether nothing but reverse-mode autograd watches: no compiler, tracer, transform, dispatch mode or subclass."""
    if (
        torch.compiler.is_compiling()
        or is_tracing()
        or transforms_active()
        or dispatch_modes()
        or getattr(forward_ad, "_current_level", 0) >= 0
    ):
        return False
    for tensor in tensors:  # all() would make a generator, which a short pooling notices
        if (type(tensor) is not Tensor and type(tensor) is not nn.Parameter) or _is_batched(tensor):
            return False
    return True


def constant_when_compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`torch.compiler.assume_constant_result`, but that imports the compiler, which takes a second."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def autocasts(tensor: Tensor) -> bool:
    """Whether autocast is on for the tensor's device."""
    if not _autocasts_anywhere():
        return False
    device = tensor.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


# PyTorch asks itself these but does not publish them. Should they go, plain operators serve every call.
is_tracing = getattr(torch._C, "_is_tracing", lambda: True)
transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: True)
_autocasts_anywhere = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)
_is_batched = getattr(  # by autograd.grad(is_grads_batched=True)
    getattr(torch._C, "_functorch", None), "is_legacy_batchedtensor", lambda _: True
)
