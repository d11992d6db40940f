"""One step of training, and three engines to run it that compute the same.

    eager      operation by operation, as it is written: starts at once
    compiled   making the views and the backbones are compiled; heads, losses and all else stay eager
    captured   CUDA alone, experimental (not run on a GPU yet): the compiled step is recorded once as a graph, optimiser,
               moving averages and queues included, and replayed; the host then launches one graph a step, not hundreds of
               kernels

Views and backbones are nearly all of a step's work, and all networks of a process share their compiled code: what comes in
the same shapes is compiled once. A whole forward pass, heads and losses included, would be compiled for each method anew.

`auto` is `compiled` on CUDA. On a CPU compiling takes about half a minute, which short runs do not have: `auto` is `eager`
there for short runs and `compiled` for long ones. What cannot be compiled or captured here runs eagerly from the same state,
and the log says why. Nothing in a step reads a tensor's value into Python, so that the host runs ahead of the device.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..core import distributed
from ..core.device import autocast_dtype, keep_freed_memory
from ..core.distributed import all_gather_stack, local_rows, world_size
from ..core.errors import unknown
from ..methods.base import Method, Outputs
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe
from ..views.batch import make_views, render_channels_last
from ..views.view import View
from .run import Run, lr_factor

ENGINES = ("auto", "eager", "compiled", "captured")
# SimCLR, slim, 24 pixels: compiling takes 42 s and then saves 23 of 108 ms a step (data/runs/speed/cpu-24px.json); that
# pays after 1,900 steps, with smaller batches later
CPU_COMPILES_FROM = 5000
RECORD_AT = 12  # steps before a graph is recorded (ours): buffers and compiled code are ready by then
# Buffers are the same on all ranks and need no broadcast; torch has renamed the switch
KEEP_BUFFERS = "forward_sync_buffers"
if KEEP_BUFFERS not in inspect.signature(DistributedDataParallel).parameters:
    KEEP_BUFFERS = "broadcast_buffers"
RECOMPILE_LIMIT = 256  # of one function; torch stops at 8, which the methods and views of one process exceed


def views_at_step(recipe: Recipe, method: Method, step: int, total_steps: int) -> list[View]:
    """The views of the method's slots as they are at a step, where whole views may grow."""
    size, whole = recipe.views.size_at(step, total_steps), recipe.views.view
    whole = whole if size == whole.size else dataclasses.replace(whole, size=size)
    return [slot.resolve(whole) for slot in method.slots]


def set_lr(run: Run) -> None:
    """The learning rates and the method's progress for the step that comes."""
    set_rates(run.optimiser, run.recipe, run.step, run.total_steps)
    run.method.progress.fill_(run.step / run.total_steps)


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, total_steps: int) -> None:
    """The learning rate of every group at a step."""
    share = lr_factor(recipe, step, total_steps)
    for group in optimiser.param_groups:
        full = recipe.optim.muon_lr if group["muon"] else recipe.optim.lr * recipe.optim.batch_size / 256
        now = full * (1.0 if group["constant"] else share)
        if isinstance(group["lr"], Tensor):  # a graph reads the rate from where it was when it was recorded
            group["lr"].fill_(now)
        else:
            group["lr"] = now


def average_scalars(outputs: Outputs) -> Outputs:
    """The outputs of no dimension, which are means over this rank's rows, averaged over the ranks in one message."""
    scalars = {name: value.detach() for name, value in outputs.items() if value.ndim == 0}
    return dict(zip(scalars, all_gather_stack(torch.stack(list(scalars.values()))).mean(dim=0).unbind(), strict=True))


