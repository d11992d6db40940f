"""What 8 and 64 GPUs would bring, on paper: bytes and messages counted from the methods' own code, times from assumptions.

python benchmarks/ranks_on_paper.py [--seconds simclr=0.08 moco=0.09 ...] [--measured FILE.json]

Nothing here was measured on more than one GPU: every figure of the table is a prediction. Writes ranks_on_paper.json.

    counted      learnable parameters; what `distributed.all_gather_rows` is given, in float32; BatchNorm calls and their
                 channels; FLOPs of the losses, which every rank computes for its own anchors against the whole batch
    given        seconds of a step of 512 pictures on one GPU: --seconds, or a JSON file of {method: seconds}. Where neither
                 says it, FLOPs over an assumed rate stand in, and the table says "assumed"
    assumed      the constants below, and that the compute shrinks with a rank's pictures down to what the host needs

    bytes that a rank sends       all-reduce of B bytes: 2 B (W - 1) / W            gather of B bytes in all: B (W - 1) / W
                                  a gather with gradient: both, since its backward pass is an all-reduce
    seconds                       compute + loss + gathers + norms + gradients      the last may hide behind the backward
                                                                                    pass: hence two figures for each row
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from mnclglf_lite.core.files import save_json
from mnclglf_lite.models.batchnorm import SplitBatchNorm
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.training.cost import step_flops

ASKED = ("simclr", "moco", "byol", "mnclglf")
A_GPU = 512  # pictures, of one GPU in weak scaling, and of all in strong scaling
# Assumptions, each from the makers' data sheets and customary experience, none measured here:
BANDWIDTH = {8: 450e9 * 0.7, 64: 50e9 * 0.8}  # bytes/s a rank: NVLink 4, 450 GB/s a direction; 400 Gb/s InfiniBand a GPU
LATENCY = {8: 20e-6, 64: 50e-6}  # s a small collective, with its launch: inside a machine; over eight of them
NETWORK_RATE = 100e12  # FLOP/s that ResNet-18 at 32 pixels reaches in bf16 on an H100; only where no seconds are given
LOSS_RATE = 30e12  # FLOP/s of float32 products (peak 67e12 without TF32)
HOST_SECONDS = 0.02  # an eager step is no shorter: the host has so many kernels to launch


def known(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with those of the changes that its method has."""
    return recipe.replace(**{name: value for name, value in changes.items() if recipe.reads(name)})


def recipe_for(method: str, world: int, batch: int) -> Recipe:
    """`standard`, with what many ranks ask for: a queue that the batch divides, and as many bn_splits as ranks."""
    recipe = preset("standard", method, "cifar10", batch_size=A_GPU)
    changes: dict[str, Any] = {"batch_size": batch}
    if recipe.reads("queue"):
        changes["queue"] = math.ceil(recipe.method.queue / batch) * batch
    if recipe.method.bn_splits > 1:
        changes["bn_splits"] = max(recipe.method.bn_splits, world)
    return recipe.replace(**changes)


@cache
def count(name: str) -> dict[str, float]:
    """What one step of a method sends, counted on four images: bytes an image, messages and their bytes."""
    recipe = recipe_for(name, 1, A_GPU)
    method = build_method(known(recipe, bn_splits=min(2, recipe.method.bn_splits)), 10)
    images = 4
    gathered, norms = [], []

    def note(x: torch.Tensor) -> torch.Tensor:
        gathered.append((x.numel() * x.element_size(), x.requires_grad))
        return x

    def called(module: nn.Module, given: Any, out: torch.Tensor) -> None:
        norms.append((module.num_features, out.requires_grad and not isinstance(module, SplitBatchNorm)))

    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(called)
    method.generator = torch.Generator().manual_seed(0)
    x = [torch.zeros(images, 3, view.size, view.size) for view in method.views]
    with ExitStack() as stack:
        for place in [name for name, module in sys.modules.items() if hasattr(module, "all_gather_rows")]:
            if place.startswith("mnclglf_lite."):
                stack.enter_context(mock.patch(f"{place}.all_gather_rows", note))
        method.after_step(method(x, torch.zeros(images, dtype=torch.long)))
    return {
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "gathered_bytes_an_image": sum(size * (3 if back else 1) for size, back in gathered) / images,
        "gathers": len(gathered) + sum(back for _, back in gathered),
        "norm_messages": len(norms) + sum(back for _, back in norms),
        "norm_bytes": sum(4 * 2 * channels * (1 + back) for channels, back in norms),
    }


