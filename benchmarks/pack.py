"""Make one line of each run of a finished comparison: FOLDER/runs.jsonl beside compare.json.

    python -m benchmarks.pack data/runs/toybox
    python -m benchmarks.pack data/runs/toybox --undo       the folders again, to which more runs can be added

A line holds a run's recipe and history, and its result where compare.json has another one. The files of a run are removed
once its line was read back equal to them; compare.md and budget.json, which repeat compare.json, go too. A checkpoint stays.
Where something would be lost, nothing is packed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import timing
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import read_lines, save_json, write_atomically
from mnclglf_lite.results.records import PACKED, load_records, recipe_of_record

FILES = ("recipe.json", "history.jsonl", "result.json")  # of a run


def results_of(whole: dict[str, Any]) -> dict[str, Any]:
    """The results of a compare.json, by the names of runs."""
    return {f"{name}-seed{run['seed']}": run for name, row in whole["rows"].items() for run in row["runs"]}


def line_of(run: Path, results: dict[str, Any]) -> dict[str, Any]:
    """A run as it will stand in runs.jsonl; `results` are those of compare.json, by the names of runs."""
    if lacking := [name for name in FILES if not (run / name).exists()]:
        raise InputError(f"{run} has no {', '.join(lacking)}: finish the comparison first; nothing is packed")
    recipe, result = (json.loads((run / name).read_text()) for name in ("recipe.json", "result.json"))
    line = {"name": run.name, "recipe": recipe, "history": read_lines(run / "history.jsonl")}
    repeated = run.name in results and result == {"recipe": recipe, **results[run.name]}
    return line if repeated else line | {"result": result}


def facts(folder: Path) -> str:
    """All that a reader learns of the runs in a folder."""
    runs = {record.folder.name: record for record in load_records(folder) if record.folder.parent == folder}
    return json.dumps(
        {
            name: [recipe_of_record(run.folder), run.recipe, run.history, run.result, run.baselines, run.budget]
            for name, run in runs.items()
        },
        sort_keys=True,
    )


def pack(folder: Path) -> int:
    """Pack the runs of a comparison; returns how many."""
    runs, whole = sorted(path.parent for path in folder.glob("*/recipe.json")), folder / "compare.json"
    if not runs or not whole.exists():
        raise InputError(f"no comparison with runs to pack lies in {folder}: compare.json, and folders with recipe.json")
    results = results_of(json.loads(whole.read_text()))
    lines = {line["name"]: line for line in read_lines(folder / PACKED)} | {run.name: line_of(run, results) for run in runs}
    order = [*results, *sorted(lines.keys() - results.keys())]
    text = "".join(json.dumps(lines[name]) + "\n" for name in order if name in lines).encode()
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(whole, scratch)
        write_atomically(Path(scratch) / PACKED, text)
        if facts(Path(scratch)) != facts(folder):
            raise InputError(f"packed, the runs in {folder} would not read the same; nothing is packed")
    write_atomically(folder / PACKED, text)
    for run in runs:
        for name in FILES:
            (run / name).unlink()
        with contextlib.suppress(OSError):  # a checkpoint lies there
            run.rmdir()
    for name in ("compare.md", "budget.json"):
        (folder / name).unlink(missing_ok=True)
    return len(runs)


def unpack(folder: Path) -> int:
    """Write each line as the folder that it was; returns how many. budget.json is written again too."""
    if not (folder / PACKED).exists():
        raise InputError(f"there are no packed runs in {folder}")
    whole, lines = json.loads((folder / "compare.json").read_text()), read_lines(folder / PACKED)
    results = results_of(whole)
    for line in lines:
        run = folder / line["name"]
        run.mkdir(exist_ok=True)
        save_json(run / "recipe.json", line["recipe"])
        result = line["result"] if "result" in line else {"recipe": line["recipe"], **results[line["name"]]}
        save_json(run / "result.json", result)
        write_atomically(run / "history.jsonl", "".join(json.dumps(row) + "\n" for row in line["history"]).encode())
    save_json(folder / "budget.json", whole["budget"])
    (folder / PACKED).unlink()
    return len(lines)


def main(argv: list[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("folder", type=Path, help="of a comparison")
    parser.add_argument("--undo", action="store_true", help="make a folder of each line")
    args = parser.parse_args(argv)
    if args.undo:
        print(f"{unpack(args.folder)} runs are folders in {args.folder}")
    else:
        print(f"{pack(args.folder)} runs packed into {args.folder / PACKED}")


if __name__ == "__main__":
    timing.program(main, "pack")
