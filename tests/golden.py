"""What every method computes, as hashes: written before code is moved about, checked after every step of it.

    python tests/golden.py write /tmp/golden.json        half a minute on one core
    python tests/golden.py check /tmp/golden.json

Of each method and variant, on the toy box and on images of CIFAR's shape: first weights, views, four losses, weights after
four steps, the generator's state, cost; and `evaluate` of a fixed encoder. Hashes hold on one machine, with one thread.
"""

import hashlib
import json
import sys

import torch

from mnclglf_lite import evaluate, load_dataset, preset
from mnclglf_lite.data.dataset import Splits
from mnclglf_lite.methods.registry import METHODS, VARIANTS, variant
from mnclglf_lite.models.resnet import ResNet
from mnclglf_lite.training.cost import cost_of
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step
from mnclglf_lite.views.batch import make_views

CPU = torch.device("cpu")


def digest(tensors):
    """A hash of named tensors."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def row(name, dataset, images, labels):
    """What a method computes in four steps of 64 images."""
    method, changes = variant(name)
    recipe = preset("quick", method, dataset, **changes, steps=4, precision="fp32", width=8)
    recipe = recipe.replace(batch_size=64, **({"queue": 256} if recipe.reads("queue") else {}))
    run = new_run(recipe, len(images), 10, CPU)
    found = {"weights at first": digest(run.method.state_dict())}
    views = make_views(images[:64], run.method.views, torch.Generator().manual_seed(3))
    found["views"] = digest({str(i): view for i, view in enumerate(views)})
    step = Step(run, images, labels, "eager")
    losses = [step(torch.arange(64 * i, 64 * i + 64))["loss"].detach() for i in range(4)]
    found |= {"losses": [float(loss).hex() for loss in losses], "weights": digest(run.method.state_dict())}
    found["generator"] = digest({"state": run.generator.get_state()})
    cost = cost_of(recipe, new_run(recipe, len(images), 10, CPU).method)
    return found | {"cost": [round(value, 6) for value in vars(cost).values()]}


def everything():
    """All rows, by method and image set; and an evaluation."""
    torch.set_num_threads(1)
    splits, generator = load_dataset("toybox"), torch.Generator().manual_seed(7)
    noise = torch.randint(0, 256, (256, 3, 32, 32), generator=generator, dtype=torch.uint8)
    sets = {"toybox": (splits.train.images[:256], splits.train.labels[:256]), "cifar10": (noise, torch.arange(256) % 10)}
    found = {f"{name} on {key}": row(name, key, *sets[key]) for name in (*METHODS, *VARIANTS) for key in sets}
    torch.manual_seed(0)
    small = Splits(*(part.subset(torch.arange(n)) for part, n in zip(splits, (600, 200, 200), strict=True)))
    result = evaluate(ResNet(8, (1, 1), "patch"), small)
    return found | {"evaluate": {key: result[key] for key in ("knn", "knn20", "knn10", "linear", "spread", "rank")}}


if __name__ == "__main__":
    task, path = sys.argv[1:]
    found = json.loads(json.dumps(everything()))
    if task == "write":
        with open(path, "w") as file:
            json.dump(found, file, indent=1)
    else:
        kept = json.load(open(path))
        different = [name for name in {*kept, *found} if kept.get(name) != found.get(name)]
        print(f"DIFFERENT: {sorted(different)}" if different else f"equal: {len(found)} rows")
        sys.exit(bool(different))
