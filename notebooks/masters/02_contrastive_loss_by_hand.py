# %% [markdown]
# # 02 · The contrastive loss by hand
#
# ![A table of similarities: bright on the diagonal where two views of one picture meet, dark elsewhere; below it the same table as shares that sum to one a row](heroes/02.png)
#
# After this notebook you will be able to
#
# * **derive** InfoNCE and NT-Xent and write each in a few lines,
# * **see** what a loss sees: a table of similarities, the shares it makes of them, the pull and push that it sends back,
# * **choose** a temperature, and say what a temperature of 1 does to a run.
#
# *You need:* notebook 01; any computer, under a minute of computing, no download. Reading and exercises: 40 minutes.

# %%
import math

import torch
import torch.nn.functional as F

from mnclglf_lite import data, figures, views
from mnclglf_lite.checks import check, hint, progress
from mnclglf_lite.number_table import side_by_side
from mnclglf_lite.widgets.predict import Predict

# %% [markdown]
# ## A quiz without labels
# Take eight pictures and cut two random views of each. A network turns every view into an *embedding*: a list of numbers.
# Nobody says what is in the pictures. The only thing known is which two views come from the same one.
#
# So we set a quiz: **here is a view; which of these eight is the other half of its pair?** To answer well, a network has to
# keep what two views of a picture share, and what other pictures do not.

# %%
toys = data.load("toybox").test
batch = toys.subset(torch.arange(8))
view = views.View(scale=(0.4, 1.0), gray=0.2, blur=0.0)
generator = torch.Generator().manual_seed(2)
pair = [views.render(batch.images, view, views.sample(view, 8, (32, 32), generator), normalise=False) for _ in range(2)]

