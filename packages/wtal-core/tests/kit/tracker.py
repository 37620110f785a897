"""Trackers, sound and broken."""

import json

KIND = "tracker"


class Lines:
    """A line of JSON for each thing that it hears."""

    def __init__(self, directory):
        self.file = (directory / "lines.jsonl").open("a")

    def stage(self, name):
        self.write(name)

    def metrics(self, name, iteration, values):
        self.write([name, iteration, values])

    def evaluation(self, values):
        self.write(values)

    def close(self):
        self.file.close()

    def write(self, heard):
        self.file.write(json.dumps(heard) + "\n")


SOUND = [Lines]


def tracker(**methods):
    return type("Broken", (Lines,), methods)


class Unique(Lines):
    """Minds what it heard before."""

    def __init__(self, directory):
        super().__init__(directory)
        self.heard = set()

    def metrics(self, name, iteration, values):
        assert (name, iteration) not in self.heard
        self.heard.add((name, iteration))


class NewFolder(Lines):
    def __init__(self, directory):
        (directory / "tracker").mkdir()
        super().__init__(directory / "tracker")


class Locked(Lines):
    """Leaves a lock behind."""

    def __init__(self, directory):
        (directory / "lock").touch(exist_ok=False)
        super().__init__(directory)


BROKEN = {
    "hears": [
        tracker(stage=None),
        tracker(metrics=lambda self, name, values: None),
        tracker(metrics=lambda self, name, iteration, values: values.clear()),
        tracker(evaluation=lambda self, values: values["accuracy"]),
        tracker(evaluation=lambda self, values: values.clear()),
        tracker(close=lambda self, run: None),
        Unique,
    ],
    "reopened": [NewFolder, Locked],
}
