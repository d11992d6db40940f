"""Does it pay to send the views of a batch through the network as one batch, each with BatchNorm statistics of its own?

    python -m benchmarks.speed.joined_views                                    # slim net, CPU
    python -m benchmarks.speed.joined_views --preset standard --batch 512      # ResNet-18, CUDA

The convolutions of all views become one call each, and BatchNorm goes through the views one by one, so the mathematics
stays: outputs, gradients and running statistics are checked to be those of separate calls before anything is timed. Views
that a method may normalise together (patches, small crops: `multicrop.forward_together`) are one batch in the package
already; this asks about whole views, whose statistics must stay apart. Forward and backward of the backbone,
medians of alternating rounds.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import page, timing
from mnclglf_lite import __version__
from mnclglf_lite.core.device import autocast_dtype, describe_device, pick_device
from mnclglf_lite.recipe.presets import preset

ROUNDS = 9


class ViewNorm(nn.BatchNorm2d):
    """BatchNorm over a batch of `parts` views that follow one another, each normalised by itself, in turn."""

    parts = 2

    def forward(self, x: Tensor) -> Tensor:
        running = (self.running_mean, self.running_var)
        settings = (self.weight, self.bias, True, self.momentum, self.eps)
        return torch.cat([F.batch_norm(part, *running, *settings) for part in x.chunk(self.parts)])


def joined(network: nn.Module, parts: int) -> nn.Module:
    """A copy of the network that takes `parts` views as one batch."""
    network = copy.deepcopy(network)
    for child in network.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.__class__, child.parts = ViewNorm, parts
    return network


def apart(network: nn.Module, views: list[Tensor]) -> Tensor:
    """As the methods do it: one call a view."""
    return torch.cat([network(x) for x in views])


def check(network: nn.Module, views: list[Tensor]) -> float:
    """The largest relative difference of outputs, gradients and running statistics in float64, one call against V."""
    one, other = copy.deepcopy(network).double(), joined(network, len(views)).double()
    views = [x.double() for x in views]
    found = []
    for made, out in ((one, apart(one, views)), (other, other(torch.cat(views)))):
        (out * torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=out.device).view_as(out)).sum().backward()
        statistics_ = [b for name, b in made.named_buffers() if "running" in name]
        found.append([out.detach(), *(p.grad for p in made.parameters()), *statistics_])
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in zip(*found, strict=True))


def both_ways(work: Callable[[], Tensor], device: torch.device, dtype: torch.dtype | None) -> None:
    """One forward and backward."""
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        out = work()
    out.float().sum().backward()


def render(found: dict[str, Any], name: str) -> str:
    said = "; ".join(f"{views} {row['apart_over_joined']:.2f}" for views, row in found["rows"].items())
    note = f"{found['what']}: {said} (above 1: joining pays). {found['hardware']}; torch {found['torch']}"
    return page.section("Whole views as one batch?", page.as_today(found["command"], __name__), note)


def main(argv: list[str] | None = None) -> dict:
    """Check, measure, print, write."""
    parser = timing.parser(__doc__)
    parser.add_argument("--preset", default="quick", help="whose backbone (default: quick)")
    parser.add_argument("--batch", type=int, default=256, help="images (default: 256)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"(default: {ROUNDS})")
    parser.add_argument("--compile", action="store_true", help="compile both forms (default: off)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: data/runs/joined_views-DEVICE.json)")
    args = parser.parse_args(argv)
    recipe, device = preset(args.preset, "simclr", "cifar10"), pick_device()
    torch.backends.cudnn.benchmark = device.type == "cuda"  # as in `Step`
    dtype, size = autocast_dtype("auto", device), recipe.views.view.size
    result = {
        "what": f"seconds of forward and backward, apart over joined; {args.preset}, batch {args.batch}, {size} px",
        "command": f"python -m benchmarks.speed.joined_views --preset {args.preset} --batch {args.batch}"
        + " --compile" * args.compile,
        "hardware": describe_device(device),
        "version": __version__,
        "torch": torch.__version__,
        "rows": {},
    }
    for count in (2, 3):
        network = recipe.encoder.build().to(device, memory_format=torch.channels_last)
        few = [torch.randn(8, 3, size, size, device=device) for _ in range(count)]
        error = check(network, few)
        if error > 1e-9:
            raise SystemExit(f"joined views do not compute the same: relative difference {error:.1e} in float64")
        views = [torch.randn(args.batch, 3, size, size, device=device) for _ in range(count)]
        views = [x.contiguous(memory_format=torch.channels_last) for x in views]
        one, other = network, joined(network, count)
        one, other = (torch.compile(m, dynamic=False) if args.compile else m for m in (one, other))
        forms = {"apart": lambda m=one, x=views: apart(m, x), "joined": lambda m=other, x=views: m(torch.cat(x))}
        work = {name: lambda form=form: both_ways(form, device, dtype) for name, form in forms.items()}
        times = timing.in_turn(work, args.rounds, device, uncounted=2)
        medians = {name: statistics.median(values) for name, values in times.items()}
        ratio = medians["apart"] / medians["joined"]
        result["rows"][f"{count} views"] = {"seconds": times, "apart_over_joined": ratio, "relative_difference": error}
        print(f"{count} views: apart {1e3 * medians['apart']:.1f} ms, joined {1e3 * medians['joined']:.1f} ms, {ratio:.2f}")
    path = args.out or timing.RUNS / f"joined_views-{device.type}.json"
    timing.save(path, result)
    return result


if __name__ == "__main__":
    timing.program(main, "joined_views")
