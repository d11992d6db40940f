"""The queue explorer: the nearest neighbours of an image in a queue, while the queue fills.

replay.py   what is in the queue after each batch, and how often a nearest neighbour is of the same class
figure.py   the query, its nearest entries, the queue, and agreement over time
widget.py   QueueExplorer
"""
