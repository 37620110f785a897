"""What becomes of work that is killed at random moments, and of what else goes wrong in the middle of it.

    python benchmarks/endurance.py [--kills 100] [--only train,stages,tune,convert,compare] [--no-faults]

Needs wtal-core and the packages of the default experiment. Each command is killed (SIGKILL) at random moments of its
whole duration and resumed, again and again, until it has been killed so often; each time that it gets to its end, its
files are held against those of an uninterrupted one: every byte of a run, every array and attribute of a conversion.
Then a full disk, a read-only folder (a small tmpfs, which only root may mount), a feature file that is truncated while
it is read, a loss that is not finite, and Ctrl-C: what the command says, its exit code, and whether resuming it gives
the bytes of an uninterrupted run. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

COMMAND = (sys.executable, "-c", "from wtal_core.cli import main; main()")
STAGES = (
    "stages=[{}, { models = 2, start = 'continue', teacher = 'annotations', training.losses = ['snippet-targets'] }]"
)
FAST = ("--set", "training.checkpoint_every=10", "--set", "training.iterations=60")


class Work(NamedTuple):
    """One command, but for where its result goes."""

    arguments: tuple[str, ...]  # OUT stands for the folder of the results
    result: str  # below it


WORK = {
    "train": Work(("run", "e.toml", "--out", "OUT", *FAST), ""),
    "stages": Work(
        ("run", "e.toml", "--out", "OUT", *FAST, "--set", STAGES, "--set", "model.decoder=snippet-classifier"), ""
    ),
    "tune": Work(
        ("tune", "e.toml", "--folds", "2", "--grid", "training.weight_decay=[0.0,0.01]", "--out", "OUT/t", *FAST),
        "",
    ),
    "convert": Work(("convert", "features", "OUT/store.h5", "--streams", "rgb"), "store.h5"),
    "compare": Work(("compare", "--bounds", "e.toml", "--seeds", "2", "--out", "OUT/compared", *FAST), ""),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--only", default=",".join(WORK), help="commands to kill")
    parser.add_argument("--no-faults", action="store_true", help="only kill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        print("killed              kills   to the end   equal   other exits")
        for command in filter(None, given.only.split(",")):
            print(f"{command:<18} {kill(folder, WORK[command], given.kills)}", flush=True)
        if not given.no_faults:
            print("\nfault               exit   resumed   what was said")
            for fault in (full_disk, read_only, truncated, not_finite, ctrl_c):
                print(f"{fault.__name__.replace('_', ' '):<18} {fault(folder)}", flush=True)


def write_data(folder: Path, videos: int = 16, length: int = 60, width: int = 64) -> None:
    """A data set of two classes whose features give them away."""
    generator = np.random.default_rng(0)
    database = {}
    (folder / "features" / "rgb").mkdir(parents=True)
    for number in range(videos):
        label, start = number % 2, int(generator.integers(0, length - 20))
        features = generator.standard_normal((length, width), np.float32)
        features[start : start + 20, label] += 4
        np.save(folder / "features" / "rgb" / f"v{number:02}.npy", features)
        database[f"v{number:02}"] = {
            "subset": "validation" if number % 4 == 3 else "training",
            "duration": length / 5,
            "annotations": [{"label": ("jump", "run")[label], "segment": [start / 5, (start + 20) / 5]}],
        }
    (folder / "a.json").write_text(json.dumps({"database": database}))
    (folder / "e.toml").write_text(
        '[data]\nannotations = "a.json"\nfeatures = "features"\nstreams = ["rgb"]\n'
        "grid = { frames_per_second = 10, stride = 2 }\n"
    )


# Kills


def kill(folder: Path, work: Work, kills: int) -> str:
    """Kill and resume one command, and say in a line how that went."""
    generator = np.random.default_rng(0)
    begin = time.perf_counter()
    expected = whole(folder, work)
    duration = time.perf_counter() - begin
    killed = ends = equal = 0
    others: list[str] = []
    out = folder / "out"
    while killed < kills:
        process = started(folder, work)
        try:
            process.wait(generator.uniform(0, duration))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        _, said = process.communicate()
        if process.returncode > 0:
            others.append(f"{process.returncode}: {said.strip().splitlines()[-1]}")
            if len(others) > 5:
                break
        if process.returncode == 0 or killed == kills:
            finished(folder, work)
            ends += 1
            equal += contents(out / work.result) == expected
            shutil.rmtree(out)
    return f"{killed:6} {ends:12} {equal:7}   {'; '.join(others) or 'none'}"


def started(folder: Path, work: Work, **more: object) -> subprocess.Popen[str]:
    """The command, on what is there."""
    out = folder / "out"
    resume = ["--resume"] if out.exists() else []
    arguments = [argument.replace("OUT", "out") for argument in work.arguments]
    return subprocess.Popen(
        [*COMMAND, *arguments, *resume],
        cwd=folder,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **more,
    )


def finished(folder: Path, work: Work) -> None:
    """The command to its end; what a killed one's own processes hold is let go soon."""
    for _ in range(20):
        process = started(folder, work)
        _, said = process.communicate()
        if process.returncode == 0 or "is there already, and complete" in said:
            return
        if ": in use by " not in said:  # of a killed one, a moment longer
            break
        time.sleep(0.5)
    raise SystemExit(f"cannot be finished: {said}")


