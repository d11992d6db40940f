"""Evaluation: features of a frozen backbone, extracted once, and what is measured on them.

evaluate.py      `extract_features`, baselines (raw pixels, thumbnails, an untrained network), all measures in one call
knn.py           kNN accuracy, with k, temperature, weighting and whitening as a protocol
linear.py        linear probes: classes, few labels, the toy box's factors
paper_probe.py   the paper's linear protocol: LARS, 90 epochs of random crops
collapse.py      feature standard deviation, effective rank (RankMe), alignment, uniformity
layouts.py       PCA, t-SNE and UMAP: features laid out in the plane
"""
