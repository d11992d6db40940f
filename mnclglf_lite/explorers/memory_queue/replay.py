"""A queue as it fills: which images it holds after so many batches, which is nearest to a query, is it of its class?

A replay of what NNCLR and MNCLGLF do with `memory_queue.Queue`, with one difference: the encoder is frozen, so its features
are computed once. Each batch first looks up its nearest entries, then enters the queue and drives out the oldest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...evaluation import layouts
from ...evaluation.knn import nearest_neighbours
from ...models.memory_queue import Queue

STEPS_MOST = 100  # batches of a story: as many as a slider can tell apart (ours)
QUERIES_MOST = 12  # pictures to choose a query from (ours)
NEIGHBOURS = 8  # of a query, in the strip (ours)


@dataclass(frozen=True)
class Neighbour:
    """An entry of the queue. A random start vector has picture -1 and no age."""

    slot: int  # its place in the queue
    picture: int  # position in the image set
    cosine: float  # with the query
    age: int  # batches since it was pushed, 1 for the latest


@dataclass(frozen=True, eq=False)
class Moment:
    """The queue after `pushed` batches, seen from one query."""

    size: int
    pushed: int
    query: int  # position in the image set
    neighbours: list[Neighbour]  # nearest first
    blocks: list[int]  # for each batch's room in the queue, in its order: the batch that stands there, -1 for random vectors
    pointer: int  # the block that the next batch will fill
    agreement: float  # share of the coming batch whose nearest entry has their class

    @property
    def real(self) -> int:
        """Entries that are embeddings of pictures."""
        return sum(block >= 0 for block in self.blocks) * (self.size // len(self.blocks))

    @property
    def oldest(self) -> int:
        """Batches since the oldest embedding was pushed; 0 if there is none."""
        return max((self.pushed - block for block in self.blocks if block >= 0), default=0)


class QueueStory:
    """Features (N, D) of an image set, sent through queues of every size, batch by batch.

    One picture of each class is kept out as a query. The others come once, in a random order (some sets are stored class by
    class), at most 100 batches of them. Sizes are the batch times a power of two.
    """

    def __init__(self, features: Tensor, pictures: ImageSet, batch: int = 64, seed: int = 0):
        self.features = layouts.check(features, 1, "the queue explorer")  # float32 (N, D)
        self.pictures = pictures.to("cpu")
        self.batch, self.seed = batch, seed
        labels = self.pictures.labels
        if len(self.features) != len(labels):
            raise InputError(f"{len(labels)} pictures need features (N, D), one row each; got {tuple(self.features.shape)}")
        present = labels.unique().tolist()
        if len(present) < 2:
            raise InputError(f"whether neighbours agree takes two classes or more; {pictures.name} shows {len(present)}")
        self.chance = 1 / len(present)
        self.queries = [int((labels == label).nonzero()[0]) for label in present[:QUERIES_MOST]]
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        order = order[~torch.isin(order, torch.tensor(self.queries))]
        self.steps = min(STEPS_MOST, len(order) // batch) if batch >= 1 else 0
        if self.steps < 2:
            raise InputError(
                f"a queue that fills takes two batches or more; got batch {batch} and {len(order)} other pictures"
            )
        self.stream = order[: self.steps * batch].view(self.steps, batch)  # (batches, pictures of each)
        self.sizes = [batch * 2**k for k in range(20) if 2**k <= self.steps]
        self._agreement: dict[int, Tensor] = {}

    def _empty(self, size: int) -> Queue:
        if size not in self.sizes:
            raise InputError(f"the queue's size is a batch of {self.batch} times a power of two: {self.sizes}; got {size}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return Queue(size, self.features.shape[1])

    def _push(self, queue: Queue, step: int) -> None:
        """The queue keeps a label beside each entry; here that is the picture's position, which tells all."""
        queue.push(self.features[self.stream[step]], self.stream[step])

    def queue(self, size: int, pushed: int) -> Queue:
        """The queue after `pushed` batches; `labels` hold positions of pictures, -1 for random start vectors."""
        if not 0 <= pushed <= self.steps:
            raise InputError(f"there are {self.steps} batches; got pushed={pushed}")
        queue = self._empty(size)
        for step in range(pushed):
            self._push(queue, step)
        return queue

    def agreement(self, size: int) -> Tensor:
        """(steps,): share of each batch whose nearest entry, just before the batch was pushed, had their class."""
        if size not in self._agreement:
            labels, queue, shares = self.pictures.labels, self._empty(size), []
            for step, coming in enumerate(self.stream):
                found = queue.nearest(self.features[coming])[1]  # (batch,) positions of pictures
                same = (labels[found.clamp(min=0)] == labels[coming]) & (found >= 0)
                shares.append(same.float().mean())
                self._push(queue, step)
            self._agreement[size] = torch.stack(shares)
        return self._agreement[size]

    def moment(self, size: int, pushed: int, query: int, k: int = NEIGHBOURS) -> Moment:
        """The queue after `pushed` batches (not all: the coming batch is asked too), seen from `queries[query]`."""
        if not 0 <= pushed < self.steps:
            raise InputError(f"the coming batch is one of {self.steps}: pushed is 0 to {self.steps - 1}; got {pushed}")
        queue, picture = self.queue(size, pushed), self.queries[query]
        cosines, slots = (found[0] for found in nearest_neighbours(self.features[[picture]], queue.entries, min(k, size)))
        came = torch.full((len(self.features) + 1,), -1)  # the step at which a picture came; the last entry is for -1
        came[self.stream.flatten()] = torch.arange(self.steps).repeat_interleave(self.batch)
        neighbours = [
            Neighbour(slot, who, cosine, pushed - int(came[who]) if who >= 0 else 0)
            for slot, who, cosine in zip(slots.tolist(), queue.labels[slots].tolist(), cosines.tolist(), strict=True)
        ]
        return Moment(
            size, pushed, picture, neighbours,
            blocks=came[queue.labels[:: self.batch]].tolist(),
            pointer=int(queue.pointer) // self.batch,
            agreement=float(self.agreement(size)[pushed]),
        )  # fmt: skip

    def words(self, moment: Moment) -> str:
        """A moment in words."""
        random = moment.size - moment.real
        if not moment.pushed:
            text = f"The queue of {moment.size:,} holds random start vectors and nothing else."
        else:
            batches = "1 batch" if moment.pushed == 1 else f"{moment.pushed} batches"
            text = f"After {batches} of {self.batch}, the queue of {moment.size:,} holds {moment.real:,} embeddings"
            text += f" and {random:,} random start vectors." if random else f", the oldest pushed {ago(moment.oldest)}."
        first = moment.neighbours[0]
        if first.picture < 0:
            text += f" Nearest to the query ({self.name(moment.query)}): a random start vector, cosine {first.cosine:.2f}"
        else:
            text += f" Nearest to the query ({self.name(moment.query)}): {self.name(first.picture)}"
            text += f", cosine {first.cosine:.2f}, pushed {ago(first.age)}"
        agree = sum(self.agrees(moment, near) for near in moment.neighbours)
        text += f"; {agree} of the {len(moment.neighbours)} nearest {'is' if agree == 1 else 'are'} of its class."
        text += f"\nOf the coming batch, {100 * moment.agreement:.0f} % find a nearest entry of their class "
        text += f"(chance {100 * self.chance:.0f} %)."
        return text + (
            " The encoder is frozen here, so an entry stays as good as new. In training the encoder moves on while entries "
            "stay: a longer queue has more to choose from, and is older."
        )

    def name(self, picture: int) -> str:
        """The class of a picture."""
        return str(self.pictures.classes[int(self.pictures.labels[picture])])

    def agrees(self, moment: Moment, near: Neighbour) -> bool:
        """Whether an entry is of the query's class; a random vector is of none."""
        labels = self.pictures.labels
        return near.picture >= 0 and bool(labels[near.picture] == labels[moment.query])


def ago(age: int) -> str:
    return "1 batch ago" if age == 1 else f"{age} batches ago"
