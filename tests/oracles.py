"""Oracles: the formulas of the package once more, as slow and plain as they can be, most in float64 and in plain Python."""

import itertools
import math

import numpy as np
import torch
from torch import nn


def cosine(a, b):
    """Cosine similarity of two float64 vectors, in plain Python."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def slow_info_nce(p, c, temperature):
    """The formula of `losses.info_nce`, one pair at a time."""
    p, c = p.tolist(), c.tolist()
    total = 0.0
    for i in range(len(p)):
        scores = [math.exp(cosine(p[i], c[k]) / temperature) for k in range(len(c))]
        total -= math.log(scores[i] / sum(scores))
    return total / len(p)


def slow_nt_xent(a, b, temperature):
    """The formula of `losses.nt_xent`, one pair at a time."""
    a, b = a.tolist(), b.tolist()
    n, total = len(a), 0.0
    for left, right in ((a, b), (b, a)):
        for i in range(n):
            across = [math.exp(cosine(left[i], right[k]) / temperature) for k in range(n)]
            beside = [math.exp(cosine(left[i], left[k]) / temperature) for k in range(n) if k != i]
            total -= math.log(across[i] / (sum(across) + sum(beside)))
    return total / (2 * n)


def slow_log_softmax(row):
    """log of each entry's share of exp, for one list of numbers."""
    total = sum(math.exp(x) for x in row)
    return [x - math.log(total) for x in row]


def slow_soft_cross_entropy(logits, targets):
    """The formula of `losses.soft_cross_entropy`, for lists of lists."""
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        total -= sum(t * share for t, share in zip(target, slow_log_softmax(row), strict=True))
    return total / len(logits)


def slow_distillation_kl(student, teacher, temperature):
    """The formula of `losses.distillation_kl`, for lists of lists."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        guess, target = (slow_log_softmax([x / temperature for x in row]) for row in (s, t))
        total += sum(math.exp(b) * (b - a) for a, b in zip(guess, target, strict=True))
    return temperature**2 * total / len(student)


def slow_supervised_contrastive(s, labels):
    """The formula of `losses.supervised_contrastive`, for a list of lists and a list."""
    anchors = []
    for i, row in enumerate(s):
        others = [j for j in range(len(s)) if j != i]
        total = sum(math.exp(row[j]) for j in others)
        friends = [j for j in others if labels[j] == labels[i]]
        if friends:
            anchors.append(-sum(row[p] - math.log(total) for p in friends) / len(friends))
    return sum(anchors) / len(anchors)


def slow_info_nce_queue(q, k, queue, temperature):
    """The formula of `losses.info_nce_queue`, one similarity at a time."""
    q, k, queue = q.tolist(), k.tolist(), queue.tolist()
    total = 0.0
    for i in range(len(q)):
        own = math.exp(cosine(q[i], k[i]) / temperature)
        others = sum(math.exp(cosine(q[i], entry) / temperature) for entry in queue)
        total -= math.log(own / (own + others))
    return total / len(q)


def slow_negative_cosine(p, z):
    """The formula of `losses.negative_cosine`, one pair at a time."""
    return -sum(cosine(a, b) for a, b in zip(p.tolist(), z.tolist(), strict=True)) / len(p)


def cosines(rows, entries):
    return [[cosine(row, entry) for entry in entries] for row in rows]


def divided(rows, temperature):
    return [[x / temperature for x in row] for row in rows]


def shares(rows, temperature):
    return [[math.exp(x) for x in slow_log_softmax(row)] for row in divided(rows, temperature)]


def slow_cgh(out, queues, context):
    """L_g, L_h and the sum of the NCEs from embeddings and old queues; teacher 0.04 and 0.08, student 0.10 and 0.07."""
    targets, guesses, nce = {}, {}, 0.0
    for name, t_teacher, t_student in (("global", 0.04, 0.10), ("hyper", 0.08, 0.07)):
        if f"s_{name}" not in out:
            continue
        s, t, entries = out[f"s_{name}"].tolist(), out[f"t_{name}"].tolist(), queues[name].tolist()
        targets[name], guesses[name] = shares(cosines(t, entries), t_teacher), divided(cosines(s, entries), t_student)
        for i, row in enumerate(cosines(s, entries)):
            nce -= slow_log_softmax([x / 0.2 for x in (cosine(s[i], t[i]), *row)])[0] / len(s)
    other = {"global": "hyper", "hyper": "global"}
    teacher = {name: other[name] if context == "cross" else name for name in targets}
    return {name: slow_soft_cross_entropy(guesses[name], targets[teacher[name]]) for name in targets}, nce


def slow_mcl_losses(z, hard, temperature):
    """The four formulas, for z[a][b] as lists of lists."""
    m = range(len(z))
    pairs = [(a, b) for a in m for b in m if a != b]
    return {
        "loss_vcl": sum(hard(z[a][a]) for a in m),
        "loss_icl": sum(hard(z[a][b]) for a, b in pairs),
        "loss_soft_vcl": sum(slow_distillation_kl(z[a][a], z[b][b], temperature) for a, b in pairs),
        "loss_soft_icl": sum(slow_distillation_kl(z[a][b], z[b][a], temperature) for a, b in pairs),
    }


def slow_mcl(out, queues, temperature, soft_temperature):
    """The self-supervised losses from the embeddings and the queues as they were before the step."""
    m = len(queues)
    q, k = ([out[f"{name}{i}"].tolist() for i in range(m)] for name in "qk")
    z = [[None] * m for _ in range(m)]
    for a, b in itertools.product(range(m), repeat=2):
        entries = queues[b].tolist()
        z[a][b] = [
            [cosine(query, entry) / temperature for entry in (key, *entries)] for query, key in zip(q[a], k[b], strict=True)
        ]
    return slow_mcl_losses(z, lambda rows: -sum(slow_log_softmax(row)[0] for row in rows) / len(rows), soft_temperature)


def slow_multi_positive_nt_xent(a, b, n, temperature):
    """The formula of `methods/glnet.py`, one pair at a time. Vector q * n + i is quadrant q of picture i, in a and in b."""
    rows, total = a.tolist() + b.tolist(), 0.0
    picture = [at % n for at in range(len(a))] * 2
    for i, row in enumerate(rows):
        scores = {j: cosine(row, other) / temperature for j, other in enumerate(rows) if j != i}
        alike = [j for j in scores if picture[j] == picture[i]]
        assert len(alike) == 7  # three siblings of its own view, four of the other
        everything = math.log(sum(math.exp(score) for score in scores.values()))
        total -= sum(scores[p] - everything for p in alike) / len(alike)
    return total / len(rows)


def squared_distances(p, m):
    """BYOL's loss as it is written: squared distance of the unit vectors, a mean over the pictures."""
    total = 0.0
    for a, b in zip(p.tolist(), m.tolist(), strict=True):
        long_a, long_b = (math.sqrt(sum(v * v for v in vector)) for vector in (a, b))
        total += sum((v / long_a - w / long_b) ** 2 for v, w in zip(a, b, strict=True))
    return total / len(p)


