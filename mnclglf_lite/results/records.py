"""Records of runs: find runs in folders, and read what they left. Nothing here trains or measures.

    runs = records.load_records("data/runs")             # every run below
    toys = records.groups(runs)["toybox"]                # those that lie side by side, of one image set
    records.group_by_method(toys)["simclr"]              # the seeds of one method

A run is a folder (recipe.json, history.jsonl, result.json), as `train` and `compare` write it, or a line of runs.jsonl
beside compare.json: `python -m benchmarks.pack FOLDER` makes one line of each folder of a finished comparison.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import InputError, unknown
from ..core.files import CHECKOUT
from ..methods.registry import METHODS
from ..recipe.legacy import upgrade
from ..recipe.recipe import Recipe

KEPT = CHECKOUT / "data" / "runs"  # the records that come with a checkout
ROW = ("epoch", "step", "seconds", "loss")  # what every line of history.jsonl has
RESULT = ("dataset", "on", "queries", "bank", "hardware", "protocols")  # what it takes to read an accuracy
# A line a run: its folder's name, recipe and history; its result where that is not in compare.json
PACKED = "runs.jsonl"


@dataclass(frozen=True, eq=False)
class Record:
    """What one run left in its folder; a run that is not finished, or not evaluated, has less to tell."""

    folder: Path  # where the run was made; of a packed run it need not exist
    group: str  # the folder that it lies in, below the one that was searched
    name: str  # of what was trained: the folder's name without its -seedN
    recipe: dict[str, Any]  # recipe.json under today's names (`recipe.legacy`): older ones lack later settings
    history: list[dict[str, Any]]  # one dict an epoch, oldest first
    result: dict[str, Any] | None  # what `evaluate` found; None: not evaluated yet
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
    """Every run at or below `folder`, in the order of `groups`. Where a run lies there twice, its folder counts.

    Raises `InputError` where there is no run at all, and for a file that is damaged, by its name.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: give one with runs (`mnclglf-lite train --out FOLDER` makes one)")
    found = {run: files for path in root.rglob(PACKED) for run, files in _packed(path).items()}
    loose = (path.parent for path in root.rglob("history.jsonl") if (path.parent / "recipe.json").is_file())
    found |= {folder: _loose(folder) for folder in loose}
    if not found:
        raise InputError(f"there is no run in {root}: a run is a folder with recipe.json and history.jsonl")
    beside = {place: _comparison(place) for place in {run.parent for run in found}}
    records = [_record(run, _group(run, root), files, beside[run.parent]) for run, files in found.items()]
    rank = {name: place for place, name in enumerate(METHODS)}
    return sorted(records, key=lambda r: (r.group, rank.get(r.recipe["method"], len(rank)), r.name, r.seed, r.folder))


def recipe_of_record(path: str | Path) -> dict[str, Any]:
    """The recipe of one run as it was written down: of its folder, or of the packed run that would have this folder."""
    folder = Path(path).expanduser()
    if (folder / "recipe.json").is_file():
        return _json(folder / "recipe.json")
    packed = _packed(folder.parent / PACKED)
    if folder in packed:
        return packed[folder].recipe
    there = {path.parent for path in folder.parent.glob("*/recipe.json")} | packed.keys()
    if not there:
        raise InputError(f"there is no run {folder}: give a folder with recipe.json, or the name of a run in {PACKED}")
    raise unknown(f"run in {folder.parent}", folder.name, sorted(run.name for run in there))


def uses_labels(recipe: dict[str, Any]) -> bool:
    """Whether a recipe, as a record has it, trains with labels. Of a method that is not known here: no."""
    try:
        return recipe["method"] in METHODS and Recipe.from_dict(recipe).uses_labels
    except InputError:  # a method of one's own that has changed since
        return False


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


class _Files(NamedTuple):
    """What one run left, and which file (or line) to name where something is missing in it."""

    recipe: Any
    recipe_at: str
    history: list[dict[str, Any]]
    result: Any  # None: not evaluated
    result_at: str


class _Comparison(NamedTuple):
    """What a comparison knows of the runs in its folder; `results` by the names of their folders."""

    baselines: dict[str, Any]
    budget: dict[str, Any]
    results: dict[str, Any]


