"""The loss explorer: every similarity of a small batch, and what a loss and its temperature make of it.

batch.py         a batch of embeddings: drawn with given cosines, or encoded from images
pairs.py         every loss as a function of similarities: value, gradient on each pair, least possible value
temperature.py   the loss over temperatures, and how few pairs carry its gradient
matrices.py      matrices as images: cells, numbers, arrows
figure.py        similarity matrix, softmax rows, gradients, one anchor's row, curves over temperature
words.py         the figure in sentences
widget.py        LossExplorer
"""
