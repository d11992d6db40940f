"""What to run whenever a CUDA GPU is at hand, in order; one command does the next of it.

    python -m benchmarks.gpu_queue --minutes 9            the next items that fit into nine minutes
    python -m benchmarks.gpu_queue --list                 what is done, what is next
    python -m benchmarks.gpu_queue --write                write gpu_queue.md from the list in gpu_items.py
    python -m benchmarks.gpu_queue --device cpu --dry     every item cut down to two steps, to see that it runs

An item is finished when OUT/NAME/item.json says complete. It says the commands, when and for how long they ran, how
they ended, on what; beside it lie log.txt (the end of all that was printed) and what the item wrote. Large things, runs with
their checkpoints, live in --scratch. A training run is interrupted when the time is nearly up and goes on in the next call
from its checkpoint, if that is still there, and else from the start. An item that fails is marked, with its last lines, and
left alone until --retry; the queue goes on. One that trains with what others choose waits for them. Nothing but torch,
torchvision and numpy is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from benchmarks.gpu_items import CHOICES, ITEMS, PAGE, Item, page
from benchmarks.timing import ROOT, commit
from mnclglf_lite.core.device import describe_device, pick_device
from mnclglf_lite.core.errors import InputError, unknown
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data import cifar, dataset, image_folders
from mnclglf_lite.recipe.presets import preset

OUT, SCRATCH = Path("data/runs/gpu"), Path("runs/gpu")
LOG_BYTES = 200_000  # of an item's log, its end
LAST_LINES = 12  # of a failed item's log, in its record
MARGIN = 45.0  # seconds before the end of a call at which an item is interrupted: a step, a checkpoint, a copy
PATIENCE = 35.0  # seconds that an interrupted command has to end by itself
WORTH_STARTING = 90.0  # seconds that must be left for a run that can go on later: less is spent compiling
TOO_LONG = 4.0  # times its stated minutes, over all calls: then an item has failed, and blocks the queue no more
INTERRUPTED = 130  # the exit code of a command that was interrupted and kept what it had

# A dry run: two steps of a tiny net at most. Later flags win over earlier ones. A setting: its flag's words
SLIM = {
    "batch_size": "--batch-size 64", "steps": "--steps 2", "width": "--width 8", "blocks": "--blocks 1 1 1",
    "stem": "--stem patch", "projector": "--projector 64 32", "predictor_hidden": "--predictor-hidden 32",
    "queue": "--queue 256", "view": "--view-size 32", "eval_size": "--eval-size 0",
}  # fmt: skip
DRY = {
    "benchmarks.ceilings": ("--dry",),
    "benchmarks.engines": ("--dry", "--engines", "eager"),
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


def slim(words: list[str]) -> list[str]:
    """Flags for a tiny net: those of SLIM that the command's method has."""
    recipe = preset("quick", words[words.index("--method") + 1])
    return [word for name, flag in SLIM.items() if recipe.reads(name) for word in flag.split()]


def cut_down(command: tuple[str, ...]) -> tuple[str, ...]:
    """A command as a dry run has it: the toy box in place of CIFAR-10, and next to nothing to do."""
    words = list(command)
    if words[1:3] == ["mnclglf_lite", "train"]:
        for flag in ("--minutes", "--epochs"):  # each would say the length once more
            if flag in words:
                del words[words.index(flag) : words.index(flag) + 2]
        words += ["--dataset", "toybox", *slim(words)]
    if words[1:3] == ["mnclglf_lite", "evaluate"] and "--paper" in words:
        words[words.index("--paper") + 1] = "1"
    if words[1] == "benchmarks.race":
        words += ["--dataset", "toybox", *slim(words)]
    return (*words, *DRY.get(words[1], ()))


@functools.cache
def lacking_pictures(name: str, root: Path) -> str:
    """What is wrong with a published image set in `root`, or nothing."""
    try:
        if name == "tinyimagenet":
            image_folders.find_tinyimagenet(root)
        elif cifar.find_cifar(root, name) is None:
            return f"{name} in {root}"
    except InputError as error:
        return str(error)
    return ""


