# %% [markdown]
# # 01 · Global and local crops
#
# ![One toy with five boxes drawn on it, two large and three small; beside it the five views that were cut out of them, in other colours, and in words: what changes from view to view can be forgotten, what stays has to be learned](heroes/01.png)
#
# After this notebook you will be able to
#
# * **build** the pipeline that turns a picture into views: draw a box, cut, resize, recolour,
# * **measure** what views share and what they give away: overlap, the object's part in sight, colour,
# * **choose** views on purpose, and show by a short run that the choice pays.
#
# *You need:* notebook 00; any computer, a minute of computing, no download. Reading and exercises: 45 minutes.

# %%
import math
from dataclasses import replace

import torch
import torch.nn.functional as F

from mnclglf_lite import load_dataset, preset, train
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.data import dataset, toybox
from mnclglf_lite.drawing import plots, sheets
from mnclglf_lite.evaluation import evaluate, knn, linear
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.views import crops, patches
from mnclglf_lite.views.view import View, render_view, sample_params

# %% [markdown]
# ## What a view is
# A *view* of a picture is what is left of it after some rough handling: a part is cut out, enlarged or reduced to a fixed
# size, mirrored perhaps, and its colours are changed. Chance decides each time. Large parts give *global* views, small ones
# *local* views. Below: one toy, two global views (A, B) and three local ones (C, D, E).

# %%
splits = load_dataset("toybox")
toys = splits.holdout.subset(torch.arange(200))
large, small = View(), View(size=16, scale=(0.05, 0.4))
generator = torch.Generator().manual_seed(4)
draws = [(view, sample_params(view, 1, (32, 32), generator)) for view in (large, large, small, small, small)]
made = [render_view(toys.images[1:2], view, draw, normalise=False)[0].clamp(0, 1) for view, draw in draws]
boxes = torch.cat([draw.boxes for _, draw in draws])
sheet = sheets.views_figure(toys.images[1], boxes, made, columns=3, title="One picture, five views")
sheets.Shown(sheet, "A toy with five boxes A to E on it, and beside it the five views, in other colours.")

# %% [markdown]
# Contrastive learning shows a network such views and asks which of them come from one picture. So the views *are* the
# lesson: nothing else tells the network what matters. This notebook builds them piece by piece.
#
# ## Draw a box
# Two random numbers between 0 and 1, u and v, decide the size and the shape of a box:
#
# * its **area** is uniform: a share of the picture's area, from `scale[0]` (u = 0) to `scale[1]` (u = 1);
# * its **ratio** width / height goes from `ratio[0]` (v = 0) to `ratio[1]` (v = 1), and it is the *logarithm* that is uniform.
#   So twice as wide as high comes up as often as twice as high as wide.
#
# By hand: a picture of 20 x 20 has 400 pixels. Half of them are 200. If the box is to be twice as wide as high, it must be
# 10 high and 20 wide.
#
# **Exercise 01.1** (medium, 6 minutes, used in the next figure; may be skipped). From u and v, both (N,), to heights and
# widths, (N, 2), in pixels. `hw` is the picture's (height, width).


# %%
def sides(u, v, scale, ratio, hw):
    #: your turn: area from u, ratio from v, then both sides; torch.stack([height, width], dim=1)
    area = hw[0] * hw[1] * (scale[0] + (scale[1] - scale[0]) * u)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (low + (high - low) * v).exp()
    return torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=1)
    #: end


sides = check("01.1", sides)

# %% [markdown]
# Stuck? `hint("01.1")` gives a nudge, a second call a larger one, and `solution("01.1")` shows code that works.

# %%
hint("01.1")

# %% [markdown]
# A box also needs a place. It may lie anywhere as long as all of it is inside the picture: from 0 to 32 - height, from 0 to
# 32 - width, all alike. We draw 200 boxes and count for each pixel how many of them hold it.

# %%
guess = Predict(
    "200 random boxes. Which pixels lie in most of them?",
    ["those in the middle", "those at the edge", "all equally often, since places are random"],
)
guess

# %% [markdown]
# Your `sides`, rounded to whole pixels, for large and for small boxes. The lighter a pixel, the more boxes hold it:

