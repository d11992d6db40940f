# %% [markdown]
# # 03 · Several networks
#
# ![Three networks in three rows. The online network ends in predictions and is the only one with arrows of gradient; the stop-gradient network and the momentum network with its queue end in targets, behind a bar that no gradient passes](heroes/03.png)
#
# After this notebook you will be able to
#
# * **build** what methods of several networks are made of: a target that holds still, a slow twin, a queue, a neighbour swap,
# * **say** for each of these networks whether a loss teaches it, and prove it with one function,
# * **find** by measuring what reading overlooks: a term of MNCLGLF's released loss that teaches nobody.
#
# *You need:* notebook 02; two CPU cores, about a minute of computing, no download. Reading and exercises: 45 minutes.

# %%
import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from mnclglf_lite import load_dataset, preset
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.drawing import sheets
from mnclglf_lite.evaluation import collapse, evaluate
from mnclglf_lite.losses import negative_cosine
from mnclglf_lite.models import heads, resnet
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import pretrained, records
from mnclglf_lite.views.batch import make_views
from mnclglf_lite.views.view import denormalise

# %% [markdown]
# ## Something to learn from
# The toy box again, drawn small so that everything here takes seconds, and in its first version: that has larger bricks, which
# can be told apart at 16 pixels. From each picture two views: cut, coloured, 16 pixels.

# %%
splits = load_dataset("toybox-v1", side=24)
toys, view = splits.train, replace(preset("quick", "simclr", "toybox").views.view, size=16)
x1, x2 = make_views(toys.images[:64], [view, view], torch.Generator().manual_seed(0))
eight = denormalise(torch.cat([x1[:8], x2[:8]])).clamp(0, 1)
sheet = sheets.contact_sheet(eight, columns=8, scale=4, title="Eight pictures, two views of each")
sheets.Shown(sheet, "Two rows of eight small pictures; below each other stand two views of the same toy.")

# %% [markdown]
# ## One network
# The *backbone* turns a view into features, the *projector* turns those into an embedding z. A second, smaller head will be of
# use in a moment: the *predictor*, which turns z into a guess p. After training only the backbone is kept.


# %%
def encoder():
    backbone = resnet.ResNet(width=16, blocks=(1, 1, 1), stem="patch")
    return nn.Sequential(backbone, heads.projector((backbone.dim, 64, 64), last_norm=False))


online, predict = encoder(), heads.predictor(64, 32)
z1, z2 = online(x1), online(x2)
p1, p2 = predict(z1), predict(z2)
print(f"views {tuple(x1.shape)}, embeddings z {tuple(z1.shape)}, guesses p {tuple(p1.shape)}")

# %% [markdown]
# ## A teacher that moves with you
# In notebook 02 negatives did half of the work: they push all other pictures away. They have a price: many are needed, and
# some of them are of the same class. So drop them, and only ask that two views of a picture get the same embedding. The loss
# is minus their cosine: 1 at worst, -1 at best. Each view is the other one's teacher.

# %%
guess = Predict(
    "The loss asks only that two views agree. After 60 steps, how do *different* pictures differ?",
    ["as much as before", "more than before", "hardly at all"],
)
guess

# %% [markdown]
# A teacher need not move. `z.detach()` is the same numbers without their history: a *stop-gradient*. The loss can still pull
# the pupil to such a target, but it cannot pull the target to the pupil. Let the pupil be the guess p, and let both views be
# pupil and teacher in turn. With D for minus the cosine and sg for the stop-gradient, this is SimSiam's loss:
#
# $$L = \tfrac12 D(p_1, \mathrm{sg}\,z_2) + \tfrac12 D(p_2, \mathrm{sg}\,z_1)$$
#
# By hand: one picture, $p_1$ and $z_2$ point the same way, $p_2$ and $z_1$ are at right angles. Then L = (-1 + 0) / 2.
#
# **Exercise 03.1** (easy, 5 minutes, used below; may be skipped). Write it. All four are (N, D), and the answer is one number.
# `negative_cosine(p, z)` is D, a mean over the N pictures.


# %%
def stop_gradient_loss(p1, p2, z1, z2):
    #: your turn: each guess against the other view's embedding, which holds still
    return (negative_cosine(p1, z2.detach()) + negative_cosine(p2, z1.detach())) / 2
    #: end


