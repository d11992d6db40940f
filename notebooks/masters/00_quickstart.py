# %% [markdown]
# # 00 · Quickstart: an embedding you can see and measure
#
# In two or three minutes of computing, without a GPU and without a download, you will be able to
#
# * **see** what a *contrastive* method, one that learns by comparing, is fed: two or more *views* of every picture, no label,
# * **train** two of them, SimCLR and MNCLGLF, and look at a map of what they learned,
# * **measure** it: nearest neighbours and a linear classifier, beside raw pixels and an untrained network.
#
# Words are explained as they come, shortly here and at leisure in notebooks 01 to 07.
#
# *You need:* two CPU cores, 2 GB of memory.

# %% [markdown]
# ## The machine decides how much, you decide what
# Training below is sized by time, so that a slow machine does not wait longer, it only learns less. Before each run a few
# seconds of trial steps fix how many steps fit.

# %%
from pathlib import Path

import torch

from mnclglf_lite import evaluate, load_dataset, preset, train
from mnclglf_lite.course.budget import current_budget
from mnclglf_lite.data import toybox
from mnclglf_lite.drawing import plots, sheets
from mnclglf_lite.evaluation import knn, layouts, linear
from mnclglf_lite.evaluation.evaluate import baselines, extract_features
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.views.view import denormalise, render_view, sample_params

budget = current_budget()
pictures = Path("pictures")
print(budget)

# %% [markdown]
# ## A box of toys
# The package draws its own pictures: ten toys, each built of the same 24 bricks. Only their *arrangement* tells the toys
# apart. Colour, place, size, stretch, turn and light change freely, so they say nothing about which toy it is (its *class*).

# %%
splits = load_dataset("toybox")
train_set, test_set = splits.train, splits.test
print(f"{len(train_set):,} to train on, {len(splits.holdout):,} for choices, {len(test_set):,} for the last line")

# %%
rows = [(test_set.labels == label).nonzero().flatten()[:10] for label in range(10)]
some = [int(i) for row in rows for i in row]
sheet = sheets.contact_sheet(test_set.images[some], columns=10, scale=2, title="Ten toys, ten pictures of each")
sheets.save(sheet, pictures / "toys.png")
sheets.Shown(sheet, "Ten rows of ten small pictures, a row for each toy, in all colours, places and sizes.")

# %% [markdown]
# ## Views: what the network is fed
# No label is used in training. Each picture is cut and coloured at random, several times, and the network is asked which
# views belong together. **Predict first:** which of these factors must it learn to ignore: place, colour, arrangement?

# %%
recipe = preset(budget.preset, "mnclglf", "toybox")
generator = torch.Generator().manual_seed(3)
one = test_set.images[some[32]]
six = one.expand(6, -1, -1, -1)
draw = sample_params(recipe.views.view, 6, one.shape[-2:], generator)
shown = denormalise(render_view(six, recipe.views.view, draw)).clamp(0, 1)

# %%
figure = sheets.views_figure(
    one, draw.boxes, list((shown * 255).byte()), columns=3, title="One picture, six random views of it"
)
sheets.save(figure, pictures / "views.png")
sheets.Shown(figure, "A toy with six coloured boxes on it, and beside it the six views that were cut from them.")

# %% [markdown]
# Colour changes wildly from view to view, so it hardly tells which views belong together; place and size change somewhat.
# The arrangement of the bricks survives nearly every crop. That is the whole trick: *what varies from view to view does not
# help to find the positive (the other view), so the network has no reason to keep it.* At the end we measure what it kept.

# %% [markdown]
# ## Train SimCLR
# A network turns each view into an *embedding*, a list of numbers. Two views of a picture attract each other, views of all
# other pictures push away. One network, one loss.
# (Stop it whenever you like with the square button: what it has learned so far is kept.)

# %%
runs = {}
minutes = budget.minutes
runs["SimCLR"] = train(preset(budget.preset, "simclr", "toybox"), splits, minutes=minutes["simclr"])

# %% [markdown]
# Each line tells the loss (it should fall), the nearest-neighbour accuracy *kNN* on pictures held back (it should rise), and
# two measures of collapse: *std* (the feature standard deviation: 0 would mean that all pictures have collapsed into one
# point) and *rank* (how many directions are in use).
#
# ## Train MNCLGLF
# Three networks instead of one: the *online* network sees whole views and learns; a *stop-gradient* pass encodes the four
# patches of a view and averages them in pairs (local targets); a *momentum* network, a slow copy, encodes another view, whose
# embedding is exchanged for its nearest neighbour in a queue of earlier ones (global targets). Notebooks 03 and 04 build all
# of this. The lines show both parts of the loss, and *agreement*: how many of these neighbours are the same toy.

# %%
runs["MNCLGLF"] = train(recipe, splits, minutes=minutes["mnclglf"])

# %% [markdown]
# ## Look: before and after
# *Features* are what the network says of a whole picture. Here are those of test pictures, first from the untrained network,
# then from the trained one; each dot is a picture, its colour and shape say which toy. PCA draws a map at once: it is a plain
# projection, so it shows little, but it does not invent anything. **Look for** dots of one kind that lie together.

# %%
untrained = build_method(recipe, 10).backbone
encoders = baselines(untrained, splits) | {name: run.backbone for name, run in runs.items()}
part = test_set.subset(layouts.subsample(len(test_set), budget.points))
before, after = (extract_features(encoders[name], part) for name in ("random encoder", "MNCLGLF"))

