"""The step's engines: they compute the same, say why they cannot, and never read a tensor's value into Python."""

import copy
import mmap
import platform
import subprocess
import sys

import pytest
import torch
from conftest import read_by, tiny
from torch.utils._python_dispatch import TorchDispatchMode

from mnclglf_lite.core import device
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data.dataset import batch_order
from mnclglf_lite.methods.mnclglf import MNCLGLF
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.training import step, train
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step

CPU = torch.device("cpu")


def begun(recipe, toys):
    run = new_run(recipe, len(toys.train), len(toys.train.classes), CPU)
    run.method.train()
    return run


def losses(recipe, toys, engine, steps=20, said=None):
    """The losses of some steps, the run, and what its engine became."""
    run = begun(recipe.replace(steps=steps), toys)
    one = Step(run, toys.train.images, toys.train.labels, engine, [].append if said is None else said.append)
    order = batch_order(0, 0, len(toys.train))
    found = [one(order[at * 16 : at * 16 + 16])["loss"].detach() for at in range(steps)]
    return torch.stack(found), run, one


@pytest.mark.parametrize("method", ["simclr", "mnclglf"])
def test_compiled_and_eager_steps_agree(method, toys):
    """In fp32 and at a small rate: at a large one, rounding alone sends two runs apart within 20 steps."""
    recipe = tiny(method, precision="fp32", lr=0.02, blocks=(1,))
    said = []
    eager, before, _ = losses(recipe, toys, "eager")
    compiled, after, one = losses(recipe, toys, "compiled", said=said)
    assert one.engine == "compiled" and not said, said
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=0)
    start, theirs = begun(recipe, toys).method.state_dict(), before.method.state_dict()
    assert (theirs["backbone.conv1.weight"] - start["backbone.conv1.weight"]).abs().max() > 1e-2  # they did learn
    for name, value in after.method.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-3)
    assert torch.equal(before.generator.get_state(), after.generator.get_state())


def test_backbones_are_compiled_inside_a_step_alone(toys, monkeypatch):
    """Also those whose maps a method reads; outside, evaluation, a copy and the state dict meet the networks as written."""
    traced = []

    def compile_(function, **options):
        return lambda *args: traced.append(function.__name__) or function(*args)

    monkeypatch.setattr(torch, "compile", compile_)
    for name in METHODS:
        traced.clear()
        _, run, one = losses(tiny(name), toys, "compiled", steps=1)
        kind = "maps" if name in ("cgh", "glnet") else "forward"
        assert one.engine == "compiled" and {kind, "render_channels_last"} == set(traced), name
        traced.clear()
        run.backbone(torch.zeros(2, 3, 16, 16))
        assert not traced and not {"forward", "maps"} & set(vars(copy.deepcopy(run.backbone)))


def test_a_compiler_that_breaks_when_views_grow_does_not_cost_the_run(toys, monkeypatch):
    def breaks_at_16(function, **options):
        def call(*args):
            if function.__name__ == "forward" and args[1].shape[-1] == 16:
                raise RuntimeError("no kernel for this size")
            return function(*args)

        return call

    recipe = tiny("simclr", progressive_sizes=(8, 16))
    eager, before, _ = losses(recipe, toys, "eager", steps=6)
    monkeypatch.setattr(torch, "compile", breaks_at_16)
    said = []
    found, after, one = losses(recipe, toys, "compiled", steps=6, said=said)
    assert one.engine == "eager" and len(said) == 1 and "no kernel for this size" in said[0]
    assert torch.equal(found, eager)


