"""What to run whenever a CUDA GPU is at hand, in order; one command does the next of it.

    python -m benchmarks.gpu_queue --minutes 9            the next items that fit into nine minutes
    python -m benchmarks.gpu_queue --list                 what is done, what is next
    python -m benchmarks.gpu_queue --write                write gpu_queue.md from the list below
    python -m benchmarks.gpu_queue --device cpu --dry     every item cut down to two steps, to see that it runs

An item is finished when OUT/NAME/item.json says complete. It says the commands, when and for how long they ran, how
they ended, on what; beside it lie log.txt (the end of all that was printed) and what the item wrote. Large things, runs with
their checkpoints, live in --scratch. A training run is interrupted when the time is nearly up and goes on in the next call
from its checkpoint, if that is still there, and else from the start. An item that fails is marked, with its last lines, and
left alone until --retry; the queue goes on. Nothing but torch, torchvision and numpy is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import ROOT, commit
from mnclglf_lite import checkpoint, data, read_cifar
from mnclglf_lite.device import describe, pick
from mnclglf_lite.errors import InputError, unknown
from mnclglf_lite.recipe import METHODS

PAGE = Path(__file__).with_suffix(".md")
OUT, SCRATCH = Path("data/runs/gpu"), Path("runs/gpu")
LOG_BYTES = 200_000  # of an item's log, its end
LAST_LINES = 12  # of a failed item's log, in its record
MARGIN = 45.0  # seconds before the end of a call at which an item is interrupted: a step, a checkpoint, a copy
PATIENCE = 35.0  # seconds that an interrupted command has to end by itself
WORTH_STARTING = 90.0  # seconds that must be left for a run that can go on later: less is spent compiling
TOO_LONG = 4.0  # times its stated minutes, over all calls: then an item has failed, and blocks the queue no more
INTERRUPTED = 130  # the exit code of a command that was interrupted and kept what it had

# Minutes, all estimates: nothing has run on a GPU yet. 200 epochs of 45,000 pictures cost 9e6 * units * 1.11 GFLOP, at the
# 215 TFLOP/s planned for an H100; three more for compiling, the monitor and the measuring afterwards.
UNITS = {  # forward units of a step (`mnclglf_lite.cost`) of the standard preset on CIFAR-10
    "supervised": 3.0, "simclr": 6.0, "moco": 8.0, "simsiam": 6.1, "byol": 8.0, "nnclr": 6.1, "fastmoco": 8.8,
    "mnclglf": 13.6, "mcl": 8.0, "cgh": 4.1, "glnet": 8.2,
}  # fmt: skip


def estimated(method: str, epochs: int = 200) -> float:
    """Minutes of a run of the standard preset on an H100, its evaluation included."""
    return round(epochs * 45_000 * UNITS[method] * 1.11e9 / 215e12 / 60 + 3, 1)


@dataclass(frozen=True)
class Item:
    """One thing to find out. `commands` are what comes after `python`, run in turn; in them {run} is the item's folder in
    SCRATCH, {out} its folder in OUT. `resumable`: may be interrupted, and the same commands go on."""

    name: str
    question: str
    commands: tuple[tuple[str, ...], ...]
    minutes: float
    needs: tuple[str, ...] = ()
    resumable: bool = False

    @property
    def result(self) -> str:
        """The file that says whether the item is complete, in OUT."""
        return f"{self.name}/item.json"


def module(name: str, *words: str) -> tuple[str, ...]:
    return ("-m", name, *words)


def trained(name: str, question: str, method: str, *flags: str, minutes: float, paper: bool = True) -> Item:
    """Train the standard preset on CIFAR-10 and measure it on the hold-out."""
    base = ("--preset", "standard", "--dataset", "cifar10", "--method", method)
    measure = ("{run}", "--on", "holdout", *(("--paper", "90") if paper else ()))
    commands = (
        module("mnclglf_lite", "train", *base, *flags, "--out", "{run}", "--resume"),
        module("mnclglf_lite", "evaluate", *measure),
    )
    return Item(name, question, commands, minutes, ("cifar10",), True)


def engines(method: str) -> Item:
    return Item(
        f"engines-{method}",
        f"{method}: first step, steps a second, memory of the four engines; do they agree, does a step wait for the host?",
        (module("benchmarks.engines", "--methods", method, "--out", "{out}/engines.json"),),
        6.0,
    )


ITEMS = (
    Item(
        "ceilings",
        "What can the device do at most: matrix products, convolutions, a copy, a launch?",
        (module("benchmarks.ceilings", "--out", "{out}/ceilings.json"),),
        1.0,
    ),
    *(
        Item(
            f"peers-{name}",
            f"SimCLR's image views a second and peak memory: {rows.replace(',', ', ')}",
            (module("benchmarks.speed", "--methods", "simclr", "--rows", rows, "--out", "{out}/speed.json"),),
            minutes,
            needs,
        )
        for name, rows, minutes, needs in (
            ("own", "ours,ours-eager,ours-captured,ours-fp32,bare", 5.0, ()),
            ("lightly", "ours,lightly,lightly-tuned,lightly-fixed", 5.0, ("lightly",)),
            ("torchvision", "ours,torchvision", 4.0, ()),
        )
    ),
    *(
        Item(
            f"speed-{method}",
            f"Image views a second and share of the ceilings, as the package runs and bare: {method}",
            (module("benchmarks.speed", "--methods", method, "--sample", "10", "--out", "{out}/speed.json"),),
            3.0,
        )
        for method in ("mnclglf", *(name for name in METHODS[:11] if name not in ("mnclglf", "simclr")))
    ),
    Item(
        "joined-views",
        "Does it pay to send whole views through the network as one batch, each with statistics of its own?",
        tuple(
            module("benchmarks.joined_views", "--preset", "standard", "--batch", "512", *flags, "--out", "{out}/" + file)
            for flags, file in (((), "eager.json"), (("--compile",), "compiled.json"))
        ),
        3.0,
    ),
    engines("simclr"),
    engines("mnclglf"),
    *(
        trained(
            f"smoke-{method}", f"{method}: does a minute of the standard preset learn? kNN and linear, hold-out",
            method, "--minutes", "1", minutes=3.0, paper=False,
        )
        for method in METHODS[:11]  # not what a learner may have added
    ),
    Item(
        "race",
        "Seconds of SimCLR's training to 90 % kNN on CIFAR-10 (standing entry: 99 minutes on an A100)",
        (module("benchmarks.race", "--folder", "{run}", "--out", "{out}/race.json", "--epochs", "500"),),
        round(500 * 45_000 * UNITS["simclr"] * 1.11e9 / 215e12 / 60 + 3, 1),
        ("cifar10",),
        True,
    ),
    trained("c10-drawn", "MNCLGLF as drawn, 200 epochs", "mnclglf", minutes=estimated("mnclglf")),
    trained(
        "c10-released", "MNCLGLF as released, 200 epochs", "mnclglf", "--no-local-gradient", minutes=estimated("mnclglf")
    ),
    *(
        trained(f"c10-{method}", f"{what}: {method}, 200 epochs", method, minutes=estimated(method))
        for what, methods in (
            ("A yardstick", ("simclr", "supervised")),
            ("The family", ("moco", "byol", "nnclr", "simsiam", "fastmoco", "mcl", "cgh", "glnet")),
        )
        for method in methods
    ),
)  # fmt: skip

# A dry run: two steps of a tiny net at most. Later flags win over earlier ones.
SLIM = ("--batch", "64", "--steps", "2", "--width", "8", "--blocks", "1", "1", "1", "--stem", "patch", "--projector", "64",
        "32", "--predictor", "32", "--queue", "256")  # fmt: skip
DRY = {
    "benchmarks.ceilings": ("--dry",),
    "benchmarks.engines": ("--dry", "--engines", "eager"),
    "benchmarks.race": SLIM,
    "benchmarks.joined_views": ("--preset", "quick", "--batch", "8", "--rounds", "1"),
    "benchmarks.speed": (
        "--preset",
        "quick",
        "--batch",
        "16",
        "--no-compile",
        "--rounds",
        "1",
        "--seconds",
        "0.02",
        "--rows",
        "ours,bare",
    ),
}
KNOW_DEVICE = ("mnclglf_lite", "benchmarks.ceilings", "benchmarks.engines", "benchmarks.race", "benchmarks.speed")


def cut_down(command: tuple[str, ...]) -> tuple[str, ...]:
    """A command as a dry run has it: the toy box in place of CIFAR-10, and next to nothing to do."""
    words = list(command)
    if words[1:3] == ["mnclglf_lite", "train"]:
        if "--minutes" in words:
            del words[words.index("--minutes") : words.index("--minutes") + 2]
        words += ["--dataset", "toybox", *SLIM]
    if words[1:3] == ["mnclglf_lite", "evaluate"] and "--paper" in words:
        words[words.index("--paper") + 1] = "1"
    if words[1] == "benchmarks.race":
        words += ["--dataset", "toybox"]
    return (*words, *DRY.get(words[1], ()))


def lacking(item: Item, dry: bool) -> str:
    """What an item needs and this machine has not, or nothing."""
    for need in item.needs:
        if need == "cifar10" and not dry:
            try:
                if read_cifar.find_cifar(data.data_root(), "cifar10") is None:
                    return f"cifar10 in {data.data_root()}"
            except InputError as error:
                return str(error)
        elif need.endswith(".py") and not (ROOT / need).is_file():
            return need
        elif need == "lightly" and importlib.util.find_spec(need) is None:
            return need
    return ""


def read(out: Path, item: Item) -> dict[str, Any]:
    """The item's record, empty where it was never begun."""
    path = out / item.result
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError:
        return {}  # cut off: as if it had not been


