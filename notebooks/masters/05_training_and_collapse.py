# %% [markdown]
# # 05 · Training, and how it collapses
#
# ![Three circles with embeddings drawn as dots. All around the circle, at two opposite ends of a line, all in one point. Below each circle three bars: the loss gets better from left to right, while spread and rank fall](heroes/05.png)
#
# After this notebook you will be able to
#
# * **write** the training loop yourself, and show that it ends in the package's own weights,
# * **stop** a run and go on with it later, to the same bits,
# * **break** one part after another, and read from two gauges what the loss does not tell.
#
# *You need:* notebooks 02 and 03; any computer, under a minute of computing, no download, 1 MB of disk. Reading and
# exercises: 50 minutes.

# %%
import math
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from mnclglf_lite import load_dataset, preset, register_method, train
from mnclglf_lite.core.text import format_table
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.data.dataset import batch_order
from mnclglf_lite.drawing import plots, sheets
from mnclglf_lite.evaluation import collapse
from mnclglf_lite.methods import byol, simsiam
from mnclglf_lite.training import checkpoint, recorder
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import set_lr
from mnclglf_lite.views.batch import make_views

# %% [markdown]
# ## A world small enough to break things in
# To break a training run on purpose you have to run it a dozen times. So everything here is small: toys of 16 pixels, of the
# toy box's first version (its bricks are larger), a network of the narrowest kind, a minute in all. What you see are real runs
# of a real method, but tiny ones: they show *how* a run fails, not how well a method does when it is given its time.

# %%
splits = load_dataset("toybox-v1", side=16)
sheet = sheets.contact_sheet(
    splits.test.images[:20], columns=10, scale=4, title="The toy box at 16 pixels: what the network gets"
)
sheets.Shown(sheet, "Two rows of ten coarse little pictures, each a toy made of twelve bricks.")

# %% [markdown]
# A *recipe* names everything that decides a run. `tiny` makes recipes for this notebook: 120 steps of 64 pictures, on the CPU,
# in full precision, with plain SGD and all weights random at first. (The quick recipes learn faster with the optimiser
# [Muon, Jordan and others 2024](https://kellerjordan.github.io/posts/muon/), which gives every update of a matrix the same
# size. SGD is easier to break, and to break runs is what we are here for.) A *run* is what a recipe becomes: networks with weights drawn from the seed, an optimiser, a generator
# for all random draws, and a count of the steps.


# %%
def tiny(method, **changes):
    plain = {"optimiser": "sgd", "first_layer": "random", "lr": 0.36 if method == "simclr" else 1.8, "weight_decay": 5e-4}
    recipe = preset("quick", method, "toybox", batch_size=64, steps=120, precision="fp32", **plain)
    return recipe.replace(view=replace(recipe.views.view, size=16)).replace(**changes)


def begin(recipe):
    return new_run(recipe, len(splits.train), classes=10, device=torch.device("cpu"))


run = begin(tiny("simclr"))
numbers = sum(p.numel() for p in run.method.parameters())
print(f"{run.recipe.method.name}: {numbers:,} numbers to learn; step {run.step} of {run.total_steps}")

# %% [markdown]
# ## How large is a step?
# The learning rate is not the same in all steps. At first the weights are random and the gradient points anywhere: one starts
# carefully and *warms up*. At the end one wants to settle: the rate goes down to nought, here by half a cosine, which is
# $(1 + \cos \pi d)/2$ when the share d of the way down is done.
#
# By hand, with 100 steps of which a tenth warm up: the first ten get 1/11, 2/11, ... 10/11 of the full rate. Step 10 gets all
# of it. Half way through the other 90, at step 55, it is one half.
#
# **Exercise 05.1** (easy, 6 minutes, used in the next cell; may be skipped). Write the share of the full rate at a step,
# which is counted from 0. `recipe.optim.warmup` is the share of all steps that warm up.


# %%
def rate(recipe, step, total):
    #: your turn: first the rise, then half a cosine
    warm = recipe.optim.warmup * total
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
    #: end


rate = check("05.1", rate)

# %% [markdown]
# `hint("05.1")` helps, three times over. Here is your schedule with no warm-up, a short one and a very long one. Look where each
# curve is highest, and that all come down to nought.

