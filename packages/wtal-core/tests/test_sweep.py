"""Searching localization settings."""

import pytest
from wtal_core.errors import ConfigError
from wtal_core.sweep import combinations

pytestmark = pytest.mark.usefixtures("fakes")


def test_all_combinations_in_the_grids_order():
    grid = ["localization.proposer.fraction=[0.1, 0.2]", 'localization.fusion=["activations", "attention"]']
    assert list(combinations(grid)) == [
        (f"localization.proposer.fraction={fraction}", f"localization.fusion='{fusion}'")
        for fraction in (0.1, 0.2)
        for fusion in ("activations", "attention")
    ]


WHERE = (
    "a sweep changes how stored activations become detections, so keys begin with localization. "
    "and are not localization.activation"
)
FORM = "expected key=[value, ...], such as localization.proposer.threshold=[0.1,0.2]"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("training.iterations=[1]", WHERE),
        ("localization.activation=['cas']", WHERE),
        ("localization.proposer.fraction=0.1", FORM),
        ("localization.proposer.fraction=[]", FORM),
        ("localization.proposer.fraction=[0.1", FORM),
        ("localization.proposer.fraction", FORM),
    ],
)
def test_a_bad_axis_is_repeated_with_what_is_wrong(line, said):
    with pytest.raises(ConfigError) as error:
        list(combinations([line]))
    assert str(error.value) == f"--grid {line}: {said}"


@pytest.mark.parametrize(("flags", "subset"), [([], "training"), (["--on-test-subset"], "test")])
def test_the_best_setting_is_one_that_localize_takes(wtal, tiny, tmp_path, flags, subset):
    assert wtal("train", tiny, "--out", tmp_path).code == 0
    run = tmp_path / "seed-0"
    answer = wtal("sweep", run, "--grid", "localization.proposer.fraction=[0.0, 0.5, 2]", *flags)
    assert (answer.code, answer.err) == (0, "")
    start = f"best of 3 on the {subset} subset: wtal localize {run} --set '"
    last = answer.out.splitlines()[-1]
    assert last.startswith(start)
    setting = last.removeprefix(start).rstrip("'")
    assert setting != "localization.proposer.fraction=2"  # which finds nothing
    assert [file.name for file in (run / "readings").iterdir()] == [f"{subset}.h5"]
    assert wtal("localize", run, "--set", setting).code == 0
