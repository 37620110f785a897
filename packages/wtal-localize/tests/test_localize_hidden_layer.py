"""A decoder that embeds its input before it pools: every map reads what was pooled, never the input."""

from types import SimpleNamespace

import numpy as np
import pytest
from wtal_localize import AttendedSTGradCAM, Attention, ClassActivationSequence, SnippetActivation, STGradCAM

from . import naive

torch = pytest.importorskip("torch")

T, D, C = 9, 6, 4


class Embedding(torch.nn.Module):
    """FC + ReLU, an attention-weighted mean, a linear head, which scores single snippets as well."""

    def __init__(self, E, competing):
        super().__init__()
        self.embed, self.attend = torch.nn.Linear(D, E), torch.nn.Linear(E, 1)
        self.head = torch.nn.Linear(E, C, bias=False)
        self.background = torch.nn.Linear(E, 1) if competing else None

    def forward(self, inputs):
        features = self.embed(inputs).relu()
        attention = self.attend(features).sigmoid().transpose(1, 2)
        pooled = attention / attention.sum(2, keepdim=True) @ features
        logits = self.head(pooled)
        return SimpleNamespace(
            features=features,
            attention=attention,
            class_scores=logits[:, 0].sigmoid(),
            pooled=pooled,
            logits=logits,
            probabilities=None,
            head_weight=self.head.weight,
            snippet_logits=self.head(features),
            background_logits=None if self.background is None else self.background(features)[..., 0],
        )


@pytest.mark.parametrize("competing", [True, False])
@pytest.mark.parametrize("E", [D, D + 5, D - 3])
def test_maps_equal_those_made_by_hand(E, competing):
    torch.manual_seed(E)
    model, inputs = Embedding(E, competing), 3 * torch.randn(1, T, D)
    decoding = model(inputs)
    weights = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
    hidden = [np.maximum(weights["embed.weight"] @ x + weights["embed.bias"], 0) for x in inputs[0].double().numpy()]
    attention = [naive.sigmoid((weights["attend.weight"] @ h + weights["attend.bias"]).item()) for h in hidden]
    responses = [[naive.sigmoid(row @ h) for h in hidden] for row in weights["head.weight"]]
    snippets = responses
    if competing:
        background = [(weights["background.weight"] @ h + weights["background.bias"]).item() for h in hidden]
        snippets = naive.snippet_probabilities([weights["head.weight"] @ h for h in hidden], background)
    ones = np.ones((C, T))
    for activation, expected in [
        (ClassActivationSequence(), (attention * ones, responses)),
        (Attention(), (attention * ones, ones)),
        (STGradCAM(), (ones, responses)),
        (AttendedSTGradCAM(), (attention * ones, responses)),
        (SnippetActivation(), (attention * ones, snippets)),
    ]:
        for got, want in zip(activation(decoding), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    if E == D:  # the input would fit as well, and give other maps without an error
        decoding.features = inputs
        assert np.abs(ClassActivationSequence()(decoding).response - responses).max() > 0.1
        assert np.abs(STGradCAM()(decoding).response - responses).max() > 0.1
