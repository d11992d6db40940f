"""How long every notebook takes from a clean kernel to its end, at profile `quick`: learner's, then solved.

    python -m benchmarks.speed.notebooks --out data/runs/notebooks-cpu.json       twelve minutes on two cores

Seconds include the kernel's start and imports. The bars: 90 s each, the quickstart 150 s, all together 20 minutes. They are
printed, not tested, since they depend on the machine; that every notebook runs is tested by tests/course/test_notebooks.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import page, timing

FOLDER = timing.ROOT / "notebooks"
BAR, FIRST_BAR, ALL_BAR = 90, 150, 1200  # seconds


def seconds_of(path: Path) -> float:
    """Run a copy of a notebook in an empty folder, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(path.read_text())
        env = {**os.environ, "MNCLGLF_LITE_PROFILE": "quick"}
        words = [sys.executable, str(FOLDER / "run.py"), str(copy), str(Path(folder) / "executed.ipynb")]
        begun = time.perf_counter()
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{path.name} did not run to its end:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - begun


def render(found: dict[str, Any], name: str) -> str:
    lines = [
        [notebook, *(f"{row[kind]:.0f}" if kind in row else "-" for kind in ("learner", "solved"))]
        for notebook, row in found["rows"].items()
    ]
    note = (
        f"From a clean kernel to the end, imports included, profile {found['profile']}; {found['hardware']}, load "
        f"{found['load'][0]:g} before; torch {found['versions']['torch']}"
    )
    table = page.table(["", "learner, s", "solved, s"], lines)
    return page.section("How long the notebooks compute", f"python -m {__name__} --out data/runs/{name}", table, note)


def in_short(found: dict[str, Any]) -> str:
    """How long the notebooks compute, for the map of the course."""
    lessons = [row["learner"] for name, row in found["rows"].items() if "01" <= name[:2] <= "09"]
    first, whole = found["rows"]["00_quickstart"]["learner"], found["whole_s"] / 60
    return (
        f"Each lesson computes for {min(lessons):.0f} to {max(lessons):.0f} seconds, the quickstart for {first:.0f}; all "
        f"notebooks,\nlearner's and solved, in {whole:.0f} minutes (profile `quick`; {found['hardware']}; "
        f"`python -m {__name__}`)."
    )


def main(words: list[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the seconds as JSON, too")
    args = parser.parse_args(words)
    stamp = timing.stamp(torch.device("cpu"))  # before: the load that others make, not ours
    rows: dict[str, dict[str, float]] = {}
    for kind, paths in (("learner", FOLDER.glob("*.ipynb")), ("solved", (FOLDER / "solved").glob("*.ipynb"))):
        for path in sorted(paths):
            spent = seconds_of(path)
            rows.setdefault(path.stem, {})[kind] = round(spent, 1)
            bar = FIRST_BAR if path.stem.startswith("00") else BAR
            print(f"{kind:8s} {path.stem:32s} {spent:6.1f} s{'   OVER ' + str(bar) if spent > bar else ''}", flush=True)
    whole = sum(sum(row.values()) for row in rows.values())
    print(f"all together {whole / 60:.1f} minutes (bar {ALL_BAR / 60:.0f})")
    if args.out:
        timing.save(
            args.out, {"profile": "quick", "rows": rows, "whole_s": round(whole), "commit": timing.commit(), **stamp}
        )


if __name__ == "__main__":
    timing.program(main, "notebooks")
