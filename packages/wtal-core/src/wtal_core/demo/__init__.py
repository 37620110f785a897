"""The demonstration: untrimmed sessions of real recordings, the methods compared on them, and two bounds.

The signals are real: ten people with a sensor on one wrist do seven shoulder exercises (50 Hz accelerometer and
gyroscope, recorded by Burns et al. 2018, shipped by seglearn under the BSD-3 licence). The order of exercises in a
session is composed: each session is a row of contiguous crops from one person's recordings of one arm.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from wtal_core.demo.recordings import locate, read_recordings
from wtal_core.demo.sessions import compose, write_dataset
from wtal_core.files import write

#: The rows of the demo's table, each an experiment file `experiments/NAME.toml`.
METHODS = ("maan", "stpn", "dropout", "norm", "softmax-norm", "star")


def write_demo(folder: Path) -> dict[str, Path]:
    """Write the composed data set and the experiments; return the experiment files by name, the supervised bound's too.

    Raises:
        DataError: the recordings are missing or not the known ones.
    """
    write_dataset(list(compose(read_recordings(locate()))), folder)
    experiments = {name: folder / f"{name}.toml" for name in (*METHODS, "supervised")}
    for name, path in experiments.items():
        write(path, files("wtal_core.demo").joinpath("experiments", f"{name}.toml").read_text(encoding="utf-8"))
    return experiments
