"""A real browser, and a real JupyterLab in it, for tests: Debian's chromium, driven by Playwright. No request may leave.

    with chromium() as browser, Lab(folder) as lab:
        page = lab.open(browser, "some.ipynb")      # every cell has run
        slider = page.get_by_role("slider").first

Every page notes the requests that would have left the machine (they are refused) and the errors that its console showed.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [  # no sandbox: tests may run as root; the rest keeps the browser from calling home
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
HERE = {"127.0.0.1", "localhost", ""}
TOYS = """
from mnclglf_lite.data import dataset, toybox
from mnclglf_lite.explorers import CombineExplorer, CropExplorer
images, labels, factors, masks = toybox.draw(40, 0)
pictures = dataset.ImageSet(images, labels, toybox.CLASSES, "toybox", "test", factors, masks)
"""  # a cell


def needs_browser():
    """A decorator that marks a test as the browser's, and skips it where none is found, saying so."""
    reason = "no chromium on PATH (Debian: apt install chromium)" if CHROMIUM is None else ""
    if importlib.util.find_spec("playwright") is None:
        reason = "playwright is not installed (pip install playwright)"
    return lambda test: pytest.mark.browser(pytest.mark.skipif(bool(reason), reason=reason)(test))


@contextlib.contextmanager
def chromium():
    """A browser without a window."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # a busy machine is no error
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser, **options):
    """An empty page that keeps `page.left` (addresses elsewhere that it asked for) and `page.errors` (of its console)."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, **options)
    page.left, page.errors = [], []

    def watch(route):
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in HERE:
            page.left.append(route.request.url)
            return route.abort()
        return route.continue_()

    page.route("**/*", watch)
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    return page


def run_all(page, path, seconds, again=False):
    """Run > Run All Cells, as by hand, until every code cell of the notebook at `path` has its number.

    again: the file holds the numbers of an earlier run, which have to go first.
    """
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    if again:
        page.locator(".jp-InputPrompt", has_text="[*]").first.wait_for()
    page.wait_for_function(
        "n => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
        ".filter(p => /\\[\\d+\\]/.test(p.textContent)).length >= n",
        arg=len([c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]),
        timeout=1000 * seconds,
    )


class Lab:
    """JupyterLab on loopback, serving a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __enter__(self):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.token = secrets.token_hex(12)
        home = self.folder / ".home"  # settings and workspaces of nobody
        home.mkdir(exist_ok=True)
        news = home / "settings" / "@jupyterlab" / "apputils-extension"  # the question whether to ask for news covers things
        news.mkdir(parents=True, exist_ok=True)
        (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
        env = os.environ | {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "IPYTHONDIR": str(home / "ipython"),
        }
        words = [
            "lab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.folder}",
            "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]  # fmt: skip
        self.log = open(home / "lab.log", "w")
        command = [sys.executable, "-m", "jupyter", *words]
        self.server = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        self.address = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/api/status?token={self.token}", timeout=5).read()
                return self
            except OSError:
                if self.server.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError(f"JupyterLab did not start:\n{(home / 'lab.log').read_text()}") from None
                time.sleep(0.3)

    def __exit__(self, *_):
        self.server.terminate()
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()
        self.log.close()

    def open(self, browser, name, run=True, seconds=120):
        """The notebook in a fresh workspace, all cells run to their end (or not run at all)."""
        page = new_page(browser)
        page.set_default_timeout(90_000)  # a busy machine is no error
        page.goto(f"{self.address}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?reset&token={self.token}")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        if run:
            run_all(page, self.folder / name, seconds)
            # pictures that arrive move what is below them
            page.wait_for_function(
                "() => [...document.querySelectorAll('.mnclglf-picture img')].every(i => i.complete && i.naturalHeight > 0)"
            )
        return page

    def python(self, name, expression, seconds=30):
        """The repr of an expression in the kernel behind an open notebook."""
        from jupyter_client import BlockingKernelClient

        sessions = json.loads(urllib.request.urlopen(f"{self.address}/api/sessions?token={self.token}").read())
        kernel = next(session["kernel"]["id"] for session in sessions if session["path"] == name)
        client = BlockingKernelClient(connection_file=str(self.folder / ".home" / "runtime" / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels()
        try:
            reply = client.execute_interactive("", user_expressions={"it": expression}, silent=True, timeout=seconds)
        finally:
            client.stop_channels()
        found = reply["content"]["user_expressions"]["it"]
        assert found["status"] == "ok", found
        return found["data"]["text/plain"]


class OnPage:
    """An explorer on a notebook's page: its controls by name, its figure, its words."""

    def __init__(self, page, number=0):
        self.page = page
        self.area = page.locator(".jp-Cell .jp-OutputArea-output").filter(has=page.locator(".mnclglf-picture")).nth(number)
        self.words, self.image = self.area.locator(".words"), self.area.locator(".mnclglf-picture img")
        self.words.wait_for()

    def control(self, name):
        """The slider or list of this name that is shown."""
        label = self.page.get_by_text(name, exact=True)
        return self.area.locator(".widget-inline-hbox").filter(has=label).filter(visible=True)

    def changes(self, act, to="", draws=True):
        """Do something: the words, and the figure, become others, and no problem is told; the words in the end hold `to`."""
        from playwright.sync_api import expect

        words, source = self.words.inner_text(), self.image.get_attribute("src")
        act()
        expect(self.words).not_to_have_text(words, use_inner_text=True)
        if draws:
            expect(self.image).not_to_have_attribute("src", source)
        expect(self.words).to_contain_text(to)
        expect(self.words).to_have_class("words")

    def drag(self, name, share, to="", draws=True):
        """A slider's handle, by mouse, to a share of its way, in one go: no values in between."""

        def act():
            self.control(name).get_by_role("slider").first.hover()  # waits until it rests: figures that arrive move the page
            track = self.control(name).locator(".noUi-base").bounding_box()
            self.page.mouse.down()
            self.page.mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2)
            self.page.mouse.up()

        self.changes(act, to, draws)

    def press(self, name, key, to="", draws=True):
        """A key, on a slider's handle."""
        self.changes(lambda: self.control(name).get_by_role("slider").first.press(key), to, draws)

    def select(self, name, option, to=""):
        """One of a list by mouse, the one above by keys: Enter opens the list, since bare arrows are the notebook's own."""
        list_ = self.control(name).locator("select")
        self.changes(lambda: list_.select_option(label=option), to)
        self.changes(lambda: [list_.press(key) for key in ("Enter", "ArrowUp", "Enter")])


def write_notebook(path, *cells):
    """A notebook of code cells."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nbformat.write(notebook, path)
    return path
