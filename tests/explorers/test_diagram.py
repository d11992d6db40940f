"""The diagram: nothing overlaps, no line runs through a box or a text, and every pixel looked at is what the graph says."""

import itertools
import random

import numpy as np
import pytest
import torch
from conftest import tiny
from drawn import boxes_of

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import canvas, strokes
from mnclglf_lite.drawing.canvas import MARGIN, SMALL, TEXT
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, FAINT, INK, rgb
from mnclglf_lite.explorers.networks import diagram, layout, tracer
from mnclglf_lite.explorers.networks.figure import WIDE, panel, portrait, step_figure
from mnclglf_lite.explorers.networks.layout import PAD, Item, Piece
from mnclglf_lite.explorers.networks.words import describe, describe_node, facts
from mnclglf_lite.methods.registry import METHODS, VARIANTS, variant
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.views import view

pytest.importorskip("PIL")
NAMES = [*METHODS, *VARIANTS, "mnclglf 4 networks", "mnclglf small views"]
MORE = {"mnclglf 4 networks": {"num_networks": 4}, "mnclglf small views": {"small_views": 4}}


@pytest.fixture(scope="module")
def graphs(toys):
    found = {}
    for name in NAMES:
        method, changes = variant(name.split()[0])
        asked = tiny(method, **changes, **MORE.get(name, {}))
        found[name] = tracer.trace(build_method(asked, 10), asked, toys.train)
    return found


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5


def inside(point, rect, by=1.0):
    return rect[0] + by < point[0] < rect[2] - by and rect[1] + by < point[1] < rect[3] - by


# ---- where things go


@pytest.mark.parametrize("name", NAMES)
def test_boxes_and_frames_keep_apart_and_ways_go_to_the_right(name, graphs):
    graph = graphs[name]
    places = diagram.placed(graph)
    for a, b in itertools.combinations(places.boxes, 2):
        assert not overlap(places.boxes[a], places.boxes[b]), (a, b)
    frames = [(lane, rect) for lane, rects in places.lanes.items() for rect in rects]
    for (_, one), (_, other) in itertools.combinations(frames, 2):
        assert not overlap(one, other)
    for key, box in places.boxes.items():
        node = graph.nodes[key]
        for lane, rect in frames:
            own = node.network == lane or (node.kind == "view" and lane.startswith("views"))
            assert own or not overlap(box, rect), (key, lane)
        assert 0 <= box[0] and 0 <= box[1] and box[2] <= places.width + 0.5 and box[3] <= places.height + 0.5
    assert all(places.boxes[e.source][2] < places.boxes[e.target][0] for e in graph.edges)


@pytest.mark.parametrize("name", NAMES)
def test_no_line_runs_through_a_box_or_a_text(name, graphs):
    """Each way, point by point: outside of every box but its own two, and of every frame but theirs."""
    graph = graphs[name]
    places = diagram.placed(graph)
    found = diagram.routes(graph.edges, places)
    lanes = {key: graph.nodes[key].network or "views" for key in graph.nodes}
    for (source, target), points in found.items():
        line = strokes.curve(points)
        assert line[0][0] == places.boxes[source][2] and line[-1][0] == places.boxes[target][0]
        for point in line:
            for key, box in places.boxes.items():
                assert not inside(point, box), f"{source} to {target} runs through {key}"
            for lane, rects in places.lanes.items():
                own = lane in (lanes[source], lanes[target]) or lane.startswith("views")
                for rect in rects:
                    assert own or not inside(point, rect), f"{source} to {target} runs through {lane}"
        bends = places.doors[source][1], places.doors[target][0]
        assert (points[1][0], points[-2][0]) == bends  # it bends between columns alone: a narrow box has wider neighbours
        ends = [(places.boxes[key][1], places.boxes[key][3]) for key in (source, target)]
        assert ends[0][0] < line[0][1] < ends[0][1] and ends[1][0] < line[-1][1] < ends[1][1]


@pytest.mark.parametrize("name", NAMES)
def test_texts_fit_into_their_boxes_and_frames(name, graphs):
    graph = graphs[name]
    places = diagram.placed(graph)
    for key, node in graph.nodes.items():
        if node.kind == "view":
            continue
        box, lines = places.boxes[key], diagram._lines(node)
        if node.kind in ("call", "memory"):
            wide = canvas.font(SMALL).getlength(lines[0]) + canvas.font(TEXT).getlength(lines[1]) + 14
        else:
            wide = max(canvas.font(TEXT).getlength(line) for line in lines) + 4
            assert box[3] - box[1] >= diagram.LINE * len(lines)
        assert wide <= box[2] - box[0], key
    for lane, rects in places.lanes.items():
        for number, rect in enumerate(rects):
            lines = diagram.headings(graph, lane, number > 0)
            widest = max(canvas.font(TEXT if i == 0 else SMALL).getlength(x) for i, x in enumerate(lines))
            assert widest + PAD < rect[2] - rect[0]
            first = min(box[1] for key, box in places.boxes.items() if inside(box[:2], rect, -0.5))
            assert first - rect[1] >= 4 + diagram.LINE * len(lines)  # the heading ends before the first box begins


