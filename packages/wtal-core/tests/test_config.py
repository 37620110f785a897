"""Experiment files: every message with its dotted key, settings from the command line, the round trip."""

import re

import pytest
from wtal_core import config
from wtal_core.errors import ConfigError, Problems, WtalError

DATA = '[data]\nannotations = "a.json"\nfeatures = "f"\ngrid = "duration"\n'
GRID = '[data]\nannotations = "a.json"\nfeatures = "f"\n'


@pytest.fixture
def write(tmp_path):
    def do(text):
        (tmp_path / "e.toml").write_text(text)
        return tmp_path / "e.toml"

    return do


@pytest.fixture
def plain(write):
    return config.load(write(DATA))


def problems(file, settings=()):
    return [str(problem) for problem in config.examine(file, settings)[1]]


def test_defaults_and_paths_relative_to_the_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    experiment = config.load(write(DATA))
    assert experiment.data.annotations == str(tmp_path / "a.json")
    assert experiment.data.features == str(tmp_path / "f")
    assert (experiment.data.streams, experiment.model.decoder) == (["rgb", "flow"], "attention-pooling")
    assert (experiment.training.clip, experiment.seed, experiment.threads) == ("segments", 0, 1)


def test_absolute_paths_stay(write):
    assert config.load(write(DATA.replace("a.json", "/x/a.json"))).data.annotations == "/x/a.json"


TOP = (
    "data, device, disable_plugins, evaluation, localization, model, published, seed, stages, threads, trackers, "
    "training"
)

