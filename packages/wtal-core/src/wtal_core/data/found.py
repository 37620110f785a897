"""What was found of the features of a data set, in one line: layout, D, number of videos, and how names meet."""

from __future__ import annotations

from collections.abc import Mapping

from wtal_core.data.names import Meeting
from wtal_core.kinds.feature_reader import Bound as Store


def found_line(store: Store, dims: Mapping[str, int], meetings: Mapping[str, Meeting], wanted: int) -> str:
    """The line; streams of which the same is to be said are named together.

    Args:
        store: asked how its arrays lie.
        dims: D of each stream.
        meetings: of each stream that was found, how names of videos meet those of features.
        wanted: the number of videos in training and test subset.
    """
    streams: dict[str, list[str]] = {}
    for stream, meeting in meetings.items():
        names = "names equal" if not meeting.differences else f"names equal but for {' or '.join(meeting.differences)}"
        said = f"{store.layout(stream)}, D = {dims[stream]}, {len(meeting.met)} of {wanted} videos, {names}"
        streams.setdefault(said, []).append(stream)
    return "; ".join(f"{' and '.join(of)}: {said}" for said, of in streams.items())