def test_what_does_not_compile_runs_eagerly_from_the_same_start_and_says_why(toys, monkeypatch):
    """The compiled forward breaks after it has drawn random numbers and moved BatchNorm's statistics."""

    def breaks(function, **options):
        def call(*args):
            function(*args)
            raise RuntimeError("no C++ compiler here\nand a long tail")

        return call

    recipe = tiny("moco", bn_splits=2)  # shuffles: its forward draws random numbers too
    eager, before, _ = losses(recipe, toys, "eager", steps=3)
    monkeypatch.setattr(torch, "compile", breaks)
    said = []
    found, after, one = losses(recipe, toys, "compiled", steps=3, said=said)
    assert one.engine == "eager" and torch.equal(found, eager)
    assert said == [
        "the engine 'compiled' is not available here (RuntimeError: no C++ compiler here); continuing with eager"
    ]
    theirs = before.method.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in after.method.state_dict().items())


def test_where_torch_has_no_compiler_at_all_a_run_is_eager(toys, monkeypatch):
    def none(function, **options):
        raise RuntimeError("not supported on this Python")

    recipe = tiny("simclr")
    eager, _, _ = losses(recipe, toys, "eager", steps=2)
    monkeypatch.setattr(torch, "compile", none)
    said = []
    found, _, one = losses(recipe, toys, "compiled", steps=2, said=said)
    assert one.engine == "eager" and torch.equal(found, eager) and len(said) == 1 and "not supported" in said[0]