WRONG = [
    # unknown and misspelt keys
    ("colour = 1\n" + DATA, f"unknown key `colour`; known: {TOP}"),
    (DATA + "[modle]", "unknown key `modle`; did you mean 'model'?"),
    ("sed = 1\n" + DATA, "unknown key `sed`; did you mean 'seed'?"),
    (DATA + 'feature = "x"', "unknown key `data.feature`; did you mean 'features'?"),
    (
        GRID + "grid = { frames_per_second = 25, stride = 16, windw = 16 }",
        "unknown key `data.grid.windw`; did you mean 'window'?",
    ),
    (DATA + '[model]\ndecodr = "x"', "unknown key `model.decodr`; did you mean 'decoder'?"),
    (DATA + "[training]\niteration = 3", "unknown key `training.iteration`; did you mean 'iterations'?"),
    (
        DATA + "[localization]\nx = 1",
        "unknown key `localization.x`; known: activation, clip, fusion, proposer, stream_weights, suppressor",
    ),
    (DATA + "[evaluation]\nevaluatr = 1", "unknown key `evaluation.evaluatr`; did you mean 'evaluator'?"),
    # missing keys
    ("", "missing key `data`"),
    # wrong types
    ("model = 3\n" + DATA, "`model`: Expected `table`, got `int`"),
    ('seed = "x"\n' + DATA, "`seed`: Expected `int`, got `str`"),
    ("device = 3\n" + DATA, "`device`: Expected `str`, got `int`"),
    ('threads = "x"\n' + DATA, "`threads`: Expected `int`, got `str`"),
    ('disable_plugins = "x"\n' + DATA, "`disable_plugins`: Expected `array`, got `str`"),
    ("disable_plugins = [3]\n" + DATA, "`disable_plugins[0]`: Expected `str`, got `int`"),
    (DATA + "reader = 3", "`data.reader`: Expected `str | table`, got `int`"),
    (DATA + 'streams = "rgb"', "`data.streams`: Expected `array`, got `str`"),
    (DATA + 'streams = ["rgb", 3]', "`data.streams[1]`: Expected `str | array`, got `int`"),
    (DATA + "training_subset = 3", "`data.training_subset`: Expected `str`, got `int`"),
    (DATA + "test_subset = 3", "`data.test_subset`: Expected `str`, got `int`"),
    (DATA + 'classes = "x"', "`data.classes`: Expected `array | null`, got `str`"),
    (DATA + 'exclude = "x"', "`data.exclude`: Expected `array`, got `str`"),
    (DATA + "counts = 1", "`data.counts`: Expected `bool`, got `int`"),
    (DATA + "[model]\ndecoder = 3", "`model.decoder`: Expected `str | table`, got `int`"),
    (DATA + "[model]\naggregator = [1]", "`model.aggregator`: Expected `str | table`, got `array`"),
    *(
        (DATA + f'[training]\n{key} = "x"', f"`training.{key}`: Expected `{kind}`, got `str`")
        for key, kind in {
            "learning_rate": "float",
            "iterations": "int",
            "batch_size": "int",
            "weight_decay": "float",
            "standardize": "bool",
            "feature_dropout": "float",
            "checkpoint_every": "int",
        }.items()
    ),
    (DATA + "[training]\niterations = 1.5", "`training.iterations`: Expected `int`, got `float`"),
    *(
        (DATA + f"[localization]\n{key} = 3", f"`localization.{key}`: Expected `str | table`, got `int`")
        for key in ("activation", "proposer", "suppressor")
    ),
    (
        DATA + "[localization]\nstream_weights = 1",
        "`localization.stream_weights`: Expected `array | null`, got `int`",
    ),
    (DATA + "[evaluation]\nevaluator = 3", "`evaluation.evaluator`: Expected `str | table`, got `int`"),
    # values out of range
    ("seed = -1\n" + DATA, "`seed`: Expected `int` >= 0"),
    ("threads = 0\n" + DATA, "`threads`: Expected `int` >= 1"),
    (DATA + "streams = []", "`data.streams`: Expected `array` of length >= 1"),
    (DATA + 'streams = ["a", "a"]', "`data.streams` names a stream twice: ['a', 'a']"),
    (DATA + "[training]\niterations = 0", "`training.iterations`: Expected `int` >= 1"),
    (DATA + "[training]\nlearning_rate = 0.0", "`training.learning_rate`: Expected `float` > 0.0"),
    (DATA + "[training]\nweight_decay = -1.0", "`training.weight_decay`: Expected `float` >= 0.0"),
    (DATA + "[training]\nfeature_dropout = 1.0", "`training.feature_dropout`: Expected `float` < 1.0"),
    (
        DATA + "[localization]\nstream_weights = [1, -1]",
        "`localization.stream_weights[1]`: Expected `float` >= 0.0",
    ),
    *(
        (
            DATA + f"[localization]\nstream_weights = {weights}",
            "`localization.stream_weights` must hold one weight for each of the 2 streams, not all zero; got " + shown,
        )
        for weights, shown in {"[1]": "[1.0]", "[0, 0]": "[0.0, 0.0]", "[1, 2, 3]": "[1.0, 2.0, 3.0]"}.items()
    ),
    *(
        (
            f"{DATA}{section}{key} = {{ fraction = 1 }}",
            f"`{path}` is a table without a `name`, a string that says which component it is",
        )
        for section, key, path in [
            ("", "reader", "data.reader"),
            ("[model]\n", "decoder", "model.decoder"),
            ("[model]\n", "aggregator", "model.aggregator"),
            ("[localization]\n", "activation", "localization.activation"),
            ("[localization]\n", "proposer", "localization.proposer"),
            ("[localization]\n", "suppressor", "localization.suppressor"),
            ("[evaluation]\n", "evaluator", "evaluation.evaluator"),
        ]
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_said_once_with_its_key(write, text, said):
    file = write(text)
    assert problems(file) == [f"{file}: {said}"]
    with pytest.raises(ConfigError, match=re.escape(said)):
        config.load(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GRID + 'grid = "durations"', "`data.grid`: no such choice 'durations'; did you mean 'duration'?"),
        (GRID + "grid = 3", "`data.grid`: Expected `str | table`, got `int`"),
        (GRID + "grid = { frames_per_second = 25 }", "missing key `data.grid.stride`"),
        (GRID + "grid = { frames_per_second = 25, stride = 0 }", "`data.grid.stride`: Expected `int` >= 1"),
        (GRID, "missing key `data.grid`"),
        (DATA.replace('"a.json"', "3"), "`data.annotations`: Expected `str`, got `int`"),
        (DATA.replace('"f"', "3"), "`data.features`: Expected `str`, got `int`"),
        (DATA.replace('features = "f"', ""), "missing key `data.features`"),
        ("data = 3", "`data`: Expected `table`, got `int`"),
    ],
)
def test_what_is_wrong_with_a_required_key_comes_first(write, text, said):
    file = write(text)
    assert problems(file)[0] == f"{file}: {said}"


def test_what_is_wrong_with_a_required_key_is_said_once(write):
    file = write(GRID + 'grid = "durations"')
    assert problems(file) == [f"{file}: `data.grid`: no such choice 'durations'; did you mean 'duration'?"]


def test_all_missing_keys_are_named(write):
    file = write("[data]")
    assert problems(file) == [f"{file}: missing key `data.{key}`" for key in ("annotations", "features", "grid")]


def test_a_choice_lists_what_can_be_chosen(write):
    (problem,) = problems(write(DATA + '[localization]\nfusion = "mean"'))
    assert "activations" in problem
    assert "attention" in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GRID + "grid = { frames_per_second = 25, stride = " + "9" * 400 + " }", "`data.grid.stride`: {} 2147483647"),
        (DATA + "[training]\niterations = " + "9" * 400, "`training.iterations`: {} 2147483647"),
        (DATA + "[[stages]]\nmodels = 2147483648", "`stages[0].models`: {} 2147483647"),
        ("threads = 1025\n" + DATA, "`threads`: {} 1024"),
    ],
)
def test_whole_numbers_are_such_as_a_machine_counts(write, tmp_path, text, said):
    assert problems(write(text)) == [f"{tmp_path / 'e.toml'}: {said.format('Expected `int` <=')}"]


