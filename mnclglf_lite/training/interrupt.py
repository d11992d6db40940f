"""Interrupts: stop a run between two steps (Ctrl-C, Jupyter's stop button, SIGTERM), and report a process that is lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..core import distributed
from ..core.distributed import any_rank, world_size
from ..core.errors import TrainingError
from . import checkpoint
from .run import Run


@contextlib.contextmanager
def stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Turn an interrupt (Ctrl-C, Jupyter's stop button) into a question asked between steps, so that no step is cut in half.

    A second interrupt is raised at once. Many processes stop after the same step, whichever of them was asked; there SIGTERM
    asks too, and being asked twice changes nothing, since torchrun passes on what a terminal may have sent already.
    """
    asked, many = False, world_size() > 1

    def on_interrupt(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and not many:
            raise KeyboardInterrupt
        asked = True

    main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGINT, signal.SIGTERM)[: 1 + many] if main else ()
    before = [signal.signal(number, on_interrupt) for number in signals]
    try:
        yield lambda: any_rank(asked)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def report_lost_peers(run: Run) -> Iterator[None]:
    """When another process is gone, say so in place of what the network layer says."""
    try:
        yield
    except RuntimeError as error:
        if not distributed.is_loss_of_peer(error):
            raise
        path = run.out / "checkpoint.pt" if run.out else None
        kept = "there is no checkpoint, since the run has no folder"
        if path and path.exists():
            kept = f"the last whole checkpoint is that of step {checkpoint.load(path, torch.device('cpu'))['step']}, {path}"
            kept += "; to go on, run the same again with --resume, on as many processes as you like"
        raise TrainingError(
            f"another of the {world_size()} processes is gone or does not answer (noticed by rank {distributed.rank()} in "
            f"step {run.step + 1} of {run.total_steps}); {kept}"
        ) from error
