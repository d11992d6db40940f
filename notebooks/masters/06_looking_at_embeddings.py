# %% [markdown]
# # 06 · Looking at embeddings
#
# ![Three maps of the very same points: one cloud by PCA; by t-SNE and by UMAP groups of one colour or of two, with other shapes and gaps on each. Below them a picture and its nine nearest, six of its own kind](heroes/06.png)
#
# After this notebook you will be able to
#
# * **read** PCA, t-SNE and UMAP for what they show, and not be fooled by what they invent,
# * **find** the neighbours that count, in the full space of the embedding, and say how many of them a map keeps,
# * **explore** an embedding by hand: hover, pin, select, compare before with after.
#
# *You need:* notebook 02; two CPU cores, about a minute of computing (UMAP compiles itself once), no download. Reading and exercises: 40 minutes.

# %%
from pathlib import Path

import torch
import torch.nn.functional as F

from mnclglf_lite import load_dataset
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.drawing import plots, sheets
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import pretrained

# %% [markdown]
# ## Something to look at
# The course ships a SimCLR that was trained on the toy box for some minutes. Load it, and compute the features of 500 test images
# before training and after. The features of an image are the output of the backbone: a vector, so a point in a space of many
# dimensions.

# %%
splits = load_dataset("toybox")
run = pretrained.load_trained("simclr")
untrained = build_method(run.recipe, 10).backbone
print(
    f"SimCLR: {run.step:,} steps of {run.recipe.optim.batch_size} images, seed {run.recipe.seed}, {run.seconds:.0f} s of one core"
)

# %%
toys = splits.test.subset(layouts.subsample(len(splits.test), 500))
before, after = (extract_features(network, toys) for network in (untrained, run.backbone))
print(f"{len(toys)} images, each a point in {after.shape[1]} dimensions")

# %% [markdown]
# ## PCA: a shadow
# Nobody can look at so many dimensions. The oldest way out is to turn the cloud so that it is as wide as possible in two
# directions, and to look at its shadow. That is PCA. It invents nothing: what is far apart in the shadow is far apart. But
# things that fall on top of one another may be far apart in a direction you do not see.

# %%
shadow = layouts.pca(after)
picture = plots.scatter_map(
    shadow, toys.labels, toys.classes, "PCA: a shadow of the cloud", f"{len(toys)} test toys; {layouts.describe('pca')}"
)
sheets.Shown(picture, "A cloud of markers of ten kinds.")

# %% [markdown]
# A marker is a toy, and its colour and shape say of which kind. Where kinds are mixed: does the network not tell them apart,
# or can this page not show it?
#
# **Exercise 06.1** (easy, 5 minutes). How much of the cloud x (N, D) does a shadow show? Write `share_shown(x, d)`: the share
# of all variance that lies in the first d principal directions, a number from 0 to 1. The singular values of the *centred*
# table tell how wide the cloud is in each direction; variance is their square.


# %%
def share_shown(x, d):
    #: your turn: centre, singular values, squares, the first d over all
    variance = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    return variance[:d].sum() / variance.sum()
    #: end


share_shown = check("06.1", share_shown)

# %%
for d in (1, 2, 3, 10):
    print(f"{d:2d} directions show {100 * float(share_shown(after, d)):.0f} %")

# %% [markdown]
# What the first two do not show is hidden on the map, and an honest caption says so.
#
# ## Neighbours that count
# Before bending the picture any further, find the truth it will be held against. Two pictures are neighbours if their
# features point the same way, in *all* dimensions.
#
# **Exercise 06.2** (medium, 5 minutes, used below). For every row of x (N, D) the positions of its k nearest others, nearest
# first: a table (N, k) of whole numbers.


# %%
def nearest(x, k):
    #: your turn: cosines, nobody is his own neighbour, the k largest of each row
    unit = F.normalize(x, dim=1)
    return (unit @ unit.T).fill_diagonal_(-2.0).topk(k).indices
    #: end


nearest = check("06.2", nearest)

