"""One step of a method as a graph: what it was given, which networks were called, what came out, where gradients go.

`tracer.trace` fills it by watching, `diagram` draws it. Plain data: it knows neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ...recipe.recipe import Recipe

Shape = tuple[int, ...]


@dataclass
class Node:
    """A thing in the graph, and the tensor behind it.

    kind: "view", "labels", "memory" (a queue that is read directly), "call" (of a network), "value" (a named output that was
    made of several things), "term" (a loss).
    """

    id: str
    kind: str
    tensor: Tensor  # detached; of a call the output that it became, or the last that was used of what it gave
    label: str  # what it is called in a picture: "x1", "p1", "queue"
    network: str = ""  # of a call or a memory: the module's path in the method
    method: str = ""  # of a call: which of the module's functions, "" for the call itself
    names: tuple[str, ...] = ()  # the keys of the method's outputs that hold it
    given: tuple[Shape, ...] = ()  # of a call: the shapes it was given
    gives: tuple[Shape, ...] = ()  # of a call: the shapes of what was used of what it gave
    gradient: float | None = None  # norm of the loss's gradient that arrived here; None where none did


@dataclass(frozen=True)
class Edge:
    """One thing was made of another. `gradient`: does one go back along it? `cut`: what stopped one that could have."""

    source: str
    target: str
    gradient: bool
    cut: str = ""  # "detach", "no_grad", "no derivative", "frozen", "nothing came back"; "" where there was nothing to stop


@dataclass
class Network:
    """A module of the method: its size, and how it learns: "gradient", "moving average" or "nothing"."""

    path: str
    what: str  # in a word or two: "ResNet", "linear 64 - 256 - 128"
    parameters: int
    learns: str = "nothing"
    follows: str = ""  # of a target network: the path of the one it follows
    momentum: float = 0.0  # and the share of itself that it keeps at a step
    holds: Shape = ()  # of a memory: the shape of what it keeps
    takes: tuple[str, ...] = ()  # of a memory: names of what enters it after the step


@dataclass
class Graph:
    """One step of a method, as it happened."""

    recipe: Recipe
    pictures: int  # in the batch that was watched
    progress: float  # share of the run that was done
    nodes: dict[str, Node]
    edges: list[Edge]
    networks: dict[str, Network]
    gauges: dict[str, float] = field(default_factory=dict)  # scalars that are no part of the loss

    def into(self, target: str) -> list[Edge]:
        """The edges that end in a node."""
        return [edge for edge in self.edges if edge.target == target]

    def leading_to(self, target: str) -> set[str]:
        """Every node from which a way leads to this one."""
        found: set[str] = set()
        todo = {target}
        while todo:
            todo = {edge.source for edge in self.edges if edge.target in todo} - found
            found |= todo
        return found

    def named(self, name: str) -> Node | None:
        """The node that holds an output of the method, by the output's key."""
        return next((node for node in self.nodes.values() if name in node.names), None)
