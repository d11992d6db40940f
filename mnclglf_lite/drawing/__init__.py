"""Drawing: arrays in, figures out. Nothing here computes a result, and nothing opens a window.

canvas.py      pixels from arrays, a sheet with title and note, fonts, frames, marks
palette.py     colours and markers that can be told apart with every kind of colour vision
heatmap.py     numbers as colours, with a scale; two tables of numbers side by side
strokes.py     lines, boxes and arrows of diagrams
linechart.py   small line charts, fast enough for a slider
plots.py       matplotlib figures: maps, curves, bars with dots
dotplot.py     methods in rows, seeds as dots, baselines as lines
sheets.py      contact sheets, views of an image, rows of nearest neighbours; saving a figure
"""