stop_gradient_loss = check("03.1", stop_gradient_loss)

# %% [markdown]
# Stuck? `hint("03.1")` gives a nudge, `solution("03.1")` shows code that works.
#
# Now a lesson: a fresh network, 60 steps, and after each the *spread* of the embeddings: about 1 when they point in all
# directions, 0 when all pictures get the same one. `loss_of` says who teaches whom; the twin in it is for later. Then four
# lessons: a teacher that moves along, one that holds still, and each of them once more for a pupil with a predictor.


# %%
def lesson(loss_of, momentum=None, steps=60):
    torch.manual_seed(0)
    online, predict = encoder(), heads.predictor(64, 32)
    twin = copy.deepcopy(online).requires_grad_(False)
    learner = torch.optim.SGD([*online.parameters(), *predict.parameters()], lr=0.1, momentum=0.9)
    generator, spreads = torch.Generator().manual_seed(0), []
    for batch in toys.images[: 64 * steps].split(64):
        x1, x2 = make_views(batch, [view, view], generator)
        loss = loss_of(online, predict, twin, x1, x2)
        learner.zero_grad()
        loss.backward()
        learner.step()
        if momentum is not None:
            follow(twin, online, momentum)
        with torch.no_grad():
            spreads.append(float(collapse.feature_std(online(x1))))
    return spreads


# %%
def moves_along(online, predict, twin, x1, x2):
    return negative_cosine(online(x1), online(x2))


def holds_still(online, predict, twin, x1, x2):
    z1, z2 = online(x1), online(x2)
    return stop_gradient_loss(z1, z2, z1, z2)


def moves_along_and_predictor(online, predict, twin, x1, x2):
    z1, z2 = online(x1), online(x2)
    return (negative_cosine(predict(z1), z2) + negative_cosine(predict(z2), z1)) / 2


def holds_still_and_predictor(online, predict, twin, x1, x2):
    z1, z2 = online(x1), online(x2)
    return stop_gradient_loss(predict(z1), predict(z2), z1, z2)


lessons = (moves_along, holds_still, moves_along_and_predictor, holds_still_and_predictor)
seen = {loss_of.__name__: lesson(loss_of) for loss_of in lessons}
for name, spreads in seen.items():
    print(f"{name:26s} spread at step 1 {spreads[0]:.2f}, 10 {spreads[9]:.2f}, 60 {spreads[-1]:.2f}")
guess.reveal("hardly at all", "one answer for all pictures is the easiest way to agree: a collapse")

# %% [markdown]
# A target that moves with you is a bad teacher: both run to the same point and call it agreement. Holding it still is not
# enough here either, for the pupil still runs to where the target stands, and the next target is the pupil. Nor is a predictor
# enough while the target moves. With both, the embeddings stay apart. Why exactly, people still argue; that both parts are
# needed, SimSiam's authors showed on photographs, and you have just seen it on one small network.
#
# ## A twin that follows slowly
# There is a third kind of teacher: a *twin* of the network that never learns by gradient. After every step it moves a little
# towards the online network:
#
# $$\text{twin} \leftarrow m \cdot \text{twin} + (1 - m) \cdot \text{online}$$
#
# so it is a moving average of what the online network was. It sees views through BatchNorm statistics of its own: parameters
# are averaged, *buffers* (BatchNorm's running means) are not. By hand: all of the twin is 1, the online network 0, m = 0.9;
# then the twin becomes 0.9.
#
# **Exercise 03.2** (medium, 6 minutes). Write `follow`: it changes the twin, in place, and gives nothing back.


# %%
def follow(twin, online, momentum):
    #: your turn: parameters side by side, without gradient, written into the twin's
    with torch.no_grad():
        for mine, theirs in zip(twin.parameters(), online.parameters(), strict=True):
            mine.copy_(momentum * mine + (1 - momentum) * theirs)
    #: end


follow = check("03.2", follow)

# %% [markdown]
# How slow is slow? After k steps a share of m to the power k is left of what the twin was. Half of it is gone when that is 1/2.
# A run of minutes has a few hundred steps, after which a twin at 0.999 is still mostly its random start; the short recipes of
# this package use 0.8 to 0.98. Below the lines, the twin as a teacher, at 0.9, beside the other four.

