# %% [markdown]
# # 09 · CIFAR on a GPU
#
# ![Eight rows, a method each, on one scale of linear accuracy on CIFAR-10: our short runs as filled dots between 48 and 76 percent, the authors' table as hollow diamonds between 84 and 93; the methods stand in another order](heroes/09.png)
#
# After this notebook you will be able to
#
# * **start** the real run, a ResNet-18 for 200 epochs, or say beforehand what it will cost you,
# * **open** our saved runs on CIFAR-10 and read what stands in them,
# * **compare** with published tables without comparing apples and pears.
#
# *You need:* notebook 07. Without a GPU and without CIFAR-10 it opens saved runs, in seconds. With both, the last section
# trains. Reading and exercises: 35 minutes.

# %%
import json
from dataclasses import replace
from itertools import combinations

import torch
from IPython.display import Markdown

from mnclglf_lite import load_dataset, preset, train
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.drawing import sheets
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import compare, paper_table, published, records
from mnclglf_lite.training.cost import cost_of, step_flops

# %% [markdown]
# ## What a recipe says
# A *recipe* is everything that decides a run. The preset `standard` is the usual one for pictures of 32 pixels: a ResNet-18
# whose first layer suits small pictures, 200 epochs, batch 256. The next cell prints a part of it. Four stages of two
# blocks, 64 channels in the first: that is a ResNet-18.

# %%
recipe = preset("standard", "mnclglf", "cifar10")
print(f"{recipe.method.name}: blocks {recipe.encoder.blocks}, width {recipe.encoder.width}, stem {recipe.encoder.stem!r}")
print(f"{recipe.optim.epochs:.0f} epochs of batches of {recipe.optim.batch_size}")
print(f"views of {recipe.views.view.size} pixels, temperature {recipe.method.temperature}")

# %% [markdown]
# ## What it costs
# **Exercise 09.1** (easy, 2 minutes; may be skipped). How many optimiser steps is that? Of CIFAR-10's 50,000 training pictures
# a tenth is kept apart for choices. An incomplete batch at the end of an epoch is dropped. By hand: 10 pictures in batches
# of 4 give 2 steps an epoch, and 6 in 3 epochs. `hint("09.1")` helps, `solution("09.1")` shows it.


# %%
def steps_of(pictures, batch, epochs):
    #: your turn: full batches of an epoch, times the epochs
    return pictures // batch * epochs
    #: end


steps_of = check("09.1", steps_of)

# %%
guess = Predict(
    "Two CPU cores train a *slim* network on about 1,800 pictures a second. How long do 200 epochs take at that rate?",
    ["about a quarter of an hour", "about an hour and a half", "about a day"],
)
guess

# %% [markdown]
# **Exercise 09.2** (easy, 2 minutes). Hours of a run, from its number of `steps`, the pictures in a `batch` and a rate in
# pictures a second.


# %%
def hours(steps, batch, pictures_a_second):
    #: your turn: all pictures over the rate, in hours
    return steps * batch / pictures_a_second / 3600
    #: end


hours = check("09.2", hours)

# %% [markdown]
# The rate was measured, and the record of it comes with the package: SimCLR on the slim network of our small runs, views of
# 32 pixels, two cores of a cloud machine.

# %%
speed = json.loads((records.KEPT / "speed" / "cpu-32px.json").read_text())["methods"]["simclr"]
rate = speed["summary"]["rates"]["ours"]["images_per_s"]["median"]
steps = steps_of(45_000, recipe.optim.batch_size, int(recipe.optim.epochs))
print(f"{steps:,} steps; at {rate:,.0f} pictures a second {hours(steps, recipe.optim.batch_size, rate):.1f} hours")
guess.reveal("about an hour and a half", "nine million pictures go through the network")

# %% [markdown]
# That was the slim network. How much more arithmetic the real one needs can be counted before it has run a single step, in
# *FLOPs*: additions and multiplications. Two of the columns below compare methods on the same network: whole views of each
# picture, and *relative FLOPs*, where 1 shows the step's pictures to the backbone once (a backward pass counts two). The last
# column says how long 200 epochs would keep the two cores busy if arithmetic were all that takes time.

# %%
slim = preset("quick", "simclr", "cifar10")
costs = {"slim simclr": slim.replace(view=replace(slim.views.view, size=32))}
costs |= {name: preset("standard", name, "cifar10") for name in ("simclr", "byol", "mnclglf")}
flops = {}
for name, one in costs.items():
    flops[name] = step_flops(build_method(one, 10), 2) / 2  # of one picture
    cost = cost_of(one, build_method(one, 10))
    days = hours(steps, recipe.optim.batch_size, rate * flops["slim simclr"] / flops[name]) / 24
    size = f"{cost.parameters / 1e6:4.1f} M parameters"
    work = f"{flops[name] / 1e9:5.2f} GFLOPs a picture"
    print(f"{name:12s} {cost.views:.0f} views {cost.relative_flops:5.1f} relative FLOPs  {size} {work}  {days:5.1f} days")

