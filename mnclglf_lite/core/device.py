"""Where to compute, in which precision, and how to say so beside a number."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from pathlib import Path

import torch

from .errors import InputError, unknown

# torch's own questions to the processor; absent from some versions, which then count as a no
CPU_BF16 = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # Linux: "QUOTA PERIOD" in microseconds, or "max PERIOD"


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" takes cuda, else mps, else cpu; a name is taken at its word or refused with the reason."""
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in usable if usable[kind]))
    kind = name.split(":")[0]
    if kind not in usable:
        raise unknown("device", name, ["auto", *usable])
    if not usable[kind]:
        raise InputError(f"device {name!r} is not usable here; choose from {[k for k in usable if usable[k]]} or 'auto'")
    try:
        return torch.device(name)
    except RuntimeError:
        raise unknown("device", name, ["auto", *usable]) from None


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The autocast dtype of a recipe's precision, None for fp32.

    "auto" means bf16 only where it is native: a CUDA device of compute capability 8.0 or more, a CPU with AVX512-BF16 or
    AMX (measured there: 1.1 to 1.3 times as many steps, kNN no worse). Elsewhere it would be emulated, slowly.
    """
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            native = device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in CPU_BF16)
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else None


def allowed_cores() -> float:
    """How many cores this process may use: those it is bound to, or a container's share of them (0.5: half a core)."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = CPU_MAX.read_text().split()
        return cores if quota == "max" else min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        return cores  # no container, or one of another kind


def settle_threads() -> None:
    """No more of torch's threads than cores for them: torch counts a container's cores, not its share of them.

    Threads that wait for a core cost more than they bring. Never raises the number, so that a number set by hand stays.
    """
    most = max(1, math.ceil(allowed_cores()))
    if torch.get_num_threads() > most:
        torch.set_num_threads(most)


def keep_freed_memory() -> None:
    """The C library keeps memory that is freed for what asks next, up to a GiB, where it is glibc (Linux).

    By itself it hands large blocks back to the system, and each step gets its maps as new pages that must first be filled
    with zeros: 2,000 to 17,000 of them, 5 to 15 % of a step (measured, SimCLR on two cores).
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def describe_device(device: torch.device) -> str:
    """One line for the record: what a time was measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux: the platform's own word must do
    threads = torch.get_num_threads()
    return f"{device.type}, {cpu}, {threads} thread{'s' * (threads != 1)} of {os.cpu_count()} cores"
