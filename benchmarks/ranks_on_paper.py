"""What 8 and 64 GPUs would bring, on paper: bytes and messages counted from the methods' own code, times from assumptions.

python benchmarks/ranks_on_paper.py [--seconds simclr=0.08 moco=0.09 ...] [--measured FILE.json]

Nothing here was measured on more than one GPU: every figure of the table is a prediction. Writes ranks_on_paper.json.

    counted      learnable parameters; what `all_gather_rows` is given; BatchNorm calls and their channels; FLOPs of the
                 losses, which every rank computes for the whole batch
    given        seconds of a step of 512 pictures on one GPU: --seconds, or a JSON file of {method: seconds}. Where neither
                 says it, FLOPs over an assumed rate stand in, and the table says "assumed"
    assumed      the constants below, and that the compute shrinks with a rank's pictures down to what the host needs

    bytes that a rank sends       all-reduce of B bytes: 2 B (W - 1) / W            gather of B bytes in all: B (W - 1) / W
    seconds                       compute + loss + gathers + norms + gradients      the last may hide behind the backward
                                                                                    pass: hence two figures for each row
"""

from __future__ import annotations

import argparse
import json
import math
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from mnclglf_lite.core.files import save_json
from mnclglf_lite.methods import registry
from mnclglf_lite.methods.registry import build_method
from mnclglf_lite.models.batchnorm import SplitBatchNorm
from mnclglf_lite.recipe.recipe import WITH_QUEUE, Recipe, preset
from mnclglf_lite.training.cost import step_flops

ASKED = ("simclr", "moco", "byol", "mnclglf")
A_GPU = 512  # pictures, of one GPU in weak scaling, and of all in strong scaling
# Assumptions, each from the makers' data sheets and customary experience, none measured here:
BANDWIDTH = {8: 450e9 * 0.7, 64: 50e9 * 0.8}  # bytes/s a rank: NVLink 4, 450 GB/s a direction; 400 Gb/s InfiniBand a GPU
LATENCY = {8: 20e-6, 64: 50e-6}  # s a small collective, with its launch: inside a machine; over eight of them
NETWORK_RATE = 100e12  # FLOP/s that ResNet-18 at 32 pixels reaches in bf16 on an H100; only where no seconds are given
LOSS_RATE = 30e12  # FLOP/s of float32 products (peak 67e12 without TF32)
HOST_SECONDS = 0.02  # an eager step is no shorter: the host has so many kernels to launch


def recipe_for(method: str, world: int, batch: int) -> Recipe:
    """`standard`, with what many ranks ask for: a queue that the batch divides, and as many norm groups as ranks."""
    recipe = preset("standard", method, "cifar10", batch=A_GPU)
    changes: dict[str, Any] = {"batch": batch}
    if method in WITH_QUEUE:
        changes["queue"] = math.ceil(recipe.queue / batch) * batch
    if recipe.norm_groups > 1:
        changes["norm_groups"] = max(recipe.norm_groups, world)
    return recipe.replace(**changes)


@cache
def count(name: str) -> dict[str, float]:
    """What one step of a method sends, counted on four pictures: bytes a picture, messages and their bytes."""
    recipe = recipe_for(name, 1, A_GPU)
    method = build_method(recipe.replace(norm_groups=min(2, recipe.norm_groups)), 10)
    pictures = 4
    gathered, norms = [], []

    def note(x: torch.Tensor, dim: int = 0) -> torch.Tensor:
        gathered.append((x.numel() * x.element_size(), x.requires_grad))
        return x

    def called(module: nn.Module, given: Any, out: torch.Tensor) -> None:
        norms.append((module.num_features, out.requires_grad and not isinstance(module, SplitBatchNorm)))

    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(called)
    method.draws = torch.Generator().manual_seed(0)
    x = [torch.zeros(pictures, 3, view.size, view.size) for view in method.views]
    with ExitStack() as stack:
        for room in set(type(method).__mro__) & set(registry.CLASSES.values()):
            stack.enter_context(mock.patch(f"{room.__module__}.all_gather_rows", note))
        method(x, torch.zeros(pictures, dtype=torch.long))
    return {
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "gathered_bytes_a_picture": sum(size for size, _ in gathered) / pictures,
        "gathers": len(gathered),
        "norm_messages": len(norms) + sum(back for _, back in norms),
        "norm_bytes": sum(4 * 2 * channels * (1 + back) for channels, back in norms),
    }


def loss_flops(recipe: Recipe, batch: int) -> float:
    """FLOPs of the losses and look-ups in a step: b N^2 + c N K for N pictures and a queue of K.

    Networks cost a N, so three counts of the whole step, with networks as small as can be, tell b and c.
    """
    slim = recipe.replace(width=2, blocks=(1,), norm_groups=1, batch=2, queue=4)
    one, wider, longer = (step_flops(build_method(slim.replace(queue=k), 10), n) for n, k in ((2, 4), (4, 4), (2, 8)))
    b, c = (wider - 2 * one) / 8, (longer - one) / 8
    return b * batch**2 + c * batch * recipe.queue


def predict(name: str, seconds: float, world: int, batch: int) -> dict[str, float]:
    """One row: the seconds of a step and pictures a second on `world` GPUs, with gradients hidden or not."""
    recipe = recipe_for(name, world, batch)
    found = count(name)
    share = (world - 1) / world
    wire, wait = BANDWIDTH[world], LATENCY[world]
    row = {
        "compute": max(HOST_SECONDS, seconds * batch / world / A_GPU),
        "loss": (loss_flops(recipe, batch) - loss_flops(recipe, batch // world)) / LOSS_RATE,  # its own part is compute
        "gathers": found["gathered_bytes_a_picture"] * batch * share / wire + found["gathers"] * wait,
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
            method = build_method(preset("standard", name, "cifar10", norm_groups=1), 10)
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
                    f"{row['gathered_bytes_a_picture'] * row['batch'] * 1e-6:11.1f}  {row['norm_messages']:13d}   "
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
