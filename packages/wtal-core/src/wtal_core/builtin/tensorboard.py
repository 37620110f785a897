"""TensorBoard as a tracker; the package tensorboard is the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

try:  # here, so that it is missed before training and not when the first tracker is built
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise ImportError("the tracker needs tensorboard: pip install 'wtal-core[tensorboard]'") from error


class TensorBoard:
    """Loss terms and results as scalars, for `tensorboard --logdir RUN/tensorboard`.

    Args:
        directory: the run's; events go to its folder `tensorboard`.
    """

    def __init__(self, directory: Path) -> None:
        self._writer = SummaryWriter(str(directory / "tensorboard"))

    def stage(self, name: str) -> None:
        """Nothing to say: the name begins each scalar's."""

    def metrics(self, name: str, iteration: int, values: Mapping[str, float]) -> None:
        """A scalar for each loss term."""
        for term, value in values.items():
            self._writer.add_scalar(f"{name}/{term}", value, iteration)

    def evaluation(self, values: Mapping[str, float]) -> None:
        """A scalar for each result."""
        for metric, value in values.items():
            self._writer.add_scalar(metric, value)

    def close(self) -> None:
        """Write what is waiting."""
        self._writer.close()
