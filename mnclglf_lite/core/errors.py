"""One kind of error for bad input: it says what came, what was expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used. Raised before any work is done or any file is touched.

    The command line prints the message alone (no traceback) and leaves with exit code 2.
    """


def unknown(kind: str, name: object, choices: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not among `choices`, with the nearest ones named.

    >>> unknown("method", "simclear", ["simclr", "mnclglf"]).args[0]
    "unknown method 'simclear': did you mean 'simclr'? (choices: simclr, mnclglf)"
    """
    choices = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(name).lower(), choices, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return InputError(f"unknown {kind} {str(name)!r}: {hint}(choices: {', '.join(choices)})")


class TrainingError(RuntimeError):
    """A run that cannot go on: the loss is no longer a number, or a checkpoint could not be written.

    The message names the step and the last good checkpoint; nothing that was on disk is lost.
    """
