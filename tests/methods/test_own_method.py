"""The page on adding a method of one's own: its code runs as it stands there, resumes exactly, and computes its formula."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import tiny

import mnclglf_lite
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods import registry
from mnclglf_lite.methods.base import Method, Slot
from mnclglf_lite.methods.registry import METHODS, register_method
from mnclglf_lite.methods.simclr import SimCLR
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import compare
from mnclglf_lite.training.cost import cost_of
from mnclglf_lite.training.run import load_run
from mnclglf_lite.training.step import Step, views_at_step
from mnclglf_lite.training.train import train

ROOT = Path(mnclglf_lite.__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "add_your_own_method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
QUIET = {"device": "cpu", "log": lambda text: None}
NAME = "align-uniform"


@pytest.fixture
def own():
    """The page's class, registered; and everything as it was before, afterwards."""
    space = {}
    exec(compile(BLOCKS[0], "add_your_own_method.md", "exec"), space)
    yield register_method(space["AlignUniform"])
    del registry._methods[NAME]


def test_it_is_as_short_as_the_page_says():
    body = BLOCKS[0].split("class AlignUniform(Method)")[1].strip()
    assert body.count("\n") < 38 and BLOCKS[0].count("\n") < 60


def test_the_page_trains_and_resumes_to_the_very_same_weights(own, toys, tmp_path, monkeypatch):
    asked = tiny(NAME, steps=2)
    whole = train(asked, toys, **QUIET)
    assert whole.step == 2 and isinstance(whole.method, own)
    assert {"loss", "loss_align", "loss_uniform"} <= set(whole.history[-1])
    weight = "backbone.conv1.weight"
    assert not torch.equal(build_method(asked, 10).state_dict()[weight], whole.method.state_dict()[weight])
    with monkeypatch.context() as patch:
        real = Step.__call__
        patch.setattr(Step, "__call__", lambda *args: os.kill(os.getpid(), signal.SIGINT) or real(*args))
        assert train(asked, toys, out=tmp_path, **QUIET).step == 1
    again = train(asked, toys, out=tmp_path, resume=True, **QUIET)
    theirs = whole.method.state_dict()
    assert again.step == 2 and all(torch.equal(value, theirs[key]) for key, value in again.method.state_dict().items())
    assert isinstance(load_run(tmp_path, "cpu").method, own)


def test_the_pages_other_block_is_code_that_runs(own, toys, tmp_path, monkeypatch):
    """Its calls, on tiny toys: the sizes and the time are changed, the words are the page's."""
    monkeypatch.chdir(tmp_path)

    def small_compare(recipes, seeds, splits, out, minutes):
        assert list(recipes) == ["simclr", NAME] and seeds == [0, 1, 2] and minutes == 1
        return compare.compare({name: tiny(name, steps=2) for name in recipes}, seeds[:1], toys, out, **QUIET)

    code = BLOCKS[1].replace("from mnclglf_lite import compare, load_dataset, preset, register_method, train", "")
    space = {
        "AlignUniform": own, "register_method": register_method, "preset": preset, "compare": small_compare,
        "load_dataset": lambda name: toys,
        "train": lambda asked, **more: train(tiny(asked.method.name), toys, **more, **QUIET),
    }  # fmt: skip
    exec(compile(code, "add_your_own_method.md", "exec"), space)
    assert code != BLOCKS[1] and space["run"].finished and (tmp_path / "runs" / NAME / "checkpoint.pt").exists()
    assert NAME in compare.table(space["result"]) and "simclr" in compare.table(space["result"])


