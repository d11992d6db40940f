# %% [markdown]
# # 07 · Linear and kNN evaluation
#
# ![Three rows of marks, one row each for raw pixels, thumbnails and a trained network: the same features under nine kNN protocols spread over thirty points for thumbnails, and the rows of pixels and thumbnails overlap](heroes/07.png)
#
# After this notebook you will be able to
#
# * **measure** features by their neighbours and by a linear layer, beside the baselines that any claim has to beat,
# * **say** how sure a number is, and under which protocol it was taken,
# * **find** leaks, and what the augmentation made a network forget.
#
# *You need:* notebooks 02 and 05; any computer, a minute of computing, no download. Reading and exercises: 55 minutes.

# %%
import json
import math
from dataclasses import asdict, replace
from statistics import mean

import torch
import torch.nn.functional as F

from mnclglf_lite import load_dataset, preset, train
from mnclglf_lite.core.text import format_table
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.data import toybox
from mnclglf_lite.drawing import plots, sheets
from mnclglf_lite.evaluation import evaluate, knn, linear, paper_probe
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import compare, pretrained, records

# %% [markdown]
# ## Two networks to measure
# Both are SimCLR on toys of 24 pixels: the same network, seed and number of steps. One thing differs. The first sees the usual
# views, whose colours change wildly. The second sees views that are cut and mirrored, but never recoloured. Neither sees a label.
#
# These are short runs of a tiny network. They will do to learn measuring; they say little about SimCLR. Your numbers will
# differ from those printed here: in so short a run another machine rounds its way to other weights, and another seed
# moves the accuracies by as much as ten points.

# %%
splits = load_dataset("toybox", side=24)
base = preset("quick", "simclr", "toybox", batch_size=64, steps=400, precision="fp32")
colourful = base.replace(view=replace(base.views.view, size=24))
plain = base.replace(view=replace(colourful.views.view, jitter_p=0.0, gray_p=0.0))
runs = {"SimCLR": colourful, "SimCLR, no colour changes": plain}
runs = {name: train(recipe, splits, device="cpu") for name, recipe in runs.items()}

# %% [markdown]
# ## Features, once
# From here on nobody trains these networks any further. What we measure is the *backbone*: the heads on top of it are thrown
# away. It sees every picture once, whole, in evaluation mode, and its features are kept. All questions go to them.

# %%
bank, queries = (extract_features(runs["SimCLR"].backbone, part) for part in (splits.train, splits.test))
labels, truth = splits.train.labels, splits.test.labels
print(f"bank {tuple(bank.shape)}, queries {tuple(queries.shape)}, {len(splits.train.classes)} classes")

# %% [markdown]
# ## Ask the neighbours
# The cheapest question: **is what lies near a picture of the same class?** Nothing is fitted. The labelled training pictures
# are the *bank*. The k of them that are most similar to a query vote for their own class, and a near one counts for more:
#
# $$\text{votes for class } c = \sum_{j \in \text{k nearest}} e^{s_j / T}\; [\,y_j = c\,]$$
#
# with $s_j$ the cosine similarity. By hand: a query at 0 degrees, and three pictures at 0, 60 and 90 degrees of classes 0, 1, 1.
# With k = 2 and T = 1, the first two vote, with similarities 1 and 1/2: $e^{1}$ for class 0, $e^{1/2}$ for class 1.
#
# **Exercise 07.1** (hard, 8 minutes, used below; may be skipped). Write the table of votes, (M, classes), for `bank` (N, D)
# with `labels` (N,), integers from 0, and `queries` (M, D). `F.one_hot(labels)` and `table.topk(k, dim=1)` are at hand.
# Stuck? `hint("07.1")` gives a nudge, a second call a larger one, and `solution("07.1")` shows code that works.


# %%
def votes(bank, labels, queries, k, temperature):
    #: your turn: cosines, the k nearest, their weights, a sum for each class
    table = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    near, index = table.topk(k, dim=1)
    weight = (near / temperature).exp()
    return (weight[:, :, None] * F.one_hot(labels)[index]).sum(dim=1)
    #: end


