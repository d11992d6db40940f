"""Runs side by side where they ended: their accuracies as dots, what others published beside them, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from ...drawing.canvas import Drawing
from ...drawing.dotplot import dot_plot
from ...methods.registry import METHODS, VARIANTS
from ...results import summary
from ...results.published import Published, published
from ...results.records import Record, group_by_method

LETTERS = "abcdefgh"  # of sources


def accuracy_dots(records: Sequence[Record], measure: str, elsewhere: bool = True) -> Drawing:
    """Where runs ended, under one measure (see `summary.measures`): a dot a seed, a bar their mean, baselines as lines.

    elsewhere: show what others published for these methods and this image set, as hollow diamonds with a letter for the
    source; each has a protocol of its own, which the note names.
    """
    rows, accuracy, without = summary.measured(records, measure)
    have = [r for r in records if r not in without]
    labels = list(dict.fromkeys(r.name for r in have if r.with_labels))
    base, dataset = summary.baselines(have, measure), have[0].dataset
    marks, sources, others = _elsewhere(rows, have, accuracy.published) if elsewhere else ({}, {}, "")

    what = f"{measure} accuracy, %"
    short, long = summary.lead(rows, labels)
    facts = summary.facts(have, f"{summary.evaluated_on(have[0].result)}; {accuracy.protocol}; last step")
    note = f"A dot is a seed, a bar their mean{'; open squares: with labels' * bool(labels)}. {facts}."
    told = " ".join(f"{letter}: {text}." for letter, text in sources.items())
    small = note + f" Hollow diamonds: published elsewhere, each under a protocol of its own. {told}" * bool(sources)
    figure = dot_plot({what: rows}, {what: base}, labels, f"On {dataset}, {short}", small, {what: marks})

    ranking = sorted(rows, key=lambda name: -mean(rows[name]))
    ended = ", ".join(f"{name}{' (labels)' * (name in labels)} {summary.percent(rows[name])}" for name in ranking)
    words = f"{what}, on {dataset}: {long} All, from the best: {ended}. "
    words += f"To beat: {', '.join(f'{name} {100 * value:.1f}' for name, value in base.items())}. " * bool(base)
    left_out = ", ".join(f"{r.name} seed {r.seed}" for r in without)
    words += f"Not evaluated under this measure: {left_out}. " * bool(without) + summary.unfinished(have)
    if sources:
        note += f"\nPublished elsewhere, each under a protocol of its own, so no ranking with ours: {others}. {told}"
    elif elsewhere:
        note += "\nOf these methods nothing is published for this image set under a measure like this one."
    alt = "A dot plot: a row a method, a dot a seed, baselines as lines from top to bottom"
    return Drawing(figure, f"{words.strip()}\n{note}", alt)


def _elsewhere(
    names: Mapping[str, Sequence[float]], records: Sequence[Record], measure: str
) -> tuple[dict[str, dict[str, list[float]]], dict[str, str], str]:
    """What is published under a comparable measure: {name: {letter: shares}}, {letter: source and protocols}, in words."""
    found = {name: _about(name, runs[0]) for name, runs in group_by_method(records).items() if name in names}
    found = {name: [row for row in rows if row.measure == measure] for name, rows in found.items()}
    letters: dict[str, str] = {}
    protocols: dict[str, list[str]] = {}
    marks: dict[str, dict[str, list[float]]] = {}
    for name, rows in found.items():
        for row in rows:
            letter = letters.setdefault(row.source, LETTERS[len(letters)])
            marks.setdefault(name, {}).setdefault(letter, []).append(row.top1 / 100)
            said = row.protocol + (f", {row.epochs} epochs of training" if row.epochs else "")
            if said not in protocols.setdefault(row.source, []):
                protocols[row.source].append(said)
    sources = {letter: f"{source} ({'; '.join(protocols[source])})" for source, letter in letters.items()}
    told = []
    for name, theirs in marks.items():
        values = sorted({100 * share for shares in theirs.values() for share in shares})
        told.append(f"{name} {values[0]:.1f}" + (f" to {values[-1]:.1f}" if len(values) > 1 else ""))
    return marks, sources, ", ".join(told)


def _about(name: str, record: Record) -> list[Published]:
    """Published numbers of what a run trained: by its name, or by its method where the folder is named after neither."""
    known = name in METHODS or name in VARIANTS
    return published(name if known else record.recipe["method"], record.dataset)
