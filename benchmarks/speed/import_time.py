"""What the package adds to the start of a program: medians of five fresh interpreters each.

    python -m benchmarks.speed.import_time

The bar: under one second beyond `import torch`. It is printed, not tested, since it depends on the machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

import torch

from benchmarks import timing

ROUNDS = 5
CASES = {
    "nothing": "pass",
    "torch": "import torch",
    "torch and mnclglf_lite": "import torch, mnclglf_lite, mnclglf_lite.training.train",
}


def main() -> None:
    """Print one line a case, and the difference. The first round warms the disk cache and is not counted."""
    timing.parser(__doc__).parse_args()
    starts = {
        name: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True, cwd=timing.ROOT)
        for name, code in CASES.items()
    }
    times = timing.in_turn(starts, ROUNDS, torch.device("cpu"), uncounted=1)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:24s} {medians[name]:6.2f} s  (of {ROUNDS}: {min(values):.2f} to {max(values):.2f})")
    beyond = medians["torch and mnclglf_lite"] - medians["torch"]
    print(f"{'beyond torch':24s} {beyond:6.2f} s  on Python {sys.version.split()[0]}, {sys.platform}")


if __name__ == "__main__":
    timing.program(main, "import_time")
