"""The exercises, read by `checks`: what is asked, the typical mistakes, and the hints.

e01.py   boxes, crops, overlap of two boxes, what a box shows, choosing a view
e02.py   similarities, InfoNCE, NT-Xent, and their gradients
e03.py   stop-gradient, momentum encoder, queue, nearest neighbour, where gradient arrives
e04.py   patches, combinations, local targets, the local term, the whole loss of MNCLGLF
e05.py   the learning-rate schedule, one training step, two measures of collapse
e06.py   what a map keeps: variance shown, true neighbours, hubs
e07.py   kNN votes, statistics of the right split, confidence intervals, duplicates
e08.py   the few lines in which other methods differ from SimCLR
e09.py   steps and cost of a run, what to report, how to compare tables
"""

from __future__ import annotations
