import json
from pathlib import Path

import pytest

EXPERIMENT = """
[data]
annotations = "annotations.json"
features = "features"
streams = ["rgb", "flow"]
training_subset = "training"
test_subset = "validation"
grid = { frames_per_second = 16, stride = 16 }

[training]
iterations = 40
clip = { name = "segments", snippets = 10 }
batch_size = 8
weight_decay = 0.01

[evaluation]
evaluator = { name = "activitynet", tiou_thresholds = [0.3, 0.5] }
"""


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A small data set in which every class has a direction of its own in feature space, and an experiment on it."""
    import numpy as np  # the `dist` environment has none

    folder = tmp_path_factory.mktemp("experiment")
    generator = np.random.default_rng(0)
    classes = ["jump", "run", "throw"]
    directions = {stream: 4 * generator.normal(size=(3, 12)) for stream in ("rgb", "flow")}
    database = {}
    for number in range(36):
        length = int(generator.integers(30, 50))
        labels = generator.choice(3, size=generator.integers(1, 3), replace=False)
        starts = np.sort(generator.choice(np.arange(1, length // 6), size=len(labels), replace=False)) * 6
        annotations = [
            {"label": classes[label], "segment": [float(start), float(start + 5)]}
            for label, start in zip(labels, starts, strict=True)
        ]
        name = f"video_{number:02}"
        subset = "training" if number < 24 else "validation"
        database[name] = {"subset": subset, "duration": float(length), "annotations": annotations}
        for stream, vectors in directions.items():
            features = generator.normal(size=(length, 12))
            for label, start in zip(labels, starts, strict=True):
                features[start : start + 5] += vectors[label]
            (folder / "features" / stream).mkdir(parents=True, exist_ok=True)
            np.save(folder / "features" / stream / f"{name}.npy", features.astype(np.float32))
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    (folder / "maan.toml").write_text(EXPERIMENT)
    return folder
