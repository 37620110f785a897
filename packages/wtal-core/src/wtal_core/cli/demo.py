"""`wtal demo`: the whole job on real recordings, from nothing."""

from __future__ import annotations


def command() -> None:
    """Demo."""
