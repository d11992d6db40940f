# %% [markdown]
# # 02 · The contrastive loss by hand
#
# ![Three tables of six rows and six columns, a view of a toy at each row and column. Left their similarities, largest on the diagonal where two views of one picture meet; in the middle the same as shares that sum to one in each row; right the pull on the diagonal and the push beside it](heroes/02.png)
#
# After this notebook you will be able to
#
# * **derive** InfoNCE and NT-Xent and write each in a few lines,
# * **see** what a loss sees: a table of similarities, the shares it makes of them, the pull and push that it sends back,
# * **choose** a temperature, and say what a temperature of 1 does to the loss.
#
# *You need:* notebook 01; any computer, under a minute of computing, no download. Reading and exercises: 40 minutes.

# %%
import math

import torch
import torch.nn.functional as F

from mnclglf_lite import load_dataset
from mnclglf_lite.course.checks import check, hint, progress, solution
from mnclglf_lite.course.predict import Predict
from mnclglf_lite.drawing import sheets
from mnclglf_lite.drawing.heatmap import side_by_side
from mnclglf_lite.views.view import View, render_view, sample_params

# %% [markdown]
# ## A quiz without labels
# Take eight pictures and cut two random views of each. A network turns every view into an *embedding*: a list of numbers.
# Nobody says what is in the pictures. The only thing known is which two views come from the same one.
#
# So we set a quiz: **here is a view; which of these eight is the other half of its pair?** To answer well, a network has to
# keep what two views of a picture share, and what other pictures do not. Below: eight pictures, view a of each on top, view b
# beneath it.

# %%
toys = load_dataset("toybox").test
batch = toys.subset(torch.arange(8))
view = View(scale=(0.4, 1.0), gray_p=0.2, blur_p=0.0)
generator = torch.Generator().manual_seed(2)
pair = [render_view(batch.images, view, sample_params(view, 8, (32, 32), generator), normalise=False) for _ in range(2)]

# %%
names = [f"{side}{i + 1}" for side in "ab" for i in range(8)]
sheet = sheets.contact_sheet(torch.cat(pair).clamp(0, 1), columns=8, labels=names, title="Eight pictures, two views of each")
sheets.Shown(
    sheet,
    "Two rows of eight small pictures. Below each other stand two views of the same toy, cut and coloured differently.",
)

# %% [markdown]
# ## How alike are two embeddings?
# An embedding points somewhere. Only its *direction* is compared, never its length: otherwise a network could win by
# shouting, making vectors longer, without learning anything. The measure is the cosine of the angle between two of them:
# 1 for the same direction, 0 for a right angle, -1 for opposite ones.
#
# $$s(a, b) = \frac{a \cdot b}{|a|\,|b|}$$
#
# **Exercise 02.1** (easy, 4 minutes, used in all that follows; may be skipped). Write `cosines(a, b)`: every row of `a`
# against every row of `b`, in one table. Rows are embeddings: `a` is (N, D), `b` is (K, D), the table (N, K).


# %%
def cosines(a, b):
    #: your turn: lengths out, then all dot products at once
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    #: end


cosines = check("02.1", cosines)

# %% [markdown]
# Stuck? `hint("02.1")` gives a nudge, a second call a larger one. `solution("02.1")` shows code that works. Nothing is
# counted or sent anywhere.

# %%
hint("02.1")

# %% [markdown]
# For now the embeddings are made up: eight random directions `a`, and for the second views `b` the same ones with noise. That
# is how a network might answer that is half way there. Row i, column k: how alike are a of picture i and b of picture k?

# %%
rng = torch.Generator().manual_seed(0)
a = torch.randn(8, 16, generator=rng)
b = a + 0.9 * torch.randn(8, 16, generator=rng)
s = cosines(a, b)
sheets.Shown(
    side_by_side(s, s.diag().diag(), ("cosines of a and b", "of those, the eight true pairs")),
    "Two tables of eight by eight numbers. Left: all similarities, largest on the diagonal. Right: the diagonal alone.",
)

