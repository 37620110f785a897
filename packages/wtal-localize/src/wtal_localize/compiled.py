"""Loops that run as plain Python on the first small inputs and compiled from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

SMALL = 256  # elements: a quadratic loop over them, interpreted, takes tens of milliseconds
PATIENCE = 4096  # elements in small inputs: interpreted, about as long as importing numba and loading compiled code


class Compiled(Generic[R]):
    """A loop over arrays, compiled by numba on demand and cached on disk.

    Importing numba and loading a cached loop takes half a second, compiling it several: a short script should not
    wait for that. So small inputs are interpreted until they add up. Both ways give the same bits.
    """

    def __init__(self, loop: Callable[..., R]) -> None:
        self.loop = loop
        self.machine_code: Callable[..., R] | None = None
        self.interpreted = 0

    def __call__(self, array: Any, *arguments: Any) -> R:
        """Run the loop; the size of the input is the length of the first argument."""
        if self.machine_code is None:
            self.interpreted += len(array)
            if len(array) <= SMALL and self.interpreted <= PATIENCE:
                return self.loop(array, *arguments)
            self.machine_code = _compile(self.loop)
        return self.machine_code(array, *arguments)


def _compile(loop: Callable[..., R]) -> Callable[..., R]:
    import numba

    try:
        compiled: Callable[..., R] = numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # nowhere to keep a cache, as in a read-only installation without a home
        compiled = numba.njit(nogil=True)(loop)
    return compiled