votes = check("07.1", votes)

# %% [markdown]
# The class with most votes wins; *top-1* is the share of queries whose winner is right. First your number and the package's,
# which must agree. Then five test pictures, each with its eight nearest neighbours in the bank: a blue frame and a tick
# mean the same class. Look at the wrong ones. What do they share with the query?


# %%
def top1(bank, labels, queries, truth, k=20, temperature=0.1):
    return float((votes(bank, labels, queries, k, temperature).argmax(dim=1) == truth).double().mean())


yours = top1(bank, labels, queries, truth)
package = knn.knn(bank, labels, queries, truth, knn.KNN_20, 10)["top1"]
print(f"kNN, k 20, T 0.1: yours {100 * yours:.2f} %, the package's {100 * package:.2f} %")
both = torch.cat([splits.test.images[:5], splits.train.images])
near = 5 + knn.nearest_neighbours(queries[:5], bank, 8)[1]
known = torch.cat([truth[:5], labels])
strips = sheets.neighbour_strips(both, torch.arange(5), near, known, splits.test.classes)
sheets.Shown(strips, "Five rows: a test picture, its eight nearest neighbours, and which of them are of its class.")

# %% [markdown]
# ## Beside what?
# A number alone says nothing. Chance is 10 %, but chance is not the rival. Any claim that a network has *learned* something has to
# beat what comes for nothing: the raw pixels as features, the picture shrunk to 8 x 8, and the same network untrained
# (*random encoder* in the table).
#
# The package measures under several **protocols** at once: everything that decides what a number means. Two of them change
# the features first, as the bank says: *centred* takes the bank's mean off, *whitened* also stretches or shrinks every
# direction until all are equally wide. Neither looks at a label.

# %%
guess = Predict(
    "kNN on 8 x 8 thumbnails gets less than 30 % right. What does whitening, a mere rescaling, make of that?",
    ["it loses a few points", "it stays within a few points", "it more than doubles it"],
)
guess

# %% [markdown]
# All rows under the same protocols, on the 2,000 test pictures. *kNN 200*, *kNN 20*: as above with that k, T 0.1; *centred*,
# *whitened*: kNN 20 on changed features; *kNN 10 plain*: ten neighbours with one vote each. *linear*, *top-5*: a linear
# layer, which comes below, and how often the class is among its five best. *std* (of features), *rank*: the
# collapse measures of notebook 05.

# %%
untrained = build_method(colourful, 10).backbone
encoders = evaluate.baselines(untrained, splits) | {name: run.backbone for name, run in runs.items()}
rows = {name: evaluate.evaluate(encoder, splits, "test") for name, encoder in encoders.items()}
print(evaluate.table(rows))
print("percent; toy box, 24 pixels, 2,000 test pictures, bank 10,000; 400 steps of 64, seed 0")
why = "in pixels a few directions drown out the rest; now all have the same say"
guess.reveal("it more than doubles it", why)

# %% [markdown]
# Read the table before you trust it. In the raw columns the trained network beats everything that comes for nothing. In the
# *whitened* column the thumbnails are ahead of it. Quote the thumbnails whitened and the network raw, and the thumbnails
# win by far; quote it the other way round, and they lose by far. The linear column puts the network first again. And the
# network that never saw a colour change is hardly better than an untrained one; what it learned instead comes below.
#
# ## A table that cannot be compared
# One network, one set of features, one test set: nine honest numbers. And nine of the thumbnails. All are kNN, T 0.1.

# %%
for name in ("SimCLR", "8x8 thumbnails"):
    x, y = (extract_features(encoders[name], part) for part in (splits.train, splits.test))
    lines = []
    for k in (1, 20, 200):
        protocols = [knn.KnnProtocol(k=k, transform=transform) for transform in knn.TRANSFORMS]
        found = [knn.knn(x, labels, y, truth, protocol, 10)["top1"] for protocol in protocols]
        lines.append([f"k {k}", *(f"{100 * value:.1f}" for value in found)])
    print(format_table([name, *knn.TRANSFORMS], lines), "\n")

