"""The network diagram: one training step of a method, traced while it runs, as a graph of calls and gradients.

tracer.py       runs a copy of a method for one step and builds its graph
recorder.py     the calls of its networks, the gradients that arrive, the target networks that move
provenance.py   which tensor was made of which, and where a gradient was cut
modules.py      which modules are networks, which share an architecture, which is the EMA of which
graph.py        the graph as data: nodes, edges, networks
layout.py       where boxes stand: columns, order, heights
diagram.py      the graph as a diagram
figure.py       the diagram with the tensor behind one of its boxes
words.py        the graph in sentences
widget.py       NetworkDiagram
"""
