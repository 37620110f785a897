import math
from collections import namedtuple
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from wtal_autoloc.contrast import contrast, integral, kept, suppressed
from wtal_autoloc.decoder import AutoLoc
from wtal_core.testing import parametrize_with_clauses

Targets = namedtuple("Targets", "labels")


@parametrize_with_clauses("decoder", AutoLoc)
def test_the_decoder_keeps_the_contract(clause):
    clause()


class Mean(nn.Module):
    def forward(self, features, attention, mask=None):
        return (attention.unsqueeze(1) @ features).squeeze(1) / features.shape[1]


def naive_integral(heat, place):
    total = 0.0
    for t, value in enumerate(heat):
        total += value * max(0.0, min(place, t + 1) - t) if place > t else 0.0
    return total


def naive_contrast(heat, start, end):
    if end <= start:
        return 1.0
    margin = max((end - start) / 4, 1.0)
    left, right = max(start - margin, -1.0), min(end + margin, len(heat) + 1.0)
    inside = naive_integral(heat, end) - naive_integral(heat, start)
    around = naive_integral(heat, right) - naive_integral(heat, left) - inside
    return (around / (right - left - (end - start)) - inside / (end - start) + 1) / 2


def naive_kept(heat, boxes):
    T, found = len(heat), []
    for t in range(T):
        cut = [[min(max(float(edge[a][t]), 0.0), float(T)) for edge in boxes] for a in range(len(boxes[0]))]
        losses = [naive_contrast(heat, *box) for box in cut]
        best = losses.index(min(losses))
        if heat[t] > 0.1 and losses[best] < 0.7:
            found.append((losses[best], *cut[best]))
    found.sort(key=lambda box: box[0])
    stay = []
    for loss, start, end in found:
        shared = [(min(end, e) - max(start, s), end - start + e - s) for s, e, _ in stay]
        if all(common <= 0.4 * (lengths - common) for common, lengths in shared):
            stay.append((start, end, loss))
    return stay