def state_of(record: dict[str, Any]) -> str:
    """complete, failed, interrupted or open. One that says running was cut off with the whole call."""
    said = record.get("state", "open")
    return "interrupted" if said == "running" else said


def shorten(log: Path) -> None:
    """Keep the end of a log, from a line's beginning."""
    if log.stat().st_size > LOG_BYTES:
        with log.open("rb") as file:
            file.seek(-LOG_BYTES + 100, os.SEEK_END)
            rest = file.read().split(b"\n", 1)[-1]
        log.write_bytes(b"(the beginning is left out)\n" + rest)


class Stopped(Exception):
    """Somebody asked the queue itself to stop."""


def run_command(command: list[str], log: Path, environment: dict[str, str], until: float) -> tuple[int, bool]:
    """Run one command, its words into the log: its exit code, and whether its time was up.

    At `until` (by `time.monotonic`) it is sent SIGINT; after PATIENCE it is killed, with all that it started. An
    interrupt of the queue is passed on in the same way.
    """
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        asked = False
        try:
            child.wait(max(0.1, until - time.monotonic()))
            return child.returncode, False
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as why:
            asked = isinstance(why, KeyboardInterrupt)
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                child.wait(PATIENCE)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if asked:
        raise Stopped
    return child.returncode, True


def run_of(item: Item, args: argparse.Namespace) -> Path:
    """The item's folder for large things; that of a dry run is another, since nobody goes on with its checkpoint."""
    return (args.scratch / (f"dry-{item.name}" if args.dry else item.name)).resolve()


