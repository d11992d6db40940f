"""What is shipped belongs to the runs it says, and reads back as it was measured. The last tests need CIFAR-10 on disk."""

import json

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from mnclglf_lite.cli.main import main
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.evaluation.evaluate import KNN_PROTOCOLS, evaluate, extract_features
from mnclglf_lite.evaluation.knn import nearest_neighbours
from mnclglf_lite.evaluation.layouts import subsample
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.results import export, pretrained, records
from mnclglf_lite.results.pretrained import load_features, weights_path

RUNS = records.KEPT / "cifar10-slim"
ROWS = json.loads((RUNS / "compare.json").read_text())["rows"]


@pytest.fixture(scope="module")
def points():
    return load_features()


@pytest.fixture(scope="module")
def cifar():
    """CIFAR-10 from the package's data folder, or the reason why it is not there."""
    try:
        return load_dataset("cifar10")
    except InputError as problem:
        pytest.skip(f"needs CIFAR-10: {problem}")


@pytest.mark.parametrize("name", ROWS)
def test_a_shipped_backbone_says_which_run_it_is(name):
    told = export.read_metadata(weights_path(name))
    assert json.loads(told["recipe"]) == records.recipe_of_record(RUNS / f"{name}-seed0")
    run = ROWS[name]["runs"][0]
    assert int(told["steps"]) == run["steps"]
    assert float(told["train_seconds"]) == pytest.approx(run["train_seconds"], abs=0.06)


def test_the_points_are_those_of_the_table(points):
    assert set(points.features) == set(points.layouts) == set(ROWS)
    torch.testing.assert_close(points.index, subsample(10_000))
    assert len(points.classes) == 10 and points.labels.bincount().min() > 150
    for name, found in points.features.items():
        assert found.dtype == torch.float32 and torch.isfinite(found).all(), name
        assert points.layouts[name].shape == (2000, 2) and torch.isfinite(points.layouts[name]).all()
    assert all(run["furthest"] <= 0.001 for run in points.about["runs"].values())  # half precision changed no figure


def test_features_of_two_thousand_tell_what_the_table_tells(points):
    """scikit-learn's kNN on them, with a smaller bank, so lower; were labels or rows mixed up, it would be by far."""
    for name, found in points.features.items():
        unit = torch.nn.functional.normalize(found, dim=1).numpy()
        voter = KNeighborsClassifier(20, metric="cosine").fit(unit[:1000], points.labels[:1000])
        share = voter.score(unit[1000:], points.labels[1000:])
        table = ROWS[name]["runs"][0]["knn20"]["raw"]["top1"]
        assert table - 0.2 < share < table + 0.03, name


def test_a_layout_keeps_its_own_features_neighbours_best(points):
    """UMAP of one method: more of its 15 nearest are near on its own map than on any other's."""
    near = {name: nearest_neighbours(found, found, 15, exclude_self=True)[1] for name, found in points.features.items()}
    flat = {
        name: torch.cdist(spots, spots).fill_diagonal_(torch.inf).topk(15, largest=False).indices
        for name, spots in points.layouts.items()
    }
    for name, true in near.items():
        kept = {other: (true[:, :, None] == flat[other][:, None]).any(2).float().mean() for other in flat}
        assert max(kept, key=kept.get) == name


@pytest.fixture(scope="module")
def toybox():
    return load_dataset("toybox")


@pytest.mark.parametrize("name", ["simclr", "mnclglf"])
def test_a_trained_run_of_the_toy_box_has_the_tables_figures_and_its_own_points(name, toybox):
    run, kept = pretrained.load_trained(name), load_features("toybox")
    packed = {record.name: record for record in records.load_records(records.KEPT / "toybox-long")}
    assert run.recipe == Recipe.from_dict(packed[name].recipe)
    told = packed[name].result
    assert (run.step, run.finished) == (told["steps"], True)
    found = evaluate(run.backbone, toybox, "test", ("raw",), linear=False)
    for protocol in KNN_PROTOCOLS:
        assert found[protocol]["raw"]["top1"] == pytest.approx(told[protocol]["raw"]["top1"], abs=0.001)
    assert found["knn20"]["raw"]["top1"] > 0.95  # what a lesson may count on
    part = kept.images()
    assert torch.equal(part.labels, kept.labels) and part.classes == kept.classes
    features = extract_features(run.backbone, part)
    torch.testing.assert_close(features, kept.features[name], rtol=2e-3, atol=2e-3)
    near = nearest_neighbours(kept.features[name], kept.features[name], 8, exclude_self=True)[1]
    assert (near == kept.neighbours[name]).float().mean() > 0.97  # halves tie
    if name == "mnclglf":
        assert (run.method.queue.labels >= 0).all()  # every entry is of an image, none of the start


def test_groups_stand_apart_on_both_maps_after_training_and_not_before():
    """scikit-learn's kNN on the two coordinates, half of the images as bank."""
    kept = load_features("toybox")
    for maps in (kept.layouts, kept.tsne):
        assert maps.keys() == {"untrained", "simclr", "mnclglf"}
        scores = {
            name: KNeighborsClassifier(10).fit(spots[:1000], kept.labels[:1000]).score(spots[1000:], kept.labels[1000:])
            for name, spots in maps.items()
        }
        assert scores["simclr"] > 0.95 and scores["mnclglf"] > 0.85 and scores["untrained"] < 0.2


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="with a checkout"):
        load_features(folder=tmp_path)
    with pytest.raises(InputError, match="relesed"):
        weights_path("mnclglf-relesed")
    with pytest.raises(InputError, match="with a checkout"):
        weights_path("mnclglf", folder=tmp_path)
    (tmp_path / pretrained.ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(InputError, match="damaged"):
        load_features(folder=tmp_path)
    whole = (pretrained.folder_of("cifar10") / pretrained.ARCHIVE).read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:3000] + bytes(1000) + whole[4000:]):
        (tmp_path / pretrained.ARCHIVE).write_bytes(cut)
        with pytest.raises(InputError, match="damaged"):
            load_features(folder=tmp_path)
    np.savez(tmp_path / pretrained.ARCHIVE, about=np.array("{}"))
    with pytest.raises(InputError, match="damaged"):
        load_features(folder=tmp_path)


def test_images_are_the_learners_own_or_none(points, tmp_path):
    assert points.images(tmp_path) is None


def test_the_images_fit_the_points(points, cifar):
    found = points.images()
    assert torch.equal(found.labels, points.labels) and found.classes == points.classes
    for name in ROWS:
        again = extract_features(export.load_backbone(weights_path(name)), found)
        torch.testing.assert_close(again, points.features[name], rtol=2e-3, atol=2e-3)  # kept in half precision


def test_evaluate_weights_gives_the_tables_figure(cifar, tmp_path, capsys):
    main(["evaluate", "--weights", str(weights_path("mnclglf")), "--split", "test", "--json", str(tmp_path / "r.json")])
    row = list(json.loads((tmp_path / "r.json").read_text())["rows"].values())[-1]
    run = ROWS["mnclglf"]["runs"][0]
    for found, kept in ((row["knn"]["raw"], run["knn"]["raw"]), (row["linear"], run["linear"])):
        assert found["top1"] == pytest.approx(kept["top1"], abs=0.001)