def test_a_path_that_is_not_utf8_is_refused(write, plain, tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    file = write(DATA).rename(folder / "e.toml")
    shown = ascii(str(folder))[1:-1]
    assert [told.encode("ascii", "backslashreplace").decode() for told in problems(file)] == [
        f"{shown}/e.toml: `data.{key}`: '{shown}/{name}' is a path that is not UTF-8, so a run cannot keep it; rename "
        "the folder"
        for key, name in {"annotations": "a.json", "features": "f"}.items()
    ]
    with pytest.raises(ConfigError) as error:
        config.configure(plain, ["data.features=caf\udce9"])
    assert str(error.value) == (
        "--set 'data.features=caf\\udce9': not UTF-8, so a run cannot keep it; write it in UTF-8"
    )


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("key", ["learning_rate", "weight_decay"])
def test_numbers_are_finite(write, key, value):
    assert problems(write(DATA + f"[training]\n{key} = {value}")) != []


def test_all_problems_are_found_in_one_pass(write):
    file = write(
        'seed = "x"\n'
        + DATA
        + '[training]\niterations = "x"\nfoo = 1\n[model]\nbar = 2\n[evaluation]\nevaluator = { n = 1 }'
    )
    with pytest.raises(Problems) as error:
        config.load(file)
    assert sorted(str(problem).removeprefix(f"{file}: ").split("; ")[0] for problem in error.value.problems) == [
        "`evaluation.evaluator` is a table without a `name`, a string that says which component it is",
        "`seed`: Expected `int`, got `str`",
        "`training.iterations`: Expected `int`, got `str`",
        "unknown key `model.bar`",
        "unknown key `training.foo`",
    ]
    assert str(error.value).splitlines() == [str(problem) for problem in error.value.problems]


def test_a_file_that_is_no_toml_or_not_there(write, tmp_path):
    file = write("[data\n")
    assert problems(file) == [
        f"{file}: not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"
    ]
    missing = tmp_path / "none.toml"
    assert problems(missing) == [f"{missing}: cannot read the experiment: No such file or directory"]
    file.write_bytes(b"\xff")
    assert problems(file) == [f"{file}: line 1: byte 0xff is not UTF-8; save it as UTF-8"]


# Settings


def value_of(experiment, key):
    for part in key.split("."):
        experiment = experiment[part] if isinstance(experiment, dict) else getattr(experiment, part)
    return experiment


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("training.iterations=5", "training.iterations", 5),
        (" training.iterations = 5 ", "training.iterations", 5),
        ("training.learning_rate=1e-3", "training.learning_rate", 1e-3),
        ("training.learning_rate=1", "training.learning_rate", 1.0),
        ("training.standardize=false", "training.standardize", False),
        ("device=cpu", "device", "cpu"),
        ('device="cpu"', "device", "cpu"),
        ("data.features=/some/where=else", "data.features", "/some/where=else"),
        ('data.streams=["rgb"]', "data.streams", ["rgb"]),
        ("data.grid={frames_per_second=25, stride=16}", "data.grid", config.SnippetGrid(25, 16)),
        ("model.aggregator=stpn", "model.aggregator", "stpn"),
        ("localization.proposer.fraction=0.3", "localization.proposer", {"name": "threshold", "fraction": 0.3}),
        ("localization.proposer.name=other", "localization.proposer", {"name": "other"}),
        ('localization.proposer={name="x", a=1}', "localization.proposer", {"name": "x", "a": 1}),
        ("evaluation.evaluator.tiou_thresholds=[0.5,0.75]", "evaluation.evaluator.tiou_thresholds", [0.5, 0.75]),
    ],
)
def test_a_setting_overrides_one_value(write, setting, key, value):
    assert value_of(config.load(write(DATA), [setting]), key) == value


def test_settings_apply_in_order_and_keep_the_options_beside_them(write):
    file = write(DATA + '[localization]\nproposer = { name = "threshold", fraction = 0.1, gap = 2 }')
    experiment = config.load(
        file, ["localization.proposer.fraction=0.2", "localization.proposer.fraction=0.3", "seed=4"]
    )
    assert experiment.localization.proposer == {"name": "threshold", "fraction": 0.3, "gap": 2}
    assert experiment.seed == 4


def test_a_relative_path_in_a_setting_is_relative_to_the_file_as_in_the_file(write, tmp_path):
    assert config.load(write(DATA), ["data.features=elsewhere"]).data.features == str(tmp_path / "elsewhere")


