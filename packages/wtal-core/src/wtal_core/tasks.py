"""Work on several processors: tasks through `concurrent.futures.Executor`, with processes here or on a Dask cluster.

    with processes(4) as executor:  # or dask("tcp://scheduler:8786")
        results = perform(tasks, executor, advance)

A task names a function of a module and its arguments, which travel by pickle between our own processes; what it makes
for others goes to files, on a cluster in a folder that all its machines share. A task must be one that can be
computed again: a worker that dies costs its task alone, which is then given to another.

Python breaks its whole pool of processes when one of them dies and does not say whose task it had. So each process of
`processes` is a pool of its own: the others do not notice, and a task that keeps killing is known. A Dask scheduler
blames every task that it had given to the worker that died, so that a task near a deadly one may be given up with it;
`perform` gives those again, one after the other.

What a task computes must not depend on who computes it: torch's threads are the experiment's own key `threads`, and
tasks take turns inside one process, because torch's random numbers are the process's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

from wtal_core.errors import ConfigError, Problems, RunError, WtalError, failure, one_line
from wtal_core.progress import Advance

#: How often a task is given to a process here before it is given up as the cause of their deaths.
TRIES = 3


class Task(NamedTuple):
    """One piece of work."""

    name: str  #: for people, different from all others'
    function: Callable[..., Any]  #: of a module, so that another process finds it
    arguments: tuple[Any, ...] = ()  #: which pickle can carry, as it can the result


class _Outcome(NamedTuple):
    """What came of a task, as plain text where it failed: an exception of a plugin need not survive pickle."""

    result: Any = None
    problems: tuple[str, ...] = ()  #: that a user can fix
    bug: str = ""  #: a traceback
    warned: tuple[str, ...] = ()


def perform(tasks: Sequence[Task], executor: Executor, advance: Advance) -> dict[str, Any]:
    """Have every task computed, whatever becomes of the others; results by name, in the order of the tasks.

    An interrupt, or any other exception here, cancels what has not begun, and ends what our own processes compute.

    Args:
        tasks: with different names.
        executor: of `processes` or `dask`.
        advance: told how many are done, and the name of the last.

    Raises:
        Problems: tasks failed by something for a user to fix, or killed their workers; a line each, with its name.
        RunError: a cluster let go of them.
        RuntimeError: a task failed by a bug.
    """
    outcomes: dict[str, _Outcome] = {}
    try:
        lost = _given(tasks, executor, outcomes, advance)
        if len(lost) > 1:
            alone = [_given([task], executor, outcomes, advance) for task in tasks if task.name in lost]
            lost = {name: outcome for one in alone for name, outcome in one.items()}
        outcomes |= lost
    except BaseException:
        executor.shutdown(wait=False)
        raise
    for text in dict.fromkeys(text for outcome in outcomes.values() for text in outcome.warned):
        warnings.warn(text, stacklevel=2)
    failed = [RunError(f"{task.name}: {problem}") for task in tasks for problem in outcomes[task.name].problems]
    bugs = [f"{task.name}: {outcomes[task.name].bug}" for task in tasks if outcomes[task.name].bug]
    if bugs:
        raise RuntimeError("\n".join([*map(str, failed), *bugs]))
    if failed:
        raise Problems(failed)
    return {task.name: outcomes[task.name].result for task in tasks}


def _given(
    tasks: Sequence[Task], executor: Executor, outcomes: dict[str, _Outcome], advance: Advance
) -> dict[str, _Outcome]:
    """Run tasks side by side and fill in what came of them; return it of those that their workers did not finish."""
    futures = {executor.submit(_attempt, task.function, task.arguments): task for task in tasks}
    lost: dict[str, _Outcome] = {}
    for future in as_completed(futures):
        name = futures[future].name
        outcome, certain = _outcome(future)
        (outcomes if certain else lost)[name] = outcome
        advance(len(outcomes), name)
    return lost


def _outcome(future: Future[_Outcome]) -> tuple[_Outcome, bool]:
    """What came of a task, and whether it is certain that the task itself is to blame."""
    try:
        return future.result(), True
    except WtalError as error:
        return _Outcome(problems=(one_line(error),)), True
    except CancelledError:
        raise RunError("the cluster has let go of the tasks; look at its scheduler, then go on with --resume") from None
    except Exception as error:
        return _Outcome(problems=(failure(error),)), False


#: Tasks that share a process, as threads of a Dask worker do, take turns.
_turn = threading.Lock()


def _attempt(function: Callable[..., Any], arguments: tuple[Any, ...]) -> _Outcome:
    """In the worker: compute, and make text of what a plugin may raise."""
    with _turn, warnings.catch_warnings(record=True) as caught:
        try:
            outcome = _Outcome(function(*arguments))
        except WtalError as error:
            outcome = _Outcome(problems=tuple(str(error).splitlines()))
        except BaseException:  # an exit too: it would end the worker, or the main process
            outcome = _Outcome(bug=traceback.format_exc())
    return outcome._replace(warned=tuple(dict.fromkeys(one_line(warning.message) for warning in caught)))


@contextmanager
def pool(workers: int | None, dask_address: str | None, tasks: int) -> Iterator[Executor]:
    """The executor that a command's `--workers` and `--dask` ask for: by default, processes here, one a core.

    Raises:
        ConfigError: both are given; or as `dask`.
        RunError: as `dask`.
    """
    if dask_address is not None and workers is not None:
        raise ConfigError("--workers counts processes on this machine, and --dask computes elsewhere; give one of them")
    chosen = processes(min(workers or _cores(), tasks)) if dask_address is None else dask(dask_address)
    with chosen as executor:
        yield executor


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """An executor with so many processes on this machine.

    They are fresh, because a forked one inherits torch's threads in whatever state they were, and end with this
    process, however that ends.
    """
    with _Processes(workers) as executor:
        yield executor


class _Processes(ThreadPoolExecutor):
    """Threads that hand their task to a process of their own and wait for it."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._spawn = multiprocessing.get_context("spawn")
        self._line, self._lifeline = self._spawn.Pipe(duplex=False)
        self._idle: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(self._process())

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Compute in one of the processes; raises WtalError if it dies every time."""
        return super().submit(self._compute, function, arguments, keywords)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: when they are done, or at once if `wait` is false."""
        if not wait:
            self._lifeline.close()
        super().shutdown(wait, cancel_futures=cancel_futures or not wait)
        while wait and not self._idle.empty():
            self._idle.get().shutdown()

    def _process(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._spawn, _begin, (self._line,))

    def _compute(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        process = self._idle.get()
        try:
            for _ in range(TRIES):
                try:
                    return process.submit(function, *arguments, **keywords).result()
                except BrokenProcessPool:
                    if self._lifeline.closed:
                        raise
                    process.shutdown()
                    process = self._process()
        finally:
            self._idle.put(process)
        raise RunError(
            f"its process was killed {TRIES} times while it ran; look for a lack of memory, or a crash in a plugin"
        )


def _begin(line: Connection) -> None:
    """In a new process: leave Ctrl-C to the one that gave the work, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()


def _end_with(line: Connection) -> None:
    try:
        line.recv_bytes()  # nobody sends: it returns when the other end is closed
    except (EOFError, OSError):
        os._exit(1)


@contextmanager
def dask(address: str) -> Iterator[Executor]:
    """The executor of an existing Dask cluster, whose workers see the same folders as this process.

    Raises:
        ConfigError: the package distributed is not installed.
        RunError: no scheduler answers there.
    """
    try:
        from distributed import Client
        from distributed.comm import connect
    except ImportError:
        raise ConfigError("--dask needs the package distributed: pip install 'wtal-core[cluster]'") from None

    async def call() -> None:
        await (await connect(address, timeout=10)).close()

    try:
        asyncio.run(call())  # first, because a client that finds nobody waits a minute for its own end
        client = Client(address, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"--dask {address}: no Dask scheduler answers there ({failure(error)}); give its address, such as "
            "tcp://HOST:8786"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            warnings.warn(f"--dask {address}: the cluster has no worker yet; tasks wait for one", stacklevel=2)
        # Not pure: the results of an earlier call, which a cluster may keep, are not this one's.
        with client.get_executor(pure=False) as executor:
            yield executor
