"""Which settings make the most of a few minutes on two cores? SimCLR and the slim net on CIFAR-10, asked on the hold-out.

    OMP_NUM_THREADS=1 python -m benchmarks.five_minutes --data DIR --share 1/2      and 2/2 beside it: an hour
    python -m benchmarks.five_minutes --data DIR                                    puts together what they left

A trial is the quick recipe with some flags of `mnclglf-lite train` on top; all have the seed 0. Its steps are such that
trials of different sizes take about as long, some four minutes on one core. Later trials begin with what earlier ones had
found. The six seeds of MNCLGLF in data/runs/ablation/forms lie up to two points apart: what is closer, one seed does not
tell.

A trial that stands in data/runs/five-minutes-trials.json is not made again; one that is interrupted begins anew. With a
share trials go into a file beside it, until a call without a share. The run of five minutes itself is made with the command
line, by the best flags: `benchmarks/results.md` has both.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.ablation import share
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data import dataset
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.evaluation import evaluate
from mnclglf_lite.recipe.flags import add_recipe_flags, recipe_from
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training import train

OUT = timing.ROOT / "data" / "runs" / "five-minutes-trials.json"
RENAMED = {"--batch": "--batch-size", "--grow": "--progressive-sizes"}  # flags of older trials: theirs today
WIDE = "--width 32 --temperature 0.15"
TRIALS: dict[str, int] = {  # flags: steps; in the order in which they were made
    "": 1400,
    "--width 32": 1166,
    "--lr 0.6": 1400,
    "--temperature 0.15": 1400,
    "--batch-size 512": 700,
    "--width 32 --view-size 32": 769,
    "--progressive-sizes 16 24 32": 1400,
    "--progressive-sizes 16 24": 1794,
    "--view-scale 0.3 1": 1400,
    "--projector 512 512 128": 1359,
    "--weight-decay 1e-3": 1400,
    "--temperature 0.3": 1400,
    "--temperature 0.15 --lr 0.6 --batch-size 128": 2641,
    "--temperature 0.1 --lr 0.6": 1400,
    "--temperature 0.15 --lr 1": 1400,
    "--temperature 0.15 --lr 0.6": 1400,
    "--temperature 0.15 --lr 0.6 --view-size 20": 1866,
    f"{WIDE} --lr 0.6": 1166,
    f"{WIDE} --lr 0.6 --progressive-sizes 16 24": 1505,
    f"{WIDE} --lr 0.6 --view-size 16": 2121,
    "--temperature 0.15 --lr 2": 1400,
    f"{WIDE} --lr 1 --weight-decay 1e-3": 1166,
    f"{WIDE} --lr 1.5 --view-scale 0.3 1": 1166,
    "--temperature 0.1 --lr 1.5": 1400,
    f"{WIDE} --lr 1 --view-scale 0.3 1 --progressive-sizes 16 24": 1463,
    f"{WIDE} --lr 1 --view-scale 0.3 1 --view-size 16": 2000,
    f"{WIDE} --lr 1 --view-scale 0.4 1 --progressive-sizes 16 24": 1463,
    "--width 48 --temperature 0.15 --lr 1 --view-scale 0.3 1 --view-size 16": 1224,
    f"{WIDE} --lr 1 --view-scale 0.3 1 --progressive-sizes 16 24 --view-jitter 0.3 0.3 0.3 0.07": 1463,
    f"{WIDE} --lr 1 --view-scale 0.3 1 --progressive-sizes 16 24 --view-jitter 0.6 0.6 0.6 0.15": 1463,
}


def flags_of(row: dict[str, Any]) -> str:
    """A kept trial's flags as they are called today."""
    return " ".join(RENAMED.get(word, word) for word in row["flags"].split())


def recipe_of(words: str, steps: int) -> Recipe:
    """SimCLR's quick recipe with flags on top."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(preset="quick", dataset="cifar10")
    add_recipe_flags(parser)
    return recipe_from(parser.parse_args(shlex.split(words)), "simclr", steps=steps)


def trial(words: str, splits: dataset.Splits) -> dict[str, Any]:
    """Train by these flags and ask the hold-out."""
    run = train.train(recipe_of(words, TRIALS[words]), splits, engine="eager", device="cpu")
    if not run.finished:
        raise KeyboardInterrupt
    found = evaluate.evaluate(run.backbone, splits, "holdout", transforms=("raw", "whitened"), linear=False)
    shares = {transform: found["knn20"][transform]["top1"] for transform in ("raw", "whitened")}
    return {"flags": words, "steps": run.step, "train_seconds": round(run.seconds, 1), "knn20": shares,
            **timing.stamp(splits.train.device)}  # fmt: skip


def part(which: int, of: int) -> Path:
    """Where a process among several keeps its trials."""
    return OUT.with_name(f"{OUT.stem}-{which}-of-{of}.json")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="where CIFAR-10 lies")
    parser.add_argument("--share", type=share, default=(1, 1), metavar="K/N", help="of N processes' trials those of the Kth")
    args = parser.parse_args(argv)
    (which, of), splits = args.share, load_dataset("cifar10", root=args.data)
    parts = sorted(OUT.parent.glob(f"{OUT.stem}-*-of-*.json"))
    rows = [row for each in (*parts, OUT) if each.exists() for row in json.loads(each.read_text())["rows"]]
    rows = [row | {"flags": flags_of(row)} for row in rows]
    kept = {row["flags"]: row for row in rows if row["steps"] == TRIALS.get(row["flags"])}  # others are of older trials
    mine, path = list(TRIALS)[which - 1 :: of], OUT if of == 1 else part(which, of)
    said = {"what": "SimCLR, the slim net, trials of a few minutes", "dataset": splits.train.name, "on": "holdout"}
    said |= {"bank": len(splits.train), "queries": len(splits.holdout), "seed": 0, "protocol": "knn20"}

    def save() -> None:
        save_json(path, said | {"rows": [kept[each] for each in mine if each in kept]})

    for words in mine:
        if words not in kept:
            print(f"\n{words or 'the quick recipe'}: {TRIALS[words]:,} steps", flush=True)
            kept[words] = trial(words, splits)
            print(f"kNN {100 * kept[words]['knn20']['raw']:.2f} %", flush=True)
            save()
    if of == 1 and parts:
        save()
        for each in parts:
            each.unlink()


if __name__ == "__main__":
    timing.program(main, "five_minutes")
