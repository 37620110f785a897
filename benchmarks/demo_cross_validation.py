"""Choose the demo's settings by cross-validation over its training people; the evaluation people are never looked at.

Each method is one call of `wtal tune`: every combination of training and localization settings, on three folds of
people, by the mean mAP at tIoU 0.1:0.1:0.7. The committed `wtal_core/demo/experiments/*.toml`, the `*-demo.toml` of the
packages in `examples` (which must be installed to be searched) and the figures in the documentation were found with
folds fixed by hand, {1, 2}, {3, 4} and {5, 6, 7} of the seven people. `wtal tune` makes folds of its own, so that what
it prints differs.

STAR is searched with each of its assemblies, whose settings `star_ablation.py` holds, and with several weights of RAM.

    python benchmarks/demo_cross_validation.py [METHOD ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wtal_core.demo import METHODS, write_demo

EXAMPLES = Path(__file__).parents[1] / "examples"
PEOPLE = r"person-\d+"


class Search(NamedTuple):
    """Where a method starts from, and what is tried: settings of training, then of localization, value by value."""

    file: str  # of the demo by its name, else a path below `examples`
    base: tuple[str, ...] = ()  # settings on top of the file
    training: Mapping[str, list[str]] = {"training.weight_decay": ["0.0", "0.001", "0.01", "0.03", "0.1"]}
    localization: tuple[str, ...] = (
        "localization.proposer.threshold=[0.05, 0.1, 0.2, 0.3, 0.4, 0.5]",
        "localization.proposer.class_threshold=[0.1, 0.3]",
        "localization.proposer.class_score=['ignore', 'multiply']",
    )


SEARCHES = {method: Search(method) for method in (*METHODS, "supervised")}
# STPN's own loss term.
SEARCHES["stpn"] = Search("stpn", training=Search("stpn").training | {"model.decoder.sparsity": ["0.0", "0.1"]})
# STAR with another assembly than that of its row of the demo. A sum that learnt from 20 snippets reads all those of a
# session at another scale, hence the one that learns from about as many as the sessions have.
SEARCHES |= {
    "star-weighted-sum": Search("star", ("model.aggregator=weighted-sum",)),
    "star-weighted-sum-200": Search("star", ("model.aggregator=weighted-sum", "training.clip.snippets=200")),
    "star-norm": Search("star", ("model.aggregator=norm",)),
    # With the weight decay of the demo's STAR.
    "star-ram": Search(
        "star",
        ('model.decoder.modules=["sparsity", "coverage", "ram"]', "data.counts=true"),
        {"model.decoder.ram": ["0.0001", "0.001", "0.01", "0.1"]},
    ),
}
# The methods of the examples keep what makes them, how a class is cut and scored; searched is where it is cut.
LEVELS = (
    "localization.proposer.threshold=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]",
    "localization.proposer.class_threshold=[0.1, 0.3]",
)
SEARCHES["wtalc"] = Search(
    "wtal-wtalc/wtalc-demo.toml",
    training={"training.learning_rate": ["1e-4", "1e-3"]},
    localization=LEVELS,
)
UNTRIMMEDNET = "wtal-untrimmednet/untrimmednet-demo.toml"
SEARCHES["untrimmednet-hard"] = Search(
    UNTRIMMEDNET,
    ('model.decoder={ name = "untrimmednet", selection = "hard" }',),
    {"training.clip.snippets": ["7", "20"], "training.weight_decay": ["5e-4", "0.01"]},
    LEVELS,
)
# With the paper's 7 snippets, which were hardly worse than 20 above, and the weight decay that was best there.
SEARCHES["untrimmednet-soft"] = Search(
    UNTRIMMEDNET,
    ("model.decoder.selection=soft", "training.clip.snippets=7", "training.weight_decay=0.01"),
    {"model.decoder.attended": ["false", "true"]},
    LEVELS,
)


def search(method: str, demo: Path) -> None:
    """Tune one method; the table of all points stays beside the demo's data."""
    wanted = SEARCHES[method]
    file = demo / f"{wanted.file}.toml" if "/" not in wanted.file else EXAMPLES / wanted.file
    data = (f"data.annotations={demo / 'annotations.json'}", f"data.features={demo / 'features'}")
    training = [f"{key}=[{', '.join(values)}]" for key, values in wanted.training.items()]
    command = [sys.executable, "-m", "wtal_core", "tune", str(file), "--group", PEOPLE, "--folds", "3"]
    command += [word for setting in (*data, *wanted.base) for word in ("--set", setting)]
    command += [word for line in (*training, *wanted.localization) for word in ("--grid", line)]
    print(f"\n{method}", flush=True)
    subprocess.run([*command, "--out", str(demo / "tuned" / method)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(SEARCHES), metavar="METHOD", help=", ".join(SEARCHES))
    methods = parser.parse_args().methods
    if unknown := set(methods) - set(SEARCHES):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are: {', '.join(SEARCHES)}")
    with tempfile.TemporaryDirectory() as folder:
        write_demo(Path(folder))
        for method in methods:
            started = time.perf_counter()
            search(method, Path(folder))
            print(f"  {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
