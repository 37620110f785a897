"""Reading ahead: while one iteration computes, a thread reads what the next one sees."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(iterations: Iterable[int], begin: Callable[[int], Callable[[], T]]) -> Generator[T, None, None]:
    """What iterations see, in order, each read while the caller is busy with the one before.

    Args:
        iterations: their numbers.
        begin: decides what an iteration sees, in the caller's thread and one iteration early, and returns what reads
            it, which the thread calls, never two at once. What either of them raises is raised when the iteration's
            turn comes.
    """
    with ThreadPoolExecutor(1, "features") as thread:
        begun = (_begun(thread, begin, number) for number in iterations)
        coming = next(begun, None)
        while coming is not None:
            seen = coming.result()
            coming = next(begun, None)
            yield seen


def _begun(thread: Executor, begin: Callable[[int], Callable[[], T]], number: int) -> Future[T]:
    try:
        read = begin(number)
    except Exception as error:  # it has its turn
        failed: Future[T] = Future()
        failed.set_exception(error)
        return failed
    return thread.submit(read)
