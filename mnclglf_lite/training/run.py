"""What a training run is: a method, its optimiser and its position, all of which one checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.device import pick_device
from ..core.errors import InputError, TrainingError
from ..core.files import read_lines
from ..core.schedules import warmup_cosine
from ..methods.base import Method
from ..models.batchnorm import sync_batchnorm
from ..recipe.recipe import Recipe, build_method
from . import checkpoint
from .optimiser import make_optimiser

NEVER = 2**62  # a step that is never reached


class Meter:
    """Sums over the current epoch, kept on the device: reading them costs one synchronisation an epoch, not one a step."""

    def __init__(self, device: torch.device):
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.seconds = 0.0
        self.first_bad = torch.full((), NEVER, dtype=torch.long, device=device)

    def add(self, outputs: dict[str, Tensor], step: int) -> None:
        for name, value in outputs.items():
            if value.ndim == 0:
                self.sums[name] = self.sums.get(name, 0) + value.detach().float()
        bad = torch.where(torch.isfinite(outputs["loss"].detach()), NEVER, step)
        self.first_bad = torch.minimum(self.first_bad, bad)
        self.count += 1

    def means(self) -> dict[str, float]:
        return {name: float(value) / self.count for name, value in self.sums.items()}

    def state(self) -> dict[str, Any]:
        return {"sums": self.sums, "count": self.count, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        self.sums, self.count, self.seconds = dict(state["sums"]), state["count"], state["seconds"]


@dataclass
class Run:
    """A training run, finished or not. `method.backbone` is the network to evaluate; `history` one dict an epoch."""

    recipe: Recipe
    method: Method
    optimiser: torch.optim.Optimizer
    classes: int
    generator: torch.Generator  # every view's crop and colour comes from this one, on the training device
    total_steps: int
    meter: Meter
    step: int = 0
    seconds: float = 0.0  # spent training, monitoring left out
    history: list[dict[str, Any]] = field(default_factory=list)
    out: Path | None = None
    per_epoch: int = 0  # steps; known once it is trained
    live: bool = False  # is the loop at it right now?

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps

    @property
    def backbone(self) -> nn.Module:
        return self.method.backbone

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this epoch's pace, or the last one's when it begins; None before the first step."""
        if self.meter.count and self.meter.seconds:
            return (self.total_steps - self.step) * self.meter.seconds / self.meter.count
        if self.history:
            return (self.total_steps - self.step) * self.recipe.optim.batch_size / self.history[-1]["images_per_second"]
        return None

    def state(self) -> dict[str, Any]:
        """Everything that decides how the run goes on, as tensors and plain values."""
        return {
            "recipe": self.recipe.to_dict(),
            "classes": self.classes,
            "step": self.step,
            "total_steps": self.total_steps,
            "seconds": self.seconds,
            "meter": self.meter.state(),
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "draws": self.generator.get_state(),
            "torch_random": torch.get_rng_state(),  # the package draws nothing from it, but a method of your own may
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Networks and position, all that looking and measuring need: from any device, on any device."""
        self.method.load_state_dict(state["method"])
        self.step, self.seconds = state["step"], state["seconds"]

    def resume(self, state: dict[str, Any], log: Callable[[str], None] = print) -> None:
        """Everything, to train on. On another kind of device the random draws cannot go on, and `log` is told so."""
        self.restore(state)
        here = [{name: group[name] for name in ("fused", "muon")} for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state["optimiser"])
        for group, own in zip(self.optimiser.param_groups, here, strict=True):
            group |= {"lr": float(group["lr"])} | own  # a captured run has tensors for rates, an old one no `muon`
        self.meter.restore(state["meter"])
        torch.set_rng_state(state["torch_random"].cpu())
        draws = state["draws"].cpu()
        if len(draws) == len(self.generator.get_state()):
            self.generator.set_state(draws)
        else:  # a CPU's state has 5,056 bytes, that of CUDA 16
            self.generator.manual_seed(self.recipe.seed * 1_000_003 + self.step)  # mixed as in `dataset.batch_order`
            log(
                f"this run began on another kind of device: from step {self.step} on its random draws (crops, colours, "
                "shuffles) are new ones, not those that it would have had there"
            )

    def check_finite(self) -> None:
        """Raise when a loss since the last look was not a finite number."""
        step = int(self.meter.first_bad)
        if step < NEVER:
            path = self.out / "checkpoint.pt" if self.out else None
            good = f"the last good checkpoint is {path}" if path and path.exists() else "there is no checkpoint yet"
            temperature = getattr(self.recipe.method, "temperature", None)
            warmer = f"a larger temperature (now {temperature}), " if temperature else ""
            raise TrainingError(
                f"the loss was no longer a finite number at step {step} of {self.total_steps}; {good}. "
                f"Try a smaller lr (now {self.recipe.optim.lr}), {warmer}or clip_grad_norm=1."
            )


def new_run(recipe: Recipe, pictures: int, classes: int, device: torch.device) -> Run:
    """A run at step 0: weights drawn from the recipe's seed, nothing trained yet."""
    if recipe.optim.batch_size > pictures:
        raise InputError(
            f"the batch ({recipe.optim.batch_size}) is larger than the training set ({pictures} pictures); "
            f"make batch_size at most {pictures}"
        )
    method = build_method(recipe, classes).to(device, memory_format=torch.channels_last)
    sync_batchnorm(method, device)
    steps = recipe.optim.steps or max(1, math.floor(recipe.optim.epochs * (pictures // recipe.optim.batch_size)))
    generator = method.generator = torch.Generator(device).manual_seed(recipe.seed)
    return Run(recipe, method, make_optimiser(recipe, method), classes, generator, steps, Meter(device))


def lr_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """The share of the full learning rate at a step (`core.schedules.warmup_cosine`)."""
    return warmup_cosine(step, total_steps, recipe.optim.warmup)


def load_run(folder: str | Path, device: str = "auto") -> Run:
    """A run from its folder, finished or not, to look at or to evaluate (to go on with it: `train(..., resume=True)`).

    >>> run = load_run("runs/simclr"); result = evaluate(run.backbone, splits)       # doctest: +SKIP
    """
    where, folder = pick_device(device), Path(folder)
    state = checkpoint.load(folder / "checkpoint.pt", where)
    recipe = Recipe.from_dict(state["recipe"])
    run = new_run(recipe, recipe.optim.batch_size, state["classes"], where)
    run.restore(state)
    run.total_steps, run.out = state["total_steps"], folder
    run.history = read_lines(folder / "history.jsonl")
    return run
