"""The shape of a section of results.md: heading, command, and what it found."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mnclglf_lite.core.text import format_table
from mnclglf_lite.results import paper_table

NAMES = {  # of methods, in the order of the README's tables, in which the supervised one stands last
    name: f"**{title}**" if title.startswith("MNCLGLF") else title
    for name, title in sorted(paper_table.ROWS.items(), key=lambda row: row[0] == "supervised")
}


def section(title: str, command: str, *parts: str) -> str:
    """Markdown: the heading, the command, then tables and notes with a blank line between."""
    return "\n\n".join([f"## {title}", f"```\n{command}\n```", *parts]) + "\n"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return format_table(head, lines, markdown=True)


def as_today(command: str, module: str) -> str:
    """A record's command under the name that its program has today; the record keeps the one that it was made with."""
    return re.sub(r"^python (-m )?\S+", f"python -m {module}", command)
