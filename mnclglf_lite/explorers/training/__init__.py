"""The training board: losses, learning rate and kNN accuracy of a run while it trains.

progress.py   what is read from a run now and then, and the time left
figure.py     curves of the losses and of what is measured each epoch
widget.py     TrainingBoard
"""