def optimize(
    run: Run, cut: list[Tensor], labels: Tensor, dtype: torch.dtype | None, forward: Callable[..., Outputs]
) -> Outputs:
    """Networks, loss, backward, optimiser, moving averages and queues: views and labels (N,) -> the method's outputs.

    With many processes views, labels and outputs are this rank's rows, and the scalars are means over all ranks.
    """
    with torch.autocast(labels.device.type, dtype=dtype, enabled=dtype is not None):
        outputs = forward(cut, labels)
    run.optimiser.zero_grad(set_to_none=True)
    outputs["loss"].backward()
    if world_size() > 1:
        outputs = outputs | average_scalars(outputs)
    if run.recipe.optim.clip_grad_norm:
        nn.utils.clip_grad_norm_(run.method.parameters(), run.recipe.optim.clip_grad_norm)
    run.optimiser.step()
    run.method.after_step(outputs)
    return outputs


def engine_for(name: str, device: torch.device, steps: int) -> str:
    """What "auto" means for a run of so many steps on this device; any other name is itself.

    All steps of the run count, so that one that is gone on with goes on as it began.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name != "auto":
        return name
    if device.type == "cuda":
        return "compiled"
    return "compiled" if device.type == "cpu" and steps >= CPU_COMPILES_FROM else "eager"


class CompiledBackbones:
    """Inside `with`, every backbone of a method runs compiled. Outside it is as written, so that evaluation and export,
    which come in other shapes, never wait for a compiler."""

    def __init__(self, method: nn.Module):
        self.backbones = [module for module in method.modules() if isinstance(module, ResNet)]
        # One function for all networks, which share what is compiled. Two kinds, since the backward pass of all maps fills
        # with zeros those that no loss reads
        self.kinds = {kind: torch.compile(getattr(ResNet, kind), dynamic=False) for kind in ("forward", "maps")}

    def __enter__(self) -> None:
        for backbone in self.backbones:
            for kind, function in self.kinds.items():
                setattr(backbone, kind, MethodType(function, backbone))

    def __exit__(self, *error: object) -> None:
        for backbone in self.backbones:
            for kind in self.kinds:
                delattr(backbone, kind)


@contextlib.contextmanager
def on_stream(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work queued in here runs on `stream`, after all that was queued before and before all that is queued later."""
    if stream is None:
        yield
        return
    outside = torch.cuda.current_stream(stream.device)
    stream.wait_stream(outside)
    with torch.cuda.stream(stream):
        yield
    outside.wait_stream(stream)