# %%
names = ("untrained", "MNCLGLF")
picture = plots.two_maps(layouts.pca(before), layouts.pca(after), part.labels, part.classes, names, "PCA, before and after")
sheets.save(picture, pictures / "pca.png")
sheets.Shown(
    picture, "Two clouds of coloured dots, a dot for each picture: left from the untrained network, right from MNCLGLF."
)

# %% [markdown]
# PCA shows only the two widest directions, and those need not tell toys apart. UMAP bends the map so that neighbours stay
# together (its first use compiles code: half a minute). We give it one more pair of colours: is the toy brighter or darker
# than its ground?

# %%
flat = [layouts.compute_layout(found, "umap", pictures / "layouts", seed=0) for found in (before, after)]
note = f"{len(part):,} test pictures; {layouts.describe('umap', seed=0)}"
picture = plots.two_maps(*flat, part.labels, part.classes, names, "UMAP, before and after", note)
sheets.save(picture, pictures / "umap.png")
sheets.Shown(picture, "Two maps of dots coloured by toy: left from the untrained network, right from MNCLGLF.")

# %%
bright, kinds = part.factors["toy_is_bright"], ["toy darker than its ground", "toy brighter"]
picture = plots.two_maps(*flat, bright, kinds, names, "The same two maps, coloured by brightness", note)
sheets.Shown(picture, "The same two maps with two colours: a toy darker than its ground, or brighter.")

# %% [markdown]
# Where an island holds one colour alone, it is one of brightness; where it holds both, of something else. A map shows what
# sets images apart *most*, and that need not be what you care for. So ask the features themselves, all of their numbers. Each row: a picture, then its nearest neighbours according to the trained network; a tick
# where it is the same toy. By chance one in ten would be.

# %%
_, near = knn.nearest_neighbours(after, after, 8, exclude_self=True)
first = [int((part.labels == label).nonzero()[0]) for label in range(10)]
strips = sheets.neighbour_strips(
    part.images, first, near[first], part.labels, part.classes, title="MNCLGLF: nearest pictures"
)
sheets.save(strips, pictures / "neighbours.png")
sheets.Shown(strips, "Ten rows: a toy and its eight nearest pictures; those of the same kind have a tick, others a cross.")

# %% [markdown]
# ## Measure
# *kNN*: the 20 nearest of 10,000 labelled training pictures vote. *Linear*: one linear layer is fitted on the features, the
# network stays as it is. Both only *read* the network; both give percent right of the 2,000 test pictures, and chance is 10.
# **What to look for:** a trained network is worth something where it beats the three rows on top, which have learned nothing.

# %%
table = {name: evaluate(encoder, splits, "test", ("raw",)) for name, encoder in encoders.items()}
print(f"{'':14s}   kNN, %   linear, %   feature std   rank")
for name, row in table.items():
    shares = f"{100 * row['knn20']['raw']['top1']:9.1f}{100 * row['linear']['top1']:12.1f}"
    print(f"{name:14s}{shares}{row['spread']:14.2f}{row['rank']:7.1f}")

# %%
row = table["MNCLGLF"]
print(
    f"{row['dataset']}, {row['queries']:,} test pictures, bank {row['bank']:,}; preset {budget.preset}, seed {recipe.seed}"
)
for name, run in runs.items():
    pictures_seen = run.step * run.recipe.optim.batch_size
    print(
        f"{name}: {run.step} steps of {run.recipe.optim.batch_size}, that is {pictures_seen:,} pictures, in {run.seconds:.0f} s"
    )
print(row["hardware"])

# %% [markdown]
# Compare pictures and seconds as well as percent. MNCLGLF sends each picture through its networks more often than SimCLR
# does, so in a second it sees fewer of them, and the two runs were not given the same time. One seed, a small set and a run
# this short say little about which method is better: notebook 07 shows how to compare, 09 compares.
#
# ## What it forgot, and what it found
# The toy box knows every *factor* of its pictures. A linear map tries to read each one out of the features, before and after
# training. R² is the share of the factor that it explains: 1 all of it, 0 nothing.

# %%
kept = {}
for name in ("random encoder", "MNCLGLF"):
    bank, asked = (extract_features(encoders[name], s) for s in (splits.train, test_set))
    kept[name] = linear.factor_probe(bank, train_set.factors, asked, test_set.factors, toybox.PERIODS)

# %%
print(f"{'factor':18s} measure   chance" + "".join(f"   {name}" for name in kept))
for factor in toybox.FACTORS:
    found = {name: factors[factor] for name, factors in kept.items()}
    one = found["MNCLGLF"]
    values = "".join(f"   {each['value']:{len(name)}.2f}" for name, each in found.items())
    print(f"{factor:18s}{one['kind']:>8}{one['chance']:9.2f}{values}")

# %% [markdown]
# Look at `ground_hue`: the untrained network hands it on, and the longer the training, the less is left of it, for the views
# recolour everything. Place (`x`, `y`) and `size` went the other way. Crops as large as ours shift a toy only a little, so its place
# is still some help to find the positive, and what helps is kept. Views are inverted at random (`invert_p`), so whether
# the toy is brighter than its ground does not help to find the positive either. See how well each network tells it.
#
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
# **Two questions to take along:** Which crops would make the network forget where a toy lies? What would it learn if the
# views were never coloured differently? (Notebook 01 tries the second.)
#
# *Next:* [01 · Global and local crops](01_global_and_local_crops.ipynb). [The map of the course](README.md) shows all of it.
