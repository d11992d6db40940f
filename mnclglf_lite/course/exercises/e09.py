"""Exercises of notebook 09: how many steps a run has, what it costs, what to report of it, and how to compare tables."""

from __future__ import annotations

from ..exercise import Case, Exercise, KnownMistake, Property

HISTORY = [  # kNN accuracy on the hold-out, one row an epoch
    {"epoch": 1.0, "knn": 0.41}, {"epoch": 2.0, "knn": 0.55}, {"epoch": 3.0, "knn": 0.52}, {"epoch": 4.0, "knn": 0.54},
]  # fmt: skip
OURS = {"simclr": 0.60, "byol": 0.45, "mnclglf": 0.63}
THEIRS = {"simclr": 0.8711, "byol": 0.8558, "mnclglf": 0.9018}


def steps_of(pictures: int, batch: int, epochs: int) -> int:
    """Optimiser steps of a run; an epoch's last, incomplete batch is dropped."""
    return pictures // batch * epochs


def hours(steps: int, batch: int, pictures_a_second: float) -> float:
    """Hours that a run takes at a rate of pictures (not views) a second."""
    return steps * batch / pictures_a_second / 3600


def last_and_best(history: list[dict[str, float]]) -> tuple[float, float]:
    """kNN accuracy after the last epoch, and that of the best one."""
    return history[-1]["knn"], max(row["knn"] for row in history)


def against(table: dict[str, float], anchor: str) -> dict[str, float]:
    """Each method's accuracy over that of one method of the same table."""
    return {name: value / table[anchor] for name, value in table.items()}


def divided_in_place(table: dict[str, float], anchor: str) -> dict[str, float]:
    for name in table:
        table[name] /= table[anchor]
    return table


EXERCISES = {
    "09.1": Exercise(
        goal="how many optimiser steps a run of some epochs has",
        reference=steps_of,
        trials=[
            Case("10 pictures in batches of 4, 3 epochs: 2 full batches each", (10, 4, 3), 6),
            Case("CIFAR-10's 45,000, batch 256, 200 epochs", (45_000, 256, 200)),
        ],
        slips=[
            KnownMistake(
                lambda n, b, e: -(-n // b) * e,
                "the incomplete batch at the end of an epoch was counted; it is dropped, since BatchNorm and the queue want full ones",
            ),
            KnownMistake(
                lambda n, b, e: n * e // b,
                "pictures left over at the end of one epoch do not move into the next: round down per epoch, then multiply",
            ),
            KnownMistake(lambda n, b, e: n / b * e, "a step is a whole thing: use //"),
            KnownMistake(lambda n, b, e: n // b, "that is one epoch; multiply by how many there are"),
        ],
        hints=(
            "How many full batches fit into one epoch? And how many epochs are there?",
            "floor(pictures / batch) · epochs",
            "pictures // batch * epochs, a whole number.",
        ),
        difficulty=1,
        minutes=2,
        home="mnclglf_lite.training.run.new_run",
    ),
    "09.2": Exercise(
        goal="the hours that a run takes",
        reference=hours,
        trials=[
            Case("3,600 steps of 10 pictures at 10 pictures a second: one hour", (3600, 10, 10.0), 1.0),
            Case("CIFAR-10 for 200 epochs at 1,800 pictures a second", (35_000, 256, 1800.0)),
        ],
        slips=[
            KnownMistake(lambda s, b, r: s / r / 3600, "a step has `batch` pictures: the rate counts pictures, not steps"),
            KnownMistake(lambda s, b, r: s * b / r / 60, "these are minutes; an hour has 3,600 seconds"),
            KnownMistake(lambda s, b, r: s * b / r, "these are seconds; an hour has 3,600 of them"),
            KnownMistake(lambda s, b, r: s * b * r / 3600, "at a higher rate a run takes less time: divide by the rate"),
        ],
        hints=(
            "How many pictures go through in all? How many a second?",
            "steps · batch / rate is in seconds.",
            "steps * batch / pictures_a_second / 3600, a float.",
        ),
        difficulty=1,
        minutes=2,
    ),
    "09.3": Exercise(
        goal="what to report of a run: the last epoch first, the best one beside it",
        reference=last_and_best,
        trials=[Case("four epochs, the second the best", (HISTORY,), (0.54, 0.55))],
        slips=[
            KnownMistake(
                lambda h: (max(r["knn"] for r in h), h[-1]["knn"]),
                "the order is turned round: the last epoch comes first, it is the headline",
            ),
            KnownMistake(
                lambda h: (max(r["knn"] for r in h),) * 2,
                "the best epoch was given twice: that is what one would like to report, and may not",
            ),
            KnownMistake(
                lambda h: (h[-1]["knn"], max(h, key=lambda r: r["epoch"])["knn"]),
                "the highest epoch number is not the epoch of the highest accuracy",
            ),
        ],
        rules=[
            Property(
                "in a history of one epoch that epoch is both the last and the best",
                lambda f: tuple(f(HISTORY[:1])) == (0.41, 0.41),
            )
        ],
        hints=(
            "Choosing the best epoch needs a look at the answers. Which number needs no look?",
            "last = the accuracy of the final row; best = the largest accuracy of any row.",
            'history[-1]["knn"] and max(row["knn"] for row in history): two numbers, the last first.',
        ),
        difficulty=1,
        minutes=3,
    ),
    "09.4": Exercise(
        goal="a table of accuracies as ratios to one method of the same table",
        reference=against,
        trials=[
            Case("our small table against its SimCLR", (OURS, "simclr"), {"simclr": 1.0, "byol": 0.75, "mnclglf": 1.05}),
            Case("the authors' table against its BYOL", (THEIRS, "byol")),
        ],
        slips=[
            KnownMistake(
                lambda t, a: {k: v - t[a] for k, v in t.items()},
                "these are differences in points; asked are ratios, so that the anchor stands at 1",
            ),
            KnownMistake(
                lambda t, a: {k: t[a] / v for k, v in t.items()},
                "the ratio is turned round: above 1 must mean better than the anchor",
            ),
            KnownMistake(
                lambda t, a: {k: v / max(t.values()) for k, v in t.items()},
                "the best row was taken as the anchor; divide by the method that was asked for",
            ),
            KnownMistake(
                lambda t, a: {k: v / t[a] for k, v in t.items() if k != a}, "the anchor itself is missing: it stands at 1"
            ),
            KnownMistake(
                divided_in_place,
                "the table was overwritten row by row: once the anchor is 1, the rest is divided by 1. Make a new dict",
            ),
        ],
        hints=(
            "Divide every row by the same one.",
            "ratio(method) = accuracy(method) / accuracy(anchor), both from ONE table.",
            "{name: value / table[anchor] for name, value in table.items()}",
        ),
        difficulty=1,
        minutes=3,
        home="mnclglf_lite.results.compare.table",
    ),
}
