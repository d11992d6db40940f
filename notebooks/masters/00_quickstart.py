# %% [markdown]
# # 00 · Quickstart: an embedding you can see and measure
#
# In about two minutes, without a GPU and without a download, you will be able to
#
# * **see** what a contrastive method is fed: two or more *views* of every picture, and no label,
# * **train** two of them, SimCLR and MNCLGLF, and look at a map of what they learned,
# * **measure** it: nearest neighbours and a linear classifier, beside raw pixels and an untrained network.
#
# *You need:* two CPU cores, 2 GB of memory.

# %% [markdown]
# ## The machine decides how much, you decide what
# Everything below is sized by time: a three-second test fixes how many training steps fit.

# %%
from pathlib import Path

import torch

from mnclglf_lite import data, evaluate, figures, maps, methods, plots, probes, toybox, train, views
from mnclglf_lite.profile import profile
from mnclglf_lite.recipe import preset

size = profile()
pictures = Path("pictures")
print(size)

# %% [markdown]
# ## A box of toys
# The package draws its own pictures: ten toys, each built of the same twelve bricks. Only their *arrangement* tells the toys
# apart. Colour, place, size, turn and light change freely, so they say nothing about the class.

# %%
splits = data.load("toybox")
train_set, test_set = splits.train, splits.test
print(f"{len(train_set):,} to train on, {len(splits.holdout):,} for choices, {len(test_set):,} for the last line")

# %%
rows = [(test_set.labels == label).nonzero().flatten()[:10] for label in range(10)]
some = [int(i) for row in rows for i in row]
sheet = figures.contact_sheet(test_set.images[some], columns=10, scale=2, title="Ten toys, ten pictures of each")
figures.save(sheet, pictures / "toys.png")
figures.Shown(sheet, "Ten rows of ten small pictures, a row for each toy, in all colours, places and sizes.")

# %% [markdown]
# ## Views: what the network is fed
# No label is used in training. Each picture is cut and coloured at random, several times, and the network is asked which
# views belong together. **Predict first:** which of these factors must it learn to ignore: place, colour, arrangement?

# %%
recipe = preset(size.preset, "mnclglf", "toybox")
generator = torch.Generator().manual_seed(3)
one = test_set.images[some[32]]
six = one.expand(6, -1, -1, -1)
draw = views.sample(recipe.view, 6, one.shape[-2:], generator)
shown = views.denormalise(views.render(six, recipe.view, draw)).clamp(0, 1)

# %%
figure = figures.views_figure(
    one, draw.boxes, list((shown * 255).byte()), columns=3, title="One picture, six random views of it"
)
figures.save(figure, pictures / "views.png")
figures.Shown(figure, "A toy with six coloured boxes on it, and beside it the six views that were cut from them.")

# %% [markdown]
# Place, size and colour change from view to view, so they cannot tell which views belong together. The arrangement of the
# bricks survives nearly every crop. That is the whole trick: *what you let vary is what the network learns to ignore.*

# %% [markdown]
# ## Train SimCLR
# Two views of a picture attract each other, views of all other pictures push away. One network, one loss.
# (Stop it whenever you like with the square button: what it has learned so far is kept.)

# %%
runs = {}
minutes = size.minutes
runs["SimCLR"] = train.train(preset(size.preset, "simclr", "toybox"), splits, minutes=minutes["simclr"])

# %% [markdown]
# Each line tells the loss, the nearest-neighbour accuracy on pictures held back, and two gauges: *spread* (0 would mean that
# all pictures have collapsed into one point) and *rank* (how many directions are in use).
#
# ## Train MNCLGLF
# Three networks instead of one: the *online* network sees whole views and learns; a *stop-gradient* pass encodes the four
# patches of a view and averages them in pairs (local targets); a *momentum* network encodes another view, whose embedding is
# exchanged for its nearest neighbour in a queue (global targets).

# %%
runs["MNCLGLF"] = train.train(recipe, splits, minutes=minutes["mnclglf"])

# %% [markdown]
# ## Look: before and after
# Features of test pictures, first from the untrained network, then from the trained one. PCA draws a map at once: it is a
# plain projection, so it shows little, but it does not invent anything.