# %% [markdown]
# The diagonal holds the true pairs, the *positives*. All else are *negatives*: views of other pictures.
#
# ## From similarities to shares
# The quiz is a choice among N answers. The view that asks is the *anchor* $p_i$, the views to choose from are the *targets*
# $c_1$ to $c_N$, and $c_i$ is the right one. Similarities become shares by the *softmax*: each is divided by a *temperature*
# T, put into the exponential function, and divided by the sum of its row. The share of the right answer is to be large, so
# the loss is minus its logarithm: 0 for a share of 1, and the larger the smaller the share.
#
# $$\ell_i = -\log \frac{e^{s(p_i,\,c_i)/T}}{\sum_{k=1}^{N} e^{s(p_i,\,c_k)/T}}$$
#
# This is **InfoNCE**, and T says how much a difference in similarity counts. Two pictures, by hand: let the two targets be at
# right angles, each anchor exactly on its own, T = 1. Then an anchor sees the similarities 1 and 0, its share is $e^1 / (e^1 + e^0)$, and the loss is
# $-\log(e/(e+1)) = \log(1 + e^{-1})$.

# %%
print(f"by hand: {math.log(1 + math.exp(-1)):.4f}")

# %%
guess = Predict(
    "Eight pictures, T = 0.2, and a network that gives every view the very same embedding. What is the loss?",
    ["0: all positives are perfect", "ln 8 = 2.08: pure guessing", "8: one for each picture"],
)
guess

# %% [markdown]
# **Exercise 02.2** (medium, 6 minutes). Write InfoNCE for anchors `p` and targets `c`, both (N, D): one number, the mean over
# the anchors. `F.cross_entropy(table, answers)` is at hand.


# %%
def info_nce(p, c, temperature):
    #: your turn: a table of logits, and the right answer of each row
    logits = cosines(p, c) / temperature
    return F.cross_entropy(logits, torch.arange(len(p)))
    #: end


info_nce = check("02.2", info_nce)

# %% [markdown]
# Now the prediction: everything collapsed into one point.

# %%
same = torch.ones(8, 16)
print(f"loss of eight equal embeddings: {float(info_nce(same, same, 0.2)):.4f}")
guess.reveal("ln 8 = 2.08: pure guessing", "all answers look alike, so each gets a share of 1/8. Collapse is punished.")

# %% [markdown]
# Negatives are what keeps a contrastive method from collapsing: a network that says the same of everything has the loss of
# pure guessing. (Methods without negatives need other means: notebook 03.)
#
# ## Everybody asks: NT-Xent
# SimCLR's loss lets *all* 2N views be anchors, and an anchor meets the views of its own side as negatives too. Each of them
# looks for one partner among 2N - 1 others. One thing must not happen: that a view meets **itself**, which would be a perfect
# match for nothing.
#
# Here is the table of the first four pictures, rows and columns a1 to a4, then b1 to b4. The ones on the diagonal are views
# that meet themselves: they must not count. The positives stand on two side diagonals, four places off.

# %%
both = torch.cat([a[:4], b[:4]])
full = cosines(both, both)
partner = torch.zeros(8, 8)
partner[torch.arange(8), torch.arange(8).roll(4)] = 1
sheets.Shown(
    side_by_side(full, full * partner, ("all 8 views of 4 pictures against all", "the 8 positives")),
    "Left: a table of 8 by 8 similarities with ones on the diagonal. Right: only the two side diagonals, where partners meet.",
)

# %% [markdown]
# **Exercise 02.3** (hard, 8 minutes). Write NT-Xent: `a` and `b` are (N, D), row i of both is picture i, the answer is one
# number, the mean over all 2N anchors. For two pictures with embeddings at right angles, both views alike and
# T = 1, an anchor sees 1 (its partner), 0 and 0, so the loss is $\log(1 + 2e^{-1})$. The check tries that too.


# %%
def nt_xent(a, b, temperature):
    #: your turn: 2N rows, no one meets himself, the partner is N rows further on
    both = torch.cat([a, b])
    logits = cosines(both, both) / temperature
    logits = logits.fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(both)).roll(len(a)))
    #: end


nt_xent = check("02.3", nt_xent)

# %% [markdown]
# ## What the loss sends back
# A network learns by the gradient: how much does the loss change when one similarity changes a little? A step downhill goes
# against it. So where the gradient is negative, the pair is *pulled* together; where it is positive, it is *pushed* apart. For
# InfoNCE it comes out simple: the shares themselves, with 1 taken off at the positive, times a factor.
#
# **Exercise 02.4** (medium, 6 minutes). From the table of similarities (N, N), positives on its diagonal, to the gradient of
# the loss, (N, N), by hand. Mind two factors: the loss is a mean over N anchors, and s is divided by T before the softmax.


