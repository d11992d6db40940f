"""Before the first step: refuse what cannot be trained, load the images, start a new run or resume one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ..core.device import pick_device, settle_threads
from ..core.distributed import barrier, broadcast, rank, world_size
from ..core.errors import InputError
from ..core.files import read_lines, save_json, write_atomically
from ..data.dataset import Splits, joined, load_dataset
from ..recipe.recipe import Recipe
from ..recipe.view_choice import ViewChoice
from . import checkpoint
from .first_layer import start_from_data
from .run import Run, new_run
from .step import Step, engine_for


def prepare(
    recipe: Recipe, splits: Splits | None = None, views: ViewChoice | None = None, out: str | Path | None = None,
    resume: bool = False, device: str = "auto", minutes: float | None = None, engine: str = "auto",
    log: Callable[[str], None] = print,
) -> tuple[Run, Splits]:  # fmt: skip
    """The run, ready for its next step, and the images on its device. The arguments are those of `train`.

    Raises `InputError` for whatever cannot be trained, before any work and before any file is touched.
    """
    recipe = recipe if views is None else views.apply(recipe)
    where = pick_device(device)
    settle_threads()
    engine_for(engine, where, recipe.optim.steps)  # refuses a name it does not know
    check_folder(out, resume)
    check_divides(recipe)
    splits = splits or load_dataset(recipe.data.dataset, device=where)
    if splits.train.device != where:
        splits = Splits(*(part.to(where) for part in splits))
    if not recipe.data.holdout:  # the last run, once all choices are made; the monitor then knows its queries by sight
        splits = splits._replace(train=joined(splits.train, splits.holdout))
    saved = Path(out) / "checkpoint.pt" if out else None
    if minutes is not None and resume and saved and saved.exists():
        begun = Recipe.from_dict(checkpoint.load(saved, where)["recipe"])
        recipe = recipe.replace(steps=begun.optim.steps)  # calibrated when it was begun
    elif minutes is not None:
        recipe = recipe.replace(steps=calibrate_steps(minutes, recipe, splits, where, engine, log))
    run = open_run(recipe, splits, Path(out) if out else None, resume, where, log)
    run.per_epoch = len(splits.train) // recipe.optim.batch_size
    run.method.train()
    return run, splits


def calibrate_steps(
    minutes: float, recipe: Recipe, splits: Splits, device: torch.device, engine: str = "auto",
    log: Callable[[str], None] = print,
) -> int:  # fmt: skip
    """How many steps fit into `minutes` on this machine: three seconds of throw-away steps are timed, the median counts.

    Of many processes rank 0 says when it is enough, and how many steps that makes.
    """
    if not minutes > 0:
        raise InputError(f"minutes must be positive; got {minutes}")
    run = new_run(recipe, len(splits.train), len(splits.train.classes), device)
    run.total_steps = 1
    step = Step(run, splits.train.images, splits.train.labels, engine, log)
    rows = torch.arange(recipe.optim.batch_size)
    shares = max(1, len(recipe.views.progressive_sizes))  # views may grow: each size is timed, for its share of the steps
    medians = []
    for share in range(shares):
        run.step, run.total_steps = share, shares
        float(step(rows)["loss"].detach())  # the first may compile: it is not timed
        times, begun = [], time.perf_counter()
        while broadcast(len(times) < 3 or time.perf_counter() - begun < 3.0 / shares):
            run.step, run.total_steps = share, shares
            at = time.perf_counter()
            float(step(rows)["loss"].detach())  # waits for the device
            times.append(time.perf_counter() - at)
        medians.append(sorted(times)[len(times) // 2])
    return broadcast(max(1, round(minutes * 60 * shares / sum(medians))))


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


def open_run(
    recipe: Recipe, splits: Splits, out: Path | None, resume: bool, device: torch.device,
    log: Callable[[str], None] = print,
) -> Run:  # fmt: skip
    """A fresh run, or the one whose checkpoint lies in `out`. Refuses before anything is touched."""
    run = new_run(recipe, len(splits.train), len(splits.train.classes), device)
    if world_size() > 1 and not run.method.supports_distributed:
        raise InputError(
            f"the method {recipe.method.name!r} does not say that it works with many processes. Where it compares images "
            "by the losses in mnclglf_lite.losses alone, set supports_distributed = True; other code that compares them "
            "must gather them first (core.distributed.all_gather_rows). Or train with one process"
        )
    run.out = out
    path = out / "checkpoint.pt" if out else None
    resumed = bool(resume and path and path.exists())
    if not resumed and recipe.encoder.first_layer == "data":
        start_from_data(run.method, splits.train.images, recipe.views.view.size)
    if out is None:
        return run
    if resumed:
        state = checkpoint.load(path, device)
        check_recipe(out, Recipe.from_dict(state["recipe"]), recipe)
        run.resume(state, log)
        run.history = [row for row in read_lines(run.out / "history.jsonl") if row["step"] <= run.step]
    barrier()  # all have read before one writes
    if rank():
        return run
    run.out.mkdir(parents=True, exist_ok=True)
    save_json(run.out / "recipe.json", recipe.to_dict())
    text = "".join(json.dumps(row) + "\n" for row in run.history)
    write_atomically(run.out / "history.jsonl", text.encode())
    return run


def check_divides(recipe: Recipe) -> None:
    """Refuse a recipe whose batch the ranks cannot share."""
    ranks = world_size()
    for name, count in (("batch_size", recipe.optim.batch_size), ("bn_splits", recipe.method.bn_splits)):
        if count % ranks and not (name == "bn_splits" and count == 1):
            fits = [str(n) for n in (count // ranks * ranks, -(-count // ranks) * ranks) if n]
            raise InputError(
                f"{name} ({count}, of the whole batch) does not divide among {ranks} processes; give a multiple of it, "
                f"such as {' or '.join(fits)}, or another --nproc-per-node"
            )
