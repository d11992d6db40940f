"""Draw the picture at the head of the README: the same test pictures before and after training.

python docs/make_picture.py          about two minutes on two cores; writes docs/hero.png and docs/hero.json
"""

from pathlib import Path

from mnclglf_lite import checkpoint, data, device, evaluate, figures, maps, methods, plots, train
from mnclglf_lite.recipe import preset

HERE = Path(__file__).parent
STEPS, POINTS, SEED = 500, 1500, 0


def main() -> None:
    recipe = preset("quick", "mnclglf", "toybox", steps=STEPS, seed=SEED)
    splits = data.load("toybox")
    run = train.train(recipe, splits, device="cpu")
    untrained = evaluate.with_statistics(methods.build(recipe, 10).backbone, splits.train)
    part = splits.test.subset(maps.cap(len(splits.test), POINTS))
    rows = {"untrained": untrained, "MNCLGLF": run.backbone}
    flat = [maps.umap(evaluate.features(encoder, part), seed=SEED) for encoder in rows.values()]
    found = {name: evaluate.evaluate(encoder, splits, "test", ("raw",)) for name, encoder in rows.items()}
    names = tuple(f"{name}: kNN {100 * row['knn20']['raw']['top1']:.0f} %" for name, row in found.items())
    note = (
        f"{len(part):,} test pictures of the toy box; {maps.describe('umap', seed=SEED)}. kNN: k 20, T 0.1, all "
        f"{len(splits.test):,} test pictures. Trained without labels: {run.step} steps of {recipe.batch} "
        f"pictures, seed {SEED}, {run.seconds:.0f} s on {device.describe(part.device)}."
    )
    title = "What a network knows of ten toys, before and after training without labels"
    figures.save(plots.two_maps(*flat, part.labels, part.classes, names, title, note), HERE / "hero.png")
    result = {"recipe": recipe.to_dict(), "train_seconds": run.seconds, "rows": found}
    checkpoint.save_json(HERE / "hero.json", result)
    print(f"written to {HERE / 'hero.png'} and hero.json")


if __name__ == "__main__":
    main()
