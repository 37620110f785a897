"""The demo: its recordings, its sessions, and a short run of it."""

import dataclasses
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from wtal_core import config
from wtal_core.bounds import chance
from wtal_core.check import opened
from wtal_core.cli import main
from wtal_core.demo import METHODS, write_demo
from wtal_core.demo.comparison import rows_of
from wtal_core.demo.recordings import FRAMES_PER_SECOND, locate, read_recordings
from wtal_core.demo.sessions import BACKGROUND, STREAMS, WINDOW, compose, snippet_features
from wtal_core.errors import DataError
from wtal_core.training.teaching import lessons_of


@pytest.fixture(scope="module")
def recordings():
    return read_recordings(locate())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return folder


def test_recordings_are_ten_people_two_arms_seven_exercises(recordings):
    assert len(recordings) == 140
    assert len({(r.person, r.arm, r.exercise) for r in recordings}) == 140
    assert {r.person for r in recordings} == set(range(1, 11))
    assert all(r.signal.shape[1] == 6 and len(r.signal) > 15 * FRAMES_PER_SECOND for r in recordings)


def test_an_altered_pickle_is_never_opened(tmp_path):
    altered = tmp_path / "watch_dataset.npy"
    content = bytearray(locate().read_bytes())
    content[-1] ^= 1
    altered.write_bytes(content)
    with pytest.raises(
        DataError, match=f"^{re.escape(str(altered))}: not the known recordings \\(SHA-256 [0-9a-f]{{64}}, "
    ):
        read_recordings(altered)


def test_the_recordings_are_a_data_set_of_its_own_too(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", "get", "exercises", "--to", str(tmp_path / "own")])
    assert not stop.value.code
    assert "licence BSD-3-Clause" in capsys.readouterr().out
    files = [path.relative_to(tmp_path / "own") for path in (tmp_path / "own").rglob("*") if path.is_file()]
    assert len(files) == 1 + 2 * 160
    assert all((tmp_path / "own" / file).read_bytes() == (folder / file).read_bytes() for file in files)


def test_sessions_are_contiguous_crops_of_one_person_and_arm(recordings):
    session = next(compose(recordings))
    times = [round(t * FRAMES_PER_SECOND) for _, *both in session.instances for t in both]
    sources = set()
    for start, end in itertools.pairwise([0, *times, len(session.signal)]):
        (source,) = (r for r in recordings if is_crop(session.signal[start:end], r.signal))
        action = [label for label, begin, _ in session.instances if round(begin * FRAMES_PER_SECOND) == start]
        assert source.exercise in (action or BACKGROUND)
        sources.add((source.person, source.arm))
    assert len(sources) == 1
    assert session.name.startswith(f"person-{sources.pop()[0]:02}")


def is_crop(part, whole):
    candidates = np.flatnonzero((whole[: len(whole) - len(part) + 1] == part[0]).all(axis=1))
    return any((whole[start : start + len(part)] == part).all() for start in candidates)


def test_nobody_is_in_both_subsets(recordings):
    people = {"training": set(), "evaluation": set()}
    for session in compose(recordings):
        people[session.subset].add(session.name[:9])
        assert 1 <= len({label for label, *_ in session.instances}) <= 3
        assert 3 <= len(session.instances) <= 7
        assert not {label for label, *_ in session.instances} & set(BACKGROUND)
    assert (len(people["training"]), len(people["evaluation"])) == (7, 3)
    assert not people["training"] & people["evaluation"]


def test_snippet_features_against_a_loop(recordings):
    signal = recordings[0].signal[:333, STREAMS["gyroscope"]]
    features = snippet_features(signal)
    assert features.shape == (10, 104)
    for t, row in enumerate(features):
        window = signal[25 * t : 25 * t + WINDOW]
        for channel, values in enumerate([*window.T, np.sqrt((window**2).sum(axis=1))]):
            part = row[26 * channel : 26 * (channel + 1)]
            expected = [
                values.mean(),
                values.std(),
                values.min(),
                values.max(),
                np.median(values),
                abs(np.diff(values)).mean(),
            ]
            np.testing.assert_allclose(part[:6], expected, rtol=1e-5, atol=1e-6)
            spectrum = np.fft.fft((values - values.mean()) * np.hanning(WINDOW))
            np.testing.assert_allclose(part[6:], np.log(abs(spectrum[1:21]) ** 2 + 1e-6), rtol=1e-4, atol=1e-4)


def test_supervised_bound_learns_from_the_middle_of_each_snippet(folder):
    experiment = config.load(folder / "supervised.toml")
    registry, dataset = opened(experiment)
    video = dataset.training[0]
    labels = lessons_of(dataset, experiment.stages[0].teacher, None, registry)[video.name]
    label, start, end = video.instances[0].label, *video.instances[0].segment
    inside = [t for t in range(labels.shape[1]) if start <= 1.0 + 0.5 * t < end]  # windows of 2 s, every 0.5 s
    np.testing.assert_array_equal(np.flatnonzero(labels[dataset.classes.index(label), : inside[-1] + 2]), inside)


def test_chance_depends_on_the_seed_alone(folder):
    _, dataset = opened(config.load(folder / "maan.toml"))
    small = dataclasses.replace(dataset, test=dataset.test[:1])
    name = small.test[0].name
    one, same, other = (chance(small, seed)[name][0].response for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_every_committed_experiment_loads(folder):
    for name in (*METHODS, "supervised"):
        assert config.load(folder / f"{name}.toml").data.test_subset == "evaluation"


def test_rows_of_the_demo_lie_between_bounds_with_settings_of_their_own(folder):
    rows = rows_of(write_demo(folder))
    assert [row.name for row in rows] == ["chance", *METHODS, "supervised"]
    assert [row.name for row in rows if row.ranked] == list(METHODS)
    assert rows[0].experiment == rows[-1].experiment == config.load(folder / "supervised.toml")


def test_demo_refuses_a_folder_in_use(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: not an empty folder; choose another --out\n"
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_short_run_of_a_demo_experiment(folder, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["run", str(folder / "maan.toml"), "--set", "training.iterations=20", "--out", str(tmp_path)])
    assert not stop.value.code
    content = json.loads((tmp_path / "seed-0" / "evaluation.json").read_text())
    assert content["localization"]["tiou_thresholds"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_the_readme_has_a_row_for_each_method():
    table = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").partition("at tIoU")[2]
    rows = re.findall(r"^\| ([\w-]+) \|", table.partition("\n\n")[0], re.MULTILINE)
    assert rows == ["chance", *METHODS, "supervised"]
