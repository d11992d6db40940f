"""Exercises of notebook 03: stop-gradient, momentum encoder, queue, nearest neighbour, and where gradient arrives."""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...losses import negative_cosine
from ...models.freeze import freeze
from ...models.memory_queue import Queue
from ...models.momentum import update_ema
from ..exercise import Case, Exercise, KnownMistake, Property, rows

# ---- 03.1: a target that holds still


def stop_gradient_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Each prediction is drawn to the other view's projection, which holds still: four (N, D) -> scalar."""
    return (negative_cosine(p1, z2.detach()) + negative_cosine(p2, z1.detach())) / 2


FOUR = tuple(rows(5, 4, seed) for seed in range(4))


def leaves_them(loss) -> bool:
    """Whether the targets themselves are as they were: `.detach_()` would cut them for all who use them afterwards."""
    given = [x.clone().requires_grad_() for x in FOUR]
    loss(*given)
    return all(x.requires_grad for x in given)


def arrives(loss, at: int) -> bool:
    """Whether the loss sends gradient to both predictions (at 0), or to one of the targets (at 2)."""
    given = [x.clone().requires_grad_() for x in FOUR]
    came = loss(*given)
    learns = isinstance(came, Tensor) and came.requires_grad
    grads = torch.autograd.grad(came, given, allow_unused=True) if learns else [None] * 4
    found = [g is not None and bool(g.any()) for g in grads]
    return all(found[:2]) if at == 0 else any(found[2:])


# ---- 03.2: the twin


def small(seed: int) -> nn.Sequential:
    """A network with weights and, in its BatchNorm, buffers that have seen data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        network(torch.randn(8, 3))
    return network


def flat(tensors) -> Tensor:
    return torch.cat([t.detach().flatten().float() for t in tensors])


def after(follow, momentum: float, ones: bool = False):
    """What `follow` does to a twin and its online network; None where it is a blank."""
    online, twin = small(0), freeze(small(1))
    if ones:
        for parameter, value in [(p, 0.0) for p in online.parameters()] + [(p, 1.0) for p in twin.parameters()]:
            parameter.data.fill_(value)
    before = flat(twin.parameters())
    follow(twin, online, momentum)
    names = getattr(getattr(inspect.unwrap(follow), "__code__", None), "co_names", ("",))
    if not names and torch.equal(before, flat(twin.parameters())):
        return None  # a blank uses no name; code that does something in vain does
    return {
        "the twin's parameters": flat(twin.parameters()),
        "the twin's buffers": flat(twin.buffers()),
        "the online network's parameters": flat(online.parameters()),
    }


def stays_frozen(follow) -> bool:
    online, twin = small(0), freeze(small(1))
    follow(twin, online, 0.9)
    return not any(p.requires_grad for p in twin.parameters())


def in_vain(twin, online, momentum):
    for mine, theirs in zip(twin.parameters(), online.parameters(), strict=True):
        mine = momentum * mine + (1 - momentum) * theirs


@torch.no_grad()
def with_buffers(twin, online, momentum):
    for mine, theirs in zip(twin.state_dict().values(), online.state_dict().values(), strict=True):
        mine.copy_(momentum * mine + (1 - momentum) * theirs)


def with_graph(twin, online, momentum):
    for mine, theirs in zip(twin.parameters(), online.parameters(), strict=True):
        mine.mul_(momentum).add_((1 - momentum) * theirs)


# ---- 03.3: the queue


def push(entries: Tensor, pointer: int, new: Tensor) -> tuple[Tensor, int]:
    """The N oldest of K entries (K, ...) replaced by new ones (N, ...), from the pointer on; and the pointer moved on."""
    slots = (pointer + torch.arange(len(new))) % len(entries)
    entries = entries.clone()
    entries[slots] = new
    return entries, (pointer + len(new)) % len(entries)


def shifted(entries: Tensor, pointer: int, new: Tensor) -> tuple[Tensor, int]:
    return torch.cat([entries[len(new) :], new]), pointer


def not_moved(entries: Tensor, pointer: int, new: Tensor) -> tuple[Tensor, int]:
    return push(entries, pointer, new)[0], pointer


def newest(entries: Tensor, pointer: int, new: Tensor) -> tuple[Tensor, int]:
    return push(entries, pointer - len(new), new)[0], (pointer + len(new)) % len(entries)


def no_end(entries: Tensor, pointer: int, new: Tensor) -> tuple[Tensor, int]:
    return push(entries, pointer, new)[0], pointer + len(new)


def sliced(entries: Tensor, pointer: int, new: Tensor) -> tuple[Tensor, int]:
    entries = entries.clone()
    entries[pointer : pointer + len(new)] = new
    return entries, (pointer + len(new)) % len(entries)


def is_the_queue(answer) -> bool:
    """Three batches pushed one after another, beside the package's queue."""
    queue = Queue(6, 4)
    entries, pointer = queue.entries.clone(), 0
    for seed in range(4):
        queue.push(rows(2, 4, seed))
        entries, pointer = answer(entries, pointer, rows(2, 4, seed))
    return torch.equal(entries, queue.entries) and pointer == int(queue.pointer)


