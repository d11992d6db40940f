"""The crop explorer: drag what may be cut out of a picture, see what the networks get, and train on exactly that."""

from __future__ import annotations

from dataclasses import replace

import ipywidgets

from ...core.errors import InputError
from ...data.dataset import ImageSet, load_dataset
from ...drawing.canvas import Drawing
from ...recipe.presets import preset
from ...recipe.recipe import Recipe
from ...recipe.view_choice import ViewChoice
from .. import shell
from . import coverage, figure, sample
from .coverage import TARGET, Target
from .words import ALT, describe

ASPECTS = {
    "1 (square)": (1.0, 1.0),
    "4/5 to 5/4": (4 / 5, 5 / 4),
    "3/4 to 4/3": (3 / 4, 4 / 3),
    "2/3 to 3/2": (2 / 3, 3 / 2),
    "1/2 to 2": (1 / 2, 2.0),
    "1/3 to 3": (1 / 3, 3.0),
}
LOCAL = {"grid 2x2": ("grid", 2), "grid 3x3": ("grid", 3), "random local crops": ("crops", 2)}
PICTURE = 52  # of the toy box's test set: a toy on which the target can be reached, though not without a hand (ours)
COLUMN = "410px"  # of controls: two stand side by side in JupyterLab at 1280 pixels


class CropExplorer(shell.Explorer):
    """One picture, the views that MNCLGLF cuts out of it, and how its 200 draws fall.

    Args:
        pictures: an image set, uint8 (N, 3, H, W); the toy box's test set if none is given.
        recipe: of mnclglf; where the controls begin, and what they leave as it is (sizes, interpolation). The quick preset
            for the image set if none is given.
        target: what to aim at; None for no aim. Without object masks there is none either.
        picture: position of the picture that is shown first.

    `explorer.views` is what the controls say, a `ViewChoice`; `explorer.reached` whether the target is.
    All views share aspect, flip, colours and blur; those of local views begin as those of whole views.

        explorer = CropExplorer(splits.test)
        explorer                                             # drag, in a cell of its own
        train(recipe, splits, views=explorer.views)
    """

    def __init__(
        self, pictures: ImageSet | None = None, recipe: Recipe | None = None, target: Target | None = TARGET,
        picture: int = PICTURE,
    ):  # fmt: skip
        self.pictures = load_dataset("toybox").test if pictures is None else pictures
        if not len(self.pictures):
            raise InputError("the image set is empty: give one with at least one picture")
        self.recipe = recipe or preset("quick", "mnclglf", self.pictures.name)
        sample.check_recipe(self.recipe)
        self.target = target if self.pictures.masks is not None else None
        self.reached: bool | None = None
        base = self.recipe
        ratio, local = base.views.view.ratio, (base.method.local, base.method.grid)
        aspects = {} if ratio in ASPECTS.values() else {f"{ratio[0]:.2f} to {ratio[1]:.2f}": ratio}
        kinds = {} if local in LOCAL.values() else {f"{local[0]}, {local[1]}x{local[1]}": local}
        last = len(self.pictures) - 1
        self.picture_index = shell.slider("picture", min(picture, last), 0, last, 1)
        self.scale = shell.range_slider("global scale", base.views.view.scale, 0.01, 1.0, 0.01)
        self.local_scale = shell.range_slider("local scale", base.method.small_view.scale, 0.01, 1.0, 0.01)
        self.ratio = shell.choice("aspect, width / height", list((aspects | ASPECTS).items()), ratio)
        self.local = shell.choice("local views", list((kinds | LOCAL).items()), local)
        self.small_views = shell.slider("small local views", base.method.small_views, 0, 8, 1)
        self.flip = shell.slider("flip, probability", base.views.view.flip_p, 0.0, 1.0, 0.05)
        self.colour = shell.slider("colour strength", 1.0, 0.0, 1.5, 0.1)
        self.blur = shell.slider("blur, probability", base.views.view.blur_p, 0.0, 1.0, 0.05)
        self.seed = shell.slider("seed", 0, 0, 999, 1)
        self.new_draw = ipywidgets.Button(description="new draw", tooltip="the next seed")
        self.maps = ipywidgets.Checkbox(value=False, description="maps of 200 draws", indent=False)
        controls = [
            self.picture_index, self.scale, self.local_scale, self.ratio, self.local, self.small_views, self.flip,
            self.colour, self.blur, self.seed, self.maps,
        ]  # fmt: skip
        left = [self.picture_index, self.local, self.small_views, self.scale, self.local_scale, self.ratio]
        right = [self.flip, self.colour, self.blur, self.seed, ipywidgets.HBox([self.new_draw, self.maps])]
        for control in (*left, *right[:-1]):
            control.layout.width = COLUMN
        columns = ipywidgets.HBox([ipywidgets.VBox(left), ipywidgets.VBox(right)], layout={"flex_flow": "row wrap"})
        self.new_draw.on_click(lambda button: setattr(self.seed, "value", (self.seed.value + 1) % 1000))
        super().__init__([columns], controls)

    @property
    def views(self) -> ViewChoice:
        """What the controls say: give it to `train(..., views=...)`."""
        local, grid = self.local.value
        return ViewChoice.of(self.recipe).turned(
            scale=self.scale.value, local_scale=self.local_scale.value, ratio=self.ratio.value, local=local, grid=grid,
            small_views=self.small_views.value, flip=self.flip.value, colour=self.colour.value, blur=self.blur.value,
        )  # fmt: skip

    def draw(self) -> Drawing:
        index, recipe, chosen = self.picture_index.value, self.views.apply(self.recipe), self.picture.chosen
        picture, mask = self.pictures.images[index].cpu(), None
        if self.pictures.masks is not None:
            mask = self.pictures.masks[index].cpu()
        cuts = sample.cut(picture, recipe, self.seed.value)
        now, usual = (
            coverage.count(cuts.whole[:, :draws], cuts.local[:, :draws], picture.shape[1:], mask)
            for draws in (1, sample.DRAWS)
        )
        target = self.target if usual.touch is not None else None
        self.reached = all(target.checks(usual)) if target else None
        drawing = figure.crop_figure(
            picture, cuts, mask=mask, maps=self.maps.value, chosen=chosen, target=target, counted=usual
        )
        label = self.pictures.classes[int(self.pictures.labels[index])]
        head = f"Picture {index}, {label}, seed {self.seed.value}. "
        maps = picture.shape[1:] if self.maps.value else None
        words = describe(cuts, recipe, self.recipe.views.view.size, now, usual, target, chosen, maps)
        return replace(drawing, words=head + words, alt=ALT)