@pytest.mark.parametrize("name", NAMES)
def test_pictures_fit_a_notebook(name, graphs):
    assert diagram.placed(graphs[name]).width < 1150


def test_columns_are_longest_ways():
    ways = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("e", "d"), ("a", "f")]
    found = layout.columns("abcdef", ways)
    assert found == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 0, "f": 1}
    assert layout.columns("abcdef", ways, last=["f", "c"])["f"] == 2
    places = layout.place({key: Piece(10, 10) for key in "abcdef"}, ways, late=["e"])
    assert places.boxes["e"][0] == places.boxes["c"][0]  # one column before what it leads to
    assert [len(places.slots[way]) for way in (("a", "c"), ("a", "b"))] == [1, 0]


def test_a_lane_in_two_columns_is_two_frames():
    pieces = {"a": Piece(10, 10), "b": Piece(20, 10, "net", 30, 50), "c": Piece(20, 10, "net", 30, 50)}
    places = layout.place(pieces, [("a", "b"), ("b", "c")])
    assert len(places.lanes["net"]) == 2 and places.lanes["net"][0][0] < places.lanes["net"][1][0]
    assert places.lanes["net"][0][2] - places.lanes["net"][0][0] == 50


def linked(left, right, lines, lanes=()):
    rows = [[Item(f"{c}{i}", c, 20, lanes[c][i] if lanes else "") for i in range(n)] for c, n in enumerate((left, right))]
    for a, b in lines:
        rows[0][a].near.append(rows[1][b])
        rows[1][b].near.append(rows[0][a])
    return rows


def test_crossings_are_counted():
    """Against the plain definition: two lines cross where one begins above and ends below the other."""
    draw = random.Random(1)
    for _ in range(30):
        lines = {(draw.randrange(5), draw.randrange(5)) for _ in range(9)}
        brute = sum((a < c and b > d) for (a, b), (c, d) in itertools.permutations(lines, 2))
        assert layout.crossings(linked(5, 5, sorted(lines))) == brute


def test_the_order_undoes_what_can_be_undone():
    draw = random.Random(2)
    for _ in range(20):
        names = list(range(6))
        draw.shuffle(names)
        rows = linked(6, 6, list(enumerate(names)))
        assert layout.crossings(layout.ordered(rows)) == 0
    rows = linked(4, 4, [(0, 3), (1, 2), (2, 1), (3, 0)], [["a", "a", "b", "b"]] * 2)
    found = layout.ordered(rows)
    assert layout.crossings(found) == 0
    for row in found:  # a lane stays together
        assert len(list(itertools.groupby(item.lane for item in row))) == 2


def test_without_gain_things_stay_in_the_order_they_were_made():
    rows = linked(3, 3, [(0, 0), (1, 1), (2, 2)])
    assert [[item.key for item in row] for row in layout.ordered(rows)] == [["00", "01", "02"], ["10", "11", "12"]]


# ---- what is drawn


def colours_along(picture, graph, edge, skip=12):
    """The pixels of a way and those around them, without its ends: (points, 9, 3)."""
    places = diagram.placed(graph)
    line = strokes.curve(diagram.routes(graph.edges, places)[edge.source, edge.target])
    top = MARGIN
    dense = []
    for (x0, y0), (x1, y1) in itertools.pairwise(line):
        dense += [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in np.linspace(0, 1, 8, endpoint=False)]
    pixels = np.asarray(picture.convert("RGB"))
    around = [(round(y) + top, round(x) + MARGIN) for x, y in dense[skip:-skip]]
    return np.array([pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(9, 3) for y, x in around])


def near(pixels, colour, by=60):
    """The share of pixels, or of points, that have a colour."""
    found = np.abs(pixels.astype(int) - rgb(colour)).max(-1) < by
    return found.any(-1).mean() if pixels.shape[1:] == (9, 3) else found.mean()


