import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.course.budget import current_budget


def test_the_size_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("MNCLGLF_LITE_PROFILE", "cpu")
    assert current_budget().name == "cpu" and "MNCLGLF_LITE_PROFILE" in str(current_budget())
    monkeypatch.setenv("MNCLGLF_LITE_PROFILE", "qick")
    with pytest.raises(InputError, match="did you mean 'quick'"):
        current_budget()


def test_without_a_gpu_it_is_quick(monkeypatch):
    monkeypatch.delenv("MNCLGLF_LITE_PROFILE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert current_budget().name == "quick"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert current_budget().name == "gpu"
