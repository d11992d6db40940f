"""Watch one step of a method from outside: calls of its networks, gradients that arrive, target networks that move.

The functions by which the networks of a copy are entered are wrapped, so that a call is noted and what it gave becomes a
place in the ledger (`provenance`). What happens inside a network is its own business. Hooks on tensors tell of gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InputError
from ...methods.base import Method
from .graph import Network, Shape
from .modules import buffer_of, entry_points, find_ema_source, networks_of, short_name, weights
from .provenance import Ledger, iter_tensors, map_tensors

NUDGE = 0.1  # root mean square (ours): far above rounding, so that a moving average is measured well


@dataclass
class Call:
    """A network was called."""

    id: str
    network: str
    door: str
    given: tuple[Shape, ...]
    gave: list[Tensor] = field(default_factory=list)
    arrived: dict[int, float] = field(default_factory=dict)  # norms of the gradients that came back to each of `gave`
    passed: bool = False  # whether one went on through the call, to where its input came from


class StepRecorder:
    """One step of a method that nobody needs any more: `forward`, `backward`, then `after`."""

    def __init__(self, method: Method, name: str):
        self.method, self.name = method, name
        self.modules = networks_of(method)
        self.ledger = Ledger()
        self.calls: dict[str, Call] = {}
        self.taken: dict[str, list[Tensor]] = {}  # by a memory
        self.arrived: dict[str, float] = {}  # norms of the gradients that came back to outputs
        self.over = False  # forward and backward are done
        for path, module in self.modules.items():
            for door, function in entry_points(module):
                module.__dict__[door] = self.watched(path, door, function.__get__(module))

    def forward(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The tensors among the method's outputs. Places are "view 1", "labels 1", "backbone 0" (its numbers), "backbone 1"
        (what its first call gave)."""
        own = self.method
        with self.ledger:
            for path, module in self.modules.items():
                for tensor in (*module.parameters(), *module.buffers()):
                    self.ledger.begin(tensor, f"{path} 0")
            for name, tensor in (*own.named_parameters(recurse=False), *own.named_buffers(recurse=False)):
                if name != "progress":
                    self.ledger.begin(tensor, f"{name} 0")
            for number, view in enumerate(views, 1):
                self.ledger.begin(view, f"view {number}")
            self.ledger.begin(labels, "labels 1")
            self.outputs = self.guarded("forward", lambda: own(list(views), labels))
        loss = self.outputs.get("loss") if isinstance(self.outputs, dict) else None
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InputError(f"the forward of {self.name!r} must give a dictionary with 'loss', a scalar")
        if not loss.requires_grad:
            raise InputError(f"no gradient can leave the loss of {self.name!r}: nothing in it learns")
        return {name: value for name, value in self.outputs.items() if isinstance(value, Tensor)}

    def backward(self) -> None:
        """Send the loss's gradient back, and note where it arrives."""
        for name, value in self.outputs.items():
            if isinstance(value, Tensor):
                _tell(value, lambda norm, name=name: self.arrived.update({name: norm}))
        self.guarded("backward", self.outputs["loss"].backward)
        self.over = True

    def after(self) -> dict[str, Network]:
        """What `after_step` does, once the weights have moved as an optimiser would move them: how each network learns."""
        own = self.method
        taught = [p for p, m in self.modules.items() if any(w.grad is not None and w.grad.any() for w in m.parameters())]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in own.parameters():
                if parameter.requires_grad:
                    parameter.add_(NUDGE * torch.randn(parameter.shape, generator=generator))
        before = {path: weights(module) for path, module in self.modules.items()}
        self.guarded("after_step", lambda: own.after_step(self.outputs))
        found = {}
        for path, module in self.modules.items():
            network = found[path] = Network(path, short_name(module), sum(p.numel() for p in module.parameters()))
            if path in taught:
                network.learns = "gradient"
            elif leader := find_ema_source(path, before, self.modules):
                network.learns, (network.follows, network.momentum) = "moving average", leader
            memory = buffer_of(module)
            if memory is not None:
                network.holds = tuple(memory.shape)
                network.takes = tuple(self.name_of(tensor) for tensor in self.taken.get(path, ()))
        return found

    def name_of(self, tensor: Tensor) -> str:
        """The output that a tensor is, or what it was made of."""
        named = [name for name, value in self.outputs.items() if value is tensor]
        return named[0] if named else ", ".join(sorted(self.ledger.before(tensor))) or "something else"

    def guarded(self, where: str, work: Callable[[], Any]) -> Any:
        """A method of one's own may break in any way: say where."""
        try:
            return work()
        except InputError:
            raise
        except Exception as error:
            message = f"{where} of the method {self.name!r} broke off: {type(error).__name__}: {error}"
            raise InputError(message) from error

    # ---- calls

    def watched(self, path: str, door: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which notes each call that comes from outside its network."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.ledger.inside:
                return function(*args, **kwargs)
            given = list(iter_tensors((args, kwargs)))
            number = 1 + sum(other.network == path for other in self.calls.values())
            shapes = tuple(tuple(tensor.shape) for tensor in given)
            note = Call(f"{path} {number}", path, "" if door == "forward" else door, shapes)
            self.ledger.inside += 1
            try:
                args, kwargs = map_tensors((args, kwargs), lambda tensor: self.at_door(tensor, note))
                result = function(*args, **kwargs)
                kept = given and not list(iter_tensors(result))
                if kept and buffer_of(self.modules[path]) is not None:
                    self.taken.setdefault(path, []).append(given[0])
                return result if self.over else self.noted(note, given, result)
            finally:
                self.ledger.inside -= 1

        return call

    @staticmethod
    def at_door(tensor: Tensor, note: Call) -> Tensor:
        """The same tensor at the door of a network: a gradient that goes out there is noted."""
        if not tensor.requires_grad:
            return tensor
        door = tensor.view_as(tensor)
        _tell(door, lambda norm: setattr(note, "passed", note.passed or norm > 0))
        return door

    def noted(self, note: Call, given: list[Tensor], result: Any) -> Any:
        """What a network gave: places of their own from here on."""
        same = {id(tensor) for tensor in given}  # given back as it was: still another thing
        result = map_tensors(result, lambda t: t.view_as(t) if id(t) in same else t)
        for i, tensor in enumerate(iter_tensors(result)):
            self.calls[note.id] = note
            note.gave.append(tensor)
            self.ledger.begin(tensor, note.id, given)
            _tell(tensor, lambda norm, i=i: note.arrived.update({i: norm}))
        return result


def _tell(tensor: Tensor, told: Callable[[float], None]) -> None:
    """Tell the norm of the gradient, should one arrive."""
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: told(float(gradient.norm())))
