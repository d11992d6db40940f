"""What is watched in a step, against oracles that know nothing of the watching: change a view and see which outputs change;
take a backward pass and see who has a gradient; and what each method's page says of itself."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import tiny
from drawn import noise
from torch import Tensor, nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.explorers.networks import tracer
from mnclglf_lite.explorers.networks.graph import Edge
from mnclglf_lite.explorers.networks.modules import buffer_of, networks_of, same_architecture, short_name
from mnclglf_lite.methods import base, registry, simclr
from mnclglf_lite.methods.knobs import MethodConfig
from mnclglf_lite.methods.registry import METHODS, VARIANTS, register_method, variant
from mnclglf_lite.models.freeze import freeze
from mnclglf_lite.models.heads import projector
from mnclglf_lite.models.memory_queue import Queue
from mnclglf_lite.models.momentum import update_ema
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training.step import views_at_step
from mnclglf_lite.training.train import train
from mnclglf_lite.views.batch import make_views

NAMES = [*METHODS, *VARIANTS]


def made(name, **changes):
    method, more = variant(name)
    asked = tiny(method, **more, **changes)
    return asked, build_method(asked, 10)


def traced(name, toys, progress=0.01, **changes):
    asked, method = made(name, **changes)
    return tracer.trace(method, asked, toys.train, progress)


def edges(graph, gradient):
    return {(e.source, e.target) for e in graph.edges if e.gradient == gradient}


def made_of(graph, target, cuts=False):
    """What a node is made of, by label, and whether a gradient goes back there; with `cuts`, also what stops one."""
    edges = graph.into(getattr(target, "id", target))
    return {(graph.nodes[e.source].label, e.gradient, *([e.cut] if cuts else [])) for e in edges}


def run_by_hand(method, asked, toys, count, change=None, progress=0.01):
    """The step as `tracer.trace` takes it, without watching. `change`: a view's number, or "labels", to put others in."""
    own = copy.deepcopy(method).train()
    own.progress.fill_(progress)
    own.generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    views = make_views(toys.train.images[:count], views_at_step(asked, method, 0, 1000), own.generator)
    labels = toys.train.labels[:count]
    if change == "labels":
        labels = labels.roll(1)
    elif change is not None:
        views[change] = views[change].roll(1, 0) + 0.5 * torch.randn(views[change].shape)
    return own, views, own(views, labels)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_said_to_come_from_a_view_changes_with_it_and_nothing_else(name, toys):
    """The oracle for edges: exchange one view, or the labels, and compare every output, bit by bit."""
    asked, method = made(name)
    graph = tracer.trace(method, asked, toys.train, 0.01)
    _, views, outputs = run_by_hand(method, asked, toys, graph.pictures)
    for change in (*range(len(views)), "labels"):
        source = "labels 1" if change == "labels" else f"view {change + 1}"
        _, _, others = run_by_hand(method, asked, toys, graph.pictures, change)
        for key, before in outputs.items():
            node = graph.named(key)
            if node is not None:
                said = source in graph.leading_to(node.id)
                assert said == (not torch.equal(before, others[key])), f"{key} and {source}"


@pytest.mark.parametrize("name", NAMES)
def test_the_tensors_are_those_of_a_step_that_nobody_watches(name, toys):
    asked, method = made(name)
    graph = tracer.trace(method, asked, toys.train, 0.01)
    _, views, outputs = run_by_hand(method, asked, toys, graph.pictures)
    for number, view in enumerate(views, 1):
        assert torch.equal(graph.nodes[f"view {number}"].tensor, view)
    seen = 0
    for key, value in outputs.items():
        node = graph.named(key)
        if node is not None:
            seen += 1
            assert torch.equal(value, node.tensor) or key != node.names[0]
        elif value.numel() == 1:
            assert graph.gauges[key] == float(value)
    assert seen >= 2


