"""Core: what knows nothing of learning, and what every other package builds on.

config.py        a setting: its default, unit, source and bounds; `Config` checks itself
errors.py        InputError and TrainingError: what came, what was expected, what to do
files.py         files that are never half written; JSON lines; where the checkout lies
text.py          tables, durations and counts as text
progress.py      how far long work has come, in one line
schedules.py     the learning-rate schedule: warm-up and cosine decay
device.py        which device, in which precision, on how many threads; the hardware in words
version.py       the version of the package
distributed.py   many processes that share a batch: all-gather with gradient, broadcast, barrier
"""
