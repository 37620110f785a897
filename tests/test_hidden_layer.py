"""A decoder with a hidden layer, run by the host: every activation reads what was pooled, never the input."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from wtal_core.model import StreamModel
from wtal_core.prediction.predict import predict
from wtal_core.registry import discover
from wtal_core.testing import ContractError, check, tmp_plugin

T, D, C = 11, 6, 4


class HiddenLayer(nn.Module):
    """FC D-E, tanh; an attention; the aggregator; and a head that is linear, or has a layer of its own."""

    def __init__(self, feature_dim, num_classes, aggregator, *, width: int, deep: bool = False, lies: bool = False):
        super().__init__()
        self.embedding, self.attention = nn.Linear(feature_dim, width), nn.Linear(width, 1)
        self.first = nn.Linear(width, 2 * width) if deep else None
        self.head = nn.Linear(2 * width if deep else width, num_classes)
        self.aggregator = aggregator
        self.lies = lies  # says that it pooled its input

    def classified(self, features):
        return self.head(features if self.first is None else self.first(features).relu())

    def forward(self, features, mask=None, targets=None):
        embedded = self.embedding(features).tanh()
        attention = self.attention(embedded).sigmoid().squeeze(2)
        attention = attention if mask is None else attention * mask
        pooled = self.aggregator(embedded, attention, mask).unsqueeze(1)
        logits = self.classified(pooled)
        return SimpleNamespace(
            features=features if self.lies else embedded,
            attention=attention.unsqueeze(1),
            pooled=pooled,
            logits=logits,
            snippet_logits=self.classified(embedded),
            class_scores=logits[:, 0].sigmoid(),
            head_weight=self.head.weight if self.first is None else None,
        )

    def loss(self, decoding, targets):
        return {"classification": F.binary_cross_entropy(decoding.class_scores, targets.labels)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(model, features):
    """Attention (T,), the response of each class to each snippet by the gradient, and its snippet probability, (C, T).

    In float64 and without torch: the features (T, D) standardised, embedded, pooled by an attention-weighted mean, and
    classified; the gradient is the product of the head's weights, those of its dead units left out.
    """
    weights = {name: value.detach().double().numpy() for name, value in model.decoder.named_parameters()}
    x = (features.astype(np.float64) - model.mean.double().numpy()) / model.deviation.double().numpy()
    hidden = np.tanh(x @ weights["embedding.weight"].T + weights["embedding.bias"])
    attention = sigmoid(hidden @ weights["attention.weight"][0] + weights["attention.bias"][0])
    pooled = attention @ hidden / attention.sum()
    slope, head = weights["head.weight"], hidden
    if "first.weight" in weights:
        alive = weights["first.weight"] @ pooled + weights["first.bias"] > 0
        slope = (slope * alive) @ weights["first.weight"]
        head = np.maximum(hidden @ weights["first.weight"].T + weights["first.bias"], 0)
    snippets = sigmoid(head @ weights["head.weight"].T + weights["head.bias"]).T
    return attention, sigmoid(slope @ hidden.T), snippets


@pytest.fixture
def hidden_layer():
    with tmp_plugin("decoder", "hidden-layer", HiddenLayer):
        yield


def model_of(**options):
    """A trained-looking model of the host's, its decoder and aggregator from the registry, and the registry."""
    registry = discover()
    generator = np.random.default_rng(3)
    torch.manual_seed(3)
    aggregator = registry.build("aggregator", "norm", num_classes=C)
    choice = {"name": "hidden-layer", **options}
    decoder = registry.build("decoder", choice, feature_dim=D, num_classes=C, aggregator=aggregator)
    mean, deviation = generator.normal(size=D), generator.uniform(0.5, 2, size=D)
    return StreamModel(decoder, mean, deviation, 0.5).eval(), registry


@pytest.mark.usefixtures("hidden_layer")
@pytest.mark.parametrize("deep", [False, True], ids=["linear", "deep"])
@pytest.mark.parametrize("width", [D, D + 5, D - 3])
def test_the_maps_of_every_activation_equal_those_made_by_hand(width, deep):
    model, registry = model_of(width=width, deep=deep)
    features = np.random.default_rng(width).normal(size=(T, D)).astype(np.float32) * 3
    attention, response, snippets = by_hand(model, features)
    ones = np.ones((C, T))
    expected = {
        "attention": (attention * ones, ones),
        "st-gradcam": (ones, response),
        "attended-st-gradcam": (attention * ones, response),
        "snippet": (attention * ones, snippets),
    }
    if not deep:
        expected["cas"] = (attention * ones, response)
    for name, maps in expected.items():
        got = predict(model, registry.build("activation", name), features)
        np.testing.assert_allclose(got.attention, maps[0], rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(got.response, maps[1], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("deep", [False, True], ids=["linear", "deep"])
@pytest.mark.parametrize("width", [0, 5], ids=["as-wide-as-the-input", "wider"])
def test_the_kit_tells_it_from_one_that_says_that_it_pooled_its_input(width, deep):
    def build(lies):
        return lambda feature_dim, num_classes, aggregator: HiddenLayer(
            feature_dim, num_classes, aggregator, width=width or feature_dim, deep=deep, lies=lies
        )

    check("decoder", build(lies=False))
    message = r"must give pooled \(1, 1, 1\), got \(1, 1, 5\)" if width else "By features and attention pooled is"
    with pytest.raises(ContractError, match=message):
        check("decoder", build(lies=True))


@pytest.mark.usefixtures("hidden_layer")
def test_maps_of_its_input_would_be_others_without_an_error():
    model, registry = model_of(width=D, lies=True)
    features = np.random.default_rng(0).normal(size=(T, D)).astype(np.float32) * 3
    got = predict(model, registry.build("activation", "cas"), features)
    assert abs(np.corrcoef(got.response.ravel(), by_hand(model, features)[1].ravel())[0, 1]) < 0.9
