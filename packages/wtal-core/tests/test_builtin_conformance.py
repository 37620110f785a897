"""The components that ship with the host keep their contracts, as anybody's do: one result for each clause."""

import csv
import importlib.util
import json
from functools import partial

import h5py
import numpy as np
import pytest
from wtal_core.kinds import KINDS
from wtal_core.registry import discover
from wtal_core.testing import no_strange_plugins, parametrize_with_clauses


def write_npy(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.save(path / stream / f"{name}.npy", array)


def write_hdf5(path, features):
    with h5py.File(path, "w") as file:
        for (name, stream), array in features.items():
            file[f"{name}/{stream}"] = array


def write_npz(path, features):
    path.mkdir()
    for name in {name for name, _ in features}:
        np.savez(
            path / f"{name}.npz", **{stream: array for (video, stream), array in features.items() if video == name}
        )


def write_csv(path, features):
    for (name, stream), array in features.items():
        (path / stream).mkdir(parents=True, exist_ok=True)
        np.savetxt(path / stream / f"{name}.csv", array, delimiter=",", header="a" + ",a" * (array.shape[1] - 1))


def write_activitynet(path, videos):
    database = {
        video.name: {
            "subset": video.subset,
            "duration": video.duration,
            "annotations": [{"label": one.label, "segment": one.segment} for one in video.instances],
        }
        for video in videos
    }
    path.write_text(json.dumps({"database": database}))


def write_table(path, videos):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "subset", "duration", "label", "start", "end"])
        for video in videos:
            for label, segment in video.instances or [("", None)]:
                table.writerow([video.name, video.subset, video.duration, label, *(segment or ("", ""))])


def write_thumos14(path, videos):
    path.mkdir()
    for video in videos:
        for label, (start, end) in video.instances:
            with (path / f"{label}_{video.subset}.txt").open("a") as file:
                file.write(f"{video.name}  {start} {end}\n")


def write_wtalc(path, videos):
    path.mkdir()
    np.save(path / "videoname.npy", np.array([video.name.encode() for video in videos]))
    np.save(path / "subset.npy", np.array([video.subset.encode() for video in videos]))
    np.save(path / "duration.npy", np.array([[video.duration] for video in videos]))
    for file, field in (("labels", 0), ("segments", 1)):
        lists = np.empty(len(videos), object)
        for row, video in enumerate(videos):
            lists[row] = [one[field] if field == 0 else list(one[field]) for one in video.instances]
        np.save(path / f"{file}.npy", lists, allow_pickle=True)


WRITERS = {
    "auto": write_npy,
    "csv": write_csv,
    "hdf5": write_hdf5,
    "npy": write_npy,
    "npz": write_npz,
    "activitynet": write_activitynet,
    ("annotation reader", "auto"): write_activitynet,
    "table": write_table,
    "thumos14": write_thumos14,
    "wtalc": write_wtalc,
}

with no_strange_plugins("wtal-core"):
    REGISTRY = discover()

POOLINGS = ("max", "top-k", "log-sum-exp", "linear-softmax", "aggregator")
OPTIONS = [
    ("clip", "segments", {"snippets": 3}),
    ("clip", "uniform", {"snippets": 1}),
    ("clip", "crop", {"snippets": 2}),
    ("decoder", "attention-pooling", {"sparsity": 1.0}),
    ("decoder", "attention-pooling", {"class_wise": True}),
    ("decoder", "snippet-classifier", {"hidden": 3}),
    ("decoder", "snippet-classifier", {"hidden": 3, "classification": 0.0}),
    ("decoder", "snippet-classifier", {"hidden": 3, "context": 1.5, "snippet_seconds": 0.5, "layers": 2}),
    ("decoder", "snippet-classifier", {"hidden": 3, "dropout": 0.5, "pooling": "top-k"}),
    *(("decoder", "snippet-classifier", {"hidden": 3, "background": True, "pooling": pooling}) for pooling in POOLINGS),
    ("decoder", "snippet-classifier", {"hidden": 3, "pooling": "log-sum-exp"}),
    ("decoder", "snippet-classifier", {"hidden": 3, "pooling": "aggregator"}),
    ("decoder", "snippet-classifier", {"hidden": 3, "background": True, "suppressed": True, "pooling": "top-k"}),
    (
        "decoder",
        "snippet-classifier",
        {"hidden": 3, "background": True, "suppressed": True, "context": 3.0, "snippet_seconds": 1.0, "dropout": 0.5},
    ),
    ("loss", "label-set", {"weight": 0.5}),
    ("loss", "smoothness", {"weight": 2.0}),
    ("loss", "background", {"weight": 2.0}),
    ("annotation reader", "wtalc", {"allow_pickle": True}),
    ("teacher", "label-set", {"smoothing": 3.0, "sharpening": 2.0}),
    ("loss", "snippet-targets", {"weight": 0.25}),
]


WAIVED = {
    ("annotation reader", "thumos14"): {"videos": "the layout cannot say of a video that nothing happens in it"},
    ("annotation reader", "wtalc"): {"videos": "the layout is pickled, which has to be allowed"},
}


def cases():
    """A case for each clause of each component, as it is built without options and with some."""
    plain = [(one.kind, one.name, {}) for one in REGISTRY.components if one.kind in KINDS]
    for kind, name, options in [*plain, *OPTIONS]:
        missing = name == "tensorboard" and importlib.util.find_spec("tensorboard") is None
        marks = [pytest.mark.skip(reason="tensorboard is not installed")] if missing else []
        make = object if missing else partial(REGISTRY.load(kind, name), **options)
        written = "-".join(f"{key}={value}" for key, value in options.items())
        waive = {} if options else WAIVED.get((kind, name), {})
        for one in parametrize_with_clauses(
            kind, make, write=WRITERS.get((kind, name)) or WRITERS.get(name), waive=waive
        ).args[1]:
            named = "-".join(filter(None, [kind, name, written, one.id]))
            yield pytest.param(*one.values, id=named, marks=[*marks, *one.marks])


@pytest.mark.parametrize("clause", list(cases()))
def test_a_builtin_component_keeps_its_contract(clause):
    clause()