# %% [markdown]
# Days, on two cores: hence the GPU. And look at the relative FLOPs: a step of MNCLGLF is more than twice a step of SimCLR. Who compares
# the two after equally many *epochs* has given one of them twice the computing.
#
# ## Open saved runs
# The folder `data/runs` holds runs that we made: the recipe, one line of history an epoch, the result with its protocol, the
# hardware and the seconds. Here are short runs of the slim network on real CIFAR-10, 600,000 whole views each: four to
# seven epochs, and thirteen for the supervised row, which is shown one view of a picture at a time. They show how the methods
# *start*, each on a single core, not where they end.

# %%
saved = json.loads((records.KEPT / "cifar10-slim" / "compare.json").read_text())
Markdown(compare.table(saved, markdown=True).split("| published elsewhere")[0])

# %% [markdown]
# Read it as notebook 07 taught. First the rows that learned nothing: in the *whitened* column the 8x8 thumbnails still
# beat BYOL and CGH, and three more are less than a point ahead of them; in the *linear* column every method is ahead of them,
# by five points at least. Then the doubt: one seed each, and 10,000 test pictures alone leave ± 1 point. The same as dots; how
# many places at the top of the right panel can you tell apart?

# %%
words = "A row a method, one dot each, kNN left, linear right: without labels they spread over some ten points, "
words += "nearly all right of the lines of raw pixels and 8x8 thumbnails; supervised is twenty points ahead."
sheets.Shown(compare.picture(saved), words)

# %% [markdown]
# **Exercise 09.3** (easy, 3 minutes). A `history` is a list with a row an epoch, such as `{"epoch": 3.0, "knn": 0.52}`, where
# `knn` is the accuracy on the hold-out. Give back two numbers: the accuracy after the last epoch, and that of the best one.
# Only the first may be a headline: the best was picked by the very pictures that it is reported on.


# %%
def last_and_best(history):
    #: your turn: two numbers, the last epoch's first
    return history[-1]["knn"], max(row["knn"] for row in history)
    #: end


last_and_best = check("09.3", last_and_best)

# %%
for record in records.load_records(records.KEPT / "cifar10-slim"):
    last, best = last_and_best(record.history)
    epochs = f"{record.history[-1]['epoch']:.1f} epochs"
    print(f"{record.name:18s} {epochs}  kNN on the hold-out: last {100 * last:.1f} %, best {100 * best:.1f} %")

# %% [markdown]
# With five to fourteen rows to pick from, the best is at most a point ahead of the last. With two hundred there is more to pick.
#
# ## The authors' table, and what may be said about it
# The README of MNCLGLF's code prints linear accuracies of a ResNet-18 on pictures enlarged to 224 pixels; the released code
# trains for 200 epochs and keeps the best of its tests. Ours above are a network some sixty times smaller after four to
# seven epochs. The two must never stand in one column.
#
# A second published table helps to judge the first. The same laboratory trained four of these methods for 200 epochs on
# pictures of 32 pixels, at temperature 0.2 where there is one; one seed, linear, best epoch.


# %%
def printed(source):
    rows = [row for row in published.PUBLISHED if row.dataset == "cifar10" and row.measure == "linear"]
    return {row.method: row.top1 for row in rows if source in row.source}


authors, laboratory = printed("2306.15930"), printed("pc-cp/Benchmark")
print("CIFAR-10, linear, %   README of MNCLGLF   same laboratory, 32 pixels")
for name, value in authors.items():
    print(f"{name:20s} {value:12.2f} " + (f"{laboratory[name]:20.2f}" if name in laboratory else f"{'-':>20}"))

# %% [markdown]
# Compare the two MoCos: 5.7 points apart, more than nearly any two methods within either table. The pictures' size differs,
# and the temperature: the MoCo and SimCLR that were released with the first table have 1 as their default, where 0.1 to 0.2
# is customary. So a row of a table says as much about a method's settings as about the method.
#
# **Exercise 09.4** (easy, 3 minutes). What may be compared, with care, is how methods stand to *each other* in one table. Given
# a `table` {method: accuracy} and the name of one row, its `anchor`, give back a table of the ratios to that row.


# %%
def against(table, anchor):
    #: your turn: every accuracy over the anchor's
    return {name: value / table[anchor] for name, value in table.items()}
    #: end


against = check("09.4", against)