def slow_loss(name, out, method, temperature):
    """Each method's formula, from its named outputs, in plain Python."""
    if name == "moco":
        one, two = ([out["q1"], out["k2"]], [out["q2"], out["k1"]])
        return sum(slow_info_nce_queue(*pair, method.queue.entries, temperature) for pair in (one, two)) / 2
    if name == "simsiam":
        return (slow_negative_cosine(out["p1"], out["z2"]) + slow_negative_cosine(out["p2"], out["z1"])) / 2
    if name == "byol":
        return squared_distances(out["p1"], out["m2"]) + squared_distances(out["p2"], out["m1"])
    if name == "nnclr":
        return (slow_info_nce(out["n1"], out["p2"], temperature) + slow_info_nce(out["n2"], out["p1"], temperature)) / 2
    one, two = ([slow_info_nce(p, out[m], temperature) for p in out[ps]] for ps, m in (("p1", "m2"), ("p2", "m1")))
    assert len(one) == len(two) == 6
    return (sum(one) + sum(two)) / 12


def slow_knn(bank, bank_labels, queries, query_labels, k, temperature, classes):
    """Nearest first, the earlier of equals first; equal votes to the lower class."""
    first = five = 0
    for query, truth in zip(queries.tolist(), query_labels.tolist(), strict=True):
        scored = sorted((-cosine(query, row), place) for place, row in enumerate(bank.tolist()))
        votes = [0.0] * classes
        for negative, place in scored[:k]:
            votes[int(bank_labels[place])] += math.exp(-negative / temperature) if temperature else 1.0
        ranking = sorted(range(classes), key=lambda c: (-votes[c], c))
        first, five = first + (ranking[0] == truth), five + (truth in ranking[:5])
    return {"top1": first / len(queries), "top5": five / len(queries)}


def slow_neighbours(x, chosen, k):
    """Numbers of the k nearest of each of the chosen, by float64 loops: {number: [numbers]}."""
    x = x.double().tolist()
    near = {}
    for i in chosen:
        others = sorted(((cosine(x[i], x[j]), j) for j in chosen if j != i), reverse=True)
        near[i] = [j for _, j in others[:k]]
    return near


def slow_flops(network, *shape):
    """(FLOPs of one forward, those of the first layer): two a multiply-add of every convolution and linear layer."""
    each = []

    def count(layer, inputs, output):
        inner = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels * layer.kernel_size[0] ** 2
        each.append(2 * output.numel() * inner)

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    with torch.no_grad():
        network(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return sum(each), each[0]


def slow_newton_schulz(value):
    """What five iterations make of a singular value, relative to the Frobenius norm (Jordan et al. 2024)."""
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


def slow_orthogonalise(matrix):
    """The same through a singular value decomposition, one value at a time."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u @ torch.diag(torch.tensor([slow_newton_schulz(x / s.norm()) for x in s])) @ v


def slow_patches(images, kernel):
    """All patches, one at a time: (N, 3, S, S) -> (patches, 3 k k)."""
    side = images.shape[-1] - kernel + 1
    return np.stack(
        [
            x[:, i : i + kernel, j : j + kernel].flatten()
            for x in images.double().numpy()
            for i in range(side)
            for j in range(side)
        ]
    )
