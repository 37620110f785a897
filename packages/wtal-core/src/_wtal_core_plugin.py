"""Names the components that ship with the host; they take the same path as anybody's."""

from collections.abc import Mapping

from wtal_core import hookimpl


@hookimpl
def wtal_annotation_readers() -> Mapping[str, str]:
    return {
        "activitynet": "wtal_core.builtin.activitynet:ActivityNet",
        "auto": "wtal_core.builtin.annotation_layouts:Auto",
        "table": "wtal_core.builtin.annotation_table:Table",
        "thumos14": "wtal_core.builtin.thumos_text:ThumosText",
        "wtalc": "wtal_core.builtin.wtalc:WTalc",
    }


@hookimpl
def wtal_feature_readers() -> Mapping[str, str]:
    return {
        "auto": "wtal_core.builtin.auto_features:auto",
        "csv": "wtal_core.builtin.features:CsvFolder",
        "hdf5": "wtal_core.builtin.features:Hdf5File",
        "npy": "wtal_core.builtin.features:npy",
        "npz": "wtal_core.builtin.features:npz",
    }


@hookimpl
def wtal_samplers() -> Mapping[str, str]:
    return {"epochs": "wtal_core.builtin.epochs:Epochs"}


@hookimpl
def wtal_clips() -> Mapping[str, str]:
    return {
        "crop": "wtal_core.builtin.clips:Crop",
        "segments": "wtal_core.builtin.clips:Segments",
        "uniform": "wtal_core.builtin.clips:Uniform",
        "whole": "wtal_core.builtin.clips:Whole",
    }


@hookimpl
def wtal_decoders() -> Mapping[str, str]:
    return {
        "attention-pooling": "wtal_core.builtin.attention_pooling:AttentionPooling",
        "snippet-classifier": "wtal_core.builtin.snippet_classifier:SnippetClassifier",
    }


@hookimpl
def wtal_losses() -> Mapping[str, str]:
    return {
        "background": "wtal_core.builtin.regularizers:Background",
        "label-set": "wtal_core.builtin.label_set:LabelSet",
        "smoothness": "wtal_core.builtin.regularizers:Smoothness",
        "snippet-targets": "wtal_core.builtin.snippet_targets:SnippetTargets",
    }


@hookimpl
def wtal_teachers() -> Mapping[str, str]:
    return {
        "annotations": "wtal_core.builtin.annotations_teacher:AnnotationsTeacher",
        "label-set": "wtal_core.builtin.label_set:LabelSetTeacher",
    }


@hookimpl
def wtal_trackers() -> Mapping[str, str]:
    return {"tensorboard": "wtal_core.builtin.tensorboard:TensorBoard"}


@hookimpl
def wtal_presets() -> Mapping[str, str]:
    names = (
        "maan-activitynet13",
        "maan-thumos14",
        "recommended",
        "recommended-activitynet13",
        "recommended-thumos14",
        "star-activitynet13",
        "star-literal-activitynet13",
        "star-literal-thumos14",
        "star-thumos14",
        "stpn-activitynet13",
        "stpn-thumos14",
    )
    return {name: f"wtal_core:presets/{name}.toml" for name in names}
