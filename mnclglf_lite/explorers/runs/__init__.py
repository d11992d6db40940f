"""The run comparer: finished runs side by side.

curves.py       losses and measures over training
dots.py         final accuracies as dots, with published numbers as reference marks
neighbours.py   the nearest neighbours of one image in the features of each method
widget.py       RunComparer
"""
