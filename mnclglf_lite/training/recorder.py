"""What a run leaves behind: log lines, a history with kNN accuracy and collapse measures, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..core.device import describe_device
from ..core.distributed import barrier, rank, world_size
from ..core.files import append_line
from ..core.text import format_left
from ..data.dataset import Splits, evenly_spaced
from ..evaluation.collapse import effective_rank, feature_std
from ..evaluation.evaluate import extract_features
from ..evaluation.knn import KnnProtocol, knn
from . import checkpoint
from .run import Meter, Run

# The monitor is a glance, not a result: a part of train as bank, a part of the hold-out as queries (sizes ours: about a
# second on two cores with the slim net). Results come from `evaluate`, on everything.
MONITOR = KnnProtocol(k=20, temperature=0.1)
MONITOR_BANK, MONITOR_QUERIES = 4000, 1000
CHECKPOINT_SECONDS = 60.0
CALLBACK_SECONDS = 0.5  # between two calls (ours): reading the loss makes the device wait, and more often is not visible


def monitor(run: Run, splits: Splits) -> dict[str, float]:
    """A glance at the features: kNN of hold-out pictures among training pictures, and the collapse gauges."""
    bank, asked = evenly_spaced(splits.train, MONITOR_BANK), evenly_spaced(splits.holdout, MONITOR_QUERIES)
    known, queries = (
        extract_features(run.backbone, part, size=run.recipe.views.eval_size or None) for part in (bank, asked)
    )
    protocol = KnnProtocol(k=min(MONITOR.k, len(bank)), temperature=MONITOR.temperature)
    top = knn(known, bank.labels, queries, asked.labels, protocol, len(bank.classes))
    return {"knn": top["top1"], "spread": float(feature_std(queries)), "rank": float(effective_rank(queries))}


def format_epoch(row: dict[str, Any], left: float) -> str:
    """One epoch in one line of text, or two: what a loss is made of stands below it. Both fit into a notebook's cell."""
    parts = [f"{k.removeprefix('loss_')} {row[k]:.3f}" for k in row if k.startswith("loss_")]
    parts += [f"{k} {row[k]:.2f}" for k in ("accuracy", "agreement") if k in row]
    text = (
        f"epoch {row['epoch']:5.1f}  step {row['step']:5d}  loss {row['loss']:.3f}  "
        f"kNN {100 * row['knn']:.1f} %  std {row['spread']:.2f}  rank {row['rank']:.1f}  "
        f"{row['images_per_second']:,.0f} images/s  {format_left(row['seconds'], left)}"
    )
    return "\n".join([text, *(["             " + "  ".join(parts)] if parts else [])])


class Recorder:
    """What a run leaves behind: a line and a row of the history each epoch, checkpoints, and what a callback makes of it.

    None of its own time counts as training time. On ranks other than 0 it only checks that the loss is finite.
    """

    def __init__(
        self, run: Run, splits: Splits, checkpoint_seconds: float, log: Callable[[str], None] = print,
        callback: Callable[[Run], None] | None = None,
    ):  # fmt: skip
        self.run, self.splits, self.checkpoint_seconds, self.log = run, splits, checkpoint_seconds, log
        self.first = rank() == 0
        self.callback = callback if self.first else None
        self.saved_at = self.counted_at = self.called_at = time.perf_counter()

    def start(self) -> None:
        """Say what is trained; save once where many processes train, so that there is a checkpoint whoever dies when."""
        run, recipe = self.run, self.run.recipe
        self.log(
            f"{recipe.method.name} on {recipe.data.dataset}: {run.total_steps} steps of {recipe.optim.batch_size} images "
            f"({run.total_steps / run.per_epoch:.1f} epochs), seed {recipe.seed}\n"  # names of processors are long
            + describe_device(self.splits.train.device)
            + (f", {world_size()} processes" if world_size() > 1 else "")
            + ("\nthis run is complete: nothing is left to train" if run.finished else "")
            + (f"\ngoing on from step {run.step}" if run.step and not run.finished else "")
        )
        self.counted_at, run.live = time.perf_counter(), True
        if world_size() > 1 and not run.finished:
            self.save()
        self.call()

    def after_step(self, outputs: dict[str, Tensor]) -> None:
        """Count a step's scalars; end the epoch where it was the last of one."""
        self.run.meter.add(outputs, self.run.step)
        if self.epoch_ended():
            self.end_epoch()

    def between_steps(self) -> None:
        """Call back and save, where it is time to."""
        now = time.perf_counter()
        if self.epoch_ended() or now - self.called_at > CALLBACK_SECONDS:
            self.call()
        if now - self.saved_at > self.checkpoint_seconds:
            self.count_time()
            self.save()

    def finish(self) -> None:
        """Save the last state."""
        self.count_time()
        self.save()
        barrier()  # until all is written

    def close(self) -> None:
        """Call back once more, and say where the run stopped if it was interrupted."""
        run = self.run
        run.live = False
        self.call()
        if not run.finished:
            go_on = (
                "run the same again with resume to go on" if run.out else "it lives in memory only: give `out` to keep it"
            )
            self.log(f"stopped at step {run.step} of {run.total_steps}; everything so far is kept: {go_on}")

    def epoch_ended(self) -> bool:
        return self.run.step % self.run.per_epoch == 0 or self.run.finished

    def count_time(self) -> None:
        """Add the time since the last look at the clock to the training time."""
        now = time.perf_counter()
        self.run.meter.seconds += now - self.counted_at
        self.run.seconds += now - self.counted_at
        self.counted_at = now

    def end_epoch(self) -> None:
        """Measure, write a row of the history and log it."""
        run = self.run
        run.check_finite()  # reads from the device, so that the clock is honest after it
        self.count_time()
        if self.first:
            pace = run.meter.count / run.meter.seconds
            row = {"epoch": round(run.step / run.per_epoch, 2), "step": run.step, "seconds": round(run.seconds, 2)}
            row |= run.meter.means() | monitor(run, self.splits)
            row |= {"images_per_second": round(pace * run.recipe.optim.batch_size, 1)}
            run.history.append(row)
            if run.out:
                append_line(run.out / "history.jsonl", row)
            self.log(format_epoch(row, (run.total_steps - run.step) / pace))
        run.meter = Meter(self.splits.train.device)
        self.counted_at = time.perf_counter()

    def save(self) -> None:
        """Write a checkpoint, unless the loss is no longer finite."""
        self.run.check_finite()
        if self.run.out and self.first:
            checkpoint.save(self.run.out / "checkpoint.pt", self.run.state())
        self.saved_at = time.perf_counter()

    def call(self) -> None:
        """Give the run to the callback, whose errors cost no run."""
        if self.callback is None:
            return
        self.count_time()
        try:
            self.callback(self.run)
        except Exception as error:
            self.log(f"the callback broke off ({type(error).__name__}: {error}); training goes on without it")
            self.callback = None
        self.counted_at = self.called_at = time.perf_counter()