@pytest.mark.parametrize("name", NAMES)
def test_gradients_arrive_where_a_backward_pass_leaves_them(name, toys):
    """The oracle for what learns: an ordinary backward pass."""
    asked, method = made(name)
    graph = tracer.trace(method, asked, toys.train, 0.01)
    own, _, outputs = run_by_hand(method, asked, toys, graph.pictures)
    for value in outputs.values():
        if value.requires_grad:
            value.retain_grad()
    outputs["loss"].backward()
    for path, module in networks_of(own).items():
        taught = any(p.grad is not None and p.grad.any() for p in module.parameters())
        assert taught == (graph.networks[path].learns == "gradient"), path
    for key, value in outputs.items():
        node = graph.named(key)
        if node is None or key != node.names[0]:
            continue
        norm = None if not value.requires_grad or value.grad is None else float(value.grad.norm())
        if norm and tuple(value.shape) == (node.gives or (tuple(value.shape),))[-1]:
            assert node.gradient == pytest.approx(norm, rel=1e-4), key
        assert not (norm and node.gradient is None), key


@pytest.mark.parametrize("name", NAMES)
def test_the_method_is_left_as_it_was_bit_by_bit(name, toys):
    asked, method = made(name)
    method.generator = torch.Generator().manual_seed(3)
    method(make_views(toys.train.images[:16], method.views, method.generator), toys.train.labels[:16])["loss"].backward()
    before = copy.deepcopy(method.state_dict()), method.generator.get_state(), torch.get_rng_state()
    grads = [None if p.grad is None else p.grad.clone() for p in method.parameters()]
    tracer.trace(method, asked, toys.train, 0.5)
    assert all(torch.equal(value, before[0][key]) for key, value in method.state_dict().items())
    assert torch.equal(method.generator.get_state(), before[1]) and torch.equal(torch.get_rng_state(), before[2])
    for p, grad in zip(method.parameters(), grads, strict=True):
        assert (p.grad is None and grad is None) or torch.equal(p.grad, grad)
    assert method.training and float(method.progress) == 0
    assert not any("forward" in module.__dict__ for module in method.modules())


def test_the_same_step_gives_the_same_graph(toys):
    one, two = traced("mnclglf", toys), traced("mnclglf", toys)
    assert one.edges == two.edges and list(one.nodes) == list(two.nodes)
    assert all(torch.equal(node.tensor, two.nodes[key].tensor) for key, node in one.nodes.items())


# ---- what each method says of itself


def test_as_drawn_and_as_released_differ_in_the_gradients_of_the_local_term_and_in_nothing_else(toys):
    """The discovery that the course is built upon."""
    drawn, released = traced("mnclglf", toys), traced("mnclglf-released", toys)
    assert [(e.source, e.target) for e in drawn.edges] == [(e.source, e.target) for e in released.edges]
    assert list(drawn.networks.values()) == list(released.networks.values())
    assert edges(drawn, True) - edges(released, True) == {
        ("view 2", "backbone 2"),
        ("backbone 2", "projector 2"),
        ("projector 2", "predictor 2"),
        ("predictor 2", "loss_local"),
        ("predictor 1", "loss_local"),
        ("loss_local", "loss"),
    }
    assert edges(released, True) < edges(drawn, True)
    assert drawn.nodes["predictor 1"].label == "p1" and drawn.nodes["predictor 2"].label == "p2"
    assert Edge("predictor 1", "loss_local", False, "detach") in released.edges
    assert Edge("view 2", "backbone 2", False, "no_grad") in released.edges
    assert drawn.nodes["loss_local"].gradient == pytest.approx(1) and released.nodes["loss_local"].gradient is None


