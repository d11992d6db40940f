"""Training: the one visible loop. Draw a batch, cut its views, step, log; stop whenever you like and go on later.

A run can live in a folder: recipe.json (what), history.jsonl (one line an epoch), checkpoint.pt (everything needed to go on:
weights, optimiser, queue, momentum encoder, random states, position). On a CPU a resumed run ends in exactly the weights of
one that was never stopped, bit by bit: every random draw comes from a generator whose state is in the checkpoint.

Around the loop: `prepare` refuses what cannot be trained and opens the run, `step` is one step of optimisation, `recorder`
logs, measures and saves, `interrupt` turns Ctrl-C into a question between two steps.

Many processes (`core.distributed`) go through this loop side by side, each with its own rows of every batch. Rank 0 alone
logs, measures and writes, and its clock decides; the others wait at the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from ..core.distributed import first_rank_only
from ..data.dataset import Splits, batch_order
from ..recipe.recipe import Recipe
from ..recipe.view_choice import ViewChoice
from .interrupt import report_lost_peers, stop_between_steps
from .prepare import prepare
from .recorder import CHECKPOINT_SECONDS, Recorder
from .run import Run
from .step import Step


def train(
    recipe: Recipe,
    splits: Splits | None = None,
    *,
    views: ViewChoice | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    minutes: float | None = None,
    engine: str = "auto",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log: Callable[[str], None] = print,
    callback: Callable[[Run], None] | None = None,
) -> Run:
    """Train a recipe to its end, or until it is interrupted; everything so far is kept either way.

    Args:
        splits: the image sets; loaded by the recipe's dataset name where none are given. Trains on `splits.train`.
        views: what the networks are to see in place of what the recipe says, such as a crop explorer's `views`.
        out: folder of the run; None keeps it in memory only.
        resume: go on with the run in `out` (or begin it, where there is none yet). Refused for another recipe.
        device: "auto", "cuda", "mps" or "cpu".
        minutes: size the run by time: a short calibration fixes the steps for this machine. A run that is gone on with keeps
            the steps of its beginning.
        engine: how a step is run, one of `step.ENGINES`; all compute the same, to rounding.
        callback: given the run at the start, between steps at most twice a second, after each epoch and at the end, such as
            an `explorers.TrainingBoard`. It must not change the run; if it raises an error, training continues without it.

    With many processes (torchrun) call it inside `init_distributed()`, with the device that it names. Every rank gets the
    run back, rank 0 with its history.

    Raises `InputError` before any work for settings that cannot be, and `TrainingError` when the loss is no longer finite
    or a checkpoint cannot be written.

    >>> run = train(preset("quick", "simclr", "toybox"), out="runs/simclr")           # doctest: +SKIP
    """
    log = first_rank_only(log)
    run, splits = prepare(recipe, splits, views, out, resume, device, minutes, engine, log)
    step = Step(run, splits.train.images, splits.train.labels, engine, log)
    recorder = Recorder(run, splits, checkpoint_seconds, log, callback)
    with stop_between_steps() as stopped, report_lost_peers(run):
        recorder.start()
        for index in remaining_batches(run, len(splits.train)):
            recorder.after_step(step(index))
            if stopped():
                break
            recorder.between_steps()
        recorder.finish()
    recorder.close()
    return run


def remaining_batches(run: Run, images: int) -> Iterator[Tensor]:
    """The row numbers (N,) of each batch that is still to come, epoch by epoch; `Step` counts the steps."""
    batch, shuffled = run.recipe.optim.batch_size, -1
    while not run.finished:
        epoch, position = divmod(run.step, run.per_epoch)
        if epoch != shuffled:
            order, shuffled = batch_order(run.recipe.seed, epoch, images), epoch
        yield order[position * batch : (position + 1) * batch]