SHAPE = "expected key.path=value, such as training.iterations=500"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("training.iterations", SHAPE),
        ("=3", SHAPE),
        ("training.iterations=x", "`training.iterations`: Expected `int`, got `str`"),
        ("training.iteratons=3", "unknown key `training.iteratons`; did you mean 'iterations'?"),
        ("trainng.iterations=3", "unknown key `trainng`; did you mean 'training'?"),
        ("seed.x=3", "'seed' has no keys of its own"),
        ("data.streams.x=1", "give the whole list, or a key of one of its tables"),
        ("data.exclude=x", "`data.exclude`: Expected `array`, got `str`"),
        ("training.iterations=0", "`training.iterations`: Expected `int` >= 1"),
        (
            "localization.proposer={a=1}",
            "`localization.proposer` is a table without a `name`, a string that says which component it is",
        ),
    ],
)
def test_a_bad_setting_is_repeated_with_what_is_wrong(write, plain, setting, said):
    with pytest.raises(WtalError) as error:
        config.configure(plain, [setting])
    assert str(error.value) == f"--set {setting}: {said}"
    assert problems(write(DATA), ["seed=1", setting]) == [f"--set {setting}: {said}"]


def test_a_key_below_the_grid_duration_says_what_a_grid_needs(plain):
    with pytest.raises(WtalError) as error:
        config.configure(plain, ["data.grid.stride=3"])
    assert "data.grid.name" not in str(error.value)


@pytest.mark.parametrize("setting", ["training.=3", "training..x=3"])
def test_an_empty_key_is_refused_in_our_own_words(plain, setting):
    with pytest.raises(ConfigError, match=re.escape(f"--set {setting}: {SHAPE}")):
        config.configure(plain, [setting])


# Round trip

FULL = """
seed = 3
threads = 2
device = "cpu"
disable_plugins = ["other"]
[data]
annotations = "/x/a.json"
features = "/x/f.h5"
reader = { name = "hdf5" }
grid = { frames_per_second = 25, stride = 16, window = 32 }
streams = ["one"]
training_subset = "t"
test_subset = "v"
classes = ["b", "a"]
exclude = ["v1"]
counts = true
[model]
decoder = { name = "attention-pooling", sparsity = 0.1 }
[training]
learning_rate = 0.1
[localization]
proposer = { name = "threshold", levels = [0.1, 0.2], nested = { deep = true } }
fusion = "attention"
stream_weights = [1]
"""

JOINT = """
trackers = ["a", { name = "b", deep = { er = [1] } }]
[data]
annotations = "/x/a.json"
annotation_reader = { name = "r", sheet = 2 }
features = "/x/f"
grid = "duration"
streams = [["rgb", "flow"], "audio"]
[training]
clip = { name = "segments", snippets = 4 }
sampler = { name = "pairs", of = 3 }
losses = ["a", { name = "b", weight = 0.5 }]
[localization]
clip = "uniform"
stream_weights = [1, 0]
[[stages]]
models = 3
[[stages]]
teacher = "t"
start = "continue"
frozen = ["head"]
training = { iterations = 3, losses = [] }
model = { decoder = { name = "d" } }
localization = { stream_weights = [0, 1] }
"""


@pytest.mark.parametrize("text", [DATA, FULL, JOINT])
def test_what_is_dumped_loads_as_the_same(write, tmp_path, text):
    experiment = config.load(write(text))
    (tmp_path / "below").mkdir()
    copy = tmp_path / "below" / "config.toml"
    copy.write_text(config.dump(experiment))
    assert config.load(copy) == experiment
    assert config.differences(config.load(copy), experiment) == []


def test_the_dump_names_every_default(plain):
    dumped = config.dump(plain)
    for line in ("iterations = 1000", 'aggregator = "maa"', "feature_dropout = 0.5", 'fusion = "activations"'):
        assert line in dumped.splitlines()


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ([], []),
        (["seed=1", "training.iterations=3"], ["seed", "training.iterations"]),
        (['data.classes=["a"]'], ["data.classes"]),
        (
            ["model.aggregator.power=2"],
            ["model.aggregator", "model.aggregator.name", "model.aggregator.power"],
        ),
    ],
)
def test_differences_are_dotted_keys_in_either_order(plain, settings, keys):
    changed = config.configure(plain, settings)
    assert config.differences(plain, changed) == keys
    assert config.differences(changed, plain) == keys


@pytest.mark.parametrize("value", ["nms", {"name": "nms", "tiou": 0.5}, {"name": "nms"}])
def test_a_component_has_a_name(value):
    assert config.name_of(value) == "nms"


# Joint streams