def loss_flops(recipe: Recipe, own: int, batch: int) -> float:
    """FLOPs of the losses and look-ups of a rank: b n N + c n K for n own images of N, and a queue of K.

    In one process n is N, and networks cost a N. So three counts of the whole step, with networks as small as can be, tell
    b and c.
    """
    small = {"width": 2, "blocks": (1,), "bn_splits": 1, "batch_size": 2}
    slim = known(recipe, **small)
    sizes = ((2, 4), (4, 4), (2, 8))
    one, wider, longer = (step_flops(build_method(known(slim, queue=k), 10), n) for n, k in sizes)
    b, c = (wider - 2 * one) / 8, (longer - one) / 8
    return b * own * batch + c * own * getattr(recipe.method, "queue", 0)


def predict(name: str, seconds: float, world: int, batch: int) -> dict[str, float]:
    """One row: the seconds of a step and its speed-up on `world` GPUs, with gradients hidden or not."""
    own, found = batch // world, count(name)
    # The share of one GPU's step that `compute` takes has its losses in it: what is missing are the rows of the others
    more = loss_flops(recipe_for(name, world, batch), own, batch) - loss_flops(recipe_for(name, 1, A_GPU), own, A_GPU)
    share = (world - 1) / world
    wire, wait = BANDWIDTH[world], LATENCY[world]
    row = {
        "compute": max(HOST_SECONDS, seconds * own / A_GPU),
        "loss": more / LOSS_RATE,
        "gathers": found["gathered_bytes_an_image"] * batch * share / wire + (found["gathers"] + 1) * wait,  # 1: scalars
        "norms": found["norm_bytes"] * world * share / wire + found["norm_messages"] * wait,
        "gradients": found["parameters"] * 4 * 2 * share / wire,
    }
    hidden = row["compute"] * 2 / 3  # the backward pass is two thirds of the work
    slow = sum(row.values())
    fast = slow - min(row["gradients"], hidden)
    one = batch / A_GPU * seconds
    return {
        "world": world, "batch": batch, **found, **row, "seconds_worst": slow, "seconds_best": fast,
        "speedup_worst": one / slow, "speedup_best": one / fast,
    }  # fmt: skip


def given_seconds(args: argparse.Namespace) -> dict[str, tuple[float, str]]:
    """Seconds of a step of 512 pictures on one GPU, and where they come from."""
    measured = json.loads(args.measured.read_text()) if args.measured else {}
    measured |= {name: float(value) for name, value in (pair.split("=") for pair in args.seconds)}
    found = {}
    for name in ASKED:
        if name in measured:
            found[name] = (float(measured[name]), "given")
        else:
            method = build_method(known(preset("standard", name, "cifar10"), bn_splits=1), 10)
            found[name] = (step_flops(method, 2) / 2 * A_GPU / NETWORK_RATE, "assumed")
    return found


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", nargs="*", default=[], metavar="METHOD=S", help="a step of 512 pictures on one GPU")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="JSON of {method: seconds}, for the same")
    rows = []
    print("PREDICTIONS from counted bytes and assumed links; nothing here was measured on more than one GPU\n")
    print("method    scaling  GPUs   batch   grad MB  gathered MB  norm messages   step s, worst - best   times one GPU")
    for name, (seconds, source) in given_seconds(parser.parse_args()).items():
        print(f"{name:9} one GPU     1  {A_GPU:6d}  {'':45}{seconds:.4f} ({source})")
        for scaling in ("weak", "strong"):
            for world in BANDWIDTH:
                row = predict(name, seconds, world, A_GPU * world if scaling == "weak" else A_GPU)
                rows.append({"method": name, "scaling": scaling, "one_gpu_seconds": seconds, "source": source, **row})
                print(
                    f"{name:9} {scaling:7} {world:5d}  {row['batch']:6d}  {row['parameters'] * 4e-6:8.1f}  "
                    f"{row['gathered_bytes_an_image'] * row['batch'] * 1e-6:11.1f}  {row['norm_messages']:13d}   "
                    f"{row['seconds_worst']:9.4f} - {row['seconds_best']:.4f}   "
                    f"{row['speedup_worst']:6.1f} - {row['speedup_best']:.1f}"
                )
    assumed = {
        "bandwidth": BANDWIDTH, "latency": LATENCY, "network_rate": NETWORK_RATE, "loss_rate": LOSS_RATE,
        "host_seconds": HOST_SECONDS,
    }  # fmt: skip
    note = "predictions from counted bytes and assumed links; nothing was measured on more than one GPU"
    save_json(Path(__file__).with_suffix(".json"), {"what": note, "assumed": assumed, "rows": rows})


if __name__ == "__main__":
    main()
