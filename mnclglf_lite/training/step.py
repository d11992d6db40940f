"""One step of training, and four engines to run it that compute the same.

    eager      operation by operation, as it is written: starts at once
    views      making the views is compiled into a few loops over the batch, the rest is eager
    compiled   making the views, the networks and the losses are compiled
    captured   CUDA alone, experimental (not run on a GPU yet): the compiled step is recorded once as a graph, optimiser,
               moving averages and queues included, and replayed; the host then launches one graph a step, not hundreds of
               kernels

`auto` is `compiled` on CUDA. On a CPU compiling takes most of a minute, which short runs do not have, and then a step takes
up to a tenth less (measured: `benchmarks/results.md`): `auto` is `eager` there for short runs and `compiled` for long ones.
Whatever cannot be compiled or captured here runs eagerly, and the log says why.

Nothing in a step reads a tensor's value into Python, so that the host runs ahead of the device. On CUDA the views are made
on a stream of their own: those of the next batch while the networks are busy with this one.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..core import distributed
from ..core.device import autocast_dtype
from ..core.distributed import all_gather_stack, local_rows, world_size
from ..core.errors import unknown
from ..methods.base import Method, Outputs
from ..recipe.recipe import Recipe
from ..views.batch import make_views, render_channels_last
from ..views.view import View
from .run import Run, lr_factor

ENGINES = ("auto", "eager", "views", "compiled", "captured")
# A CPU's compiler works some 42 s on SimCLR's slim net and then saves some 11 ms a step (measured, 24 pixels): even after
# 4,000 steps, later at 32 pixels
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
    recipe = run.recipe
    scale, share = recipe.optim.lr * recipe.optim.batch_size / 256, lr_factor(recipe, run.step, run.total_steps)
    for group in run.optimiser.param_groups:
        now = scale * (1.0 if group["constant"] else share)
        if isinstance(group["lr"], Tensor):  # a graph reads the rate from where it was when it was recorded
            group["lr"].fill_(now)
        else:
            group["lr"] = now
    run.method.progress.fill_(run.step / run.total_steps)


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

    `index` lies on the CPU: a step then has no need to wait for the one before it to cut its views.
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
        self.graph: torch.cuda.CUDAGraph | None = None
        self.views: dict[int, list[View]] = {}  # by the size of whole views
        self.done = 0
        if world_size() > 1:
            if self.engine in ("compiled", "captured"):
                self.fall_back("views", "with many processes the networks run eagerly")
            self.forward = DistributedDataParallel(run.method, **{KEEP_BUFFERS: False})
        if self.engine == "captured" and not images.is_cuda:
            self.fall_back("compiled", f"a graph is recorded on CUDA, and this run is on {images.device.type}")
        if self.engine == "captured" and run.recipe.views.progressive_sizes:
            self.fall_back("compiled", "a graph has one size of views, and this recipe has progressive_sizes")
        if self.engine != "eager":
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
            self.render = torch.compile(render_channels_last, dynamic=False)
        if self.engine in ("compiled", "captured"):
            self.forward = torch.compile(run.method, dynamic=False)
        captured = self.engine == "captured"
        # One stream to make views beside the step before; one to record a graph on, which cannot be the default stream
        self.aside = torch.cuda.Stream(images.device) if images.is_cuda and not captured else None
        self.recorder = torch.cuda.Stream(images.device) if captured else None
        if self.aside is not None:
            self.aside.wait_stream(torch.cuda.current_stream(images.device))  # the pictures may still be on their way
        if images.is_cuda:
            torch.backends.cudnn.benchmark = True  # shapes are fixed: the fastest convolution is looked for once
        if captured:
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
            elif self.engine != "eager" and self.done == 0:
                outputs = self.first(index)
            else:
                outputs = self.work(index)
        self.run.step += 1
        self.done += 1
        return outputs

    def work(self, index: Tensor) -> Outputs:
        """One step on the rows `index`, and nothing that a graph could not hold."""
        run = self.run
        size = run.recipe.views.size_at(run.step, run.total_steps)
        if size not in self.views:  # the very same objects each time: what is compiled may be compiled for them
            self.views[size] = views_at_step(run.recipe, run.method, run.step, run.total_steps)
        with torch.cuda.stream(self.aside):  # no stream, no effect
            rows = index.to(self.images.device, non_blocking=True)[local_rows(len(index))]
            cut = make_views(self.images[rows], self.views[size], run.generator, self.render)
            labels = self.labels[rows]
        if self.aside is not None:
            now = torch.cuda.current_stream(self.images.device)
            now.wait_stream(self.aside)
            for made in (*cut, labels):
                made.record_stream(now)  # their memory is not given to a later view before the networks are through
        return optimize(run, cut, labels, self.dtype, self.forward)

    def first(self, index: Tensor) -> Outputs:
        """The first step, in which torch compiles. What cannot be compiled is taken back and done eagerly."""
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
            self.render = render_channels_last
            self.forward = run.method if world_size() == 1 else self.forward
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