def example(T=12, A=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    heat = torch.rand(T, dtype=torch.float64, generator=generator)
    width = torch.tensor([1.0, 3, 8], dtype=torch.float64)[:A, None] * (
        0.5 + torch.rand(A, T, dtype=torch.float64, generator=generator)
    )
    centre = torch.arange(T) + torch.rand(A, T, dtype=torch.float64, generator=generator)
    return heat, torch.stack([centre - width / 2, centre + width / 2])


def test_the_integral_equals_its_naive_twin():
    heat, _ = example()
    places = torch.linspace(-3, 15, 73, dtype=torch.float64)
    expected = [naive_integral(heat.tolist(), place) for place in places.tolist()]
    assert integral(heat, places).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_contrast_equals_its_naive_twin(seed):
    heat, boxes = example(seed=seed)
    start, end = boxes.clamp(0, 12)
    expected = [naive_contrast(heat.tolist(), *box) for box in torch.stack([start, end], -1).reshape(-1, 2).tolist()]
    assert contrast(heat, start, end).flatten().tolist() == pytest.approx(expected, abs=1e-12)


def test_the_contrast_by_hand():
    heat = torch.tensor([0.0, 0, 1, 1, 0, 0])
    start, end = torch.tensor([2.0, 2.0, 0.0, 3.0]), torch.tensor([4.0, 3.0, 6.0, 3.0])
    # the action itself; half of it, beside whose other half; the video, around which nothing is; an empty box
    assert contrast(heat, start, end).tolist() == pytest.approx([0.0, 0.25, 1 / 3, 1.0])


def test_the_gradient_of_the_contrast():
    heat, boxes = example(seed=3)
    start, end = boxes[:, :, 2:10].clamp(0.1, 11.9)
    assert torch.autograd.gradcheck(partial(contrast, heat), (start.requires_grad_(), end.requires_grad_()))


def test_an_empty_box_has_a_finite_gradient():
    start = torch.tensor([3.0], requires_grad=True)
    contrast(torch.rand(6), start, torch.tensor([3.0])).sum().backward()
    assert start.grad.tolist() == [0.0]


@pytest.mark.parametrize("T", [1, 2, 12, 40])
@pytest.mark.parametrize("seed", range(4))
def test_the_boxes_that_are_kept_equal_their_naive_twin(T, seed):
    heat, boxes = example(T, seed=seed)
    got = torch.stack(kept(heat, boxes), 1)
    expected = naive_kept(heat.tolist(), boxes.tolist())
    assert got.numpy() == pytest.approx(np.array(expected).reshape(-1, 3), abs=1e-12)


def test_a_box_cut_to_the_video_keeps_the_gradient_of_the_whole():
    heat = torch.tensor([1.0, 1, 0, 0])
    boxes = torch.tensor([[[-1.0, -1, -1, -1]], [[1.5, 1.5, 1.5, 1.5]]], requires_grad=True)
    start, _, loss = kept(heat, boxes)
    (gradient,) = torch.autograd.grad(loss.sum(), boxes)
    assert start.tolist() == [0.0]
    assert gradient[0].abs().sum() > 0


def test_suppression_counts_each_overlap_once():
    start, end = np.array([0.0, 1.0, 8.0]), np.array([10.0, 11.0, 12.0])
    assert suppressed(start, end, np.array([0.2, 0.1, 0.3])).tolist() == [1, 2]
    assert suppressed(start[:0], end[:0], start[:0]).tolist() == []


def test_the_decoder_regresses_from_its_anchors():
    torch.manual_seed(0)
    decoder = AutoLoc(4, 3, Mean(), anchors=[1, 5]).eval()
    nn.init.zeros_(decoder.offsets.weight)
    decoder.offsets.bias.data = torch.tensor([0.5, 0.2, 0.0, math.log(2)])  # dx of both anchors, dw of both
    start, end = decoder(torch.randn(1, 6, 4)).boxes[0]
    places = torch.arange(6) + 0.5
    torch.testing.assert_close((start + end) / 2, torch.stack([places + 0.5, places + 1]))
    torch.testing.assert_close(end - start, torch.tensor([[1.0], [10.0]]).expand(2, 6))


def test_the_loss_is_the_mean_over_labels_and_videos():
    torch.manual_seed(0)
    decoder = AutoLoc(4, 3, Mean()).train()
    features, mask = torch.randn(2, 9, 4), torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    decoding = decoder(features, mask)
    losses = []
    for b, c, n in ((0, 0, 9), (0, 2, 9), (1, 1, 6)):
        losses += [box[2] for box in naive_kept(decoding.heat[b, c, :n].tolist(), decoding.boxes[b, :, :, :n].tolist())]
    assert decoder.loss(decoding, Targets(labels))["contrast"].item() == pytest.approx(np.mean(losses), abs=1e-6)


def test_the_loss_moves_the_convolutions_and_not_the_head():
    torch.manual_seed(0)
    decoder = AutoLoc(4, 2, Mean()).train()
    decoder.loss(decoder(torch.randn(2, 12, 4)), Targets(torch.ones(2, 2)))["contrast"].backward()
    moved = {name.partition(".")[0] for name, one in decoder.named_parameters() if one.grad is not None}
    assert moved == {"convolutions", "offsets"}


def test_a_video_without_heat_costs_nothing():
    decoder = AutoLoc(4, 2, Mean()).train()
    decoding = decoder(torch.randn(1, 5, 4))
    loss = decoder.loss(decoding._replace(heat=torch.zeros_like(decoding.heat)), Targets(torch.ones(1, 2)))["contrast"]
    loss.backward()
    assert loss.item() == 0


def test_the_best_classes_get_the_kept_boxes():
    torch.manual_seed(0)
    decoder = AutoLoc(4, 5, Mean(), classes=2).eval()
    decoding = decoder(torch.randn(1, 20, 4))
    intervals, best = decoding.intervals, decoding.class_scores[0].topk(2).indices.tolist()
    expected = [
        (c, start, end, 1 - loss)
        for c in best
        for start, end, loss in naive_kept(decoding.heat[0, c].tolist(), decoding.boxes[0].tolist())
    ]
    assert np.column_stack(intervals) == pytest.approx(np.array(expected), abs=1e-5)
    assert decoder.train()(torch.randn(1, 20, 4)).intervals is None


def test_the_head_has_the_names_of_attention_pooling():
    names = {name for name, _ in AutoLoc(4, 2, Mean()).named_parameters()}
    assert {"attention.0.weight", "attention.2.bias", "classifier.weight"} <= names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"anchors": []}, r"anchors must be one or more widths above 0, got \[\]"),
        ({"anchors": [2, 0]}, r"anchors must be one or more widths above 0, got \[2, 0\]"),
        ({"classes": 0}, "classes must be 1 or more, got 0"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        AutoLoc(4, 2, Mean(), **options)
