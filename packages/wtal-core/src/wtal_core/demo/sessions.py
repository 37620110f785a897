"""Sessions: untrimmed recordings with several actions in a moving background, and their snippet features.

A session is one person and one arm: crops of background exercise and of actions by turns, joined end to end. Two of the
seven exercises are background, so that "the wrist moves" tells nothing. Joins are abrupt, as in an edited video.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from wtal_core.demo.recordings import FRAMES_PER_SECOND, Recording
from wtal_core.files import replacing, write

BACKGROUND = ("PEN", "TRAP")
EVALUATION_PEOPLE = (8, 9, 10)
SESSIONS_PER_PERSON = 16
STREAMS = {"accelerometer": slice(0, 3), "gyroscope": slice(3, 6)}
WINDOW = 100  # frames, 2 s
STRIDE = 25  # frames, 0.5 s
SPECTRUM = 20  # bins of 0.5 Hz, up to 10 Hz: the wrist moves no faster


class Session(NamedTuple):
    """A composed recording of one person."""

    name: str
    subset: str  # "training" or "evaluation"; nobody is in both
    signal: NDArray[np.float64]  # (N, 6) at 50 Hz
    instances: list[tuple[str, float, float]]  # exercise, start and end in seconds


def compose(recordings: Sequence[Recording], seed: int = 0) -> Iterator[Session]:
    """Sessions of every person: one to three classes, three to seven instances, about 1.5 minutes each."""
    generator = np.random.default_rng(seed)
    by_source = {(r.person, r.arm, r.exercise): r.signal for r in recordings}
    actions = sorted({r.exercise for r in recordings} - set(BACKGROUND))
    for person in sorted({r.person for r in recordings}):
        for number in range(SESSIONS_PER_PERSON):
            arm = str(generator.choice(["left", "right"]))
            classes = generator.choice(actions, size=generator.integers(1, 4), replace=False)
            # Each class once, the rest at random.
            extra = generator.choice(classes, size=generator.integers(3, 8) - len(classes))
            order = generator.permutation(np.concatenate([classes, extra]))
            crops, instances, frames = [], [], 0
            for exercise in (*order, None):
                background = by_source[person, arm, str(generator.choice(BACKGROUND))]
                crops.append(_crop(background, 4, 12, generator))
                frames += len(crops[-1])
                if exercise is None:
                    break
                crops.append(_crop(by_source[person, arm, str(exercise)], 5, 15, generator))
                start, frames = frames, frames + len(crops[-1])
                instances.append((str(exercise), start / FRAMES_PER_SECOND, frames / FRAMES_PER_SECOND))
            subset = "evaluation" if person in EVALUATION_PEOPLE else "training"
            yield Session(f"person-{person:02}-{number:02}", subset, np.concatenate(crops), instances)


def snippet_features(signal: NDArray[np.float64]) -> NDArray[np.float32]:
    """Statistics and spectra of sliding windows of one sensor.

    Args:
        signal: (N, 3) at 50 Hz, with N >= WINDOW.

    Returns:
        (T, 104): for each axis and for the magnitude, mean, standard deviation, minimum, maximum, median and mean
        absolute difference of neighbours; then the logarithm of the power in `SPECTRUM` bins of 0.5 Hz, from 0.5 Hz on.
    """
    channels = np.concatenate([signal, np.linalg.norm(signal, axis=1, keepdims=True)], axis=1)
    windows = sliding_window_view(channels, WINDOW, axis=0)[::STRIDE]  # (T, 4, WINDOW)
    statistics = [
        windows.mean(-1),
        windows.std(-1),
        windows.min(-1),
        windows.max(-1),
        np.median(windows, -1),
        np.abs(np.diff(windows, axis=-1)).mean(-1),
    ]
    tapered = (windows - windows.mean(-1, keepdims=True)) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(tapered, axis=-1)[..., 1 : SPECTRUM + 1]) ** 2
    features = np.concatenate([np.stack(statistics, -1), np.log(power + 1e-6)], axis=-1)
    return features.reshape(len(features), -1).astype(np.float32)


def write_dataset(sessions: Sequence[Session], folder: Path) -> None:
    """Write `annotations.json` and `features/STREAM/SESSION.npy`, as a user with recordings of their own would."""
    for stream, axes in STREAMS.items():
        for session in sessions:
            features = snippet_features(session.signal[:, axes])
            with replacing(folder / "features" / stream / f"{session.name}.npy") as file, file.open("wb") as opened:
                np.save(opened, features)
    database = {
        session.name: {
            "subset": session.subset,
            "duration": len(session.signal) / FRAMES_PER_SECOND,
            "annotations": [{"label": label, "segment": [start, end]} for label, start, end in session.instances],
        }
        for session in sessions
    }
    write(folder / "annotations.json", json.dumps({"database": database}, indent=1))


def _crop(
    signal: NDArray[np.float64], shortest: float, longest: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """A contiguous stretch of random length, in seconds, at a random place."""
    frames = int(generator.uniform(shortest, longest) * FRAMES_PER_SECOND)
    start = generator.integers(0, len(signal) - frames + 1)
    return signal[start : start + frames]