# %% [markdown]
# Now look at real neighbours: on the left a toy of each kind, to its right the eight nearest of the other 499.

# %%
true = nearest(after, 8)
first = [int((toys.labels == label).nonzero()[0]) for label in range(10)]
strips = sheets.neighbour_strips(
    toys.images, first, true[first], toys.labels, toys.classes, title="Nearest pictures in the full space"
)
alt = "Ten rows: a toy of each kind and its eight nearest pictures."
sheets.Shown(strips, alt)

# %%
guess_shared = Predict(
    "Go along the rows. What do neighbours of the trained network share most often?",
    ["the kind of toy", "which is brighter, toy or ground", "the colour of the toy"],
)
guess_shared

# %% [markdown]
# The toy box remembers how each picture was drawn, so this can be counted. By chance one in ten neighbours would be of the same
# kind, and about half would be alike in which is brighter.

# %%
bright = toys.factors["toy_is_bright"].long()
for name, x in (("before", before), ("after", after)):
    near = nearest(x, 8)
    kind, side = (float((value[near] == value[:, None]).float().mean()) for value in (toys.labels, bright))
    print(
        f"{name:6s} training, of the 8 nearest: {100 * kind:3.0f} % same kind, {100 * side:5.1f} % alike in which is brighter"
    )
share_kind, share_side = kind - 0.1, side - 0.5  # above chance, after training
most = "the kind of toy" if share_kind > share_side else "which is brighter, toy or ground"
guess_shared.reveal(
    most, f"{100 * share_kind:.0f} points above chance for the kind, {100 * share_side:.0f} for the brighter part"
)

# %% [markdown]
# The views cut, mirror, recolour and invert (`invert_p`): a dark toy on bright ground may become a bright one on dark ground.
# So which is brighter does not help to find the other view, and training has no reason to keep it. Rows like these say more
# about features than any map.
#
# ## What does a map keep?
# **Exercise 06.3** (medium, 5 minutes). Given true neighbours (N, k) and neighbours on a map (N, k): what share of the true
# ones does the map keep near? Where in the row they stand does not matter.


# %%
def kept(true, flat):
    #: your turn: every entry of a row against every entry of the same row of the other table
    return (true[:, :, None] == flat[:, None, :]).any(dim=2).float().mean()
    #: end


kept = check("06.3", kept)

# %% [markdown]
# On a flat map, near means near with a ruler, not by direction. So the map's own neighbours are found by distance.


# %%
def on_map(points, k=8):
    return torch.cdist(points, points).fill_diagonal_(torch.inf).topk(k, largest=False).indices


print(
    f"PCA keeps {100 * float(kept(true, on_map(shadow))):.0f} % of the 8 nearest; by chance it would be {800 / (len(toys) - 1):.1f} %"
)

# %% [markdown]
# ## t-SNE and UMAP: neighbours first
# Both give up true distances and try to keep neighbours together instead. They pull each point to its neighbours and push all
# others away, until the page is full. (Does that sound familiar? It is close to a contrastive loss, with the points themselves
# in place of a network.)

# %%
folder = Path("pictures") / "layouts"
bent = {name: layouts.compute_layout(after, kind, folder, seed=0) for name, kind in (("t-SNE", "tsne"), ("UMAP", "umap"))}
note = f"{len(toys)} test toys; {layouts.describe('tsne', seed=0)}; {layouts.describe('umap', seed=0)}"
picture = plots.two_maps(
    *bent.values(), toys.labels, toys.classes, tuple(bent), title="The same features, bent twice", note=note
)
sheets.Shown(picture, "Two maps of the same features, coloured by the kind of toy.")

# %% [markdown]
# Does an island hold one kind of toy, or many? Where it holds many, it must be made of something else. Colour the very same
# maps by the other thing that you have just counted:

# %%
sides = ("dark toy, bright ground", "bright toy, dark ground")
title = "The same maps, coloured by which is brighter"
picture = plots.two_maps(*bent.values(), bright, sides, tuple(bent), title=title, note=note)
sheets.Shown(picture, "The same two maps in two colours: dark toys on bright ground, and bright toys on dark ground.")

