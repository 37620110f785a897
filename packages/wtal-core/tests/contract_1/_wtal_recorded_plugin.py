"""A plugin as contract 1 allows it, recorded: it is never edited, and must work with every later host."""

from wtal_core import hookimpl

wtal_contract = 1


@hookimpl
def wtal_annotation_readers():
    return {"recorded": "wtal_recorded:Lines"}


@hookimpl
def wtal_feature_readers():
    return {"recorded": "wtal_recorded:Folder"}


@hookimpl
def wtal_samplers():
    return {"recorded": "wtal_recorded:Independent"}


@hookimpl
def wtal_clips():
    return {"recorded": "wtal_recorded:Hidden"}


@hookimpl
def wtal_aggregators():
    return {"recorded": "wtal_recorded:Mean", "recorded-class-wise": "wtal_recorded:ClassWise"}


@hookimpl
def wtal_decoders():
    return {"recorded": "wtal_recorded:Linear", "recorded-snippets": "wtal_recorded:Snippets"}


@hookimpl
def wtal_losses():
    return {"recorded": "wtal_recorded:Agreement"}


@hookimpl
def wtal_teachers():
    return {"recorded": "wtal_recorded:Detected", "recorded-annotated": "wtal_recorded:Annotated"}


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
    return {"recorded": "wtal_recorded:Recall", "classification": "wtal_recorded:Presence"}


@hookimpl
def wtal_trackers():
    return {"recorded": "wtal_recorded:Notebook"}
