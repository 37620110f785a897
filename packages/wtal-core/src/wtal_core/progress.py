"""Progress of long work: bars on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import rich.progress

#: Called with how much is done and a note to show beside the bar.
Advance = Callable[[int, str], None]


class Progress(Protocol):
    """Shows stages of work."""

    def stage(self, description: str, total: int) -> Advance:
        """Begin a stage of `total` steps."""


class Silent:
    """Shows nothing; the default of every function that takes a `Progress`."""

    def stage(self, description: str, total: int) -> Advance:  # noqa: ARG002 - the shape of Progress
        """Begin a stage that nobody sees."""
        return lambda _done, _note: None


class _Bars:
    def __init__(self, progress: rich.progress.Progress) -> None:
        self._progress = progress

    def stage(self, description: str, total: int) -> Advance:
        task = self._progress.add_task(description, total=total, note="")
        return lambda done, note: self._progress.update(task, completed=done, note=note)


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars with a note (the loss) and the time left, on standard error if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Bars(progress)
