"""How a step grows: the fit knows a power law, and the command writes what the page shows."""

import importlib.util
import json

import pytest
import torch

from benchmarks.speed import growth


def test_a_known_power_law_is_found():
    x = [1.0, 3.0, 10.0, 40.0]
    found = growth.fit(x, [0.25 * value**1.5 for value in x])
    assert found == pytest.approx({"exponent": 1.5, "factor": 0.25, "residual": 1.0, "last_exponent": 1.5})
    bent = growth.fit(x, [10 + value for value in x])  # a fixed cost hides the growth
    assert bent["exponent"] < bent["last_exponent"] < 1 and bent["residual"] > 1.05


def test_points_without_a_measure_have_no_fit():
    points = [{"x": size, "seconds": size, "bytes": None} for size in (1.0, 2.0, 4.0)]
    assert growth.fit_of(points, "bytes") is None and growth.fit_of(points[:2], "seconds") is None
    assert growth.fit_of(points, "seconds")["exponent"] == pytest.approx(1)


def test_a_dry_run_writes_the_json(tmp_path, capsys):
    words = ["--dry", "--device", "cpu", "--rounds", "2", "--largest", "256", "--no-memory", "--most-seconds", "1000"]
    growth.main([*words, "--rows", "batch;queue;patches, MNCLGLF", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "cpu.json").read_text())
    batch, queue, patches = found["rows"]
    assert [p["x"] for p in patches["points"]] == [4, 9, 16] and patches["fits"]["seconds"]["exponent"] > 0
    assert [p["size"] for p in batch["points"]] == [64, 128, 256] and [p["size"] for p in queue["points"]] == [1024]
    assert all(len(p["all_seconds"]) == 2 and p["seconds"] > 0 for p in batch["points"])
    assert batch["fits"]["seconds"]["exponent"] > 0 and batch["fits"]["bytes"] is None and queue["fits"]["seconds"] is None
    assert (tmp_path / "cpu.png").exists() == (importlib.util.find_spec("matplotlib") is not None)


def test_views_grow_by_area_and_sizes_stop_where_time_does(tmp_path):
    words = ["--dry", "--device", "cpu", "--rounds", "1", "--rows", "views", "--no-memory", "--most-seconds", "0"]
    growth.main([*words, "--out", str(tmp_path)])
    row = json.loads((tmp_path / "cpu.json").read_text())["rows"][0]
    assert [p["x"] for p in row["points"]] == [2.0] and list(row["left_out"]) == ["1", "2", "3", "4", "6"]


def test_memory_on_a_cpu_is_that_of_a_fresh_process():
    """It grows with the set, by about the bytes of its images, and does not see what this process holds."""
    held = torch.ones(2**30, dtype=torch.uint8)  # several times what the point needs, on any allocator
    words = growth.parser().parse_args(["--dry", "--device", "cpu"])
    small, large = (growth.held_apart(growth.row_of("images"), size, words) for size in (1000, 41_000))
    assert 100e6 < large - small < 200e6  # 40,000 * 3,072 bytes, and labels
    assert len(held) > large
