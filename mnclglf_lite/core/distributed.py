"""Many processes, one batch: `torchrun --nproc-per-node 8 -m mnclglf_lite train ...` computes what one process computes.

    the batch of N      rank 0            rank 1            ...      every rank has all images and draws the same numbers,
                        rows 0 .. N/W-1   the next N/W               but makes and encodes its own rows alone
    networks            on own rows; BatchNorm's sums go round (`batchnorm.sync_batchnorm`)
    losses              own anchors alone, against the rows of all ranks (`all_gather_rows`): n x N similarities, n = N/W
    gradients           averaged over the ranks by DistributedDataParallel

Weights, momentum encoders, queues and logged scalars are the same on all ranks after each step, so one rank's checkpoint
serves all. With one process every function here returns what it was given.

Why the gradients are those of one process: the loss of the whole batch is the mean of the ranks' losses, L = 1/W sum_r L_r.
Each rank calls backward on its own L_r. The backward pass of a gather adds up what all ranks send to a row, so the row's
owner has the gradient of sum_r L_r, and the average over the ranks divides it by W. Hence the rule for a loss: the mean of
the ranks' values is the value of the whole batch. A mean over own anchors keeps it, and so does the whole loss on each rank.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from .device import pick_device
from .errors import InputError, TrainingError

_world, _rank = 1, 0  # set by `init_distributed` alone; plain numbers, which torch.compile takes for constants
_store: dist.Store | None = None
# What the back ends say when a peer is gone; torch gives gloo's errors no type of their own
LOST = ("connection closed", "connection reset", "connection refused", "broken pipe", "timed out", "gloo", "nccl")


def world_size() -> int:
    """How many processes share the batch: 1 without torchrun."""
    return _world


def rank() -> int:
    """The number of this process, from 0. Rank 0 writes the files, watches and talks."""
    return _rank


def first_rank_only(log: Callable[[str], None]) -> Callable[[str], None]:
    """`log` on rank 0; on the others nothing is said."""
    return log if _rank == 0 else lambda text: None


def local_rows(n: int) -> slice:
    """Which of `n` rows of the whole batch are this rank's: n / W that follow one another."""
    return slice(_rank * n // _world, (_rank + 1) * n // _world)


def own_places(n: int, device: torch.device) -> Tensor:
    """Where this rank's n rows stand among the rows of all ranks: -> (n,)."""
    return torch.arange(n * _world, device=device)[local_rows(n * _world)]


class _Every(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(_world)]
        dist.all_gather(parts, x)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[_rank]


def all_gather_stack(x: Tensor) -> Tensor:
    """Each rank's x, of the same shape on all: (...) -> (W, ...). The backward pass adds up the gradients of all ranks."""
    return x[None] if _world == 1 else _Every.apply(x)


def all_gather_rows(x: Tensor) -> Tensor:
    """The rows of all ranks, in rank order, with gradient: (n, ...) -> (N, ...)."""
    return x if _world == 1 else all_gather_stack(x).flatten(0, 1)


def broadcast(value: int) -> int:
    """What rank 0 says, for everybody: where clocks decide, all must decide alike."""
    if _world == 1:
        return value
    said = torch.tensor(value)
    dist.broadcast(said, src=0)
    return int(said)


def any_rank(flag: bool) -> bool:
    """Whether the flag is up on any rank. The processors ask each other; no graphics card waits."""
    if _world == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def barrier() -> None:
    """Nobody goes on before all are here."""
    any_rank(False)


def is_loss_of_peer(error: BaseException) -> bool:
    """Whether an error says that another process is gone or does not answer. One process has nobody to lose."""
    return _world > 1 and (isinstance(error, dist.DistError) or any(word in str(error).lower() for word in LOST))


def device_of(name: str) -> torch.device:
    """This rank's device: a graphics card for each process of a machine, or the processor."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = pick_device(name)
    if device.type == "cuda":
        local, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= cards:
            raise InputError(f"no graphics card for process {local} of this machine: start --nproc-per-node {cards}")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise InputError(f"many processes work together on cuda or cpu, not on {device.type}; give --device cpu")
    return device


def refuse_many(what: str) -> None:
    """Refuse what would only be done W times over: under torchrun rank 0 raises `InputError`, the others leave."""
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started == 1:
        return
    if int(os.environ.get("RANK", 0)):
        sys.exit(2)
    raise InputError(f"{what} works in one process, and torchrun has started {started}: run it without torchrun")


@contextlib.contextmanager
def init_distributed(device: str = "auto") -> Iterator[str]:
    """Join the processes that torchrun has started, and leave them at the end; yields the name of this rank's device.

    Without torchrun, or with one process, nothing happens. An error that stops the job is told by the rank that comes
    first: the others leave without a word (`InputError` with code 2, the rest with 1).
    """
    global _world, _rank, _store
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or _world > 1:  # alone, or joined already
        yield device
        return
    where = device_of(device)
    _store, number, count = next(dist.rendezvous("env://"))
    try:
        backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store, rank=number, world_size=count)
        _world, _rank = count, number
        yield str(where)
        barrier()  # torchrun ends the rest as soon as one has left with a code: rank 0 may still be writing or talking
        gc.collect()  # a finished run still holds the group, and with it threads that must end before the program does
        dist.destroy_process_group()
    except (InputError, TrainingError, KeyboardInterrupt) as error:
        if not _speaks_first():
            sys.exit(2 if isinstance(error, InputError) else 130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    finally:
        _world, _rank = 1, 0


def _speaks_first() -> bool:
    """Whether this rank is the first that has to say why the job ends. torchrun keeps the store, whoever else is gone."""
    try:
        return _store.add("mnclglf_lite/said", 1) == 1
    except RuntimeError:  # the store is gone too: better twice than not at all
        return True
