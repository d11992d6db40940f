"""A step's graph in words: the same as its picture says, for whoever reads or hears it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...core.text import plural
from ...evaluation.collapse import effective_rank
from .graph import Graph

STOPPED = {
    "detach": "detach holds it still",
    "no_grad": "computed without gradient",
    "no derivative": "an operation without a derivative",
    "frozen": "a frozen network",
    "nothing came back": "nothing came back",
}


def describe(graph: Graph) -> str:
    """The whole step: what learns and how, what the loss is made of, where a gradient is stopped, and the labels."""
    views = sum(node.kind == "view" for node in graph.nodes.values())
    said = [f"{plural(views, 'view')} of each of {graph.pictures} pictures, {graph.progress:.0%} of the run done."]
    by: dict[str, list[str]] = {"gradient": [], "moving average": [], "nothing": [], "memory": []}
    for path, network in graph.networks.items():
        calls = sum(node.kind == "call" and node.network == path for node in graph.nodes.values())
        if network.holds:
            takes = f", takes in {_list(network.takes)} after the step" if network.takes else ""
            by["memory"].append(f"{path} holds {tuple(network.holds)}{takes}")
        elif network.learns == "moving average":
            by["moving average"].append(f"{path} follows {network.follows}, of itself it keeps {network.momentum:.3g}")
        else:
            by[network.learns].append(f"{path} ({network.parameters:,} numbers, {plural(calls, 'call')})")
    heads = {"gradient": "Learns by gradient", "moving average": "Twins", "nothing": "Learns nothing", "memory": "Memory"}
    said += [f"{heads[kind]}: {'; '.join(parts)}." for kind, parts in by.items() if parts]
    loss = f"The loss is {float(graph.nodes['loss'].tensor):.3f}"
    terms = [node for node in graph.nodes.values() if node.kind == "term" and node.id != "loss"]
    parts = [f"{node.id} {float(node.tensor):.3f} counts {node.gradient or 0:.3g}" for node in terms]
    said += [f"{loss}: {', '.join(parts)}." if parts else f"{loss}.", stops(graph)]
    said += ["Labels reach the loss." if "labels 1" in graph.nodes else "No label reaches the loss."]
    return " ".join(said)


def stops(graph: Graph) -> str:
    """Where a gradient could have gone on and does not."""
    cuts = [edge for edge in graph.edges if edge.cut and edge.cut != "frozen"]
    if not cuts:
        return "No gradient is stopped on its way."
    said = [f"from {name(graph, e.target)} to {name(graph, e.source)} ({STOPPED.get(e.cut, e.cut)})" for e in cuts]
    return f"No gradient goes back {_list(said)}."


def name(graph: Graph, key: str) -> str:
    """What a node is called in a sentence."""
    node = graph.nodes[key]
    if node.kind == "call":
        number = key.rpartition(" ")[2]
        calls = sum(other.network == node.network and other.kind == "call" for other in graph.nodes.values())
        called = f"{node.network}{f', call {number}' if calls > 1 else ''}"
        return f"{node.label} ({called})" if node.label else called
    return node.label


def describe_node(graph: Graph, key: str) -> str:
    """One node: what it is, what it was made of, its tensor, and its gradient."""
    node = graph.nodes[key]
    sources = _list([_short(graph, edge.source) for edge in graph.into(key)])
    if node.kind == "view":
        begin = f"{node.label}: a view of every picture, as the networks were given it"
    elif node.kind == "labels":
        begin = "labels: the class of every picture"
    elif node.kind == "memory":
        begin = f"{node.label}: what it held before the step"
    else:
        begin = f"{name(graph, key)}, made of {sources}"
        if node.kind == "call":
            begin += f"; given {_list([str(s) for s in node.given])}, it gave {_list([str(s) for s in node.gives])}"
    parts = [begin, *(f"{head} {value}" for head, value in facts(graph, key))]
    return "; ".join(parts) + "."


def facts(graph: Graph, key: str) -> list[tuple[str, str]]:
    """What is measured of a node's tensor: (name, value) pairs."""
    node, x = graph.nodes[key], graph.nodes[key].tensor
    if x.numel() == 1:
        found = [("value", f"{float(x):.4f}")]
    else:
        found = [("shape", str(tuple(x.shape))), ("type", str(x.dtype).removeprefix("torch."))]
    if x.is_floating_point() and x.numel() > 1:
        mean = round(float(x.mean()), 3) + 0.0  # never -0
        found += [("mean", f"{mean:.3f}"), ("standard deviation", f"{float(x.std()):.3f}")]
        flat = rows(x)
        if node.kind != "view" and flat is not None:
            rank = float(effective_rank(flat[:2048]))
            found.append(("length of a row", f"{float(flat.norm(dim=1).mean()):.2f}"))
            found.append(("effective rank", f"{rank:.1f} of at most {min(flat.shape)}"))
    if node.kind in ("call", "value", "term"):
        arrived = f"arrived, of norm {node.gradient:.3g}" if node.gradient is not None else "none arrived"
        found.append(("gradient", arrived))
    return found


def rows(x: Tensor) -> Tensor | None:
    """A tensor as rows of embeddings (N, D): (C, N, D) row after row, maps (N, C, h, w) by their means; None for others."""
    if x.ndim == 4:
        return x.mean(dim=(2, 3))
    if x.ndim < 2 or not torch.is_floating_point(x):
        return None
    return x.flatten(0, -2)


def _short(graph: Graph, key: str) -> str:
    node = graph.nodes[key]
    return node.label or name(graph, key)


def _list(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
