# %% [markdown]
# # All explorers in one place
#
# Eight small instruments for seeing and steering crops, losses, networks, queues, training and embeddings. The course uses each
# where it belongs; here they stand side by side, on the toy box. Every one works with the mouse and with the keyboard alone
# (Tab to a control, arrow keys to move it, Enter to press), tells its state in words, and needs no network. Where widgets are not
# live (on GitHub, in an export) you see the picture that they started with.
#
# *You need:* JupyterLab, two CPU cores, about a minute.

# %%
import torch

from mnclglf_lite import explorers, load_dataset, preset, train
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import pretrained

splits = load_dataset("toybox")
toys = splits.test

# %% [markdown]
# ## 1 · Crops
# A picture with the boxes that are cut from it, and the views that come out. **Predict:** which slider makes local views miss the
# object? Move *local scale* down, then look at the density of 200 draws. The tick says whether local views overlap by less than
# 20 % while 90 % of them touch the object.

# %%
crops = explorers.CropExplorer(toys)
crops

# %% [markdown]
# What you see is what trains: `crops.views` goes straight into `train(recipe, splits, views=crops.views)`.

# %%
crops.views

# %% [markdown]
# ## 2 · Losses
# A small batch under any loss of the package: similarities, shares, and the pull and push on every pair. **Predict:** what
# happens to the push on the hardest negative when the temperature goes to 2? Press a letter at the left to look at its row.

# %%
explorers.LossExplorer()

# %% [markdown]
# ## 3 · Networks
# One step of a method, drawn from the method itself: what went through which network, with real shapes, and where gradient
# reached. **Predict:** what differs between MNCLGLF as drawn and as released? Choose both and compare the arrows. Press a box to
# see the tensor behind it.

# %%
explorers.NetworkDiagram(pictures=toys)

# %% [markdown]
# ## 4 · Training
# The board draws at most twice a second while a run goes on; the lines below it are the record. Stop it with the square button
# and run the cell again: it goes on where it stopped.

# %%
recipe = preset("quick", "mnclglf", "toybox", steps=120)
board = explorers.TrainingBoard()
run = train(recipe, splits, callback=board)

# %% [markdown]
# ## 5 · Global meets local
# A view cut into four patches, the six pairs that are averaged, and the embedding that each pair becomes, by the MNCLGLF that comes
# with the course: trained for some minutes, heads and queue included. **Predict:** is a pair's embedding closer to its own picture's prediction than to other pictures'?

# %%
trained = pretrained.load_trained("mnclglf")
explorers.CombineExplorer(toys, trained)

# %% [markdown]
# ## 6 · The queue
# As the queue fills, the nearest entry of a picture changes, and with it the target that it is swapped for. **Predict:** how large
# must the queue be until most neighbours are of the picture's own class?

# %%
some = toys.subset(torch.arange(1024))
explorers.QueueExplorer(extract_features(trained.backbone, some), some)

# %% [markdown]
# ## 7 · The embedding
# The same pictures before and after training, linked. Lines lead to the true neighbours in the full space. Click pins, dragging
# with Shift held selects, the legend isolates a class.

# %%
part = toys.subset(layouts.subsample(len(toys), 1000))
untrained = build_method(trained.recipe, 10).backbone
before, after = (extract_features(network, part) for network in (untrained, trained.backbone))
embedding = explorers.EmbeddingMap(before, part, other=after, names=("before", "after"))
embedding

# %% [markdown]
# What is selected arrives in Python:

# %%
embedding.selected

# %% [markdown]
# ## 8 · Runs
# Curves and final dots of the runs in `data/runs`, published numbers as hollow marks, and the neighbours of one picture under
# several networks. Mind the words below the picture: they say under which protocol each number was found.

# %%
explorers.RunComparer(pictures=part, encoders={"untrained": untrained, "MNCLGLF": trained.backbone})
