from functools import partial

import pytest
import torch
from wtal_core.testing import check_decoder
from wtal_topk import TopK


@pytest.mark.parametrize("ratio", [1, 8])
def test_topk_keeps_the_contract(ratio):
    check_decoder(partial(TopK, ratio=ratio))


@pytest.mark.parametrize(("snippets", "k"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_logits_are_the_mean_of_the_k_best_scores(snippets, k):
    torch.manual_seed(snippets)
    decoder, features = TopK(5, 3, None), torch.randn(2, 20, 5)
    mask = torch.arange(20).expand(2, 20) < snippets
    expected = decoder.head(features[:, :snippets]).topk(k, dim=1).values.mean(1)
    got = decoder(features, mask).logits.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(got, expected)


def test_ratio_out_of_range():
    with pytest.raises(ValueError, match=r"^ratio must be 1 or more, got 0$"):
        TopK(5, 3, None, ratio=0)
