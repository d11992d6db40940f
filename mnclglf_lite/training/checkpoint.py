"""Checkpoints: the whole state of a run in one file, written atomically and read without executing anything.

A checkpoint is either the old one or the new one, never a half (`core.files.write_atomically`). It holds only tensors and
plain values, so that `torch.load(weights_only=True)` reads it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..core.errors import InputError, TrainingError
from ..core.files import write_atomically


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; on failure say what is still good."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        kept = f"the last good checkpoint, {path}, is untouched" if path.exists() else "there was no earlier checkpoint"
        raise TrainingError(
            f"could not write the checkpoint of step {state['step']} to {path} "
            f"({len(buffer.getvalue()) / 1e6:.1f} MB): {error.strerror}; {kept}. Free some space and resume."
        ) from error


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint. No pickled code is ever executed."""
    if not path.exists():
        raise InputError(f"there is no checkpoint at {path}; give the folder of a run that was started with --out")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds, none of them telling the file's name
        raise InputError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); it may be damaged or of another program. "
            "Move it away to start afresh."
        ) from error
