"""Experiments: a TOML file decoded into strict structures. The reference of every key is made from these.

An unknown key or a wrong type is an error with its path in the file. A component (aggregator, proposer, ...) is its
name, or a table with `name` and its options:

    proposer = "threshold"
    proposer = { name = "threshold", threshold = 0.3 }
"""

from __future__ import annotations

import copy
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import tomli_w
from msgspec import Meta, Struct, field

from wtal_core.data.names import CONTROL, misplaced, normal, writable
from wtal_core.errors import ConfigError, WtalError, together
from wtal_core.text import read_text
from wtal_core.walk import KeyPath, Problem, Walk, dotted, drop

Positive = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
PositiveInt = Annotated[int, Meta(gt=0, le=2**31 - 1)]
NonNegative = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
Probability = Annotated[float, Meta(ge=0, lt=1)]

#: A component: its name, or a table with `name` and options.
Component = str | dict[str, Any]


class Table(Struct, forbid_unknown_fields=True, frozen=True):
    """A table of the file: no key but those declared."""


class SnippetGrid(Table, frozen=True):
    """Snippet i covers `window` frames from frame `offset + i * stride` on, and stands for the middle of its window.

    MAAN: 25 frames per second, stride and window 16.
    """

    #: of the video, as the features were extracted; "annotated": as the annotations say of each video
    frames_per_second: Positive | Literal["annotated"]
    stride: PositiveInt  #: frames from one snippet's start to the next one's
    window: PositiveInt | None = None  #: frames that a snippet covers; the stride, if not given
    #: frame at which the first window starts; below 0 where the video was padded, by as much at its end
    offset: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0


#: The grids of public features by name; docs/data.md says in seconds what each is, and where it is from.
GRIDS: Mapping[str, SnippetGrid] = {
    "i3d-25fps-16": SnippetGrid(25.0, 16),
    "i3d-stride-4": SnippetGrid("annotated", 4, 16),
    "tsp-15fps-16": SnippetGrid(15.0, 16),
    "untrimmednet-10fps-4": SnippetGrid(10.0, 4),
}

#: A frame grid, its name, or equal parts of the duration.
Grid = Literal["duration", "i3d-25fps-16", "i3d-stride-4", "tsp-15fps-16", "untrimmednet-10fps-4"] | SnippetGrid


class Data(Table, frozen=True):
    """Where annotations and features are. Paths are relative to the experiment file; `~` is the home folder."""

    annotations: str  #: a file or folder that the annotation reader understands
    features: str  #: a folder or file that the reader understands
    #: when each snippet is; "duration": the snippets share the annotated duration evenly
    grid: Grid
    #: of single videos whose features were extracted otherwise, by name
    video_grids: dict[str, Grid] = field(default_factory=dict)
    annotation_reader: Component = "auto"  #: how annotations are laid out; "auto" looks, and says what it found
    reader: Component = "auto"  #: how features are laid out; `auto` looks and says what it found
    #: A model each, fused late; the streams of a list in the list are joined, feature by feature, for one model
    streams: Annotated[list[str | list[str]], Meta(min_length=1)] = field(default_factory=lambda: ["rgb", "flow"])
    training_subset: str = "training"  #: as the annotations call it
    test_subset: str = "validation"  #: as the annotations call it
    classes: list[str] | None = None  #: the classes and their order; by default those of the training subset, sorted
    exclude: list[str] = field(default_factory=list)  #: videos to leave out
    counts: bool = False  #: let the decoder see instances per class: more than video-level supervision


class Model(Table, frozen=True):
    """One model per stream, or per list of joint streams, of this kind."""

    decoder: Component = "attention-pooling"  #: turns features into class scores
    aggregator: Component = "maa"  #: pools features under the decoder's attention


class Training(Table, frozen=True):
    """How each stream is trained. Defaults of MAAN (section 3.1) where the paper gives them, else ours."""

    clip: Component = "segments"  #: which snippets of a video one step sees; MAAN: one of each of 20 equal segments
    sampler: Component = "epochs"  #: which videos make up a batch
    losses: list[Component] = field(default_factory=list)  #: terms beside the decoder's own
    learning_rate: Positive = 5e-4  #: Adam (MAAN)
    iterations: PositiveInt = 1000  #: ours
    batch_size: PositiveInt = 16  #: videos; ours
    weight_decay: NonNegative = 0.0  #: Adam's coupled L2; the papers list none
    standardize: bool = True  #: features by the mean and deviation of the training subset; ours
    feature_dropout: Probability = 0.5  #: ours; small data needs it
    checkpoint_every: PositiveInt = 100  #: iterations