# %%
all_steps = range(120)
schedules = {
    f"warm-up {warm:.0%}": [{"step": i, "rate": rate(tiny("simclr", warmup=warm), i, 120)} for i in all_steps]
    for warm in (0.0, 0.1, 0.5)
}
panel = ("rate", "share of the full rate", 1)
plot = plots.curves(schedules, title="A short rise, a long way down", panels=[panel])
sheets.Shown(plot, "Three curves over 120 steps: two rise in a straight line first, all fall along half a cosine.")

# %% [markdown]
# ## One step
# Whatever the method, a step is the same seven things:
#
# 1. set the learning rate (`set_lr(run)` applies the schedule),
# 2. cut the views: `make_views(images, run.method.views, run.generator)`, where `run.generator` is the run's own random generator,
# 3. forward: `run.method(views)` gives a dict, in which `"loss"` is what is to fall,
# 4. backward: old gradients out (`run.optimiser.zero_grad()`), new ones in,
# 5. `run.optimiser.step()`,
# 6. what the method does afterwards, twins and queues: `run.method.after_step(outputs)`,
# 7. count: `run.step += 1`.
#
# **Exercise 05.2** (medium, 8 minutes). Write the step. It changes the run and gives back the outputs. The check trains a
# tiny BYOL with it, because BYOL has a twin to look after.


# %%
def one_step(run, images):
    #: your turn: the seven things, in this order
    set_lr(run)
    views = make_views(images, run.method.views, run.generator)
    outputs = run.method(views)
    run.optimiser.zero_grad()
    outputs["loss"].backward()
    run.optimiser.step()
    run.method.after_step(outputs)
    run.step += 1
    return outputs
    #: end


one_step = check("05.2", one_step)

# %% [markdown]
# ## The loop
# All that is missing is who brings the pictures. Every epoch has an order of its own, which follows from the seed and the
# epoch's number alone.


