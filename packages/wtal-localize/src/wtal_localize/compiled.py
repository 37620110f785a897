"""Loops that NumPy stands in for on the first small inputs, and that run compiled from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from wtal_localize.machine_code import MachineCode

R = TypeVar("R")

PATIENCE = 8  # times `small`: by then NumPy has taken about as long as importing numba and loading compiled code


class Compiled(Generic[R]):
    """A loop over arrays, compiled by numba on demand and cached on disk, and its twin in NumPy.

    Importing numba and loading a cached loop takes half a second, compiling it one or more: a short script should not
    wait for that. So the twin serves small inputs until they add up. Both give the same bits.

    Args:
        loop: what numba compiles.
        twin: the same in NumPy.
        small: elements of which the twin makes at most some tenths of a second.
    """

    def __init__(self, loop: Callable[..., R], twin: Callable[..., R], small: float) -> None:
        self.loop = loop
        self.twin = twin
        self.small = small
        self.machine_code: Callable[..., R] | None = None
        self.served = 0

    def __call__(self, array: Any, *arguments: Any) -> R:
        """Run the loop or its twin; the size of the input is the length of the first argument."""
        if self.machine_code is None:
            self.served += len(array)
            if len(array) <= self.small and self.served <= PATIENCE * self.small:
                return self.twin(array, *arguments)
            self.machine_code = MachineCode(self.loop, nogil=True)
        return self.machine_code(array, *arguments)
