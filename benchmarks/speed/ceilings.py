"""What the device can do at most: large matrix products, the network's convolutions, a large copy, an empty launch.

    python -m benchmarks.speed.ceilings --out data/runs/ceilings.json

Every other rate is read against these. Each is the median of calls that were timed one by one, the device waited for:

    matmul    a square product in bf16, tf32 (CUDA alone) and fp32, TFLOP/s
    conv      the 3x3 convolutions of the CIFAR ResNet-18's four stages, forward, bf16 and fp32, channels last, TFLOP/s
    copy      one large tensor onto another, GB/s, read and written bytes counted
    launch    one addition of a single number, microseconds of the host: what a step of many small kernels is made of
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import timing
from mnclglf_lite.core.device import pick_device

SIDE = {"cuda": 8192}  # of the matrices: 1.1 TFLOP a product; elsewhere 1024 (ours)
COPY = {"cuda": 2**30}  # bytes: far more than any cache; elsewhere 64 MB (ours)
BATCH = {"cuda": 4096}  # images of a convolution: enough that waiting for each call costs little; elsewhere 32 (ours)
STAGES = ((64, 32), (128, 16), (256, 8), (512, 4))  # channels and side of the CIFAR ResNet-18's maps
LEAST_CALLS = 5


def seconds_a_call(work: Callable[[], Any], device: torch.device, most: float) -> float:
    """Median seconds of a call, timed for about `most` seconds and at least five calls, after two that are not counted."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < LEAST_CALLS + 2 or time.perf_counter() - begun < most:
        timing.wait(device)
        at = time.perf_counter()
        work()
        timing.wait(device)
        times.append(time.perf_counter() - at)
    return statistics.median(times[2:])


def precisions(device: torch.device) -> dict[str, tuple[torch.dtype, bool]]:
    """Name -> dtype, and whether float32 may be rounded to tf32."""
    every = {"bf16": (torch.bfloat16, False), "tf32": (torch.float32, True), "fp32": (torch.float32, False)}
    return every if device.type == "cuda" else {name: every[name] for name in ("bf16", "fp32")}


def matmul(device: torch.device, side: int, seconds: float) -> dict[str, float]:
    """TFLOP/s of a side x side product by precision."""
    found = {}
    for name, (dtype, rounded) in precisions(device).items():
        torch.backends.cuda.matmul.allow_tf32 = rounded
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        spent = seconds_a_call(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device, seconds)
        found[name] = 2 * side**3 / spent / 1e12
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


@torch.no_grad()
def conv(device: torch.device, batch: int, seconds: float) -> dict[str, dict[str, float]]:
    """TFLOP/s of each stage's 3x3 convolution by precision; float32 as torch does it by default (tf32 on CUDA)."""
    torch.backends.cudnn.benchmark = device.type == "cuda"  # as in `Step`
    found: dict[str, dict[str, float]] = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        for channels, side in STAGES:
            x, w = torch.randn(batch, channels, side, side), torch.randn(channels, channels, 3, 3)
            x, w = (t.to(device, dtype, memory_format=torch.channels_last) for t in (x, w))
            spent = seconds_a_call(lambda x=x, w=w: F.conv2d(x, w, padding=1), device, seconds)
            found.setdefault(name, {})[f"{channels} at {side}"] = 2 * batch * (side * channels * 3) ** 2 / spent / 1e12
    return found


def copy(device: torch.device, size: int, seconds: float) -> float:
    """GB/s of one tensor onto another."""
    a = torch.zeros(size, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * size / seconds_a_call(lambda: b.copy_(a), device, seconds) / 1e9


def launch(device: torch.device) -> float:
    """Microseconds of one tiny operation among a thousand, not waited for one by one."""
    x = torch.zeros(1, device=device)
    return seconds_a_call(lambda: [x.add_(1) for _ in range(1000)], device, 0.0) / 1000 * 1e6


def rates(device: torch.device, seconds: float, dry: bool) -> dict[str, Any]:
    """All of them, each measured for about so many seconds; dry: tiny sizes, at once."""
    side, size, batch = SIDE.get(device.type, 1024), COPY.get(device.type, 2**26), BATCH.get(device.type, 32)
    if dry:
        side, size, batch, seconds = 64, 2**16, 2, 0.0
    found: dict[str, Any] = {"matmul_tflops": matmul(device, side, seconds), "conv_tflops": conv(device, batch, seconds)}
    found |= {"copy_gb_s": copy(device, size, seconds), "launch_us": launch(device)}
    return found | {"sizes": {"matmul_side": side, "copy_bytes": size, "conv_batch": batch}}


def main(argv: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, device=True)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: 1)")
    parser.add_argument("--out", metavar="FILE", help="JSON file (default: none, print alone)")
    parser.add_argument("--dry", action="store_true", help="tiny sizes: does it run? (default: off)")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    result: dict[str, Any] = {"what": "largest rates of the device", "dry": args.dry, **timing.stamp(device)}
    result |= rates(device, args.seconds, args.dry)
    for name, rate in result["matmul_tflops"].items():
        print(f"matmul {name}: {rate:.3g} TFLOP/s")
    for name, each in result["conv_tflops"].items():
        print(f"conv {name}: " + ", ".join(f"{at} {rate:.3g}" for at, rate in each.items()) + " TFLOP/s")
    print(f"copy: {result['copy_gb_s']:.3g} GB/s\nlaunch: {result['launch_us']:.2f} us\n{result['hardware']}")
    if args.out:
        timing.save(args.out, result)


if __name__ == "__main__":
    timing.program(main, "ceilings")
