"""The speed comparison measures what it says: equal work and views, one process a row, and a reason for what is missing."""

import dataclasses
import importlib.util
import json
import sys
from statistics import median

import pytest
import torch
from conftest import WEAK, tiny
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import __main__ as speed
from benchmarks.speed import bare, peers, speed_rows
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training.run import new_run
from mnclglf_lite.views.view import View

VIEW = View(size=16, gray_p=0.1, blur_p=0.0)
CPU, LIGHTLY = torch.device("cpu"), importlib.util.find_spec("lightly") is not None
CONVOLUTIONS = ("convolution", "convolution_backward")
VARIANTS = [
    *((method, {}) for method in METHODS),
    ("moco", {"symmetric": False}),
    ("mnclglf", {"local_gradient": False}),
    ("mnclglf", {"num_networks": 1, "small_views": 2, "small_view": WEAK}),
    ("mcl", {"with_labels": True}),
    ("glnet", {"framework": "simclr"}),
    ("cgh", {"context": "ressl"}),
]


def counted(work):
    with FlopCounterMode(display=False) as counter:
        work()
    counts = counter.get_flop_counts()["Global"]
    return sum(n for op, n in counts.items() if op.__name__.split(".")[0] in CONVOLUTIONS), counter.get_total_flops()


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_bare_networks_are_those_of_the_method(name, changes):
    """As many convolutions, no more products than with the loss, and the same parameters get a gradient."""
    method = build_method(tiny(name, **changes), 4).train()
    method.generator = torch.Generator().manual_seed(0)
    cut = [torch.randn(16, 3, v.size, v.size) for v in method.views]
    step = bare.Bare(method, cut, None, compiled=False)
    convolutions, everything = counted(step)
    reached = {name for name, p in method.named_parameters() if p.grad is not None}
    method.zero_grad(set_to_none=True)
    wanted, most = counted(lambda: method(cut, torch.arange(16) % 4)["loss"].backward())
    assert convolutions == wanted > 0 and everything <= most
    assert reached == {name for name, p in method.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two rounds of three rows at tiny size, each in its own process; and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("speed")
    rows = ["ours", "bare", *["lightly-tuned"] * LIGHTLY]
    plan = speed.Plan(
        tiny("simclr", view=VIEW), rows, rounds=2, seconds=0.05, engine="eager", compile=False, workers=[0], threads=1,
        warm_steps=3, warm_seconds=0.2, trial_seconds=0.02, parts=2, parity_views=0, matrix=64, ceilings=False,
    )  # fmt: skip
    images = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "IMAGES", 64)
        path = speed.images_file(images, torch.arange(64) % 4, 4, folder)
        found = speed.measure(plan, path, said.append)
    return found, said


def test_every_row_answers_in_blocks_and_the_numbers_are_json(measured):
    found, _ = measured
    found = json.loads(json.dumps(found))
    for name in found["summary"]["rates"]:
        row = found["rows"][name]
        assert len(row["blocks"]) == 2 and all(b["steps"] >= 2 and b["seconds"] > 0 for b in row["blocks"])
        assert row["first_step_s"] > 0 and row["warm_steps"] >= 3 and row["dtype"] in ("float32", "bfloat16")
        assert row["threads"] == 1 and row["versions"]["torch"] and row["hardware"]
    rates = found["summary"]["rates"]
    assert {"ours", "bare"} <= set(rates)
    for rate in rates.values():
        assert rate["views_per_s"]["median"] == pytest.approx(2 * rate["images_per_s"]["median"])
        assert rate["images_per_s"]["low"] <= rate["images_per_s"]["median"] <= rate["images_per_s"]["high"]
    whole = found["summary"]["whole_over_bare"]
    seconds = {n: median(b["seconds"] / b["steps"] for b in found["rows"][n]["blocks"]) for n in ("ours", "bare")}
    assert whole["median"] == pytest.approx(seconds["ours"] / seconds["bare"], abs=0.001)
    assert len(found["states"]) == 3 and found["flops_a_step"] > 0
    if "lightly-tuned" in found["rows"]:
        assert found["rows"]["lightly-tuned"]["workers"] == 0
        assert found["summary"]["ours_faster_than"]["lightly-tuned"]["median"] > 0


