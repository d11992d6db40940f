import json

import pytest
import torch
from conftest import tiny

pytest.importorskip("safetensors")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from mnclglf_lite import train, views  # noqa: E402
from mnclglf_lite.backbone import ResNet  # noqa: E402
from mnclglf_lite.errors import InputError  # noqa: E402
from mnclglf_lite.export import export_backbone, load_backbone  # noqa: E402


@pytest.fixture(scope="module")
def run(toys):
    return train.train(tiny(seed=3), toys, device="cpu", log=lambda line: None)


def test_the_network_comes_back_bit_by_bit(run, tmp_path):
    path = export_backbone(run, tmp_path / "new" / "backbone.safetensors")
    net = load_backbone(path)
    assert not any(module.training for module in net.modules())
    assert (net.width, net.blocks, net.stem) == (8, (1, 1), "patch")
    theirs = run.backbone.state_dict()
    assert list(net.state_dict()) == list(theirs)
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name
    x = torch.rand(2, 3, 16, 16)
    run.backbone.eval()
    assert torch.equal(net(x), run.backbone(x))


def test_the_file_says_what_it_is(run, tmp_path):
    with safe_open(export_backbone(run, tmp_path / "b.safetensors"), "pt") as file:
        said = file.metadata()
    assert said["width"] == "8" and json.loads(said["blocks"]) == [1, 1] and said["stem"] == "patch"
    assert tuple(json.loads(said["mean"])) == views.MEAN and tuple(json.loads(said["std"])) == views.STD
    assert said["seed"] == "3" and said["steps"] == "4"
    assert json.loads(said["recipe"]) == json.loads(json.dumps(run.recipe.to_dict()))


def test_torchvision_reads_it_as_its_own_resnet18(run, tmp_path):
    torchvision = pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))
    big = train.start(tiny(width=64, blocks=(2, 2, 2, 2), stem="imagenet"), 100, 10, torch.device("cpu"))
    for buffer in big.backbone.buffers():  # fresh statistics are 0 and 1: make them tell
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    tensors = load_file(export_backbone(big, tmp_path / "b.safetensors"))
    theirs = torchvision.models.resnet18()
    result = theirs.load_state_dict(tensors, strict=False)
    assert sorted(result.missing_keys) == ["fc.bias", "fc.weight"] and not result.unexpected_keys
    theirs.fc = torch.nn.Identity()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(x), load_backbone(tmp_path / "b.safetensors")(x))


def test_a_failed_write_leaves_the_old_file(run, tmp_path, monkeypatch):
    path = export_backbone(run, tmp_path / "b.safetensors")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        export_backbone(run, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_bad_files_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        load_backbone(tmp_path / "none.safetensors")
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a tensor in sight")
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_backbone(junk)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(export_backbone(run, tmp_path / "b.safetensors").read_bytes()[:-10])
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_backbone(cut)
    other = tmp_path / "other.safetensors"
    save_file(ResNet(8, (1, 1), "patch").state_dict(), other)
    with pytest.raises(InputError, match="its format is None"):
        load_backbone(other)
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        metadata = file.metadata()
    wrong = tmp_path / "wrong.safetensors"
    save_file(ResNet(16, (1, 1), "patch").state_dict(), wrong, metadata)
    with pytest.raises(InputError, match="does not hold the backbone"):
        load_backbone(wrong)
    save_file(ResNet(8, (1, 1), "patch").state_dict(), wrong, {**metadata, "stem": "patsch"})
    with pytest.raises(InputError, match="did you mean 'patch'"):
        load_backbone(wrong)


def test_another_file_name_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"try b\.safetensors"):
        export_backbone(run, tmp_path / "b.pt")
    assert not list(tmp_path.iterdir())