# %% [markdown]
# Go down a column: k alone moves an accuracy by several points. Go along a row: whitening moves it by more still. Whoever wants
# to may pick the cell in which their own method wins. So a number never travels without its protocol. In this package a
# protocol is an object, and it is written into every result:

# %%
for name, protocol in rows["SimCLR"]["protocols"].items():
    print(f"{name:7s} {protocol}")

# %% [markdown]
# ## A linear layer
# The usual second question: **can a linear layer read the class out of the features?** One is fitted on the training features,
# then asked about the test features. Before that, all coordinates are brought to one scale: mean 0 and deviation 1.
#
# Whose mean, whose deviation? Those of the *training* part, for both. By hand: training rows (1, 10) and (3, 30) have the means 2
# and 20, the deviations 1 and 10. The test row (4, 40) becomes (2, 2), whoever stands beside it.
#
# **Exercise 07.2** (easy, 5 minutes). Standardise `train` (N, D) and `test` (M, D), and give back both. A coordinate that never
# changes has deviation 0: keep clear of dividing by it. Divide squares by N (`unbiased=False`).


# %%
def standardised(train, test):
    #: your turn: statistics of one part, used on both
    centre, deviation = train.mean(dim=0), train.std(dim=0, unbiased=False).clamp_min(1e-6)
    return (train - centre) / deviation, (test - centre) / deviation
    #: end


standardised = check("07.2", standardised)

# %% [markdown]
# And the leak? Let the test pictures arrive class by class, one shelf of the toy shop after the other, and standardise each
# delivery by its own statistics. Nothing about the network or the layer has changed.

# %%
x, y = standardised(bank, queries)
weight, bias = linear.fit_linear(x, labels, 10, linear.LinearProtocol())
right = int(((y @ weight.T + bias).argmax(dim=1) == truth).sum())
leaky = 0
for label in range(10):
    delivery = standardised(queries[truth == label], queries[truth == label])[1]  # its own statistics
    leaky += int(((delivery @ weight.T + bias).argmax(dim=1) == label).sum())
print(f"linear, right of 2,000: with training statistics {right}, with each delivery's own {leaky}")

# %% [markdown]
# All pictures of a delivery are of one class, so its mean is what they have in common: taking it off takes the class off, and
# little more than guessing is left (200 of 2,000 would be chance). A leak does not always flatter. It makes a number that
# depends on who else was tested, and then it is no longer a number about your network. (BatchNorm left in training mode
# does the same, unseen.)
#
# ## How sure is a number?
# Think of each test picture as a coin that falls right with probability p. Over n pictures, the share of right ones has the
# standard error $\sqrt{p(1-p)/n}$, and 95 % of such measurements lie within 1.96 standard errors of p. By hand: half of 100
# pictures right gives a standard error of 0.05, and 1.96 of them are 0.098. So "50 %" on 100 pictures means "40 to 60 %".
#
# **Exercise 07.3** (easy, 4 minutes). The 0.098 of the example: 1.96 standard errors, for a `share` of right answers from 0
# to 1 and a number of `pictures`. Plain numbers, `math.sqrt`.


# %%
def half_width(share, pictures):
    #: your turn: 1.96 standard errors
    return 1.96 * math.sqrt(share * (1 - share) / pictures)
    #: end


half_width = check("07.3", half_width)

# %% [markdown]
# That is the doubt from the test set alone. Another seed gives another network, and that doubt has to be *measured*, by running again.
# The package comes with records of three seeds of each method, trained for longer (45 seconds), at 32 pixels:

# %%
saved = json.loads((records.KEPT / "toybox" / "compare.json").read_text())
print("linear accuracy, 2,000 test pictures; the range of three seeds, beside the 95 % interval of one run")
for name in ("simclr", "moco", "mcl", "cgh", "supervised"):
    found = [run["linear"]["top1"] for run in saved["rows"][name]["runs"]]
    seeds = f"{100 * min(found):5.1f} to {100 * max(found):5.1f}"
    own = 100 * half_width(mean(found), 2000)
    print(f"{name:11s} {seeds}   one run {100 * mean(found):.1f} ± {own:.1f}")
