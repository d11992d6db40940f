"""Settings: `knob` declares one with its default, unit, source and bounds; a `Config` of them checks itself.

    @dataclass(frozen=True)
    class QueueKnobs(Config):
        queue: int = knob(4096, "embeddings K", "ours", low=1)

Sources: `paper` (its text or figure), `release` (the authors' code), `measured` (our own runs), `ours` (a choice).
"""

from __future__ import annotations

import math
import numbers
from dataclasses import Field, dataclass, field, fields
from typing import Any

from .errors import InputError, unknown


def knob(
    default: Any, unit: str, source: str, *, choices: tuple[str, ...] = (), low: float | None = None,
    high: float | None = None, above: float | None = None, below: float | None = None, count: int | None = None,
) -> Any:  # fmt: skip
    """A dataclass field that knows its unit, its source and what it may be; `--help` is made from these.

    Args:
        default: the value without a preset; its type is the setting's type.
        unit: what the number or name means, in a few words. source: `paper`, `release`, `measured` or `ours`, see above.
        choices: the names it may have; of a tuple, each of its entries.
        low, high: the least and the largest value. above, below: exclusive bounds. Of a tuple, for each entry.
        count: how many entries a tuple has; 0: at least one. None: any number.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below, "count": count}
    return field(default=default, metadata={"unit": unit, "source": source, "choices": choices, **bounds})


@dataclass(frozen=True)
class Config:
    """Settings that check themselves: `InputError` names the invalid setting and its allowed values.

    Lists become tuples and numpy's numbers Python's, as JSON and checkpoints need them.
    """

    def __post_init__(self) -> None:
        for spec in fields(self):
            if "unit" in spec.metadata:
                object.__setattr__(self, spec.name, plain(getattr(self, spec.name), spec.default))
                check_value(spec, getattr(self, spec.name))


def plain(value: Any, default: Any) -> Any:
    """A value in the plain types of a default: a list as a tuple, a number of numpy's as Python's."""
    if isinstance(default, tuple) and isinstance(value, (tuple, list)):
        return tuple(plain(entry, default[0] if default else 0) for entry in value)
    if isinstance(value, numbers.Number) and not isinstance(value, bool) and hasattr(value, "item"):
        return value.item()
    return value


def check_value(spec: Field[Any], value: Any) -> None:
    """Refuse a value that a setting cannot have."""
    name, known, default = spec.name, spec.metadata, spec.default
    if not _same_kind(value, default):
        kind = "a tuple" if isinstance(default, tuple) else f"of type {type(default).__name__}"
        raise InputError(f"{name} must be {kind}, such as {default!r}; got {value!r}")
    entries = value if isinstance(value, tuple) else (value,)
    if known["count"] is not None and (len(entries) != known["count"] if known["count"] else not entries):
        many = f"{known['count']} values" if known["count"] else "at least one value"
        raise InputError(f"{name} takes {many}, such as {default!r}; got {value!r}")
    for entry in entries:
        if known["choices"] and entry not in known["choices"]:
            raise unknown(name, entry, known["choices"])
        if (wanted := _bounds(spec)) and not _within(entry, known):
            raise InputError(f"{name} must {wanted}; got {value}")


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, tuple):
        first = default[0] if default else 0
        return isinstance(value, tuple) and all(_same_kind(entry, first) for entry in value)
    if isinstance(default, int):
        return isinstance(value, numbers.Integral)
    return isinstance(value, numbers.Real if isinstance(default, float) else type(default))


def _within(value: Any, known: Any) -> bool:
    low, high, above, below = (known[name] for name in ("low", "high", "above", "below"))
    return (
        (low is None or value >= low) and (high is None or value <= high)
        and (above is None or value > above) and (below is None or value < below) and math.isfinite(value)
    )  # fmt: skip


def _bounds(spec: Field[Any]) -> str:
    """What a number must be, in words: 'be at least 1', 'lie in [0, 1)', 'be positive and finite'."""
    low, high, above, below = (spec.metadata[name] for name in ("low", "high", "above", "below"))
    if high is not None or below is not None:
        left = f"[{low:g}" if low is not None else f"({above:g}"
        return f"lie in {left}, " + (f"{high:g}]" if high is not None else f"{below:g})")
    if above is not None:
        return "be positive and finite" if above == 0 else f"be above {above:g} and finite"
    if low is None:
        return ""
    whole = isinstance(spec.default, int) or isinstance(spec.default, tuple)
    return "be finite and not negative" if low == 0 and not whole else f"be at least {low:g}"
