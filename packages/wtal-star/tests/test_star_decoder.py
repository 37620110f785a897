from __future__ import annotations

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from wtal_star import Star, VideoError, decoder, losses

from . import naive
from .star_aggregators import Halving, Mean, Norm, WeightedSum

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]
POOL = {
    WeightedSum: lambda x, a: sum(a[i] * x[i] for i in range(len(x))),
    Norm: lambda x, a: sum(a[i] * x[i] for i in range(len(x))) / sum(a),
}
ALL = ("sparsity", "coverage", "ram")
FIGURES = [
    {},
    {"attention_normalization": "softmax"},
    {"coverage_mechanism": "original"},
    {"attention_normalization": "softmax", "coverage_mechanism": "original"},
]


def small(aggregator=None, seed=0, dtype=torch.float64, **options):
    """A decoder of 6 features and 4 classes whose every parameter matters."""
    torch.manual_seed(seed)
    options = {"hidden_size": 5, "attention_size": 3, "embedding_size": 2, "modules": ALL} | options
    model = Star(6, 4, aggregator or Norm(), **options).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def targets(labels, counts=None, dtype=torch.float64):
    counts = None if counts is None else torch.tensor(counts, dtype=dtype)
    return SimpleNamespace(labels=torch.tensor(labels, dtype=dtype), counts=counts)


def batch(lengths, seed=1, dtype=torch.float64):
    """Random features whose padding is NaN, and their mask."""
    torch.manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), 6, dtype=dtype)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return features.masked_fill(~mask[..., None], torch.nan), mask


def arrays(model):
    parameters = {name: value.detach().numpy() for name, value in model.named_parameters()}
    options = ("length_normalized", "attention_normalization")
    return parameters | {option: getattr(model, option) for option in options}


LABELS = [[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]]
COUNTS = [[0, 3, 0, 1], [0, 0, 0, 0], [2, 5, 0, 5]]
SYMBOLS = [[1, 3, 4], [4], [0, 1, 3, 4]]


@pytest.mark.parametrize("gated", [False, True])
def test_energy_equals_its_twin(gated):
    rng = np.random.default_rng(0)
    features, state, weight = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 3)), rng.normal(size=3)
    gate = rng.random((2, 5, 3)) if gated else None
    got = decoder.energy(*map(torch.tensor, (features, state, weight)), None if gate is None else torch.tensor(gate))
    for b in range(2):
        expected = naive.energy(features[b], state[b], weight, None if gate is None else gate[b])
        np.testing.assert_allclose(got[b].numpy(), expected, rtol=1e-12)


