"""Errors that a user can fix. Their message names the file, video, key or plugin, and says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches


class WtalError(Exception):
    """Base of all errors that the command line prints without a traceback, with exit code 2."""


class ConfigError(WtalError):
    """The experiment file, or a value set on the command line, is wrong."""


class DataError(WtalError):
    """Annotations or features are missing, malformed, or do not fit each other."""


class PluginError(WtalError):
    """A component is unknown, ambiguous, quarantined, fails, or was given an option that it does not have."""


class RunError(WtalError):
    """A run directory cannot be written, read or continued."""


class Problems(WtalError):  # noqa: N818 - a collection of errors
    """Several errors found in one pass; `problems` holds them in the order in which they were found."""

    def __init__(self, problems: Sequence[WtalError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[Problems], tuple[tuple[WtalError, ...]]]:
        # An exception is pickled by its message, which is not what this one is made from.
        return type(self), (self.problems,)


def together(problems: Sequence[WtalError]) -> WtalError:
    """One error for all problems: the only one, or `Problems`."""
    return problems[0] if len(problems) == 1 else Problems(problems)


def one_line(error: BaseException | str) -> str:
    """The message of somebody else's error, without its line breaks."""
    try:
        return " ".join(str(error).split())
    except Exception:  # it is somebody else's __str__ too
        return "(its message cannot be shown)"


def failure(error: BaseException) -> str:
    """What somebody else's code raised, in a line: type and message, cut where it prints a whole array."""
    message = one_line(error)
    return f"{type(error).__name__}: {message if len(message) <= 400 else message[:400] + ' ...'}"


def nearest(name: str, known: Sequence[str]) -> str:
    """A question that names those nearest to a misspelt name; empty if none is near."""
    near = get_close_matches(name, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else ""


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A clause that lists the names nearest to a misspelt one, or all of them if none is near."""
    return nearest(name, known) or f"known: {', '.join(sorted(known)) or 'none'}"


#: How many problems of one form are told before the rest is counted.
TOLD = 10


def abridged(problems: Iterable[WtalError], what: str) -> Iterator[WtalError]:
    """The first problems of one form, and how many `what` follow: a wrong folder must not print a line a video."""
    count = 0
    for problem in problems:
        count += 1
        if count <= TOLD:
            yield problem
    if count > TOLD:
        yield DataError(f"... and {count - TOLD} more {what}")