def test_a_row_that_cannot_be_had_says_why_and_spoils_nothing(monkeypatch, tmp_path):
    """Stand-in processes: one refuses, one goes through its blocks, one dies in the second."""
    code = (
        "import json, sys; name = sys.argv[2]; told = dict(event='failed', reason='a graph is recorded on CUDA alone');"
        "ready = dict(event='ready', step_s=0.01, first_step_s=1, build_s=1, dtype='float32', memory=dict(pss=1), notes=[]);"
        "print(json.dumps(told if name == 'ours-captured' else ready), flush=True);"
        "block = dict(event='block', steps=2, seconds=1.0, memory=dict(pss=2), notes=[]);"
        "alive = lambda i: name != 'bare' or i < 1 or sys.exit('died');"
        "[print(json.dumps(block), flush=True) for i, _ in enumerate(sys.stdin) if alive(i)]"
    )
    plan = speed.Plan(tiny("simclr", view=VIEW), ["ours", "ours-captured", "bare"], rounds=3, seconds=0.02, parts=0,
                      ceilings=False, parity_views=0, command=[sys.executable, "-c", code])  # fmt: skip
    said = []
    found = speed.measure(plan, tmp_path / "images.pt", said.append)
    assert "CUDA" in found["rows"]["ours-captured"]["skipped"] and "died" in found["rows"]["bare"]["skipped"]
    assert any("ours, captured: skipped" in line for line in said)
    assert list(found["summary"]["rates"]) == ["ours"] and len(found["rows"]["ours"]["blocks"]) == 3
    assert found["rows"]["ours"]["memory"] == {"pss": 2} and found["summary"]["whole_over_bare"] is None
    assert any("ours, captured: skipped" in line for line in speed.headlines(found))


def test_the_shares_of_a_step_sum_to_one(measured):
    found, _ = measured
    assert sum(found["parts"]["shares"].values()) == pytest.approx(1, abs=0.001)
    assert set(found["parts"]["shares"]) == {"data", "networks", "loss", "update"}
    made = speed_rows.split({name: [1.0] for name in ("data", "networks", "gradients", "update", "whole")})
    assert made["shares"]["loss"] == 0 and made["sum_over_whole"] == 3


def test_the_table_and_the_section_say_what_the_file_says(measured):
    found, _ = measured
    lines = speed.table(found)
    assert [line[0] for line in lines] == [speed.TITLES[name] for name in found["summary"]["rates"]]
    assert all(len(line) == len(speed.HEADER) for line in lines)
    kept = {"command": "python -m benchmarks.speed", "protocol": "as said", "pictures": "toybox", "minutes": 1.0,
            "methods": {"simclr": found}}  # fmt: skip
    text = speed.render(kept, "speed/tiny.json")
    assert "python -m benchmarks.speed" in text and "whole step / bare networks" in text
    assert f"{found['summary']['rates']['ours']['images_per_s']['median']:,.0f}" in text


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('print(\'{"event": "failed", "reason": "no such thing"}\')', "no such thing"),
        ("import sys; sys.exit('broken')", "its process ended with 1: broken"),
        ("import time; time.sleep(60)", "it said nothing"),
    ],
)
def test_a_process_that_fails_or_hangs_is_a_reason(code, reason, tmp_path):
    worker = speed.Worker("ours", {}, [sys.executable, "-c", code], tmp_path)
    with pytest.raises(speed.Failed, match=reason):
        worker.listen(0.5 if "sleep" in code else 20)
    worker.end()
    assert worker.process.poll() is not None