def test_attention_is_a_sigmoid_and_zero_where_hidden():
    energies = torch.tensor([[0.0, 100.0, torch.nan, -1000.0, torch.nan]])
    mask = torch.tensor([[True, True, False, True, False]])
    assert decoder.attention_weights(energies, mask).tolist() == [[0.5, 1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_softmax_attention_is_shared_by_the_visible_snippets(dtype):
    energies = torch.tensor([[1.0, torch.nan, 1.0, -1000.0, 1.0], [1e4, 3.0, torch.inf, 0.0, -1e4]], dtype=dtype)
    mask = torch.tensor([[True, False, True, True, False], [True, True, False, True, True]])
    got = decoder.attention_weights(energies, mask, "softmax")
    assert got.tolist() == [[0.5, 0.0, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("T", [0, 3])
def test_softmax_attention_of_a_video_without_snippets(T):
    energies = torch.randn(1, T, requires_grad=True)
    attention = decoder.attention_weights(energies, torch.zeros(1, T, dtype=torch.bool), "softmax")
    assert attention.tolist() == [[0.0] * T]
    attention.sum().backward()
    assert not energies.grad.any()


def test_original_coverage_is_added_to_what_the_energy_hears():
    rng = np.random.default_rng(0)
    features, covered, weight = rng.normal(size=(2, 5, 3)), rng.random((2, 5)), rng.normal(size=3)
    got = torch.tensor(features) + decoder.coverage_term(torch.tensor(covered), torch.tensor(weight))
    for b in range(2):
        np.testing.assert_allclose(got[b], naive.original_coverage(features[b], covered[b], weight), rtol=1e-12)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("T", [1, 2, 7])
def test_coverage_gate_equals_its_twin(T, normalized):
    rng = np.random.default_rng(T)
    attention, state, weight = rng.random((2, T)), rng.normal(size=(2, 3)), rng.normal(size=3)
    positions = decoder.snippet_positions(torch.ones(2, T, dtype=torch.bool), normalized).double()
    offset = decoder.coverage_offset(torch.tensor(attention), positions, normalized)
    gate = decoder.coverage_gate(offset, torch.tensor(state), torch.tensor(weight))
    for b in range(2):
        expected = naive.coverage_gate(attention[b], state[b], weight, normalized)
        np.testing.assert_allclose(gate[b].numpy(), expected, rtol=1e-6)


def test_positions_count_real_snippets_only():
    mask = torch.tensor([[True, True, True, True], [False, True, True, False], [False, False, False, False]])
    got = decoder.snippet_positions(mask)
    assert got[0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert got[1, 1:3].tolist() == [0.25, 0.75]
    assert got.isfinite().all()
    assert decoder.snippet_positions(mask, normalized=False)[1, 1:3].tolist() == [1, 2]


def test_coverage_gate_limits():
    """Open, the gate leaves (2); closed, it leaves no energy; without Z it does not see where attention was."""
    torch.manual_seed(0)
    features, state, weight = torch.randn(1, 4, 3), torch.randn(1, 3), torch.randn(3)
    offset = torch.tensor([[-0.4, -0.1, 0.2, 0.3]])
    opened = decoder.coverage_gate(offset, torch.full((1, 3), 1e4), torch.ones(3))
    closed = decoder.coverage_gate(offset, torch.full((1, 3), -1e4), torch.ones(3))
    assert torch.equal(decoder.energy(features, state, weight, opened), decoder.energy(features, state, weight))
    assert torch.equal(decoder.energy(features, state, weight, closed), torch.zeros(1, 4))
    blind = decoder.coverage_gate(offset, state, torch.zeros(3))
    assert torch.equal(blind, state.sigmoid()[:, None].expand(1, 4, 3))
    split = decoder.coverage_gate(offset, torch.zeros(1, 3), torch.full((3,), 1e4))
    assert split[0, :, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("attention", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
def test_coverage_offset_of_extreme_attention(attention):
    positions = torch.tensor([[1 / 6, 3 / 6, 5 / 6]])
    weights = torch.tensor([attention], requires_grad=True)
    offset = decoder.coverage_offset(weights, positions)
    offset.square().sum().backward()
    centroid = {0: 0.0, 1: 5 / 6, 3: 0.5}[int(sum(attention))]
    torch.testing.assert_close(offset, positions - centroid)
    assert sum(attention) == 0 or weights.grad.isfinite().all()


def test_ram_counts_the_mass_or_its_percentage():
    attention = torch.tensor([[1.0, 0.5, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert decoder.repetition(attention, torch.tensor(2.0)).tolist() == [3.0, 8.0]
    assert decoder.repetition(attention, torch.tensor(2.0), torch.tensor([3, 4])).tolist() == [100.0, 200.0]


@pytest.mark.parametrize("modules", [(), ("sparsity",), ("coverage",), ("ram",), ALL])
@pytest.mark.parametrize("aggregator", [WeightedSum, Norm])
@pytest.mark.parametrize("length_normalized", [True, False])
@pytest.mark.parametrize("figure", FIGURES)
def test_teacher_forced_batch_equals_the_twin(modules, aggregator, length_normalized, figure):
    model = small(aggregator(), modules=modules, length_normalized=length_normalized, **figure)
    lengths = [5, 3, 1]
    features, mask = batch(lengths)
    got = model(features, mask, targets(LABELS, COUNTS))
    assert got.symbols.tolist() == [[1, 3, 4, 4], [4, 4, 4, 4], [0, 1, 3, 4]]
    assert got.steps.sum(1).tolist() == [3, 1, 4]
    for b, T in enumerate(lengths):
        steps = naive.decode(arrays(model), features[b, :T].numpy(), SYMBOLS[b], POOL[aggregator])
        S = len(steps)
        close = {"rtol": 1e-6, "atol": 1e-12}
        for name, values in {
            "attention": got.attention[b, :S, :T],
            "pooled": got.pooled[b, :S],
            "repetition": got.repetition[b, :S],
            "logits": torch.cat([got.logits, got.end_logits[..., None]], 2)[b, :S],
        }.items():
            expected = np.array([step[name] for step in steps])
            np.testing.assert_allclose(values.detach().numpy(), expected, err_msg=name, **close)
        expected = np.array([step["probabilities"][:-1] for step in steps])
        np.testing.assert_allclose(got.probabilities[b, :S].detach().numpy(), expected, **close)
        np.testing.assert_allclose(got.class_scores[b].detach().numpy(), naive.class_scores(steps), **close)
        for value in (got.attention, got.pooled, got.repetition, got.logits, got.end_logits, got.probabilities):
            assert not value[b, S:].any()
        assert not got.attention[b, :, T:].any()
        assert torch.equal(got.features[b, :T], features[b, :T])
        assert not got.features[b, T:].any()
    assert got.head_weight is None


@pytest.mark.parametrize("figure", FIGURES)
def test_losses_equal_their_twins(figure):
    for normalized in (True, False):
        model = small(seed=1, sparsity=0.3, coverage=0.5, ram=0.7, length_normalized=normalized, **figure)
        coverage_loss = naive.overlap_loss if "coverage_mechanism" in figure else naive.coverage_loss
        lengths = [5, 3, 1]
        features, mask = batch(lengths)
        truth = targets(LABELS, COUNTS)
        terms = model.loss(model(features, mask, truth), truth)
        videos = [
            naive.decode(arrays(model), features[b, :T].numpy(), SYMBOLS[b], POOL[Norm]) for b, T in enumerate(lengths)
        ]
        attention = [np.array([step["attention"] for step in video]) for video in videos]
        counts = [[COUNTS[b][y] for y in SYMBOLS[b] if y < 4] for b in range(3)]
        repetition = [[step["repetition"] for step in video][:-1] for video in videos]
        expected = {
            "classification": naive.classification_loss(
                [[step["probabilities"] for step in video] for video in videos], SYMBOLS
            ),
            "sparsity": 0.3 * naive.sparsity_loss(attention, normalized),
            "coverage": 0.5 * coverage_loss(attention, normalized),
            "ram": 0.7 * naive.repetition_loss(repetition, counts),
        }
        assert list(terms) == list(expected)
        for name, value in expected.items():
            assert value > 0
            assert terms[name].item() == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("normalization", ["sigmoid", "softmax"])
def test_a_snippet_is_read_without_its_neighbours(normalization):
    """Its context is 0: in another order every snippet keeps its attention. Coverage alone asks where it is."""
    model = small(modules=("sparsity", "ram"), attention_normalization=normalization)
    features, order = torch.randn(1, 7, 6, dtype=torch.float64), torch.randperm(7)
    truth = targets(LABELS[:1], COUNTS[:1])
    got, expected = model(features[:, order], None, truth), model(features, None, truth).attention[..., order]
    torch.testing.assert_close(got.attention, expected)
    assert model.context == 0


PADDED = torch.arange(7) < torch.tensor([[7], [4], [1]])
HOLED = torch.tensor([[1, 0, 1, 1, 0, 1, 1], [0, 1, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0]], dtype=torch.bool)


def test_the_original_coverage_charges_for_every_earlier_step():
    """The third step attends what the first did, which (17), between neighbours, takes for new."""
    attention = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [1.0, 0.0, 0.25]]])
    assert losses.overlap_loss(attention[:, :2]).item() == 0
    assert losses.overlap_loss(attention).item() == 1.25
    assert losses.overlap_loss(attention, torch.tensor([5])).item() == 0.25
    assert losses.overlap_loss(torch.zeros(0, 3, 5)).item() == 0


@pytest.mark.parametrize("length_normalized", [True, False])
def test_softmax_makes_sparsity_constant_and_lets_ram_count(length_normalized):
    model = small(attention_normalization="softmax", length_normalized=length_normalized)
    truth = targets([[0, 1, 0, 1]], [[0, 3, 0, 1]])
    decoding = model(torch.randn(1, 5, 6, dtype=torch.float64), None, truth)
    torch.testing.assert_close(decoding.attention.sum(2), torch.ones(1, 3, dtype=torch.float64))
    (slope,) = torch.autograd.grad(model.loss(decoding, truth)["sparsity"], model.energy_weight, retain_graph=True)
    assert slope.abs().max() < 1e-12
    (slope,) = torch.autograd.grad(decoding.repetition.sum(), model.energy_weight)
    assert slope.abs().max() > 1e-3


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("beam_width", [1, 3])
@pytest.mark.parametrize("length_normalized", [True, False])
@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("mask", [PADDED, HOLED], ids=["padded", "hidden"])
def test_batch_equals_single_videos_of_their_visible_snippets(mask, figure, length_normalized, beam_width, targeted):
    options = {"beam_width": beam_width, "length_normalized": length_normalized, **figure}
    model = small(max_steps=10 if targeted else 3, **options).eval()
    features = torch.randn(3, 7, 6, dtype=torch.float64).masked_fill(~mask[..., None], torch.nan)
    truth = targets(LABELS, COUNTS)
    together = model(features, mask, truth if targeted else None)
    terms = []
    for b in range(3):
        one = SimpleNamespace(labels=truth.labels[b : b + 1], counts=truth.counts[b : b + 1])
        alone = model(features[b : b + 1, mask[b]], None, one if targeted else None)
        S = alone.attention.shape[1]
        assert together.steps[b].sum() == S
        for name in ("pooled", "logits", "end_logits", "probabilities", "repetition", "symbols"):
            torch.testing.assert_close(getattr(together, name)[b : b + 1, :S], getattr(alone, name), msg=name)
        torch.testing.assert_close(together.attention[b : b + 1, :S, mask[b]], alone.attention)
        torch.testing.assert_close(together.features[b : b + 1, mask[b]], alone.features)
        torch.testing.assert_close(together.class_scores[b : b + 1], alone.class_scores)
        assert not together.attention[b, :, ~mask[b]].any()
        assert not together.features[b, ~mask[b]].any()
        if targeted:
            terms.append(model.loss(alone, one))
    if targeted:
        for name, value in model.loss(together, truth).items():
            torch.testing.assert_close(value, sum(video[name] for video in terms) / 3, msg=name)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("mask", [PADDED, HOLED], ids=["padded", "hidden"])
def test_what_is_not_visible_has_no_part_in_gradients(mask, figure):
    model = small(**figure)
    truth = targets(LABELS, COUNTS)
    features = torch.randn(3, 7, 6, dtype=torch.float64)
    gradients = []
    for padding in (torch.nan, 0.0, 1e6):
        model.zero_grad()
        decoding = model(features.masked_fill(~mask[..., None], padding), mask, truth)
        sum(model.loss(decoding, truth).values()).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            assert one.isfinite().all()
            assert torch.equal(one, two)


@pytest.mark.parametrize("figure", FIGURES)
def test_logits_differentiate_by_what_their_own_step_pooled_alone(figure):
    """(11): the derivative of d_t by x_t, through the LSTM, with the previous state held."""
    model = small(modules=("coverage",), **figure)
    features, _ = batch([5])
    decoding = model(features, None, targets([[0, 1, 0, 1]]))
    state = (torch.zeros(1, 5, dtype=torch.float64),) * 2
    previous = 4
    for s in range(3):
        x = decoding.pooled[:, s].detach().requires_grad_()
        state = model.lstm(torch.cat([x, model.embedding.weight[previous][None]], 1), state)
        logits = model.output(state[0])
        torch.testing.assert_close(logits[0, :4], decoding.logits[0, s])
        for c in range(4):
            (expected,) = torch.autograd.grad(logits[0, c], x, retain_graph=True)
            (got,) = torch.autograd.grad(decoding.logits[0, s, c], decoding.pooled, retain_graph=True)
            torch.testing.assert_close(got[0, s], expected[0])
            assert not got[0, torch.arange(3) != s].any()
            assert expected.abs().max() > 1e-6
        state = tuple(part.detach() for part in state)
        previous = decoding.symbols[0, s].item()


@pytest.mark.parametrize("figure", FIGURES)
def test_every_parameter_and_every_earlier_step_gets_the_true_gradient(figure):
    """The second run of the last layers must not change the gradient: compare with finite differences."""
    model = small(**figure)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    truth = targets([[1, 1, 0, 1]], [[2, 1, 0, 3]])
    features, _ = batch([4])
    names = [name for name, _ in model.named_parameters()]
    values = tuple(parameter.detach().clone().requires_grad_() for parameter in model.parameters())

    def total(*parameters):
        decoding = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (features, None, truth))
        return sum(model.loss(decoding, truth).values()) + decoding.class_scores.sum()

    assert torch.autograd.gradcheck(total, values, fast_mode=True)


def test_max_steps_bounds_a_decoder_that_never_ends():
    model = small(max_steps=3)
    with torch.no_grad():
        model.output.bias[4] = -1e9
    features, mask = batch([5, 2])
    decoding = model(features, mask)
    assert decoding.attention.shape == (2, 3, 5)
    assert decoding.steps.all()
    assert all(len(set(video)) == 3 and 4 not in video for video in decoding.symbols.tolist())
    model.max_steps = 100  # every class has been emitted long before
    decoding = model(features, mask)
    assert [sorted(video) for video in decoding.symbols.tolist()] == [[0, 1, 2, 3, 4]] * 2


def test_a_decoder_that_ends_at_once_has_one_assembly():
    model = small()
    with torch.no_grad():
        model.output.bias[4] = 1e9
    decoding = model(*batch([5, 2]))
    assert decoding.symbols.tolist() == [[4], [4]]
    assert decoding.attention.shape == (2, 1, 5)


@pytest.mark.parametrize("figure", [FIGURES[0], FIGURES[-1]])
@pytest.mark.parametrize("seed", range(4))
def test_wide_beam_finds_the_likeliest_sequence(seed, figure):
    model = small(seed=seed, max_steps=3, beam_width=200, **figure)
    features, _ = batch([4], seed)
    best, highest = None, -np.inf
    for symbols in naive.all_sequences(4, 3):
        steps = naive.decode(arrays(model), features[0].numpy(), symbols, POOL[Norm])
        score = sum(np.log(step["probabilities"][y]) for step, y in zip(steps, symbols, strict=True))
        if score > highest:
            best, highest = symbols, score
    assert model(features).symbols[0].tolist() == best


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_likeliest_new_symbol_each_step(seed):
    model = small(seed=seed, max_steps=4)
    features, _ = batch([4], seed)
    symbols = []
    while len(symbols) < 4 and 4 not in symbols:
        steps = naive.decode(arrays(model), features[0].numpy(), [*symbols, 4], POOL[Norm])
        probabilities = steps[-1]["probabilities"].copy()
        probabilities[symbols] = -1
        symbols.append(int(probabilities.argmax()))
    assert model(features).symbols[0].tolist() == symbols


@pytest.mark.parametrize("figure", FIGURES)
def test_videos_without_snippets_decode_to_finite_numbers(figure):
    model = small(**figure)
    features, mask = batch([3, 3])
    mask[1] = False
    truth = targets(LABELS[:2], COUNTS[:2])
    for decoding in (model(features, mask), model(features, mask, truth)):
        assert not decoding.attention[1].any()
        assert decoding.class_scores.isfinite().all()
    sum(model.loss(decoding, truth).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    empty = model(torch.zeros(1, 0, 6, dtype=torch.float64))
    assert empty.attention.shape[2] == 0
    assert empty.class_scores.isfinite().all()


@pytest.mark.parametrize("beam_width", [1, 3])
def test_no_videos_decode_to_none(beam_width):
    decoding = small(beam_width=beam_width)(torch.zeros(0, 5, 6, dtype=torch.float64))
    assert decoding.class_scores.shape == (0, 4)
    assert decoding.attention.shape == (0, 1, 5)


def test_logits_differentiate_by_a_pooling_that_depends_on_no_weight():
    decoding = small(Mean())(torch.randn(2, 5, 6, dtype=torch.float64))
    (slope,) = torch.autograd.grad(decoding.logits.sum(), decoding.pooled)
    assert slope.any()


@pytest.mark.parametrize(("modules", "figure"), [((), {}), *((ALL, figure) for figure in FIGURES)])
def test_what_is_kept_for_the_backward_pass_grows_linearly_in_the_length(modules, figure):
    def kept(T):
        sizes = {}

        def note(tensor):
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        model, truth = small(modules=modules, **figure), targets(LABELS[:2], COUNTS[:2])
        features = torch.randn(2, T, 6, dtype=torch.float64)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = sum(model.loss(model(features, None, truth), truth).values())
        assert loss.requires_grad
        return sum(sizes.values())

    assert kept(400) - kept(200) == kept(800) - kept(600) > 0


def test_targets_can_be_checked_before_training():
    model = small(max_steps=2)
    model.check_targets(targets(LABELS[:2], COUNTS[:2]))
    with pytest.raises(VideoError, match=r"^video 2 of the batch has 3 labels, and max_steps is 2: raise it to 4"):
        model.check_targets(targets(LABELS, COUNTS))


def test_ram_without_counts_is_off_and_says_so():
    message = (
        "RAM is off: it learns from instance counts, and the targets have none; "
        "in an experiment of wtal, data.counts = true gives them"
    )
    torch.manual_seed(0)
    model = Star(6, 4, Norm(), modules=ALL).double()
    features, mask = batch([5, 3, 1])
    truth = targets(LABELS)
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        decoding = model(features, mask, truth)
    terms = model.loss(decoding, truth)
    assert "ram" not in terms
    sum(terms.values()).backward()
    assert model.repetition_weight.grad is None
    assert not model.eval()(features, mask).repetition.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(features, mask, targets(LABELS, COUNTS))
        Star(6, 4, Norm()).double()(features, mask, truth)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("name", ALL)
def test_weight_zero_and_a_missing_name_switch_a_module_off(name, figure):
    torch.manual_seed(0)
    by_weight = Star(6, 4, Norm(), modules=ALL, **{name: 0.0}, **figure).double()
    torch.manual_seed(0)
    by_name = Star(6, 4, Norm(), modules=[other for other in ALL if other != name], **figure).double()
    assert list(by_weight.state_dict()) == list(by_name.state_dict())
    features, mask = batch([5, 3, 1])
    truth = targets(LABELS, COUNTS)
    one, two = by_weight(features, mask, truth), by_name(features, mask, truth)
    assert torch.equal(one.logits, two.logits)
    assert list(by_weight.loss(one, truth)) == ["classification", *(other for other in ALL if other != name)]
    full = Star(6, 4, Norm(), modules=ALL).double()
    assert name in full.loss(full(features, mask, truth), truth)


def test_aggregator_of_another_width_is_named():
    message = (
        "the aggregator Halving returned pooled features of shape (2, 3), but STAR needs (B, D) = (2, 6): "
        "use an aggregator that keeps the feature dimension"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small(Halving())(torch.zeros(2, 5, 6, dtype=torch.float64))


def test_bad_inputs_are_named():
    model = small()
    features = torch.zeros(2, 5, 6, dtype=torch.float64)
    for arguments, message in [
        ((features[0],), "features must be (B, T, 6), got (5, 6)"),
        ((features[..., :4],), "features must be (B, T, 6), got (2, 5, 4)"),
        ((features, torch.ones(2, 5)), "mask must be bool of shape (2, 5), got torch.float32 of (2, 5)"),
        ((features, torch.ones(2, 4, dtype=torch.bool)), "mask must be bool of shape (2, 5), got torch.bool of (2, 4)"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            model(*arguments)
    for truth, message in [
        (targets([[1, 0, 0, 0]]), "targets.labels must be (B, C) = (2, 4), got (1, 4)"),
        (targets([[1, 0, 0]] * 2), "targets.labels must be (B, C) = (2, 4), got (2, 3)"),
        (targets([[1, 0, 0, 0]] * 2, [[1, 1, 1]] * 2), "targets.counts must be (B, C) = (2, 4), got (2, 3)"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            model(features, None, truth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules": "ram"}, "modules must be a list of 'sparsity', 'coverage' and 'ram', got 'ram'"),
        ({"modules": ["cov"]}, "modules must be a list of 'sparsity', 'coverage' and 'ram', got ['cov']"),
        ({"ram": -1.0}, "ram is the weight of a loss and must be 0 or more, got -1.0"),
        ({"coverage": float("nan")}, "coverage is the weight of a loss and must be 0 or more, got nan"),
        ({"modules": 5}, "modules must be a list of 'sparsity', 'coverage' and 'ram', got 5"),
        ({"modules": [["ram"]]}, "modules must be a list of 'sparsity', 'coverage' and 'ram', got [['ram']]"),
        ({"ram": "much"}, "ram is the weight of a loss and must be 0 or more, got 'much'"),
        ({"max_steps": 0}, "max_steps must be a whole number of 1 or more, got 0"),
        ({"beam_width": 2.5}, "beam_width must be a whole number of 1 or more, got 2.5"),
        ({"hidden_size": 0}, "hidden_size must be a whole number of 1 or more, got 0"),
        ({"attention_size": 0}, "attention_size must be a whole number of 1 or more, got 0"),
        ({"embedding_size": -1}, "embedding_size must be a whole number of 1 or more, got -1"),
        (
            {"attention_normalization": "relu"},
            "attention_normalization must be 'sigmoid' or 'softmax', got 'relu'",
        ),
        ({"coverage_mechanism": []}, "coverage_mechanism must be 'permissive' or 'original', got []"),
        ({"label_order": "name"}, "label_order must be 'class' or 'count', got 'name'"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Star(6, 4, Norm(), **options)


def test_loss_wants_the_targets_of_the_decoding():
    model = small()
    features, mask = batch([5, 3, 1])
    message = "the decoding follows other label sequences: decode with the targets of the loss"
    decoding = model(features, mask, targets(LABELS, COUNTS))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.loss(decoding, targets(LABELS[::-1], COUNTS[::-1]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("figure", [FIGURES[0], FIGURES[-1]])
def test_dtype_and_device_are_kept(figure, device, dtype):
    model = small(dtype=dtype, **figure).to(device)
    features, mask = batch([5, 3, 1], dtype=dtype)
    for truth in (None, targets(LABELS, COUNTS, dtype=dtype)):
        if truth is not None:
            truth = SimpleNamespace(labels=truth.labels.to(device), counts=truth.counts.to(device))
        decoding = model(features.to(device), mask.to(device), truth)
        for value in (decoding.features, decoding.attention, decoding.pooled, decoding.logits, decoding.class_scores):
            assert value.dtype == dtype
            assert value.device.type == device


@pytest.mark.parametrize("device", DEVICES)
def test_overfits_eight_videos_to_perfect_label_sequences(device):
    torch.manual_seed(0)
    directions = torch.randn(5, 16)
    labels = torch.tensor(
        [
            [1, 0, 0, 0, 0],
            [0, 1, 0, 0, 0],
            [0, 0, 1, 1, 0],
            [1, 0, 0, 0, 1],
            [0, 1, 1, 0, 0],
            [1, 1, 0, 1, 0],
            [0, 0, 0, 0, 0],
            [1, 0, 1, 1, 1],
        ],
        dtype=torch.float32,
    )
    features = 0.3 * torch.randn(8, 30, 16)
    for b in range(8):
        for c in labels[b].nonzero().flatten().tolist():
            start = int(torch.randint(0, 25, ()))
            features[b, start : start + 5] += 2 * directions[c]
    features, truth = features.to(device), SimpleNamespace(labels=labels.to(device), counts=None)
    model = Star(16, 5, Norm(), hidden_size=64, attention_size=32, embedding_size=16).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        sum(model.loss(model(features, targets=truth), truth).values()).backward()
        optimizer.step()
    model.eval()
    decoding = model(features)
    expected = [naive.label_sequence(row, None, "class", 10) for row in labels.tolist()]
    for b in range(8):
        assert decoding.symbols[b][decoding.steps[b]].tolist() == expected[b]
    assert ((decoding.class_scores.cpu() > 0.5) == (labels > 0)).all()


@pytest.mark.parametrize("length_normalized", [True, False])
def test_ram_learns_to_count(length_normalized):
    """Two kinds of video, one class, told apart by how much of it there is."""
    torch.manual_seed(0)
    counts = torch.tensor([[2.0], [8.0]]).repeat(4, 1)
    features = 0.1 * torch.randn(8, 40, 4)
    for b in range(8):
        features[b, : 3 * int(counts[b]), 0] += 2
    truth = SimpleNamespace(labels=torch.ones(8, 1), counts=counts)
    options = {"modules": ["ram"], "ram": 1.0, "hidden_size": 8, "attention_size": 8}
    model = Star(4, 1, Norm(), length_normalized=length_normalized, **options)
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model.loss(model(features, targets=truth), truth).values()).backward()
        optimizer.step()
    torch.testing.assert_close(model(features).repetition[:, :1], counts, rtol=0, atol=0.5)