def test_joint_streams_have_a_name_and_one_weight(write):
    file = write(DATA + 'streams = [["rgb", "flow"], "audio"]\n[localization]\nstream_weights = [1, 2]')
    experiment = config.load(file)
    assert experiment.data.streams == [["rgb", "flow"], "audio"]
    assert [config.stream_name(stream) for stream in experiment.data.streams] == ["rgb+flow", "audio"]
    assert problems(file, ["localization.stream_weights=[1,1,1]"]) == [
        "--set localization.stream_weights=[1,1,1]: `localization.stream_weights` must hold one weight for each of the "
        "2 streams, not all zero; got [1.0, 1.0, 1.0]"
    ]


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ('[["rgb", "flow"], "rgb"]', "names a stream twice: [['rgb', 'flow'], 'rgb']"),
        ('[["rgb", "rgb "]]', "names a stream twice: [['rgb', 'rgb ']]"),
        ('["rgb", []]', "joins no streams in an empty list: ['rgb', []]"),
        ("[[]]", "joins no streams in an empty list: [[]]"),
    ],
)
def test_joint_streams_are_distinct(write, streams, said):
    file = write(DATA + f"streams = {streams}")
    assert problems(file) == [f"{file}: `data.streams` {said}"]


def test_joint_streams_are_names(write):
    file = write(DATA + 'streams = [["../rgb", "flow"], "rgb+audio"]')
    assert problems(file) == [
        f"{file}: `data.streams`: '../rgb' is no name of a folder; leave out '.', '..' and empty parts",
        f"{file}: `data.streams`: 'rgb+audio' has a '+', which joins streams; write them as a list in the list",
    ]
    file = write(DATA + 'streams = [["rgb", 3], "flow"]')
    assert problems(file) == [f"{file}: `data.streams[0][1]`: Expected `str`, got `int`"]


# Stages


STAGES = """
[training]
iterations = 100
clip = { name = "crop", snippets = 50 }
losses = ["a"]
[localization]
proposer = { name = "threshold", fraction = 0.3 }
[[stages]]
[[stages]]
teacher = { name = "t", share = 0.5 }
models = 2
start = "continue"
frozen = ["head"]
training = { iterations = 7, losses = ["b", { name = "c", weight = 2 }] }
model = { decoder = { name = "d", hidden = 3 } }
localization = { suppressor = "soft-nms" }
"""


def test_a_stage_is_as_the_experiment_but_for_what_it_changes(write):
    experiment = config.load(write(DATA + STAGES))
    first, second = config.stages(experiment)
    assert (first.model, first.training, first.localization) == (
        experiment.model,
        experiment.training,
        experiment.localization,
    )
    assert (first.stage, second.stage.models, second.number) == (config.Stage(), 2, 1)
    assert (second.training.iterations, second.training.clip) == (7, {"name": "crop", "snippets": 50})
    assert second.training.losses == ["b", {"name": "c", "weight": 2}]
    assert (second.model.decoder, second.model.aggregator) == ({"name": "d", "hidden": 3}, "maa")
    assert second.localization.suppressor == "soft-nms"
    assert second.localization.proposer == {"name": "threshold", "fraction": 0.3}


TYPES = {
    "clip": "str | table",
    "sampler": "str | table",
    "losses": "array",
    "learning_rate": "float",
    "iterations": "int",
    "batch_size": "int",
    "weight_decay": "float",
    "standardize": "bool",
    "feature_dropout": "float",
    "checkpoint_every": "int",
}


