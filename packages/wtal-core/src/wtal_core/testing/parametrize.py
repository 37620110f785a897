"""One pytest result for each clause of a contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtal_core.testing.trial import check_clause, clauses, unwaived

if TYPE_CHECKING:
    import pytest


def parametrize_with_clauses(
    kind: str,
    make: Callable[..., Any],
    *,
    write: Callable[[Path, Any], object] | None = None,
    waive: Mapping[str, str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrize a test's argument `clause`: a function of no arguments that tries one clause, named for it.

    Args:
        kind: as of `check`, like all that follows.
        make: builds the component.
        write: writes what a reader reads.
        waive: clauses to skip, by name, each with the reason that pytest prints.

    Raises:
        ValueError: a waiver names no clause, or gives no reason.
    """
    import pytest  # here, because a kit used by hand needs none

    waived = waive or {}
    tried = unwaived(kind, waived)
    return pytest.mark.parametrize(
        "clause",
        [
            pytest.param(
                partial(check_clause, kind, one, make, write),
                id=one.name,
                marks=() if one in tried else pytest.mark.skip(reason=f"waived: {waived[one.name]}"),
            )
            for one in clauses(kind)
        ],
    )
