from functools import partial

import pytest
import torch
from wtal_core.testing import check_aggregator
from wtal_hide_and_seek import HideAndSeek, hidden


@pytest.mark.parametrize("segment", [1, 2])
def test_hide_and_seek_keeps_the_contract(segment):
    check_aggregator(partial(HideAndSeek, segment=segment))


def test_segments_are_hidden_as_a_whole_and_as_often_as_asked():
    torch.manual_seed(0)
    hide = hidden(torch.ones(2000, 9, dtype=torch.bool), 3, 0.25).reshape(2000, 3, 3)
    assert (hide == hide[..., :1]).all()
    assert hide.float().mean().item() == pytest.approx(0.25 - 0.25**3, abs=0.02)  # a video keeps one segment at least


def test_training_hides_and_evaluation_does_not():
    torch.manual_seed(0)
    pool, features, attention = HideAndSeek(), torch.randn(4, 20, 3), torch.ones(4, 20)
    assert not torch.allclose(pool(features, attention), features.mean(1))
    torch.testing.assert_close(pool.eval()(features, attention), features.mean(1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"segment": 0}, "segment must be 1 or more, got 0"),
        ({"probability": 1.0}, r"probability must be in \[0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        HideAndSeek(**options)
