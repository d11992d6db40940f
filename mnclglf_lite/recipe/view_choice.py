"""What the networks are to see, as one value: the fields of a recipe that decide its views.

explorer = CropExplorer(splits.test)                     # drag until the views look right
train.train(recipe, splits, views=explorer.views)        # what was seen is what trains
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..views.view import View
from .recipe import Recipe

HUE_MOST = 0.5  # of a turn of the colour circle: further is the same as less the other way


@dataclass(frozen=True)
class ViewChoice:
    """The fields of a `Recipe` of these names. Two of them are equal where a run would see the same."""

    view: View = Recipe.view
    local_view: View = Recipe.local_view
    local: str = Recipe.local
    grid: int = Recipe.grid
    local_views: int = Recipe.local_views

    @classmethod
    def of(cls, recipe: Recipe) -> ViewChoice:
        """Those of a recipe."""
        return cls(**{spec.name: getattr(recipe, spec.name) for spec in dataclasses.fields(cls)})

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with these views, checked again: `InputError` where it cannot have them."""
        return recipe.replace(**{spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)})

    def turned(
        self, *, scale: tuple[float, float], local_scale: tuple[float, float], ratio: tuple[float, float], local: str,
        grid: int, local_views: int, flip: float, colour: float, blur: float,
    ) -> ViewChoice:  # fmt: skip
        """The same with its knobs turned. Local views keep a size and a scale of their own and share all else.

        Args:
            colour: a factor on the strengths of the jitter and on the probability of grey; 1 leaves them as they are.
            ratio, flip, blur: of both kinds of views.

        Where a grid does not divide the size of whole views, the nearest size that it does is taken.
        """
        *strengths, hue = (colour * strength for strength in self.view.jitter)
        whole = dataclasses.replace(
            self.view,
            size=divisible(self.view.size, grid if local == "grid" else 1),
            scale=scale,
            ratio=ratio,
            flip=flip,
            jitter=(*strengths, min(hue, HUE_MOST)),
            gray=min(colour * self.view.gray, 1.0),
            blur=blur,
        )
        small = dataclasses.replace(whole, size=self.local_view.size, scale=local_scale)
        return ViewChoice(whole, small, local, grid, local_views)


def divisible(size: int, parts: int) -> int:
    """The multiple of `parts` that lies nearest to `size`, the larger of two."""
    return max(1, (2 * size + parts) // (2 * parts)) * parts
