"""A loss on a batch, in words."""

from __future__ import annotations

import math

from .batch import Batch
from .pairs import BOTH_SIDES, LOSSES, SOFT, WITH_QUEUE, Table
from .temperature import MOST_OF, carriers, hardest


def number(x: float) -> str:
    """Two digits behind the point, up to four where those would be 0."""
    return f"{x:.2f}" if abs(x) >= 0.005 or abs(x) < 5e-5 else f"{x:.1g}"


def heads(name: str, batch: Batch) -> tuple[list[str], list[str]]:
    """Names of the rows and of the columns: A1 is the first view of picture A, q7 an entry of the queue."""
    first, other = ([f"{letter}{view}" for letter in batch.letters] for view in (1, 2))
    if name in BOTH_SIDES:
        return first + other, first + other
    queue = [f"q{k + 1}" for k in range(len(batch.queue))]
    if name == "info_nce_queue":
        return first, ["own", *queue]
    return first, queue if name in SOFT else other


def loss_words(table: Table, batch: Batch, row: int) -> str:
    """The state of a table, a line each: its value and range, the anchor of one row, how the push is shared."""
    if table.name == "negative_cosine":
        return _cosine_alone(table, batch, row)
    return "\n".join([_value(table, batch) + _room(table), _anchor(table, batch, row), _push(table)])


def _cosine_alone(table: Table, batch: Batch, row: int) -> str:
    pull, own = number(-float(table.gradient[row, row])), number(float(table.similarity[row, row]))
    return (
        f"Negative cosine of {len(batch)} pictures: {number(table.value)}. It looks at positive pairs only "
        f"and pulls each by {pull}; {heads(table.name, batch)[0][row]} and its positive have cosine {own}.\n"
        "Nothing is pushed: embeddings that are all equal have -1.00, the best value there is. What keeps them apart must "
        "come from elsewhere, such as a predictor and a stop-gradient. There is no softmax, and no temperature."
    )


def _value(table: Table, batch: Batch) -> str:
    """The loss, what it would be if nothing were known, and the least it can be."""
    name, t, n, k = table.name, table.temperature, len(batch), len(batch.queue)
    formula, perfect = {
        "info_nce": (f"ln {n}", "at best {}, with positives together and pictures spread evenly"),
        "nt_xent": (f"ln {2 * n - 1}", "at best {}, with positives together and pictures spread evenly"),
        "supervised_contrastive": (f"ln {2 * n - 1}", "at best {}, with classes together and spread evenly"),
        "info_nce_queue": (f"ln {1 + k}", "at best {}, with the whole queue opposite"),
        "soft_cross_entropy": (f"ln {k}", "no student can come below {}"),
        "distillation_kl": ("a uniform guess", "{} for a student that says what its teacher says"),
    }[name]
    whom = f"{n} pictures and a queue of {k}" if name in WITH_QUEUE else f"{n} pictures"
    second = {"soft_cross_entropy": f", teacher's {table.second:g}", "distillation_kl": f", softened by {table.second:g}"}
    return (
        f"{LOSSES[name]} of {whom} at temperature {t:g}{second.get(name, '')}: {number(table.value)} nats. With all "
        f"similarities equal it is {number(table.level)} ({formula}), and {perfect.format(number(table.best))}"
    )


def _room(table: Table) -> str:
    """How much a batch can gain at this temperature, and has gained."""
    room = table.level - table.best
    text = f": temperature {table.temperature:g} leaves {number(room)} nats between hopeless and perfect."
    if room > 1e-9:
        gone = (table.level - table.value) / room
        way = f" This batch has come {100 * gone:.0f} % of the way."
        text += way if gone > -1e-9 else " This batch is worse than hopeless: it is sure of wrong pairs."
    if table.name in ("info_nce", "nt_xent"):  # all rows are alike there: the loss is minus the log of the positive's share
        text += f" In perfect embeddings a positive has {100 * math.exp(-table.best):.0f} % of its softmax."
    return text


def _anchor(table: Table, batch: Batch, row: int) -> str:
    """The softmax of one row: what its positives have, and who comes closest to them."""
    rows, columns = heads(table.name, batch)
    columns = ["the own key" if name == "own" else name for name in columns]
    p, target, positive = table.probability[row], table.target[row], table.positive[row]
    top = int(p.argmax())
    used = p[~table.unused[row]]
    largest = f"The largest share, {100 * float(p[top]):.0f} %, is that of {columns[top]}."
    if float(used.max() - used.min()) < 1e-6:
        largest = "All shares are equal."
    if table.name in SOFT:
        first = int(target.argmax())
        return (
            f"Anchor {rows[row]}: its teacher's first choice is {columns[first]} with {100 * float(target[first]):.0f} %; "
            f"the student gives that {100 * float(p[first]):.0f} %. {largest}"
        )
    mine = [columns[j] for j in positive.nonzero().flatten().tolist()]
    share = f"{100 * float(p[positive].sum()):.0f} % of its softmax"
    if len(mine) > 1:
        text = f"Anchor {rows[row]}: its {len(mine)} positives ({', '.join(mine)}) have {share}"
    else:
        text = f"Anchor {rows[row]}: its positive ({mine[0]}) has {share}"
    negatives = ~positive & ~table.unused[row]
    if negatives.any():
        rival = int(p.masked_fill(~negatives, -1).argmax())
        text += f", the hardest negative ({columns[rival]}) {100 * float(p[rival]):.0f} %"
    return f"{text}. {largest}"


def _push(table: Table) -> str:
    """On how few pairs the push falls."""
    share, count = hardest(table), carriers(table).double()
    there = share.isfinite()
    if not there.any():
        return "Nothing is pushed."
    one, all_of_them = "its hardest negative", f"{int((~table.positive & ~table.unused).sum(dim=1).max())} negatives"
    if table.name in SOFT:
        one, all_of_them = "one pair", "pushed pairs"
    return (
        f"Of an anchor's push, {100 * float(share[there].mean()):.0f} % falls on {one} (mean of the anchors), and "
        f"{float(count[there].mean()):.1f} of its {all_of_them} carry {100 * MOST_OF:.0f} %."
    )
