"""Exercises of notebook 08: the few lines in which the relatives of SimCLR differ from it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import losses
from ...losses import info_nce_queue, l2_normalize
from ..exercise import Case, Exercise, KnownMistake, Property


def queue_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """MoCo's loss: each query (N, D) finds its own key (N, D) among it and the queue (K, D). Keys are held constant."""
    return info_nce_queue(queries, keys.detach(), queue, temperature)


def swap(z: Tensor, queue: Tensor) -> Tensor:
    """The queue's entry of highest cosine similarity for each row: (N, D), (K, D) -> (N, D), as it lies in the queue."""
    return queue[(l2_normalize(z) @ l2_normalize(queue).T).argmax(dim=1)]


def towards(p: Tensor, z: Tensor) -> Tensor:
    """Minus the mean cosine of predictions p (N, D) and targets z (N, D); the targets hold still."""
    return losses.negative_cosine(p, z.detach())


def send_home(cells: Tensor, order: Tensor) -> Tensor:
    """Undo a shuffle: row j of cells belongs to patch number order[j]; row i of the result to patch number i."""
    return cells[order.argsort()]


def imitate(student: Tensor, teacher: Tensor, t_student: float, t_teacher: float) -> Tensor:
    """Cross-entropy of a student's shares with a teacher's, from their cosines (N, K) with a queue; the teacher holds still."""
    target = (teacher.detach() / t_teacher).softmax(dim=1)
    return losses.soft_cross_entropy(student / t_student, target)


def rows(n: int, d: int, seed: int) -> Tensor:
    """Random embeddings (N, D) of different lengths, so that a missing normalisation shows."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.2, 3.0, n)[:, None]


P, Z, QUEUE = rows(5, 4, 0), rows(5, 4, 1), rows(12, 4, 2)
AXES = torch.eye(3)  # three embeddings at right angles
SHUFFLE = torch.tensor([7, 2, 5, 0, 1, 6, 3, 4])
STUDENT, TEACHER = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1


# ---- slips


def logits(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return l2_normalize(a) @ l2_normalize(b).T / temperature


def key_left_out(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    own = (l2_normalize(q) * l2_normalize(k)).sum(1) / temperature
    return (logits(q, queue, temperature).logsumexp(1) - own).mean()


def key_put_last(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    own = (l2_normalize(q) * l2_normalize(k)).sum(1, keepdim=True) / temperature
    table = torch.cat([logits(q, queue, temperature), own], dim=1)
    return F.cross_entropy(table, torch.zeros(len(q), dtype=torch.long))


def not_unit(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    table = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], dim=1)
    return F.cross_entropy(table / temperature, torch.zeros(len(q), dtype=torch.long))


def shares(x: Tensor, temperature: float) -> Tensor:
    return (x / temperature).softmax(dim=1)


# ---- rules


def gradients(call, *tensors: Tensor) -> list[Tensor | None]:
    """The gradient that reaches each tensor when `call` of them is made small; None or nought where it does not."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    result = call(*leaves)
    if isinstance(result, Tensor) and result.requires_grad:
        result.backward()
    return [leaf.grad for leaf in leaves]


def reached(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all()) and bool(gradient.any())


def keys_hold_still(answer) -> bool:
    return not reached(gradients(lambda q, k: answer(q, k, QUEUE, 0.2), P, Z)[1])


def queries_learn(answer) -> bool:
    return reached(gradients(lambda q, k: answer(q, k, QUEUE, 0.2), P, Z)[0])


def targets_hold_still(answer) -> bool:
    return not reached(gradients(answer, P, Z)[1])


def predictions_learn(answer) -> bool:
    return reached(gradients(answer, P, Z)[0])


def teacher_holds_still(answer) -> bool:
    return not reached(gradients(lambda s, t: answer(s, t, 0.1, 0.04), STUDENT, TEACHER)[1])


