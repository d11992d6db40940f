"""Checkpoints: the whole state of a run in one file, written atomically and read without executing anything.

A checkpoint is either the old one or the new one, never a half: it is written beside its final name, flushed to the disk and
renamed. It holds only tensors and plain values, so that `torch.load(weights_only=True)` reads it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import torch

from .errors import InputError, TrainingError


def write_atomically(path: Path, data: bytes) -> None:
    """All of `data` under `path`, or what was there before. Raises OSError when the disk is full; leaves no litter."""
    beside = path.with_name(path.name + ".part")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


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


def save_json(path: Path, value: Any) -> None:
    """A value of plain JSON types as indented text, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def append_line(path: Path, row: dict[str, Any]) -> None:
    """One more line of a JSON-lines file."""
    try:
        with open(path, "a") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise TrainingError(
            f"could not write to {path}: {error.strerror}; the last checkpoint is untouched. Free some space and resume."
        ) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSON-lines file; a last line that was cut off by a crash is left out."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
    return rows
