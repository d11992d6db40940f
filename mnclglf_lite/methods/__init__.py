"""Methods: one file each, under one contract. What a paper leaves open and what we inferred is in the file's docstring.

base.py         what every method promises: views, loss, bookkeeping after the step, backbone
knobs.py        settings that several methods share; a method's own are a dataclass of those that it reads
registry.py     methods by name, and `register_method` for one of your own
multicrop.py    small extra views, anchors and never targets, for SimCLR, BYOL and MNCLGLF
simclr.py       SimCLR: NT-Xent between two views, negatives from the batch
moco.py         MoCo v2: a momentum encoder and a queue of negatives
simsiam.py      SimSiam: no negatives; a predictor and a stop-gradient
byol.py         BYOL: no negatives; a predictor and a target network
nnclr.py        NNCLR: the positive is the nearest neighbour in a queue
fastmoco.py     Fast-MoCo: pairs of patches predict the target network's embedding of the other view
mnclglf.py      MNCLGLF: several networks, global and local features; as drawn and as released
mcl.py          MCL: several networks that learn together, with and without labels
cgh.py          CGH: distributions over a queue, taught across pooled features and hypercolumns
glnet.py        GLNet: montages of quarters; which belong together, and where each was
supervised.py   cross-entropy with labels: the reference
"""