def lacking(item: Item, args: argparse.Namespace) -> str:
    """What an item needs and has not, here or from items before it, or nothing."""
    for need in item.needs:
        if need in ("cifar10", "cifar100", "tinyimagenet"):
            if lack := "" if args.dry else lacking_pictures(need, dataset.data_root()):
                return lack
        elif need.endswith(".py") and not (ROOT / need).is_file():
            return need
        elif need == "lightly" and importlib.util.find_spec(need) is None:
            return need
    for place in item.places:
        if not chosen(place, args):
            return f"{place}, of {', '.join(CHOICES[place].values())}"
    return ""


def chosen(place: str, args: argparse.Namespace) -> str:
    """The word that stands at a place of CHOICES: its item has the best kNN (k 20) on the hold-out.

    Nothing while one of the items is to come; one that failed has lost. A dry run has no results: the first word. A choice
    is made once and kept, with what spoke for it, in OUT/choices.json: whatever is retried, all that waits trains alike.
    """
    if args.dry:
        return next(iter(CHOICES[place]))
    path, found = args.out / "choices.json", {}
    kept = json.loads(path.read_text()) if path.exists() else {}
    if place in kept:
        return kept[place]["word"]
    for word, name in CHOICES[place].items():
        state = state_of(read(args.out, name))
        if state == "complete":
            row = list(json.loads((args.out / name / "result.json").read_text())["rows"].values())[-1]
            found[word] = row["knn20"]["raw"]["top1"]
        elif state != "failed":
            return ""
    if not found:
        return ""
    word = max(found, key=found.__getitem__)
    save_json(path, kept | {place: {"word": word, "knn20": found}})
    return word


def read(out: Path, name: str) -> dict[str, Any]:
    """An item's record, empty where it was never begun."""
    path = out / name / "item.json"
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


def decided(item: Item, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """The commands with what other items have chosen."""
    words = {place: chosen(place, args) for place in item.places}
    return [tuple(words.get(word, word) for word in command) for command in item.commands]


def commands_of(item: Item, args: argparse.Namespace) -> list[list[str]]:
    """The commands as they are run, their folders filled in."""
    places = {"{run}": str(run_of(item, args)), "{out}": str((args.out / item.name).resolve())}
    every = []
    for command in decided(item, args):
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
    before, device, log = read(args.out, item.name), pick_device(args.device), folder / "log.txt"
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
        "commands": [" ".join(["python", *command]) for command in decided(item, args)],
        "dry": args.dry,
        "start": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "calls": before.get("calls", 0) + 1 if spent else 1,
        "seconds": round(spent, 1),
        "exit_code": None,
        "hardware": describe_device(device),
        "torch": torch.__version__,
        "commit": commit(),
        "state": "running",
        "complete": False,
    }
    save_json(folder / "item.json", record)
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
    save_json(folder / "item.json", record)
    if stopped:
        raise Stopped
    return record


def turn(items: list[Item], args: argparse.Namespace) -> Iterator[tuple[Item, str]]:
    """The items to do in order, each with its state: begun ones first, since their checkpoints are here now."""
    states = [(item, state_of(read(args.out, item.name))) for item in items]
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
        if lack := lacking(item, args):
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
        record = read(args.out, item.name)
        state = state_of(record) + (" (dry)" if record.get("dry") else "")
        lack = "" if state == "complete" else lacking(item, args)
        note = f", needs {lack}" if lack else ""
        took = f", {record['seconds']:.0f} s on {record['hardware']}" if record else ""
        lines.append(f"{item.name:26s} {item.minutes:5.1f} min  {state}{took}{note}")
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
    if not args.dry and pick_device(args.device).type != "cuda":
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
    timing.program(main, "gpu_queue")