def test_mnclglf_is_what_its_page_draws(toys):
    graph = traced("mnclglf", toys)
    assert made_of(graph, "loss_local") == {("p1", True), ("p2", True), ("c1", False), ("c2", False)}
    assert made_of(graph, "loss_global") == {("p1", True), ("p3", True), ("n1", False), ("n3", False)}
    one = graph.named("c1")
    assert one.given == ((6 * 16, 16),) and one.gives == ((6 * 16, 8),) and tuple(one.tensor.shape) == (6, 16, 8)
    assert graph.into(one.id) == [Edge("backbone 4", one.id, False)]
    assert graph.into("backbone 4") == [Edge("view 1", "backbone 4", False, "no_grad")]
    assert graph.nodes["backbone 4"].given == ((4 * 16, 3, 8, 8),)  # four patches of each picture, in one call
    assert graph.named("n1").method == "nearest" and graph.into("queue 1") == [
        Edge("momentum_projector 1", "queue 1", False)
    ]
    queue, twin = graph.networks["queue"], graph.networks["momentum_projector"]
    assert queue.holds == (32, 8) and queue.takes == ("m3",) and queue.learns == "nothing"
    assert (twin.learns, twin.follows) == ("moving average", "projector")
    assert twin.momentum == pytest.approx(graph.recipe.method.ema, abs=1e-4)
    assert "labels 1" not in graph.nodes and "agreement" in graph.gauges


def test_random_local_crops_go_each_to_their_own_picture_of_a_target(toys):
    graph = traced("mnclglf-crops", toys)
    assert {e.source for e in graph.into("backbone 4")} == {"view 4", "view 5", "view 6", "view 7"}
    assert {e.source for e in graph.into("backbone 5")} == {"view 8", "view 9", "view 10", "view 11"}


def test_more_twins_follow_more_slowly_and_one_network_has_none(toys):
    graph = traced("mnclglf", toys, num_networks=3)
    found = [graph.networks[f"momentum_backbone{end}"] for end in ("", "_2")]
    assert [twin.follows for twin in found] == ["backbone", "backbone"]
    assert [twin.momentum for twin in found] == pytest.approx([0.9, 0.95], abs=1e-3)  # 1 - (1 - m) / 2^i
    assert graph.networks["queue_2"].takes == ("m3_2",)
    alone = traced("mnclglf", toys, num_networks=1)
    assert not any(network.follows for network in alone.networks.values())
    assert alone.named("m1").id == "projector 1"  # the key is the projection itself, held still
    assert Edge("projector 1", "queue 1", False, "detach") in alone.edges


def test_simsiam_stops_at_the_targets(toys):
    graph = traced("simsiam", toys)
    expected = {("p1", True, ""), ("p2", True, ""), ("z1", False, "detach"), ("z2", False, "detach")}
    assert made_of(graph, "loss", cuts=True) == expected
    assert Edge("projector 1", "predictor 1", True) in graph.edges  # and yet z learns, through its own predictor


@pytest.mark.parametrize("name, branch", [("byol", "m"), ("moco", "k"), ("fastmoco", "m"), ("glnet", "k")])
def test_the_twins_branch_carries_no_gradient(name, branch, toys):
    graph = traced(name, toys)
    twins = {path for path, network in graph.networks.items() if network.learns == "moving average"}
    assert twins == {"momentum_backbone", "momentum_projector"}
    touching = [e for e in graph.edges if any(graph.nodes[key].network in twins for key in (e.source, e.target))]
    assert len(touching) >= 6 and not any(e.gradient for e in touching)
    assert {(f"{branch}1", False), (f"{branch}2", False)} <= made_of(graph, "loss_global" if name == "glnet" else "loss")
    for path in twins:
        assert graph.networks[path].momentum == pytest.approx(graph.recipe.method.ema, abs=1e-3)


def test_fast_moco_combines_before_its_projector(toys):
    graph = traced("fastmoco", toys)
    assert graph.nodes["backbone 1"].gives == ((4 * 16, 16),) and graph.nodes["projector 1"].given == ((6 * 16, 16),)
    assert Edge("backbone 1", "projector 1", True) in graph.edges