# %%
guess_order = Predict(
    "Seven methods without labels make 21 pairs. In how many do our runs and the authors' table put the same one ahead?",
    ["16 or more", "6 to 15", "5 or fewer"],
)
guess_order

# %% [markdown]
# Three tables, each divided by its own SimCLR. Below that: two methods at a time, do two tables put the same one ahead?

# %%
ours = {name: entry["runs"][0]["linear"]["top1"] for name, entry in saved["rows"].items() if name in authors}
tables = {"ours": ours, "authors": authors, "laboratory": laboratory}
ratios = {title: against(table, "simclr") for title, table in tables.items()}
print(f"{'over SimCLR':14s}" + "".join(f"{title:>12}" for title in ratios))
for name in sorted(ours, key=ours.get):
    print(f"{name:14s}" + "".join(f"{table[name]:12.2f}" if name in table else f"{'-':>12}" for table in ratios.values()))


def agree(a, b):
    pairs = list(combinations(sorted(a.keys() & b.keys() - {"supervised"}), 2))
    return sum((a[x] > a[y]) == (b[x] > b[y]) for x, y in pairs), len(pairs)


for one, other in combinations(tables, 2):
    print("{} and {}: the same one ahead in {} of {} pairs".format(one, other, *agree(tables[one], tables[other])))
same = agree(ours, authors)[0]
guess_order.reveal("16 or more" if same > 15 else "6 to 15" if same > 5 else "5 or fewer", "a coin would get about half")

# %% [markdown]
# Who starts fast says little about who ends high: our first epochs sort the methods much as a coin would. And even the two
# tables of long runs, one laboratory, four methods, nearly reverse one another. A place in a table belongs to a method *with
# its settings, under one protocol*. (Ratios have a flaw of their own: near 100 % nobody can be far ahead.)
#
# ## The paper's table again
# Everything in one table: what is printed, what a GPU has said so far, and our small runs, each block with its protocol below.
# Of different blocks only the ratios may be compared; a dash is what nobody has run. It is made from the files in `data/runs`,
# and fills as they come.

# %%
Markdown(paper_table.table(markdown=True))

# %% [markdown]
# ## The comparer
# All saved runs: curves, final dots with published numbers as hollow marks, and neighbours. It opens on the runs above; the
# first menu has the others. Use it to check any claim of this notebook.

# %%
from mnclglf_lite.explorers import RunComparer

comparer = RunComparer()
comparer.group.value = next(name for name in comparer.groups if "cifar10-slim" in name)
comparer

# %% [markdown]
# ## Do the real run
# With a GPU and CIFAR-10 on disk (`mnclglf-lite fetch cifar10`) the cells below train. `minutes = None` is the real run, all
# 200 epochs. A number makes a shorter run that ends after about so many minutes, its rate falling to zero by then: a first
# look. Either is kept in a folder of its own; stop it, run the cell again, and it goes on. Without GPU or pictures the
# first cell says what is missing.

# %%
minutes = 10.0
try:
    splits = load_dataset("cifar10")
    ready = torch.cuda.is_available()
    print("CIFAR-10 is here" + ("" if ready else "; no GPU is, so nothing is trained: see the days above"))
except InputError:
    ready = False
    print("not trained: CIFAR-10 is not here. To get it: mnclglf-lite fetch cifar10")

# %%
if ready:
    folder = f"runs/cifar10-mnclglf-{minutes:g}-minutes" if minutes else "runs/cifar10-mnclglf"
    run = train(recipe, splits, out=folder, resume=True, minutes=minutes)
    print(f"{run.step} steps in {run.seconds:.0f} s")

# %% [markdown]
# From a terminal, the real run, and its result:
#
# ```
# mnclglf-lite train --preset standard --dataset cifar10 --method mnclglf --out runs/cifar10-mnclglf
# mnclglf-lite evaluate runs/cifar10-mnclglf --split test
# ```
#
# Interrupt it, add `--resume`, and it goes on. Several GPUs share the work with `torchrun`: `docs/many_gpus.md`.
#
# ## Where things are
# * Recipes and presets in `mnclglf_lite.recipe`, costs in `mnclglf_lite.training.cost`, others' numbers with their sources in
#   `mnclglf_lite.results.published`, the table in `mnclglf_lite.results.compare`.
# * All figures with their commands: `docs/results.md`. What to run first on a GPU: `benchmarks/gpu/README.md`.

# %%
progress("09")

# %% [markdown]
# **Two questions to take along.** The authors do not say which of the two forms of MNCLGLF their table shows: which runs would
# make one of them more likely, and how many seeds would you want? And which single change would bring our small table
# nearest to a real one: a larger network, more epochs, or another seed?
#
# *This was the last notebook.* [The map of the course](README.md) leads back to any of them.