real = pretrained.load_features()
known, asked = torch.randperm(2000, generator=torch.Generator().manual_seed(0)).split(1000)
y = real.labels
print("\nkNN 20 on the same 1,000 pictures;    bank:   125    250    500  1,000")
for name in ("simclr", "mnclglf", "supervised"):
    x = real.features[name]
    shares = [top1(x[known[:n]], y[known[:n]], x[asked], y[asked], k=20) for n in (125, 250, 500, 1000)]
    print(f"{name:42s}" + "".join(f"{100 * share:7.1f}" for share in shares) + " %")
words = "A row a method, a dot a seed, kNN left, linear right: supervised, SimCLR and MoCo ahead; many rows overlap."
sheets.Shown(compare.picture(saved), words)

# %% [markdown]
# In the picture, look for rows whose dots overlap. For MCL and CGH the seeds lie much farther apart than the interval of one
# run suggests: that interval knows nothing of other seeds. For MoCo and the supervised row they lie close together. Two
# methods whose dots overlap have not been told apart, and one seed each would have told whichever story it happened to tell.
#
# The second table is about one more thing that a number depends on: the *size of the bank*. The package comes with what slim
# networks, trained on CIFAR-10 for some minutes, say of 2,000 real test pictures. A thousand of them are asked, always the same; of
# the others more and more are the bank.
#
# Nothing was learned from left to right, and yet the two networks that were trained without labels gain over ten points. The
# supervised one hardly gains after 250: its classes lie together already. With 45,000 pictures as the bank, the very ones that it was
# trained on, SimCLR's network reaches 56. So a kNN accuracy without its bank cannot be compared with another.
#
# ## Leak 1: the best of many
# Here are a hundred networks that know *nothing*: they guess. We test all of them on 200 pictures and report the best one.

# %%
dice = torch.Generator().manual_seed(0)
guesses = torch.randint(0, 10, (100, len(truth)), generator=dice)
scores = (guesses[:, :200] == truth[:200]).double().mean(dim=1)
best = int(scores.argmax())
fresh = float((guesses[best, 200:] == truth[200:]).double().mean())
print(f"all hundred: {100 * scores.mean():.1f} % on average, each ± {100 * half_width(0.1, 200):.1f}")
again = f"{100 * fresh:.1f} % ± {100 * half_width(0.1, 1800):.1f}"
print(f"the best: {100 * scores[best]:.1f} %. The same one on 1,800 fresh pictures: {again}")

# %% [markdown]
# The best of many is the luckiest of many. Choosing the epoch, k, the temperature or the learning rate by the test accuracy does
# the same with fewer candidates. So the package has three parts: train, **hold-out** for every choice, and test for the last
# line only. The released code of MNCLGLF reports the best of many tests; we come to that at the end.
#
# ## Leak 2: doubles
# Test pictures that are in the bank as well find themselves. It happens: two crawls of the same source, an augmented copy, a
# set that was joined twice. We plant 500 of the 2,000 test pictures in the bank, labels and all.

# %%
planted = splits.test.images[:500]
bank_2 = torch.cat([bank, queries[:500]])
labels_2 = torch.cat([labels, truth[:500]])
for k in (1, 20):
    clean, leaked = (top1(*pair, queries, truth, k) for pair in ((bank, labels), (bank_2, labels_2)))
    print(f"k {k:2d}: clean bank {100 * clean:.1f} %, with the planted ones {100 * leaked:.1f} %")
own = top1(queries, truth, queries, truth, k=1)
print(f"k  1, and the bank is the test set itself: {100 * own:.1f} %")

