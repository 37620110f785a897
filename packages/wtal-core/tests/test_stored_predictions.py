"""Predictions on disk are written and read video by video."""

import re
import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from wtal_core.errors import RunError
from wtal_core.prediction import store
from wtal_core.prediction.collapse import collapses
from wtal_core.prediction.predict import StreamPrediction
from wtal_core.prediction.store import StoredPredictions, load_predictions, save_predictions

C, T, STREAMS = 20, 200, ("rgb", "flow")
SIZE = len(STREAMS) * 2 * C * T * 8  # of a video in memory, about
NAMES = [f"v{number}" for number in range(60)]


def made():
    """Predictions of each video, made when it is asked for."""
    generator = np.random.default_rng(0)
    for name in NAMES:
        yield (
            name,
            [
                StreamPrediction(generator.random((C, T)), generator.random((C, T)), generator.random(C))
                for _ in STREAMS
            ],
        )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "p.h5"
    save_predictions(path, "key", STREAMS, made())
    return path


def test_memory_does_not_grow_with_the_number_of_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "KEPT", 5 * SIZE)
    path = tmp_path / "p.h5"
    tracemalloc.start()
    save_predictions(path, "key", STREAMS, made())
    stored = load_predictions(path, "key", STREAMS, NAMES)
    untrained = StreamPrediction(np.zeros((C, T)), np.zeros((C, T)), np.zeros(C))
    collapses((stored[name][0] for name in NAMES), np.ones(C, bool), [f"c{c}" for c in range(C)], untrained)
    for name, (rgb, flow) in stored.items():
        assert rgb.attention.shape == flow.response.shape == (C, T), name
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 15 * SIZE < len(NAMES) * SIZE / 2


@pytest.mark.parametrize("kept", [0, 5 * SIZE, 2**28])
def test_each_video_is_what_was_written_however_often_it_is_asked_for(saved, monkeypatch, kept):
    monkeypatch.setattr(store, "KEPT", kept)
    stored = StoredPredictions(saved, "key", STREAMS, NAMES)
    assert (list(stored), len(stored)) == (NAMES, 60)
    for _ in range(2):
        for name, expected in made():
            for one, other in zip(stored[name], expected, strict=True):
                np.testing.assert_array_equal(one.attention, other.attention.astype(np.float32))
                np.testing.assert_array_equal(one.class_scores, other.class_scores.astype(np.float32))
    with pytest.raises(KeyError):
        stored["v60"]


def test_a_file_that_changes_meanwhile_is_named(saved):
    stored = StoredPredictions(saved, "key", STREAMS, NAMES)
    stored["v0"]
    save_predictions(saved, "other", STREAMS, made())
    said = f"{saved}: cannot read what was predicted of video 'v1': another process has written it anew; start again"
    with pytest.raises(RunError, match=f"^{re.escape(said)}$"):
        stored["v1"]
    saved.write_bytes(b"junk")
    with pytest.raises(RunError, match=f"^{re.escape(str(saved))}: cannot read what was predicted of video 'v1': "):
        stored["v1"]


def test_a_full_disk_is_told_before_hdf5_meets_it(saved, monkeypatch):
    before = saved.read_bytes()
    left = iter([2**30, 2**30, 2**20])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=next(left)))
    with pytest.raises(RunError, match=f"^{re.escape(str(saved))}: cannot write: No space left on device$"):
        save_predictions(saved, "new", STREAMS, made())
    assert (list(saved.parent.iterdir()), saved.read_bytes()) == ([saved], before)