# %%
for momentum in (0.8, 0.9, 0.99, 0.999):
    half = torch.log(torch.tensor(0.5)) / torch.log(torch.tensor(momentum))
    print(f"momentum {momentum:5.3f}: half of the twin is replaced after {float(half):5.1f} steps")


# %%
def twin_and_predictor(online, predict, twin, x1, x2):
    with torch.no_grad():
        m1, m2 = twin(x1), twin(x2)
    return stop_gradient_loss(predict(online(x1)), predict(online(x2)), m1, m2)


seen["twin_and_predictor"] = lesson(twin_and_predictor, momentum=0.9)
figure = Figure(figsize=(7.4, 3.2), layout="constrained")
axes = figure.add_subplot(xlabel="step", ylabel="spread of the embeddings", ylim=(0, 1))
for (name, spreads), style in zip(seen.items(), ("-", "--", (0, (5, 1, 1, 1)), "-.", ":"), strict=True):
    axes.plot(range(1, 61), spreads, linestyle=style, label=name.replace("_", " "), linewidth=2)
axes.legend(frameon=False, loc="center right")
sheets.Shown(
    figure, "Five curves: three fall towards 0; the two stay up whose pupil has a predictor and whose target holds still."
)

# %% [markdown]
# The two curves at the top lie almost on each other. One small network, seed 0, 60 steps of 64 pictures: it shows who
# falls, not who wins. That an embedding stays spread out does not yet mean that it has learned anything.
#
# ## A queue
# A third idea: remember. A twin's embeddings of earlier batches need not be thrown away; put them into a *queue*, and there are
# thousands of embeddings to compare with, and no picture has to be encoded for it. First in, first out: a pointer says which
# slot is the oldest. New embeddings are written there, and the pointer moves on, round and round.
#
# By hand: the slots hold 1, 2, 3, 4, the pointer is at slot 0. After pushing 5 and 6 they hold 5, 6, 3, 4; the pointer is at 2.
#
# **Exercise 03.3** (medium, 6 minutes). Write `push`: `entries` is (K, ...), `pointer` a whole number, `new` is (N, ...) with N
# at most K. Give back new slots and the new pointer, in this order; leave what you got unchanged.


# %%
def push(entries, pointer, new):
    #: your turn: slot numbers that go round, the new rows in them, the pointer further on
    slots = (pointer + torch.arange(len(new))) % len(entries)
    entries = entries.clone()
    entries[slots] = new
    return entries, (pointer + len(new)) % len(entries)
    #: end


push = check("03.3", push)

# %% [markdown]
# It does not care what is in the slots. Here are pictures: ten grey slots, and batches of four. Follow the fourth row: two toys
# of the third batch fill the last slots, and two go round to the first ones.

# %%
slots, pointer = torch.full((10, 3, 24, 24), 225, dtype=torch.uint8), 0
rows = [slots]
for k in range(4):
    slots, pointer = push(slots, pointer, toys.images[4 * k : 4 * k + 4])
    rows.append(slots)
sheet = sheets.contact_sheet(
    torch.cat(rows), columns=10, scale=2, title="A queue of ten: at the start, after 1, 2, 3, 4 pushes"
)
sheets.Shown(sheet, "Five rows of ten slots. Toys fill them from the left; the third push goes round over the first toys.")

# %% [markdown]
# ## The neighbour swap
# Two views of *one* picture are all that we have called a positive. But in the queue there may be another picture of the same
# thing. So take an embedding, look up the entry of the queue that points most nearly the same way, and let *that* be the target.
# A pupil then learns that two different pictures belong together, which no crop can teach. This is NNCLR's idea; MNCLGLF swaps
# what its momentum network says.
#
# **Exercise 03.4** (easy, 4 minutes). For each query (N, D) the position of its nearest entry (K, D), by cosine: (N,) whole
# numbers.


# %%
def nearest(queries, entries):
    #: your turn: a table of cosines, and where each row is largest
    return (F.normalize(queries, dim=1) @ F.normalize(entries, dim=1).T).argmax(dim=1)
    #: end


nearest = check("03.4", nearest)