def test_a_stage_may_change_some_options_of_a_component(write):
    stages = """
[[stages]]
[[stages]]
model = { decoder = { dropout = 0.5 }, aggregator = "mean" }
training = { clip = { snippets = 9 } }
localization = { proposer = { name = "intervals" } }
"""
    experiment = config.load(write(DATA + stages), ["model.decoder.hidden=7"])
    first, second = config.stages(experiment)
    decoder = {"name": "attention-pooling", "hidden": 7}
    assert (first.model.decoder, second.model.decoder) == (decoder, decoder | {"dropout": 0.5})
    assert second.model.aggregator == "mean"
    assert second.training.clip == {"name": config.name_of(first.training.clip), "snippets": 9}
    assert second.localization.proposer == {"name": "intervals"}
    assert "stages[1].model.decoder" not in [path for path, *_ in config.components(experiment)]
    again = config.load(write(config.dump(config.settled(experiment))))
    assert [one[1:3] for one in config.stages(again)] == [one[1:3] for one in config.stages(experiment)]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        *(
            (f"training = {{ {key} = [1] }}", f"`stages[1].training.{key}`: Expected `{kind}`, got `array`")
            for key, kind in TYPES.items()
            if key != "losses"
        ),
        *(
            (f"localization = {{ {key} = 3 }}", f"`stages[1].localization.{key}`: Expected `str | table`, got `int`")
            for key in ("clip", "activation", "proposer", "suppressor")
        ),
        *(
            (f"model = {{ {key} = 3 }}", f"`stages[1].model.{key}`: Expected `str | table`, got `int`")
            for key in ("decoder", "aggregator")
        ),
        ("training = { losses = 3 }", "`stages[1].training.losses`: Expected `array`, got `int`"),
        ("training = { losses = [3] }", "`stages[1].training.losses[0]`: Expected `str | table`, got `int`"),
        (
            'training = { losses = ["a", { x = 1 }] }',
            "`stages[1].training.losses[1]` is a table without a `name`, a string that says which component it is",
        ),
        (
            "teacher = { x = 1 }",
            "`stages[1].teacher` is a table without a `name`, a string that says which component it is",
        ),
        ("training = 3", "`stages[1].training`: Expected `table`, got `int`"),
        ("teacher = 3", "`stages[1].teacher`: Expected `str | table | null`, got `int`"),
        ("models = 0", "`stages[1].models`: Expected `int` >= 1"),
        ("frozen = [3]", "`stages[1].frozen[0]`: Expected `str`, got `int`"),
        ('start = "resume"', "`stages[1].start`: no such choice 'resume'; known: continue, fresh"),
        ("modles = 1", "unknown key `stages[1].modles`; did you mean 'models' or 'model'?"),
        ("training = { iteration = 3 }", "unknown key `stages[1].training.iteration`; did you mean 'iterations'?"),
        ("training = { iterations = 0 }", "`stages[1].training.iterations`: Expected `int` >= 1"),
        (
            'localization = { fusion = "mean" }',
            "`stages[1].localization.fusion`: no such choice 'mean'; known: activations, attention",
        ),
        (
            "localization = { stream_weights = [1] }",
            "`stages[1].localization.stream_weights` must hold one weight for each of the 2 streams, not all zero; got "
            "[1.0]",
        ),
    ],
)
def test_what_is_wrong_in_a_stage_is_said_once_with_its_key(write, stage, said):
    file = write(f"{DATA}[[stages]]\n[[stages]]\n{stage}\n[[stages]]\n")
    assert problems(file) == [f"{file}: {said}"]


def test_all_that_is_wrong_in_stages_is_said_at_once(write):
    file = write(
        DATA + '[training]\niterations = "x"\n'
        "[[stages]]\ntraining = { foo = 1, iterations = 1.5, batch_size = 0 }\nmodel = { bar = 1, decoder = 3 }\n"
        "[[stages]]\nmodels = 0\nlocalization = { clip = 3 }\n"
    )
    assert sorted(problem.removeprefix(f"{file}: ").split("; ")[0] for problem in problems(file)) == [
        "`stages[0].model.decoder`: Expected `str | table`, got `int`",
        "`stages[0].training.batch_size`: Expected `int` >= 1",
        "`stages[0].training.iterations`: Expected `int`, got `float`",
        "`stages[1].localization.clip`: Expected `str | table`, got `int`",
        "`stages[1].models`: Expected `int` >= 1",
        "`training.iterations`: Expected `int`, got `str`",
        "unknown key `stages[0].model.bar`",
        "unknown key `stages[0].training.foo`",
    ]


def test_a_stage_that_is_none_leaves_the_others_their_numbers(write):
    file = write("stages = [3, { models = 0 }, 4]\n" + DATA)
    assert problems(file) == [
        f"{file}: `stages[0]`: Expected `table`, got `int`",
        f"{file}: `stages[1].models`: Expected `int` >= 1",
        f"{file}: `stages[2]`: Expected `table`, got `int`",
    ]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("stages = []\n" + DATA, "`stages` is empty; leave it out for one stage"),
        (
            DATA + '[[stages]]\nstart = "continue"',
            '`stages[0].start` is "continue", but there is no stage before it',
        ),
    ],
)
def test_stages_that_cannot_be(write, stages, said):
    file = write(stages)
    assert problems(file) == [f"{file}: {said}"]


