"""A fake installed distribution: what experiments use by default and the core does not ship, under the same names."""

from wtal_core import hookimpl


@hookimpl
def wtal_aggregators():
    return {"maa": "wtal_fakes:Mean"}


@hookimpl
def wtal_activations():
    return {"cas": "wtal_fakes:Activations"}


@hookimpl
def wtal_proposers():
    return {"threshold": "wtal_fakes:Runs"}


@hookimpl
def wtal_suppressors():
    return {"nms": "wtal_fakes:KeepAll"}


@hookimpl
def wtal_evaluators():
    return {"activitynet": "wtal_fakes:Recall", "classification": "wtal_fakes:Accuracy"}