def test_a_missing_package_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lightly", None)
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    path = speed.images_file(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), torch.zeros(8).long(), 4, tmp_path)
    spec = speed.Plan(tiny("simclr", view=VIEW), []).spec(path)
    with pytest.raises(peers.Unavailable, match="CUDA alone"):
        speed_rows.BUILD["ours-captured"](spec)
    for name, package in (("lightly-tuned", "lightly"), ("torchvision", "torchvision.transforms.v2")):
        with pytest.raises(peers.Unavailable, match=f"{package} cannot be imported"):
            speed_rows.BUILD[name](spec)
    with pytest.raises(peers.Unavailable, match="SimCLR alone"):
        speed_rows.BUILD["torchvision"]({**spec, "recipe": tiny("moco", view=VIEW).to_dict()})


def test_their_forward_pass_is_ours_or_nothing_is_timed():
    recipe = tiny("simclr", view=VIEW)
    ours = new_run(recipe, 64, 4, CPU).method
    model, loss = peers.model_and_loss(recipe, ours, "lightly" if LIGHTLY else "torchvision")
    with torch.no_grad():
        model[1].get_parameter(next(name for name, _ in model[1].named_parameters())).mul_(1.1)
        ours.projector[-1].weight.mul_(1.5)
        next(model[0].parameters()).mul_(-1)
    with pytest.raises(peers.Unavailable, match="not ours"):
        peers.check_equal(recipe, ours, model, loss)


@pytest.mark.parametrize(
    "library", [pytest.param("lightly", marks=pytest.mark.skipif(not LIGHTLY, reason="not installed")), "torchvision"]
)
def test_the_peers_views_have_the_distribution_of_ours(library):
    images = _textures(600)
    ours = peers.traits_of(peers.PIPELINES["ours"], images, VIEW)
    result = peers.compare_traits(ours, peers.traits_of(peers.PIPELINES[library], images, VIEW))
    assert result["equal"], result["worst"]


@pytest.mark.parametrize(
    ("change", "worst"),
    [
        ({"jitter_p": 0.0}, "colour change"),
        ({"gray_p": 0.0}, "colour gone"),
        ({"flip_p": 0.0}, "mirrored"),
        ({"scale": (0.5, 1.0)}, "crop area"),
        ({"jitter": (0.4, 0.4, 0.4, 0.0)}, "hue change"),
        ({"jitter": (0.0, 0.4, 0.4, 0.1)}, "brightness"),
    ],
)
def test_a_pipeline_that_augments_less_is_found_out(change, worst):
    images = _textures(4000)

    def weaker(images, view):
        kept = {name: value for name, value in change.items() if view.jitter_p or name not in ("jitter_p", "jitter")}
        return peers.our_views(images, dataclasses.replace(view, **kept))

    ours = peers.traits_of(peers.our_views, images, VIEW)
    result = peers.compare_traits(ours, peers.traits_of(weaker, images, VIEW))
    assert not result["equal"] and result["worst"].startswith(worst), (result["worst"], result["worst_of_allowed"])


def _textures(n):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    return (255 * torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")).to(torch.uint8)


def test_the_command_line_plans_what_it_says():
    args = speed.arguments(["--methods", "all", "--sample", "10", "--device", "cpu", "--preset", "quick"])
    plan = speed.plan_for("moco", args)
    assert plan.rows == ["ours", "bare"] and plan.seconds * plan.rounds * 2 == pytest.approx(10)
    args = speed.arguments(["--device", "cuda", "--preset", "standard"])
    plan = speed.plan_for("mnclglf", args)
    assert plan.recipe.optim.batch_size == 512 and "ours-captured" in plan.rows and not set(plan.rows) & set(speed.PEERS)
    plan = speed.plan_for("simclr", speed.arguments(["--device", "cpu", "--preset", "quick", "--view-size", "32"]))
    assert plan.recipe.views.view.size == 32 and set(speed.PEERS) <= set(plan.rows) and "ours-captured" not in plan.rows
