"""Published numbers: copied twice and compared, and against ratios and differences that were worked out from the sources."""

import dataclasses

import pytest

from mnclglf_lite.methods.registry import METHODS, VARIANTS, variant
from mnclglf_lite.results.published import DATASETS, PUBLISHED, published


def value(method, dataset, measure="linear", source="MNCLGLF", **more):
    rows = [row for row in published(method, dataset) if row.measure == measure and source in row.source]
    rows = [row for row in rows if all(str(part) in getattr(row, key) for key, part in more.items())]
    assert len(rows) == 1, (method, dataset, rows)
    return rows[0]


# Typed in a second time, a column a line: CIFAR-10, CIFAR-100, TinyImageNet top-1, then top-5
ORDER = "supervised moco simsiam simclr byol nnclr fastmoco mnclglf".split()
PAPER = """
92.89 84.03 84.16 87.11 85.58 87.66 85.93 90.18
71.93 50.49 48.19 59.20 57.12 60.91 61.39 65.20
54.03 26.01 25.28 31.39 32.76 40.46 39.91 41.70
99.84 99.53 99.45 99.64 99.58 99.63 99.57 99.78
92.21 80.28 78.41 86.41 84.83 87.50 87.31 89.72
77.02 51.92 50.63 59.08 59.55 67.05 66.26 68.36
"""
LABORATORY = """
simclr  85.30 56.50 37.16  87.72 62.52 45.71
moco    88.05 57.64 37.29  89.70 62.37 46.08
byol    87.54 57.24 37.65  89.54 63.16 45.29
nnclr   85.47 50.99 31.62  88.06 60.53 41.70
ressl   88.89 57.48 37.14  89.97 63.82 46.38
"""
LIGHTLY = """
byol .869 .868 .910
moco .838 .847 .899
nnclr .834 .815 .892
simclr .847 .848 .879
simsiam .819 .764 .904
"""


def test_the_table_that_comes_with_mnclglf():
    columns = [list(map(float, line.split())) for line in PAPER.split("\n") if line]
    for i, dataset in enumerate(DATASETS):
        for method, top1, top5 in zip(ORDER, columns[i], columns[3 + i], strict=True):
            row = value(method, dataset)
            assert (row.top1, row.top5) == (top1, top5), (method, dataset)


def test_the_ratios_inside_that_table():
    """Method over SimCLR, worked out from the printed table when it was read."""
    ratios = {
        "moco": (0.965, 0.853, 0.829), "simsiam": (0.966, 0.814, 0.805), "byol": (0.982, 0.965, 1.044),
        "nnclr": (1.006, 1.029, 1.289), "fastmoco": (0.986, 1.037, 1.271), "mnclglf": (1.035, 1.101, 1.328),
        "supervised": (1.066, 1.215, 1.721),
    }  # fmt: skip
    for method, row in ratios.items():
        for dataset, ratio in zip(DATASETS, row, strict=True):
            assert value(method, dataset).top1 / value("simclr", dataset).top1 == pytest.approx(ratio, abs=6e-4)


def test_the_laboratorys_table_and_how_far_it_stands_above_the_other():
    for line in LABORATORY.strip().split("\n"):
        method, *numbers = line.split()
        for i, dataset in enumerate(DATASETS):
            for measure, number in (("knn", numbers[i]), ("linear", numbers[3 + i])):
                assert value(method, dataset, measure, "Benchmark-Methods").top1 == float(number), line
    differences = {
        "moco": (5.7, 11.9, 20.1), "byol": (4.0, 6.0, 12.5), "simclr": (0.6, 3.3, 14.3), "nnclr": (0.4, -0.4, 1.2),
    }  # fmt: skip
    for method, row in differences.items():
        for dataset, points in zip(DATASETS, row, strict=True):
            higher = value(method, dataset, source="Benchmark-Methods").top1 - value(method, dataset).top1
            assert higher == pytest.approx(points, abs=0.051)


def test_lightlys_table():
    for line in LIGHTLY.strip().split("\n"):
        method, *shares = line.split()
        for batch, epochs, share in zip((128, 512, 512), (200, 200, 800), shares, strict=True):
            rows = [row for row in published(method, "cifar10") if "lightly" in row.source and row.epochs == epochs]
            (row,) = [row for row in rows if f"batch {batch}" in row.protocol]
            assert row.top1 == pytest.approx(100 * float(share)) and row.measure == "knn"
            assert ("8,192" in row.note) == (batch == 512 and method in ("moco", "nnclr"))  # the table's asterisk


def test_a_second_source_for_moco():
    assert [value("moco", dataset, source="MSVQ").top1 for dataset in DATASETS] == [86.18, 59.51, 43.36]


def test_each_number_is_a_percentage_with_protocol_and_source():
    assert len(PUBLISHED) == 8 * 3 + 5 * 3 * 2 + 3 + 5 * 3 == len(set(PUBLISHED))
    for row in PUBLISHED:
        assert row.method in METHODS or row.method in VARIANTS
        assert row.dataset in DATASETS and row.measure in ("knn", "linear") and row.epochs in (200, 800, None)
        assert 20 < row.top1 < (row.top5 or 100) <= 100
        assert row.protocol.lower().startswith(row.measure) and row.source and row.note
    with pytest.raises(dataclasses.FrozenInstanceError):
        PUBLISHED[0].top1 = 99.0


def test_what_is_published_for_a_name():
    assert published("simclr", "toybox") == published("glnet", "cifar10") == published("moco-oneway", "cifar10") == []
    assert published("mnclglf-released", "cifar100") == published("mnclglf", "cifar100")
    assert "as drawn or as released is not said" in value("mnclglf", "cifar100").note
    assert "epochs" not in value("mnclglf", "cifar10").note and value("mnclglf", "cifar10").epochs == 200
    said = {"moco": "200", "simclr": "200 (39,200 steps of 255)", "simsiam": "100"}  # defaults: flags are not known
    for method in ORDER:
        row = value(method, "cifar10")
        assert method == "mnclglf" or (row.epochs is None and "its epochs are not said" in row.note)
        assert row.note.partition("the default of the authors' file is ")[2] == said.get(method, "")
    assert variant("ressl")[0] == "cgh" and {row.method for row in published("ressl", "cifar10")} == {"ressl"}
