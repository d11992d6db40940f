"""What runs say, in numbers and in words: their accuracies by name, the protocol of each, who leads and by how much.

A number without its protocol, image set, seeds, hardware and seconds is a rumour; all of these are read from the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from ..core.errors import InputError, unknown
from ..core.text import plural
from .records import Record, group_by_method

CURVES = {  # a key of history.jsonl: (what it is, what it is multiplied by, decimals)
    "knn": ("kNN accuracy, %", 100, 1),
    "loss": ("loss", 1, 2),
    "spread": ("feature standard deviation (0 is collapse)", 1, 2),
    "rank": ("effective rank (directions in use)", 1, 1),
}
AXES = {
    "step": "optimiser steps",
    "epoch": "epochs",
    "seconds": "seconds of training",
    "pictures": "images shown (steps times batch)",
}


@dataclass(frozen=True)
class Accuracy:
    """One accuracy of one run."""

    value: float  # share of 1
    protocol: str  # in words
    published: str = ""  # the `measure` of published numbers under nearly the same protocol; "" if none are


def accuracies(result: Mapping[str, Any]) -> dict[str, Accuracy]:
    """Every accuracy that a result holds: {"kNN 20": ..., "kNN 20, whitened": ..., "linear": ...}."""
    found = {}
    for key, protocol in result["protocols"].items():
        if "k" not in protocol or key not in result:
            continue
        for transform, top in result[key].items():
            name = f"kNN {protocol['k']}" + " plain" * (not protocol["weighted"])
            votes = f"weighted, T {protocol['temperature']}" if protocol["weighted"] else "one vote each"
            words = f"cosine kNN, k {protocol['k']}, {votes}, {transform} features"
            same = (protocol["k"], protocol["temperature"], protocol["weighted"], transform) == (200, 0.1, True, "raw")
            found[name if transform == "raw" else f"{name}, {transform}"] = Accuracy(top["top1"], words, "knn" * same)
    if "linear" in result:
        words = f"logistic regression (L-BFGS, L2 {result['protocols']['linear']['l2']}) on cached features"
        found["linear"] = Accuracy(result["linear"]["top1"], words, "linear")
    for count, draws in result.get("few_labels", {}).items():
        words = f"logistic regression on {count} labels a class, mean of {len(draws)} draws"
        found[f"linear, {count} labels a class"] = Accuracy(mean(draws), words)
    if "paper_linear" in result:
        tests = result["paper_linear"]["tests"]
        words = f"the paper's augmented linear protocol, {tests[-1]['epoch']} epochs, last epoch"
        found["linear, the paper's"] = Accuracy(result["paper_linear"]["last"]["top1"], words, "linear")
    return found


def measures(records: Sequence[Record]) -> list[str]:
    """The names of all accuracies that any of these runs has."""
    return list(dict.fromkeys(name for r in records if r.result for name in accuracies(r.result)))


def measured(records: Sequence[Record], measure: str) -> tuple[dict[str, list[float]], Accuracy, list[Record]]:
    """{method: one share a seed} under one measure, the first such accuracy, and the runs that have none yet.

    Raises `InputError` where none has it, or where runs were evaluated in ways that cannot stand side by side.
    """
    have = [r for r in records if r.result and measure in accuracies(r.result)]
    if not have:
        if known := measures(records):
            raise unknown("measure of these runs", measure, known)
        raise InputError(f"no run here is evaluated yet: `mnclglf-lite evaluate {records[0].folder}` does it for one")
    ways = {tuple(r.result[key] for key in ("dataset", "on", "queries", "bank")): r for r in have}
    if len(ways) > 1:
        told = "; ".join(f"{r.name} seed {r.seed} {evaluated_on(r.result)}" for r in ways.values())
        raise InputError(f"these runs were evaluated in different ways ({told}): choose runs that were evaluated alike")
    rows = {name: [accuracies(r.result)[measure].value for r in seeds] for name, seeds in group_by_method(have).items()}
    return rows, accuracies(have[0].result)[measure], [r for r in records if r not in have]


def baselines(records: Sequence[Record], measure: str) -> dict[str, float]:
    """What raw pixels and an untrained network reach under a measure: the mean, where runs bring baselines of their own."""
    found: dict[str, dict[int, float]] = {}
    for r in records:
        for name, row in r.baselines.items():
            if measure in (there := accuracies(row)):
                found.setdefault(name, {})[id(row)] = there[measure].value
    return {name: mean(values.values()) for name, values in found.items()}


# ---- words


def evaluated_on(result: Mapping[str, Any]) -> str:
    """'evaluated on test (2,000 images, bank 10,000)'."""
    return f"evaluated on {result['on']} ({result['queries']:,} images, bank {result['bank']:,})"


def budget_in_words(budget: Mapping[str, Any]) -> str:
    """What was the same for all runs of a comparison."""
    if budget.get("minutes"):
        return f"{budget['minutes']:g} min each"
    if budget.get("image_views"):
        return f"{budget['image_views']:,} whole views each"
    return "as long as each recipe says"


def facts(records: Sequence[Record], protocol: str) -> str:
    """What any number of these runs must be read with: image set, protocol, budget, seeds, seconds, hardware."""
    seeds = {name: ", ".join(str(r.seed) for r in runs) for name, runs in group_by_method(records).items()}
    each = next(iter(seeds.values()))
    told = f"seed{'s' * (',' in each)} {each}"
    if len(set(seeds.values())) > 1:
        told = "seeds: " + "; ".join(f"{name} {some}" for name, some in seeds.items())
    hardware = dict.fromkeys(r.result["hardware"] for r in records if r.result)
    machine = " and ".join(hardware) or "hardware not told, since nothing is evaluated yet"
    budget = f"trained {budget_in_words(records[0].budget)}"
    least, most = (pick(round(r.seconds) for r in records) for pick in (min, max))
    seconds = f"{least:,} s" if least == most else f"{least:,} to {most:,} s"
    return f"{records[0].dataset}, {protocol}; {budget}; {told}; {seconds} a run; {machine}"


def percent(values: Sequence[float]) -> str:
    """'73.0 (65.1 to 80.7)': the mean of the seeds, and their range where there are several."""
    text = f"{100 * mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def lead(rows: Mapping[str, Sequence[float]], with_labels: Sequence[str] = ()) -> tuple[str, str]:
    """Who leads, as part of a title and of a sentence: beside the range of the seeds, among those without labels."""
    free = {name: values for name, values in rows.items() if name not in with_labels} or dict(rows)
    first, *others = sorted(free, key=lambda name: -mean(free[name]))
    among = "without labels, " if len(free) < len(rows) else ""
    if not others:
        return f"{among}{first} alone", f"{among}{first} stands alone with {percent(free[first])}."
    second, a, b = others[0], free[first], free[others[0]]
    gap = 100 * (mean(a) - mean(b))
    counts = plural(len(a), "seed") + (f" against {len(b)}" if len(a) != len(b) else "")
    if len(a) == len(b) == 1:
        short, long = "one seed each", "one seed each, so nobody can say whether that is more than chance"
    elif min(a) <= max(b):
        short, long = "the ranges overlap", f"the ranges overlap, {counts}"
    else:
        short, long = "the ranges are apart", f"the ranges do not overlap, {counts}"
    sentence = f"{first} leads with {percent(a)} against {second}'s {percent(b)}: {gap:.1f} points, {long}."
    return f"{among}{first} leads {second} by {gap:.1f} points: {short}", among + sentence


def unfinished(records: Sequence[Record]) -> str:
    """A sentence about runs that stopped early; "" if all came to their end."""
    told = [f"{r.name} seed {r.seed} (step {r.step:,} of {r.steps or '?'})" for r in records if not r.finished]
    return f"Not finished: {', '.join(told)}." if told else ""
