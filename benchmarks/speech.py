"""Short sounds in continuous speech, as a data set: when is the "sh" of a phrase that has one?

The recordings are real: 619 sentences that one man reads in Russian (100 minutes, 16 kHz), with the time of every
sound, by Nickolay V. Shmyrev, 2005, under a licence like BSD's. They are the voice `msu_ru_nsh_clunits` of Debian's
package `festvox-ru`:

    apt-get install festvox-ru
    python benchmarks/speech.py /usr/share/festival/voices/russian/msu_ru_nsh_clunits my-speech

A video is a phrase, from the middle of one pause to that of another, 2 seconds at least. The classes are nine
fricatives and affricates, 0.15 s long on average, which fill about a twentieth of a phrase; all other sounds are
background. Snippets of 20 ms have the logarithm of the energy in 40 bands of the mel scale. Of ten sentences in a row
seven are for training and three are the evaluation.
"""

from __future__ import annotations

import argparse
import json
import wave
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES = ("c", "ch", "f", "ff", "h", "sch", "sh", "zh", "zz")
PAUSE = "pau"
RATE = 16000  # frames a second
STRIDE, WINDOW = 320, 640  # frames
BANDS = 40
SHORTEST = 2.0  # seconds


class Sound(NamedTuple):
    """What is said, from start to end in seconds."""

    label: str
    start: float
    end: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voice", type=Path, help="folder of the voice, with wav/ and lab/")
    parser.add_argument("out", type=Path, help="folder for annotations.json and features/sound/")
    arguments = parser.parse_args()
    if not list((arguments.voice / "lab").glob("*.lab")):
        parser.error(f"{arguments.voice}: no lab/*.lab here; install Debian's festvox-ru, and give its voice's folder")
    count = write_dataset(arguments.voice, arguments.out)
    print(f"{arguments.out}: {count} phrases")


def write_dataset(voice: Path, out: Path) -> int:
    """Write `annotations.json` and `features/sound/PHRASE.npy`; return the number of phrases."""
    features = out / "features" / "sound"
    features.mkdir(parents=True, exist_ok=True)
    database = {}
    for number, file in enumerate(sorted((voice / "lab").glob("*.lab"))):
        sounds = read_sounds(file)
        signal = read_signal(voice / "wav" / f"{file.stem}.wav")
        for part, (start, end) in enumerate(phrases(sounds, len(signal) / RATE)):
            said = [sound for sound in sounds if sound.label in CLASSES and start <= sound.start and sound.end <= end]
            piece = signal[round(start * RATE) : round(end * RATE)]
            if not said or len(piece) < WINDOW:
                continue
            name = f"{file.stem}-{part}"
            np.save(features / f"{name}.npy", log_mel(piece))
            database[name] = {
                "subset": "training" if number % 10 < 7 else "evaluation",
                "duration": len(piece) / RATE,
                "annotations": [
                    {"label": label, "segment": [first - start, last - start]} for label, first, last in said
                ],
            }
    (out / "annotations.json").write_text(json.dumps({"database": database}, indent=1))
    return len(database)


def read_sounds(file: Path) -> list[Sound]:
    """The sounds of a label file: after a line `#`, the end of each in seconds, a number, and its name."""
    lines = file.read_text(encoding="latin-1").split("#\n")[-1].splitlines()
    rows = [line.split() for line in lines if line.strip()]
    ends = [0.0, *(float(row[0]) for row in rows)]
    return [Sound(row[2], start, end) for row, (start, end) in zip(rows, pairwise(ends), strict=True)]


def read_signal(file: Path) -> NDArray[np.float64]:
    """A mono 16-bit recording at 16 kHz, in [-1, 1)."""
    with wave.open(str(file)) as opened:
        if (opened.getframerate(), opened.getsampwidth(), opened.getnchannels()) != (RATE, 2, 1):
            raise ValueError(f"{file}: expected one channel of 16 bits at {RATE} Hz")
        return np.frombuffer(opened.readframes(opened.getnframes()), "<i2") / 32768


def phrases(sounds: Sequence[Sound], duration: float) -> Iterator[tuple[float, float]]:
    """Start and end of each phrase; a rest that is too short joins the last one."""
    cuts = [0.0]
    for sound in sounds[1:]:
        middle = (sound.start + sound.end) / 2
        if sound.label == PAUSE and middle - cuts[-1] >= SHORTEST and duration - middle >= SHORTEST:
            cuts.append(middle)
    yield from pairwise([*cuts, duration])


def log_mel(signal: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, BANDS): the logarithm of the energy in bands of the mel scale (O'Shaughnessy, 1987) from 50 Hz to 8 kHz."""
    low, high = (2595 * np.log10(1 + frequency / 700) for frequency in (50, RATE / 2))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(1024, 1 / RATE)
    rise = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    frames = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::STRIDE] * np.hanning(WINDOW)
    energy = np.abs(np.fft.rfft(frames, 1024)) ** 2 @ np.maximum(0, np.minimum(rise, fall)).T
    result: NDArray[np.float32] = np.log(energy + 1e-6).astype(np.float32)
    return result


if __name__ == "__main__":
    main()