class Localization(Table, frozen=True):
    """From decodings to detections."""

    clip: Component = "whole"  #: which snippets of a video the models see; their rows stand for equal parts of it
    activation: Component = "cas"  #: when each class happens, read off a decoding
    proposer: Component = "threshold"  #: cuts intervals out of activations
    suppressor: Component = "nms"  #: removes detections that repeat others
    #: of streams: averaged activations (MAAN) or fused attention (STAR 14)
    fusion: Literal["activations", "attention"] = "activations"
    stream_weights: list[NonNegative] | None = None  #: one per stream; equal by default


class Evaluation(Table, frozen=True):
    """Which protocol scores the detections. Video-level scores always get the classification mAP."""

    evaluator: Component = "activitynet"  #: the protocol


class Stage(Table, frozen=True):
    """One round of training. What it does not change is as in the tables `model`, `training` and `localization`."""

    #: what differs from the table `model`; of a component without a `name`, only the options given differ
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)  #: what differs from the table `training`
    #: what differs from the table `localization`; by this the next stage's teacher sees detections
    localization: dict[str, Any] = field(default_factory=dict)
    models: PositiveInt = 1  #: trained from different starts, their predictions averaged
    teacher: Component | None = None  #: says from the stage before what each snippet should be
    #: "continue": weights of equal name and shape are taken from the stage before, model by model
    start: Literal["fresh", "continue"] = "fresh"
    #: parameters that are not trained, by the beginnings of their names
    frozen: list[str] = field(default_factory=list)


class Published(Table, frozen=True):
    """What a paper reports, shown below the run's own figures; nothing depends on it."""

    source: str  #: paper and table
    videos: PositiveInt  #: of the test subset
    classes: PositiveInt  #: that are scored
    columns: Annotated[list[str], Meta(min_length=1)]  #: such as a tIoU, "mean" or "Cls mAP"
    rows: dict[str, list[float]]  #: of each method, in percent, a number for each column
    evaluator: str = "activitynet"  #: the protocol, by the evaluator that keeps it


class Experiment(Table, frozen=True):
    """A whole experiment: everything that a run depends on but the code."""

    data: Data
    model: Model = Model()
    training: Training = Training()
    localization: Localization = Localization()
    evaluation: Evaluation = Evaluation()
    published: list[Published] = field(default_factory=list)  #: what papers report of it
    #: rounds of training, one after the other; the last one's models localize
    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    trackers: list[Component] = field(default_factory=list)  #: told how the run goes
    seed: Annotated[int, Meta(ge=0)] = 0  #: of all that is drawn at random
    #: of torch on the CPU; fixed, because sums split among threads round differently
    threads: Annotated[int, Meta(gt=0, le=1024)] = 1
    device: str = "auto"  #: a torch device; "auto" is the GPU if there is one
    disable_plugins: list[str] = field(default_factory=list)  #: distributions whose plugins are ignored


class StageSettings(NamedTuple):
    """What holds in one stage."""

    number: int
    model: Model
    training: Training
    localization: Localization
    stage: Stage


def stages(experiment: Experiment) -> list[StageSettings]:
    """The stages of an experiment with all that holds in each.

    Raises:
        ConfigError: a stage changes a key that does not exist, or to a wrong type.
    """
    settings = []
    for number in range(len(experiment.stages)):
        one, problems = _stage(experiment, number)
        if problems:
            raise ConfigError(problems[0][0])
        settings.append(one)
    return settings


def settled(experiment: Experiment) -> Experiment:
    """The experiment as a run keeps it: `localization` is what the last stage's models localize by.

    What a teacher depends on stands in the stages before, and does not change when localization does later.
    """
    *before, last = stages(experiment)
    kept = []
    for one in before:
        weights = one.localization.stream_weights or [1.0] * len(experiment.data.streams)  # no key may stay open
        whole = msgspec.structs.replace(one.localization, stream_weights=weights)
        kept.append(msgspec.structs.replace(one.stage, localization=msgspec.to_builtins(whole)))
    final = msgspec.structs.replace(last.stage, localization={})
    return msgspec.structs.replace(experiment, localization=last.localization, stages=[*kept, final])