def test_nnclrs_neighbours_carry_none(toys):
    graph = traced("nnclr", toys)
    assert made_of(graph, "loss") == {("p1", True), ("p2", True), ("n1", False), ("n2", False)}
    assert Edge("projector 1", "queue 1", False, "no_grad") in graph.edges and graph.networks["queue"].takes == ("z1",)


def test_mocos_queue_is_read_and_then_filled(toys):
    graph = traced("moco", toys)
    assert graph.nodes["queue 0"].kind == "memory" and Edge("queue 0", "loss", False) in graph.edges
    assert graph.networks["queue"].takes == ("k1", "k2")
    assert traced("moco-oneway", toys).networks["queue"].takes == ("k2",)


def test_mcl_is_two_networks_each_with_its_twin(toys):
    graph = traced("mcl", toys)
    assert {path: network.follows for path, network in graph.networks.items() if network.follows} == {
        f"twins.{m}.{part}": f"online.{m}.{part}" for m in (0, 1) for part in (0, 1)
    }
    assert graph.named("loss_icl") and not any(e.gradient for e in graph.edges if e.source.startswith("twins"))
    labelled = traced("mcl-labels", toys)
    assert {e.target for e in labelled.edges if e.source == "labels 1"} == {"loss_labels", "loss_vcl", "loss_icl"}


def test_cghs_start_gives_way_as_the_run_goes_on(toys):
    weights = {share: traced("cgh", toys, share, ramp=0.5) for share in (0.0, 0.25, 1.0)}
    counts = {share: [graph.nodes[f"loss_{key}"].gradient for key in ("nce", "global")] for share, graph in weights.items()}
    assert counts[0.0] == [pytest.approx(1), None] and counts[1.0] == [None, pytest.approx(0.5)]
    assert counts[0.25] == [pytest.approx(0.5), pytest.approx(0.25)]
    assert Edge("loss_nce", "loss", False) in weights[1.0].edges
    graph = weights[0.25]
    assert {e.source for e in graph.into("target_hyper")} == {"teacher.hyper_projector 1", "queues.hyper 0"}
    assert ("target_hyper", False) in made_of(graph, "loss_global")  # the other context teaches
    assert graph.nodes["student.backbone 1"].method == "maps" and len(graph.nodes["student.backbone 1"].gives) == 3


def test_glnets_montages_are_made_of_four_quadrants_each(toys):
    graph = traced("glnet", toys)
    assert {e.source for e in graph.into("backbone 1")} == {f"view {v}" for v in range(1, 5)}
    assert {e.source for e in graph.into("momentum_backbone 2")} == {f"view {v}" for v in range(5, 9)}
    assert {e.source for e in graph.into("location 1")} == {"backbone 1"}
    assert graph.nodes["loss_location"].gradient == pytest.approx(graph.recipe.method.location_weight)


def test_byols_twin_slows_down(toys):
    found = [traced("byol", toys, share, ema=0.9, ema_end=1.0).networks["momentum_backbone"] for share in (0, 0.5, 1)]
    assert [twin.momentum for twin in found] == pytest.approx([0.9, 0.95, 0.0], abs=1e-3)
    assert found[-1].learns == "nothing"  # at 1 it stands still


def test_labels_reach_the_losses_that_say_so(toys):
    reached = {name for name in NAMES if "labels 1" in traced(name, toys).leading_to("loss")}
    assert reached == {"supervised", "mcl-labels"}


def test_views_that_grow_are_small_at_the_start(toys):
    sizes = [
        traced("simclr", toys, share, progressive_sizes=(8, 16)).nodes["view 1"].tensor.shape[-1] for share in (0.0, 1.0)
    ]
    assert sizes == [8, 16]


