"""Views a second: the whole batch at once (ours) against torchvision picture by picture, the same operations.

    python -m benchmarks.speed.augment

Pictures of 32x32, batch 512, the full chain of `view.View`: crop, flip, jitter, grey, blur, normalise, each with the same
probability and strength for all. torchvision is given its best: pictures held in memory, and of these the fastest: PIL or v2
on tensors, a DataLoader with 0, 1 or 2 workers (at most one a core), or the bare loop of one core times the number of cores,
as if copying results between processes cost nothing. Blocks of all rows alternate; medians of the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as pil
from torchvision.transforms import v2
from torchvision.transforms.functional import to_pil_image

from benchmarks import page, timing
from mnclglf_lite import __version__
from mnclglf_lite.core.device import describe_device
from mnclglf_lite.data import toybox
from mnclglf_lite.views.crops import crop_resize
from mnclglf_lite.views.view import MEAN, STD, View, ViewParams, render_view, sample_params

OUT = timing.RUNS / "augment.json"
BATCH, SIDE, PICTURES = 512, 32, 4096
VIEW = View()
CHAINS = ("whole chain", "crop alone")


def chain(kind: Any, view: View, crop_only: bool) -> Callable:
    """torchvision's transforms for one picture; `kind` is `torchvision.transforms` (PIL) or its `v2` (tensors)."""
    steps = [kind.RandomResizedCrop(view.size, view.scale, view.ratio, antialias=True)]
    if not crop_only:
        steps += [
            kind.RandomApply([kind.ColorJitter(*view.jitter)], view.jitter_p),
            kind.RandomGrayscale(view.gray_p),
            kind.RandomApply([kind.GaussianBlur(3, view.blur_sigma)], view.blur_p),
            kind.RandomHorizontalFlip(view.flip_p),
        ]
    to_unit = [pil.ToTensor()] if kind is pil else [v2.ToDtype(torch.float32, scale=True)]
    return kind.Compose(steps + to_unit + ([] if crop_only else [kind.Normalize(MEAN, STD)]))


class Pictures(Dataset):
    """Pictures in memory, one transform: what a DataLoader draws from."""

    def __init__(self, pictures: list, transform: Callable):
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, at: int) -> Tensor:
        return self.transform(self.pictures[at])


def ours(images: Tensor, crop_only: bool, compiled: bool) -> Callable[[], int]:
    """A block: eight batches of views; returns how many views."""
    draws = torch.Generator().manual_seed(0)

    def crop(batch: Tensor, view: View, draw: ViewParams) -> Tensor:
        return crop_resize(batch, draw.boxes, view.size, view.interpolation)

    make = crop if crop_only else render_view
    make = torch.compile(make, dynamic=False) if compiled else make

    def block() -> int:
        for at in range(0, len(images), BATCH):
            draw = sample_params(VIEW, BATCH, (SIDE, SIDE), draws)
            make(images[at : at + BATCH], VIEW, draw)
        return len(images)

    return block


def looped(pictures: list, transform: Callable) -> Callable[[], int]:
    """A block on one core, no loader: counted as `cores` times as many views, as if all cores did the same undisturbed."""
    cores = os.cpu_count() or 1

    def block() -> int:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for picture in pictures[:BATCH]:
            transform(picture)
        torch.set_num_threads(threads)
        return BATCH * cores

    return block


def loaded(pictures: list, transform: Callable, workers: int) -> Callable[[], int]:
    """A block: one pass of a DataLoader that keeps its workers. The first batches fill the pipe and are not timed."""
    loader = DataLoader(
        Pictures(pictures * 2, transform), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def block() -> int:
        return sum(len(batch) for batch in loader)

    return block


def rows(images: Tensor, crop_only: bool, most_workers: int) -> dict[str, Callable[[], int]]:
    """Name -> a block that makes views and returns how many."""
    made = {"ours, eager": ours(images, crop_only, False), "ours, compiled": ours(images, crop_only, True)}
    kinds = {"PIL": (pil, [to_pil_image(image) for image in images]), "v2 on tensors": (v2, list(images))}
    for name, (kind, pictures) in kinds.items():
        transform = chain(kind, VIEW, crop_only)
        made[f"torchvision {name}, bare loop x cores"] = looped(pictures, transform)
        for workers in range(most_workers + 1):
            made[f"torchvision {name}, {workers} workers"] = loaded(pictures, transform, workers)
    return made


def measure(blocks: dict[str, Callable[[], int]], rounds: int, log: Callable[[str], None] = print) -> dict[str, list[float]]:
    """Views a second of every row, one block of each in turn; the first round warms up and is not counted."""
    found: dict[str, list[float]] = {name: [] for name in blocks}
    for at in range(rounds + 1):
        for name, block in blocks.items():
            begun = time.perf_counter()
            made = block()
            if at:
                found[name].append(made / (time.perf_counter() - begun))
        log(f"round {at} of {rounds}")
    return found


def render(found: dict[str, Any], name: str) -> str:
    parts = []
    for title, chain in found["chains"].items():
        lines = []
        for row, value in chain["median"].items():
            each = chain["views_per_second"][row]
            lines.append([row, f"{value:,.0f}", f"{min(each):,.0f} to {max(each):,.0f}", f"{chain['ratio'][row]:.2f}"])
        fastest = f"over the fastest of torchvision ({chain['fastest_peer'].split(' ', 1)[1]})"
        parts.append(page.table([title, "views/s", "range", fastest], lines))
    versions = found["versions"]
    parts.append(
        f"{found['what']}; {found['hardware']}; torch {versions['torch']}, torchvision {versions['torchvision']}. The same "
        "operations with the same probabilities and strengths. That boxes and draws have torchvision's distributions is "
        "tested (`tests/views/test_crops.py`, `tests/views/test_view.py`)."
    )
    return page.section(
        "Making views, against torchvision picture by picture", page.as_today(found["command"], __name__), *parts
    )


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure both chains, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="blocks of every row (default: 7)")
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"in memory (default: {PICTURES})")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FILE", help="where to write (default: data/runs/augment.json)"
    )
    args = parser.parse_args(argv)
    images = toybox.draw(args.pictures, 0)[0]
    result: dict[str, Any] = {
        "what": f"views a second, {SIDE}x{SIDE}, batch {BATCH}, medians of {args.rounds} alternating blocks",
        "command": f"python -m benchmarks.speed.augment --rounds {args.rounds} --pictures {args.pictures}",
        "hardware": describe_device(torch.device("cpu")),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "mnclglf_lite": __version__,
        },
        "chains": {},
    }
    for name in CHAINS:
        crop_only = name == "crop alone"
        found = measure(rows(images, crop_only, os.cpu_count() or 1), args.rounds)
        medians = {row: statistics.median(values) for row, values in found.items()}
        peer = max((row for row in medians if row.startswith("torchvision")), key=medians.__getitem__)
        ratios = {row: medians[row] / medians[peer] for row in medians}
        result["chains"][name] = {"views_per_second": found, "median": medians, "fastest_peer": peer, "ratio": ratios}
        print(f"\n{name}: views a second, and over {peer}")
        for row, value in medians.items():
            print(f"  {row:42s} {value:9,.0f}  ({min(found[row]):,.0f} to {max(found[row]):,.0f})  {ratios[row]:6.2f}")
    timing.save(args.out, result)
    return result


if __name__ == "__main__":
    timing.program(main, "augment")
