"""Names the components that ship with the host; they take the same path as anybody's."""

from collections.abc import Mapping

from wtal_core import hookimpl


@hookimpl
def wtal_decoders() -> Mapping[str, str]:
    return {"attention-pooling": "wtal_core.attention_pooling:AttentionPooling"}


@hookimpl
def wtal_feature_readers() -> Mapping[str, str]:
    return {"hdf5": "wtal_core.features:Hdf5File", "npy": "wtal_core.features:NpyFolder"}