@pytest.mark.parametrize("name", ["simsiam", "mnclglf", "mnclglf-released", "byol"])
def test_ways_with_a_gradient_are_solid_blue_and_others_dashed_orange(name, graphs):
    graph = graphs[name]
    picture = diagram.diagram(graph).picture
    dim = diagram.diagram(graph, show="ways without").picture
    blue, orange = [], []
    for edge in graph.edges:
        found = colours_along(picture, graph, edge)
        if edge.gradient:
            blue.append(near(found, AGREE))
            assert near(colours_along(dim, graph, edge), AGREE) < 0.2  # faint now
            assert near(colours_along(dim, graph, edge), FAINT) > 0.5
        else:
            orange.append(near(found, DISAGREE, 90))
    assert min(blue) > 0.95
    assert 0.4 < min(orange) and max(orange) < 0.95  # 7 of 12 pixels are drawn; dots are seen a pixel around


def test_a_stopped_way_has_a_sign_and_a_free_one_none(graphs):
    graph = graphs["simsiam"]
    places = diagram.placed(graph)
    routes = diagram.routes(graph.edges, places)
    picture = np.asarray(diagram.diagram(graph).picture)
    for edge in graph.edges:
        x, y = strokes.curve(routes[edge.source, edge.target])[9]
        ring = picture[round(y) + MARGIN - 9 : round(y) + MARGIN + 10, round(x) + MARGIN - 9 : round(x) + MARGIN + 10]
        assert (near(ring, DISAGREE, 40) > 0.12) == (edge.cut == "detach")


def test_twins_have_a_double_frame_and_an_arc(graphs):
    graph = graphs["byol"]
    places = diagram.placed(graph)
    pixels = np.asarray(diagram.diagram(graph).picture).astype(int)

    def column(lane):  # colours down from above the middle of a frame's upper edge
        x0, y0, x1, _ = places.lanes[lane][0]
        x, y = round(x0 + (x1 - x0) * 0.8) + MARGIN, round(y0) + MARGIN
        line = np.abs(pixels[y - 3 : y + 8, x] - 255).sum(1) > 60
        return sum(a and not b for a, b in zip(line, [False, *line[:-1]], strict=True))

    assert column("momentum_backbone") == 2 and column("backbone") == 1
    assert {(one[1] < twin[1], out) for one, twin, out in diagram.arcs(graph, places)} == {(True, diagram.ARC[0])}
    assert len(diagram.arcs(graph, places)) == 2 and not diagram.arcs(graphs["simclr"], diagram.placed(graphs["simclr"]))


def test_views_are_shown_as_the_networks_see_them(graphs):
    graph = graphs["mnclglf"]
    for number in (0, 7):
        drawn = diagram.diagram(graph, number)
        for key in ("view 1", "view 3"):
            x, y, width, side = boxes_of(drawn)[key]
            shown = np.asarray(drawn.picture)[y : y + side, x + width - side : x + width]
            tile = canvas.pixels(view.denormalise(graph.nodes[key].tensor[number : number + 1]).clamp(0, 1))[0]
            scale = side // 16
            np.testing.assert_array_equal(shown, tile.repeat(scale, 0).repeat(scale, 1))


def test_small_views_look_smaller(graphs):
    boxes = diagram.placed(graphs["mnclglf small views"]).boxes
    sides = [boxes[f"view {v}"][3] - boxes[f"view {v}"][1] for v in (1, 5)]
    assert sides == [32, 32]  # tiny: both are 16 pixels
    assert diagram.thumb_scale(graphs["glnet"]) * 8 == 32


def test_the_chosen_box_is_marked(graphs):
    graph = graphs["simclr"]
    plain, marked = (np.asarray(diagram.diagram(graph, chosen=key).picture) for key in ("", "projector 2"))
    x0, y0, width, height = boxes_of(diagram.diagram(graph))["projector 2"]
    x1, y1 = x0 + width, y0 + height
    changed = (plain != marked).any(-1)
    assert changed[y0 : y1 + 1, x0 : x1 + 1].any()
    changed[y0 - 2 : y1 + 3, x0 - 2 : x1 + 3] = False
    assert not changed.any()
    assert (marked[y0 + 1, x0 + 15 : x1 - 15] == rgb(INK)).all()


@pytest.mark.parametrize(
    "change, words",
    [({"picture": 16}, "from 0 to 15"), ({"picture": -1}, "from 0"), ({"show": "x"}, "unknown thing to show")],
)
def test_bad_input(change, words, graphs):
    with pytest.raises(InputError, match=words):
        diagram.diagram(graphs["simclr"], **change)


# ---- what is behind a box