@pytest.mark.parametrize(
    ("setting", "number", "key", "value"),
    [
        ("stages.0.training.iterations=5", 0, "training.iterations", 5),
        ("stages.1.training.iterations=5", 1, "training.iterations", 5),
        ("stages.1.models=3", 1, "stage.models", 3),
        ("stages.1.teacher.share=0.1", 1, "stage.teacher", {"name": "t", "share": 0.1}),
        ("stages.0.teacher=u", 0, "stage.teacher", "u"),
        ("stages.1.model.decoder.hidden=8", 1, "model.decoder", {"name": "d", "hidden": 8}),
        ("stages.0.model.aggregator.power=2", 0, "model.aggregator", {"name": "maa", "power": 2}),
        ("stages.0.training.clip.snippets=9", 0, "training.clip", {"name": "crop", "snippets": 9}),
        ("stages.0.training.losses.0.weight=3", 0, "training.losses", [{"name": "a", "weight": 3}]),
        ("stages.1.training.losses.1.weight=3", 1, "training.losses", ["b", {"name": "c", "weight": 3}]),
        ("training.clip.snippets=9", 1, "training.clip", {"name": "crop", "snippets": 9}),
        ("training.losses.0.weight=3", 0, "training.losses", [{"name": "a", "weight": 3}]),
    ],
)
def test_a_setting_overrides_one_value_of_a_stage(write, setting, number, key, value):
    file = write(DATA + STAGES)
    before, after = config.stages(config.load(file)), config.stages(config.load(file, [setting]))
    assert value_of(after[number], key) == value
    assert after[number] != before[number]


def test_a_setting_of_the_first_stage_is_of_no_other(write):
    file = write(DATA + STAGES)
    before, after = config.stages(config.load(file)), config.stages(config.load(file, ["stages.0.training.clip=x"]))
    assert before[1] == after[1]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("stages.2.models=3", "expected the number of a table below 2, got '2'"),
        ("stages.-1.models=3", "expected the number of a table below 2, got '-1'"),
        ("stages.x.models=3", "expected the number of a table below 2, got 'x'"),
        ("stages.models=3", "give the whole list, or a key of one of its tables"),
        ("data.streams.0.x=1", "expected the number of a table below 2, got '0'"),
        ("stages.0.training.iterations=x", "`stages[0].training.iterations`: Expected `int`, got `str`"),
        ("stages.1.training.iteration=3", "unknown key `stages[1].training.iteration`; did you mean 'iterations'?"),
        ("stages.0.start=continue", '`stages[0].start` is "continue", but there is no stage before it'),
        ("stages.0.models.x=3", "'models' has no keys of its own"),
    ],
)
def test_a_bad_setting_of_a_stage_is_repeated(write, setting, said):
    with pytest.raises(WtalError) as error:
        config.configure(config.load(write(DATA + STAGES)), [setting])
    assert str(error.value) == f"--set {setting}: {said}"


def test_every_component_is_named_with_its_key_and_kind(write):
    experiment = config.load(write('trackers = ["x", { name = "y" }]\n' + DATA + STAGES))
    found = {key: (kind, value) for key, kind, value in config.components(experiment)}
    assert {key: kind for key, (kind, _) in found.items()} == {
        "data.annotation_reader": "annotation reader",
        "data.reader": "feature reader",
        "model.decoder": "decoder",
        "model.aggregator": "aggregator",
        "training.clip": "clip",
        "training.sampler": "sampler",
        "training.losses[0]": "loss",
        "localization.clip": "clip",
        "localization.activation": "activation",
        "localization.proposer": "proposer",
        "localization.suppressor": "suppressor",
        "evaluation.evaluator": "evaluator",
        "trackers[0]": "tracker",
        "trackers[1]": "tracker",
        "stages[1].model.decoder": "decoder",
        "stages[1].training.losses[0]": "loss",
        "stages[1].training.losses[1]": "loss",
        "stages[1].localization.suppressor": "suppressor",
        "stages[1].teacher": "teacher",
    }
    assert found["stages[1].training.losses[1]"][1] == {"name": "c", "weight": 2}
    assert found["trackers[1]"][1] == {"name": "y"}


def test_what_a_teacher_depends_on_does_not_change_with_localization_later(write):
    experiment = config.settled(config.load(write(DATA + STAGES)))
    settings = [
        "localization.proposer.fraction=0.9",
        "localization.stream_weights=[1,2]",
        "localization.fusion=attention",
    ]
    later = config.configure(experiment, settings)
    first, last = config.stages(later)
    assert first == config.stages(experiment)[0]
    assert first.localization.proposer == {"name": "threshold", "fraction": 0.3}
    assert (first.localization.stream_weights, first.localization.fusion) == ([1.0, 1.0], "activations")
    assert last.localization.proposer == {"name": "threshold", "fraction": 0.9}
    assert (last.localization.stream_weights, last.localization.fusion) == ([1.0, 2.0], "attention")
    assert config.differences(experiment, later) == [
        "localization.fusion",
        "localization.proposer.fraction",
        "localization.stream_weights",
    ]


def test_what_the_last_stage_localizes_with_can_be_changed_later(write):
    settled = config.settled(config.load(write(DATA + STAGES)))
    assert settled.localization.suppressor == "soft-nms"
    later = config.configure(settled, ["localization.suppressor=nms"])
    assert config.stages(later)[-1].localization.suppressor == "nms"


