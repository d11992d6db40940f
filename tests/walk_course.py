"""Walk through lessons as a learner does, in a real JupyterLab: run all, then each exercise once wrong and once right.

    python tests/walk_course.py OUT [02 03 ...]      all lessons if none is named: some ten minutes; pictures into OUT

What is typed wrong is the solved cell with one thing changed, as in MISTAKES, and the check has to name that thing.
Walked are copies in a folder of their own. Anything that is not as it should be is an AssertionError; what there is to
see is in OUT.
"""

import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from browser import Lab, chromium, run_all

from mnclglf_lite.course import checks

FOLDER = Path(__file__).parent.parent / "notebooks"

# exercise: (what stands in the solution, what a learner typed instead, words of the answer)
MISTAKES = {
    "01.1": (
        "[(area / aspect).sqrt(), (area * aspect).sqrt()]",
        "[(area * aspect).sqrt(), (area / aspect).sqrt()]",
        "exchanged",
    ),
    "01.2": (" / 255\n", "\n", "whole numbers from 0 to 255 still"),
    "01.3": (".clamp(min=0)", "", "share a negative height or width"),
    "01.4": ("mask.sum()", "(height * width)", "share of the box"),
    "01.5": ("scale=(0.4, 1.0)", "scale=(1.0, 1.0)", "hardly change"),
    "02.1": ("F.normalize(a, dim=1) @ F.normalize(b, dim=1).T", "a @ b.T", "dot products"),
    "02.2": ("cosines(p, c) / temperature", "cosines(p, c) * temperature", "divided by it"),
    "02.3": ("    logits = logits.fill_diagonal_(-torch.inf)\n", "", "self-similarity left"),
    "02.4": (" / temperature / len(share)", " / len(share)", "factor 1/T is missing"),
    "03.1": (".detach()", "", "the target moves along"),
    "03.2": ("momentum * mine + (1 - momentum) * theirs", "(1 - momentum) * mine + momentum * theirs", "swapped"),
    "03.3": (", (pointer + len(new)) % len(entries)", ", pointer + len(new)", "ran off the end"),
    "03.4": (".argmax(dim=1)", ".argmax(dim=0)", "other axis"),
    "03.5": ("    network.zero_grad()\n", "", "old gradient"),
    "04.1": ("permute(4, 2, 0, 1, 3, 5)", "permute(2, 4, 0, 1, 3, 5)", "row by row"),
    "04.2": ("(features[a] + features[b]) / 2", "features[a] + features[b]", "these are sums"),
    "04.3": ("projector(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])", "pairs", "projector is missing"),
    "04.4": (
        "for c in c2] + [info_nce(p2, c, temperature) for c in c1]",
        "for c in c1] + [info_nce(p2, c, temperature) for c in c2]",
        "own view",
    ),
    "04.5": ("weights[0] * local + weights[1] * across", "weights[1] * local + weights[0] * across", "weights are swapped"),
    "05.1": ("(step + 1) / (warm + 1)", "step / warm", "rate of nought"),
    "05.2": ("    run.method.after_step(outputs)\n", "", "twin has not moved"),
    "05.3": (" * z.shape[1] ** 0.5", "", "factor sqrt(D)"),
    "05.4": ("torch.exp(-(share * share.log()).sum())", "-(share * share.log()).sum()", "this is the entropy"),
    "06.1": ("x - x.mean(dim=0)", "x", "not centred"),
    "06.2": (".fill_diagonal_(-2.0)", "", "first neighbour is himself"),
    "06.3": ("(true[:, :, None] == flat[:, None, :]).any(dim=2)", "(true == flat)", "place was compared with place"),
    "06.4": (", minlength=len(neighbours)", "", "minlength"),
    "07.1": ("(near / temperature).exp()", "near", "similarities themselves"),
    "07.2": ("(test - centre) / deviation", "(test - test.mean(0)) / test.std(0, unbiased=False).clamp_min(1e-6)", "leak"),
    "07.3": ("1.96 * ", "", "one standard error"),
    "07.4": (
        "torch.tensor([picture.numpy().tobytes() in known for picture in queries])",
        "(queries == bank[:len(queries)]).flatten(1).all(1)",
        "anywhere",
    ),
    "08.1": (".detach()", "", "gradient reached the keys"),
    "08.2": ("queue[cosines.argmax(dim=1)]", "cosines.argmax(dim=1)", "places in the queue"),
    "08.3": ("return -(p", "return (p", "sign is turned round"),
    "08.4": ("order.argsort()", "order", "shuffles a second time"),
    "08.5": (".sum(dim=1).mean()", ".mean()", "the mean ran over all entries"),
    "09.1": ("pictures // batch * epochs", "pictures * epochs // batch", "round down per epoch"),
    "09.2": (" / 3600", " / 60", "these are minutes"),
    "09.3": (
        'history[-1]["knn"], max(row["knn"] for row in history)',
        'max(row["knn"] for row in history), history[-1]["knn"]',
        "order is turned round",
    ),
    "09.4": ("value / table[anchor]", "table[anchor] / value", "ratio is turned round"),
}