COLUMN = torch.tensor([[1.0], [2.0], [3.0], [4.0]])


# ---- 03.4: the neighbour


def nearest(queries: Tensor, entries: Tensor) -> Tensor:
    """For each query (N, D), the position of the entry (K, D) that points most nearly the same way: int64 (N,)."""
    similarity = F.normalize(queries, dim=1) @ F.normalize(entries, dim=1).T  # (N, K)
    return similarity.argmax(dim=1)


def is_the_look_up(answer) -> bool:
    queue = Queue(16, 4)
    queue.push(rows(16, 4, 7))
    return torch.equal(queue.entries[answer(rows(6, 4, 8), queue.entries)], queue.nearest(rows(6, 4, 8))[0])


LOOKED_UP = (torch.tensor([[1.0, 0.2]]), torch.tensor([[0.5, 0.0], [3.0, 3.0], [-1.0, 0.0]]))


# ---- 03.5: where gradient arrives


def reached(loss: Tensor, network: nn.Module) -> bool:
    """Whether any gradient of `loss` that is not zero arrives at any parameter of `network`; the graph stays usable."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters or not loss.requires_grad:
        return False
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in grads)


class Scene:
    """Two networks, a loss of the first one, and a question to an answer about them: a fresh graph for each question."""

    def __init__(self, kind: str):
        self.kind = kind

    def __call__(self, answer):
        one, other = small(0), small(1)
        x = rows(6, 3, 5)
        loss = one(x).square().mean() + one(2 * x).mean()
        if self.kind == "constant":
            return answer(loss.detach(), one)
        if self.kind == "stranger":
            return answer(loss, other)
        if self.kind == "old":
            other(x).square().mean().backward()
            return answer(loss, other)
        if self.kind == "zero":
            return answer(loss + 0 * other(x).sum(), other)
        if self.kind == "cancel":
            return answer(other[1].bias[0] - other[1].bias[1], other)
        if self.kind == "part":
            return answer(loss, nn.ModuleList([one, other]))
        if self.kind == "frozen":
            return answer(freeze(other)(one(x) @ torch.ones(2, 3)).square().mean(), other)
        if self.kind == "twice":
            first = answer(loss, one)
            return None if first is None else (first, answer(loss, one))
        return answer(loss, one)


def by_backward(loss, network, clear: bool = True, keep: bool = True, zeros: bool = False, ask: bool = True):
    """The way by .grad, with one thing left out."""
    if ask and not loss.requires_grad:
        return False
    if clear:
        network.zero_grad()
    loss.backward(retain_graph=keep)
    grads = [p.grad for p in network.parameters()]
    return any(g is not None and (zeros or bool(g.any())) for g in grads)


def of_all(loss, network):
    if not loss.requires_grad:
        return False
    grads = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in grads)


EXERCISES = {
    "03.1": Exercise(
        goal="each prediction is drawn to the other view's projection, and the projection holds still",
        reference=stop_gradient_loss,
        trials=[
            Case(
                "one picture: p1 and z2 alike, p2 and z1 at right angles: -1/2",
                tuple(torch.tensor([[float(a), float(b)]]) for a, b in ((1, 0), (0, 1), (1, 0), (3, 0))),
                -0.5,
            ),
            Case("five random pictures", FOUR),
        ],
        slips=[
            KnownMistake(
                lambda p1, p2, z1, z2: (negative_cosine(p1, z1) + negative_cosine(p2, z2)) / 2,
                "each prediction was compared with its own view: p1 is to say what z2 is, and p2 what z1 is",
            ),
            KnownMistake(
                lambda p1, p2, z1, z2: (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2,
                "the value is right, but gradient flows into z1 and z2: the target moves along. Detach both",
            ),
            KnownMistake(
                lambda p1, p2, z1, z2: (negative_cosine(p1.detach(), z2) + negative_cosine(p2.detach(), z1)) / 2,
                "no gradient reaches the predictions, and they are what learns: detach z1 and z2, and nothing else",
            ),
            KnownMistake(
                lambda p1, p2, z1, z2: negative_cosine(p1, z2.detach()) + negative_cosine(p2, z1.detach()),
                "this is the sum of the two terms; take their mean, so that the loss runs from -1 to 1",
            ),
            KnownMistake(
                lambda p1, p2, z1, z2: -stop_gradient_loss(p1, p2, z1, z2),
                "the sign is turned round: the loss has to fall when a prediction comes nearer to its target",
            ),
            KnownMistake(
                lambda p1, p2, z1, z2: -((p1 * z2.detach()).sum(1).mean() + (p2 * z1.detach()).sum(1).mean()) / 2,
                "these are dot products: long vectors count for more. negative_cosine divides by the lengths",
            ),
        ],
        rules=[
            Property(
                "the tensors given were cut off from their history in place; .detach() makes a copy, .detach_() does not",
                leaves_them,
            ),
            Property("no gradient reaches the predictions: nothing would ever learn", lambda loss: arrives(loss, 0)),
            Property("gradient reaches the targets: they have to hold still", lambda loss: not arrives(loss, 2)),
        ],
        hints=(
            "Who is to move, and who is to hold still? A tensor that holds still is the same numbers without their history.",
            "1/2 D(p1, sg z2) + 1/2 D(p2, sg z1), where D is the negative cosine and sg the stop-gradient, .detach().",
            "All four are (N, D). negative_cosine(p1, z2.detach()) is one number; so is the other; half of their sum.",
        ),
        difficulty=1,
        minutes=5,
        home="mnclglf_lite.methods.simsiam",
    ),
    "03.2": Exercise(
        goal="the twin takes a small step towards the online network: its parameters, in place, and nothing else",
        reference=update_ema,
        trials=[
            Case(
                "all of the twin's parameters are 1, the online network's 0, momentum 0.9: the twin gets 0.9",
                (),
                call=lambda follow: after(follow, 0.9, ones=True),
            ),
            Case("two random networks at momentum 0.7", (), call=lambda follow: after(follow, 0.7)),
        ],
        slips=[
            KnownMistake(
                torch.no_grad()(lambda twin, online, m: update_ema(twin, online, 1 - m)),
                "momentum and 1 - momentum are swapped: at 0.9 the twin keeps nine tenths of itself",
            ),
            KnownMistake(
                with_buffers,
                "the buffers were averaged too: BatchNorm's running statistics stay each network's own. Use .parameters()",
            ),
            KnownMistake(
                lambda twin, online, m: update_ema(online, twin, m),
                "the online network was changed: it learns by gradient alone. Write into the twin's parameters",
            ),
            KnownMistake(
                lambda twin, online, m: twin.load_state_dict(online.state_dict()) and None,
                "the twin became a copy of the online network: it has to keep most of itself, at every step",
            ),
            KnownMistake(
                in_vain,
                "nothing changed: `name = ...` only gives a new tensor a name. Write into the parameter: name.copy_(...)",
            ),
            KnownMistake(
                with_graph,
                "the averages are right, but autograd kept them as a graph that grows step by step: wrap it in torch.no_grad()",
            ),
        ],
        rules=[Property("after it the twin's parameters ask for gradient", stays_frozen)],
        hints=(
            "Go through the parameters of both networks side by side; each of the twin's becomes a mix of the two.",
            "twin <- m * twin + (1 - m) * online, with @torch.no_grad() above the function.",
            "for mine, theirs in zip(twin.parameters(), online.parameters()): mine.copy_(m * mine + (1 - m) * theirs)",
        ),
        difficulty=2,
        minutes=6,
    ),
    "03.3": Exercise(
        goal="a queue: the newest embeddings take the places of the oldest",
        reference=push,
        trials=[
            Case(
                "a queue of 1, 2, 3, 4, pointer 0, and two new ones: 5, 6, 3, 4, pointer 2",
                (COLUMN, 0, torch.tensor([[5.0], [6.0]])),
                (torch.tensor([[5.0], [6.0], [3.0], [4.0]]), 2),
            ),
            Case("the same queue, pointer 2: after two more it is full, and the pointer at 0", (COLUMN, 2, COLUMN[:2] + 10)),
            Case("five slots, pointer 4, two new ones: the second goes to slot 0", (rows(5, 3, 0), 4, rows(2, 3, 1))),
            Case("a queue of six labels", (torch.arange(6), 3, torch.tensor([10, 11]))),
        ],
        slips=[
            KnownMistake(not_moved, "the pointer stayed where it was: the next batch would write over this one"),
            KnownMistake(
                newest, "the newest entries were overwritten: the oldest one lies *at* the pointer, the newest before it"
            ),
            KnownMistake(
                shifted,
                "this moves the whole queue along by one batch. It remembers the same, but copies K rows at every push: "
                "leave all in place and write at the pointer",
            ),
            KnownMistake(
                no_end, "the pointer ran off the end: after the last slot comes slot 0. Take it modulo the queue's length"
            ),
            KnownMistake(sliced, "a slice stops at the end of the queue: slot numbers, taken modulo its length, go round"),
        ],
        rules=[Property("after four pushes it holds something else than the package's queue", is_the_queue)],
        hints=(
            "Think of a round table: a pointer says whose seat is taken next. Nobody else has to move.",
            "Slots (pointer + 0, 1, ..., N-1) modulo K get the new rows; the pointer moves on by N, modulo K.",
            "slots = (pointer + torch.arange(N)) % K; entries = entries.clone(); entries[slots] = new. Give back both.",
        ),
        difficulty=2,
        minutes=6,
        home="mnclglf_lite.models.memory_queue.Queue, which also remembers labels for a gauge",
    ),
    "03.4": Exercise(
        goal="for each query, the position of the queue entry that points most nearly the same way",
        reference=nearest,
        trials=[
            Case("a short entry in the right direction, a long one that is not", LOOKED_UP, torch.tensor([0])),
            Case("six random queries, a queue of nine", (rows(6, 4, 2), rows(9, 4, 3))),
        ],
        slips=[
            KnownMistake(
                lambda q, entries: torch.cdist(q, entries).argmin(1),
                "this takes the smallest distance, in which lengths count: give both sides length one first, or take cosines",
            ),
            KnownMistake(
                lambda q, entries: (q @ entries.T).argmax(1),
                "long entries won: divide every entry by its length before the product",
            ),
            KnownMistake(
                lambda q, entries: (F.normalize(q, dim=1) @ F.normalize(entries, dim=1).T).argmin(1),
                "these are the entries that are least alike: the largest cosine is the nearest",
            ),
            KnownMistake(
                lambda q, entries: (F.normalize(q, dim=1) @ F.normalize(entries, dim=1).T).argmax(0),
                "these are positions in the batch: for each entry its nearest query. Look along the other axis",
            ),
            KnownMistake(
                lambda q, entries: (F.normalize(q, dim=1) @ F.normalize(entries, dim=1).T).max(1).values,
                "these are the similarities of the nearest entries; their positions are wanted (argmax)",
            ),
            KnownMistake(
                lambda q, entries: entries[nearest(q, entries)],
                "these are the entries themselves; give their positions, and the swap is entries[positions]",
            ),
        ],
        rules=[Property("the package's queue finds another neighbour", is_the_look_up)],
        hints=(
            "A table of cosines, queries in the rows and queue entries in the columns. Where is each row largest?",
            "argmax over k of cos(query_i, entry_k).",
            "normalize(queries) (N, D) @ normalize(entries).T (D, K) -> (N, K); .argmax(dim=1) -> (N,).",
        ),
        difficulty=1,
        minutes=4,
        home="mnclglf_lite.models.memory_queue.Queue.nearest, which gives back the entries and their labels",
    ),
    "03.5": Exercise(
        goal="does any gradient of this loss arrive at this network?",
        reference=reached,
        trials=[
            Case("a loss of the network itself", (), True, Scene("own")),
            Case("a loss that is a constant", (), False, Scene("constant")),
            Case("a loss of another network", (), False, Scene("stranger")),
            Case("a loss of another network, while .grad still holds an earlier gradient", (), False, Scene("old")),
            Case("a loss in which the network counts with weight 0", (), False, Scene("zero")),
            Case("a network of which only a part is used", (), True, Scene("part")),
            Case("a loss whose gradients, added up, cancel each other", (), True, Scene("cancel")),
            Case("the same question asked twice", (), (True, True), Scene("twice")),
            Case("a frozen twin", (), False, Scene("frozen")),
        ],
        slips=[
            KnownMistake(
                lambda loss, network: any(p.requires_grad for p in network.parameters()),
                "requires_grad says that a parameter *could* learn, not that this loss teaches it: look at gradients",
            ),
            KnownMistake(
                lambda loss, network: by_backward(loss, network, clear=False),
                "an old gradient was taken for a new one: .grad is a sum. Clear it first, or use torch.autograd.grad",
            ),
            KnownMistake(
                lambda loss, network: by_backward(loss, network, zeros=True),
                "zeros were counted as arrived: a gradient that is 0 everywhere teaches nothing",
            ),
            KnownMistake(
                lambda loss, network: by_backward(loss, network, ask=False),
                "a constant has no history, so backward() refuses it: ask loss.requires_grad first, and say False",
            ),
            KnownMistake(
                lambda loss, network: by_backward(loss, network, keep=False),
                "the first question used up the graph: retain_graph=True keeps it for the next one",
            ),
            KnownMistake(
                of_all,
                "a frozen parameter cannot be differentiated by: ask only for those with p.requires_grad, and say False for none",
            ),
        ],
        hints=(
            "Send the loss back and look what came. Three traps: a constant has no way back, .grad may be old, and zeros.",
            "any(gradient is there and not all of it zero), over the network's parameters, after asking loss.requires_grad.",
            "network.zero_grad(); loss.backward(retain_graph=True); any(p.grad is not None and p.grad.any() for p in ...)",
        ),
        difficulty=3,
        minutes=8,
    ),
}