def _group(run: Path, root: Path) -> str:
    where = Path() if run == root else run.parent.relative_to(root)
    return where.as_posix() if where.parts else f"{root.resolve().name}/"


def _record(folder: Path, group: str, files: _Files, beside: _Comparison) -> Record:
    _check(files.recipe_at, files.recipe, ("method", "dataset", "seed", "steps", "epochs"))
    recipe = upgrade(files.recipe)
    _check(files.recipe_at, recipe, ("batch_size",))
    baselines, result = beside.baselines, files.result
    if result is not None:
        _check(files.result_at, result, ())
        if "rows" in result:  # `mnclglf-lite evaluate`: the run's row is the last, baselines before it
            *others, (_, row) = _items(files.result_at, result["rows"])
            more = {key: result[key] for key in ("few_labels", "paper_linear") if key in result}
            baselines, result = baselines | dict(others), row | more
        _check(files.result_at, result, RESULT)
        if result["dataset"] == files.recipe["dataset"]:
            result = result | {"dataset": recipe["dataset"]}  # which may have another name by now
    name = re.sub(r"-seed\d+$", "", folder.resolve().name)
    return Record(folder, group, name, recipe, files.history, result, baselines, beside.budget)


def _loose(folder: Path) -> _Files:
    """A run that lies in a folder of its own."""
    recipe, result = folder / "recipe.json", folder / "result.json"
    kept = _json(result) if result.exists() else None
    history = [_row(at, row) for at, row in _lines(folder / "history.jsonl", cut_off=True)]
    return _Files(_json(recipe), str(recipe), history, kept, str(result))


def _packed(path: Path) -> dict[Path, _Files]:
    """The runs in a runs.jsonl by the folders that they come from; none where there is no such file."""
    if not path.is_file():
        return {}
    found, results = {}, _comparison(path.parent).results
    for at, run in _lines(path):
        _check(at, run, ("name", "recipe", "history"))
        if not isinstance(run["name"], str) or not isinstance(run["history"], list):
            raise _damaged(at, "has something else than a name and a list of epochs")
        result = run.get("result")
        if result is None and run["name"] in results:
            result = {"recipe": run["recipe"], **results[run["name"]]}  # as result.json has it
        history = [_row(f"{at} epoch {i} of its history,", row) for i, row in enumerate(run["history"], start=1)]
        found[path.parent / run["name"]] = _Files(run["recipe"], f"{at} in its recipe,", history, result, f"{at} its result")
    return found


def _comparison(folder: Path) -> _Comparison:
    """Baselines, budget and results of the comparison that the runs in a folder are part of, if they are."""
    budget = _json(folder / "budget.json") if (folder / "budget.json").exists() else {}
    path = folder / "compare.json"
    if not path.exists():
        return _Comparison({}, budget, {})
    whole = _json(path, ("baselines", "budget"))
    results = {}
    for name, row in whole.get("rows", {}).items():
        _check(f"{path}, under {name!r},", row, ("runs",))
        for run in row["runs"]:
            _check(f"{path}, under {name!r},", run, ("seed",))
            results[f"{name}-seed{run['seed']}"] = run
    return _Comparison(dict(_items(path, whole["baselines"])), whole["budget"], results)


def _lines(path: Path, cut_off: bool = False) -> Iterator[tuple[str, Any]]:
    """The values of a JSON-lines file, each with the name of its line; `cut_off`: the last may be half written."""
    lines = _text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield f"{path}, line {number},", json.loads(line)
        except json.JSONDecodeError:
            if not cut_off or number < len(lines):
                raise _damaged(f"{path}, line {number},", "is no JSON") from None


def _row(where: object, row: Any) -> dict[str, Any]:
    """One epoch of a history, which can be read."""
    _check(where, row, ROW)
    if not all(isinstance(row[key], int | float) for key in ROW):
        raise _damaged(where, f"has something else than numbers under {', '.join(ROW)}")
    return row


def _json(path: Path, names: Sequence[str] = ()) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise _damaged(path, f"is no JSON ({error})") from None
    _check(path, value, names)
    return value


def _items(path: object, rows: Any) -> list[tuple[str, dict[str, Any]]]:
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