# %% [markdown]
# A map shows what is *strong* in the features, not what you would like to find there. And now the number: how many of the
# true neighbours are neighbours on each map?

# %%
for name, points in ({"PCA": shadow} | bent).items():
    print(f"{name:5s} keeps {100 * float(kept(true, on_map(points))):3.0f} % of the 8 nearest")

# %% [markdown]
# They keep far more neighbours than PCA, which is what they are made for. What they do not keep are widths and gaps.
#
# ## Two ways to be fooled
# **Sizes and gaps by themselves mean nothing.** Three made-up groups: the second is ten times as wide as the first, the third
# is very far off. What will t-SNE make of them?

# %%
generator = torch.Generator().manual_seed(1)
groups = torch.randn(3, 60, 10, generator=generator) * torch.tensor([0.5, 5.0, 0.5])[:, None, None]
groups[1, :, 0] += 30
groups[2, :, 0] += 400
cloud, member = groups.flatten(0, 1), torch.arange(3).repeat_interleave(60)
guess_gap = Predict(
    "How will the far group stand on the t-SNE map?", ["far off, as in truth", "about as near as the others"]
)
guess_gap

# %%
from sklearn.manifold import TSNE

drawn = torch.from_numpy(TSNE(perplexity=20, init="pca", random_state=0).fit_transform(cloud.numpy()))
names3 = ("narrow", "ten times as wide", "far away")
names = ("PCA: as wide and as far as in truth", "t-SNE")
note3 = "3 groups of 60 points in 10 dimensions; t-SNE: perplexity 20, from PCA, seed 0"
picture = plots.two_maps(layouts.pca(cloud), drawn, member, names3, names, title="Three groups", note=note3)
sheets.Shown(
    picture, "Left: two groups close together and one far off. Right: three islands of similar size at similar distances."
)

# %%
gap = [float(torch.cdist(x[member == 0], x[member == g]).mean()) for x in (cloud, drawn) for g in (1, 2)]
wide = [float(x[member == g].std(dim=0).mean()) for x in (cloud, drawn) for g in (0, 1)]
print(f"far group over near group: {gap[1] / gap[0]:.1f} times as far in truth, {gap[3] / gap[2]:.1f} times on the map")
print(f"second group over first: {wide[1] / wide[0]:.1f} times as wide in truth, {wide[3] / wide[2]:.1f} times on the map")
guess_gap.reveal("about as near as the others", "t-SNE evens out widths and gaps; who is near to whom survives")

# %% [markdown]
# **Noise has islands too.** The next cloud is pure noise, one round ball, without any groups. With a small *perplexity* (how
# many neighbours count) t-SNE finds some all the same.

# %%
ball = torch.randn(250, 30, generator=generator)
lumps = [torch.from_numpy(TSNE(perplexity=p, init="random", random_state=0).fit_transform(ball.numpy())) for p in (3, 30)]
none = torch.zeros(250, dtype=torch.int64)
names, note4 = ("perplexity 3", "perplexity 30"), "250 points in 30 dimensions; t-SNE from a random start, seed 0"
picture = plots.two_maps(*lumps, none, ("noise",), names, title="One round ball of noise, drawn twice", note=note4)
sheets.Shown(picture, "Left: the noise falls into many small clumps. Right: the same noise as one loose disc.")

# %% [markdown]
# So: never one map alone, never without its settings, and never as a proof. A group on a map is a *question*; the answer
# stands in the full space.
#
# ## Hubs
# In many dimensions some points are everybody's neighbour, and some nobody's. A hub spoils kNN: it votes everywhere. Every
# picture has 8 neighbours, so on average a picture is a neighbour of 8; a count far above that is a hub.
#
# **Exercise 06.4** (easy, 3 minutes). From the table of neighbours (N, k): how often is each picture somebody's neighbour?


# %%
def hubs(neighbours):
    #: your turn: count every number in the table, also those that never occur
    return torch.bincount(neighbours.flatten(), minlength=len(neighbours))
    #: end


