"""Draw the picture at the head of the README: the same test pictures before and after training.

python docs/make_picture.py          about two minutes on two cores; writes docs/hero.png and docs/hero.json
"""

from pathlib import Path

from mnclglf_lite import evaluate, load_dataset, preset, train
from mnclglf_lite.core.device import describe_device
from mnclglf_lite.core.files import save_json
from mnclglf_lite.drawing import plots, sheets
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.evaluation.evaluate import extract_features, recalibrate_batchnorm
from mnclglf_lite.recipe.recipe import build_method

HERE = Path(__file__).parent
STEPS, POINTS, SEED = 800, 1500, 0


def main() -> None:
    recipe = preset("quick", "mnclglf", "toybox", steps=STEPS, seed=SEED)
    splits = load_dataset("toybox")
    run = train(recipe, splits, device="cpu")
    untrained = recalibrate_batchnorm(build_method(recipe, 10).backbone, splits.train)
    part = splits.test.subset(layouts.subsample(len(splits.test), POINTS))
    rows = {"untrained": untrained, "MNCLGLF": run.backbone}
    flat = [layouts.umap(extract_features(encoder, part), seed=SEED) for encoder in rows.values()]
    found = {name: evaluate(encoder, splits, "test", ("raw",)) for name, encoder in rows.items()}
    names = tuple(f"{name}: kNN {100 * row['knn20']['raw']['top1']:.0f} %" for name, row in found.items())
    note = (
        f"{len(part):,} test pictures of the toy box; {layouts.describe('umap', seed=SEED)}. kNN: k 20, T 0.1, all "
        f"{len(splits.test):,} test pictures. Trained without labels: {run.step} steps of {recipe.optim.batch_size} "
        f"pictures, seed {SEED}, {run.seconds:.0f} s on {describe_device(part.device)}."
    )
    title = "What a network knows of ten toys, before and after training without labels"
    sheets.save(plots.two_maps(*flat, part.labels, part.classes, names, title, note), HERE / "hero.png")
    result = {"recipe": recipe.to_dict(), "train_seconds": run.seconds, "rows": found}
    save_json(HERE / "hero.json", result)
    print(f"written to {HERE / 'hero.png'} and hero.json")


if __name__ == "__main__":
    main()