# %%
names = [f"{side}{i + 1}" for side in "ab" for i in range(8)]
sheet = figures.contact_sheet(
    torch.cat(pair).clamp(0, 1), columns=8, labels=names, title="Eight pictures, two views of each"
)
figures.Shown(
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
# For now the embeddings are made up: eight directions, and for the second views the same ones with noise. That is a network
# which is half way there.

# %%
rng = torch.Generator().manual_seed(0)
a = torch.randn(8, 16, generator=rng)
b = a + 0.9 * torch.randn(8, 16, generator=rng)
s = cosines(a, b)
figures.Shown(
    side_by_side(s, s.diag().diag(), ("cosines of a and b", "of those, the eight true pairs")),
    "Two tables of eight by eight numbers. Left: all similarities, largest on the diagonal. Right: the diagonal alone.",
)

# %% [markdown]
# The diagonal holds the true pairs, the *positives*. All else are *negatives*: views of other pictures.
#
# ## From similarities to shares
# The quiz has a name in statistics: a choice among N answers. Similarities become shares by the *softmax*, and the share that
# the right answer gets is what we want to be large. A *temperature* T says how much a difference in similarity counts:
#
# $$\ell_i = -\log \frac{e^{s(p_i,\,c_i)/T}}{\sum_{k=1}^{N} e^{s(p_i,\,c_k)/T}}$$
#
# This is **InfoNCE**. Two pictures, by hand: let the two targets be at right angles, each anchor exactly on its own, T = 1.
# Then an anchor sees the similarities 1 and 0, its share is $e^1 / (e^1 + e^0)$, and the loss is
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
# Negatives are what keeps a contrastive method from collapsing: the loss of a network that says the same of everything is no
# better than guessing. (Methods without negatives need other means: notebook 08.)
#
# ## Everybody asks: NT-Xent
# SimCLR's loss lets *all* 2N views be anchors, and an anchor meets the views of its own side as negatives too. Each of them
# finds one partner among 2N - 1 others. One thing must not happen: that a view meets **itself**, which would be a perfect
# match for nothing.

# %%
both = torch.cat([a, b])
full = cosines(both, both)
partner = torch.zeros(16, 16)
partner[torch.arange(16), torch.arange(16).roll(8)] = 1
figures.Shown(
    side_by_side(full, full * partner, ("all 16 views against all", "the 16 positives")),
    "Left: a table of 16 by 16 similarities with ones on the diagonal. Right: only the two side diagonals, where partners meet.",
)

# %% [markdown]
# **Exercise 02.3** (hard, 8 minutes). Write NT-Xent. For two pictures with embeddings at right angles, both views alike and
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
# A network learns by the gradient. How much does the loss change when one similarity changes a little? Where the gradient is
# negative, the pair is *pulled* together; where it is positive, it is *pushed* apart. For InfoNCE it comes out simple: the
# shares themselves, with 1 taken off at the positive.
#
# **Exercise 02.4** (medium, 6 minutes). From the table of similarities (N, N) to the gradient of the loss, by hand. Mind that
# the loss is a mean over N anchors, and that s is divided by T before the softmax.


# %%
def pull_and_push(similarity, temperature):
    #: your turn: softmax of each row, the positive taken off, the two factors
    share = (similarity / temperature).softmax(dim=1)
    return (share - torch.eye(len(share))) / temperature / len(share)
    #: end


pull_and_push = check("02.4", pull_and_push)

# %% [markdown]
# Left the similarities, right the gradient at T = 0.1. Most negatives get nothing at all: only those that come close to being
# mistaken for the positive are pushed.

# %%
figures.Shown(
    side_by_side(s, pull_and_push(s, 0.1), ("similarities", "gradient at T = 0.1")),
    "Left: similarities of eight anchors and targets. Right: the gradient; blue on the diagonal, orange at a few close negatives.",
)

# %% [markdown]
# ## Feel the temperature
# The explorer below does all of this for every loss of the package. Move the temperature from 0.02 to 2 and watch three
# things: how many negatives share the push, how far the best possible loss lies from a hopeless one, and who is pushed most.
# Press a letter at the left to see its row in numbers.

# %%
guess_t = Predict(
    "At which temperature do ALL negatives get nearly the same push, however close they are?",
    ["T = 0.02", "T = 0.2", "T = 2"],
)
guess_t

# %%
from mnclglf_lite.widgets import LossExplorer

LossExplorer()

# %% [markdown]
# The same in numbers: the share of all push that goes to each anchor's single hardest negative.

# %%
for temperature in (0.02, 0.2, 1.0, 2.0):
    push = pull_and_push(s, temperature).clamp(min=0)
    hardest = (push.max(dim=1).values / push.sum(dim=1)).mean()
    flat = float(info_nce(a, b, temperature))
    print(
        f"T = {temperature:4.2f}: hardest negative gets {100 * hardest:5.1f} % of the push; loss {flat:.3f} (guessing {math.log(8):.3f})"
    )

# %%
guess_t.reveal("T = 2", "similarities between -1 and 1 are divided by 2, so the softmax hardly tells them apart")

# %% [markdown]
# At T = 1 the loss of a good embedding is hardly better than guessing, and its gradient treats a near miss like a stranger.
# The released code of MNCLGLF runs all its losses, and its baselines, at T = 1; SimCLR's own papers use 0.1 to 0.5. Keep that in
# mind when you compare tables (notebook 09).
#
# ## Where things are
# * `losses.info_nce`, `losses.nt_xent` in `mnclglf_lite.losses` are what you wrote; their tests compare with slow loops.
# * `LossExplorer` knows the other losses of the package too: MoCo's queue, BYOL's cosine, soft targets, labelled positives.

# %%
progress("02")

# %% [markdown]
# **Two questions to take along.** Why does nothing forbid that two *different* pictures of the same class push each other apart,
# and what would a network lose by it? With a batch of 8 there are 7 negatives: what changes with 4,096?
#
# *Next:* [03 · Several networks](03_several_networks.ipynb), who teaches whom, and where the gradient ends.