# %% [markdown]
# **Exercise 07.4** (medium, 6 minutes). Find them. `doubles(queries, bank)` takes pictures, uint8 (M, 3, H, W) and (N, 3, H, W),
# and says of each query whether the very same picture lies anywhere in the bank: bool (M,). A picture's bytes are
# `picture.numpy().tobytes()`.


# %%
def doubles(queries, bank):
    #: your turn: remember the bank's pictures, look each query up
    known = {picture.numpy().tobytes() for picture in bank}
    return torch.tensor([picture.numpy().tobytes() in known for picture in queries])
    #: end


doubles = check("07.4", doubles)

# %% [markdown]
# With it, look through the bank as it was and the bank with the planted pictures. (It finds exact copies. Nearly equal ones
# need features, and a look with your own eyes.)

# %%
before, after = splits.train.images, torch.cat([splits.train.images, planted])
for name, pictures in (("the bank as it was", before), ("the bank with planted ones", after)):
    print(f"{name}: {int(doubles(splits.test.images, pictures).sum())} of the test pictures lie in it")

# %% [markdown]
# ## Few labels
# What are features without labels good for? For when labels are few. We give a linear layer on the frozen features 1, 5, 20 and
# 100 labelled pictures a class. Its rival is the same network, trained from scratch on the very same labelled pictures.
#
# The rival is trained twice: with plain crops, as one does with labels, and with the strong colour changes that SimCLR had.
# (Labelled pictures are repeated until they fill an epoch.) In the plot, compare the three lines at 5 labels, then at 100.


