"""How far STAR's LSTM is saturated with each assembly: the share of its gates' pre-activations beyond 4 in magnitude.

A sigmoid or tanh beyond 4 hardly moves, and hardly any gradient passes it. Trains one seed of the demo's STAR for each
assembly with the settings of `star_ablation.py`, one stream, and reads the three people that it is tested on.

    python benchmarks/star_saturation.py [--seed 0]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from star_ablation import ASSEMBLIES
from wtal_core import config, run
from wtal_core.check import opened
from wtal_core.demo import write_demo
from wtal_core.run.steps import load_models


def saturation(file: Path, settings: tuple[str, ...], seed: int) -> float:
    experiment = config.configure(config.load(file), [f"seed={seed}", *settings])
    found = opened(experiment)
    with tempfile.TemporaryDirectory() as folder:
        trained = run.create(Path(folder) / "run", experiment, found)
        run.train(trained)
        stream, models = next(iter(load_models(trained, stage=0).items()))
    (model,) = models
    beyond: list[torch.Tensor] = []

    def watch(lstm: torch.nn.LSTMCell, given: tuple[Any, ...]) -> None:
        inputs, (hidden, _) = given
        gates = inputs @ lstm.weight_ih.T + lstm.bias_ih + hidden @ lstm.weight_hh.T + lstm.bias_hh
        beyond.append((gates.abs() > 4).float().mean())

    model.decoder.lstm.register_forward_pre_hook(watch)
    with torch.no_grad():
        for video in found.dataset.test:
            features = torch.from_numpy(found.dataset.read(video, stream)).unsqueeze(0)
            model(model.standardized(features))
    return float(torch.stack(beyond).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory() as folder:
        file = write_demo(Path(folder))["star"]
        for name, settings in {"maa": (), **ASSEMBLIES}.items():
            print(f"{name:<14}{100 * saturation(file, settings, seed):5.1f} % beyond 4", flush=True)


if __name__ == "__main__":
    main()
