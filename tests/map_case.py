"""What the tests of the embedding map share: two small maps, and their neighbours by slow loops."""

from mnclglf_lite.evaluation.layouts import subsample

# The same pictures for this process and for a notebook's: 60 of three classes, each of one colour, 50 of them on the map
CASE = """
import torch
from mnclglf_lite.data import dataset
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.explorers import EmbeddingMap

draws = torch.Generator().manual_seed(0)
labels = torch.arange(60) % 3
before = torch.randn(60, 6, generator=draws)
after = torch.randn(3, 5, generator=draws)[labels] + 0.7 * torch.randn(60, 5, generator=draws)
images = torch.tensor([[200, 40, 200], [40, 200, 40], [240, 240, 40]], dtype=torch.uint8)[labels][:, :, None, None]
pictures = dataset.ImageSet(images.expand(-1, -1, 16, 16), labels, ("cat", "dog", "hen"), "some", "test")
one = EmbeddingMap(after, pictures, points=50, k=5)
two = EmbeddingMap(before, pictures, other=after, names=("untrained", "trained"), points=50, k=5)
"""
NAMES = ("cat", "dog", "hen")


def case():
    made = {}
    exec(CASE, made)
    return made


CHOSEN = subsample(60, 50).tolist()  # numbers of the pictures on the map