def test_its_loss_is_the_formula(own):
    """A slow loop over pairs, in float64."""
    asked = tiny(NAME, projector=(16, 5), uniformity_weight=0.7, uniformity_t=1.5)
    method = build_method(asked, 10).double()
    views = [torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(i)).double() for i in (0, 1)]
    outputs = method(views)

    def unit(rows):
        return [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]

    def apart(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    u, v = unit(outputs["z1"].tolist()), unit(outputs["z2"].tolist())
    align = sum(apart(a, b) for a, b in zip(u, v, strict=True)) / 12
    spread = []
    for z in (u, v):
        values = [math.exp(-1.5 * apart(z[i], z[j])) for i in range(12) for j in range(i)]
        spread.append(math.log(sum(values) / len(values)))
    assert outputs["loss"].item() == pytest.approx(align + 0.7 * sum(spread) / 2, rel=1e-12)


def test_it_has_a_cost_like_any_other(own):
    asked = tiny(NAME, width=32)
    found = cost_of(asked, build_method(asked, 10))
    assert found.views == 2 and found.relative_flops == pytest.approx(6, rel=0.05)


def test_its_settings_are_its_own(own):
    assert tiny(NAME, uniformity_t=3.0).method.uniformity_t == 3.0
    with pytest.raises(InputError, match="align-uniform has no setting 'temperature'; it is one of"):
        tiny(NAME, temperature=0.5)
    with pytest.raises(InputError, match="simclr has no setting 'uniformity_t'; it is one of align-uniform"):
        tiny("simclr", uniformity_t=3.0)


def test_a_name_may_be_registered_anew_but_not_taken_from_the_package(own):
    class Another(own):
        pass

    register_method(Another)
    assert isinstance(build_method(tiny(NAME), 10), Another) and list(METHODS).count(NAME) == 1
    for taken in ("simclr", "ressl"):

        @dataclass(frozen=True)
        class Config(own.Config):
            name = taken

        with pytest.raises(InputError, match=f"'{taken}' is a name that is taken"):
            register_method(type("Thief", (own,), {"Config": Config}))
    with pytest.raises(InputError, match="needs a Config with a name of its own"):
        register_method(type("Nameless", (Method,), {}))
    with pytest.raises(TypeError):
        METHODS["mine"] = own  # the registry is read-only


def test_without_registering_it_the_name_is_unknown():
    with pytest.raises(InputError, match="unknown method 'align-uniform'"):
        tiny(NAME)


def test_for_good_it_is_one_file_and_one_line(tmp_path):
    """In a copy of the package, as the page says: flags, training, comparison's table and the explorers know it."""
    for folder in ("mnclglf_lite", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mnclglf_lite" / "methods" / "align_uniform.py").write_text(f'"""Ours."""\n\n{BLOCKS[0]}')
    path = tmp_path / "mnclglf_lite" / "methods" / "registry.py"
    line = re.search(r'`("align_uniform\.\w+",)` to `LINES`', PAGE)[1]
    path.write_text(path.read_text().replace('    "glnet.GLNet",\n', f'    "glnet.GLNet",\n    {line}\n'))
    code = f"""if True:
        import mnclglf_lite as ml
        from mnclglf_lite.cli.main import main
        from mnclglf_lite.course.method_traits import cells, traits
        from mnclglf_lite.explorers.networks.tracer import trace
        from mnclglf_lite.recipe.recipe import build_method
        assert ml.__file__.startswith({str(tmp_path)!r})
        small = "--width 8 --blocks 1 1 --projector 16 8 --batch-size 16 --steps 2 --view-size 16".split()
        assert main(["train", "--method", "{NAME}", "--uniformity-t", "3", "--out", "run", "--device", "cpu", *small]) == 0
        run = ml.load_run("run", "cpu")
        assert run.recipe.method.uniformity_t == 3 and run.finished
        assert "alignment + uniformity" in cells("{NAME}", traits(run.recipe))
        graph = trace(run.method, run.recipe, ml.load_dataset("toybox", side=16).train)
        assert {{"z1", "z2"}} <= {{name for node in graph.nodes.values() for name in node.names}}
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_views_that_differ_grow_alike():
    """Asymmetric views, as in BYOL's paper: both have the size of the step, each keeps what it changes."""

    @dataclass(frozen=True)
    class Config(SimCLR.Config):
        name = "uneven"

    class Uneven(SimCLR):
        def __init__(self, *args):
            super().__init__(*args)
            self.slots = (Slot(), Slot(changes={"blur_p": 0.1, "solarize_p": 0.2}))

    Uneven.Config = Config
    register_method(Uneven)
    try:
        asked = tiny("uneven", progressive_sizes=(8, 16))
        method = build_method(asked, 10)
        for step, size in ((0, 8), (4, 8), (5, 16), (9, 16)):
            found = views_at_step(asked, method, step, 10)
            assert [view.size for view in found] == [size, size]
            assert [(view.blur_p, view.solarize_p) for view in found] == [(0.0, 0.0), (0.1, 0.2)]
        assert cost_of(asked, method).views == pytest.approx(2 * (0.25 + 1) / 2)
    finally:
        del registry._methods["uneven"]
