"""Results: finished runs, read, compared and reported; the numbers that others published stand apart.

compare.py       several methods and seeds under one protocol, in one table and one figure
records.py       finds runs in folders and reads their files
summary.py       accuracies of runs with their protocol, in numbers and in words
paired.py        paired differences between variants over the same seeds, with 95 % confidence intervals
published.py     published accuracies, each with its protocol and source
paper_table.py   the paper's table beside our own runs
pretrained.py    the backbones, features and maps that come with a checkout
export.py        a backbone as safetensors under torchvision's key names, and back
"""
