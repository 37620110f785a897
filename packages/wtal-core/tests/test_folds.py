"""Folds of training videos: groups, sizes, labels."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wtal_core.errors import ConfigError, DataError
from wtal_core.tuning.folds import check_classes, folds_of, groups_of

LABELS = st.sets(st.sampled_from("abc"), min_size=1)


@st.composite
def grouped(draw):
    """Labels and groups of some videos, and a number of folds that their groups allow."""
    of_video = draw(st.lists(st.tuples(LABELS, st.integers(0, 6)), min_size=2, max_size=24))
    labels = {f"v{n}": found for n, (found, _) in enumerate(of_video)}
    groups = {f"v{n}": f"g{group}" for n, (_, group) in enumerate(of_video)}
    groups["v0"], groups["v1"] = "first", "second"
    return labels, groups, draw(st.integers(2, min(5, len(set(groups.values())))))


@settings(max_examples=100, deadline=None)
@given(grouped(), st.integers(0, 3))
def test_every_video_is_in_one_fold_and_no_group_in_two(data, seed):
    labels, groups, number = data
    folds = folds_of(labels, groups, number, seed)
    assert len(folds) == number
    assert all(folds)
    assert sorted(itertools.chain(*folds)) == sorted(labels)
    assert all(list(fold) == [video for video in labels if video in fold] for fold in folds)
    of_fold = [{groups[video] for video in fold} for fold in folds]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(of_fold, 2))
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= max(Counter(groups.values()).values())
    assert folds == folds_of(labels, groups, number, seed)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("xyz", min_size=1), LABELS, min_size=6, max_size=30), st.integers(2, 4))
def test_folds_of_single_videos_are_as_equal_as_can_be(labels, number):
    folds = folds_of(labels, groups_of(list(labels), None), number, 0)
    assert {len(fold) for fold in folds} <= {len(labels) // number, -(-len(labels) // number)}


@settings(max_examples=50, deadline=None)
@given(st.lists(LABELS, min_size=4, max_size=8))
def test_a_class_is_alone_in_a_fold_only_if_no_equal_folds_part_it(of_video):
    labels = {f"v{n}": found for n, found in enumerate(of_video)}

    def alone(folds):
        where = Counter(label for fold in folds for label in set().union(*(labels[video] for video in fold)))
        return sum(count == 1 for count in where.values())

    least = len(labels) // 2
    halves = [
        (half, tuple(set(labels) - set(half)))
        for size in {least, len(labels) - least}
        for half in itertools.combinations(labels, size)
    ]
    assert alone(folds_of(labels, {name: name for name in labels}, 2, 0)) == min(map(alone, halves))


def test_labels_are_spread():
    labels = {f"v{n}": {"rare"} if n % 10 == 0 else {"common"} for n in range(30)}
    for seed in range(5):
        for fold in folds_of(labels, {name: name for name in labels}, 3, seed):
            assert Counter(label for video in fold for label in labels[video]) == {"rare": 1, "common": 9}


def test_the_seed_decides_among_equals():
    labels = {f"v{n}": {"a"} for n in range(12)}
    groups = {name: name for name in labels}
    assert len({tuple(folds_of(labels, groups, 3, seed)) for seed in range(5)}) > 1


def test_a_group_is_what_the_expression_finds():
    assert groups_of(["person-01-a", "x/person-2"], r"person-\d+") == {
        "person-01-a": "person-01",
        "x/person-2": "person-2",
    }
    assert groups_of(["s01_walk", "s02_run"], r"^(s\d+)_") == {"s01_walk": "s01", "s02_run": "s02"}


@pytest.mark.parametrize(
    ("names", "pattern", "said"),
    [
        (["p1", "x"], r"p\d", "finds no group in the name of video 'x'; give one that finds it in all"),
        (
            ["x", "p1", "y"],
            r"p\d",
            "finds no group in the name of video 'x', nor in 1 more; give one that finds it in all",
        ),
        (["ab", "b"], r"(a)?b", "finds no group in the name of video 'b'; give one that finds it in all"),
        (["a"], "x*", "finds no group in the name of video 'a'; give one that finds it in all"),
        (["a"], "(", "not a regular expression: missing ), unterminated subpattern at position 0"),
    ],
)
def test_a_name_without_a_group(names, pattern, said):
    with pytest.raises(ConfigError) as caught:
        groups_of(names, pattern)
    assert str(caught.value) == f"--group {pattern}: {said}"


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("aabb", "the training videos are of 2 groups only (a, b); give --folds 2 or fewer, or another --group"),
        ("aaaa", "the training videos are of 1 group only (a); give another --group"),
    ],
)
def test_fewer_groups_than_folds(groups, said):
    of_video = dict(zip("1234", groups, strict=True))
    with pytest.raises(ConfigError) as caught:
        folds_of({name: {"jump"} for name in of_video}, of_video, 3, 0)
    assert str(caught.value) == f"--folds 3: {said}"


@pytest.mark.parametrize(("more", "others"), [({}, ""), ({"v4": {"hop"}}, " (as 1 more have)")])
def test_a_class_of_one_fold(more, others):
    labels = {"v0": {"run"}, "v1": {"run"}, "v2": {"jump", "run"}, "v3": {"run", "jump"}} | more
    with pytest.raises(DataError) as caught:
        check_classes(labels, [["v0", "v4"] if more else ["v0"], ["v1"], ["v2", "v3"]])
    name, fold = ("hop", 1) if more else ("jump", 3)
    assert str(caught.value) == (
        f"class '{name}' has training videos in fold {fold} of 3 alone{others}, so that nothing is left to learn it "
        "from when that fold is held out; give it videos of more groups, leave its videos out by data.exclude, or give "
        "another --folds or --group"
    )
