"""The combine explorer: which patches of a view make which embedding, and whether it tells the picture from others."""

from __future__ import annotations

from dataclasses import replace

from ...data.dataset import ImageSet, load_dataset
from ...drawing.canvas import Drawing
from ...methods.mnclglf import MNCLGLF
from ...recipe.presets import preset
from ...recipe.recipe import build_method
from ...training.run import Run
from .. import shell
from . import compute, figure
from .words import ALT, describe


class CombineExplorer(shell.Explorer):
    """A view cut into patches, their combinations, and what a real encoder makes of each.

    Args:
        pictures: an image set of at least 2 pictures, uint8 (N, 3, H, W); the toy box's test set if none is given.
        method: of mnclglf, or a run of it; the quick preset's, untrained, if none is given. It is left as it is.
        picture: position of the picture that is shown first.

    `explorer.found` is a `compute.Combined`: patches, members, embeddings (C, D), cosines (C, N). Click a
    combination, or Tab to it and Enter, and its patches are outlined.

        before, after = CombineExplorer(splits.test), CombineExplorer(splits.test, run)
        before
    """

    def __init__(self, pictures: ImageSet | None = None, method: MNCLGLF | Run | None = None, picture: int = 0):
        pictures = load_dataset("toybox").test if pictures is None else pictures
        if method is None:
            method = build_method(preset("quick", "mnclglf", pictures.name), len(pictures.classes))
            self.encoder = "an untrained network"
        elif isinstance(method, Run):
            self.encoder, method = f"the network after step {method.step} of {method.total_steps}", method.method
        else:
            self.encoder = "the method as given"
        compute.check(pictures, method)
        self.pictures, self.method = pictures, method
        config, last = method.config, len(pictures) - 1
        grids = sorted({2, 3, config.grid})
        self.index = shell.slider("picture", min(picture, last), 0, last, 1)
        self.seed = shell.slider("seed", 0, 0, 999, 1)
        self.grid = shell.choice("grid", [(f"{side}x{side}", side) for side in grids], config.grid)
        self.combine = shell.slider("combine", config.combine, 1, max(grids) ** 2, 1)
        controls = [self.index, self.seed, self.grid, self.combine]
        super().__init__(controls, controls)

    def draw(self) -> Drawing:
        index, chosen = self.index.value, self.picture.chosen
        self.found = compute.combined(
            self.pictures, self.method, index, self.seed.value, self.grid.value, self.combine.value
        )
        drawing = figure.combine_figure(self.found, chosen)
        label = self.pictures.classes[int(self.pictures.labels[index])]
        head = f"Picture {index}, {label}, seed {self.seed.value}, through {self.encoder}. "
        return replace(drawing, words=head + describe(self.found, chosen), alt=ALT)
