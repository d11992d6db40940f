"""Records of runs: find runs in folders, and read what they left. Nothing here trains or measures.

runs = records.load_records("data/runs")             # every run below
toys = records.groups(runs)["toybox"]                # those that lie side by side, of one image set
records.group_by_method(toys)["simclr"]              # the seeds of one method
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.files import CHECKOUT
from ..methods.registry import METHODS
from ..recipe.legacy import upgrade
from .compare import uses_labels

KEPT = CHECKOUT / "data" / "runs"  # the records that come with a checkout
ROW = ("epoch", "step", "seconds", "loss")  # what every line of history.jsonl has
RESULT = ("dataset", "on", "queries", "bank", "hardware", "protocols")  # what it takes to read an accuracy


@dataclass(frozen=True, eq=False)
class Record:
    """What one run left in its folder; a run that is not finished, or not evaluated, has less to tell."""

    folder: Path
    group: str  # the folder that it lies in, seen from the shelf
    name: str  # of what was trained: the folder's name without its -seedN
    recipe: dict[str, Any]  # recipe.json under today's names (`recipe.legacy`): older ones lack later settings
    history: list[dict[str, Any]]  # one dict an epoch, oldest first
    result: dict[str, Any] | None  # what `evaluate` found; None where nobody has asked yet
    baselines: dict[str, dict[str, Any]]  # {name: the same of raw pixels, of an untrained network ...}
    budget: dict[str, Any]  # what the runs beside it were given alike: {"minutes": ..., "image_views": ...}, or {}

    @property
    def seed(self) -> int:
        return self.recipe["seed"]

    @property
    def dataset(self) -> str:
        return self.recipe["dataset"]

    @property
    def with_labels(self) -> bool:
        return uses_labels(self.recipe)

    @property
    def step(self) -> int:
        return self.history[-1]["step"] if self.history else 0

    @property
    def seconds(self) -> float:
        """Spent training, by the history."""
        return self.history[-1]["seconds"] if self.history else 0.0

    @property
    def steps(self) -> int | None:
        """How many steps there are to be; None where the recipe counts epochs and none has ended yet."""
        if self.recipe["steps"] or not self.history:
            return self.recipe["steps"] or None
        return round(self.recipe["epochs"] * self.step / self.history[-1]["epoch"])

    @property
    def finished(self) -> bool:
        return self.steps is not None and self.step >= 0.999 * self.steps  # an epoch is written with two figures


def load_records(folder: str | Path = KEPT) -> list[Record]:
    """Every folder at or below `folder` that holds a run (recipe.json, history.jsonl), in the order of `groups`.

    Raises `InputError` where there is no run at all, and for a file that is damaged, by its name.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(
            f"there is no folder {root}: give one that holds runs (`mnclglf-lite train --out FOLDER` makes one)"
        )
    found = [path.parent for path in root.rglob("recipe.json") if (path.parent / "history.jsonl").is_file()]
    if not found:
        raise InputError(f"there is no run in {root}: a run is a folder with recipe.json and history.jsonl")
    beside: dict[Path, tuple[dict[str, Any], dict[str, Any]]] = {}
    records = []
    for run in found:
        if run.parent not in beside:
            beside[run.parent] = _beside(run.parent)
        where = Path() if run == root else run.parent.relative_to(root)
        group = where.as_posix() if where.parts else f"{root.resolve().name}/"
        records.append(_record(run, group, *beside[run.parent]))
    return sorted(records, key=lambda r: (r.group, _rank(r), r.name, r.seed, r.folder))


def groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Runs that can be compared: of one folder and one image set. Methods stand in the package's order, seeds ascending."""
    several = {(r.group, r.dataset) for r in records}
    found: dict[str, list[Record]] = {}
    for r in records:
        alone = sum(group == r.group for group, _ in several) == 1
        found.setdefault(r.group if alone else f"{r.group} ({r.dataset})", []).append(r)
    return found


def group_by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """{name: its seeds}, in the order in which they come."""
    found: dict[str, list[Record]] = {}
    for r in records:
        found.setdefault(r.name, []).append(r)
    return found


# ---- reading


def _rank(record: Record) -> int:
    order = list(METHODS)
    return order.index(record.recipe["method"]) if record.recipe["method"] in order else len(order)


def _record(folder: Path, group: str, baselines: dict[str, Any], budget: dict[str, Any]) -> Record:
    kept = _json(folder / "recipe.json", ("method", "dataset", "seed", "steps", "epochs"))
    recipe = upgrade(kept)
    _check(folder / "recipe.json", recipe, ("batch_size",))
    name = re.sub(r"-seed\d+$", "", folder.resolve().name)
    result = None
    if (folder / "result.json").exists():
        result = _json(folder / "result.json", ())
        if "rows" in result:  # `mnclglf-lite evaluate`: the run's row is the last, baselines before it
            *others, (_, row) = _items(folder / "result.json", result["rows"])
            more = {key: result[key] for key in ("few_labels", "paper_linear") if key in result}
            baselines, result = baselines | dict(others), row | more
        _check(folder / "result.json", result, RESULT)
        if result["dataset"] == kept["dataset"]:
            result = result | {"dataset": recipe["dataset"]}  # which may have another name by now
    return Record(folder, group, name, recipe, _history(folder / "history.jsonl"), result, baselines, budget)


def _beside(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Baselines and budget of the comparison that runs are part of, if they are."""
    baselines, budget = {}, {}
    if (folder / "budget.json").exists():
        budget = _json(folder / "budget.json", ())
    if (folder / "compare.json").exists():
        whole = _json(folder / "compare.json", ("baselines", "budget"))
        baselines, budget = dict(_items(folder / "compare.json", whole["baselines"])), whole["budget"]
    return baselines, budget


def _history(path: Path) -> list[dict[str, Any]]:
    """All epochs; a last line that a crash cut off is left out."""
    rows, lines = [], _text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                break
            raise _damaged(f"{path}, line {number},", "is no JSON") from None
        _check(f"{path}, line {number},", row, ROW)
        if not all(isinstance(row[key], int | float) for key in ROW):
            raise _damaged(f"{path}, line {number},", f"has something else than numbers under {', '.join(ROW)}")
        rows.append(row)
    return rows


def _json(path: Path, names: Sequence[str]) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise _damaged(path, f"is no JSON ({error})") from None
    _check(path, value, names)
    return value


def _items(path: Path, rows: Any) -> list[tuple[str, dict[str, Any]]]:
    """The results in a table of them, each of which can be read."""
    if not isinstance(rows, dict) or not rows:
        raise _damaged(path, "has no table of results where one belongs")
    for name, row in rows.items():
        _check(f"{path}, under {name!r},", row, RESULT)
    return list(rows.items())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _damaged(path, "is no text") from None


def _check(where: object, value: Any, names: Sequence[str]) -> None:
    if not isinstance(value, dict):
        raise _damaged(where, "is no table of names and values")
    if missing := [name for name in names if name not in value]:
        raise _damaged(where, f"has no {', '.join(missing)}")


def _damaged(where: object, what: str) -> InputError:
    return InputError(f"{where} {what}: the file is damaged, or of another program; mend it or move its folder away")
