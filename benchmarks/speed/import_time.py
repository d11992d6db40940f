"""What the package adds to the start of a program: medians of five fresh interpreters each.

    python -m benchmarks.speed.import_time

The bar: under one second beyond `import torch`. It is printed, not tested, since it depends on the machine.
"""

import statistics
import subprocess
import sys
import time

from benchmarks import timing

ROUNDS = 5
CASES = {
    "nothing": "pass",
    "torch": "import torch",
    "torch and mnclglf_lite": "import torch, mnclglf_lite, mnclglf_lite.training.train",
}


def seconds(code: str) -> float:
    """Wall-clock seconds of a fresh interpreter that runs this code, started in the checkout."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=timing.ROOT)
    return time.perf_counter() - begun


def main() -> None:
    """Print one line a case, and the difference. The first round warms the disk cache and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for at in range(ROUNDS + 1):
        for name, code in CASES.items():  # in turn, so that a busy moment hits all alike
            spent = seconds(code)
            if at:
                times[name].append(spent)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:24s} {medians[name]:6.2f} s  (of {ROUNDS}: {min(values):.2f} to {max(values):.2f})")
    beyond = medians["torch and mnclglf_lite"] - medians["torch"]
    print(f"{'beyond torch':24s} {beyond:6.2f} s  on Python {sys.version.split()[0]}, {sys.platform}")


if __name__ == "__main__":
    main()