def evaluators(experiment: Experiment) -> dict[str, Component]:
    """The evaluator of each kind of output."""
    return {"localization": experiment.evaluation.evaluator, "classification": "classification"}


def name_of(value: Component) -> str:
    """The name in a component's setting."""
    return value if isinstance(value, str) else str(value["name"])


def stream_name(value: str | list[str]) -> str:
    """The name of a stream, or of several that are joined: `rgb+flow`."""
    return value if isinstance(value, str) else "+".join(value)


def load(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, apply `key.path=value` settings, and make its paths absolute.

    Raises:
        ConfigError: the file cannot be read or is no TOML; a key is unknown, missing or of a wrong type.
        Problems: several of these.
    """
    experiment, problems = examine(path, settings)
    if experiment is None or problems:
        raise together(problems)
    return experiment


def examine(
    path: Path, settings: Sequence[str] = (), folder: Path | None = None
) -> tuple[Experiment | None, list[WtalError]]:
    """As `load`, but return all problems, beside what can still be made of the file (None if nothing).

    `folder` is what paths in it are relative to; by default the file's own.
    """
    try:
        text = read_text(path, ConfigError)
        table = tomllib.loads(text)
    except OSError as error:
        return None, [ConfigError(f"{path}: cannot read the experiment: {error.strerror}")]
    except ConfigError as error:
        return None, [error]
    except tomllib.TOMLDecodeError as error:
        advice = f"; {_BACKSLASH}" if _toml(text.replace("\\", "/")) is not None else ""
        return None, [ConfigError(f"{path}: not valid TOML: {error}{advice}")]
    except ValueError:
        return None, [ConfigError(f"{path}: not readable TOML: a number has thousands of digits")]
    except RecursionError:
        return None, [ConfigError(f"{path}: not readable TOML: its arrays or tables are nested too deeply")]
    experiment, problems = _decode(table, str(path))
    if experiment is None:
        return None, problems
    for setting in settings:
        try:
            experiment = configure(experiment, [setting])
        except WtalError as error:
            problems.append(error)
    here = folder or path.resolve().parent
    experiment = _with_paths(experiment, lambda given: str(here / given))
    for key in _PATHS:
        value = getattr(experiment.data, key)
        if not writable(value):
            told = f"{value!a} is a path that is not UTF-8, so a run cannot keep it; rename the folder"
            problems.append(ConfigError(f"{path}: `data.{key}`: {told}"))
    return experiment, problems


def configure(experiment: Experiment, settings: Sequence[str], option: str = "--set") -> Experiment:
    """Override values, each given as `key.path=value` with a TOML value; a bare word is a string.

    `option` is what the command line calls them, for messages.

    Example:
        configure(experiment, ["model.aggregator=maa", "localization.proposer.threshold=0.3"])

    Raises:
        ConfigError: a setting has no `=`, or names no key, or its value has a wrong type.
    """
    table = to_table(experiment)
    for setting in settings:
        key, equals, text = setting.partition("=")
        *parents, last = keys = [part.strip() for part in key.split(".")]
        if not writable(setting):
            raise ConfigError(f"{option} {setting!a}: not UTF-8, so a run cannot keep it; write it in UTF-8")
        if not equals or not all(keys):
            raise ConfigError(f"{option} {setting}: expected key.path=value, such as training.iterations=500")
        target: Any = table
        for depth, parent in enumerate(parents):
            if isinstance(target, list):
                target = _item(target, parents[: depth + 1], f"{option} {setting}")
                continue
            path = parents[: depth + 1]
            below = target.setdefault(parent, _inherited(table, path))
            if isinstance(below, str):  # a component given by its name alone gets options; a grid becomes another
                below = target[parent] = {"name": below} if _is_component(path) else {}
            if not isinstance(below, dict | list):
                raise ConfigError(f"{option} {setting}: {parent!r} has no keys of its own")
            target = below
        if isinstance(target, list):
            raise ConfigError(f"{option} {setting}: give the whole list, or a key of one of its tables")
        value = _toml(f"value = {text.strip()}")
        target[last] = text.strip() if value is None else value["value"]
        # Each setting is checked as it is applied, so that the message names the one at fault.
        changed, problems = _decode(table, f"{option} {setting}")
        if changed is None or problems:
            raise problems[0]
        experiment = changed
    return experiment


def to_table(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain tables, defaults included and what is absent or empty left out, as TOML wants them."""
    table: dict[str, Any] = _without_none(msgspec.to_builtins(experiment))
    return table


def dump(experiment: Experiment) -> str:
    """The whole experiment as TOML, defaults included; `load` reads it back."""
    return tomli_w.dumps(to_table(experiment))


def differences(one: Experiment, other: Experiment) -> list[str]:
    """The dotted keys in which two experiments differ."""
    left, right = _flat(to_table(one)), _flat(to_table(other))
    return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))