# %%
def pull_and_push(similarity, temperature):
    #: your turn: softmax of each row, the positive taken off, the two factors
    share = (similarity / temperature).softmax(dim=1)
    return (share - torch.eye(len(share))) / temperature / len(share)
    #: end


pull_and_push = check("02.4", pull_and_push)

# %% [markdown]
# Left the similarities, right minus the gradient at T = 0.1, divided by its largest number so that small ones show: blue pulls
# a pair together, orange pushes it apart. Most negatives get next to nothing: those are pushed that come close to being
# mistaken for the positive. And rows that are answered well get little of anything. Which row is answered worst, and by what is it tempted?

# %%
pull = -pull_and_push(s, 0.1)
sheets.Shown(
    side_by_side(s, pull / pull.abs().max(), ("similarities", "minus the gradient at T = 0.1, the largest is 1")),
    "Left: similarities of eight anchors and targets. Right: minus the gradient; blue on the diagonal, orange at a few negatives.",
)

# %% [markdown]
# ## Feel the temperature
# The explorer below does all of this for every loss of the package, on a batch of its own: rows A1 to H1 are anchors, columns
# A2 to H2 their targets. A guess first; then move the temperature from 0.02 to 2 and watch three things: how many negatives
# share the push (lower right), how far the best possible loss lies from a hopeless one (above it), and who is pushed most
# (the right table). Press a row's name at the left to see it in numbers.

# %%
guess_t = Predict(
    "At which temperature do ALL negatives get nearly the same push, however close they are?",
    ["T = 0.02", "T = 0.2", "T = 2"],
)
guess_t

# %%
from mnclglf_lite.explorers import LossExplorer

LossExplorer()

# %% [markdown]
# The same in numbers, for our own eight pairs: the share of all push that goes to each anchor's single hardest negative, on
# average. Seven negatives that share alike get 14.3 % each. Beside it the loss, and the least that it could be for *any* eight
# pairs: that is reached where the pictures lie as far from each other as they can, all at a cosine of -1/7.

# %%
for temperature in (0.02, 0.2, 1.0, 2.0):
    push = pull_and_push(s, temperature).clamp(min=0)
    hardest = (push.max(dim=1).values / push.sum(dim=1)).mean()
    loss, least = float(info_nce(a, b, temperature)), math.log(1 + 7 * math.exp(-8 / 7 / temperature))
    print(f"T = {temperature:4.2f}: hardest negative {100 * hardest:4.1f} % of the push;", end=" ")
    print(f"loss {loss:.3f}, guessing {math.log(8):.3f}, at best {least:.3f}")

# %%
guess_t.reveal("T = 2", "similarities between -1 and 1 are divided by 2, so the softmax hardly tells them apart")

# %% [markdown]
# At T = 1 even a perfect embedding of eight pictures keeps more than half the loss of pure guessing, and the gradient treats a near miss nearly
# like a stranger. At T = 0.02 the loss of our half-way network is 0 already: only the hardest negatives count, and where they
# are beaten nothing is left to learn from.
#
# The released code of MNCLGLF runs both its losses at T = 1, and its files for MoCo v2 and SimCLR, to compare with, set T = 1
# too. SimCLR's authors used 0.1 on ImageNet and 0.5 on CIFAR-10. Keep that in mind when you compare tables (notebook 09).
#
# ## Where things are
# * `losses.info_nce`, `losses.nt_xent` in `mnclglf_lite.losses` are what you wrote; their tests compare with slow loops.
# * `LossExplorer` knows the other losses of the package too: MoCo's queue, BYOL's cosine, soft targets, labelled positives.

# %%
progress("02")

# %% [markdown]
# **Two questions to take along.** Two *different* pictures of the same class push each other apart, and nothing here forbids
# it: what does a network lose by that? With a batch of 8 there are 7 negatives: what changes with 4,096?
#
# *Next:* [03 · Several networks](03_several_networks.ipynb), who teaches whom, and where the gradient ends.
