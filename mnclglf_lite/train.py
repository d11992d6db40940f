"""Training: the one visible loop. Draw a batch, cut its views, step, log; stop whenever you like and go on later.

A run can live in a folder: recipe.json (what), history.jsonl (one line an epoch), checkpoint.pt (everything needed to go on:
weights, optimiser, queue, twin, random states, position). On a CPU a resumed run ends in exactly the weights of one that was
never stopped, bit by bit: every random draw comes from a generator whose state is in the checkpoint.

Many processes (`ranks`) go through this loop side by side, each with its own rows of every batch. Rank 0 alone watches,
writes and talks, and its clock decides; the others wait at the next step.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import checkpoint, data, ranks
from .device import autocast_dtype, describe, pick, settle_threads
from .errors import InputError, TrainingError
from .evaluate import features
from .gauges import effective_rank, spread
from .knn import KnnProtocol, knn
from .recipe import Recipe
from .run import Meter, Run, start
from .step import Step, engine_for
from .view_set import Views

# The monitor is a glance, not a result: a part of train as bank, a part of the hold-out as queries (sizes ours: about a
# second on two cores with the slim net). Results come from `evaluate`, on everything.
MONITOR = KnnProtocol(k=20, temperature=0.1)
MONITOR_BANK, MONITOR_QUERIES = 4000, 1000
CHECKPOINT_SECONDS = 60.0
WATCH_SECONDS = 0.5  # between two looks of a watch (ours): reading the loss makes the device wait, and nobody sees more


def batch_order(seed: int, epoch: int, pictures: int) -> Tensor:
    """The shuffled picture numbers of an epoch: a function of seed and epoch alone, so nothing of it need be saved."""
    return torch.randperm(pictures, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def evenly(pictures: data.ImageSet, most: int) -> data.ImageSet:
    """At most `most` pictures, spread evenly over the set: sets may be stored class by class."""
    return pictures.subset(torch.arange(0, len(pictures), -(-len(pictures) // most), device=pictures.device))


def monitor(run: Run, splits: data.Splits) -> dict[str, float]:
    """A glance at the features: kNN of hold-out pictures among training pictures, and the collapse gauges."""
    bank, asked = evenly(splits.train, MONITOR_BANK), evenly(splits.holdout, MONITOR_QUERIES)
    known, queries = (features(run.backbone, part, size=run.recipe.test_size or None) for part in (bank, asked))
    protocol = KnnProtocol(k=min(MONITOR.k, len(bank)), temperature=MONITOR.temperature)
    top = knn(known, bank.labels, queries, asked.labels, protocol, len(bank.classes))
    return {"knn": top["top1"], "spread": float(spread(queries)), "rank": float(effective_rank(queries))}


@contextlib.contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Turn an interrupt (Ctrl-C, Jupyter's stop button) into a question asked between steps, so that no step is cut in half.

    A second interrupt is raised at once. Many processes stop after the same step, whichever of them was asked; there SIGTERM
    asks too, and being asked twice changes nothing, since torchrun passes on what a terminal may have sent already.
    """
    asked, many = False, ranks.world() > 1

    def on_interrupt(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and not many:
            raise KeyboardInterrupt
        asked = True

    main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGINT, signal.SIGTERM)[: 1 + many] if main else ()
    before = [signal.signal(number, on_interrupt) for number in signals]
    try:
        yield lambda: ranks.anyone(asked)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def steps_for(
    minutes: float, recipe: Recipe, splits: data.Splits, device: torch.device, engine: str = "auto",
    log: Callable[[str], None] = print,
) -> int:  # fmt: skip
    """How many steps fit into `minutes` on this machine: three seconds of throw-away steps are timed, the median counts.

    Of many processes rank 0 says when it is enough, and how many steps that makes.
    """
    if not minutes > 0:
        raise InputError(f"minutes must be positive; got {minutes}")
    run = start(recipe, len(splits.train), len(splits.train.classes), device)
    run.total_steps = 1
    step = Step(run, splits.train.images, splits.train.labels, autocast_dtype(recipe.precision, device), engine, log)
    rows = torch.arange(recipe.batch)
    shares = max(1, len(recipe.grow))  # views may grow: each size is timed, and each has its share of the steps
    medians = []
    for share in range(shares):
        run.step, run.total_steps = share, shares
        float(step(rows)["loss"].detach())  # the first may compile: it is not timed
        times, begun = [], time.perf_counter()
        while ranks.of_first(len(times) < 3 or time.perf_counter() - begun < 3.0 / shares):
            run.step, run.total_steps = share, shares
            at = time.perf_counter()
            float(step(rows)["loss"].detach())  # waits for the device
            times.append(time.perf_counter() - at)
        medians.append(sorted(times)[len(times) // 2])
    return ranks.of_first(max(1, round(minutes * 60 * shares / sum(medians))))


def check_folder(out: str | Path | None, resume: bool) -> None:
    """Refuse a folder that already holds a run, before anything is loaded or timed."""
    if out is not None and (Path(out) / "checkpoint.pt").exists() and not resume:
        raise InputError(f"{out} already holds a run; go on with it (--resume), or choose another folder (--out)")


def check_recipe(out: Path, kept: Recipe, asked: Recipe) -> None:
    """Refuse to go on with the run in `out` under another recipe than its own."""
    if differences := kept.differences(asked):
        raise InputError(
            f"the run in {out} was made with another recipe ({'; '.join(differences)}); "
            "resume with the same recipe, or choose another folder (--out)"
        )


def open_run(recipe: Recipe, splits: data.Splits, out: Path | None, resume: bool, device: torch.device) -> Run:
    """A fresh run, or the one whose checkpoint lies in `out`. Refuses before anything is touched."""
    run = start(recipe, len(splits.train), len(splits.train.classes), device)
    if ranks.world() > 1 and not run.method.gathers:
        raise InputError(
            f"the method {recipe.method!r} is not written for many processes: gather what its loss compares "
            "(ranks.gathered) and say gathers = True, or train with one process"
        )
    if out is None:
        return run
    run.out = out
    path = run.out / "checkpoint.pt"
    if resume and path.exists():
        state = checkpoint.load(path, device)
        check_recipe(run.out, Recipe.from_dict(state["recipe"]), recipe)
        run.restore(state)
        run.history = [row for row in checkpoint.read_lines(run.out / "history.jsonl") if row["step"] <= run.step]
    ranks.wait()  # all have read before one writes
    if ranks.rank():
        return run
    run.out.mkdir(parents=True, exist_ok=True)
    checkpoint.save_json(run.out / "recipe.json", recipe.to_dict())
    text = "".join(json.dumps(row) + "\n" for row in run.history)
    checkpoint.write_atomically(run.out / "history.jsonl", text.encode())
    return run


def train(
    recipe: Recipe,
    splits: data.Splits | None = None,
    *,
    views: Views | None = None,
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
    where = pick(device)
    settle_threads()
    engine_for(engine, where, recipe.steps)  # refuses a name it does not know
    check_folder(out, resume)
    ranks.check(recipe)
    log = log if ranks.rank() == 0 else lambda text: None
    watch = watch if ranks.rank() == 0 else None
    splits = splits or data.load(recipe.dataset, device=where)
    if splits.train.device != where:
        splits = data.Splits(*(part.to(where) for part in splits))
    if not recipe.holdout:  # the last run, once all choices are made; the monitor then knows its queries by sight
        splits = splits._replace(train=data.joined(splits.train, splits.holdout))
    saved = Path(out) / "checkpoint.pt" if out else None
    if minutes is not None and resume and saved and saved.exists():
        recipe = recipe.replace(steps=checkpoint.load(saved, where)["recipe"]["steps"])  # calibrated when it was begun
    elif minutes is not None:
        recipe = recipe.replace(steps=steps_for(minutes, recipe, splits, where, engine, log))
    run = open_run(recipe, splits, Path(out) if out else None, resume, where)
    pictures, batch = len(splits.train), recipe.batch
    per_epoch = run.per_epoch = pictures // batch
    log(
        f"{recipe.method} on {recipe.dataset}: {run.total_steps} steps of {batch} pictures "
        f"({run.total_steps / per_epoch:.1f} epochs), seed {recipe.seed}, {describe(where)}"
        + (f", {ranks.world()} processes" if ranks.world() > 1 else "")
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
        if run.out and ranks.rank() == 0:
            checkpoint.save(run.out / "checkpoint.pt", run.state())
        saved_at = time.perf_counter()

    def end_epoch() -> None:
        nonlocal counted_at
        run.check_finite()  # reads from the device, so that the clock is honest after it
        count_time()
        if ranks.rank() == 0:
            pace = run.meter.count / run.meter.seconds
            row = {"epoch": round(run.step / per_epoch, 2), "step": run.step, "seconds": round(run.seconds, 2)}
            row |= run.meter.means() | monitor(run, splits) | {"images_per_second": round(pace * batch, 1)}
            run.history.append(row)
            if run.out:
                checkpoint.append_line(run.out / "history.jsonl", row)
            log(line(row, (run.total_steps - run.step) / pace))
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
    with between_steps() as interrupted, peers_watched(run):
        if ranks.world() > 1 and not run.finished:
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
        ranks.wait()  # until all is written
    run.live = False
    if watch:
        look()
    if not run.finished:
        go_on = "run the same again with resume to go on" if run.out else "it lives in memory only: give `out` to keep it"
        log(f"stopped at step {run.step} of {run.total_steps}; everything so far is kept: {go_on}")
    return run


@contextlib.contextmanager
def peers_watched(run: Run) -> Iterator[None]:
    """When another process is gone, say so in place of what the network layer says."""
    try:
        yield
    except RuntimeError as error:
        if ranks.world() == 1 or not ranks.is_loss_of_peer(error):
            raise
        path = run.out / "checkpoint.pt" if run.out else None
        kept = "there is no checkpoint, since the run has no folder"
        if path and path.exists():
            kept = f"the last whole checkpoint is that of step {checkpoint.load(path, torch.device('cpu'))['step']}, {path}"
            kept += "; to go on, run the same again with --resume, on as many processes as you like"
        raise TrainingError(
            f"another of the {ranks.world()} processes is gone or does not answer (noticed by rank {ranks.rank()} in step "
            f"{run.step + 1} of {run.total_steps}); {kept}"
        ) from error


def line(row: dict[str, Any], left: float) -> str:
    """One epoch in one line of text, or two: what a loss is made of stands below it. Both fit into a notebook's cell."""
    parts = [f"{k.removeprefix('loss_')} {row[k]:.3f}" for k in row if k.startswith("loss_")]
    parts += [f"{k} {row[k]:.2f}" for k in ("accuracy", "agreement") if k in row]
    text = (
        f"epoch {row['epoch']:5.1f}  step {row['step']:5d}  loss {row['loss']:.3f}  "
        f"kNN {100 * row['knn']:.1f} %  spread {row['spread']:.2f}  rank {row['rank']:.1f}  "
        f"{row['images_per_second']:,.0f} images/s  {clock(row['seconds'])}, {clock(left)} left"
    )
    return "\n".join([text, *(["             " + "  ".join(parts)] if parts else [])])


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