# %%
shades = []
for scale in ((0.4, 1.0), (0.05, 0.4)):
    u, v, down, right = torch.rand(4, 200, generator=generator)
    height, width = sides(u, v, scale, (3 / 4, 4 / 3), (32, 32)).round().clamp(max=32).T
    shade = torch.zeros(32, 32)
    for i, j, h, w in torch.stack([down * (33 - height), right * (33 - width), height, width], 1).int().tolist():
        shade[i : i + h, j : j + w] += 1 / 200
    middle, corner = 100 * shade[16, 16], 100 * shade[0, 0]
    print(f"area {scale}: {middle:.0f} % of the boxes hold the middle, {corner:.0f} % the top left corner")
    shades.append(shade.clamp(max=1).expand(3, -1, -1))
guess.reveal("those in the middle", "a corner lies only in boxes that are pushed all the way into it")
names = ["global boxes", "local boxes"]
sheet = sheets.contact_sheet(torch.stack(shades), 2, 6, names, 16, "Where 200 boxes fall: white is in all")
sheets.Shown(sheet, "Two grey squares, both brightest in the middle and dark in the corners; the local one is darker.")

# %% [markdown]
# Photographers put things in the middle, so this habit suits photographs. What lies in a corner is seen less often.
#
# ## Cut and resize
# A network wants all views at one size. So the box is cut out and resized. Where it is reduced, neighbouring pixels have to
# be averaged (*antialiasing*); else some would be left out.
#
# **Exercise 01.2** (easy, 5 minutes). From a picture uint8 (3, H, W) and a box (top, left, height, width) to a float tensor
# (3, size, size) with values from 0 to 1. `F.interpolate(batch, (size, size), mode="bilinear", antialias=True)` resizes.


# %%
def cut(picture, box, size):
    #: your turn: slice, divide by 255, resize; interpolate wants a batch (1, 3, h, w)
    #: blank top, left, height, width = box
    top, left, height, width = box
    part = picture[None, :, top : top + height, left : left + width] / 255
    return F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0]
    #: end


cut = check("01.2", cut)

# %% [markdown]
# ## One box for a whole batch is a bug
# The package's `crops.crop_resize` takes a whole batch, with **a box for each picture**. Most image libraries crop one picture at a
# time. Hand such a function a batch, and it draws *one* box and cuts it out of every picture: torchvision's
# `RandomResizedCrop` does. No error, no warning. Below, both ways; and for 100 batches, how much two views of a picture
# overlap on average.

# %%
eight, photo = toys.images[:8], ((32, 32), (0.2, 1.0), (3 / 4, 4 / 3), generator)  # MoCo's scale and ratio
for name, count in (("one box for all 64", 1), ("a box each", 64)):
    a, b = (crops.sample_boxes(100 * count, *photo).view(100, count, 4) for _ in range(2))
    found = 100 * crops.overlap(a, b).mean(dim=1)  # (100,): one number a batch
    print(f"{name:20s} mean overlap of a batch: from {found.min():3.0f} % to {found.max():3.0f} %")
one_box, own_box = crops.sample_boxes(1, *photo).expand(8, 4), crops.sample_boxes(8, *photo)
yours = torch.stack([cut(image, box, 32) for image, box in zip(eight, own_box.int().tolist(), strict=True)])
print(
    f"your cut and crops.crop_resize differ by at most {float((yours - crops.crop_resize(eight, own_box, 32)).abs().max()):.7f}"
)
names = ["picture"] * 8 + ["one box"] * 8 + ["own box"] * 8
rows = torch.cat([eight / 255, crops.crop_resize(eight, one_box, 32), yours])
sheet = sheets.contact_sheet(rows, 8, 2, names, title="The same batch, cut in two ways")
sheets.Shown(sheet, "Three rows: eight pictures; the same box cut out of all of them; a box of its own for each.")

# %% [markdown]
# With a box each, every batch is a fair mixture. With one box for all, a batch is all easy or all hopeless, by luck, and a
# step learns about one pair of boxes in place of 64.
#
# ## What else may vary
# Beside the crop there are five changes, each with a setting in `View`: **flip** mirrors left to right, **jitter** changes
# brightness, contrast, saturation and hue, **grey** takes the colour away, **blur** takes the sharpness away, **invert** makes
# the negative. One at a time:

