"""What the crop explorer's picture shows, in sentences: for a screen reader, and for whoever likes numbers."""

from __future__ import annotations

from ...core.text import plural
from ...recipe.recipe import Recipe
from .coverage import Count, Target, density, percent
from .sample import DRAWS, WHOLE, Cuts

ALT = "A picture with the boxes of its views, and beside it the views cut out of it, enlarged and in true size."


def describe(
    cuts: Cuts, recipe: Recipe, asked: int, now: Count, usual: Count, target: Target | None = None, chosen: str = "",
    maps: tuple[int, int] | None = None,
) -> str:  # fmt: skip
    """The state in words, a line for each matter.

    asked: the size of whole views before a grid changed it. now: the count of the first draw, usual: of all draws.
    maps: (height, width) of the picture, where the maps are shown.
    """
    lines = [
        views_in_words(cuts, recipe, asked),
        f"This draw: {counted_in_words(now)}.",
        f"{DRAWS} draws: {counted_in_words(usual)}.",
    ]
    if maps:
        lines.append(maps_in_words(cuts, maps))
    if target and usual.touch is not None:
        lines.append(target_in_words(target, usual))
    if chosen in cuts.names:
        lines.append(view_in_words(cuts, cuts.names.index(chosen)))
    return "\n".join(lines)


def views_in_words(cuts: Cuts, recipe: Recipe, asked: int) -> str:
    """Which views there are, and what the knobs say of them."""
    view, small = recipe.views.view, recipe.method.small_view
    text = f"{WHOLE} global views of {view.size} pixels (A, B, C), {of_area(view.scale)}; "
    if recipe.method.local == "grid":
        size = view.size // recipe.method.grid
        text += (
            f"for the local targets, A and B are cut into {recipe.method.grid}x{recipe.method.grid} patches of {size} pixels"
        )
    else:
        text += f"for the local targets, {recipe.method.grid**2} random crops each for A and for B, {small.size} pixels"
        text += f", {of_area(small.scale)}"
    if recipe.method.small_views:
        names = cuts.names[-recipe.method.small_views :]
        which = f"{names[0]} to {names[-1]}" if len(names) > 2 else " and ".join(names)
        text += f"; {plural(len(names), 'small view')} of {small.size} pixels ({which}), {of_area(small.scale)}"
    elif recipe.method.local == "grid":
        text += f"; no view has the local scale, {of_area(small.scale)}"
    text += f". Aspect {view.ratio[0]:.2f} to {view.ratio[1]:.2f}, mirrored with probability {view.flip_p:.2f}, "
    jitter = ", ".join(f"{strength:.2f}" for strength in view.jitter)
    text += f"jitter of brightness, contrast, saturation, hue {jitter}, grey {view.gray_p:.2f}, blur {view.blur_p:.2f}"
    text += f", inverted {view.invert_p:.2f}." if view.invert_p else "."
    if view.size != asked:
        grid = f"{recipe.method.grid}x{recipe.method.grid}"
        text += f" A {grid} grid does not divide {asked} pixels: global views have {view.size}, the nearest size."
    return text


def counted_in_words(counted: Count) -> str:
    """One count in a sentence."""
    text = (
        f"a global box covers {percent(counted.whole_area)} of the picture on average, a local one "
        f"{percent(counted.local_area)}; two local boxes share {percent(counted.overlap)} of the smaller one (mean of "
        f"all pairs); {percent(counted.inside)} of the local boxes lie inside a global one"
    )
    if counted.touch is not None:
        text += f"; {percent(counted.touch)} touch the object, and together they cover {percent(counted.covered)} of it"
    return text


def maps_in_words(cuts: Cuts, hw: tuple[int, int]) -> str:
    """Between which shares the maps run."""
    ends = [[percent(float(end)) for end in density(boxes, hw).aminmax()] for boxes in (cuts.local, cuts.whole)]
    (least, most), (least_whole, most_whole) = ends
    return (
        f"Maps of {DRAWS} draws: a pixel lies in {least} to {most} of the local boxes and in {least_whole} to "
        f"{most_whole} of the global ones."
    )


def target_in_words(target: Target, counted: Count) -> str:
    """Whether it is reached over all draws, and if not, what is missing."""
    aim = f"Target: local views overlap less than {percent(target.overlap)} yet {percent(target.touch)} touch the object: "
    apart, near = target.checks(counted)
    if apart and near:
        return aim + "reached."
    missing = [] if apart else [f"they overlap {percent(counted.overlap)}"]
    missing += [] if near else [f"{percent(counted.touch)} touch it"]
    return aim + f"not reached, {' and '.join(missing)}."


def view_in_words(cuts: Cuts, i: int) -> str:
    """What happened to one view of the draw that is shown."""
    draw, (top, left, height, width) = cuts.draws[i].rows(slice(1)), cuts.boxes[i, 0].tolist()
    done = ["mirrored" if draw.flip[0] else "not mirrored"]
    factors = {"brightness": draw.brightness, "contrast": draw.contrast, "saturation": draw.saturation}
    done += [f"{name} times {float(factor[0]):.2f}" for name, factor in factors.items() if float(factor[0]) != 1]
    done += [f"hue turned by {360 * float(draw.hue[0]):.0f} degrees"] if float(draw.hue[0]) else []
    done += ["made grey"] if draw.gray[0] else []
    done += [f"blurred, {float(draw.sigma[0]):.1f} pixels"] if draw.blur[0] else []
    done += ["inverted"] if draw.invert[0] else []
    return (
        f"{cuts.names[i]} is the box {height:.4g} high and {width:.4g} wide whose corner lies {top:.4g} pixels down and "
        f"{left:.4g} across: {', '.join(done)}."
    )


def of_area(scale: tuple[float, float]) -> str:
    """The range of a box's area."""
    return f"{percent(scale[0])} to {percent(scale[1])} of the area"