def commands_of(item: Item, args: argparse.Namespace) -> list[list[str]]:
    """The commands as they are run, their folders filled in."""
    places = {"{run}": str(run_of(item, args)), "{out}": str((args.out / item.name).resolve())}
    every = []
    for command in item.commands:
        words = list(cut_down(command) if args.dry else command)
        if args.device != "auto" and words[1] in KNOW_DEVICE:
            words += ["--device", args.device]
        for place, path in places.items():
            words = [word.replace(place, path) for word in words]
        every.append([sys.executable, *words])
    return every


def do(item: Item, args: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """Run an item within the time that is left and write its record; returns the record."""
    folder, run = args.out / item.name, run_of(item, args)
    folder.mkdir(parents=True, exist_ok=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    before, device, log = read(args.out, item), pick(args.device), folder / "log.txt"
    spent = before.get("seconds", 0.0) if state_of(before) == "interrupted" and before.get("dry") == args.dry else 0.0
    limit = TOO_LONG * 60 * item.minutes
    commands, begun = commands_of(item, args), time.monotonic()
    until = min(deadline - MARGIN, begun + limit - spent)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    if device.type == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""  # for commands that take no --device
    record = {
        "item": item.name,
        "question": item.question,
        "commands": [" ".join(["python", *command]) for command in item.commands],
        "dry": args.dry,
        "start": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "calls": before.get("calls", 0) + 1 if spent else 1,
        "seconds": round(spent, 1),
        "exit_code": None,
        "hardware": describe(device),
        "torch": torch.__version__,
        "commit": commit(),
        "state": "running",
        "complete": False,
    }
    checkpoint.save_json(folder / "item.json", record)
    if not spent:
        log.unlink(missing_ok=True)
    stopped = False
    try:
        for command in commands:
            record["exit_code"], out_of_time = run_command(command, log, environment, until)
            if record["exit_code"] != 0 or out_of_time:
                break
    except Stopped:
        stopped = out_of_time = True
    record["seconds"] = round(spent + time.monotonic() - begun, 1)
    if record["exit_code"] == 0 and not stopped:  # also where it ended in the very moment its time was up
        record |= {"state": "complete", "complete": True}
    elif (out_of_time or record["exit_code"] == INTERRUPTED) and record["seconds"] < limit:
        record["state"] = "interrupted"
    else:
        record["state"] = "failed"
        if record["seconds"] >= limit:
            record["why"] = f"took more than {TOO_LONG:g} times its {item.minutes:g} minutes"
    shorten(log)
    if record["state"] == "failed":
        record["last_lines"] = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    for name in ("recipe.json", "history.jsonl", "result.json"):
        if (run / name).exists():
            shutil.copyfile(run / name, folder / name)
    checkpoint.save_json(folder / "item.json", record)
    if stopped:
        raise Stopped
    return record


def turn(items: list[Item], args: argparse.Namespace) -> Iterator[tuple[Item, str]]:
    """The items to do in order, each with its state: begun ones first, since their checkpoints are here now."""
    states = [(item, state_of(read(args.out, item))) for item in items]
    # what was cut off and has to begin anew comes after what is untried: it may be cut off again
    wanted = [("interrupted", (True,)), ("open", (True, False)), ("interrupted", (False,))]
    for state, goes_on in [*wanted, *([("failed", (True, False))] if args.retry else [])]:
        yield from ((item, said) for item, said in states if said == state and item.resumable in goes_on)


def work(items: list[Item], args: argparse.Namespace) -> int:
    """Do what fits into the minutes. Returns how many items failed."""
    deadline, failed, idle = time.monotonic() + 60 * args.minutes, 0, []
    for item, _ in turn(items, args):
        left = deadline - time.monotonic()
        enough = WORTH_STARTING if item.resumable else 60 * item.minutes + MARGIN
        if left < (MARGIN if args.dry else min(enough, 60 * item.minutes + MARGIN)):
            idle.append(f"{item.name}: {left / 60:.1f} minutes are left, too few")
            continue
        if lack := lacking(item, args.dry):
            idle.append(f"{item.name}: needs {lack}")
            continue
        print(f"== {item.name}: {item.question} (about {item.minutes:g} min; {left / 60:.1f} left)", flush=True)
        record = do(item, args, deadline)
        failed += record["state"] == "failed"
        print(f"   {record['state']} after {record['seconds']:.0f} s", flush=True)
        for text in record.get("last_lines", []):
            print(f"   | {text}", flush=True)
    for text in idle:
        print(f"-- {text}")
    return failed


def listing(items: list[Item], args: argparse.Namespace) -> str:
    """One line an item: what it is and how it stands."""
    lines = []
    for item in items:
        record = read(args.out, item)
        state = state_of(record) + (" (dry)" if record.get("dry") else "")
        lack = "" if state == "complete" else lacking(item, args.dry)
        note = f", needs {lack}" if lack else ""
        took = f", {record['seconds']:.0f} s on {record['hardware']}" if record else ""
        lines.append(f"{item.name:18s} {item.minutes:5.1f} min  {state}{took}{note}")
    return "\n".join(lines)


def page() -> str:
    """gpu_queue.md, from the list above."""
    lines = [
        "# GPU queue",
        "",
        "Written by `python -m benchmarks.gpu_queue --write` from the list in `benchmarks/gpu_queue.py`. One command does",
        "what comes next and fits, keeps its records in `data/runs/gpu/NAME/`, and goes on where it stopped:",
        "",
        "```",
        "python -m benchmarks.gpu_queue --minutes 9 --data FOLDER",
        "```",
        "",
        "CIFAR-10 must lie in FOLDER: `mnclglf-lite fetch cifar10 --data FOLDER`. The minutes are estimates, for an H100,",
        "made before anything ran on a GPU; the `standard` settings are customary, and most have not been trained with.",
        "In the commands, {run} is the item's folder for large things (`--scratch`), {out} that for its records (`--out`).",
        "What is done so far: `--list`. The records are small. On a borrowed machine, put those of earlier calls into",
        "`data/runs/gpu` first, so that nothing is done twice, and carry the folder home afterwards, packed:",
        "`tar czf gpu.tgz -C data/runs gpu`.",
        "",
    ]
    for number, item in enumerate(ITEMS, start=1):
        needs = f"; needs {', '.join(item.needs)}" if item.needs else ""
        lines += [f"{number}. **{item.name}** (about {item.minutes:g} min{needs}). {item.question}", "", "   ```"]
        lines += [f"   python {' '.join(command)}" for command in item.commands]
        lines += ["   ```", ""]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--minutes", type=float, default=9.0, help="of this call, wall clock (default: 9)")
    flags.add_argument("--list", action="store_true", help="show how each item stands")
    flags.add_argument("--write", action="store_true", help="write gpu_queue.md")
    flags.add_argument("--only", action="append", metavar="NAME", help="this item alone; may be given again")
    flags.add_argument("--retry", action="store_true", help="try failed items again, after the others (default: off)")
    flags.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"records, small (default: {OUT})")
    flags.add_argument("--scratch", type=Path, default=SCRATCH, metavar="DIR", help=f"runs, large (default: {SCRATCH})")
    flags.add_argument("--data", type=Path, metavar="DIR", help="where CIFAR-10 lies (default: see mnclglf-lite doctor)")
    flags.add_argument("--device", default="auto", help="auto, cuda, or cpu with --dry (default: auto)")
    flags.add_argument("--dry", action="store_true", help="two steps of a tiny net, toy box for CIFAR-10 (default: off)")
    return flags


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    names = [item.name for item in ITEMS]
    for name in args.only or []:
        if name not in names:
            raise unknown("item", name, names)
    items = [item for item in ITEMS if not args.only or item.name in args.only]
    if args.data:
        os.environ["MNCLGLF_LITE_DATA"] = str(args.data.resolve())  # all that is started looks there
    if args.write:
        PAGE.write_text(page())
        print(f"written to {PAGE}")
        return 0
    if args.list:
        print(listing(items, args))
        return 0
    if not args.dry and pick(args.device).type != "cuda":
        raise InputError("the queue is made for a CUDA GPU, and none is used here; to see that it runs: --device cpu --dry")
    if args.dry and args.out == OUT:
        raise InputError(f"a dry run is no result: give it another folder than {OUT} (--out DIR --scratch DIR)")
    if not args.minutes * 60 > MARGIN:
        raise InputError(f"minutes must be more than the {MARGIN:g} s that are kept for stopping; got {args.minutes:g}")
    # where the queue is started in the background, SIGINT may be ignored, and what it starts would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return 1 if work(items, args) else 0
    except (Stopped, KeyboardInterrupt):
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as problem:
        print(f"gpu_queue: {problem}", file=sys.stderr)
        sys.exit(2)
