"""`wtal validate`: all that is wrong with an experiment, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wtal_core.cli.options import Annotations, Experiment, Features, Out, Settings
from wtal_core.cli.run import run_folder
from wtal_core.contracts import AMBIGUOUS
from wtal_core.errors import Problems, WtalError
from wtal_core.source import Source, settings_of

if TYPE_CHECKING:
    from wtal_core.check import Opened


def command(
    experiment: Experiment,
    annotations: Annotations = None,
    features: Features = None,
    settings: Settings = None,
    out: Out = None,
) -> None:
    """Check an experiment, its components, its annotations, every value of its features, and where its runs would go.

    Example: `wtal validate maan-thumos14 --annotations thumos14.json --features /data/thumos14`
    """
    given = settings_of(settings, annotations, features)
    found, problems = _examined(experiment, given, run_folder(experiment, out))
    if found is None or problems:
        raise Problems(problems)
    dataset = found.dataset
    print(f"{experiment}: nothing is wrong")
    for subset, videos in ((dataset.data.training_subset, dataset.training), (dataset.data.test_subset, dataset.test)):
        labels = [instance.label for video in videos for instance in video.instances]
        unsure = labels.count(AMBIGUOUS)
        also = f", {unsure} ambiguous intervals" if unsure else ""
        print(f"  {subset}: {len(videos)} videos, {len(labels) - unsure} instances{also}")
    print(f"  {len(dataset.classes)} classes: {', '.join(dataset.classes)}")
    for stream, width in dataset.feature_dims.items():
        lengths = [dataset.length(video, stream) for video in (*dataset.training, *dataset.test)]
        print(f"  {stream}: D = {width}, T from {min(lengths)} to {max(lengths)}")
    print(f"  features: {dataset.found}")
    for note in dataset.notes:
        print(f"  note: {note}")


def _examined(experiment: Source, settings: list[str], out: Path) -> tuple[Opened | None, list[WtalError]]:
    """What an experiment opens, and all that is wrong with it, with its data to the last value, and with `out`."""
    from wtal_core import check, source
    from wtal_core.data.dataset import checksum_problems, survey
    from wtal_core.files import check_writable

    opened, problems = source.examine(experiment, settings)
    try:
        check_writable(out)
    except WtalError as error:
        problems.append(error)
    if opened is None:
        return None, problems
    found, more = check.examine(opened, scored=True)
    problems += more
    if found is not None:
        # A file that is missing is found twice, by its header and by its content.
        known = {str(problem) for problem in problems}
        values = [*survey(found.dataset).problems, *checksum_problems(found.dataset)]
        problems += [problem for problem in values if str(problem) not in known]
    return found, problems
