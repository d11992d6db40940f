"""How much a notebook computes: one of three sizes, chosen by the machine or by $MNCLGLF_LITE_PROFILE.

A recipe says *what* is trained, a budget *how much* of it. Notebooks call `current_budget()` and print it; no cell asks by
itself whether it runs on a small machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from ..core.errors import unknown


@dataclass(frozen=True)
class Budget:
    """A size: which preset, minutes of training for each method, and pictures on a map."""

    name: str
    preset: str
    minutes: dict[str, float]
    points: int

    def __str__(self) -> str:
        times = ", ".join(f"{method} {60 * minutes:.0f} s" for method, minutes in self.minutes.items())
        return (
            f"profile {self.name!r}: preset {self.preset!r}, training by time: {times}.\n"
            f"Set MNCLGLF_LITE_PROFILE to one of {', '.join(BUDGETS)} before starting Jupyter to change it."
        )


BUDGETS = {
    "quick": Budget("quick", "quick", {"simclr": 0.3, "mnclglf": 0.85}, 1000),
    "cpu": Budget("cpu", "quick", {"simclr": 3.0, "mnclglf": 6.0}, 2000),
    "gpu": Budget("gpu", "standard", {"simclr": 2.0, "mnclglf": 4.0}, 2000),
}


def current_budget() -> Budget:
    """$MNCLGLF_LITE_PROFILE, else "gpu" where CUDA is at hand, else "quick"."""
    name = os.environ.get("MNCLGLF_LITE_PROFILE") or ("gpu" if torch.cuda.is_available() else "quick")
    if name not in BUDGETS:
        raise unknown("profile (MNCLGLF_LITE_PROFILE)", name, BUDGETS)
    return BUDGETS[name]
