"""One seed governs everything: each draw is a function of the seed and of what is drawn for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(seed: int, stage: int, member: int) -> int:
    """The seed of one of a stage's models; the first of the first stage has the experiment's own."""
    if stage == member == 0:
        return seed
    return int(np.random.SeedSequence([seed, stage, member]).generate_state(1, np.uint64)[0])


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Torch's generators as a function of `key`; the caller's state is put back."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed: without a GPU it records a traceback for later at every call, which takes milliseconds.
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