hubs = check("06.4", hubs)

# %%
for name, x in (("before", before), ("after", after)):
    count = hubs(nearest(x, 8))
    print(
        f"{name}: the largest hub is a neighbour of {int(count.max())} pictures (8 on average); {int((count == 0).sum())} are nobody's"
    )

# %% [markdown]
# ## Real pictures
# All that was toys. With the package come slim backbones that were trained on CIFAR-10, each for some minutes on one core, and
# what they say of 2,000 test pictures (`mnclglf_lite.results.pretrained`). The pictures themselves are not shipped. Here are the UMAPs of
# two: one was trained with labels, SimCLR without.

# %%
real = pretrained.load_features()
two = ("supervised", "simclr")
for name in (*two, "mnclglf", "mnclglf-released"):
    near = nearest(real.features[name], 8)
    share, held = (real.labels[near] == real.labels[:, None]).float().mean(), kept(near, on_map(real.layouts[name]))
    print(f"{name:16s}  of the 8 nearest {100 * float(share):.0f} % share the class; UMAP keeps {100 * float(held):.0f} %")
note5 = f"2,000 CIFAR-10 test pictures, slim network, seed {real.about['seed']}; {real.about['map']}"
maps_of_both = [real.layouts[name] for name in two]
picture = plots.two_maps(*maps_of_both, real.labels, real.classes, two, title="Real pictures", note=note5)
words = "Left, with labels: a region for nearly every class. Right, without: ships and planes, cars and trucks, animals, each mixed."
sheets.Shown(picture, words)

# %% [markdown]
# With labels, three in five neighbours share the class, and every class has its region. Without, it is about three in ten; yet look
# from left to right: ships and planes, then cars and trucks, then the animals. Nobody told the network of those. Neither map can
# be trusted on details: each keeps less than a third of the true neighbours. (`EmbeddingMap`, below, shows these as well:
# `EmbeddingMap(real.features["simclr"], real.images(), labels=real.labels, classes=real.classes)`, with pictures for dots where
# CIFAR-10 is on disk.)
#
# ## Explore it by hand
# The map below answers. Hover over a dot: lines lead to its true neighbours, blue and whole where the label agrees, orange and
# broken where not. Click to pin, arrow keys to walk, drag with Shift held to select; the legend isolates a class. The left
# side is the untrained network, the right side the trained one: *the same pictures*, linked.

# %%
from mnclglf_lite.explorers import EmbeddingMap

explorer = EmbeddingMap(before, toys, other=after, names=("before", "after"), cache_dir=folder)
explorer

# %% [markdown]
# What you select arrives in Python, as picture numbers. Select dots that lie close together, run the next cell, and see whether
# the full space agrees. (Without a selection it takes twenty toys of one kind.)

# %%
chosen = list(explorer.selected) or [int(i) for i in (toys.labels == 0).nonzero().flatten()[:20]]
inside = torch.isin(true[chosen], torch.tensor(chosen)).float().mean()
chance = (len(chosen) - 1) / (len(toys) - 1)
print(
    f"{len(chosen)} pictures chosen; {100 * float(inside):.0f} % of their nearest are among the chosen (chance {100 * chance:.0f} %)"
)

# %% [markdown]
# ## Where things are
# * `pca`, `tsne`, `umap`, `neighbours` and `compute_layout` (which keeps what it has computed) in
#   `mnclglf_lite.evaluation.layouts`; `neighbour_strips` in `mnclglf_lite.drawing.sheets`; the explorer is
#   `mnclglf_lite.explorers.EmbeddingMap`.
# * `mnclglf-lite explore RUN` writes the same map as one file that opens from disk, for a talk or a colleague.

# %%
progress("06")

# %% [markdown]
# **Two questions to take along.** A paper shows a t-SNE map with clean islands: which three facts would you ask for before
# believing that the embedding is good? And why can a map of a *bad* embedding look tidy?
#
# *Next:* [07 · Linear and kNN evaluation](07_linear_and_knn_evaluation.ipynb), numbers in place of impressions.