# %%
knobs = {
    "flip": {"flip_p": 0.5},
    "jitter": {"jitter_p": 1.0},
    "grey": {"gray_p": 0.5},
    "blur": {"blur_p": 1.0},
    "invert": {"invert_p": 0.5},
}
still = View(scale=(1.0, 1.0), flip_p=0.0, jitter_p=0.0, gray_p=0.0, blur_p=0.0)
rows, same = [], toys.images[2:3].expand(8, -1, -1, -1)
for knob in knobs.values():
    view = replace(still, **knob)
    rows.append(render_view(same, view, sample_params(view, 8, (32, 32), generator), normalise=False))
names = [name for name in knobs for _ in range(8)]
sheet = sheets.contact_sheet(torch.cat(rows).clamp(0, 1), 8, 2, names, title="One picture, one change at a time")
sheets.Shown(
    sheet, "Five rows of one toy: mirrored or not, in other colours, grey or not, more or less blurred, inverted or not."
)

# %% [markdown]
# These are not there to make pictures prettier or data larger. They say what is *allowed to vary* between two views of one
# picture. **What varies cannot be used to find the partner, so the network has no reason to keep it. What never varies is a
# gift.** How large a gift? The test below: how well does the mean colour of one view tell that of the other?


# %%
def colour_kept(view):
    """Correlation of the mean colours of two views of 200 toys: 0 tells nothing, 1 tells all."""
    pair = [sample_params(view, 200, (32, 32), generator) for _ in range(2)]
    first, second = (render_view(toys.images, view, draw, normalise=False).mean(dim=(2, 3)) for draw in pair)
    first, second = first - first.mean(dim=0), second - second.mean(dim=0)
    return float(((first * second).sum(dim=0) / (first.norm(dim=0) * second.norm(dim=0))).mean())


never = View(scale=(0.4, 1.0), jitter_p=0.0, gray_p=0.0, blur_p=0.0)
print(f"colours never change:       {colour_kept(never):.2f}")
print(f"always grey:                {colour_kept(replace(never, gray_p=1.0)):.2f}")
print(f"the recipe for photographs: {colour_kept(View()):.2f}")

# %% [markdown]
# Grey pictures still have a brightness, and it gives them away. The customary recipe for photographs (the defaults of
# `View`) leaves a good clue too.
#
# Now a first run, with the whole gift in place: crops as usual, colours that never change.

# %%
guess_colour = Predict(
    "Views never change colour. After training, what do the features tell best?",
    ["which toy it is", "how large the toy is", "the colour of the ground"],
)
guess_colour

# %% [markdown]
# SimCLR (notebook 00; its loss is the subject of notebook 02), 120 steps of 128 pictures. Watch the loss: it should fall.

# %%
recipe = preset("quick", "simclr", "toybox", steps=120, batch_size=128)
runs = {"colours never change": train(recipe.replace(view=never), splits)}

# %% [markdown]
# The loss is far below that of guessing (ln 255 = 5.5, see notebook 02). What did the network learn? We ask its *features*,
# the numbers that it gives for a picture, of 1,000 pictures held back. *Which toy?* The 20 nearest of 4,000 training pictures
# vote (kNN; chance is 0.1). *Which size, which hue of the ground?* A linear map is fitted; R² is the share of the factor that
# it explains (0: nothing, 1: all). An untrained network stands beside it.


# %%
def look(encoder):
    known, asked = dataset.evenly_spaced(splits.train, 4000), dataset.evenly_spaced(splits.holdout, 1000)
    bank, queries = (evaluate.extract_features(encoder, part) for part in (known, asked))
    toy = knn.knn(bank, known.labels, queries, asked.labels, knn.KNN_20, 10)["top1"]
    factors = [{name: part.factors[name] for name in ("size", "ground_hue")} for part in (known, asked)]
    found = linear.factor_probe(bank, factors[0], queries, factors[1], toybox.PERIODS)
    return {"toy": toy} | {name: found[name]["value"] for name in found}


untrained = evaluate.recalibrate_batchnorm(build_method(recipe, 10).backbone, splits.train)
told = {"untrained": look(untrained), "colours never change": look(runs["colours never change"].backbone)}
for name, values in told.items():
    print(f"{name:22s}", {what: round(value, 2) for what, value in values.items()})
