"""Annotation readers, sound and broken."""

import json

from wtal_core.builtin.activitynet import ActivityNet
from wtal_core.contracts import Instance

KIND = "annotation reader"


def write(path, videos):
    database = {
        video.name: {
            "subset": video.subset,
            "duration": video.duration,
            "annotations": [{"label": one.label, "segment": one.segment} for one in video.instances],
        }
        for video in videos
    }
    path.write_text(json.dumps({"database": database}))


def reading(change):
    """A reader of which each video is changed."""
    return type("Broken", (ActivityNet,), {"video": lambda self, name: change(ActivityNet.video(self, name))})


class NoDurations(ActivityNet):
    """Its format has none."""

    def video(self, name):
        return super().video(name)._replace(duration=None)


SOUND = [ActivityNet, NoDurations, type("Backwards", (ActivityNet,), {"names": lambda self: ["c", "b", "a"]})]


class Once(ActivityNet):
    """Gives each video once."""

    def video(self, name):
        entry = super().video(name)
        del self._database[name]["annotations"]
        return entry


class Exhausted(ActivityNet):
    def __init__(self, path):
        super().__init__(path)
        self.left = iter(self._database)

    def names(self):
        return self.left


def hushed(path):
    try:
        return ActivityNet(path)
    except Exception as error:
        raise type(error)("no annotations for you") from None


def forgiving(path):
    try:
        return ActivityNet(path)
    except (ValueError, OSError):
        return type("Nothing", (), {"names": lambda self: []})()


def late(path):
    """Says of the content alone what is wrong, and not where."""
    if not path.exists():
        return ActivityNet(path)
    json.loads(path.read_bytes().decode(errors="replace"))
    return ActivityNet(path)


BROKEN = {
    "videos": [
        reading(lambda video: video._replace(subset="test")),
        reading(lambda video: video._replace(duration=1.0)),
        reading(lambda video: video._replace(duration=0.0)),
        reading(lambda video: video._replace(duration=float("nan"))),
        reading(lambda video: video._replace(instances=video.instances[:1])),
        reading(lambda video: video._replace(instances=video.instances[::-1])),
        reading(lambda video: video._replace(instances=tuple(Instance(one.label) for one in video.instances))),
        reading(lambda video: video._replace(instances=tuple((1, one.segment) for one in video.instances))),
        reading(lambda video: video._replace(instances=tuple((one.label, (5.0, 2.0)) for one in video.instances))),
        reading(lambda video: video._replace(name="d")),
        reading(lambda video: None),
        type("Broken", (ActivityNet,), {"names": lambda self: ["a", "b"]}),
        type("Broken", (ActivityNet,), {"names": lambda self: ["a", "a", "b", "c"]}),
        type("Broken", (ActivityNet,), {"notes": "two videos left out"}),
        Once,
        Exhausted,
    ],
    "missing": [hushed, forgiving, late],
}
