"""Training: the one visible loop. Draw a batch, cut its views, step, log; stop whenever you like and go on later.

A run can live in a folder: recipe.json (what), history.jsonl (one line an epoch), checkpoint.pt (everything needed to go on:
weights, optimiser, queue, twin, random states, position). On a CPU a resumed run ends in exactly the weights of one that was
never stopped, bit by bit: every random draw comes from a generator whose state is in the checkpoint.

Many processes (`ranks`) go through this loop side by side, each with its own rows of every batch. Rank 0 alone watches,
writes and talks, and its clock decides; the others wait at the next step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..core import distributed
from ..core.device import autocast_dtype, describe_device, pick_device, settle_threads
from ..core.distributed import barrier, world_size
from ..core.files import append_line
from ..data import dataset
from ..data.dataset import batch_order, load_dataset
from ..recipe.recipe import Recipe
from ..recipe.view_choice import ViewChoice
from . import checkpoint
from .interrupt import report_lost_peers, stop_between_steps
from .prepare import calibrate_steps, check_divides, check_folder, open_run
from .recorder import format_epoch, monitor
from .run import Meter, Run
from .step import Step, engine_for

CHECKPOINT_SECONDS = 60.0
WATCH_SECONDS = 0.5  # between two looks of a watch (ours): reading the loss makes the device wait, and nobody sees more


def train(
    recipe: Recipe,
    splits: dataset.Splits | None = None,
    *,
    views: ViewChoice | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    minutes: float | None = None,
    engine: str = "auto",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log: Callable[[str], None] = print,
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Train a recipe to its end, or until it is interrupted; everything so far is kept either way.

    Args:
        splits: the image sets; loaded by the recipe's dataset name where none are given. Trains on `splits.train`.
        views: what the networks are to see in place of what the recipe says, such as a crop explorer's `views`.
        out: folder of the run; None keeps it in memory only.
        resume: go on with the run in `out` (or begin it, where there is none yet). Refused for another recipe.
        device: "auto", "cuda", "mps" or "cpu".
        minutes: size the run by time: a short calibration fixes recipe.steps for this machine. A run that is gone on with
            keeps the steps of its beginning.
        engine: how a step is run, one of `step.ENGINES`; all compute the same, to rounding.
        watch: given the run at the start, between steps at most twice a second, after each epoch and at the end, such as a
            `widgets.TrainingBoard`. It looks on and changes nothing; should it break, training goes on without it.

    With many processes (torchrun) call it inside `ranks.joined()`, with the device that it names. Every rank gets the run
    back, rank 0 with its history.

    Raises `InputError` before any work for settings that cannot be, and `TrainingError` when the loss is no longer finite
    or a checkpoint cannot be written.
    """
    recipe = recipe if views is None else views.apply(recipe)
    where = pick_device(device)
    settle_threads()
    engine_for(engine, where, recipe.steps)  # refuses a name it does not know
    check_folder(out, resume)
    check_divides(recipe)
    log = log if distributed.rank() == 0 else lambda text: None
    watch = watch if distributed.rank() == 0 else None
    splits = splits or load_dataset(recipe.dataset, device=where)
    if splits.train.device != where:
        splits = dataset.Splits(*(part.to(where) for part in splits))
    if not recipe.holdout:  # the last run, once all choices are made; the monitor then knows its queries by sight
        splits = splits._replace(train=dataset.joined(splits.train, splits.holdout))
    saved = Path(out) / "checkpoint.pt" if out else None
    if minutes is not None and resume and saved and saved.exists():
        recipe = recipe.replace(steps=checkpoint.load(saved, where)["recipe"]["steps"])  # calibrated when it was begun
    elif minutes is not None:
        recipe = recipe.replace(steps=calibrate_steps(minutes, recipe, splits, where, engine, log))
    run = open_run(recipe, splits, Path(out) if out else None, resume, where)
    pictures, batch = len(splits.train), recipe.batch
    per_epoch = run.per_epoch = pictures // batch
    log(
        f"{recipe.method} on {recipe.dataset}: {run.total_steps} steps of {batch} pictures "
        f"({run.total_steps / per_epoch:.1f} epochs), seed {recipe.seed}, {describe_device(where)}"
        + (f", {world_size()} processes" if world_size() > 1 else "")
        + (f"\ngoing on from step {run.step}" if run.step else "")
    )
    run.method.train()
    one = Step(run, splits.train.images, splits.train.labels, autocast_dtype(recipe.precision, where), engine, log)
    saved_at = counted_at = looked_at = time.perf_counter()

    def count_time() -> None:
        nonlocal counted_at
        now = time.perf_counter()
        run.meter.seconds, run.seconds = run.meter.seconds + now - counted_at, run.seconds + now - counted_at
        counted_at = now

    def save() -> None:
        nonlocal saved_at
        run.check_finite()
        if run.out and distributed.rank() == 0:
            checkpoint.save(run.out / "checkpoint.pt", run.state())
        saved_at = time.perf_counter()

    def end_epoch() -> None:
        nonlocal counted_at
        run.check_finite()  # reads from the device, so that the clock is honest after it
        count_time()
        if distributed.rank() == 0:
            pace = run.meter.count / run.meter.seconds
            row = {"epoch": round(run.step / per_epoch, 2), "step": run.step, "seconds": round(run.seconds, 2)}
            row |= run.meter.means() | monitor(run, splits) | {"images_per_second": round(pace * batch, 1)}
            run.history.append(row)
            if run.out:
                append_line(run.out / "history.jsonl", row)
            log(format_epoch(row, (run.total_steps - run.step) / pace))
        run.meter, counted_at = Meter(where), time.perf_counter()  # monitoring is not training time

    def look() -> None:
        nonlocal counted_at, looked_at, watch
        count_time()
        try:
            watch(run)
        except Exception as error:  # a picture must not cost a run
            log(f"the watch broke off ({type(error).__name__}: {error}); training goes on without it")
            watch = None
        counted_at = looked_at = time.perf_counter()  # nor is looking

    shuffled, run.live = -1, True
    with stop_between_steps() as interrupted, report_lost_peers(run):
        if world_size() > 1 and not run.finished:
            save()  # so that there is a checkpoint to go on from, whoever dies when
        if watch:
            look()
        while not run.finished:
            epoch, position = divmod(run.step, per_epoch)
            if epoch != shuffled:
                order, shuffled = batch_order(recipe.seed, epoch, pictures), epoch
            index = order[position * batch : (position + 1) * batch]
            run.meter.add(one(index), run.step)
            ended = run.step % per_epoch == 0 or run.finished
            if ended:
                end_epoch()
            if interrupted():
                break
            if watch and (ended or time.perf_counter() - looked_at > WATCH_SECONDS):
                look()
            if time.perf_counter() - saved_at > checkpoint_seconds:
                count_time()
                save()
        count_time()
        save()
        barrier()  # until all is written
    run.live = False
    if watch:
        look()
    if not run.finished:
        go_on = "run the same again with resume to go on" if run.out else "it lives in memory only: give `out` to keep it"
        log(f"stopped at step {run.step} of {run.total_steps}; everything so far is kept: {go_on}")
    return run
