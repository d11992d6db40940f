"""The queue: embeddings of the latest images, as negatives (MoCo) or as nearest-neighbour positives (NNCLR, MNCLGLF).

Entries, labels and the place of the oldest entry are buffers: they are in the state dict of the method, and so in the
checkpoint.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.distributed import all_gather_rows
from ..core.errors import InputError


class Queue(nn.Module):
    """The last `size` embeddings, first in, first out; starts as random unit vectors (release).

    Entries are stored as they come, not normalised (release); `nearest` normalises for the look-up. Beside each entry its
    label is kept, -1 where there is none: labels are *never* read by a loss, only by the gauge that says how often the
    neighbour is of the picture's own class.

    Args:
        size: entries K. Must be a multiple of the batch, so that a push never has to wrap around.
        dim: embedding size D.
    """

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("entries", F.normalize(torch.randn(size, dim), dim=1))  # (K, D)
        self.register_buffer("labels", torch.full((size,), -1))  # (K,)
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return len(self.entries)

    @torch.no_grad()
    def push(self, new: Tensor, labels: Tensor | None = None) -> None:
        """Overwrite the N oldest entries by `new` (N, D). N must divide the queue's size.

        With many processes each gives its own rows, and the queues of all take the rows of all.
        """
        new, labels = all_gather_rows(new), labels if labels is None else all_gather_rows(labels)
        n = len(new)
        if len(self) % n:
            raise InputError(f"the queue holds {len(self)} entries, which is no multiple of the batch of {n}")
        slots = self.pointer + torch.arange(n, device=new.device)
        self.entries.index_copy_(0, slots, new.detach().to(self.entries.dtype))
        self.labels.index_copy_(0, slots, self.labels.new_full((n,), -1) if labels is None else labels)
        self.pointer.copy_((self.pointer + n) % len(self))

    @torch.no_grad()
    def nearest(self, query: Tensor, begun: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """For each row of `query` (N, D), the queue entry of highest cosine similarity and its label: (N, D), (N,).

        begun: where it is given and False (), the queries themselves come back in place of the entries.
        """
        with torch.autocast(query.device.type, enabled=False):  # in bf16 near neighbours would tie
            keys = F.normalize(self.entries, dim=1)
            # The length of a query does not change which entry is nearest, so only the keys are normalised.
            index = (query.to(keys.dtype) @ keys.T).argmax(dim=1)  # (N, K) -> (N,)
        entries = self.entries[index]
        return entries if begun is None else torch.where(begun, entries, query), self.labels[index]