def whole(folder: Path, work: Work) -> dict[str, object]:
    """What an uninterrupted command leaves."""
    finished(folder, work)
    found = contents(folder / "out" / work.result)
    shutil.rmtree(folder / "out")
    return found


def contents(path: Path) -> dict[str, object]:
    """The bytes of every file in a folder; of an HDF5 file, whose bytes tell how it was written, what it holds."""
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    found: dict[str, object] = {}
    with h5py.File(path) as file:

        def take(name: str, item: h5py.HLObject) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = (str(item.dtype), item.shape, item[()].tobytes(), sorted(item.attrs.items()))

        file.visititems(take)
        found["/"] = sorted(file.attrs.items())
    return found


# Faults, of the command `run`


def full_disk(folder: Path) -> str:
    with tmpfs(folder / "out", "120k") as mounted:
        return outcome(folder, WORK["train"]) if mounted else "not tried: no tmpfs may be mounted"


def read_only(folder: Path) -> str:
    with tmpfs(folder / "out", "1m,ro") as mounted:
        return outcome(folder, WORK["train"]) if mounted else "not tried: no tmpfs may be mounted"


def truncated(folder: Path) -> str:
    file = folder / "features" / "rgb" / "v00.npy"
    content, about = file.read_bytes(), file.stat()

    def truncate(_: subprocess.Popen[str]) -> None:
        os.truncate(file, len(content) // 2)

    def mend() -> None:
        file.write_bytes(content)
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))  # by which predictions know their features

    return outcome(folder, longer(WORK["train"]), truncate, mend)


def not_finite(folder: Path) -> str:
    work = WORK["train"]
    return outcome(folder, work._replace(arguments=(*work.arguments, "--set", "training.learning_rate=1e20")))


def ctrl_c(folder: Path) -> str:
    return outcome(folder, longer(WORK["train"]), lambda process: process.send_signal(signal.SIGINT))


def longer(work: Work) -> Work:
    return work._replace(arguments=(*work.arguments, "--set", "training.iterations=600"))


def outcome(
    folder: Path,
    work: Work,
    disturb: Callable[[subprocess.Popen[str]], None] | None = None,
    mend: Callable[[], object] | None = None,
) -> str:
    """Run, disturb it when it has logged something, and say how it ended, and whether it can be resumed."""
    expected = whole(folder, work) if disturb else None
    process = started(folder, work)
    while disturb and process.poll() is None:
        if any(log.stat().st_size for log in folder.glob("out/**/metrics.jsonl")):
            disturb(process)
            break
        time.sleep(0.01)
    _, said = process.communicate()
    resumed = "-"
    if expected is not None:
        if mend:
            mend()
        finished(folder, work)
        resumed = "equal" if contents(folder / "out") == expected else "DIFFERS"
    if not os.path.ismount(folder / "out"):
        shutil.rmtree(folder / "out", ignore_errors=True)
    lines = said.strip().splitlines()
    more = f" (and {len(lines) - 1} lines before)" if len(lines) > 1 else ""
    return f"{process.returncode:5} {resumed:>9}   {lines[-1] if lines else 'nothing'}{more}"


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[bool]:
    """A small file system of its own, if this user may mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={options}", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(path)], check=True)
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