def _decode(table: Mapping[str, Any], source: str) -> tuple[Experiment | None, list[WtalError]]:
    """Decode a table strictly and report every problem, not only the first: what is wrong is as if it were not there.

    There is no experiment if something is wrong or missing that has no default.
    """
    walk = Walk(_REQUIRED)
    experiment = walk.table(table, Experiment)
    complete = all(tuple(path) not in _REQUIRED for _, path in walk.problems)
    inconsistent = list(_inconsistencies(experiment))
    sound = to_table(experiment)
    for _, path in inconsistent:
        drop(sound, path)
    errors: list[WtalError] = [ConfigError(f"{source}: {message}") for message, _ in [*walk.problems, *inconsistent]]
    if not complete:
        return None, errors
    # `~` at the beginning is written out; unlike Path's, this keeps what it cannot expand.
    return _with_paths(msgspec.convert(sound, Experiment), os.path.expanduser), errors


def _stage(experiment: Experiment, number: int) -> tuple[StageSettings, list[Problem]]:
    """What holds in a stage, and what is wrong with what it changes, and where."""
    stage = experiment.stages[number]
    walk = Walk(_REQUIRED)
    tables: dict[str, Any] = {}
    for section in ("model", "training", "localization"):
        usual = getattr(experiment, section)
        changed = _changed(msgspec.to_builtins(usual), getattr(stage, section))
        tables[section] = walk.table(changed, type(usual), ["stages", number, section])
    return StageSettings(number, **tables, stage=stage), walk.problems


