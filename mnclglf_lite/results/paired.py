"""Paired differences: parts of MNCLGLF left out or changed, the same seeds with and without, and a confidence interval.

    result = json.loads((records.KEPT / "ablation/ask/compare.json").read_text())
    print(sentences(result))
    picture(result)

Seeds are compared in pairs: two runs of one seed start from the same weights and see the same images in the same order.
That does not change the mean difference; it takes out of its uncertainty what a seed gives to both, if it gives anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, unknown
from ..drawing.palette import AGREE, GREY, INK
from ..drawing.plots import new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.95  # of an interval
MEASURES = {  # what is compared: (its name, how it is read from a run's result)
    "knn20": ("kNN (k 20)", lambda run: run["knn20"]["raw"]["top1"]),
    "linear": ("linear", lambda run: run["linear"]["top1"]),
}
TITLES = {  # a variant's row, in words
    "released": "as released: local term without gradient",
    "local-only": "local term alone",
    "weights-1-to-6": "weights 1 and 6",
    "random-crops": "random local crops for the grid",
    "one-network": "one network",
    "three-networks": "three networks",
    "no-swap": "no swap for neighbours",
}

NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "tinyimagenet": "TinyImageNet"}


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences and the interval around it, in points; `each` has one value a seed."""

    each: tuple[float, ...]
    low: float
    high: float

    @property
    def mean(self) -> float:
        return mean(self.each)

    @property
    def clear(self) -> bool:
        """Is zero outside the interval?"""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.2f} points ({self.low:+.2f} to {self.high:+.2f})"


def paired_difference(one: Sequence[float], other: Sequence[float], level: float = LEVEL) -> Difference:
    """one - other, seed by seed, in points (shares of 1 go in), with Student's interval of their mean.

    The interval supposes that the differences scatter normally around the true one. It is about other seeds alone: settings,
    test images and length of the run stay the same.
    """
    from scipy.stats import t

    if len(one) != len(other) or len(one) < 2:
        raise InputError(f"pairs are needed, two at least; got {len(one)} and {len(other)} values")
    each = tuple(100 * (a - b) for a, b in zip(one, other, strict=True))
    reach = t.ppf((1 + level) / 2, len(each) - 1) * stdev(each) / len(each) ** 0.5
    return Difference(each, mean(each) - reach, mean(each) + reach)


def compare_rows(
    result: dict[str, Any], one: str, other: str, measure: str = "knn20", seeds: Collection[int] | None = None
) -> Difference:
    """Row `one` minus row `other` of a comparison's record (`compare.json`), over `seeds`: all that both have by default."""
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    found = []
    for name in (one, other):
        if name not in result["rows"]:
            raise unknown("row", name, result["rows"])
        found.append({run["seed"]: MEASURES[measure][1](run) for run in result["rows"][name]["runs"]})
    both = sorted(seed for seed in found[0].keys() & found[1].keys() if seeds is None or seed in seeds)
    return paired_difference([found[0][seed] for seed in both], [found[1][seed] for seed in both])


def gaps(result: dict[str, Any], one: str, other: str, seeds: Collection[int] | None = None) -> str:
    """Row `one` minus row `other` by every measure, in words: +0.42 points (-0.31 to +1.15) of kNN (k 20) and ..."""
    found = {what: compare_rows(result, one, other, name, seeds) for name, (what, _) in MEASURES.items()}
    return " and ".join(f"{difference} of {what}" for what, difference in found.items())


def sentences(
    result: dict[str, Any], one: str = "drawn", other: str = "released", names: tuple[str, str] = ("as drawn", "as released")
) -> str:
    """The answer in two sentences: row `one` minus row `other` with its interval, and what that settles."""
    found = {what: compare_rows(result, one, other, name) for name, (what, _) in MEASURES.items()}
    runs = result["rows"][one]["runs"]
    first = (
        f"On {NAMES.get(result['dataset'], result['dataset'])} ({result['on']}), with the slim network after "
        f"{runs[0]['steps']:,} steps ({runs[0]['image_views']:,} whole views), *{names[0]}* minus *{names[1]}* is "
        f"{gaps(result, one, other)} accuracy: means of {len(found['linear'].each)} paired seeds with their "
        f"{100 * LEVEL:.0f} % intervals."
    )
    ahead = {what: names[each.mean < 0] for what, each in found.items() if each.clear}
    if not ahead:
        second = "That does not tell the two apart: the difference lies within the intervals"
    elif len(ahead) < len(found):
        (told,), (left,) = ahead, found.keys() - ahead.keys()
        second = f"The {told} accuracy puts *{ahead[told]}* ahead, {left} cannot tell the two apart"
    elif len(set(ahead.values())) == 1:
        second = f"Here *{ahead['linear']}* is ahead by both"
    else:
        each = ", ".join(f"{what} puts *{form}* ahead" for what, form in ahead.items())
        second = f"The two measures disagree: {each}"
    return f"{first} {second}; how 200 epochs of a ResNet-18 end, this does not say."


def picture(result: dict[str, Any]) -> Figure:
    """Every variant minus the drawn form: a dot a seed, a bar their mean, a line its interval; zero is the drawn form."""
    names = [name for name in result["rows"] if name != "drawn"]
    runs = result["rows"]["drawn"]["runs"]
    found = {measure: {name: compare_rows(result, name, "drawn", measure) for name in names} for measure in MEASURES}
    order = sorted(names, key=lambda name: found["knn20"][name].mean)  # from the bottom
    middle = {measure: 100 * mean(read(run) for run in runs) for measure, (_, read) in MEASURES.items()}
    note = (
        f"Variant minus as drawn, seed by seed ({', '.join(str(run['seed']) for run in runs)}): dots; their mean: bar; its "
        f"{100 * LEVEL:.0f} % interval (Student's t, other seeds, the same test images): line, blue where zero is "
        f"outside. {result['dataset']}, evaluated on {result['on']}, {runs[0]['steps']:,} steps each; as drawn: "
        + ", ".join(f"{what} {middle[name]:.1f}" for name, (what, _) in MEASURES.items())
        + f" %; kNN: weighted, T 0.1; {runs[0]['hardware']}; {mean(run['train_seconds'] for run in runs):.0f} s a run"
    )
    tall = 2.1 + 0.42 * len(order)
    figure, low, high = new_figure(10.0, tall, "Ablation of MNCLGLF: one part changed at a time", note)
    bottom, width = low + 0.55 / tall, 0.31
    for i, (measure, (what, _)) in enumerate(MEASURES.items()):
        axes = figure.add_axes((0.335 + i * (width + 0.025), bottom, width, high - bottom))
        style_axes(axes)
        axes.grid(False, axis="y")
        axes.axvline(0, color=GREY, linewidth=1)
        for place, name in enumerate(order):
            one = found[measure][name]
            colour = AGREE if one.clear else GREY
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=1.6, alpha=0.7)
            axes.plot([one.mean] * 2, [place - 0.25, place + 0.25], color=colour, linewidth=2.2)
            axes.scatter(one.each, [place] * len(one.each), s=26, color=colour, edgecolor="white", linewidth=0.8, zorder=3)
        axes.set(ylim=(-0.6, len(order) - 0.4), yticks=range(len(order)), xlabel=f"{what}: points above as drawn")
        axes.tick_params(axis="y", length=0, labelleft=i == 0, labelsize=10.5, labelcolor=INK)
        if i == 0:
            axes.set_yticklabels([TITLES.get(name, name) for name in order])
    return figure
