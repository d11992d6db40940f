"""Saved notebooks hold no widgets, and a picture where one was: on disk, in nbconvert, in JupyterLab opened anew."""

import base64
import copy
import importlib.util
import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import needs_browser, write_notebook

pytest.importorskip("ipywidgets")
pytest.importorskip("anywidget")
pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).resolve().parents[2]
VIEW = "application/vnd.jupyter.widget-view+json"
CELLS = (
    "from PIL import Image\n"
    "from mnclglf_lite.explorers import shell\n"
    "class Bar(shell.Explorer):\n"
    "    def __init__(self):\n"
    "        self.size = shell.slider('size', 3, 1, 9, 1)\n"
    "        super().__init__([self.size], [self.size])\n"
    "    def draw(self):\n"
    "        size = self.size.value\n"
    "        return shell.Drawing(Image.new('RGB', (20 * size, 20), 'red'), f'A bar of size {size} & \"more\".', 'A bar')\n"
    "Bar()",
    "import ipywidgets\nipywidgets.IntSlider()",  # a widget that brings no picture
    "print('text'); display(Bar())",
)
WORDS = 'A bar of size 3 & "more".'


def outputs(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def picture(bundle):
    """The PNG of an output, which must be the bar of size 3."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(bundle)))
    assert image.size == (60, 20) and image.convert("RGB").getpixel((30, 10)) == (255, 0, 0)
    return image


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook that shows explorers, run by notebooks/run.py."""
    folder = tmp_path_factory.mktemp("executed")
    source = write_notebook(folder / "source.ipynb", *CELLS)
    words = [sys.executable, str(ROOT / "notebooks" / "run.py"), str(source), str(folder / "copy.ipynb")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "copy.ipynb"


def test_no_notebook_of_the_project_holds_a_widget():
    found = [
        path
        for path in ROOT.rglob("*.ipynb")
        if not any(part.startswith(".") or part in ("pictures", "build") for part in path.relative_to(ROOT).parts)
    ]
    assert found
    for path in found:
        notebook = json.loads(path.read_text())
        assert "widgets" not in notebook["metadata"], path
        assert all(VIEW not in output.get("data", {}) for output in outputs(notebook)), path


def test_an_executed_copy_has_pictures_and_no_widgets(executed):
    notebook = nbformat.read(executed, as_version=4)
    assert "widgets" not in notebook["metadata"] and VIEW not in executed.read_text()
    first, bare, printed, shown = outputs(notebook)
    for output in (first, shown):
        picture(output["data"]["image/png"])
        assert output["metadata"]["image/png"] == {"alt": WORDS, "width": 60} and output["data"]["text/plain"] == WORDS
    assert bare["data"] == {"text/plain": "IntSlider(value=0)"} and printed["text"] == "text\n"


def test_only_what_needs_a_kernel_is_taken_out():
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "notebooks" / "run.py")
    room = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(room)
    data, alt = {"text/plain": "words", "image/png": "AAAA", "text/html": "<b>"}, {"image/png": {"alt": "words"}}
    cell = nbformat.v4.new_code_cell(outputs=[
        nbformat.v4.new_output("display_data", data={**data, VIEW: {"model_id": "1"}}, metadata=alt),
        nbformat.v4.new_output("stream", text="text"),
        nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[]),
    ])  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Hi"), cell], metadata={"widgets": {}})
    before = copy.deepcopy(notebook)
    del before.metadata["widgets"], before.cells[1].outputs[0].data[VIEW]
    room.still(notebook)
    assert notebook == before and notebook.cells[1].outputs[0].data == data


class Images(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.found.append(dict(attributes))


def test_nbconvert_shows_the_pictures(executed):
    """With their words where its template knows of such: "classic" does, the default one ("lab") has no place for them."""
    nbconvert = pytest.importorskip("nbconvert")
    for template, words in (("classic", WORDS), ("lab", None)):
        text, _ = nbconvert.HTMLExporter(template_name=template).from_filename(str(executed))
        images = Images(text).found
        assert [image["width"] for image in images] == ["60", "60"]
        for image in images:
            kind, _, data = image["src"].partition(",")
            assert kind == "data:image/png;base64" and picture(data) and words in (None, image["alt"])
        assert "widget-view" not in text and "html-manager" not in text


@needs_browser()
def test_a_notebook_saved_while_a_widget_is_live(browser, lab):
    from playwright.sync_api import expect

    path = write_notebook(lab.folder / "live.ipynb", *CELLS)
    page = lab.open(browser, path.name)
    expect(page.locator(".mnclglf-picture img").first).to_be_visible()
    page.get_by_role("slider").first.press("ArrowRight")
    expect(page.locator(".mnclglf-picture .words").first).to_have_text(WORDS.replace("3", "4"))  # it is live indeed

    def saved(reply):
        return reply.request.method == "PUT" and "/api/contents/live.ipynb" in reply.url

    with page.expect_response(saved) as reply:
        page.keyboard.press("Control+s")  # with the focus in the widget
    assert reply.value.ok
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook["metadata"]
    first, _, _, shown = outputs(notebook)
    for output in (first, shown):
        picture(output["data"]["image/png"])
        assert output["metadata"]["image/png"]["alt"] == WORDS and VIEW in output["data"]  # which notebooks/run.py takes out
    assert page.left == [] and page.errors == []
    page.close()


@needs_browser()
def test_an_executed_copy_opened_in_jupyterlab_shows_its_pictures(browser, lab, executed):
    from playwright.sync_api import expect

    (lab.folder / "copy.ipynb").write_text(executed.read_text())
    page = lab.open(browser, "copy.ipynb", run=False)
    images = page.locator(".jp-OutputArea img")
    expect(images).to_have_count(2)
    for image in images.all():
        expect(image).to_be_visible()
        assert image.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [60, 20]
    assert "not found" not in page.locator(".jp-Notebook").inner_text()
    assert page.left == [] and page.errors == []
    page.close()