def _changed(usual: dict[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    """A table as a stage has it: a component that it does not name again keeps its name and its other options."""
    return usual | {
        key: {**_named(usual[key]), **value} if _is_part(value) and _is_choice(usual.get(key)) else value
        for key, value in stage.items()
    }


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and "name" not in value


def _is_choice(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and "name" in value)


def _named(value: Any) -> dict[str, Any]:
    return {"name": value} if isinstance(value, str) else value


def components(experiment: Experiment) -> Iterator[tuple[str, str, Component]]:
    """Every component that an experiment names: the path of its key, its kind, and the setting."""
    for path, kind, value in _components(to_table(experiment)):
        yield dotted(path), kind, value


def _components(table: Mapping[str, Any], where: KeyPath = ()) -> Iterator[tuple[KeyPath, str, Any]]:
    """Those of the experiment and its stages, or of a stage."""
    for (*sections, key), kind in _COMPONENTS.items():
        inner = table
        for section in sections:
            inner = inner.get(section, {})
        found = inner.get(key)
        path = [*where, *sections, key]
        if isinstance(found, list):
            yield from (([*path, number], kind, one) for number, one in enumerate(found))
        elif found is not None and not _is_part(found):
            yield path, kind, found
    for number, stage in enumerate(table.get("stages", [])):
        yield from _components(stage, ["stages", number])


def _inconsistencies(experiment: Experiment) -> Iterator[Problem]:
    """What types cannot express, and what must go so that the rest can be looked at."""
    streams = len(experiment.data.streams)
    if problem := _weight_problem(experiment.localization, streams):
        yield f"`localization.stream_weights` {problem}", ["localization", "stream_weights"]
    for number, stage in enumerate(experiment.stages):
        one, problems = _stage(experiment, number)
        yield from ((message, path[:4]) for message, path in problems)  # of a list the whole
        if "stream_weights" in stage.localization and (problem := _weight_problem(one.localization, streams)):
            path: KeyPath = ["stages", number, "localization", "stream_weights"]
            yield f"`{dotted(path)}` {problem}", path
    if not experiment.stages:
        yield "`stages` is empty; leave it out for one stage", ["stages"]
    elif experiment.stages[0].start == "continue":
        yield '`stages[0].start` is "continue", but there is no stage before it', ["stages", 0, "start"]
    yield from ((message, ()) for message in _data_problems(experiment.data))
    for number, table in enumerate(experiment.published):
        for name, row in table.rows.items():
            if len(row) != len(table.columns):
                path = ["published", number, "rows", name]
                yield f"`{dotted(path)}` must have one number for each of the {len(table.columns)} columns", path


def _weight_problem(localization: Localization, streams: int) -> str | None:
    weights = localization.stream_weights
    if weights is None or (len(weights) == streams and sum(weights) > 0):
        return None
    return f"must hold one weight for each of the {streams} streams, not all zero; got {weights}"


def _data_problems(data: Data) -> Iterator[str]:
    streams = data.streams
    names = [name for stream in streams for name in ([stream] if isinstance(stream, str) else stream)]
    if len(set(map(normal, names))) < len(names):
        yield f"`data.streams` names a stream twice: {streams}"
    if [] in streams:
        yield f"`data.streams` joins no streams in an empty list: {streams}"
    for stream in names:
        if misplaced(stream):
            yield f"`data.streams`: {stream!r} is no name of a folder; leave out '.', '..' and empty parts"
        if "+" in stream:
            yield f"`data.streams`: {stream!r} has a '+', which joins streams; write them as a list in the list"
    for key in _PATHS:
        value = getattr(data, key)
        if CONTROL.search(value):
            yield f"`data.{key}` has a control character, {value!r}; {_BACKSLASH}"
        try:
            Path(value).expanduser()
        except RuntimeError:
            yield f"`data.{key}`: {value!r} begins with the home folder of a user that is unknown here"


def _with_paths(experiment: Experiment, change: Callable[[str], str]) -> Experiment:
    changed = {key: change(getattr(experiment.data, key)) for key in _PATHS}
    return msgspec.structs.replace(experiment, data=msgspec.structs.replace(experiment.data, **changed))


#: The keys of `data` that hold a path.
_PATHS = ("annotations", "features")
_BACKSLASH = """a backslash in "..." begins an escape: write the path in '...' or with forward slashes"""


def _is_component(path: Sequence[str]) -> bool:
    """Whether a path leads to a component, or to one of a list of them."""
    keys = tuple(key for key in path if not key.isdecimal())
    return (keys[1:] if keys[0] == "stages" else keys) in _COMPONENTS


def _inherited(table: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What is changed where nothing stands yet: in a stage, what the whole experiment has there."""
    if len(path) != 4 or path[0] != "stages":
        return {}
    return copy.deepcopy(table.get(path[2], {}).get(path[3], {}))


def _item(items: list[Any], path: Sequence[str], given: str) -> Any:
    """One table of a list, such as a stage, or a component that gets options."""
    index = path[-1]
    if index.isdecimal() and int(index) < len(items):
        item = items[int(index)]
        if isinstance(item, str) and _is_component(path):
            item = items[int(index)] = {"name": item}
        if isinstance(item, dict):
            return item
    raise ConfigError(f"{given}: expected the number of a table below {len(items)}, got {index!r}")


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None and item != {}}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


#: Stand-ins for what has no default.
_REQUIRED: Mapping[tuple[str | int, ...], Any] = {
    ("data",): Data("", "", "duration"),
    ("data", "annotations"): "",
    ("data", "features"): "",
    ("data", "grid"): "duration",
    ("data", "grid", "frames_per_second"): 1.0,
    ("data", "grid", "stride"): 1,
}
#: The keys that hold a component or a list of them, in the experiment or in a stage, and its kind.
_COMPONENTS: Mapping[tuple[str, ...], str] = {
    ("data", "annotation_reader"): "annotation reader",
    ("data", "reader"): "feature reader",
    ("model", "decoder"): "decoder",
    ("model", "aggregator"): "aggregator",
    ("training", "clip"): "clip",
    ("training", "sampler"): "sampler",
    ("training", "losses"): "loss",
    ("localization", "clip"): "clip",
    ("localization", "activation"): "activation",
    ("localization", "proposer"): "proposer",
    ("localization", "suppressor"): "suppressor",
    ("evaluation", "evaluator"): "evaluator",
    ("teacher",): "teacher",
    ("trackers",): "tracker",
}
