"""What the benchmarks share: running as a program, waiting, random images, peak memory, where a number was measured."""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from mnclglf_lite import __version__
from mnclglf_lite.core.device import describe_device
from mnclglf_lite.core.errors import InputError, TrainingError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data" / "runs"  # the records


def parser(doc: str, data: bool = False, device: bool = False, out: str = "") -> argparse.ArgumentParser:
    """A command line that shows a program's docstring, with the flags that several have; `out`: the default of --out."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        made.add_argument("--data", type=Path, metavar="DIR", help="where the image sets are (default: see doctor)")
    if device:
        made.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    if out:
        made.add_argument("--out", type=Path, default=RUNS / out, metavar="FILE", help=f"(default: data/runs/{out})")
    return made


def program(main: Callable[[], object], name: str) -> NoReturn:
    """Run a benchmark's `main` as the program `name`; a whole number that it returns is the program's code.

    What was asked wrongly ends it with one line and code 2, a run that broke with one line and code 1, an interrupt with the
    customary 130.
    """
    try:
        code = main()
    except (InputError, TrainingError) as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        sys.exit(2 if isinstance(problem, InputError) else 1)
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def wait(device: torch.device) -> None:
    """Return when the device has done all that was queued, so that a clock read now is honest."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(work: Callable[[], Any], count: int, device: torch.device) -> float:
    """Seconds of one call, over `count` of them, the device's work included."""
    wait(device)
    begun = time.perf_counter()
    for _ in range(count):
        work()
    wait(device)
    return (time.perf_counter() - begun) / count


def pace(work: Callable[[], Any], seconds: float, device: torch.device) -> float:
    """Seconds of a call: the median of three stretches of about `seconds` in all, after four calls that are not counted."""
    timed(work, 2, device)
    count = max(2, int(seconds / 3 / timed(work, 2, device)))
    return statistics.median(timed(work, count, device) for _ in range(3))


def in_turn(
    work: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device, uncounted: int = 0
) -> dict[str, list[float]]:
    """Seconds of a call of each, one after the other, every second round backwards: a busy moment hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(-uncounted, rounds):
        for name in list(work)[:: 1 - 2 * (turn % 2)]:
            took = timed(work[name], 1, device)
            if turn >= 0:
                seconds[name].append(took)
    return seconds


def no_sync(work: Callable[[], Any], device: torch.device) -> bool | str | None:
    """True where three more calls never make the host wait, or what torch said; None where it cannot tell (not CUDA)."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            work()
        return True
    except RuntimeError as error:
        return str(error)[:300]
    finally:
        torch.cuda.set_sync_debug_mode("default")


def forget_peak(device: torch.device) -> None:
    """Memory on CUDA is counted anew from here on. Networks and loaders that are of no more use leave it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Bytes: CUDA's peak since `forget_peak`; elsewhere the most that the process ever held."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident()


def measured(work: Callable[[], Any], seconds: float, device: torch.device) -> dict[str, Any]:
    """Seconds of a call, its peak of memory, and whether it makes the host wait."""
    spent = pace(work, seconds, device)
    return {"seconds": spent, "peak_bytes": peak(device), "no_sync": no_sync(work, device)}


def random_images(count: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random uint8 images (count, 3, side, side) and ten classes in turn: what they show costs nothing."""
    draws = torch.Generator(device).manual_seed(0)
    shown = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, device=device, generator=draws)
    return shown, torch.arange(count, device=device) % 10


def new_step(
    recipe: Recipe, count: int, device: torch.device, engine: str = "eager", log: Callable[[str], None] = print
) -> Step:
    """The step of a new run on `count` random images."""
    run = new_run(recipe, count, 10, device)
    run.method.train()
    return Step(run, *random_images(count, 32, device), engine, log)


def in_proc(what: str, process: int | str = "self", file: str = "status") -> int | None:
    """Bytes under a name in a process's file in /proc; None where there is none."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what + ":"))
    except (OSError, StopIteration, ValueError):
        return None


def resident(what: str = "VmHWM") -> int:
    """Bytes of resident memory of this process: the largest so far ("VmHWM") or now ("VmRSS"). Linux alone knows the second.

    The largest is not getrusage's on Linux, where a process starts with that of the one that started it.
    """
    import resource

    found = in_proc(what)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else found  # bytes on macOS


def commit() -> str | None:
    """The commit of this checkout, where there is a git that knows it."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def stamp(device: torch.device) -> dict[str, Any]:
    """Where and with what a number was measured."""
    return {
        "hardware": describe_device(device),
        "load": [round(value, 2) for value in os.getloadavg()],  # other work on the machine shows here
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "mnclglf_lite": __version__},
    }


def save(path: str | Path, result: dict[str, Any]) -> None:
    """A result as JSON, whole or not at all; its folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_json(path, result)
    print(f"written to {path}")
