"""One kind of error for bad input: it says what came, what was expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used. Raised before any work is done or any file is touched.

    The command line prints the message alone (no traceback) and leaves with exit code 2.
    """


class UnknownName(InputError):
    """A name that is not among those that there are: a page of help lists them."""


def unknown(kind: str, name: object, choices: Iterable[str]) -> UnknownName:
    """The error for a name that is not among `choices`, with the nearest ones named.

    >>> unknown("method", "simclear", ["simclr", "mnclglf"]).args[0]
    "unknown method 'simclear': did you mean 'simclr'? (choices: simclr, mnclglf)"
    """
    choices = [str(choice) for choice in choices]
    return UnknownName(f"unknown {kind} {str(name)!r}: {did_you_mean(str(name), choices)}(choices: {', '.join(choices)})")


def did_you_mean(name: str, choices: Iterable[str], quote: str = "'") -> str:
    """ "did you mean 'simclr'? " with the nearest of the choices; "" where none is near."""
    near = difflib.get_close_matches(name.lower(), choices, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(f'{quote}{each}{quote}' for each in near)}? " if near else ""


class TrainingError(RuntimeError):
    """A run that cannot go on: the loss is no longer a number, or a checkpoint could not be written.

    The message names the step and the last good checkpoint; nothing that was on disk is lost.
    """
