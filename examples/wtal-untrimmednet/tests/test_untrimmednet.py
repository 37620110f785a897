from functools import partial
from types import SimpleNamespace

import pytest
import torch
from wtal_core.testing import parametrize_with_clauses
from wtal_untrimmednet import UntrimmedNet, hard_selection, soft_selection


@parametrize_with_clauses("decoder", UntrimmedNet)
def test_soft_selection_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("decoder", partial(UntrimmedNet, attended=True))
def test_attended_localization_keeps_the_contract(clause):
    clause()


@parametrize_with_clauses("decoder", partial(UntrimmedNet, selection="hard", k=2))
def test_hard_selection_keeps_the_contract(clause):
    clause()


def masked():
    """Scores (B, T, C) and a mask with holes; the last video has two visible snippets."""
    torch.manual_seed(0)
    mask = torch.rand(4, 9) < 0.7
    mask[:, 3:6] = True
    mask[0, 4], mask[3] = False, torch.arange(9) // 2 == 2
    return torch.randn(4, 9, 3).double(), mask


def naive_hard(scores, mask, k):
    rows = []
    for video, seen in zip(scores, mask, strict=True):
        best = [sorted(column.tolist(), reverse=True)[:k] for column in video[seen].T]
        rows.append(torch.tensor([sum(values) / len(values) for values in best]).double().softmax(0))
    return torch.stack(rows)


def naive_soft(scores, selection, mask):
    rows = []
    for video, selected, seen in zip(scores, selection, mask, strict=True):
        attention = selected[seen].softmax(0)
        rows.append(sum(a * s.softmax(0) for a, s in zip(attention, video[seen], strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_hard_selection_is_the_softmax_of_the_mean_of_the_k_best(k):
    scores, mask = masked()
    torch.testing.assert_close(hard_selection(scores, mask, k).exp(), naive_hard(scores, mask, k))


def test_soft_selection_is_attention_times_class_probabilities():
    scores, mask = masked()
    log_scores, log_attention = soft_selection(scores, scores[..., 0] * 2, mask)
    torch.testing.assert_close(log_scores.exp(), naive_soft(scores, scores[..., 0] * 2, mask))
    torch.testing.assert_close(log_attention.exp().sum(1), torch.ones(4).double())
    assert (log_attention.exp()[~mask] == 0).all()


def test_gradients_of_both_selections():
    scores, mask = masked()
    scores, selection = scores.requires_grad_(), torch.randn(4, 9).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: hard_selection(s, mask, 3), scores)
    assert torch.autograd.gradcheck(lambda s, a: soft_selection(s, a, mask)[0], (scores, selection))


@pytest.mark.parametrize("selection", ["hard", "soft"])
def test_loss_shares_1_among_the_labels(selection):
    torch.manual_seed(0)
    decoder = UntrimmedNet(5, 3, selection=selection)
    decoding = decoder(torch.randn(2, 7, 5))
    log = decoding.class_scores.log()
    expected = (-log[0, 0] - (log[1, 0] + log[1, 2]) / 2) / 2
    labels = torch.tensor([[1.0, 0, 0], [1, 0, 1]])
    torch.testing.assert_close(decoder.loss(decoding, SimpleNamespace(labels=labels))["classification"], expected)


def test_snippet_logits_are_read_as_the_softmax_over_classes():
    torch.manual_seed(0)
    decoder, features = UntrimmedNet(5, 3), torch.randn(2, 7, 5)
    expected = decoder.classification(features).softmax(2)
    torch.testing.assert_close(decoder(features).snippet_logits.sigmoid(), expected)
    certain = decoder(1e4 * features).snippet_logits
    assert certain.isfinite().all()
    torch.testing.assert_close(certain.sigmoid(), decoder.classification(1e4 * features).softmax(2), rtol=0, atol=2e-6)


def test_attention_is_relative_to_its_highest():
    torch.manual_seed(0)
    features, mask = torch.randn(2, 300, 5), torch.rand(2, 300) < 0.5
    decoder = UntrimmedNet(5, 3, attended=True)
    weights = decoder.selection(features).squeeze(2).masked_fill(~mask, -torch.inf).softmax(1)
    expected = weights / weights.amax(1, keepdim=True)
    torch.testing.assert_close(decoder(features, mask).attention.squeeze(1), expected)
    alone = UntrimmedNet(5, 3)(features, mask).attention.squeeze(1)
    torch.testing.assert_close(alone, mask.float())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"selection": "firm"}, "selection must be 'hard' or 'soft', got 'firm'"),
        ({"k": 0}, "k must be 1 or more, got 0"),
        ({"selection": "hard", "attended": True}, "attended needs selection 'soft', as 'hard' has no attention"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        UntrimmedNet(5, 3, **options)