def test_what_is_measured_of_a_tensor_is_true(graphs):
    graph = graphs["simclr"]
    z = graph.named("z1").tensor.double().numpy()
    found = dict(facts(graph, "projector 1"))
    values = np.linalg.svd(z, compute_uv=False)
    share = values / values.sum() + 1e-7
    assert found["shape"] == "(16, 8)" and found["type"] == "float32"
    assert float(found["mean"]) == pytest.approx(z.mean(), abs=6e-4) and not found["mean"].startswith("-0.000")
    assert found["standard deviation"] == f"{z.std(ddof=1):.3f}"
    assert found["length of a row"] == f"{np.linalg.norm(z, axis=1).mean():.2f}"
    assert found["effective rank"] == f"{np.exp(-(share * np.log(share)).sum()):.1f} of at most 8"
    assert found["gradient"] == f"arrived, of norm {graph.named('z1').gradient:.3g}"
    assert dict(facts(graphs["mnclglf"], "queue 1"))["gradient"] == "none arrived"
    assert facts(graph, "loss")[0] == ("value", f"{float(graph.nodes['loss'].tensor):.4f}")
    assert set(dict(facts(graphs["supervised"], "labels 1"))) == {"shape", "type"}


def test_numbers_are_blue_above_zero_and_orange_below(graphs):
    graph = graphs["simclr"]
    node = graph.named("z1")
    picture, caption = portrait(node, 0, graph.pictures)
    pixels = np.asarray(picture).astype(int)
    down, across = pixels.shape[0] // 16, pixels.shape[1] // 8
    for i, j in itertools.product(range(16), range(8)):
        red, _, blue = pixels[i * down + down // 2, j * across + across // 2]
        value = float(node.tensor[i, j])
        assert (blue > red) == (value > 0) or abs(value) < 0.02
    assert "16 rows of 8 numbers, a row for each picture" in caption
    zero = graph.nodes["projector 1"].tensor * 0
    node = type(node)("x", "call", zero, "", gives=((16, 8),))
    assert (np.asarray(portrait(node, 0, 16)[0]) == 255).all()


def test_every_kind_of_tensor_has_a_portrait(graphs):
    for name in NAMES:
        graph = graphs[name]
        for key, node in graph.nodes.items():
            picture, caption = portrait(node, 3, graph.pictures)
            if node.kind in ("term", "labels"):
                assert picture is None
            else:
                assert picture.width <= WIDE + 100 and caption, key
            assert panel(graph, key, 3).size == panel(graph, "loss").size  # so that nothing below jumps
            assert describe_node(graph, key).endswith(".")


def test_the_whole_figure(graphs):
    graph = graphs["mnclglf"]
    found = step_figure(graph, "mnclglf", 2, "everything", "predictor 1")
    assert {place.name for place in found.places} == set(graph.nodes)
    for left, top, width, height in (place.box for place in found.places):
        assert 0 < left < left + width < 1 and 0 < top < top + height < 1
    alone = diagram.diagram(graph, 2, "everything", "predictor 1")  # the same places, though the tensor stands below
    assert boxes_of(alone)["loss"][2:] == boxes_of(found)["loss"][2:] and alone.picture.height < found.picture.height
    assert "p1 (predictor, call 1), made of z1" in found.words and "(16, 8)" in found.words
    loss = float(graph.nodes["loss"].tensor)
    assert f"The loss is {loss:.3f}" in found.words and "No label reaches the loss" in found.words
    assert "momentum_backbone follows backbone, of itself it keeps 0.9" in found.words
    assert "Looking at z1 (projector, call 1)" in step_figure(graph, "mnclglf").words  # the first thing with a name
    again = step_figure(graph, "mnclglf", 2, "everything", "predictor 1")
    assert canvas.png(again.picture) == canvas.png(found.picture)
    assert canvas.png(step_figure(graph, "mnclglf", 3).picture) != canvas.png(step_figure(graph, "mnclglf", 4).picture)
    with pytest.raises(InputError, match="unknown box"):
        step_figure(graph, "mnclglf", chosen="nobody 1")


def test_words_say_where_gradients_stop(graphs):
    assert "from loss to z1 (projector, call 1) (detach holds it still)" in describe(graphs["simsiam"])
    assert "from loss_local to p1 (predictor, call 1) (detach holds it still)" in describe(graphs["mnclglf-released"])
    assert "No gradient is stopped" in describe(graphs["simclr"])
    assert "Labels reach the loss" in describe(graphs["supervised"])
    assert "queue holds (32, 8), takes in k1 and k2 after the step" in describe(graphs["moco"])


def test_a_large_table_shows_its_corner_and_says_so():
    from mnclglf_lite.explorers.networks.graph import Node

    picture, caption = portrait(Node("queue 0", "memory", torch.randn(4096, 2048), "queue"), 0, 16)
    assert picture.size == (512, 160) and "the first 160 of 4,096 rows of the first 512 of 2,048 numbers" in caption