# %%
def taught(each, view):
    index = linear.few_labels(labels, each, 10, seed=0)
    few = splits._replace(train=splits.train.subset(index.repeat(-(-10_000 // len(index)))))
    recipe = preset("quick", "supervised", "toybox", batch_size=64, steps=200, precision="fp32")
    run = train(recipe.replace(view=view), few, device="cpu", log=lambda text: None)
    logits = run.method.eval().classifier(extract_features(run.backbone, splits.test))
    return [float((logits.argmax(dim=1) == truth).double().mean())]


frozen = linear.few_label_curve(bank, labels, queries, truth, 10, each=(1, 5, 20, 100))
curves = {"frozen features, linear": {each: frozen[each] for each in (1, 5, 20, 100)}}
curves["supervised, plain crops"] = {each: taught(each, plain.views.view) for each in (5, 20, 100)}
curves["supervised, SimCLR's views"] = {each: taught(each, colourful.views.view) for each in (5, 20, 100)}
note = "Toy box, 24 pixels, 2,000 test pictures, seed 0; frozen: three draws of labels; supervised: one, 200 steps"
plot = plots.label_curves(curves, chance=0.1, title="Who wins depends on the rival", note=note)
words = "Accuracy by labels a class: frozen features rise slowly; plain supervised starts at chance and overtakes; "
words += "supervised with SimCLR's views is ahead at five labels and gains nothing from more."
sheets.Shown(plot, words)

# %% [markdown]
# Take five labels a class first. Against the plain rival the frozen features win: it is hardly better than chance. That is the
# usual story, and it is half of it. The third line is the fairer rival, and with the *same views* it goes farther than both.
# So part of what looked like the worth of learning without labels was the worth of knowing that colour does not matter.
#
# With a hundred labels a class the plain rival is far ahead. The third line gains nothing from more labels: most likely 200
# steps are too few for so strong views. (Tiny runs, one seed, the rivals' rates found in a few trials. A longer SimCLR run
# stands higher, see the dots above. Yet the question stays: what did *you* know beforehand, and did your rival get to know it?)
#
# ## What was let vary is forgotten
# The toy box knows every factor of its pictures: where the toy lies, how it is stretched and turned, its hue, the light. A linear map, fitted
# on train, tries to read each from the features of test. Our two networks differ in a single thing: changes of colour.

# %%
guess_2 = Predict(
    "Which network will still know the colour of the *ground*?",
    ["the one that saw colours change", "the one that never saw them change", "both alike"],
)
guess_2

# %% [markdown]
# The numbers are R² of a ridge regression: 1 if all of a factor's variance is read, 0 if none (or worse: shown as 0). For
# `toy_is_bright`, which is yes or no, and for the class it is the accuracy.

# %%
kept = {}
for name in ("random encoder", *runs):
    x, y = (extract_features(encoders[name], part) for part in (splits.train, splits.test))
    kept[name] = linear.factor_probe(x, splits.train.factors, y, splits.test.factors, toybox.PERIODS)
values = {factor: [max(0, each[factor]["value"]) for each in kept.values()] for factor in toybox.FACTORS}
lines = [[factor, *(f"{value:.2f}" for value in found)] for factor, found in values.items()]
classes = ["class (accuracy)", *(f"{rows[name]['linear']['top1']:.2f}" for name in kept)]
print(format_table(["factor", *kept], [*lines, classes]))
guess_2.reveal("the one that never saw them change", "for it, colours told which views belong together")

# %% [markdown]
# Compare the last two columns. Where colours changed from view to view they could not help to find the pair: the hue of the
# ground is forgotten, and place, size, light and class can be read instead. Where colours did not change they were enough to
# find the pair, and nearly all that can be read. (Views are also mirrored left to right at random: that is why *x*
# is harder to read than *y*.)
#
# Neither network is *the better one*. For sorting toys by shape take the first, for sorting pictures by their background the
# second. An augmentation is a statement about what you will never ask.
#
# ## The paper's protocol
# MNCLGLF's released code measures in yet another way: a linear layer trained for 90 epochs on freshly cut crops with an
# optimiser called LARS, tested every five epochs, and of all tests the *best* is kept. The package has it, `paper_probe`, and
# reports the last test first. Here it has six epochs, and a larger step (`trust`) than the released 0.001.

# %%
protocol = paper_probe.PaperProtocol(epochs=6, trust=0.02, test_every=1)
network = runs["SimCLR"].backbone
found = paper_probe.paper_probe(network, splits.train, splits.test, protocol, log=lambda text: None)
print("each epoch:", "  ".join(f"{100 * test['top1']:.1f}" for test in found["tests"]))
last, best = found["last"]["top1"], found["best_on_test"]["top1"]
above = rows["SimCLR"]["linear"]["top1"]
print(f"last {100 * last:.1f}, best {100 * best:.1f}; the linear column of the table: {100 * above:.1f}")
print(", ".join(f"{name} {value}" for name, value in asdict(protocol).items()))

# %% [markdown]
# Same network, same test pictures, and far from the linear column above: six epochs of small steps on crops are another
# protocol than a layer fitted to its end on whole pictures. And best against last? The best can never lie below the last: it is
# a maximum, chosen with the test labels. Where accuracy still climbs, the two agree or nearly so. Where it wavers, the
# best is ahead: a bias that always points the same way. Which of the two do you see above?
#
# ## A list to go by
# 1. Baselines under the same protocol: pixels, thumbnails, the untrained network.
# 2. The protocol beside the number. Choices on the hold-out, the test part for the last line.
# 3. Several seeds, as dots. With one seed only, at least the interval that the size of the test set gives.
# 4. No statistic from the test part, no double in the bank.
# 5. A fair rival, and a word on what the augmentation took away.
#
# ## Where things are
# * In `mnclglf_lite.evaluation`: features, baselines and all protocols in one table (`evaluate`); what you wrote, few labels and
#   factors (`knn`, `linear`); the paper's linear protocol (`paper_probe`).
# * From the command line: `mnclglf-lite evaluate runs/first --split test --factors`, and `mnclglf-lite compare --seeds 0,1,2`.

# %%
progress("07")

# %% [markdown]
# **Two questions to take along.** A colleague reports 90.2 % and a rival 89.7 %, one seed each, 10,000 test pictures: what
# would you ask first? (`half_width(0.9, 10_000)` has a part of the answer.) And which factor of *your* pictures do you let
# vary in training, although you will ask about it later?
#
# *Next:* [08 · Relatives](08_relatives.ipynb), ten methods as small changes of one picture.