def solved(number):
    """The cells of a solved notebook: (kind, source) each."""
    cells = json.loads(next((FOLDER / "solved").glob(f"{number}_*.ipynb")).read_text())["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def imports(number):
    """The source of a lesson's imports: its second code cell, after Colab's."""
    return [source for kind, source in solved(number) if kind == "code"][1]


def answers(number):
    """For each exercise of a lesson: the place of its cell in the notebook, the solved cell, the same with a mistake."""
    found = {}
    for place, (kind, source) in enumerate(solved(number)):
        asked = re.search(r'^\w+ = check\("(\d\d\.\d)", \w+\)', source, re.MULTILINE)
        if kind == "code" and asked:
            right, wrong, _ = MISTAKES[asked[1]]
            assert right in source, f"{asked[1]}: {right!r} does not stand in the solved cell any more"
            found[asked[1]] = (place, source, source.replace(right, wrong))
    assert list(found) == list(checks.exercises(number))
    return found


def answer(page, place, source):
    """Select all of a cell's text, write over it, Shift+Enter; the text that came below it."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(place)
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").click()
    before = cell.locator(".jp-InputPrompt").first.inner_text()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")
    deadline = time.monotonic() + 60
    while True:
        prompt = cell.locator(".jp-InputPrompt").first.inner_text()
        if prompt != before and re.search(r"\[\d+\]", prompt):
            return " ".join(cell.locator(".jp-OutputArea").first.inner_text().split())
        assert time.monotonic() < deadline, f"no answer to what was typed into cell {place}"
        page.wait_for_timeout(100)


def walk(browser, lab, number, pictures=None):
    """One lesson from top to bottom. Returns the seconds of "Run All"."""
    name = next(FOLDER.glob(f"{number}_*.ipynb")).name
    (lab.folder / name).write_text((FOLDER / name).read_text())
    shutil.copytree(FOLDER / "heroes", lab.folder / "heroes", dirs_exist_ok=True)
    page = lab.open(browser, name, run=False)
    page.locator(".jp-Notebook").click(position={"x": 5, "y": 5})
    begun = time.monotonic()
    run_all(page, lab.folder / name, 300, again=True)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    seconds = time.monotonic() - begun
    text = page.locator(".jp-Notebook").inner_text()
    assert "Traceback" not in text
    for exercise, (place, right, wrong) in answers(number).items():
        said = answer(page, place, wrong)
        assert f"{exercise} ✗" in said and MISTAKES[exercise][2] in said, said
        cell = page.locator(".jp-Notebook .jp-Cell").nth(place)
        if pictures:
            cell.screenshot(path=pictures / f"{exercise}-wrong.png")
        said = answer(page, place, right)
        assert f"{exercise} ✓ right" in said, said
        if pictures:
            cell.screenshot(path=pictures / f"{exercise}-right.png")
    asked = len(checks.exercises(number))
    cells = json.loads((FOLDER / name).read_text())["cells"]
    place = next(i for i, c in enumerate(cells) if "".join(c["source"]).startswith(f'progress("{number}")'))
    said = answer(page, place, f'progress("{number}")')
    assert f"{asked} of {asked} checks pass" in said, said
    if pictures:
        for i, cell in enumerate(page.locator(".jp-Notebook .jp-Cell").all()):
            cell.scroll_into_view_if_needed()
            cell.screenshot(path=pictures / f"{number}-{i:02d}.png")
    assert page.left == [] and page.errors == [], (page.left, page.errors)
    page.close()
    return seconds


def main(words):
    out, numbers = Path(words[0]), words[1:] or checks.notebooks()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser, Lab(folder) as lab:
        for number in numbers:
            print(
                f"{number}: run in {walk(browser, lab, number, out):.0f} s, every exercise once wrong, once right",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
