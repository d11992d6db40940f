import json

import pytest
import torch
from conftest import tiny

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.models.resnet import ResNet
from mnclglf_lite.results.export import export_backbone, export_run, load_backbone, load_trained, read_metadata, recipe_of
from mnclglf_lite.training import train
from mnclglf_lite.views import view


def trained(**shape):
    """A backbone whose every number, running statistics too, differs from a fresh one's."""
    net = ResNet(**shape)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
            else:
                value.fill_(7)
    return net.eval()


def test_round_trip_is_bit_exact(tmp_path):
    net = trained(width=8, blocks=(1, 2), stem="patch").to(memory_format=torch.channels_last)
    path = export_backbone(net, tmp_path / "net.safetensors")
    back = load_backbone(path)
    assert (back.width, back.blocks, back.stem) == (8, (1, 2), "patch") and not back.training
    assert list(back.state_dict()) == list(net.state_dict())
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in back.state_dict().items())
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(back(x), net(x))
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]  # no litter


def test_torchvision_reads_it_and_computes_the_same(tmp_path):
    models = pytest.importorskip("torchvision.models", exc_type=(ImportError, RuntimeError))
    safetensors = pytest.importorskip("safetensors.torch")
    net = ResNet(64, (2, 2, 2, 2), "imagenet").eval()
    state = safetensors.load_file(export_backbone(net, tmp_path / "resnet18.safetensors"))
    theirs = models.resnet18().eval()
    found = theirs.load_state_dict(state, strict=False)
    assert sorted(found.missing_keys) == ["fc.bias", "fc.weight"] and not found.unexpected_keys
    theirs.fc = torch.nn.Identity()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(theirs(x), net(x))


def test_metadata_say_what_it_is(tmp_path):
    net = ResNet(4, (1,), "cifar")
    metadata = {"dataset": "toybox", "seed": 3, "recipe": {"lr": 0.1}}
    path = export_backbone(net, tmp_path / "a.safetensors", metadata)
    told = read_metadata(path)
    assert told["dataset"] == "toybox" and told["seed"] == "3" and json.loads(told["recipe"]) == {"lr": 0.1}
    assert json.loads(told["mean"]) == list(view.MEAN) and json.loads(told["std"]) == list(view.STD)
    assert told["stem"] == "cifar" and json.loads(told["blocks"]) == [1]


def test_a_run_takes_its_recipe_along(tmp_path, toys):
    recipe = tiny(steps=1)
    run = train.train(recipe, toys, device="cpu", log=lambda text: None)
    told = read_metadata(export_run(run, tmp_path / "a.safetensors"))
    assert json.loads(told["recipe"]) == json.loads(json.dumps(recipe.to_dict()))
    assert (told["method"], told["dataset"], told["seed"], told["steps"]) == ("mnclglf", "toybox", "0", "1")


def test_a_whole_run_comes_back_with_heads_and_queue(tmp_path, toys):
    run = train.train(tiny(steps=2), toys, device="cpu", log=lambda text: None)
    path = export_run(run, tmp_path / "whole.safetensors", whole=True)
    back = load_trained(path)
    assert back.recipe == run.recipe and back.finished and (back.step, back.classes) == (2, run.classes)
    assert back.seconds == pytest.approx(run.seconds, abs=0.06) and not back.method.training
    kept, state = run.method.state_dict(), back.method.state_dict()
    assert list(kept) == list(state) and any(key.startswith("queue") for key in kept)
    assert all(torch.equal(value, state[key]) for key, value in kept.items())
    alone = load_backbone(path).state_dict()
    assert all(torch.equal(value, alone[key]) for key, value in run.backbone.state_dict().items())
    with pytest.raises(InputError, match="load_backbone"):
        load_trained(export_run(run, tmp_path / "backbone.safetensors"))
    safetensors = pytest.importorskip("safetensors.torch")
    lacking = {key: value for key, value in safetensors.load_file(path).items() if "predictor" not in key}
    safetensors.save_file(lacking, path, read_metadata(path))
    with pytest.raises(InputError, match="do not fit"):
        load_trained(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = export_backbone(ResNet(4, (1,)), tmp_path / "a.safetensors")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError):
        export_backbone(ResNet(8, (1,)), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def broken():
    net = ResNet(4, (1,))
    net.conv1.weight.data[0, 0, 0, 0] = torch.nan
    return net


@pytest.mark.parametrize(
    "net, name, metadata, words",
    [
        (torch.nn.Linear(2, 2), "a.safetensors", {}, "got Linear"),
        (ResNet(4, (1,)), "a.pt", {}, r"\.safetensors; got 'a.pt'"),
        (ResNet(4, (1,)), "a.safetensors", {"width": "5"}, "metadata width"),
        (ResNet(4, (1,)), "no/a.safetensors", {}, "no folder"),
        (broken(), "a.safetensors", {}, "conv1.weight are not finite"),
    ],
)
def test_bad_exports(tmp_path, net, name, metadata, words):
    with pytest.raises(InputError, match=words):
        export_backbone(net, tmp_path / name, metadata)
    assert not list(tmp_path.iterdir())


def test_bad_files(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    with pytest.raises(InputError, match="no file"):
        load_backbone(tmp_path / "missing.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(InputError, match="damaged"):
        load_backbone(path)
    safetensors.save_file({"w": torch.ones(2)}, path)
    with pytest.raises(InputError, match="not written by"):
        load_backbone(path)
    good = export_backbone(ResNet(4, (1,)), tmp_path / "good.safetensors")
    told = read_metadata(good)
    safetensors.save_file(safetensors.load_file(good), path, told | {"width": "8"})
    with pytest.raises(InputError, match="do not fit"):
        load_backbone(path)


def test_half_precision_is_half_as_large_and_as_near_as_it_can_be(tmp_path):
    net = trained(width=16, blocks=(1, 2), stem="patch")
    whole = export_backbone(net, tmp_path / "whole.safetensors")
    half = export_backbone(net, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for key, value in load_backbone(half).state_dict().items():
        true = net.state_dict()[key]
        assert value.dtype == true.dtype and torch.equal(value, true.half().to(true.dtype)), key
    net.conv1.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(InputError, match="too large for float16"):
        export_backbone(net, half, half=True)


def test_weights_that_do_not_say_how_they_were_trained(tmp_path):
    path = export_backbone(ResNet(4, (1,)), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="does not say how it was trained"):
        recipe_of(read_metadata(path), path)