guess_colour.reveal("the colour of the ground", "a glance at it finds the partner, and nothing else need be learned")

# %% [markdown]
# A good loss, and features that say next to nothing of the toys. The ground's hue can be read from an untrained network too.
# Colour was enough to tell partners by, so nothing else had to be learned. That is a short cut, and we left it open. We shall
# close it.
#
# ## How much do two views share?
# Now the crops. If two boxes have nothing in common, the partner is hard to find. If they are the same, place and size
# are a gift too. So we measure overlap: the share of box b that lies inside box a. What two boxes share is a box again,
# unless they lie apart.
#
# **Exercise 01.3** (medium, 6 minutes). Boxes are rows of top, left, height, width: `a` and `b` are (N, 4), the answer is
# (N,).


# %%
def overlap(a, b):
    #: your turn: where the common box begins and ends; no side below 0; divided by the area of b
    start = torch.maximum(a[:, :2], b[:, :2])
    end = torch.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    return (end - start).clamp(min=0).prod(1) / b[:, 2:].prod(1)
    #: end


overlap = check("01.3", overlap)

# %% [markdown]
# The toy box also knows which pixels are toy: its *masks*. So we can ask what photographs do not tell: how much of the
# object is in this crop?
#
# **Exercise 01.4** (easy, 3 minutes). The share of the object's pixels, true in `mask` (H, W), that a box holds.


# %%
def seen(mask, box):
    #: your turn: true pixels in the box, divided by all true pixels
    #: blank top, left, height, width = box
    top, left, height, width = box
    return mask[top : top + height, left : left + width].sum() / mask.sum()
    #: end


seen = check("01.4", seen)

# %% [markdown]
# With both, crop sizes can be compared. Each line: two boxes on each of 200 toys. How much do the two overlap, how many boxes
# hold a pixel of the toy at all, and how much of it do they hold on average?

# %%
print("area of a crop   overlap of two   touch the toy   part of the toy in sight")
for low, high in ((0.05, 0.05), (0.1, 0.1), (0.2, 0.2), (0.4, 0.4), (0.4, 1.0), (1.0, 1.0)):
    a, b = (crops.sample_boxes(200, (32, 32), (low, high), (3 / 4, 4 / 3), generator) for _ in range(2))
    parts = torch.stack([seen(mask, box) for mask, box in zip(toys.masks, a.int().tolist(), strict=True)])
    shares = [float(100 * share) for share in (overlap(a, b).mean(), (parts > 0).float().mean(), parts.mean())]
    print("{:4.2f} to {:4.2f} {:14.0f} % {:13.0f} % {:13.0f} %".format(low, high, *shares))

# %% [markdown]
# It is a trade. Small crops differ from each other, but many of them miss the toy. Large crops all show the toy, but also
# the same ground, the same light, the same place. Global views buy safety, local views variety.
#
# ## A grid: the other way to local views
# Local views need not be drawn at random. MNCLGLF cuts a global view into 2 x 2 patches. Patches of one view do not overlap
# at all, and together they miss nothing of it. Below, a column is one view and its four patches: count those without a brick
# in them. Notebook 04 shows what is done with patches.

# %%
view = View(scale=(0.6, 1.0), jitter_p=0.0, gray_p=0.0, blur_p=0.0)
whole = render_view(toys.images[:6], view, sample_params(view, 6, (32, 32), generator), normalise=False)
tiles = patches.grid_patches(whole)  # (6, 3, 32, 32) -> (4, 6, 3, 16, 16)
rows = [whole, *(F.interpolate(tile, 32, mode="nearest") for tile in tiles)]
names = [name for name in ("view", "top left", "bottom left", "top right", "bottom right") for _ in range(6)]
sheet = sheets.contact_sheet(torch.cat(rows).clamp(0, 1), 6, 3, names, title="Views and their patches, enlarged")
sheets.Shown(sheet, "Six columns: a view on top, below it its four quarters, enlarged. Some quarters miss the toy.")

# %% [markdown]
# ## Steer it yourself
# The explorer draws MNCLGLF's views of one picture and counts 200 draws of them. **Its target: local views that overlap
# less than 20 %, while 90 % of them touch the object.** Picture 3 starts below it. Which slider takes it there, and what do
# the global views look like then? Try `random local crops` too. Then take picture 15, a small toy near the edge: how near can
# you get?