# %%
def batches(run):
    size, images = run.recipe.optim.batch_size, splits.train.images
    while not run.finished:
        epoch, place = divmod(run.step, len(images) // size)
        order = batch_order(run.recipe.seed, epoch, len(images))
        yield images[order[place * size : (place + 1) * size]]


# %% [markdown]
# And around it all the loop. `look` says what we want to know of a step; every tenth step is written down.


# %%
def loop(run, look, every=10):
    rows = []
    for images in batches(run):
        outputs = one_step(run, images)
        if run.step % every == 0:
            rows.append({"step": run.step, **look(outputs)})
    return rows


# %% [markdown]
# That is a whole training loop. Is it right? The package has one too, `train`. Give both the same recipe, and compare
# every weight at the end. (Its line of the log has the mean loss of the epoch; yours above are the losses of single steps.)

# %%
short = tiny("simclr", steps=60)
mine = begin(short)
for row in loop(mine, lambda outputs: {"loss": outputs["loss"].item()}):
    print(f"step {row['step']:3d}  loss {row['loss']:.4f}")
theirs = train(short, splits, device="cpu")
pairs = zip(mine.method.parameters(), theirs.method.parameters(), strict=True)
apart = max(float((a - b).detach().abs().max()) for a, b in pairs)
print(f"largest difference between any two weights: {apart}")

# %% [markdown]
# Nought is what one hopes for: not nearly the same, the same. It works because nothing is left to chance. Weights, order and
# views all come from the seed. (On one machine. Another processor may add up in another order, and a long run carries such
# differences far.)
#
# ## Stop, and go on
# Training can always be interrupted: by you, by the night, by somebody who needs the machine. Interrupt `train` with the
# square button of Jupyter, or Ctrl-C: it ends the step it is in, saves everything and returns. Here a line of the log presses
# the button for you, after the first epoch. (An epoch of 2,000 pictures, so that it comes soon.)

# %%
few = splits._replace(train=splits.train.subset(torch.arange(2000)))
folder = Path(tempfile.mkdtemp())


def press_stop(text):
    print(text)
    if text.startswith("epoch"):
        signal.raise_signal(signal.SIGINT)  # just what the stop button sends


stopped = train(tiny("simclr", steps=93), few, out=folder, device="cpu", log=press_stop)

# %% [markdown]
# The folder now holds the recipe, a history line for every epoch, and a checkpoint with all that decides how the run goes on.
# The weights alone would not do: the optimiser remembers its last directions, and the generator stands at a certain place.

# %%
state = checkpoint.load(folder / "checkpoint.pt", torch.device("cpu"))
print("in the checkpoint:", " ".join(state))
go_on = train(tiny("simclr", steps=93), few, out=folder, resume=True, device="cpu")
never = train(tiny("simclr", steps=93), few, device="cpu", log=lambda text: None)
pairs = zip(go_on.method.state_dict().values(), never.method.state_dict().values(), strict=True)
print("stopped and resumed, the same bits as never stopped:", all(torch.equal(a, b) for a, b in pairs))

# %% [markdown]
# ## The board
# Text lines do for a short run. For a longer one there is a board that draws while it trains: the loss, and beside it the
# gauges that the rest of this notebook is about. It works in JupyterLab; elsewhere a picture of its end is left. In the left
# panel the line is the mean loss from one look at the run to the next; a dot is the mean of an epoch, drawn in its middle.

# %%
from mnclglf_lite.explorers import TrainingBoard

board = TrainingBoard()
watched = train(tiny("simclr", steps=93), few, device="cpu", log=lambda text: None, callback=board)

# %% [markdown]
# ## What the loss cannot tell
# A method that only asks two views to agree has a lazy way out: say the same of every picture. Then all views agree
# perfectly. The loss is at its best, and the network has learned nothing. That is *collapse*, and you have to look at the
# embeddings to see it.
#
# First question: **do their directions differ?** Make every embedding length one. If all are the same, no coordinate changes
# from one to the next. If they point everywhere, each of D coordinates has a standard deviation of about $1/\sqrt{D}$.
#
# By hand: in four dimensions, take eight directions, one along each half axis. Each coordinate is once 1, once -1, six times 0.
# Its standard deviation is $\sqrt{2/8} = 1/2$, and times $\sqrt{4}$ that is 1.
#
# **Exercise 05.3** (easy, 4 minutes). Write the gauge for embeddings (N, D), as a tensor with one number. Divide the squares
# by N, not N - 1: `unbiased=False`.


# %%
def spread(z):
    #: your turn: lengths out, deviation of each coordinate, their mean, the factor
    unit = F.normalize(z, dim=1)
    return unit.std(dim=0, unbiased=False).mean() * z.shape[1] ** 0.5
    #: end


spread = check("05.3", spread)

# %% [markdown]
# Second question: **how many directions are in use?** A network may say only one thing of a picture, "more" or "less", and
# put all embeddings on one line. The singular values $s_1, s_2, \ldots$ of the table (N, D) say how far it reaches along each
# direction. Made shares $p_i = s_i / \sum_j s_j$, they have an entropy, and its exponential is the *effective rank*:
#
# $$\mathrm{rank}(z) = \exp\Big(-\sum_i p_i \log p_i\Big)$$
#
# By hand: two directions used alike, a third not at all. The shares are 1/2, 1/2, 0, the entropy is ln 2, the rank 2.
#
# **Exercise 05.4** (medium, 6 minutes). `torch.linalg.svdvals(z)` gives the singular values. Mind the third share above.


# %%
def rank(z):
    #: your turn: shares of the singular values, entropy, exp
    values = torch.linalg.svdvals(z)
    share = (values / values.sum()).clamp_min(1e-12)
    return torch.exp(-(share * share.log()).sum())
    #: end


rank = check("05.4", rank)

# %% [markdown]
# Try them on three made-up networks that see the same two views, x and x with noise. One keeps all, one puts everything on a
# line, one says nearly the same of all. Two gauges from the literature (Wang & Isola 2020) stand beside yours: *alignment*,
# the mean squared distance between the two views of a picture, and *uniformity*, how evenly embeddings fill the sphere.
# Lower is better in both.

# %%
rng = torch.Generator().manual_seed(0)
x = torch.randn(256, 16, generator=rng)
noisy = x + 0.5 * torch.randn(256, 16, generator=rng)
networks = {"keeps all": lambda x: x, "one line": lambda x: x[:, :1] * torch.ones(16), "one point": lambda x: 1 + x / 50}
lines = []
for name, network in networks.items():
    a, b = network(x), network(noisy)
    four = spread(a), rank(a), collapse.alignment(a, b), collapse.uniformity(a)
    lines.append([name, *(f"{float(value):.2f}" for value in four)])
print(format_table(["", "spread", "rank", "alignment", "uniformity"], lines))

# %% [markdown]
# Look at alignment: the network in one point is the best of the three. That is what a loss sees that only asks for agreement.
# Spread finds the point and misses the line; rank finds both. Uniformity is worst, near 0, for the point.
#
# ## Break SimSiam
# SimSiam has no negatives. It draws the prediction of one view towards the embedding of the other, and its loss lies between
# 1 and -1, where -1 is perfect agreement. Two things keep it from the lazy way out: the *stop-gradient*, which holds the
# target still, and the *predictor*. Each can be taken away in a few lines. `Config` gives the changed method a name of its
# own, and `register_method` makes the name known.


# %%
@register_method
class NoStop(simsiam.SimSiam):
    class Config(simsiam.SimSiamConfig):
        name = "no-stop"

    def target(self, z):
        return z  # the package says z.detach()


@register_method
class NoPredictor(simsiam.SimSiam):
    class Config(simsiam.SimSiamConfig):
        name = "no-predictor"

    def __init__(self, *settings):
        super().__init__(*settings)
        self.predictor = torch.nn.Identity()


# %% [markdown]
# Before you run them:

# %%
guess = Predict(
    "SimSiam without its stop-gradient, 120 steps. What becomes of its loss, next to the whole SimSiam's?",
    ["it rises", "it stays about the same", "it falls lower"],
)
guess

# %% [markdown]
# Your loop trains all three. Now `look` also asks your gauges, of the embeddings of the batch. At the end of each run the
# package measures nearest neighbours on pictures held back; that comes in the next table. Of the three panels, the left one is
# what you would watch if you only watched the loss.


# %%
def look(outputs):
    z = outputs["z1"].detach()
    return {"loss": outputs["loss"].item(), "spread": float(spread(z)), "rank": float(rank(z))}


def trained(recipe):
    run = begin(recipe)
    rows = loop(run, look)
    rows[-1]["knn"] = recorder.monitor(run, splits)["knn"]
    return rows


results = {
    "SimSiam": trained(tiny("simsiam")),
    "without stop-gradient": trained(tiny("no-stop")),
    "without predictor": trained(tiny("no-predictor")),
}
three = [("loss", "loss", 1), ("spread", "spread", 1), ("rank", "effective rank", 1)]
note = "Toy box, 16 pixels, 120 steps of 64 pictures, seed 0; gauges of the embeddings z of a batch"
guess.reveal("it falls lower", "views agree best when there is nothing left to disagree about")
plot = plots.curves(results, title="The broken runs have the better loss", note=note, panels=three)
sheets.Shown(plot, "Three panels: the broken runs end below SimSiam in loss, in spread and in rank.")

# %% [markdown]
# Both broken runs end with a better loss, and with an effective rank of one to three: their embeddings lie nearly on a line.
# Mind the middle panel. Spread falls too, but not to nought: the BatchNorm at the end of SimSiam's projector has each
# coordinate vary over the batch, whatever happens. They may still all vary *together*, and only rank sees that. So we read two.
#
# ## Break BYOL
# BYOL's targets come from a slow twin, without gradient. What if the twin is not slow (momentum 0, in a recipe `ema=0.0`: after
# every step it becomes a copy of the network, so both are always the same)? What if it never moves (momentum 1; the recipe has
# to start just below)? And what if the predictor goes? BYOL's loss goes from 8, opposite, to 0, the same.


# %%
@register_method
class BareBYOL(byol.BYOL):
    class Config(byol.BYOLConfig):
        name = "bare-byol"

    def __init__(self, *settings):
        super().__init__(*settings)
        self.predictor = torch.nn.Identity()


def show(names):
    head, lines = ["", "loss at 10", "at the end", "spread", "rank", "kNN, %"], []
    for name in names:
        (first, *_, last) = results[name]
        cells = [f"{value:.2f}" for value in (first["loss"], last["loss"], last["spread"], last["rank"])]
        lines.append([name, *cells, f"{100 * last['knn']:.0f}"])
    print(format_table(head, lines))


results["BYOL"] = trained(tiny("byol"))
results["BYOL, momentum 0"] = trained(tiny("byol", ema=0.0, ema_end=0.0))
results["BYOL, momentum 1"] = trained(tiny("byol", ema=0.999999, ema_end=1.0))
results["BYOL without predictor"] = trained(tiny("bare-byol"))
show([name for name in results if "BYOL" in name])
print(note + ";\nkNN: k 20, T 0.1, 1,000 held-back pictures, bank 3,334; chance 10")

# %% [markdown]
# Without the predictor BYOL reaches what its loss calls perfection, and its embeddings are nearly one point. With momentum 0
# nothing worse happens in so short a run than with the slow twin: a stop-gradient and a predictor are enough to stay clear of
# the point, which is SimSiam's message. With momentum 1 the target is a random network for ever. It does not collapse, but
# the loss hardly falls: there is little to be learned from it.
#
# The kNN column is near chance in *all* rows: 120 steps are too few here for a method without negatives. So it cannot tell
# the run in one point from the others; the gauges can.
#
# ## Break SimCLR
# SimCLR has negatives, which punish collapse. Surely its loss can be trusted? We change one thing at a time: the temperature
# (the recipe has 0.2), the learning rate, and the colours: views that are cut and mirrored, but never recoloured.

# %%
guess_2 = Predict(
    "SimCLR on views whose colours never change. Beside the whole SimCLR, which of the four will look worse?",
    ["loss, spread, rank and kNN", "spread, rank and kNN", "kNN alone"],
)
guess_2

# %% [markdown]
# Guessing among 127 others, two views each of 64 pictures without one's own, would be a loss of ln 127.

# %%
plain = replace(tiny("simclr").views.view, jitter_p=0.0, gray_p=0.0)
results["SimCLR"] = trained(tiny("simclr"))
results["SimCLR, temperature 1"] = trained(tiny("simclr", temperature=1.0))
results["SimCLR, temperature 0.01"] = trained(tiny("simclr", temperature=0.01))
results["SimCLR, rate 30 times as high"] = trained(tiny("simclr", lr=30 * tiny("simclr").optim.lr))
results["SimCLR, no colour changes"] = trained(tiny("simclr", view=plain))
show([name for name in results if "SimCLR" in name])
print(f"guessing: {math.log(127):.2f}; kNN as above\n{note}")
guess_2.reveal("kNN alone", "colours alone tell which views belong together, so nothing else need be learned")

# %% [markdown]
# Read it row by row.
#
# * **Temperature 1.** Spread and rank are fine, but the loss hardly leaves guessing, and neighbours are much worse. The loss is
#   too flat to teach (notebook 02).
# * **Temperature 0.01.** Almost only the closest negative counts, the gradient is huge, and the embeddings are thrown
#   together. The loss ends close to guessing. Here it does tell.
# * **Rate 30 times as high.** The loss is somewhat worse, as in many a run that just needs longer. The gauges say what is
#   wrong: spread and rank are far below the first row's.
# * **No colour changes.** The best loss, the highest spread and rank, and neighbours about at chance. The network found a
#   *shortcut*: two views of a picture share their colours, and nobody asked for more. **No gauge of collapse sees that.**
#   Only a question about what you want to use the features for does, and that is notebook 07.
#
# (A loss at another temperature has another scale: set it against guessing, not against the first row.)
#
# So: the loss says whether the network does what you asked. Spread and rank say whether it has collapsed. Whether you asked
# for the right thing, neither of them knows.
#
# ## Where things are
# * Your step is `mnclglf_lite.training.step`, your loop `mnclglf_lite.training.train`, the schedule
#   `mnclglf_lite.training.run.lr_factor`.
# * `mnclglf_lite.evaluation.collapse` has feature standard deviation, effective rank, alignment and uniformity. Every line of
#   `train`'s log shows the first two, of the backbone's features.
# * `mnclglf_lite.training.checkpoint` writes and reads checkpoints, whole or not at all.
# * From the command line: `mnclglf-lite train --out runs/first`, Ctrl-C, and the same with `--resume`.

# %%
progress("05")

# %% [markdown]
# **Two questions to take along.** The order of the pictures is in no checkpoint: why can it be left out? And what would you
# measure every epoch, without labels, to notice a shortcut like that of the colours?
#
# *Next:* [06 · Looking at embeddings](06_looking_at_embeddings.ipynb), maps, and how they fool you.
