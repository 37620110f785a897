"""The recordings: real wrist-sensor signals of shoulder exercises, from the data file that seglearn ships.

Source: D. Burns, N. Leung, M. Hardisty, C. Whyne, P. Henry, S. McLachlin, "Shoulder physiotherapy exercise recognition:
machine learning the inertial signals from a smartwatch", Physiological Measurement 39 (2018); data in seglearn, BSD-3.
"""

from __future__ import annotations

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wtal_core.errors import DataError

FRAMES_PER_SECOND = 50
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"


class Recording(NamedTuple):
    """One exercise, repeated by one person with one arm for 19 to 52 seconds."""

    person: int
    arm: str
    exercise: str
    signal: NDArray[np.float64]  # (N, 6) at 50 Hz: acceleration x y z in g, then rotation x y z in rad/s


def locate() -> Path:
    """The data file of the installed seglearn.

    It is found without importing seglearn, which would need pandas and does not declare it.

    Raises:
        DataError: seglearn is not installed.
    """
    spec = find_spec("seglearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the demo's recordings come with the package seglearn: pip install 'wtal-core[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data" / "watch_dataset.npy"


def read_recordings(path: Path) -> list[Recording]:
    """Read all 140 recordings.

    The file is a pickled object array, and a pickle can run any code, so its bytes are compared with the known SHA-256
    before they are interpreted.

    Raises:
        DataError: the file cannot be read, or is not the known one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the demo's recordings: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise DataError(
            f"{path}: not the known recordings (SHA-256 {digest}, expected {SHA256}), and a pickle from elsewhere is "
            "not safe to open; reinstall with: pip install --force-reinstall seglearn==1.2.5"
        )
    table = np.load(io.BytesIO(content), allow_pickle=True).item()
    return [
        Recording(int(person), "right" if side else "left", table["y_labels"][exercise], np.asarray(signal, np.float64))
        for signal, exercise, person, side in zip(table["X"], table["y"], table["subject"], table["side"], strict=True)
    ]
