"""The encoder is only looked at; baselines; what a result holds."""

import json

import pytest
import torch
from conftest import tiny
from torch import nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import dataset
from mnclglf_lite.evaluation import evaluate, knn, paper_probe
from mnclglf_lite.evaluation.evaluate import extract_features, recalibrate_batchnorm
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.views.view import whole_images


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_changes_no_byte_of_the_encoder(training, toys):
    method = build_method(tiny(), 10).train(training)
    method.backbone.bn1.eval()  # one module in another mode than the rest
    state = {k: v.clone() for k, v in method.state_dict().items()}
    modes = [m.training for m in method.modules()]
    evaluate.evaluate(method.backbone, toys, "test")
    protocol = paper_probe.PaperProtocol(epochs=2, test_every=1)
    paper_probe.paper_probe(method.backbone, toys.train, toys.test, protocol, log=lambda text: None)
    evaluate.baselines(method.backbone, toys)
    assert [m.training for m in method.modules()] == modes
    assert all(torch.equal(state[k], v) for k, v in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())


def test_modes_come_back_also_after_an_error(toys):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no")

    encoder = Broken().train()
    with pytest.raises(RuntimeError):
        extract_features(encoder, toys.test)
    assert encoder.training


def test_features_are_those_of_whole_pictures_in_eval_mode(toys):
    from mnclglf_lite.views import view

    backbone = build_method(tiny(), 10).backbone.train()
    found = extract_features(backbone, toys.test, batch=7)
    images = toys.test.images.double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (view.MEAN, view.STD))
    expected = backbone.eval()(((images - mean) / std).float())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == torch.float32 and not found.requires_grad


def test_features_can_be_asked_at_the_size_of_the_training_views(toys):
    assert extract_features(evaluate.Pixels(), toys.test, size=24).shape == (40, 3 * 24 * 24)
    assert evaluate.evaluate(evaluate.Pixels(), toys, size=4, linear=False)["dim"] == 48


def test_features_are_not_maps_and_not_nan(toys):
    with pytest.raises(InputError, match="pool its maps"):
        extract_features(lambda x: x, toys.test)
    with pytest.raises(InputError, match="features of toybox, train: some features are not finite"):
        evaluate.evaluate(lambda x: x.flatten(1) / 0, toys)


