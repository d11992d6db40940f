"""The page on adding a method of one's own: its code runs as it stands there, resumes exactly, and computes its formula."""

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from conftest import QUIET, tiny

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods import registry
from mnclglf_lite.methods.registry import build_method, register_method
from mnclglf_lite.recipe import recipe
from mnclglf_lite.results import compare
from mnclglf_lite.training import cost, train
from mnclglf_lite.training.run import load_run
from mnclglf_lite.training.step import Step

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "add_your_own_method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def own():
    """The page's first block, run; and everything as it was before, afterwards."""
    before = list(recipe.METHODS)
    space = {}
    exec(compile(BLOCKS[0], "add_your_own_method.md", "exec"), space)
    yield space["BarlowTwins"]
    recipe.METHODS[:] = before
    del registry.CLASSES["barlow"], recipe.QUICK["barlow"]


def test_it_is_as_short_as_the_page_says():
    body = BLOCKS[0].split("class BarlowTwins")[1].split("register_method(")[0].strip()
    assert body.count("\n") < 31 and BLOCKS[0].count("\n") < 50


def test_the_page_trains_and_resumes_to_the_very_same_weights(own, toys, tmp_path, monkeypatch):
    asked = tiny("barlow", steps=2)
    whole = train.train(asked, toys, **QUIET)
    assert whole.step == 2 and isinstance(whole.method, own)
    assert {"loss", "loss_alike", "loss_redundant"} <= set(whole.history[-1])
    weight = "backbone.conv1.weight"
    assert not torch.equal(build_method(asked, 10).state_dict()[weight], whole.method.state_dict()[weight])
    with monkeypatch.context() as patch:
        real = Step.__call__
        patch.setattr(Step, "__call__", lambda *args: os.kill(os.getpid(), signal.SIGINT) or real(*args))
        assert train.train(asked, toys, out=tmp_path, **QUIET).step == 1
    again = train.train(asked, toys, out=tmp_path, resume=True, **QUIET)
    theirs = whole.method.state_dict()
    assert again.step == 2 and all(torch.equal(value, theirs[key]) for key, value in again.method.state_dict().items())
    assert isinstance(load_run(tmp_path, "cpu").method, own)


def test_the_pages_other_block_is_code_that_runs(own, toys, tmp_path, monkeypatch):
    """Its calls, on tiny toys: the sizes and the time are changed, the words are the page's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNCLGLF_LITE_DATA", str(tmp_path))
    said, real_train, real_compare = [], train.train, compare.compare

    def small_compare(recipes, seeds, splits, out, minutes):
        assert list(recipes) == ["simclr", "barlow"] and seeds == [0, 1, 2] and minutes == 1
        return real_compare({name: tiny(name, steps=2) for name in recipes}, seeds[:1], toys, out, **QUIET)

    monkeypatch.setattr(train, "train", lambda asked, *rest, **more: real_train(tiny(asked.method), toys, **more, **QUIET))
    with monkeypatch.context() as patch:
        patch.setattr(compare, "compare", small_compare)
        code = BLOCKS[1].replace("train.train(", "small(").replace('load_dataset("toybox")', "None")
        space = {"small": train.train, "print": said.append}
        monkeypatch.setattr(train, "train", real_train)
        exec(compile(code, "add_your_own_method.md", "exec"), space)
    assert space["run"].finished and (tmp_path / "runs" / "barlow" / "checkpoint.pt").exists()
    assert "barlow" in said[0] and "simclr" in said[0]


def test_its_loss_is_the_formula(own):
    asked = tiny("barlow", projector=(16, 5))
    method = build_method(asked, 10).double()
    views = [torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(i)).double() for i in (0, 1)]
    heads = [method.projector(method.backbone(x)).tolist() for x in views]
    outputs = method(views)

    def column(rows, i):
        values = [row[i] for row in rows]
        mean = sum(values) / len(values)
        deviation = (sum((v - mean) ** 2 for v in values) / len(values) + 1e-5) ** 0.5  # BatchNorm's epsilon
        return [(v - mean) / deviation for v in values]

    alike = redundant = 0.0
    for i in range(5):
        for j in range(5):
            c = sum(a * b for a, b in zip(column(heads[0], i), column(heads[1], j), strict=True)) / 16
            alike += (1 - c) ** 2 if i == j else 0.0
            redundant += c**2 if i != j else 0.0
    assert outputs["loss"].item() == pytest.approx((alike + 0.0051 * redundant) / 5, rel=1e-4)
    lightly = pytest.importorskip("lightly.loss").BarlowTwinsLoss(lambda_param=0.0051)
    theirs = lightly(*(torch.tensor(rows) for rows in heads))
    assert outputs["loss"].item() == pytest.approx(theirs.item() / 5, rel=1e-4)


def test_it_has_a_cost_like_any_other(own):
    asked = tiny("barlow", width=32)
    found = cost.cost_of(asked, build_method(asked, 10))
    assert found.views == 2 and found.forward_units == pytest.approx(6, rel=0.05)


def test_a_name_may_be_added_anew_but_not_taken_from_the_package(own):
    class Another(own):
        pass

    register_method("barlow", Another)
    assert isinstance(build_method(tiny("barlow"), 10), Another) and recipe.METHODS.count("barlow") == 1
    for taken in ("simclr", "ressl"):
        with pytest.raises(InputError, match=f"'{taken}' is a name of the package"):
            register_method(taken, own)


def test_without_adding_it_the_name_is_unknown():
    with pytest.raises(InputError, match="unknown method 'barlow'"):
        tiny("barlow")