# %% [markdown]
# A nearest-neighbour positive is only as good as the features in which the neighbour is looked for. To see that, we need a network
# that has learned: the course ships a SimCLR, trained on the toy box for some minutes. 2,048 training images go through a queue,
# and 500 held-out ones look for their neighbour in it while it fills. How often is it of the same class? (Labels are only used to
# count.) By chance it would be one in ten.

# %%
simclr = pretrained.load_trained("simclr")
nets = {"untrained": build_method(simclr.recipe, 10).backbone, "trained": simclr.backbone}
stored, asked = toys.subset(torch.arange(2048)), splits.holdout.subset(torch.arange(500))
features = {name: [evaluate.extract_features(net, part) for part in (stored, asked)] for name, net in nets.items()}
for name, (bank, queries) in features.items():
    entries, kinds, pointer = torch.randn(2048, bank.shape[1]), torch.full((2048,), -1), 0
    for count, rows in enumerate(torch.arange(2048).split(64), start=1):
        kinds, _ = push(kinds, pointer, stored.labels[rows])
        entries, pointer = push(entries, pointer, bank[rows])
        if count in (1, 4, 16, 32):
            agree = (kinds[nearest(queries, entries)] == asked.labels).float().mean()
            print(f"{name:9s} {64 * count:5,} in the queue: {100 * float(agree):4.1f} % of neighbours agree")

# %% [markdown]
# With the trained network, the longer the queue, the better the best of it: a larger choice holds a nearer neighbour. An
# untrained network picks little better than chance, however much there is to choose from. So at the start of training most
# swaps point to pictures of *other* things, and they get better as the network does.

# %% [markdown]
# The explorer does it live with the trained network. Push batches, see the oldest fall out, change the length of the queue,
# and press a query to see which entries would be its targets. (The thin lines are queues of other lengths.)

# %%
from mnclglf_lite.explorers import QueueExplorer

explorer = QueueExplorer(features["trained"][0], stored, batch=64)
explorer.pushed.value, explorer.size.value = 24, 512
explorer

# %% [markdown]
# ## Where does gradient arrive?
# Backbone, projector, predictor, twin: which of them does a loss teach? One can read code and believe, or send the loss back
# and look. Three traps wait. A loss that is a constant cannot be sent back at all (`requires_grad` is False). `.grad` adds up, so it
# may still hold an earlier answer. And a gradient that is zero everywhere has arrived in name only.
#
# **Exercise 03.5** (hard, 8 minutes, the tool of what follows). Write `reached(loss, network)`: True where any gradient of the
# loss, other than zero, arrives at any parameter of the network. The same loss may be asked about twice.


# %%
def reached(loss, network):
    #: your turn: mind constants, old gradients, zeros, and those who ask again
    if not loss.requires_grad:
        return False
    network.zero_grad()
    loss.backward(retain_graph=True)
    return any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    #: end


reached = check("03.5", reached)

# %% [markdown]
# ## MNCLGLF, measured
# Now a whole method. MNCLGLF sees a picture three times. The *online* network says p1, p2, p3. The *stop-gradient* network is the
# same backbone and projector, without gradient, on patches of x1 and x2 (notebook 04). The *momentum* network is a twin
# whose embeddings of x1 and x3 are swapped for neighbours in a queue. Two terms: the *local* one compares p1 with the patches
# of x2 and p2 with those of x1, the *global* one p1 with the neighbour of x3 and p3 with that of x1.
#
# The method exists twice. **As drawn:** the authors' figure puts stop-gradients on both kinds of targets, and on nothing else.
# **As released:** their code also detaches p1 and p2 in the local term. Both are in the package, one switch apart.

# %%
recipe = preset("quick", "mnclglf", "toybox", view=view, batch_size=64)
forms = {"as drawn": recipe, "as released": recipe.replace(local_gradient=False)}
built = {name: build_method(each, 10) for name, each in forms.items()}
three = make_views(toys.images[:64], built["as drawn"].views, torch.Generator().manual_seed(1))
outputs = {name: method(three) for name, method in built.items()}
for name, out in outputs.items():
    local, across = (float(out[term].detach()) for term in ("loss_local", "loss_global"))
    print(f"{name:12s} local {local:.4f}   global {across:.4f}")