def test_a_step_that_breaks_off_after_the_optimiser_is_taken_back_too(toys, monkeypatch):
    recipe = tiny("mnclglf")
    eager, before, _ = losses(recipe, toys, "eager", steps=3)
    real, calls = MNCLGLF.after_step, []

    def breaks_once(self, outputs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a driver too old")
        real(self, outputs)

    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(MNCLGLF, "after_step", breaks_once)
    found, after, one = losses(recipe, toys, "compiled", steps=3)
    assert one.engine == "eager" and len(calls) == 4 and torch.equal(found, eager)
    for mine, theirs in zip(after.optimiser.state.values(), before.optimiser.state.values(), strict=True):
        assert torch.equal(mine["momentum_buffer"], theirs["momentum_buffer"])


def test_memory_that_runs_out_is_not_taken_for_a_compilers_fault(toys, monkeypatch):
    def no_room(function, **options):
        def call(*args):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return call

    monkeypatch.setattr(torch, "compile", no_room)
    with pytest.raises(torch.OutOfMemoryError):
        losses(tiny("simclr"), toys, "compiled", steps=1)


def test_a_graph_is_for_cuda_and_for_views_of_one_size(toys, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    said = []
    run = begun(tiny("simclr"), toys)
    one = Step(run, toys.train.images, toys.train.labels, "captured", said.append)
    assert one.engine == "compiled" and "recorded on CUDA, and this run is on cpu" in said[0] and len(said) == 1


def test_auto_compiles_on_a_cpu_only_where_the_run_is_long():
    cuda = torch.device("cuda")
    assert step.engine_for("auto", CPU, step.CPU_COMPILES_FROM) == "compiled"
    assert step.engine_for("auto", CPU, step.CPU_COMPILES_FROM - 1) == "eager"
    assert step.engine_for("auto", cuda, 1) == "compiled"
    assert step.engine_for("eager", cuda, 10**6) == "eager"
    with pytest.raises(InputError, match="unknown engine 'fast'"):
        step.engine_for("fast", CPU, 1)


def test_an_unknown_engine_is_refused_before_a_folder_is_made(toys, tmp_path):
    with pytest.raises(InputError, match="engine"):
        train.train(tiny("simclr"), toys, out=tmp_path / "run", engine="fast", device="cpu")
    assert not (tmp_path / "run").exists()


class NothingIsRead(TorchDispatchMode):
    """Fails on the operations by which a tensor's value, or a size that depends on values, comes back to the host."""

    READERS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = func.overloadpacket.__name__ == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        reads = masks or func.overloadpacket.__name__ in self.READERS
        assert not reads, f"{func} makes the host wait for the device"
        return func(*args, **(kwargs or {}))


def test_the_watcher_sees_a_reading():
    for reads in (lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: bool((x > 0).any())):
        with NothingIsRead(), pytest.raises(AssertionError, match="host wait"):
            reads(torch.ones(3))


@pytest.mark.parametrize("method", METHODS)
def test_a_step_reads_nothing_back(method, toys):
    run = begun(tiny(method, clip_grad_norm=1.0, **read_by(method, ema_end=1.0, small_views=2)), toys)
    one = Step(run, toys.train.images, toys.train.labels, "eager")
    rows = torch.arange(16)
    one(rows)
    with NothingIsRead():
        run.meter.add(one(rows), run.step)


@pytest.mark.parametrize("method", ["mnclglf", "byol"])
def test_a_rate_on_the_device_gives_the_same_step(method, toys):
    """A recorded graph reads the rate from a tensor: filled anew before each step, it must count as the number does."""
    first, second = begun(tiny(method), toys), begun(tiny(method), toys)
    for group in second.optimiser.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    rows = torch.arange(16)
    for run in (first, second):
        one = Step(run, toys.train.images, toys.train.labels, "eager")
        for _ in range(4):
            one(rows)
    rates = [float(group["lr"]) for group in second.optimiser.param_groups]
    assert rates == pytest.approx([group["lr"] for group in first.optimiser.param_groups], rel=1e-6)
    theirs = first.method.state_dict()
    for name, value in second.method.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


def test_the_fused_optimiser_is_plain_sgd(toys):
    run = begun(tiny("simclr", weight_decay=1e-2), toys)
    assert all(group["fused"] for group in run.optimiser.param_groups)
    twin = copy.deepcopy(run.method)
    groups = [
        {**group, "params": [dict(twin.named_parameters())[name_of(run.method, p)] for p in group["params"]]}
        for group in run.optimiser.param_groups
    ]
    plain = torch.optim.SGD([{**group, "fused": False, "foreach": False} for group in groups])
    for _ in range(3):
        for mine, theirs in zip(run.method.parameters(), twin.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)  # in the memory layout of the parameter, as autograd makes them
            theirs.grad = mine.grad.clone()
        run.optimiser.step()
        plain.step()
    for mine, theirs in zip(run.method.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def name_of(module, parameter):
    return next(name for name, value in module.named_parameters() if value is parameter)


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", 8), ("150000 100000", 1.5), ("900000 100000", 8), ("nonsense", 8), (None, 8)]
)
def test_a_containers_share_of_the_cores_counts(text, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda who: set(range(8)), raising=False)
    monkeypatch.setattr(device, "CPU_MAX", tmp_path / "cpu.max")
    if text:
        device.CPU_MAX.write_text(text + "\n")
    assert device.allowed_cores() == cores


def test_threads_are_lowered_to_the_cores_and_never_raised(monkeypatch):
    before = torch.get_num_threads()
    try:
        for have, allowed, left in ((4, 1.5, 2), (4, 0.5, 1), (1, 8, 1), (3, 3, 3)):
            torch.set_num_threads(have)
            monkeypatch.setattr(device, "allowed_cores", lambda cores=allowed: cores)
            device.settle_threads()
            assert torch.get_num_threads() == left
    finally:
        torch.set_num_threads(before)


PAGES = """
import ctypes, resource, sys, torch
from mnclglf_lite.core.device import keep_freed_memory
c = ctypes.CDLL(None)
c.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size, so that counts mean bytes
c.mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD: by itself it would adapt, in some processes and not in others
if sys.argv[1:]:
    keep_freed_memory()
def turn():
    return [torch.ones(2 << 20) for _ in range(8)] and None  # 8 MiB each
for _ in range(3):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_kept_for_what_asks_next():
    new_pages = []
    for words in ([], ["keep"]):
        done = subprocess.run([sys.executable, "-c", PAGES, *words], capture_output=True, text=True, check=True)
        new_pages.append(int(done.stdout))
    asked = 10 * 8 * (8 << 20) // mmap.PAGESIZE
    assert new_pages[0] >= asked and new_pages[1] < 0.01 * asked
