"""Drawing: arrays in, figures out. Nothing here computes a result, and nothing opens a window.

canvas.py      `Drawing`, what an explorer's figure is; pixels from arrays, sheets, fonts, frames, marks, places of labels
palette.py     colours and markers that can be told apart with every kind of colour vision; ink that can be read on them
heatmap.py     numbers as colours: the signed scale and ramps; two tables of numbers side by side
strokes.py     lines, dashes, boxes and arrows of diagrams
linechart.py   small line charts, fast enough for a slider and for a run that trains
plots.py       matplotlib figures: maps, curves, bars with dots
dotplot.py     methods in rows, seeds as dots, baselines as lines
sheets.py      contact sheets, views of an image, rows of nearest neighbours; saving a figure
"""