@pytest.mark.parametrize("text", [DATA, DATA + STAGES])
def test_a_settled_experiment_is_the_same_experiment_and_settled(write, text):
    experiment = config.load(write(text))
    settled = config.settled(experiment)
    assert config.settled(settled) == settled
    for one, other in zip(config.stages(experiment), config.stages(settled), strict=True):
        assert (one.model, one.training) == (other.model, other.training)
        equal = config.configure(experiment, ["localization.stream_weights=[1,1]"])
        assert other.localization in (one.localization, config.stages(equal)[one.number].localization)


# Paths


def test_the_home_folder_is_written_out(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    data = '[data]\nannotations = "~/a.json"\nfeatures = "f"\ngrid = "duration"\n'
    experiment = config.load(write(data), ["data.features=~/f"])
    assert experiment.data.annotations == f"{tmp_path}/a.json"
    assert experiment.data.features == f"{tmp_path}/f"
    assert config.configure(experiment, ["data.features=~/g"]).data.features == f"{tmp_path}/g"
    file = write(data.replace("~", "~no-such-user"))
    assert problems(file) == [
        f"{file}: `data.annotations`: '~no-such-user/a.json' begins with the home folder of a user that is unknown here"
    ]


BACKSLASH = """a backslash in "..." begins an escape: write the path in '...' or with forward slashes"""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (r"C:\Users\x", f"not valid TOML: Invalid hex value (at line 3, column 17); {BACKSLASH}"),
        (r"C:\data\x", f"not valid TOML: Unescaped '\\' in a string (at line 3, column 17); {BACKSLASH}"),
        (r"C:\new\thumos", rf"`data.features` has a control character, 'C:\new\thumos'; {BACKSLASH}"),
    ],
)
def test_a_backslash_that_begins_an_escape_is_explained(write, path, said):
    file = write(f'[data]\nannotations = "a.json"\nfeatures = "{path}"\ngrid = "duration"\n')
    assert problems(file) == [f"{file}: {said}"]
    literal = write(f'[data]\nannotations = "a.json"\nfeatures = \'{path}\'\ngrid = "duration"\n')
    assert problems(literal) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_the_experiment(write, encoding):
    file = write("")
    file.write_bytes('[data]\r\nannotations = "caf\xe9"\r\nfeatures = "f"\r\ngrid = "duration"\r\n'.encode(encoding))
    assert config.load(file).data.annotations == str(file.parent / "caf\xe9")


def test_what_overflows_the_parser_is_one_line(write):
    assert problems(file := write("x = " + "[" * 100_000)) == [
        f"{file}: not readable TOML: its arrays or tables are nested too deeply"
    ]
    assert problems(file := write("seed = " + "1" * 9000)) == [
        f"{file}: not readable TOML: a number has thousands of digits"
    ]


def test_streams_are_names(write):
    file = write(
        '[data]\nannotations = "a"\nfeatures = "f"\ngrid = "duration"\nstreams = ["../rgb", "flow", "flow "]\n'
    )
    assert problems(file) == [
        f"{file}: `data.streams` names a stream twice: ['../rgb', 'flow', 'flow ']",
        f"{file}: `data.streams`: '../rgb' is no name of a folder; leave out '.', '..' and empty parts",
    ]


def test_every_wrong_item_of_a_list_is_said(write):
    file = write(f'trackers = [3, {{ x = 1 }}]\n{DATA}streams = [1, "rgb", [2, "flow"], true]\n')
    assert problems(file) == [
        f"{file}: `trackers[0]`: Expected `str | table`, got `int`",
        f"{file}: `trackers[1]` is a table without a `name`, a string that says which component it is",
        f"{file}: `data.streams[0]`: Expected `str | array`, got `int`",
        f"{file}: `data.streams[2][0]`: Expected `str`, got `int`",
        f"{file}: `data.streams[3]`: Expected `str | array`, got `bool`",
    ]


def test_stages_beside_one_that_is_no_table_keep_their_numbers(write):
    file = write(f"stages = [3, {{ models = 0 }}, {{ training = {{ losses = [1, 2] }} }}]\n{DATA}")
    assert problems(file) == [
        f"{file}: `stages[0]`: Expected `table`, got `int`",
        f"{file}: `stages[1].models`: Expected `int` >= 1",
        f"{file}: `stages[2].training.losses[0]`: Expected `str | table`, got `int`",
        f"{file}: `stages[2].training.losses[1]`: Expected `str | table`, got `int`",
    ]


def test_a_backslash_is_explained_only_where_it_is_at_fault(write):
    advice = "a backslash in"
    assert advice in problems(write('[data]\nfeatures = "C:\\data"\n'))[0]
    assert advice not in problems(write('[data]\nfeatures = "C:\\\\data"\nannotations = \n'))[0]
