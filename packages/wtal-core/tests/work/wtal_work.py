"""Pieces of work that other processes find by the name of this module."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

from wtal_core.errors import WtalError


def squared(number):
    return number * number


def deadly(folder):
    """Kill this process, every time, and leave a file that says so."""
    Path(folder, f"{time.monotonic_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def deadly_once(folder):
    mark = Path(folder, "was-here")
    if not mark.exists():
        mark.touch()
        os._exit(3)
    return "alive"


def failing(message):
    raise WtalError(message)


def wrong():
    raise ZeroDivisionError("a bug")


def leaving():
    sys.exit("enough")


def warning(text):
    warnings.warn(text, stacklevel=1)


class StrangeError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def strange():
    raise StrangeError(1, 2)


def lasting(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


def note(folder, number):
    Path(folder, f"note-{number}").touch()