# %%
from mnclglf_lite.explorers import CropExplorer

explorer = CropExplorer(toys, picture=3)
explorer

# %% [markdown]
# Picture 3 gets there with a global scale that begins at about 0.8: larger global views, so that all four patches reach
# the toy. The price is that global views then show nearly the same part. Random crops miss the toy too often,
# or overlap too much. On picture 15 we know no setting that gets there: patches that lie side by side can all touch a small
# toy only where it lies across their common corner. What you set here can be trained, by
# `train(recipe, splits, views=explorer.views)` with a recipe for MNCLGLF.
#
# ## Choose, and train
# **Exercise 01.5** (medium, 8 minutes). Choose the `View` that SimCLR is to train on. The check wants three things of it,
# each measured on 200 toys: a view holds at least two thirds of the toy; two views overlap by less than nine tenths; and
# one view's mean colour tells little of the other's, a correlation below 0.5. The defaults, those for photographs, do not
# pass. (What you have set in the explorer is `explorer.views.view`.)

# %%
#: your turn: View(scale=..., jitter=..., gray_p=..., blur_p=...)
#: blank mine = ...
mine = View(scale=(0.4, 1.0), jitter=(0.8, 0.8, 0.8, 0.5), gray_p=0.5, blur_p=0.0)
#: end
mine = check("01.5", mine)

# %% [markdown]
# Two more runs of the same length: your views, and the same colours in crops of a twentieth of the area. Beside them stands
# what comparing the raw pixels gives.

# %%
tiny = replace(mine, scale=(0.05, 0.05))
for name, view in (("crops of 5 %", tiny), ("your views", mine)):
    runs[name] = train(recipe.replace(view=view), splits)
    told[name] = look(runs[name].backbone)
pixels = look(evaluate.Pixels())["toy"]
note = "toybox, kNN 20 of 1,000 held-back pictures among 4,000; SimCLR, 120 steps of 128, seed 0, a tiny network"
chart = plots.bars_with_dots(
    {name: [told[name]["toy"]] for name in runs}, {"raw pixels": pixels, "chance": 0.1},
    "which toy? kNN accuracy, %", "Same network, same loss, same length: the views decide", note,
)  # fmt: skip
sheets.Shown(chart, "Three bars: colours that never change and tiny crops near chance, your views above raw pixels.")

# %% [markdown]
# The broken lines are marks to measure by: chance, and raw pixels. Either bad choice leaves features that tell toys apart
# worse than raw pixels do. Views chosen on purpose beat them within seconds of training. And what was forgotten?

# %%
print(f"{'':21s}   toy, kNN   size, R²   ground hue, R²")
for name, values in told.items():
    print(f"{name:21s}{values['toy']:11.2f}{values['size']:11.2f}{values['ground_hue']:17.2f}")
print(note)

# %% [markdown]
# With views whose colours change, most of the hue was forgotten, and the toy has taken its place. (Its size came in by the
# way: nobody asked for it, but crops that keep most of a toy hardly hide how large it is.) Where colours never change,
# nothing was forgotten and little learned. Crops of 5 % brought next to nothing of the toy either: two such crops of a
# picture overlap by a twentieth, and half of them show no toy at all.
#
# What this does **not** show: which crops are best. One seed, a few seconds, a tiny network, ten toys. On photographs
# smaller crops and milder changes of colour are customary. One reason: there, colour often says something about the class.
#
# ## Where things are
# * Boxes, cutting, overlap: `mnclglf_lite.views.crops`. What may happen and what did: `View` and `ViewParams` in
#   `mnclglf_lite.views.view`.
# * Grids of patches: `mnclglf_lite.views.patches`. The views that each image set is trained on:
#   `mnclglf_lite.views.named_views`, and in a recipe `recipe.views.view`.

# %%
progress("01")

# %% [markdown]
# **Two questions to take along.** Flowers are told apart by colour, digits by which way they face. Which knobs would you
# turn down for each? And if a local view shows nothing but ground, what does the loss teach the network with it?
#
# *Next:* [02 · The contrastive loss by hand](02_contrastive_loss_by_hand.ipynb), which turns views into a number that
# training can lower.