def test_a_random_encoder_is_judged_under_its_own_statistics(toys):
    backbone = build_method(tiny(), 10).backbone
    seen = recalibrate_batchnorm(backbone, toys.train)
    x = seen.conv1(whole_images(toys.train.images)).detach()
    torch.testing.assert_close(seen.bn1.running_mean, x.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(seen.bn1.running_var, x.var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert torch.equal(backbone.bn1.running_mean, torch.zeros(8))


def test_a_random_encoder_with_groups_is_judged_under_statistics_of_whole_batches(toys):
    """A last batch that does not divide into eight groups is no obstacle, and the numbers are those without groups."""
    one, eight = (build_method(tiny("moco", bn_splits=groups, batch_size=32), 10).backbone for groups in (1, 8))
    a, b = (recalibrate_batchnorm(backbone, toys.train, count=77) for backbone in (one, eight))
    torch.testing.assert_close(a.layer1[0].bn1.running_var, b.layer1[0].bn1.running_var)
    assert eight.bn1.groups == 8  # the copy alone is another


def test_statistics_come_from_all_classes_of_a_set_that_is_stored_class_by_class():
    labels = torch.arange(4000) // 2000
    images = (labels * 200).to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    pictures = dataset.ImageSet(images, labels, ("dark", "light"), "flat", "train")
    norm = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen = recalibrate_batchnorm(norm, pictures, count=1000)
    expected = whole_images(images).mean(dim=(0, 2, 3))
    torch.testing.assert_close(seen[0].running_mean, expected, rtol=1e-4, atol=1e-4)


def test_baselines_are_what_they_are_called(toys):
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(evaluate.Pixels()(x), x.reshape(2, -1))
    small = evaluate.Thumbnails(8)(x).view(2, 3, 8, 8)
    assert small[1, 2, 3, 4].item() == pytest.approx(x[1, 2, 6:8, 8:10].mean().item())
    network = build_method(tiny(), 10).backbone
    assert list(evaluate.baselines(network, toys)) == ["raw pixels", "8x8 thumbnails", "random encoder"]
    large = evaluate.baselines(network, toys, size=64)["32x32 pixels"]  # 64 x 64 x 3 numbers are too many to whiten
    assert extract_features(large, toys.test, size=64).shape == (40, 3 * 32 * 32)


def test_a_result_holds_protocols_sizes_and_seconds_in_plain_json(toys):
    result = evaluate.evaluate(evaluate.Pixels(), toys, "test")
    assert json.loads(json.dumps(result)) == result
    assert result["bank"] == 320 and result["queries"] == 40 and result["dim"] == 768 and result["size"] == 16
    assert result["protocols"]["knn"] == {"k": 200, "temperature": 0.1, "weighted": True, "transform": "raw"}
    assert result["protocols"]["linear"]["l2"] == 1e-4 and set(result["seconds"]) == {"features", "knn", "linear"}
    with pytest.raises(InputError, match="did you mean 'holdout'"):
        evaluate.evaluate(evaluate.Pixels(), toys, "hold-out")
    text = evaluate.table({"raw pixels": result}, markdown=True)
    assert text.count("\n") == 2 and text.splitlines()[2].startswith("| raw pixels |")


def test_a_result_is_that_of_each_protocol_alone(toys):
    result = evaluate.evaluate(evaluate.Thumbnails(4), toys, "test", linear=False)
    bank, queries = (extract_features(evaluate.Thumbnails(4), part) for part in (toys.train, toys.test))
    for name, protocol in evaluate.KNN_PROTOCOLS.items():
        for transform in knn.TRANSFORMS:
            asked = knn.KnnProtocol(protocol.k, protocol.temperature, protocol.weighted, transform)
            alone = knn.knn(bank, toys.train.labels, queries, toys.test.labels, asked, 10)
            assert result[name][transform] == alone
    assert "linear" not in result


def test_a_small_bank_is_asked_for_what_it_has_and_the_record_says_so(toys):
    few = toys._replace(train=toys.train.subset(toys.train.labels.argsort(stable=True)[::6][:50]))
    result = evaluate.evaluate(evaluate.Thumbnails(4), few, linear=False)
    assert [result["protocols"][name]["k"] for name in ("knn", "knn20", "knn10")] == [50, 20, 10]
    one = toys.train.subset((toys.train.labels != 3).nonzero()[:, 0])
    with pytest.raises(InputError, match="1 of 10 classes have no picture, the first is class 3"):
        evaluate.evaluate(evaluate.Thumbnails(4), toys._replace(train=one))


def test_rows_that_no_run_can_change_are_measured_once(toys, tmp_path, monkeypatch):
    monkeypatch.setenv("MNCLGLF_LITE_DATA", str(tmp_path))
    backbone = build_method(tiny(), 10).backbone
    first = evaluate.baseline_rows(backbone, toys, "test")
    assert len(list((tmp_path / "baselines").iterdir())) == 2  # pixels and thumbnails, not the random encoder
    asked = []
    real = evaluate.evaluate
    monkeypatch.setattr(evaluate, "evaluate", lambda *given, **more: asked.append(given[0]) or real(*given, **more))
    again = evaluate.baseline_rows(backbone, toys, "test")
    kept = first.keys() - {"random encoder"}
    assert len(asked) == 1 and all(again[name] == first[name] for name in kept)
    other = toys._replace(test=toys.holdout)  # other pictures: nothing kept fits
    assert evaluate.baseline_rows(backbone, other, "test")["raw pixels"] != first["raw pixels"]
