"""Schedules as functions of a step: the cosine decay that learning rates follow."""

from __future__ import annotations

import math


def cosine_decay(step: float, total: float) -> float:
    """Half a cosine from 1 at the first step to 0 after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / max(1.0, total)))