def test_a_run_is_watched_with_the_weights_it_has(toys):
    run = train(tiny("simclr"), toys, device="cpu", log=lambda text: None)
    before = copy.deepcopy(run.method.state_dict())
    graph = tracer.trace(run.method, run.recipe, toys.train, 1.0)
    views = [graph.nodes[f"view {v}"].tensor for v in (1, 2)]
    assert torch.equal(copy.deepcopy(run.method)(views)["z1"], graph.named("z1").tensor)
    assert all(torch.equal(value, before[key]) for key, value in run.method.state_dict().items())


# ---- methods of one's own


@dataclass(frozen=True)
class OwnConfig(MethodConfig):
    name = "own"


class Everything(base.Method):
    """What nobody in the package does: prototypes as a bare parameter, a centre kept by hand, an unseen operation, a network
    that takes two things, one that gives back what it was given, and a shared trunk that is called on both views at once."""

    Config = OwnConfig

    def __init__(self, *given):
        super().__init__(*given)
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head, self.pair, self.same = nn.Linear(4, 6), nn.Bilinear(6, 6, 6), nn.Identity()
        self.twin = freeze(copy.deepcopy(self.head))
        self.prototypes = nn.Parameter(torch.randn(5, 6))
        self.register_buffer("centre", torch.zeros(1, 5))
        self.slots = (base.Slot(), base.Slot())

    def forward(self, views, labels=None):
        class Half(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 0.5

            @staticmethod
            def backward(ctx, gradient):
                return gradient * 0.5

        h1, h2 = self.backbone(torch.cat(views)).chunk(2)
        z1, z2 = self.same(self.head(h1)), self.head(h2)
        both = self.pair(z1, z2.detach())
        with torch.no_grad():
            guess = (self.twin(h2) @ self.prototypes.T - self.centre).softmax(1)
        logits = Half.apply(both) @ self.prototypes.T
        loss = -(guess * logits.log_softmax(1)).sum(1).mean()
        return {"loss": loss, "z1": z1, "z2": z2, "guess": guess, "idle": z1.mean() * 0}

    @torch.no_grad()
    def after_step(self, outputs):
        update_ema(self.twin, self.head, 0.7)


@pytest.fixture
def own():
    """A method of one's own under the name "own", and everything as it was before, afterwards."""
    yield register_method
    registry._methods.pop("own", None)


def test_a_method_of_ones_own_is_followed_through_whatever_it_does(own, toys):
    own(Everything)
    graph = traced("own", toys)
    assert {e.source for e in graph.into("backbone 1")} == {"view 1", "view 2"}
    assert {(e.source, e.gradient, e.cut) for e in graph.into("pair 1")} == {
        ("same 1", True, ""),
        ("head 2", False, "detach"),
    }
    assert graph.into("same 1") == [Edge("head 1", "same 1", True)]
    assert {(e.source, e.gradient) for e in graph.into("guess")} == {
        ("twin 1", False), ("prototypes 0", False), ("centre 0", False)
    }  # fmt: skip
    assert {(e.source, e.gradient) for e in graph.into("loss")} == {
        ("pair 1", True),
        ("prototypes 0", True),
        ("guess", False),
    }
    assert graph.nodes["prototypes 0"].gradient > 0 and graph.nodes["centre 0"].gradient is None
    assert graph.networks["twin"].follows == "head" and graph.networks["twin"].momentum == pytest.approx(0.7, abs=1e-4)
    assert graph.nodes["prototypes 0"].network == "" and graph.gauges["idle"] == 0
    assert graph.nodes["head 2"].label == "z2" and graph.nodes["head 2"].gradient is None


def test_the_page_on_adding_a_method_is_watched_like_any_other(toys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "add_your_own_method.md").read_text(encoding="utf-8")
    space = {}
    exec(compile(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], "page", "exec"), space)
    register_method(space["AlignUniform"])
    try:
        graph = traced("align-uniform", toys)
    finally:
        del registry._methods["align-uniform"]
    for term in ("loss_align", "loss_uniform"):
        assert made_of(graph, term) == {("z1", True), ("z2", True)}
    assert [e.source for e in graph.into("projector 2")] == ["backbone 2"]


