"""Loops that run as plain Python on the first small inputs and compiled from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = 256  # elements: a quadratic loop over them, interpreted, takes tens of milliseconds
PATIENCE = 4096  # elements in small inputs: interpreted, about as long as importing numba and loading compiled code


class Compiled:
    """A loop over arrays, compiled by numba on demand and cached on disk.

    Importing numba and loading a cached loop takes half a second, compiling it several: a short script should not
    wait for that. So small inputs are interpreted until they add up. Both ways give the same bits.
    """

    def __init__(self, loop: Callable[..., None]) -> None:
        self.loop = loop
        self.machine_code: Callable[..., None] | None = None
        self.interpreted = 0

    def __call__(self, size: int, *arguments: Any) -> None:
        """Run the loop on an input of `size` elements; arrays are changed in place."""
        if self.machine_code is None:
            self.interpreted += size
            if size <= SMALL and self.interpreted <= PATIENCE:
                return self.loop(*arguments)
            self.machine_code = _compile(self.loop)
        return self.machine_code(*arguments)


def _compile(loop: Callable[..., None]) -> Callable[..., None]:
    import numba

    try:
        compiled: Callable[..., None] = numba.njit(cache=True, nogil=True)(loop)
    except RuntimeError:  # nowhere to keep a cache, as in a read-only installation without a home
        compiled = numba.njit(nogil=True)(loop)
    return compiled
