"""What can be seen of a run while it trains: losses since the last look, measures of each epoch, learning rate, time left.

`ProgressTracker.look(run)` reads a few sums from the device, and so waits for it: twice a second, not at every step. It
changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.text import format_duration
from ...training.run import Meter, Run, lr_factor

MOST = 400  # points of a curve that are kept (ours): two to a pixel's width; when there are more, pairs become one
CURVE = 100  # points of the rate's curve


@dataclass(frozen=True)
class ProgressSnapshot:
    """What there was to see at one moment."""

    method: str = ""
    dataset: str = ""
    seed: int = 0
    step: int = 0
    total: int = 0
    epoch: float = 0.0
    epochs: float = 0.0
    losses: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # "loss" first: (step, mean since a look)
    history: list[dict[str, Any]] = field(default_factory=list)  # a row an epoch
    rates: list[tuple[float, float]] = field(default_factory=list)  # (step, learning rate), from the first to the last
    rate: float = 0.0  # at this step
    dim: int = 0  # of the features, which their effective rank cannot exceed; 0 where it is not known
    speed: float = 0.0  # pictures a second
    seconds: float = 0.0  # spent
    left: float | None = None  # seconds to come
    live: bool = False  # is it training?
    kept: bool = False  # does the run live in a folder?

    @property
    def begun(self) -> bool:
        return self.total > 0

    @property
    def finished(self) -> bool:
        return self.begun and self.step >= self.total

    def now(self, name: str) -> float | None:
        """The last value of a loss, or of a column of the history."""
        points = self.losses.get(name) or [(0, row[name]) for row in self.history if name in row]
        return points[-1][1] if points else None


class ProgressTracker:
    """What has been seen of a run so far; another run begins another one."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.losses: dict[str, list[tuple[float, float]]] = {}
        self.meter: Meter | None = None
        self.before: tuple[dict[str, float], int] = ({}, 0)  # sums and count at the last look at this meter

    def look(self, run: Run) -> ProgressSnapshot:
        """Look at a run between two steps."""
        if self.run is not run:
            self.__init__()
            self.run = run
        if self.meter is not run.meter:
            self.meter, self.before = run.meter, ({}, 0)
        sums, count = {name: float(value) for name, value in run.meter.sums.items()}, run.meter.count
        old, seen = self.before
        if count > seen:
            for name in sorted(sums, key=lambda name: name != "loss"):
                if name.startswith("loss"):
                    mean = (sums[name] - old.get(name, 0.0)) / (count - seen)
                    self.losses.setdefault(name, []).append((run.step, mean))
        self.before = (sums, count)
        self.losses = {name: thinned(points) for name, points in self.losses.items()}
        return replace(snapshot_of(run), losses={name: list(points) for name, points in self.losses.items()})


def snapshot_of(run: Run) -> ProgressSnapshot:
    """What a run tells without reading from the device."""
    recipe, total = run.recipe, run.total_steps
    full = recipe.optim.lr * recipe.optim.batch_size / 256
    steps = [total * i / CURVE for i in range(CURVE + 1)]
    row = run.history[-1] if run.history else {}
    pace = run.meter.count / run.meter.seconds if run.meter.count and run.meter.seconds else 0.0
    return ProgressSnapshot(
        method=recipe.method.name,
        dataset=recipe.data.dataset,
        seed=recipe.seed,
        step=run.step,
        total=total,
        epoch=run.step / run.per_epoch if run.per_epoch else row.get("epoch", 0.0),
        epochs=total / run.per_epoch if run.per_epoch else 0.0,
        history=list(run.history),
        rates=[(step, full * lr_factor(recipe, math.floor(step), total)) for step in steps],
        rate=full * lr_factor(recipe, run.step, total),
        dim=getattr(run.backbone, "dim", 0),
        speed=pace * recipe.optim.batch_size or row.get("images_per_second", 0.0),
        seconds=run.seconds,
        left=run.seconds_left,
        live=run.live,
        kept=run.out is not None,
    )


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST` points: beyond, each two become their mean."""
    if len(points) <= MOST:
        return points
    pairs = zip(points[::2], points[1::2], strict=False)
    return [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in pairs] + (points[-1:] if len(points) % 2 else [])


def in_words(sight: ProgressSnapshot) -> str:
    """A sight in words."""
    if not sight.begun:
        return "Nothing has been trained yet: give this board to train(..., callback=board)."
    where = f"step {sight.step:,} of {sight.total:,}"
    if sight.epochs:
        where += f", epoch {sight.epoch:.1f} of {sight.epochs:.1f}"
    parts = [where]
    if (loss := sight.now("loss")) is not None:
        terms = ", ".join(f"{name.removeprefix('loss_')} {sight.now(name):.2f}" for name in sight.losses if name != "loss")
        parts.append(f"loss {loss:.2f} ({terms})" if terms else f"loss {loss:.2f}")
    if sight.history:
        row = sight.history[-1]
        most = f" of {sight.dim}" if sight.dim else ""
        parts.append(f"kNN {100 * row['knn']:.0f} % at step {row['step']:,}, spread {row['spread']:.2f}")
        parts.append(f"effective rank {row['rank']:.0f}{most}")
    if not sight.finished:
        parts.append(f"rate {sight.rate:.2g}")
    parts.append(f"{sight.speed:,.0f} pictures a second" if sight.speed else "not timed yet")
    go_on = "run the cell again to go on" if sight.kept else "it lives in memory: give train an `out` to go on another time"
    if sight.live:
        left = f"{format_duration(sight.left)} left" if sight.left is not None else "time not known yet"
        kept = f"everything is kept; {go_on}" if sight.kept else f"what is learnt is kept; {go_on}"
        return f"{', '.join([*parts, left])}. Stop with the square button: {kept}."
    if sight.finished:
        return f"Done in {format_duration(sight.seconds)}: {', '.join(parts)}."
    return f"Stopped at {', '.join(parts)}. Everything so far is kept; {go_on}."
