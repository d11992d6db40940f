import pytest

from mnclglf_lite import profile
from mnclglf_lite.errors import InputError


def test_the_size_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("MNCLGLF_LITE_PROFILE", "cpu")
    assert profile.profile().name == "cpu" and "MNCLGLF_LITE_PROFILE" in str(profile.profile())
    monkeypatch.setenv("MNCLGLF_LITE_PROFILE", "qick")
    with pytest.raises(InputError, match="did you mean 'quick'"):
        profile.profile()


def test_without_a_gpu_it_is_quick(monkeypatch):
    monkeypatch.delenv("MNCLGLF_LITE_PROFILE", raising=False)
    monkeypatch.setattr(profile.torch.cuda, "is_available", lambda: False)
    assert profile.profile().name == "quick"
    monkeypatch.setattr(profile.torch.cuda, "is_available", lambda: True)
    assert profile.profile().name == "gpu"
