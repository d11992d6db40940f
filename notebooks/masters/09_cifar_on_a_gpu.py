# %% [markdown]
# # 09 · CIFAR on a GPU
#
# ![Two columns of dots: left our small runs on CIFAR-10, right the accuracies that papers print; between them a gap that is mostly the size of the network and the length of the run](heroes/09.png)
#
# After this notebook you will be able to
#
# * **start** the real run, a ResNet-18 for 200 epochs, or say beforehand what it will cost you,
# * **open** our saved runs on CIFAR-10 and read what stands in them,
# * **compare** with the paper's table without comparing apples and pears.
#
# *You need:* notebook 07. Without a GPU and without CIFAR-10 it opens saved runs, in seconds. With both, the last section
# trains. Reading and exercises: 35 minutes.

# %%
import json

import torch

from mnclglf_lite import compare, data, figures, published, run_shelf, train
from mnclglf_lite.checks import check, progress
from mnclglf_lite.errors import InputError
from mnclglf_lite.recipe import preset
from mnclglf_lite.widgets.predict import Predict

# %% [markdown]
# ## What a recipe says
# A *recipe* is everything that decides a run. The preset `standard` is the usual one for pictures of 32 pixels: a ResNet-18
# whose first layer suits small pictures, 200 epochs, batch 256.

# %%
recipe = preset("standard", "mnclglf", "cifar10")
print(f"{recipe.method}: blocks {recipe.blocks}, width {recipe.width}, stem {recipe.stem!r}")
print(
    f"{recipe.epochs:.0f} epochs of batches of {recipe.batch}, views of {recipe.view.size} pixels, temperature {recipe.temperature}"
)

# %% [markdown]
# ## What it costs
# **Exercise 09.1** (easy, 2 minutes). How many optimiser steps is that? Of CIFAR-10's 50,000 training pictures a tenth is kept
# apart for choices. An incomplete batch at the end of an epoch is dropped.


# %%
def steps_of(pictures, batch, epochs):
    #: your turn: full batches of an epoch, times the epochs
    return pictures // batch * epochs
    #: end


steps_of = check("09.1", steps_of)

# %%
guess = Predict(
    "Two cores of a laptop train a *slim* network on about 1,800 pictures a second. How long would this slim run take at that rate?",
    ["about a quarter of an hour", "about an hour and a half", "about a day"],
)
guess

# %% [markdown]
# **Exercise 09.2** (easy, 2 minutes). Hours of a run, from its steps, its batch and a rate in pictures a second.


# %%
def hours(steps, batch, pictures_a_second):
    #: your turn: all pictures over the rate, in hours
    return steps * batch / pictures_a_second / 3600
    #: end


hours = check("09.2", hours)

# %%
steps = steps_of(45_000, recipe.batch, int(recipe.epochs))
print(f"{steps:,} steps; at 1,800 pictures a second {hours(steps, recipe.batch, 1800.0):.1f} hours")
guess.reveal(
    "about an hour and a half",
    "nine million pictures; and a ResNet-18 does far more arithmetic for each of them, hence the GPU",
)

# %% [markdown]
# How much arithmetic a step is can be counted beforehand. The package counts it in units of showing its pictures to the backbone
# once.

# %%
from mnclglf_lite.cost import cost_of
from mnclglf_lite.run import start

for name in ("simclr", "byol", "mnclglf"):
    one = preset("standard", name, "cifar10")
    cost = cost_of(one, start(one, 45_000, 10, torch.device("cpu")).method)
    print(
        f"{name:8s} {cost.views:.0f} whole views a picture, {cost.forward_units:5.1f} units a step, {cost.parameters / 1e6:.1f} M parameters"
    )

# %% [markdown]
# ## Open saved runs
# The folder `data/runs` holds runs that we made: the recipe, one line of history an epoch, the result with its protocol, the
# hardware and the seconds. Here are short runs of a slim network on real CIFAR-10, 150,000 views each. They show how the
# methods *start*, on two cores, not where they end.

# %%
saved = json.loads((run_shelf.KEPT / "cifar10-slim" / "compare.json").read_text())
print(compare.table(saved).split("published elsewhere")[0])

# %%
figures.Shown(
    compare.picture(saved),
    "A row of dots a method, ordered by linear accuracy, with raw pixels and an untrained network as lines.",
)

# %% [markdown]
# **Exercise 09.3** (easy, 3 minutes). A history has a row an epoch. Report two numbers of it: the accuracy after the last
# epoch, and that of the best one. Only the first may be a headline: to pick the best epoch one has looked at the answers.