class Step:
    """The steps of one run, on pictures that lie on its device: `step(index)` trains on the rows `index` (N,) of the set.

    Args:
        images, labels: the whole training set, uint8 (M, 3, H, W) and (M,).
        engine: one of `ENGINES`; `self.engine` is what it became.
        log: told in one line what cannot be had here, and why.
    """

    def __init__(
        self, run: Run, images: Tensor, labels: Tensor, engine: str = "auto",
        log: Callable[[str], None] = print,
    ):  # fmt: skip
        self.run, self.images, self.labels, self.log = run, images, labels, log
        self.dtype = autocast_dtype(run.recipe.optim.precision, images.device)
        self.engine = engine_for(engine, images.device, run.total_steps)
        self.render: Callable[..., Tensor] = render_channels_last
        self.forward: Callable[..., Outputs] = run.method
        self.backbones: contextlib.AbstractContextManager = contextlib.nullcontext()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.views: dict[int, list[View]] = {}  # by the size of whole views
        self.done = 0
        if self.engine == "captured" and not images.is_cuda:
            self.fall_back("compiled", f"a graph is recorded on CUDA, and this run is on {images.device.type}")
        if self.engine == "captured" and run.recipe.views.progressive_sizes:
            self.fall_back("compiled", "a graph has one size of views, and this recipe has progressive_sizes")
        if self.engine == "captured" and world_size() > 1:
            self.fall_back("compiled", "a graph is recorded for one process, and this run has many")
        if world_size() > 1:
            self.forward = DistributedDataParallel(run.method, **{KEEP_BUFFERS: False})
        if self.engine != "eager":
            try:
                torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
                self.render = torch.compile(render_channels_last, dynamic=False)
                if world_size() == 1:  # BatchNorms that talk to other processes are not compiled: there, the views alone
                    self.backbones = CompiledBackbones(run.method)
            except Exception as error:  # where torch has no compiler at all, such as on a Python too new for it
                self.fall_back("eager", error)
        # A graph cannot be recorded on the default stream
        self.recorder = torch.cuda.Stream(images.device) if self.engine == "captured" else None
        if images.device.type == "cpu":
            keep_freed_memory()
        if images.is_cuda:
            torch.backends.cudnn.benchmark = True  # shapes are fixed: the fastest convolution is looked for once
        if self.engine == "captured":
            for group in run.optimiser.param_groups:
                group["lr"] = torch.as_tensor(float(group["lr"]), device=images.device)

    def fall_back(self, engine: str, why: str | Exception) -> None:
        if isinstance(why, Exception):  # compilers write pages: the first line
            why = f"{type(why).__name__}: {(str(why).strip().splitlines() or [''])[0][:200]}"
        self.log(f"the engine {self.engine!r} is not available here ({why}); continuing with {engine}")
        self.engine = engine

    def __call__(self, index: Tensor) -> Outputs:
        set_lr(self.run)
        with on_stream(self.recorder):
            if self.graph is not None:
                self.rows.copy_(index, non_blocking=True)
                self.graph.replay()
                outputs = self.outputs
            elif self.engine == "captured" and self.done == RECORD_AT:
                outputs = self.record(index)
            elif self.engine != "eager" and self.size not in self.views:
                outputs = self.first(index)
            else:
                outputs = self.work(index)
        self.run.step += 1
        self.done += 1
        return outputs

    @property
    def size(self) -> int:
        """The size of whole views in the step that comes."""
        return self.run.recipe.views.size_at(self.run.step, self.run.total_steps)

    def work(self, index: Tensor) -> Outputs:
        """One step on the rows `index`, and nothing that a graph could not hold."""
        run, size = self.run, self.size
        if size not in self.views:  # the very same objects each time: what is compiled may be compiled for them
            self.views[size] = views_at_step(run.recipe, run.method, run.step, run.total_steps)
        rows = index.to(self.images.device, non_blocking=True)[local_rows(len(index))]
        cut = make_views(self.images[rows], self.views[size], run.generator, self.render)
        with self.backbones:
            return optimize(run, cut, self.labels[rows], self.dtype, self.forward)

    def first(self, index: Tensor) -> Outputs:
        """A step with views of a new size, in which torch compiles; what fails is taken back and done eagerly."""
        run = self.run
        before = copy.deepcopy((run.method.state_dict(), run.optimiser.state_dict(), run.generator.get_state()))
        try:
            return self.work(index)
        except torch.OutOfMemoryError:
            raise  # eagerly it would need more
        except Exception as error:  # torch and its compilers raise of all kinds: no C++ compiler, no Triton, an old driver
            if distributed.is_loss_of_peer(error):
                raise
            run.method.load_state_dict(before[0])
            run.optimiser.load_state_dict(before[1])
            run.generator.set_state(before[2])
            self.fall_back("eager", error)
            self.render, self.backbones = render_channels_last, contextlib.nullcontext()
            return self.work(index)

    def record(self, index: Tensor) -> Outputs:
        """Record the step as a graph and replay it once; recording alone changes nothing."""
        self.rows = index.to(self.images.device, copy=True)  # the graph's own: each later step writes its rows here
        graph, draws = torch.cuda.CUDAGraph(), self.run.generator.get_state()
        try:
            graph.register_generator_state(self.run.generator)
            torch.cuda.synchronize()
            with torch.cuda.graph(graph, stream=self.recorder):
                self.outputs = self.work(self.rows)
        except Exception as error:
            torch.cuda.synchronize()
            # a recording that broke off may have left the generator in its hands
            self.run.generator = self.run.method.generator = torch.Generator(self.images.device)
            self.run.generator.set_state(draws)
            self.fall_back("compiled", error)
            return self.work(index)
        self.graph = graph
        graph.replay()
        return self.outputs
