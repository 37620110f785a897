"""Machine code by numba, kept on disk as far as the disk allows. Imports numba where a function is to be compiled."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class MachineCode:
    """A function that numba compiles and caches on disk, or only compiles where its cache cannot be used.

    numba raises whatever is wrong with its cache (a truncated file, a full disk, no folder to write to) at the call,
    before the function runs, and would again at every later call. Such a function is compiled without, and a
    RuntimeWarning says once for each folder what to delete.

    The cache is read with pickle, by numba: who may write to its folder may run code in this process.

    Args:
        function: what numba compiles in nopython mode. It raises nothing of its own.
        options: of `numba.njit`.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        import numba

        self.py_func = function
        self._njit = numba.njit(**options)
        self._cached: Any = None  # the dispatcher, as long as it is one that reads and writes the cache
        try:
            self._cached = numba.njit(cache=True, **options)(function)
        except Exception as error:  # no folder can be found for it, or numba's own settings are wrong
            _warn(
                "",
                f"numba has no cache for {function.__name__}, so it is compiled in every process: {_why(error)}. "
                "Set NUMBA_CACHE_DIR to a folder that can be written to",
            )
        self.dispatcher: Any = self._cached or self._njit(function)

    def __call__(self, *arguments: Any) -> Any:
        """Run the machine code, compiled for the types of these arguments if they are new."""
        cached = self._cached
        try:
            return self.dispatcher(*arguments)
        except Exception as error:
            if cached is None:
                raise
            uncached = self._njit(self.py_func)
            result = uncached(*arguments)  # if this fails too, then it was not for the cache
            folder = cached.stats.cache_path
            self.dispatcher, self._cached = uncached, None
            files = Path(folder) / f"{Path(self.py_func.__code__.co_filename).stem}.*.nb[ic]"
            _warn(
                folder,
                f"numba's cache of {self.py_func.__name__} cannot be used, so it is compiled in every process: "
                f"{_why(error)}. Delete {files}, and see that the folder can be written to and the disk has room",
            )
            return result


_warned: set[str] = set()  # folders


def _warn(folder: str, message: str) -> None:
    if folder not in _warned:
        _warned.add(folder)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
