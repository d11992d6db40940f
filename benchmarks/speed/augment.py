"""Views a second: the whole batch at once (ours) against torchvision image by image, the same operations.

    python -m benchmarks.speed.augment

Images of 32x32, batch 512, the full chain of `view.View`: crop, flip, jitter, grey, blur, normalise, each with the same
probability and strength for all. torchvision is given its best: images held in memory, and of these the fastest: PIL or v2
on tensors, a DataLoader with 0, 1 or 2 workers (at most one a core), or the bare loop of one core times the number of cores,
as if copying results between processes cost nothing. Blocks of all rows alternate; medians of the rounds.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms as pil
from torchvision.transforms import v2

from benchmarks import page, timing
from benchmarks.speed import peers
from mnclglf_lite.data import toybox
from mnclglf_lite.views.crops import crop_resize
from mnclglf_lite.views.view import MEAN, STD, View, ViewParams, render_view, sample_params

BATCH, SIDE, IMAGES = 512, 32, 4096
VIEW = View()
CHAINS = ("whole chain", "crop alone")


def chain(kind: Any, view: View, crop_only: bool) -> Callable:
    """torchvision's transforms for one image; `kind` is `torchvision.transforms` (PIL) or its `v2` (tensors)."""
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


def looped(images: peers.Images) -> Callable[[], int]:
    """A block on one core, no loader: counted as `cores` times as many views, as if all cores did the same undisturbed."""
    cores = os.cpu_count() or 1

    def block() -> int:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for at in range(BATCH):
            images[at]
        torch.set_num_threads(threads)
        return BATCH * cores

    return block


def loaded(images: peers.Images, workers: int) -> Callable[[], int]:
    """A block: two passes of a DataLoader that keeps its workers. The first batches fill the pipe and are not timed."""
    twice = torch.utils.data.ConcatDataset([images, images])
    loader = DataLoader(twice, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda: sum(len(views) for views, _ in loader)


def rows(images: Tensor, crop_only: bool, most_workers: int) -> dict[str, Callable[[], int]]:
    """Name -> a block that makes views and returns how many."""
    made = {"ours, eager": ours(images, crop_only, False), "ours, compiled": ours(images, crop_only, True)}
    kinds = {"PIL": (pil, "pillow"), "v2 on tensors": (v2, "tensor")}
    for name, (kind, keep) in kinds.items():
        kept = peers.Images(images, chain(kind, VIEW, crop_only), keep)
        made[f"torchvision {name}, bare loop x cores"] = looped(kept)
        for workers in range(most_workers + 1):
            made[f"torchvision {name}, {workers} workers"] = loaded(kept, workers)
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
        "Making views, against torchvision image by image", page.as_today(found["command"], __name__), *parts
    )


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure both chains, print, write."""
    parser = timing.parser(__doc__, out="augment.json")
    parser.add_argument("--rounds", type=int, default=7, help="blocks of every row (default: 7)")
    parser.add_argument("--pictures", type=int, default=IMAGES, help=f"in memory (default: {IMAGES})")
    args = parser.parse_args(argv)
    images = toybox.draw(args.pictures, 0)[0]
    result: dict[str, Any] = {
        "what": f"views a second, {SIDE}x{SIDE}, batch {BATCH}, medians of {args.rounds} alternating blocks",
        "command": f"python -m benchmarks.speed.augment --rounds {args.rounds} --pictures {args.pictures}",
        **timing.stamp(torch.device("cpu")),
        "chains": {},
    }
    result["versions"]["torchvision"] = torchvision.__version__
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
