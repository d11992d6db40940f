"""Notebook 06: one embedding, three maps, and a row of true neighbours."""

import numpy as np
from PIL import Image, ImageDraw

from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, FAINT, GREY, INK, class_style
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.evaluation.knn import nearest_neighbours
from mnclglf_lite.evaluation.layouts import pca, subsample, tsne, umap
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.training import train

SIDE, GAP, TILE, K = 280, 24, 64, 9


def draw():
    splits = load_dataset("toybox")
    run = train.train(preset("quick", "simclr", "toybox", steps=500), splits, log=lambda text: None)
    toys = splits.test.subset(subsample(len(splits.test), 500))
    x = extract_features(run.backbone, toys)
    layouts = {"PCA": pca(x), "t-SNE": tsne(x), "UMAP": umap(x, seed=0)}
    sheet = Image.new("RGB", (3 * SIDE + 2 * GAP + 28, SIDE + TILE + 118), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (name, points) in enumerate(layouts.items()):
        x0, y0, points = 14 + k * (SIDE + GAP), 34, points.numpy()
        low, high = points.min(axis=0), points.max(axis=0)
        scale, middle = (SIDE - 24) / (high - low).max(), (low + high) / 2
        pen.text((x0, 8), name, INK, canvas.font(17))
        pen.rectangle((x0, y0, x0 + SIDE, y0 + SIDE), outline=FAINT)
        for (a, b), label in zip(
            (points - middle) * scale * np.array([1, -1]) + SIDE / 2, toys.labels.tolist(), strict=True
        ):
            pen.ellipse((x0 + a - 3, y0 + b - 3, x0 + a + 3, y0 + b + 3), class_style(label)[0], outline="white")
    _, near = nearest_neighbours(x, x, K, exclude_self=True)
    agree = (toys.labels[near] == toys.labels[:, None]).float().mean(dim=1)
    query = int((agree - 0.7).abs().argmin())  # a picture with some neighbours of other kinds: they teach more
    tiles, y = canvas.pixels(toys.images), SIDE + 78
    pen.text((14, SIDE + 48), "neighbours in the full space (no map is asked)", INK, canvas.font(17))
    for k, i in enumerate([query, *near[query].tolist()]):
        x0 = 14 + k * (TILE + 20) + (16 if k else 0)
        sheet.paste(Image.fromarray(tiles[i]).resize((TILE, TILE), Image.Resampling.NEAREST), (x0, y))
        if k:
            same = bool(toys.labels[i] == toys.labels[query])
            canvas.frame(pen, (x0 - 3, y - 3, x0 + TILE + 2, y + TILE + 2), AGREE if same else DISAGREE, dash=not same)
            canvas.badge(pen, (x0 + TILE - 15, y + TILE - 15), AGREE if same else DISAGREE, same)
    pen.text((14 + TILE / 2, y + TILE + 4), "query", GREY, canvas.font(12), anchor="ma")
    return sheet
