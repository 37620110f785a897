"""The hooks of a wtal plugin. Each returns names and where to find what they name, so that listing imports nothing.

A plugin is a module that an entry point of the group `wtal` names. A complete one, `_my_package_plugin.py`:

    from wtal_core import hookimpl

    @hookimpl
    def wtal_aggregators():
        return {"my-pooling": "my_package.pooling:MyPooling"}

with, in its `pyproject.toml`:

    [project.entry-points.wtal]
    my-package = "_my_package_plugin"

Name that module for your package, because Python imports one module of a name, whoever ships it. Keep it outside the
package whose classes it names: an entry point inside it would run the package's `__init__`, and every `wtal plugins`
would pay for it. The calls that each kind of component answers are in `wtal_core.contracts`.

The hooks and the calls together are the contract, which has a number. A plugin that needs a certain one says so in its
module, `wtal_contract = 1`; a host with a lower number sets it aside and says why. A higher number only adds: what a
plugin of an earlier one does keeps working.
"""

from __future__ import annotations

from collections.abc import Mapping

from pluggy import HookspecMarker

hookspec = HookspecMarker("wtal")

#: The number of this contract. It rises with every addition to the hooks or to `wtal_core.contracts`.
CONTRACT = 1


@hookspec
def wtal_aggregators() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Poolings of snippet features under an attention (`contracts.Aggregator`).

    Example:
        return {"maa": "wtal_aggregators:MarginalizedAverage"}
    """


@hookspec
def wtal_decoders() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Models from features to assemblies and class scores (`contracts.Decoder`).

    Example:
        return {"star": "wtal_star:Star"}
    """


@hookspec
def wtal_activations() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Readings of class activations over time from a decoding (`contracts.Activation`).

    Example:
        return {"cas": "wtal_localize:ClassActivationSequence"}
    """


@hookspec
def wtal_proposers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Rules that cut activations into scored intervals (`contracts.Proposer`).

    Example:
        return {"threshold": "wtal_localize:Threshold"}
    """


@hookspec
def wtal_suppressors() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Rules that drop detections repeating a better one (`contracts.Suppressor`).

    Example:
        return {"nms": "wtal_localize:NonMaximumSuppression"}
    """


@hookspec
def wtal_evaluators() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Evaluation protocols (`contracts.Evaluator`).

    Example:
        return {"activitynet": "wtal_eval:ActivityNet"}
    """


@hookspec
def wtal_feature_readers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Layouts of feature files (`contracts.FeatureReader`).

    Example:
        return {"npy": "wtal_core.features:NpyFolder"}
    """