# %%
guess_detach = Predict(
    "Both forms print the same two numbers. In the released one, which networks does the *local* term teach?",
    ["backbone, projector and predictor", "backbone and projector alone", "none of them"],
)
guess_detach

# %% [markdown]
# Do not look into the code. Ask `reached`, for each term and each network.

# %%
parts = ("backbone", "projector", "predictor", "momentum_backbone", "momentum_projector")
print(f"{'taught by':25s}  " + "  ".join(parts))
for name, out in outputs.items():
    for term in ("loss_local", "loss_global"):
        marks = [("yes" if reached(out[term], getattr(built[name], part)) else "-").rjust(len(part)) for part in parts]
        print(f"{name + ', ' + term:25s}  " + "  ".join(marks))
guess_detach.reveal("none of them", "its targets never had a gradient, and its predictions are detached: a constant is left")

# %% [markdown]
# As drawn, both terms teach the whole online network and neither touches the twin. As released, the local term teaches
# nobody. For the optimiser it is a constant, so the gradient of the whole loss should be that of the global term
# alone, times its weight. Is it, to the last digit?

# %%
for name, out in outputs.items():
    learn = [p for p in built[name].parameters() if p.requires_grad]
    alone = forms[name].method.global_weight * out["loss_global"]
    whole, part = (torch.autograd.grad(loss, learn, retain_graph=True) for loss in (out["loss"], alone))
    apart = max(float((a - b).abs().max()) for a, b in zip(whole, part, strict=True))
    size = max(float(a.abs().max()) for a in whole)
    print(f"{name:12s} largest gradient {size:.3f}; without the local term it differs by at most {apart:.1e}")

# %% [markdown]
# As released, the gradient is the same with the local term and without it: the difference is 0. As drawn it is not.
#
# ## Would you have noticed?
# No error, no warning; the term is computed, added, printed. It even *falls*. Here is the local term in saved runs of 45 seconds
# on the toy box, three seeds of each form: its mean over the first and over the last epoch.

# %%
saved = records.group_by_method(records.load_records(records.KEPT / "toybox"))
for name in ("mnclglf", "mnclglf-released"):
    for record in saved[name]:
        first, last = record.history[0], record.history[-1]
        local, agree = ([row[gauge] for row in (first, last)] for gauge in ("loss_local", "agreement"))
        print(f"{name:17s} seed {record.seed}: local term {local[0]:.2f} -> {local[1]:.2f},", end=" ")
        print(f"queue neighbours of the same toy {100 * agree[0]:.0f} % -> {100 * agree[1]:.0f} %")

# %% [markdown]
# In the released form nothing is pulled by the local term, and it falls all the same: the global term makes the
# network better, and a better network says more alike things of a view and of its parts. **A falling curve does not
# prove that a term teaches.** Which of the two forms made the published numbers is not known; what the difference is worth here
# is a matter for notebook 04.
#
# The diagram below is the method itself, with the shapes of real tensors. Press a part to see what it is given and what it
# gives; lines with gradient and lines without differ.

# %%
from mnclglf_lite.explorers import NetworkDiagram

NetworkDiagram("mnclglf", toys)

# %% [markdown]
# ## Where things are
# * `update_ema` in `mnclglf_lite.models.momentum`, `Queue` (with `push` and `nearest`) in `mnclglf_lite.models.memory_queue`;
#   `negative_cosine` in `mnclglf_lite.losses`; backbone and heads in `mnclglf_lite.models.resnet` and `mnclglf_lite.models.heads`.
# * The methods that are made of these parts: `simsiam`, `byol`, `moco`, `nnclr` and `mnclglf` in `mnclglf_lite.methods`, one file each.
# * The switch: `--local-gradient / --no-local-gradient` on the command line, `recipe.method.local_gradient` in
#   a recipe for MNCLGLF.

# %%
progress("03")

# %% [markdown]
# **Two questions to take along.** The twin only follows the online network, and the online network learns from the twin: who
# teaches whom? And how would you write a test for your own training code that a silent detach could not pass?
#
# *Next:* [04 · Global meets local](04_global_meets_local.ipynb), the patches, the pairs, and what each term is worth.
