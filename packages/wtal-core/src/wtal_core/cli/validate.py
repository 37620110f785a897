"""`wtal validate`: all that is wrong with an experiment, before any training."""

from __future__ import annotations

from wtal_core.cli.options import ExperimentFile, Out, Settings
from wtal_core.cli.run import run_folder


def command(experiment: ExperimentFile, settings: Settings = None, out: Out = None) -> None:
    """Check an experiment, its components, its annotations, every value of its features, and where its runs would go.

    Example: `wtal validate maan.toml --set data.features=/data/thumos14`
    """
    from wtal_core.errors import Problems
    from wtal_core.validation import validate

    dataset, problems = validate(experiment, settings or [], run_folder(experiment, out))
    if problems:
        raise Problems(problems)
    assert dataset is not None  # nothing was wrong, so it was opened
    print(f"{experiment}: nothing is wrong")
    for subset, videos in ((dataset.data.training_subset, dataset.training), (dataset.data.test_subset, dataset.test)):
        print(f"  {subset}: {len(videos)} videos, {sum(len(video.instances) for video in videos)} instances")
    print(f"  {len(dataset.classes)} classes: {', '.join(dataset.classes)}")
    for stream, width in dataset.feature_dims.items():
        lengths = [dataset.length(video, stream) for video in (*dataset.training, *dataset.test)]
        print(f"  {stream}: D = {width}, T from {min(lengths)} to {max(lengths)}")
