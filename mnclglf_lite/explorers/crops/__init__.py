"""The crop explorer: where the crops of a view fall, and how much of the object they show.

sample.py     boxes of 200 draws of a recipe's views of one image, and the views of the first draw
coverage.py   areas, overlaps and the share of the object in the boxes; the target to reach
figure.py     the image with its boxes, the views, and density maps
words.py      the figure in sentences
widget.py     CropExplorer
"""
