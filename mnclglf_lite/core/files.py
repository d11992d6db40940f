"""Files that are never half written: a file under its name is whole, the old one or the new one.

It is written beside its name, flushed to the disk and renamed. JSON-lines files grow by a line at a time instead; when
they are read, a last line that a crash cut off is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .errors import TrainingError

CHECKOUT = Path(__file__).resolve().parents[2]  # the folder that holds the package: a clone, or site-packages


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
