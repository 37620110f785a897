"""Activations, sound and broken."""

import numpy as np
import torch

KIND = "activation"


class Activation:
    """The class activation sequence."""

    def __call__(self, decoding):
        if decoding.head_weight is None:
            raise ValueError("needs a linear head")
        response = torch.sigmoid(decoding.features[0] @ decoding.head_weight.T).T.detach().double().numpy()
        return np.broadcast_to(decoding.attention[0, 0].detach().double().numpy(), response.shape), response


SOUND = [Activation]


def reading(call, base=Activation):
    return type("Broken", (base,), {"__call__": call})


def maps(change):
    """An activation whose maps are made from those of a sound one."""
    return reading(lambda self, decoding: change(*Activation()(decoding)))


def frees_the_graph(self, decoding):
    decoding.logits.sum().backward(inputs=[decoding.pooled])
    return Activation()(decoding)


def leaves_a_gradient(self, decoding):
    decoding.logits.sum().backward(retain_graph=True)
    return Activation()(decoding)


def leaves_a_gradient_in_attention(self, decoding):
    decoding.logits.sum().backward(retain_graph=True, inputs=[decoding.attention])
    return Activation()(decoding)


def doubles_what_it_reads(self, decoding):
    maps = Activation()(decoding)
    decoding.features.mul_(2)
    return maps


class Adapting(Activation):
    """Scales by the largest attention that it ever saw."""

    def __init__(self):
        self.largest = 0.0

    def __call__(self, decoding):
        attention, response = Activation()(decoding)
        self.largest = max(self.largest, attention.max() / len(attention.T))
        return attention * self.largest, response


def relative(attention, response):
    with np.errstate(invalid="ignore"):
        return attention / attention.max(), response


BROKEN = {
    "form": [
        maps(lambda attention, response: response),
        maps(lambda attention, response: [attention, response]),
        maps(lambda attention, response: (attention, response * 2)),
        maps(lambda attention, response: (attention - 1, response)),
        maps(lambda attention, response: (attention, response.astype(np.float32))),
        maps(lambda attention, response: (attention[0], response)),
        maps(relative),
        reading(lambda self, d: Activation()(d._replace(attention=d.attention.numpy()))),
    ],
    "untouched": [
        reading(leaves_a_gradient),
        reading(leaves_a_gradient_in_attention),
        reading(doubles_what_it_reads),
    ],
    "again": [reading(frees_the_graph), Adapting],
    "classes": [
        maps(lambda attention, response: (attention, np.roll(response, 1, 0))),
        maps(lambda attention, response: (attention, response[::-1])),
        maps(lambda attention, response: (attention * np.linspace(0.5, 1, len(attention))[:, None], response)),
    ],
    "others": [
        reading(lambda self, d: Activation()(d) if d.head_weight is not None else 1 / 0),
        reading(lambda self, d: Activation()(d) if d.head_weight is not None else None),
        reading(lambda self, d: Activation()(d) if d.attention.shape[1] == 1 else None),
        reading(lambda self, d: (d.pooled.shape, Activation()(d))[1]),
    ],
}
