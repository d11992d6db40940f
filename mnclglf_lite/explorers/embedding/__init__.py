"""The embedding map: features laid out in the plane, with the true neighbours of every image.

state.py    what the map's script reads: points, labels, neighbours, images
page.py     the map as one HTML file, and two figures for a report
map.js      the script, in a notebook as in a page
map.css     its style
page.html   the frame of the page
widget.py   EmbeddingMap
"""
