"""The engines of a step side by side: how soon they start, how fast they run, what they hold, and whether they agree.

    python -m benchmarks.engines --methods simclr,mnclglf --out data/runs/engines.json

Each engine has a process and a compiler cache of its own, so that none profits from another's work:

    first_step      seconds from the set-up of the step to the end of the first one: compiling is in it
    warm_up         seconds of the steps after it that are not timed (a graph is recorded among them)
    steps_per_s     median over five stretches of steps, the device waited for at the end of each
    peak_bytes      CUDA: most memory allocated during them; elsewhere: most resident memory of the process, Python and
                    compiler included
    losses          of twenty steps in fp32 (tf32 off) from one seed; they agree with eager's where the largest difference is
                    below 1e-4 of the loss, or of 1
    no_sync         CUDA: three steps under `set_sync_debug_mode("error")`; true, or what torch said. It knows the usual
                    synchronising calls, not all. None elsewhere

The pictures are random numbers: the speed is that of any set, the losses say nothing but whether engines agree.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from mnclglf_lite.core.device import pick_device
from mnclglf_lite.core.errors import InputError, unknown
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import ENGINES, RECORD_AT, Step

COMPARED = ("eager", "compiled", "captured")
AGREE_STEPS, AGREE_WITHIN = 20, 1e-4
STRETCHES = 5
# Of a dry run (ours)
SLIM = {"width": 8, "blocks": (1, 1, 1), "stem": "patch", "projector": (32, 32), "predictor_hidden": 16}


def recipe_of(method: str, args: argparse.Namespace) -> Recipe:
    """The preset's recipe at the batch that is asked for, with a queue that it divides."""
    recipe = preset(args.preset, method, "cifar10", steps=10_000)
    batch = args.batch or recipe.optim.batch_size
    changes: dict[str, Any] = {"batch_size": batch}
    if recipe.reads("queue"):
        changes["queue"] = max(1, recipe.method.queue // batch) * batch
    slim = {name: value for name, value in SLIM.items() if args.dry and recipe.reads(name)}
    return recipe.replace(**changes, **slim)


def step_of(recipe: Recipe, device: torch.device, engine: str, said: list[str]) -> Step:
    """A fresh run's step on four batches of random pictures; what it logs goes into `said`."""
    shown, labels = timing.pictures(4 * recipe.optim.batch_size, 32, device)
    run = new_run(recipe, len(shown), 10, device)
    run.method.train()
    return Step(run, shown, labels, engine, said.append)


def losses(recipe: Recipe, device: torch.device, engine: str, steps: int) -> list[float]:
    """The loss of each of the first steps, in float32 without tf32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    step = step_of(recipe.replace(precision="fp32"), device, engine, [])
    # one algorithm for all engines: the fastest of each would differ, and training amplifies what rounding begins
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    rows = torch.arange(4 * recipe.optim.batch_size).split(recipe.optim.batch_size)
    return [float(step(rows[at % 4])["loss"].detach()) for at in range(steps)]


def no_sync(step: Step, rows: torch.Tensor) -> bool | str | None:
    """True where three more steps ask nothing of the device; else what torch said."""
    if not step.images.is_cuda:
        return None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step(rows)
        return True
    except RuntimeError as error:
        return str(error).strip().splitlines()[0][:300]
    finally:
        torch.cuda.set_sync_debug_mode("default")


def one(method: str, engine: str, args: argparse.Namespace) -> dict[str, Any]:
    """Everything about one engine, in this process."""
    device, recipe, said = pick_device(args.device), recipe_of(method, args), []
    rows = torch.arange(recipe.optim.batch_size)  # on the CPU, as the training loop has them
    warm, least = (2, 1) if args.dry else (RECORD_AT + 8, 3)
    begun = time.perf_counter()
    step = step_of(recipe, device, engine, said)
    step(rows)
    timing.wait(device)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    if device.type != "cuda":  # where a step takes long, and nothing is recorded
        warm = min(warm, 2)
    for _ in range(warm):
        step(rows)
    timing.wait(device)
    warmed = time.perf_counter() - begun
    count = max(least, round(args.seconds / STRETCHES / (warmed / warm)))
    rates = []
    for _ in range(STRETCHES):
        at = time.perf_counter()
        for _ in range(count):
            step(rows)
        timing.wait(device)
        rates.append(count / (time.perf_counter() - at))
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else timing.resident()
    found = {"engine": engine, "became": step.engine, "said": said, "first_step": first, "warm_up": warmed}
    found |= {"steps_per_s": statistics.median(rates), "stretches": rates, "peak_bytes": peak}
    found |= {"no_sync": no_sync(step, rows), "losses": losses(recipe, device, engine, args.agree)}
    return found


def apart(method: str, engine: str, args: argparse.Namespace, argv: list[str]) -> dict[str, Any]:
    """`one` in a fresh process with an empty compiler cache; a process that breaks is an entry that says so."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.json"
        command = [sys.executable, "-m", "benchmarks.engines", *argv, "--one", method, engine, "--out", str(path)]
        caches = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "TRITON_CACHE_DIR": f"{folder}/triton"}
        done = subprocess.run(command, cwd=timing.ROOT, env=os.environ | caches, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(path.read_text())
        print(done.stderr, file=sys.stderr)
        return {"engine": engine, "error": (done.stderr.strip().splitlines() or ["no word"])[-1][:300]}


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each engine's losses against eager's: the largest difference, and whether it is small."""
    eager = next((row["losses"] for row in rows if row["engine"] == "eager" and "losses" in row), None)
    for row in rows:
        if eager and "losses" in row:
            apart_by = max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(eager, row["losses"], strict=True))
            row |= {"largest_difference": apart_by, "agrees": apart_by < AGREE_WITHIN}
    return rows


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="simclr,mnclglf", help="with commas between (default: simclr,mnclglf)")
    parser.add_argument("--engines", default=",".join(COMPARED), help=f"(default: {','.join(COMPARED)})")
    parser.add_argument("--preset", default="standard", help="quick on a CPU, standard on a GPU (default: standard)")
    parser.add_argument("--batch", type=int, default=0, help="pictures (default: the preset's)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing an engine (default: 5)")
    parser.add_argument("--agree", type=int, default=AGREE_STEPS, help=f"steps whose losses agree (default: {AGREE_STEPS})")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument("--out", metavar="FILE", help="JSON file (default: none, print alone)")
    parser.add_argument("--dry", action="store_true", help="a tiny net and two steps: does it run? (default: off)")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "ENGINE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.dry:
        args.batch, args.seconds, args.agree = args.batch or 16, 0.0, min(args.agree, 2)
    if args.one:
        timing.save(args.out, one(*args.one, args))
        return
    names, engines = args.methods.split(","), args.engines.split(",")
    for kind, asked, choices in (("method", names, METHODS), ("engine", engines, ENGINES[1:])):
        for name in asked:
            if name not in choices:
                raise unknown(kind, name, choices)
    if "eager" not in engines:
        raise InputError(f"the others are compared with eager, which is not among {', '.join(engines)}; add it")
    result: dict[str, Any] = {
        "what": "engines of a step",
        "dry": args.dry,
        **timing.stamp(pick_device(args.device)),
        "methods": {},
    }
    result |= {"preset": args.preset, "agree_within": AGREE_WITHIN}
    result["command"] = " ".join(["python -m benchmarks.engines", *argv])
    for name in names:
        rows: list[dict[str, Any]] = []
        for engine in engines:
            row = apart(name, engine, args, argv)
            rows.append(row)
            result["methods"][name] = {"batch": recipe_of(name, args).optim.batch_size, "rows": rows}
            if "error" in row:
                print(f"{name} {engine}: {row['error']}")
                continue
            compared(rows)
            print(
                f"{name} {engine} (became {row['became']}): first step {row['first_step']:.1f} s, "
                f"{row['steps_per_s']:.2f} steps/s, peak {row['peak_bytes'] / 2**20:,.0f} MiB, agrees "
                f"{row.get('agrees')} ({row.get('largest_difference', float('nan')):.1e}), no sync: {row['no_sync']}",
                flush=True,
            )
            if args.out:
                timing.save(args.out, result)  # after each engine: what is cut off keeps what it has
    if broken := [row["engine"] for entry in result["methods"].values() for row in entry["rows"] if "error" in row]:
        sys.exit(f"these engines broke: {', '.join(broken)}; their last words are above")


if __name__ == "__main__":
    timing.program(main, "engines")
