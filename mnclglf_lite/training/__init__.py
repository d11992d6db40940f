"""Training: the loop, one step of it, and a run that can be interrupted and resumed.

train.py        the loop: draw a batch, make its views, step, log
prepare.py      what is checked and opened before the first step
recorder.py     what an epoch leaves: its line in the log, kNN accuracy and collapse measures of a small sample
interrupt.py    Ctrl-C between two steps; what to say when another process is lost
step.py         one step, and the three engines that run it: eager, compiled, captured
optimiser.py    SGD, and Muon for matrices with SGD for the rest
first_layer.py  a first convolution that starts from the components of image patches
run.py          Run: method, optimiser and position; the learning-rate schedule with its warm-up
checkpoint.py   the whole state of a run in one file
cost.py         parameters, image views and relative FLOPs of a method, before it is run
"""