def test_a_norm_without_weights_is_a_network_that_holds_nothing(own, toys):
    """As in Barlow Twins, whose loss looks at standardised projections."""

    @dataclass(frozen=True)
    class Config(simclr.SimCLRConfig):
        name = "own"

    class Standardised(simclr.SimCLR):
        def __init__(self, *given):
            super().__init__(*given)
            self.norm = nn.BatchNorm1d(self.config.projector[-1], affine=False)

        def embed(self, x):
            return self.norm(super().embed(x))

    Standardised.Config = Config
    own(Standardised)
    graph = traced("own", toys)
    assert made_of(graph, "loss") == {("z1", True), ("z2", True)}
    assert graph.networks["norm"].holds == () and graph.networks["norm"].parameters == 0
    assert [e.source for e in graph.into("norm 2")] == ["projector 2"]


@pytest.mark.parametrize(
    "forward, words",
    [
        (lambda self, views, labels=None: 1 / 0, "forward of the method 'own' broke off: ZeroDivisionError"),
        (lambda self, views, labels=None: {"z": views[0]}, "'loss', a scalar"),
        (lambda self, views, labels=None: {"loss": views[0].mean()}, "no gradient can leave the loss"),
    ],
)
def test_a_method_that_cannot_be_watched_says_why(forward, words, own, toys):
    own(type("Broken", (Everything,), {"forward": forward}))
    with pytest.raises(InputError, match=words):
        traced("own", toys)


def test_what_cannot_be_copied_says_so(toys):
    asked, method = made("simclr")
    method.last = method.backbone.conv1.weight * 2  # a tensor with a history
    with pytest.raises(InputError, match="cannot be copied"):
        tracer.trace(method, asked, toys.train)


def test_few_pictures():
    assert tracer.few(tiny(batch_size=16), 300) == 16 and tracer.few(tiny(batch_size=128, queue=128), 300) == 32
    assert tracer.few(tiny(batch_size=96, queue=96), 300) == 32 and tracer.few(tiny(batch_size=16), 5) == 4
    assert tracer.few(tiny("moco", batch_size=16, bn_splits=4), 15) == 8
    for count in (0, 1):
        with pytest.raises(InputError, match=f"{count} pictures are too few"):
            tracer.few(tiny(), count)


def test_networks_are_found_where_they_are():
    _, cgh = made("cgh")
    assert list(networks_of(cgh)) == [
        *(f"{who}.{part}" for who in ("student", "teacher") for part in ("backbone", "projector", "mix", "hyper_projector")),
        "queues.global", "queues.hyper",
    ]  # fmt: skip
    _, mnclglf = made("mnclglf")
    assert same_architecture(mnclglf.backbone, mnclglf.momentum_backbone)
    assert not same_architecture(mnclglf.backbone, mnclglf.projector)
    assert short_name(mnclglf.projector) == "linear 16 - 16 - 8" and short_name(mnclglf.backbone) == "ResNet"
    assert short_name(cgh.student.mix) == "Conv2d and 2 more"
    assert buffer_of(Queue(4, 2)).shape == (4, 2)
    assert buffer_of(nn.BatchNorm1d(3, affine=False)) is None and buffer_of(projector((2, 2))) is None


def test_a_queue_that_is_filled_on_the_way_is_seen_too(own, toys):
    class Early(Everything):
        def __init__(self, *given):
            super().__init__(*given)
            self.queue = Queue(32, 6)

        def forward(self, views, labels: Tensor | None = None):
            outputs = super().forward(views, labels)
            self.queue.push(outputs["z2"])
            return outputs

    own(Early)
    assert traced("own", toys).networks["queue"].takes == ("z2",)


def test_toys_and_other_sets_alike(toys):
    asked, method = made("byol")
    graph = tracer.trace(method, asked, noise(40, side=1))
    assert graph.pictures == 16 and torch.isfinite(graph.nodes["loss"].tensor)
