"""What the networks are to see, as one value: the fields of a recipe that decide its views.

explorer = CropExplorer(splits.test)                     # drag until the views look right
train(recipe, splits, views=explorer.views)              # what was seen is what trains
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..methods.mnclglf import MNCLGLFConfig
from ..views.view import View
from .recipe import Recipe

HUE_MOST = 0.5  # of a turn of the colour circle: further is the same as less the other way


@dataclass(frozen=True)
class ViewChoice:
    """The settings of a recipe of these names. Two choices are equal where a run would see the same."""

    view: View = View()
    small_view: View = MNCLGLFConfig.small_view
    local: str = MNCLGLFConfig.local
    grid: int = MNCLGLFConfig.grid
    small_views: int = MNCLGLFConfig.small_views

    @classmethod
    def of(cls, recipe: Recipe) -> ViewChoice:
        """Those of a recipe; what its method does not read has its default."""
        return cls(recipe.views.view, **{name: getattr(recipe.method, name) for name in _read_by(recipe)})

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with those of these views that its method reads, checked again: `InputError` where they do not fit."""
        return recipe.replace(view=self.view, **{name: getattr(self, name) for name in _read_by(recipe)})

    def turned(
        self, *, scale: tuple[float, float], local_scale: tuple[float, float], ratio: tuple[float, float], local: str,
        grid: int, small_views: int, flip: float, colour: float, blur: float,
    ) -> ViewChoice:  # fmt: skip
        """The same with its knobs turned. Local views keep a size and a scale of their own and share all else.

        Args:
            colour: a factor on the strengths of the jitter and on the probabilities of grey and of the negative image (on
                this one at most 1); 1 leaves them as they are.
            ratio, flip, blur: of both kinds of views.

        Where a grid does not divide the size of whole views, the nearest size that it does is taken.
        """
        *strengths, hue = (colour * strength for strength in self.view.jitter)
        whole = dataclasses.replace(
            self.view,
            size=divisible(self.view.size, grid if local == "grid" else 1),
            scale=scale,
            ratio=ratio,
            flip_p=flip,
            jitter=(*strengths, min(hue, HUE_MOST)),
            gray_p=min(colour * self.view.gray_p, 1.0),
            invert_p=min(colour, 1.0) * self.view.invert_p,  # never above its own: always inverted would vary nothing
            blur_p=blur,
        )
        small = dataclasses.replace(whole, size=self.small_view.size, scale=local_scale)
        return ViewChoice(whole, small, local, grid, small_views)


def _read_by(recipe: Recipe) -> list[str]:
    """Which of a choice's names are settings of the recipe's method."""
    return [spec.name for spec in dataclasses.fields(ViewChoice) if spec.name in recipe.method.settings()]


def divisible(size: int, parts: int) -> int:
    """The multiple of `parts` that lies nearest to `size`, the larger of two."""
    return max(1, (2 * size + parts) // (2 * parts)) * parts