# %%
def last_and_best(history):
    #: your turn: two numbers, the last epoch's first
    return history[-1]["knn"], max(row["knn"] for row in history)
    #: end


last_and_best = check("09.3", last_and_best)

# %%
for record in run_shelf.shelf(run_shelf.KEPT / "cifar10-slim"):
    last, best = last_and_best(record.history)
    print(f"{record.name:18s} kNN on the hold-out: last {100 * last:.1f} %, best {100 * best:.1f} %")

# %% [markdown]
# ## The paper's table, and what may be said about it
# The paper prints linear accuracies for a ResNet-18 after 200 epochs, on pictures enlarged to 224 pixels, best epoch on the
# test pictures. Ours above are a network sixty times smaller after three or four epochs. The two must never stand in one column.

# %%
for row in published.PUBLISHED:
    if row.dataset == "cifar10" and "2306.15930" in row.source:
        print(f"{row.method:11s} {row.top1:5.2f}   {row.protocol}")

# %%
guess_ratio = Predict(
    "If each table is divided by its own SimCLR row: in which is the spread between methods larger?",
    ["in the paper's, after 200 epochs", "in ours, after a few epochs"],
)
guess_ratio

# %% [markdown]
# **Exercise 09.4** (easy, 3 minutes). What may be compared, with care, is how methods stand to *each other* in one table. Divide
# a table by one of its rows.


# %%
def against(table, anchor):
    #: your turn: every accuracy over the anchor's
    return {name: value / table[anchor] for name, value in table.items()}
    #: end


against = check("09.4", against)

# %%
paper = {row.method: row.top1 for row in published.PUBLISHED if row.dataset == "cifar10" and "2306.15930" in row.source}
ours = {name: entry["runs"][0]["linear"]["top1"] for name, entry in saved["rows"].items() if name in paper}
left, right = against(ours, "simclr"), against(paper, "simclr")
for name in sorted(left, key=left.get):
    print(f"{name:11s} ours {left[name]:.2f}   paper {right[name]:.2f}   of SimCLR in the same table")

# %%
spreads = [max(t.values()) - min(v for k, v in t.items() if k != "supervised") for t in (left, right)]
truth = "in ours, after a few epochs" if spreads[0] > spreads[1] else "in the paper's, after 200 epochs"
guess_ratio.reveal(
    truth, f"best minus worst: ours {spreads[0]:.2f}, paper {spreads[1]:.2f}; methods differ in how fast they start"
)

# %% [markdown]
# ## The comparer
# All saved runs, curves and final dots, published numbers as hollow marks. Use it to check any claim of this notebook.

# %%
from mnclglf_lite.widgets import RunComparer

RunComparer()

# %% [markdown]
# ## Do the real run
# With a GPU and CIFAR-10 on disk (`mnclglf-lite fetch cifar10`) the next cell trains for `minutes`, keeps everything in a
# folder, and goes on from there when you run it again. Without them it says what is missing.

# %%
minutes = 10.0
try:
    splits = data.load("cifar10")
    ready = torch.cuda.is_available()
    print(
        "CIFAR-10 is here" + ("" if ready else "; no GPU is, so nothing is trained: two cores would be at it for very long")
    )
except InputError:
    ready = False
    print("not trained: CIFAR-10 is not here. To get it: mnclglf-lite fetch cifar10")

# %%
if ready:
    run = train.train(recipe, splits, out="runs/cifar10-mnclglf", resume=True, minutes=minutes)
    print(f"{run.step} steps in {run.seconds:.0f} s")

# %% [markdown]
# From a terminal the same is
#
# ```
# mnclglf-lite train --preset standard --dataset cifar10 --method mnclglf --out runs/cifar10-mnclglf
# mnclglf-lite evaluate runs/cifar10-mnclglf --on test
# ```
#
# and several GPUs share the work with `torchrun` (docs/many_gpus.md).
#
# ## Where things are
# * Recipes and presets in `mnclglf_lite.recipe`, costs in `mnclglf_lite.cost`, others' numbers with their sources in
#   `mnclglf_lite.published`, the table in `mnclglf_lite.compare`.
# * All figures with their commands: `benchmarks/results.md`. What a GPU will be asked first: `benchmarks/gpu_queue.md`.

# %%
progress("09")

# %% [markdown]
# **Two questions to take along.** The paper does not say which of the two forms of MNCLGLF its table shows: which run would
# decide it, and how many seeds would you want? And which single change would make our small table more like the real one?
#
# *This was the last notebook.* [The map of the course](README.md) leads back to any of them.
