"""Slow twins of STAR's equations: NumPy, one video, one number at a time."""

import itertools

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def energy(features, state, weight, gate=None):
    """(2) and (7); features (T, A), state (A,), weight (A,), gate (T, A)."""
    values = []
    for i in range(len(features)):
        e = 0.0
        for a in range(len(weight)):
            term = np.tanh(state[a] + features[i, a])
            e += weight[a] * (term if gate is None else gate[i, a] * term)
        values.append(e)
    return np.array(values)


def coverage_gate(attention, state, weight, normalized=True):
    """(6); attention (T,) of the previous step, state (A,), weight (A,)."""
    T = len(attention)
    position = [(i - 0.5) / T if normalized else i for i in range(1, T + 1)]
    centroid = sum(attention[k] * position[k] for k in range(T))
    if normalized:
        centroid /= sum(attention)
    return np.array([[sigmoid(weight[a] * (p - centroid) + state[a]) for a in range(len(weight))] for p in position])


def lstm(x, hidden, cell, weights):
    """One step of an LSTM cell, gates in PyTorch's order."""
    w_in, w_hidden, b_in, b_hidden = weights
    gates = w_in @ x + b_in + w_hidden @ hidden + b_hidden
    i, f, g, o = np.split(gates, 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def original_coverage(features, covered, weight):
    """Features (T, A) with V c added; covered (T,), the earlier attention summed, weight (A,)."""
    return np.array(
        [[u + v * c for u, v in zip(row, weight, strict=True)] for row, c in zip(features, covered, strict=True)]
    )


def decode(model, features, symbols, aggregate):
    """(1)-(9) for one video along given symbols, as lists over steps.

    `model` maps names to arrays of the decoder's parameters; `aggregate(features, attention)` pools.
    """
    T = len(features)
    normalized = model["length_normalized"]
    hidden = np.zeros(model["lstm.weight_hh"].shape[1])
    cell = np.zeros_like(hidden)
    earlier = []
    previous = len(model["output.weight"]) - 1
    mapped = features @ model["feature_map.weight"].T + model["feature_map.bias"]
    steps = []
    for symbol in symbols:
        gate, heard = None, mapped
        if earlier and "gate_weight" in model:
            state = model["gate_map.weight"] @ hidden + model["gate_map.bias"]
            gate = coverage_gate(earlier[-1], state, model["gate_weight"], normalized)
        if earlier and "covered_weight" in model:
            heard = original_coverage(mapped, sum(earlier), model["covered_weight"])
        energies = energy(heard, model["state_map.weight"] @ hidden, model["energy_weight"], gate)
        sigmoids = np.array([sigmoid(e) for e in energies])
        attention = softmax(energies) if model["attention_normalization"] == "softmax" else sigmoids
        pooled = aggregate(features, attention)
        inputs = [pooled, model["embedding.weight"][previous]]
        repetition = 0.0
        if "repetition_weight" in model:
            repetition = model["repetition_weight"] * sum(sigmoids) * (100 / T if normalized else 1)
            inputs.append([repetition])
        hidden, cell = lstm(
            np.concatenate(inputs),
            hidden,
            cell,
            [model[f"lstm.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")],
        )
        logits = model["output.weight"] @ hidden + model["output.bias"]
        steps.append(
            {
                "attention": attention,
                "pooled": pooled,
                "repetition": repetition,
                "logits": logits,
                "probabilities": softmax(logits),
            }
        )
        earlier.append(attention)
        previous = symbol
    return steps


def class_scores(steps):
    scores = []
    for c in range(len(steps[0]["logits"]) - 1):
        missed = 1.0
        for step in steps:
            missed *= 1 - step["probabilities"][c]
        scores.append(1 - missed)
    return np.array(scores)


def label_sequence(labels, counts, order, max_steps):
    """Symbols of one video."""
    classes = [c for c in range(len(labels)) if labels[c] > 0]
    if order == "count":
        classes.sort(key=lambda c: (-counts[c], c))
    return [*classes, len(labels)][:max_steps]


def all_sequences(num_classes, max_steps):
    """Every symbol sequence that decoding may end with."""
    for length in range(max_steps + 1):
        for classes in itertools.permutations(range(num_classes), length):
            yield [*classes] if length == max_steps else [*classes, num_classes]


def classification_loss(probabilities, symbols):
    """(16); both lists over videos, then steps."""
    total = 0.0
    for video, truth in zip(probabilities, symbols, strict=True):
        for y, symbol in zip(video, truth, strict=True):
            total -= np.log(y[symbol])
    return total / len(symbols)


def sparsity_loss(attention, normalized):
    """L1 norm; attention is a list over videos of (S, T)."""
    return sum(np.abs(a).sum() / (a.shape[1] if normalized else 1) for a in attention) / len(attention)


def coverage_loss(attention, normalized):
    """(17), summed over steps, the cumulative sums written out."""
    total = 0.0
    for a in attention:
        S, T = a.shape
        for t in range(1, S):
            excess = 0.0
            for i in range(T):
                excess += sum(a[t, k] for k in range(i + 1)) - sum(a[t - 1, k] for k in range(i + 1))
            total += max(0.0, excess) / (T**2 if normalized else 1)
    return total / len(attention)


def overlap_loss(attention, normalized):
    """The original coverage's loss, summed over steps."""
    total = 0.0
    for a in attention:
        S, T = a.shape
        for t in range(1, S):
            for i in range(T):
                total += min(a[t, i], sum(a[u, i] for u in range(t))) / (T if normalized else 1)
    return total / len(attention)


def repetition_loss(repetition, counts):
    """(18); lists over videos of RAM_t and of c_t at the steps that name a class."""
    total = 0.0
    for predicted, true in zip(repetition, counts, strict=True):
        if true:
            total += sum((c - r) ** 2 for r, c in zip(predicted, true, strict=True)) / (2 * len(true))
    return total / len(counts)