def student_learns(answer) -> bool:
    return reached(gradients(lambda s, t: answer(s, t, 0.1, 0.04), STUDENT, TEACHER)[0])


EXERCISES = {
    "08.1": Exercise(
        goal="MoCo's loss: a query's own key is right, every entry of the queue is wrong",
        reference=queue_nce,
        trials=[
            Case(
                "two queries on their own keys, a queue of one entry at right angles, T = 1, as in the text",
                (AXES[:2], AXES[:2], AXES[2:], 1.0),
                math.log(1 + math.exp(-1)),
            ),
            Case(
                "all embeddings equal, a queue of 12: ln 13",
                (torch.ones(5, 4), torch.ones(5, 4), torch.ones(12, 4), 0.2),
                math.log(13),
            ),
            Case("five random queries, a queue of 12, temperature 0.2", (P, Z, QUEUE, 0.2)),
        ],
        slips=[
            KnownMistake(
                key_left_out,
                "this equals the loss with the own key left out of the denominator: it stands among the choices, 1 + K of them",
            ),
            KnownMistake(
                key_put_last,
                "the first entry of the queue was called right: where the own key stands last, its number is K, not 0",
            ),
            KnownMistake(
                lambda q, k, queue, t: losses.info_nce(q, k.detach(), t),
                "the other keys of the batch were the wrong answers; here the queue's entries are, and they alone",
            ),
            KnownMistake(not_unit, "the rows were not made length one: take cosines, not dot products"),
            KnownMistake(
                lambda q, k, queue, t: F.cross_entropy(
                    torch.cat([logits(q, k.detach(), t), logits(q, queue, t)], dim=1), torch.arange(len(q))
                ),
                "the other keys of the batch stand among the answers too; there are 1 + K: the own key and the queue's entries",
            ),
            KnownMistake(
                info_nce_queue,
                "right in value, but gradient reached the keys: they are the twin's, which learns by averaging alone. Detach them",
            ),
        ],
        rules=[
            Property("gradient reached the keys; they belong to the twin, so detach them", keys_hold_still),
            Property("no gradient reached the queries; compute with tensors to the end, without .item()", queries_learn),
        ],
        hints=(
            "A quiz with 1 + K answers. Make the table of logits in two parts, the own key and the queue, and say which column is right.",
            "own = sum of q_i k_i, (N, 1); others = q @ queue.T, (N, K); cross-entropy of [own, others] / T with answer 0 in each row.",
            "F.normalize all three; torch.cat([(N, 1), (N, K)], dim=1); answers torch.zeros(N, dtype=torch.long); keys.detach().",
        ),
        difficulty=2,
        minutes=8,
        home="mnclglf_lite.losses.info_nce_queue (the method hands it keys without gradient)",
    ),
    "08.2": Exercise(
        goal="NNCLR's swap: in place of each embedding, its nearest neighbour in a queue",
        reference=swap,
        trials=[
            Case(
                "the long entry lies farther in angle than the short one",
                (torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 4.0], [0.5, 0.1], [0.0, 1.0]])),
                torch.tensor([[0.5, 0.1]]),
            ),
            Case("five random embeddings, a queue of 12", (P, QUEUE)),
        ],
        slips=[
            KnownMistake(
                lambda z, queue: queue[(z @ queue.T).argmax(dim=1)],
                "the largest dot product was taken: long entries win. Compare directions, so make the queue's rows length one",
            ),
            KnownMistake(
                lambda z, queue: l2_normalize(queue)[(z @ l2_normalize(queue).T).argmax(dim=1)],
                "the right entry, but with its length taken off: give it back as it lies in the queue",
            ),
            KnownMistake(
                lambda z, queue: (l2_normalize(z) @ l2_normalize(queue).T).argmax(dim=1),
                "these are places in the queue; give the entries that lie there, queue[places]",
            ),
            KnownMistake(
                lambda z, queue: queue[(l2_normalize(z) @ l2_normalize(queue).T).argmin(dim=1)],
                "this is the farthest entry: the nearest has the highest cosine",
            ),
            KnownMistake(
                lambda z, queue: (l2_normalize(z) @ l2_normalize(queue).T).softmax(dim=1) @ queue,
                "this is a mean of the whole queue, weighted by likeness; one single neighbour is wanted, by argmax",
            ),
            KnownMistake(
                lambda z, queue: queue[torch.cdist(z, queue).argmin(dim=1)],
                "this is the entry at the smallest distance, in which lengths count; the one with the highest cosine is wanted",
            ),
        ],
        hints=(
            "Compare every embedding with every entry, and for each row keep the entry that is most alike.",
            "index_i = argmax over k of cos(z_i, Q_k); n_i = Q[index_i].",
            "(N, D) @ (D, K) -> (N, K); .argmax(dim=1) -> (N,); queue[index] -> (N, D).",
        ),
        difficulty=1,
        minutes=4,
        home="mnclglf_lite.models.memory_queue.Queue.nearest",
    ),
    "08.3": Exercise(
        goal="a prediction is drawn towards a target that holds still",
        reference=towards,
        trials=[
            Case(
                "three predictions, one on its target, two at right angles to theirs",
                (torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), torch.tensor([[5.0, 0.0], [1.0, 0.0], [2.0, 0.0]])),
                -1 / 3,
            ),
            Case("five random predictions", (P, Z)),
        ],
        slips=[
            KnownMistake(
                losses.negative_cosine,
                "right in value, but gradient reached the target: hold it still with z.detach(), or both sides run to one point",
            ),
            KnownMistake(
                lambda p, z: losses.negative_cosine(p.detach(), z),
                "no gradient reached the prediction. It is z that holds still, z.detach(); p stays as it is, and no_grad is too much",
            ),
            KnownMistake(
                lambda p, z: -losses.negative_cosine(p, z.detach()),
                "the sign is turned round: a loss gets smaller as the prediction gets better, so put a minus before the cosine",
            ),
            KnownMistake(
                lambda p, z: -(p * z.detach()).sum(dim=1).mean(),
                "the rows were not made length one: growing longer would count as getting better",
            ),
            KnownMistake(
                lambda p, z: -(l2_normalize(p) * l2_normalize(z.detach())).mean(),
                "the mean ran over all numbers; sum over the D numbers of a row first, then take the mean over the N rows",
            ),
            KnownMistake(
                lambda p, z: 2 + 2 * losses.negative_cosine(p, z.detach()),
                "this is BYOL's form, the squared distance 2 - 2 cos; asked is minus the cosine, SimSiam's",
            ),
        ],
        rules=[
            Property("no gradient reached the prediction; detach z, and leave p as it is", predictions_learn),
            Property("gradient reached the target; detach z", targets_hold_still),
        ],
        hints=(
            "A cosine for each row, the mean of them, and a minus. Then ask: who may move?",
            "-(1/N) sum_i cos(p_i, z_i), with z held constant.",
            "(F.normalize(p, dim=1) * F.normalize(z.detach(), dim=1)).sum(dim=1) is (N,); its mean is a scalar.",
        ),
        difficulty=1,
        minutes=4,
        home="mnclglf_lite.losses.negative_cosine (the method hands it targets without gradient)",
    ),
    "08.4": Exercise(
        goal="undo a shuffle: send each vector back to the patch that it came from",
        reference=send_home,
        trials=[
            Case(
                "patches 10, 20, 30, shuffled by the order 2, 0, 1",
                (torch.tensor([30.0, 10.0, 20.0]), torch.tensor([2, 0, 1])),
                torch.tensor([10.0, 20.0, 30.0]),
            ),
            Case("eight random vectors", (rows(8, 3, 3), SHUFFLE)),
        ],
        slips=[
            KnownMistake(
                lambda cells, order: cells[order],
                "this shuffles a second time; to go back takes the inverse order, which says where each patch went",
            ),
            KnownMistake(lambda cells, order: cells.clone(), "nothing was moved: cell j still holds patch order[j]"),
            KnownMistake(
                lambda cells, order: cells.flip(0), "this only turns the order round; a shuffle is undone by its inverse"
            ),
            KnownMistake(
                lambda cells, order: order.argsort(), "this is the inverse order itself; use it as an index: cells[...]"
            ),
        ],
        rules=[
            Property(
                "shuffling by an order and sending home must give back what was there",
                lambda answer: torch.equal(answer(P[(order := torch.randperm(5))], order), P),
            )
        ],
        hints=(
            "order says which patch sits in each cell. You want the opposite: in which cell does each patch sit?",
            "If order[j] = i, then inverse[i] = j. Sorting knows it: inverse = order.argsort().",
            "order (M,), order.argsort() (M,), cells[...] (M, D).",
        ),
        difficulty=2,
        minutes=4,
        home="mnclglf_lite.methods.glnet, and the shuffles of MoCo, MCL and CGH",
    ),
    "08.5": Exercise(
        goal="a student gives a queue's entries the same shares as a teacher does",
        reference=imitate,
        trials=[
            Case(
                "a teacher who is sure of the first of two entries, a student at cosines 1/2 and 0 with T = 1, as in the text",
                (torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, 0.0]]), 1.0, 0.01),
                math.log(1 + math.exp(-0.5)),
            ),
            Case(
                "two pictures, two entries, a teacher without an opinion, a student without one: ln 2",
                (torch.zeros(2, 2), torch.full((2, 2), 0.5), 0.1, 0.04),
                math.log(2),
            ),
            Case("four random pictures, a queue of 6", (STUDENT, TEACHER, 0.1, 0.04)),
        ],
        slips=[
            KnownMistake(
                lambda s, t, a, b: imitate(s, t, b, a),
                "the two temperatures are exchanged: the teacher has the lower one, so that its opinion is the sharper",
            ),
            KnownMistake(
                lambda s, t, a, b: imitate(t, s, b, a),
                "the teacher was made to imitate the student: the shares before the log are the teacher's, those inside it the student's",
            ),
            KnownMistake(
                lambda s, t, a, b: -(shares(t.detach(), b) * F.log_softmax(s / a, dim=1)).mean(),
                "the mean ran over all entries; sum over the K entries of a row first, then take the mean over the N rows",
            ),
            KnownMistake(
                lambda s, t, a, b: F.cross_entropy(s / a, t.detach() / b),
                "the teacher's cosines were the target as they are; a softmax makes them shares that sum to one",
            ),
            KnownMistake(
                lambda s, t, a, b: F.kl_div(F.log_softmax(s / a, dim=1), shares(t.detach(), b), reduction="batchmean"),
                "this is the KL divergence: the cross-entropy less the teacher's own entropy, a constant. Same gradient, other value",
            ),
            KnownMistake(
                lambda s, t, a, b: losses.soft_cross_entropy(s / a, shares(t, b)),
                "right in value, but gradient reached the teacher: it would learn to be easily imitated. Detach it",
            ),
        ],
        rules=[
            Property("gradient reached the teacher; detach it", teacher_holds_still),
            Property("no gradient reached the student", student_learns),
        ],
        hints=(
            "Two softmaxes, each with its own temperature. The teacher's shares take the place of the one right answer.",
            "-(1/N) sum_i sum_k t_ik log s_ik, t = softmax(teacher / t_teacher), s = softmax(student / t_student).",
            "all (N, K); F.log_softmax(student / t_student, dim=1); sum over dim=1, mean over N; teacher.detach().",
        ),
        difficulty=2,
        minutes=7,
        home="mnclglf_lite.losses.soft_cross_entropy, which CGH hands its teacher's shares",
    ),
}
