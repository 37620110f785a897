"""Experiments: a TOML file decoded into strict structures. This module is the reference of every key.

An unknown key or a wrong type is an error with its path in the file. A component (aggregator, proposer, ...) is its
name, or a table with `name` and its options:

    proposer = "threshold"
    proposer = { name = "threshold", threshold = 0.3 }
"""

from __future__ import annotations

import copy
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import tomli_w
from msgspec import Meta, Struct, field

from wtal_core.errors import ConfigError, Problems, WtalError, did_you_mean
from wtal_core.names import CONTROL, misplaced, normal
from wtal_core.text import read_text

Positive = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
PositiveInt = Annotated[int, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
Probability = Annotated[float, Meta(ge=0, lt=1)]

#: A component: its name, or a table with `name` and options. `Choice.of` reads both.
Component = str | dict[str, Any]


class Table(Struct, forbid_unknown_fields=True, frozen=True):
    """A table of the file: no key but those declared."""


class SnippetGrid(Table, frozen=True):
    """Snippet i covers `window` frames from frame `i * stride` on. MAAN: 25 frames per second, stride and window 16."""

    frames_per_second: Positive
    stride: PositiveInt
    window: PositiveInt | None = None  #: the stride, if not given


class Data(Table, frozen=True):
    """Where annotations and features are. Paths are relative to the experiment file; `~` is the home folder."""

    annotations: str  #: ActivityNet-format JSON
    features: str  #: a folder or file that the reader understands
    grid: Literal["duration"] | SnippetGrid  #: "duration": the snippets share the annotated duration evenly
    reader: Component = "npy"
    streams: Annotated[list[str], Meta(min_length=1)] = field(default_factory=lambda: ["rgb", "flow"])
    training_subset: str = "training"
    test_subset: str = "validation"
    classes: list[str] | None = None  #: the classes and their order; by default those of the training subset, sorted
    exclude: list[str] = field(default_factory=list)  #: videos to leave out
    counts: bool = False  #: let the decoder see instances per class: more than video-level supervision


class Model(Table, frozen=True):
    """One model per stream, of this kind."""

    decoder: Component = "attention-pooling"
    aggregator: Component = "maa"


class Training(Table, frozen=True):
    """How each stream is trained. Defaults of MAAN (section 3.1) where the paper gives them, else ours."""

    snippets: PositiveInt = 20  #: T, one random snippet from each of T equal segments (MAAN)
    learning_rate: Positive = 5e-4  #: Adam (MAAN)
    iterations: PositiveInt = 1000  #: ours
    batch_size: PositiveInt = 16  #: videos; ours
    weight_decay: NonNegative = 0.0  #: Adam's coupled L2; the papers list none
    standardize: bool = True  #: features by the mean and deviation of the training subset; ours
    feature_dropout: Probability = 0.5  #: ours; small data needs it
    checkpoint_every: PositiveInt = 100  #: iterations


class Localization(Table, frozen=True):
    """From decodings to detections."""

    activation: Component = "cas"
    proposer: Component = "threshold"
    suppressor: Component = "nms"
    fusion: Literal["activations", "attention"] = (
        "activations"  #: averaged activations (MAAN) or fused attention (STAR 14)
    )
    stream_weights: list[NonNegative] | None = None  #: one per stream; equal by default


class Evaluation(Table, frozen=True):
    """Which protocol scores the detections. Video-level scores always get the classification mAP."""

    evaluator: Component = "activitynet"


class Experiment(Table, frozen=True):
    """A whole experiment: everything that a run depends on but the code."""

    data: Data
    model: Model = Model()
    training: Training = Training()
    localization: Localization = Localization()
    evaluation: Evaluation = Evaluation()
    seed: Annotated[int, Meta(ge=0)] = 0
    threads: PositiveInt = 1  #: of torch on the CPU; fixed, because sums split among threads round differently
    device: str = "auto"  #: a torch device; "auto" is the GPU if there is one
    disable_plugins: list[str] = field(default_factory=list)  #: distributions whose plugins are ignored


def component(value: Component) -> tuple[str, dict[str, Any]]:
    """Split a component's setting into its name and its options."""
    if isinstance(value, str):
        return value, {}
    options = dict(value)
    return options.pop("name"), options


def load(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, apply `key.path=value` settings, and make its paths absolute.

    Raises:
        ConfigError: the file cannot be read or is no TOML; a key is unknown, missing or of a wrong type.
        Problems: several of these.
    """
    experiment, problems = examine(path, settings)
    if experiment is None or problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    return experiment


def examine(path: Path, settings: Sequence[str] = ()) -> tuple[Experiment | None, list[WtalError]]:
    """As `load`, but return all problems, beside what can still be made of the file (None if nothing)."""
    try:
        table = tomllib.loads(read_text(path, ConfigError))
    except OSError as error:
        return None, [ConfigError(f"{path}: cannot read the experiment: {error.strerror}")]
    except ConfigError as error:
        return None, [error]
    except tomllib.TOMLDecodeError as error:
        advice = f"; {_BACKSLASH}" if _ESCAPE.search(str(error)) else ""
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
    here = path.resolve().parent
    data = experiment.data
    paths = {"annotations": str(here / data.annotations), "features": str(here / data.features)}
    return msgspec.structs.replace(experiment, data=msgspec.structs.replace(data, **paths)), problems


def configure(experiment: Experiment, settings: Sequence[str]) -> Experiment:
    """Override values, each given as `key.path=value` with a TOML value; a bare word is a string.

    Example:
        configure(experiment, ["model.aggregator=maa", "localization.proposer.threshold=0.3"])

    Raises:
        ConfigError: a setting has no `=`, or names no key, or its value has a wrong type.
    """
    table = to_table(experiment)
    for setting in settings:
        key, equals, text = setting.partition("=")
        *parents, last = keys = [part.strip() for part in key.split(".")]
        if not equals or not all(keys):
            raise ConfigError(f"--set {setting}: expected key.path=value, such as training.iterations=500")
        target = table
        for depth, parent in enumerate(parents):
            below = target.setdefault(parent, {})
            if isinstance(below, str):  # a component given by its name alone gets options; a grid becomes another
                below = target[parent] = {"name": below} if _is_component(parents[: depth + 1]) else {}
            if not isinstance(below, dict):
                raise ConfigError(f"--set {setting}: {parent!r} has no keys of its own")
            target = below
        target[last] = _value(text.strip())
        # Each setting is checked as it is applied, so that the message names the one at fault.
        changed, problems = _decode(table, f"--set {setting}")
        if changed is None or problems:
            raise problems[0]
        experiment = changed
    return experiment


def to_table(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain tables, defaults included and absent values left out, as TOML wants them."""
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
    """Decode a table strictly and report every problem, not only the first: drop what is wrong and try again."""
    remaining = copy.deepcopy(dict(table))
    problems: list[WtalError] = []
    complete = True
    while True:
        try:
            experiment = msgspec.convert(remaining, Experiment)
        except msgspec.ValidationError as error:
            text, path = _parse(str(error))
            problems.append(ConfigError(f"{source}: {_explain(text, path)}"))
            field = _UNKNOWN.search(text) or _MISSING.search(text)
            path = [*path, field[1]] if field else path
            if not _mend(remaining, path):
                return None, problems
            complete &= tuple(path) not in _REQUIRED
        else:
            problems += [ConfigError(f"{source}: {message}") for message in _inconsistencies(experiment)]
            return _with_home(experiment) if complete else None, problems


def _inconsistencies(experiment: Experiment) -> Iterator[str]:
    """What types cannot express."""
    for section, keys in _COMPONENTS.items():
        for key in keys:
            value = getattr(getattr(experiment, section), key)
            if isinstance(value, dict) and not isinstance(value.get("name"), str):
                yield f"`{section}.{key}` is a table without a `name`, a string that says which component it is"
    weights, streams = experiment.localization.stream_weights, experiment.data.streams
    if weights is not None and (len(weights) != len(streams) or not sum(weights) > 0):
        yield (
            f"`localization.stream_weights` must hold one weight for each of the {len(streams)} streams, "
            f"not all zero; got {weights}"
        )
    if len(set(map(normal, streams))) < len(streams):
        yield f"`data.streams` names a stream twice: {streams}"
    for stream in streams:
        if misplaced(stream):
            yield f"`data.streams`: {stream!r} is no name of a folder; leave out '.', '..' and empty parts"
    for key in ("annotations", "features"):
        value = getattr(experiment.data, key)
        if CONTROL.search(value):
            yield f"`data.{key}` has a control character, {value!r}; {_BACKSLASH}"
        try:
            Path(value).expanduser()
        except RuntimeError:
            yield f"`data.{key}`: {value!r} begins with the home folder of a user that is unknown here"


def _with_home(experiment: Experiment) -> Experiment:
    """The experiment with `~` at the beginning of its paths written out."""
    paths = {key: getattr(experiment.data, key) for key in ("annotations", "features")}
    written = {key: os.path.expanduser(path) for key, path in paths.items()}  # noqa: PTH111 - keeps what it cannot expand
    return msgspec.structs.replace(experiment, data=msgspec.structs.replace(experiment.data, **written))


# What TOML says of an escape that is none, and what else `"C:\new"` becomes.
_ESCAPE = re.compile("hex value|Unescaped|scalar value")
_BACKSLASH = """a backslash in "..." begins an escape: write the path in '...' or with forward slashes"""
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_MISSING = re.compile(r"missing required field `(.+)`")
_CHOICE = re.compile(r"Invalid enum value '(.*)'")


def _parse(message: str) -> tuple[str, list[str]]:
    """Split msgspec's message into what is wrong and the keys that lead there."""
    text, _, where = message.partition(" - at `$")
    return text, [key for key in re.split(r"[.\[]", where.rstrip("`")) if key and not key.endswith("]")]


def _explain(text: str, path: Sequence[str]) -> str:
    """Say what is wrong in the file's own terms: dotted keys, and what there is to choose from."""
    dotted = ".".join(path)
    if unknown := _UNKNOWN.search(text):
        return f"unknown key `{'.'.join([*path, unknown[1]])}`; {did_you_mean(unknown[1], list(_annotations(path)))}"
    if missing := _MISSING.search(text):
        return f"missing key `{'.'.join([*path, missing[1]])}`"
    if wrong := _CHOICE.search(text):
        literals = [kind for kind in _members(_annotations(path[:-1])[path[-1]]) if get_origin(kind) is Literal]
        choices = [choice for literal in literals for choice in get_args(literal)]
        return f"`{dotted}`: no such choice {wrong[1]!r}; {did_you_mean(wrong[1], choices)}"
    text = text.replace("object", "table")  # msgspec's words are JSON's
    return f"`{dotted}`: {text}" if dotted else text


def _mend(table: dict[str, Any], path: Sequence[str]) -> bool:
    """Remove a wrong value, or put a stand-in for a required one, so that decoding goes on; False if it cannot."""
    for key in path[:-1]:
        table = table.get(key, {})
    if not path or not isinstance(table, dict):
        return False
    if tuple(path) in _REQUIRED:
        table[path[-1]] = copy.deepcopy(_REQUIRED[tuple(path)])
        return True
    return table.pop(path[-1], None) is not None


def _annotations(path: Sequence[str]) -> dict[str, Any]:
    """The keys of a table and the types of their values."""
    table: type[Struct] = Experiment
    for key in path:
        annotation = {field.name: field.type for field in msgspec.structs.fields(table)}[key]
        table = next(kind for kind in _members(annotation) if isinstance(kind, type) and issubclass(kind, Struct))
    return {field.name: field.type for field in msgspec.structs.fields(table)}


def _members(annotation: Any) -> list[Any]:
    """The types of a union, or the one type."""
    return [annotation, *get_args(annotation)]


def _is_component(path: Sequence[str]) -> bool:
    return len(path) == 2 and path[1] in _COMPONENTS.get(path[0], ())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


#: Stand-ins for what has no default, so that one missing key does not hide the others' mistakes.
_REQUIRED: Mapping[tuple[str, ...], Any] = {
    ("data",): {"annotations": "", "features": "", "grid": "duration"},
    ("data", "annotations"): "",
    ("data", "features"): "",
    ("data", "grid"): "duration",
    ("data", "grid", "frames_per_second"): 1.0,
    ("data", "grid", "stride"): 1,
}
_COMPONENTS = {
    "data": ["reader"],
    "model": ["decoder", "aggregator"],
    "localization": ["activation", "proposer", "suppressor"],
    "evaluation": ["evaluator"],
}
