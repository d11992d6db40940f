"""Learning-rate schedules as functions of a step: linear warm-up, then half a cosine."""

from __future__ import annotations

import math


def warmup_cosine(step: int, total_steps: int, warmup: float) -> float:
    """The share of the full learning rate at a step: linear warm-up, then half a cosine down to 0.

    step, total_steps: optimiser steps, from 0. warmup: share of all steps, in [0, 1).
    """
    warm = warmup * total_steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return cosine_decay(step - warm, total_steps - warm)


def cosine_decay(step: float, total: float) -> float:
    """Half a cosine from 1 at the first step to 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / max(1.0, total)))
