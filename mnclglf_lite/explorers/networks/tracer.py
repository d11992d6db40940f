"""What happens in one step of a method: which network is given what, what comes out, and where gradients flow. Measured.

    a copy of the method ──▶ a small batch through it ──▶ backward ──▶ weights nudged ──▶ after_step
        who calls whom, and with which shapes ┘               │                               └ who moved towards whom,
                               which outputs of which calls, and which weights, got a gradient     what entered a queue

Nothing here knows any method. Networks are the modules that a method holds (`modules`), a call is noted when it happens
(`recorder`), an edge is what the ledger followed (`provenance`), and a gradient counts where one that is not zero arrived.
So it works for a method of your own as for those of the package. The method itself is not touched: a copy is watched.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...methods.base import Method
from ...recipe.recipe import Recipe
from ...training.step import views_at_step
from ...views.batch import make_views
from .graph import Edge, Graph, Node
from .modules import buffer_of, weights
from .provenance import GradientPath
from .recorder import Call, StepRecorder

FEW = 32  # pictures at most (ours): enough for BatchNorm and for a rank, few enough for a blink
STEPS = 1000  # of a run that is as far on as asked, for progressive sizes (ours)


def trace(method: Method, recipe: Recipe, pictures: ImageSet, progress: float = 0.1, seed: int = 0) -> Graph:
    """Watch one step of a method on the first few of `pictures`; the method is left as it is.

    recipe: that of the method. progress: share of the run that is done, from 0 to 1, for a method whose loss or moving
    average depends on it. seed: of the views.
    """
    count = few(recipe, len(pictures))
    try:
        own = copy.deepcopy(method).cpu()
    except Exception as error:  # an attribute that cannot be copied: a tensor with a history, a lock, an open file
        raise InputError(
            f"the method {recipe.method.name!r} cannot be copied ({type(error).__name__}: {error}); keep modules, buffers, "
            "parameters and plain values as its attributes, nothing else"
        ) from error
    own.train().zero_grad(set_to_none=True)
    own.progress.fill_(progress)
    own.generator = torch.Generator().manual_seed(seed)
    images, labels = pictures.images[:count].cpu(), pictures.labels[:count].cpu()
    kinds = views_at_step(recipe, method, round(progress * (STEPS - 1)), STEPS)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        watch, views = StepRecorder(own, recipe.method.name), make_views(images, kinds, own.generator)
        outputs = watch.forward(views, labels)
        watch.backward()
        graph = _Reader(watch, outputs).graph(recipe, views, labels, progress)
        graph.networks = watch.after()
    return graph


def few(recipe: Recipe, pictures: int) -> int:
    """How many pictures to watch: a divisor of the batch (as a queue takes), a multiple of `bn_splits`."""
    batch, parts = recipe.optim.batch_size, recipe.method.bn_splits
    for count in range(min(FEW, pictures, batch), 1, -1):
        if batch % count == 0 and count % parts == 0 and count > parts:
            return count
    raise InputError(
        f"{pictures} pictures are too few to watch a step of this recipe: give at least {max(2, 2 * parts)}; they must "
        f"divide its batch ({batch}) and be a multiple of its bn_splits ({parts})"
    )


class _Reader:
    """What was watched, as a graph."""

    def __init__(self, watch: StepRecorder, outputs: dict[str, Tensor]):
        self.watch, self.ledger, self.calls, self.outputs = watch, watch.ledger, watch.calls, outputs
        self.terms = [name for name, value in outputs.items() if value.numel() == 1 and name.startswith("loss")]

    def graph(self, recipe: Recipe, views: list[Tensor], labels: Tensor, progress: float) -> Graph:
        for name in sorted(self.terms, key=lambda name: name != "loss"):  # "loss" first, should two names hold one thing
            self.ledger.call(self.outputs[name], name)
        nodes = {f"view {i}": Node(f"view {i}", "view", view.detach(), f"x{i}") for i, view in enumerate(views, 1)}
        nodes["labels 1"] = Node("labels 1", "labels", labels, "labels")
        names = self.names()
        nodes |= {call.id: self.call(call, tuple(names.get(call.id, ()))) for call in self.calls.values()}
        for name, tensor in self.outputs.items():
            if name in self.ledger.places(tensor) and name not in nodes:
                gradient = self.watch.arrived.get(name) or None
                kind = "term" if name in self.terms else "value"
                nodes[name] = Node(name, kind, tensor.detach(), name, names=(name,), gradient=gradient)
        edges = self.edges(nodes)
        read = {edge.source for edge in edges} - set(nodes)  # a queue, or a parameter, that is read directly
        for place in sorted(read, key=self.ledger.rank):
            nodes[place] = self.memory(place)
        graph = Graph(recipe, len(labels), progress, nodes, edges, {})
        reached = graph.leading_to("loss") | {"loss"}
        for node in list(nodes.values()):
            if node.kind in ("labels", "value", "memory") and node.id not in reached:  # for gauges alone
                del nodes[node.id]
        graph.edges = [edge for edge in edges if edge.source in nodes and edge.target in nodes]
        rest = [(name, v.detach()) for name, v in self.outputs.items() if v.numel() == 1 and graph.named(name) is None]
        graph.gauges = {name: float(value) for name, value in rest}
        return graph

    def names(self) -> dict[str, list[str]]:
        """The names of outputs that are what one call gave, by call. Those made of several things become places."""
        found: dict[str, list[str]] = {}
        for name, tensor in self.outputs.items():
            if not tensor.is_floating_point() or tensor.numel() == 1:
                continue
            places = self.ledger.places(tensor)
            made_of = places or set(self.ledger.before(tensor))
            if len(made_of) == 1 or places:
                for call in made_of & set(self.calls):
                    found.setdefault(call, []).append(name)
            else:
                self.ledger.call(tensor, name)
        return found

    def call(self, call: Call, names: tuple[str, ...]) -> Node:
        """A call's node. Of what it gave, that counts which something outside was made of."""
        used = [i for i, t in enumerate(call.gave) if t.is_floating_point() and self.is_used(t)] or [*range(len(call.gave))]
        norms = [call.arrived[i] for i in reversed(used) if call.arrived.get(i)]
        return Node(
            call.id,
            "call",
            (self.outputs[names[0]] if names else call.gave[used[-1]]).detach(),
            ", ".join(names),
            call.network,
            call.door,
            names,
            call.given,
            tuple(tuple(call.gave[i].shape) for i in used),
            norms[0] if norms else None,
        )

    def is_used(self, tensor: Tensor) -> bool:
        """Whether anything outside its network was made of it."""
        number = self.ledger.tags.get(id(tensor))
        made = any(number in value.parents for value in self.ledger.values)
        return made or any(tensor is value for value in self.outputs.values())

    def memory(self, place: str) -> Node:
        """A node for numbers that are read directly: a memory's, a network's weights, or a tensor of the method's own."""
        path = place.removesuffix(" 0")
        module = self.watch.modules.get(path)
        if module is None:
            tensor = getattr(self.watch.method, path)
            gradient = None if tensor.grad is None else float(tensor.grad.norm()) or None
            return Node(place, "memory", tensor.detach().clone(), path, gradient=gradient)
        memory = buffer_of(module)
        return Node(place, "memory", weights(module) if memory is None else memory.clone(), path, path)

    def edges(self, nodes: dict[str, Node]) -> list[Edge]:
        found = []
        for node in nodes.values():
            call = self.calls.get(node.id)
            made = call.gave if call else [self.outputs[node.id]] if node.kind in ("value", "term") else []
            ways: dict[str, GradientPath] = {}
            for tensor in made:
                ways |= self.ledger.behind(tensor)
            for source, way in ways.items():
                if call and source == f"{call.network} 0":  # its own weights are no news
                    continue
                if call and source.startswith("view "):  # nothing learns in a view; does what it was given to?
                    learns, cut = node.gradient is not None, way.cut or self.why(call)
                elif call:
                    learns, cut = way.gradient and call.passed, way.cut
                else:
                    reached = source not in nodes or nodes[source].gradient is not None
                    learns, cut = way.gradient and reached and node.gradient is not None, way.cut
                found.append(Edge(source, node.id, learns, "" if learns else cut))
        return found

    def why(self, call: Call) -> str:
        """Why a call that was given views did not learn."""
        if any(tensor.requires_grad for tensor in call.gave):
            return "nothing came back"
        learnable = any(p.requires_grad for p in self.watch.modules[call.network].parameters())
        return "no_grad" if learnable else "frozen"
