"""One archive from one address, whole and checked, then unpacked without writing anywhere else.

A cut or stopped download goes on where it was. Needs the standard library alone.
"""

from __future__ import annotations

import http.client
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ..core.errors import InputError
from ..core.progress import Progress, say
from .cifar import digest

PATIENCE = 10.0  # seconds a source has to get faster than that (ours)
TIMEOUT = 30.0  # seconds without a byte before a connection counts as lost (ours)
PAUSE = 1.0  # seconds before a lost connection is made anew (ours)
RETRIES = 20  # connections to one source, as long as each brings something (ours)


@dataclass(frozen=True)
class Archive:
    """A published file: name, bytes, (kind, checksum), the folder it unpacks to and the bytes that takes."""

    file: str
    size: int
    sum: tuple[str, str]
    folder: str
    unpacked: int


class TooSlow(Exception):
    """A source that works, at a rate below `SLOW`."""


def compare(file: Path, archive: Archive) -> None:
    """OSError unless the file has the archive's checksum."""
    kind, expected = archive.sum
    if (got := digest(file, kind)) != expected:
        raise OSError(f"wrong checksum: {kind.upper()} {got}, expected {expected}")


def download(url: str, archive: Archive, root: Path, slow: float = 0) -> Path:
    """`archive` from `url` into `root`, checked. What has come stays in a .part file and is gone on from.

    OSError or HTTPException with the reason where it cannot be had; TooSlow below `slow` bytes a second.
    """
    file = root / archive.file
    part = file.with_name(file.name + ".part")
    resumed = _size(part) > 0
    for _ in range(RETRIES):
        before = _size(part)
        if before >= archive.size:
            break
        try:
            _stream(url, part, archive.size, slow)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) or _size(part) <= before:
                raise
            say(f"connection lost at {mb(_size(part))} ({error}): going on")
            time.sleep(PAUSE)
    try:
        compare(part, archive)
    except OSError:
        part.unlink()
        if not resumed:
            raise
        say(f"{part.name} from before did not fit: starting over")
        return download(url, archive, root, slow)
    return part.replace(file)


def _stream(url: str, part: Path, size: int, slow: float) -> None:
    """One connection: append to `part` what it lacks. A server may ignore the Range header and start over."""
    start = _size(part)
    headers = {"User-Agent": "mnclglf-lite", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if start and answer.status == 206:
            if not (answer.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
                raise OSError(f"asked to go on at byte {start}, got {answer.headers['Content-Range']!r}")
        else:
            start = 0
        offered = answer.headers["Content-Length"]
        if offered and start + int(offered) != size:
            raise OSError(f"offers {start + int(offered):,} bytes where {size:,} were expected: not the archive")
        line = Progress(urlsplit(url).netloc, size, start, mb)
        with part.open("ab" if start else "wb") as out:
            done = start
            while block := answer.read1(1 << 18):
                done += len(block)
                out.write(block)
                rate = line.show(done)
                if done >= size:  # more than was asked for: the checksum will tell
                    break
                if slow and line.seconds > PATIENCE and rate < slow:
                    line.end()
                    raise TooSlow(f"{rate / 1e3:.0f} kB/s")
        line.end()
    if done < size:
        raise ConnectionError("the server closed the connection early")


def unpack(file: Path, folder: Path) -> None:
    """Unpack a .zip or .tar.gz into `folder`.

    ValueError, and nothing written, if a member is a link or a device or would land outside.
    """
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                mode = member.external_attr >> 16
                _refuse(member.filename, stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR))
            archive.extractall(folder)
        return
    if not hasattr(tarfile, "data_filter"):
        raise InputError("this Python unpacks tar files without safety checks: update it (3.10.12, 3.11.4 or later)")
    with tarfile.open(file) as archive:
        for member in archive:
            _refuse(member.name, member.isfile() or member.isdir())
        archive.extractall(folder, filter="data")


def _refuse(name: str, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not plain or path.is_absolute() or ".." in path.parts or ":" in name:
        raise ValueError(f"the archive holds {name!r}, which is a link or would be written outside: not unpacked")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"
