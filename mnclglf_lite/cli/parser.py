"""What reads a command's words: one line for what is wrong, with the nearest name and the page of help that has the rest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..core.errors import InputError, did_you_mean

WIDTH = 120  # characters of a line of help, at most


class Parser(argparse.ArgumentParser):
    """An argument parser of one command. Flags are never abbreviated: an abbreviation may mean another flag tomorrow."""

    def __init__(self, prog: str, **more: Any):
        how = {"allow_abbrev": False, "formatter_class": _help, "usage": f"{prog} [FLAGS]"} | more
        super().__init__(prog, **how)

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace(": takes", " takes").rstrip("? ")
        raise InputError(f"{message}; see {self.prog} --help")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            self.error(self._strange(rest[0]))
        return found

    def _strange(self, word: str) -> str:
        """What is wrong with a word that nothing reads."""
        if not word.startswith("--"):
            return f"{word!r} is one word too many"
        from ..methods.registry import methods_with
        from ..recipe.flags import all_settings
        from ..views.view import View

        flag, bases = word.split("=")[0], self.get_default("bases")
        dest = flag.removeprefix("--no-").strip("-").replace("-", "_")
        for name, spec in all_settings().items() if bases else ():
            of_view = isinstance(spec.default, View) and dest.startswith(f"{name}_")
            if (dest == name or of_view) and (having := methods_with(name)):
                what = f"{next(iter(bases))} has no" if len(bases) == 1 else "none of these methods has a"
                return f"{what} setting {name!r}; it is one of {', '.join(having)}"
        return f"unknown flag {flag}: {did_you_mean(flag, self._option_string_actions, '')}"


def _help(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=WIDTH)