# %%
untrained = methods.build(recipe, 10).backbone
encoders = evaluate.baselines(untrained, splits) | {name: run.backbone for name, run in runs.items()}
part = test_set.subset(maps.cap(len(test_set), size.points))
before, after = (evaluate.features(encoders[name], part) for name in ("random encoder", "MNCLGLF"))

# %%
names = ("untrained", "MNCLGLF")
picture = plots.two_maps(maps.pca(before), maps.pca(after), part.labels, part.classes, names, "PCA, before and after")
figures.save(picture, pictures / "pca.png")
figures.Shown(picture, "Two clouds of coloured dots: mixed before training, with some order after it.")

# %% [markdown]
# UMAP bends the map so that neighbours stay together (its first use compiles code: half a minute).

# %%
flat = [maps.layout(found, "umap", pictures / "layouts", seed=0) for found in (before, after)]
note = f"{len(part):,} test pictures; {maps.describe('umap', seed=0)}"
picture = plots.two_maps(*flat, part.labels, part.classes, names, "UMAP, before and after", note)
figures.save(picture, pictures / "umap.png")
figures.Shown(picture, "Two maps: before training the colours are mixed, after it many lie in islands of their own.")

# %% [markdown]
# A map can fool you; neighbours in the real, 128- or 64-dimensional space cannot. Each row: a picture, then its nearest
# neighbours according to the trained network.

# %%
near, _ = maps.neighbours(after, 8)
first = [int((part.labels == label).nonzero()[0]) for label in range(10)]
strips = figures.neighbour_strips(
    part.images, first, near[first], part.labels, part.classes, title="MNCLGLF: nearest pictures"
)
figures.save(strips, pictures / "neighbours.png")
figures.Shown(strips, "Ten rows: a toy and its eight nearest pictures; those of the same kind have a tick, others a cross.")

# %% [markdown]
# ## Measure
# kNN asks the labelled neighbours; the linear probe fits one linear layer on frozen features. Both only *read* the network.
# All rows stand under the same protocols, on the test pictures.

# %%
measure = ("raw", "centred")  # the same transforms of the features for every row
table = {name: evaluate.evaluate(encoder, splits, "test", measure) for name, encoder in encoders.items()}
print(evaluate.table(table))

# %%
row = table["MNCLGLF"]
print(f"{row['dataset']}, {row['queries']:,} test pictures, bank {row['bank']:,}, percent; seed {recipe.seed}")
for name, run in runs.items():
    print(f"{name}: {run.step} steps of {run.recipe.batch} pictures in {run.seconds:.0f} s")
print(row["hardware"])

# %% [markdown]
# Compare steps and seconds as well as percent: MNCLGLF sends a picture through its networks more often than SimCLR does, so
# it takes fewer steps in the same time. One seed on a small set says little about which method is better.
#
# ## What it forgot
# The toy box knows every factor of its pictures. A linear map tries to read them out of the features, before and after.

# %%
kept = {}
for name in ("random encoder", "MNCLGLF"):
    bank, asked = (evaluate.features(encoders[name], s) for s in (splits.train, test_set))
    kept[name] = probes.factor_probe(bank, train_set.factors, asked, test_set.factors, toybox.PERIODS)

# %%
head = ["factor", "measure", "chance", *kept]
lines = [
    [factor, kept[name][factor]["kind"], f"{kept[name][factor]['chance']:.2f}"]
    + [f"{kept[each][factor]['value']:.2f}" for each in kept]
    for factor in toybox.FACTORS
]
print(evaluate.layout(head, lines))

# %% [markdown]
# ## Where things are, and what next
# * The pictures above are in the folder `pictures` beside this notebook.
# * Views live in `mnclglf_lite.views`, the two methods in `mnclglf_lite.methods`, each short enough to read whole.
# * The same from the command line, and then on real CIFAR-10:
#
# ```
# mnclglf-lite train --method mnclglf --minutes 1
# mnclglf-lite fetch cifar10
# mnclglf-lite train --method simclr --dataset cifar10 --minutes 5
# ```
#
# **Two questions to take along:** Which factor did training forget most, and which part of the views made it so? What would
# the map look like if the views were never coloured differently?
#
# *Next:* [01 · Global and local crops](01_global_and_local_crops.ipynb). [The map of the course](README.md) shows all of it.
