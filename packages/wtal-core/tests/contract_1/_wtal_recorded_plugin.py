"""A plugin as contract 1 allows it, recorded: it is never edited, and must work with every later host."""

from wtal_core import hookimpl

wtal_contract = 1


@hookimpl
def wtal_aggregators():
    return {"recorded": "wtal_recorded:Mean"}


@hookimpl
def wtal_decoders():
    return {"recorded": "wtal_recorded:Linear"}


@hookimpl
def wtal_activations():
    return {"recorded": "wtal_recorded:Activations"}


@hookimpl
def wtal_proposers():
    return {"recorded": "wtal_recorded:WholeVideo"}


@hookimpl
def wtal_suppressors():
    return {"recorded": "wtal_recorded:KeepAll"}


@hookimpl
def wtal_evaluators():
    return {"recorded": "wtal_recorded:Recall", "classification": "wtal_recorded:Recall"}


@hookimpl
def wtal_feature_readers():
    return {"recorded": "wtal_recorded:Folder"}
