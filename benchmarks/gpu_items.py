"""What a CUDA GPU is to find out, in order, and the page that says so. `gpu_queue` does it.

In the words of a command {run} is the item's folder for large things, {out} that for its records; a name of CHOICES is the
best of the items that stand there, so that what one item finds out is what a later one trains with.

The order is that of worth for a minute: a proof that the device works and its engines agree; the temperature of both forms
of MNCLGLF; SimCLR (its published number says whether the recipe is sound), both forms in full, supervised; the same on all
50,000, asked on test; the race; the rest of the family; the ablation with one seed; the release's own size, larger batches,
temperature 1; more of all that; other image sets. Speed, which changes no result, comes last.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from mnclglf_lite.methods.registry import BUILT_IN

OURS = tuple(method.Config.name for method in BUILT_IN)  # not what a learner may have added
PAGE = Path(__file__).with_name("gpu_queue.md")

# Minutes, all estimates: nothing has run on a GPU yet. 200 epochs of 45,000 pictures cost 9e6 * units * 1.11 GFLOP, at the
# 215 TFLOP/s planned for an H100; compiling, the monitor and the measuring afterwards come on top.
UNITS = {  # relative FLOPs of a step (`training.cost`) of the standard preset on CIFAR-10
    "drawn": 13.6, "released": 11.5, "supervised": 3.0, "simclr": 6.0, "moco": 8.0, "simsiam": 6.1, "byol": 8.0,
    "nnclr": 6.1, "fastmoco": 8.8, "mcl": 8.0, "cgh": 4.1, "ressl": 4.0, "cgh-same": 4.1, "glnet": 8.2,
}  # fmt: skip
THREE_NETWORKS = 15.8  # units of MNCLGLF with a second twin
MEASURING, PROBING = 1.5, 3.0  # minutes beside the training: all but the paper's probe, and with it

SETS = {"c10": ("cifar10", 45_000), "c100": ("cifar100", 45_000), "tiny": ("tinyimagenet", 90_000)}  # pictures to train on
FORMS: dict[str, tuple[str, ...]] = {  # what is trained, where it is not the method of that name as the preset has it
    "drawn": ("mnclglf", "--temperature", "{T-drawn}"),
    "released": ("mnclglf", "--no-local-gradient", "--temperature", "{T-released}"),
    "drawn-T1": ("mnclglf", "--temperature", "1"),
    "released-T1": ("mnclglf", "--no-local-gradient", "--temperature", "1"),
    "ressl": ("cgh", "--context", "ressl"),
    "cgh-same": ("cgh", "--context", "same"),
}
TEMPERATURES = ("0.1", "0.2", "0.5")  # customary ones; 1, the release's, has full runs of its own
CHOOSING_EPOCHS, CHOOSING_SEED = 20, "100"  # ours; no reported run has this seed
LARGER = ("512", "1024")  # batches; the rate is scaled with them
CHOICES = {  # {name}: word that it may be, and the item that speaks for it
    "{T-drawn}": {word: f"drawn-T{word}" for word in TEMPERATURES},
    "{T-released}": {word: f"released-T{word}" for word in TEMPERATURES},
    "{batch}": {word: f"c10-drawn-{word}" for word in LARGER},
}

ABLATION_EPOCHS, SEEDS = 50, ("0", "1", "2")  # ours: a variant in four minutes
# As `benchmarks.ablation`, but from the release's weights, 1 and 6: their sum stays 7, so that a rate means the same. Left
# out is global only: its gradient is that of `released`.
ABLATION = {
    "drawn": FORMS["drawn"],
    "released": (*FORMS["released"], "--global-weight", "7"),
    "local-only": (*FORMS["drawn"], "--local-weight", "7", "--global-weight", "0"),
    "weights-1-to-1": (*FORMS["drawn"], "--local-weight", "3.5", "--global-weight", "3.5"),
    # coloured as strongly as the whole views are
    "random-crops": (*FORMS["drawn"], "--local", "crops", "--small-view-gray-p", "0.1", "--small-view-blur-p", "0"),
    "one-network": (*FORMS["drawn"], "--num-networks", "1"),
    "three-networks": (*FORMS["drawn"], "--num-networks", "3"),
    "no-swap": (*FORMS["drawn"], "--no-neighbour-swap"),
}

# Epochs of a race: what nine minutes train (estimated).
RACE = {"drawn": 170, "moco": 290, "fastmoco": 260, "byol": 290, "simclr": 400}
GROWN = ("16", "24", "32")  # ours: pixels of whole views in thirds of the run, 0.60 of the cost
GROWN_COST = sum((int(side) / 32) ** 2 for side in GROWN) / len(GROWN)


def training(units: float, epochs: float = 200, pictures: int = 45_000) -> float:
    """Minutes of training with the standard preset on an H100."""
    return epochs * pictures * units * 1.11e9 / 215e12 / 60


@dataclass(frozen=True)
class Item:
    """One thing to find out. `commands` are what comes after `python`, run in turn; `needs`: image sets, files, packages.
    `resumable`: may be interrupted, and the same commands go on."""

    name: str
    question: str
    commands: tuple[tuple[str, ...], ...]
    minutes: float
    needs: tuple[str, ...] = ()
    resumable: bool = False

    @property
    def places(self) -> list[str]:
        """The choices that its words wait for."""
        return [place for place in CHOICES if any(place in command for command in self.commands)]


def module(name: str, *words: str) -> tuple[str, ...]:
    return ("-m", name, *words)


def trained(
    name: str, question: str, method: str, *flags: str, minutes: float, dataset: str = "cifar10", on: str = "holdout",
    paper: bool = False,
) -> Item:  # fmt: skip
    """Train the standard preset and measure it; `paper`: by the paper's linear protocol too."""
    base = ("--preset", "standard", "--dataset", dataset, "--method", method)
    commands = (
        module("mnclglf_lite", "train", *base, *flags, "--out", "{run}", "--resume"),
        module("mnclglf_lite", "evaluate", "{run}", "--split", on, *(("--paper", "90") if paper else ())),
    )
    return Item(name, question, commands, round(minutes, 1), (dataset,), True)


def full(title: str, name: str, of: str = "c10", tag: str = "", flags: tuple[str, ...] = (), final: bool = False) -> Item:
    """200 epochs. `final`: on all pictures of the training part, hold-out included, and asked on test."""
    (method, *words), (dataset, pictures) = FORMS.get(name, (name,)), SETS[of]
    if final:
        words, tag, pictures = [*words, "--no-holdout"], f"{tag}-final", round(pictures / 0.9)
    minutes = training(UNITS[name.removesuffix("-T1")], pictures=pictures) + PROBING * pictures / 45_000
    what = f"{title}: {name}, 200 epochs" + (", all pictures, on test" if final else "")
    return trained(
        f"{of}-{name}{tag}", what, method, *words, *flags, minutes=minutes, dataset=dataset,
        on="test" if final else "holdout", paper=True,
    )  # fmt: skip


def temperature(form: str, word: str) -> Item:
    method, *words = (word if text.startswith("{T-") else text for text in FORMS[form])
    return trained(
        CHOICES[f"{{T-{form}}}"][word], f"MNCLGLF, {form}: which temperature? {word}, {CHOOSING_EPOCHS} epochs", method,
        *words, "--epochs", str(CHOOSING_EPOCHS), "--seed", CHOOSING_SEED,
        minutes=training(UNITS[form], CHOOSING_EPOCHS) + MEASURING,
    )  # fmt: skip


def ablated(variant: str, seed: str) -> Item:
    method, *words = ABLATION[variant]
    units = THREE_NETWORKS if variant == "three-networks" else UNITS["released" if variant == "released" else "drawn"]
    what = f"What is each part worth? {variant}, {ABLATION_EPOCHS} epochs, seed {seed}, on test"
    return trained(
        f"part-{variant}-{seed}", what, method, *words, "--epochs", str(ABLATION_EPOCHS), "--seed", seed,
        minutes=training(units, ABLATION_EPOCHS) + MEASURING, on="test",
    )  # fmt: skip


def raced(name: str, grown: bool = False) -> Item:
    method, *words = FORMS.get(name, (name,))
    epochs = round(RACE[name] / GROWN_COST / 10) * 10 if grown else RACE[name]
    words += ["--epochs", str(epochs), *(("--progressive-sizes", *GROWN) if grown else ())]
    minutes = training(UNITS[name], epochs) * (GROWN_COST if grown else 1) + PROBING
    return Item(
        f"race-{name}" + "-grown" * grown,
        f"Seconds of training to linear 90.18 % and to 90 % kNN on CIFAR-10: {name}, {epochs} epochs"
        + ", views that grow" * grown,
        (module("benchmarks.race", "--method", method, *words, "--folder", "{run}", "--out", "{out}/race.json"),),
        round(minutes, 1),
        ("cifar10",),
        True,
    )


def smoke(method: str) -> Item:
    return trained(
        f"smoke-{method}", f"{method}: does a minute of the standard preset learn? kNN and linear, hold-out", method,
        "--minutes", "1", minutes=3.0,
    )  # fmt: skip


def engines(method: str) -> Item:
    return Item(
        f"engines-{method}",
        f"{method}: first step, steps a second, memory of the four engines; do they agree, does a step wait for the host?",
        (module("benchmarks.engines", "--methods", method, "--out", "{out}/engines.json"),),
        6.0,
    )


FORM, YARDSTICK, FAMILY = "MNCLGLF", "A yardstick", "The family"
REST = ("moco", "byol", "nnclr", "simsiam", "fastmoco", "mcl", "cgh", "ressl", "cgh-same", "glnet")
SECTIONS: dict[str, tuple[Item, ...]] = {
    "The device works": (
        Item(
            "ceilings",
            "What can the device do at most: matrix products, convolutions, a copy, a launch?",
            (module("benchmarks.ceilings", "--out", "{out}/ceilings.json"),),
            1.0,
        ),
        smoke("mnclglf"),
        engines("mnclglf"),  # all that follows is trained with the engine that this compares with the plain one
    ),
    "MNCLGLF as drawn and as released": (
        *(temperature(form, word) for word in TEMPERATURES for form in ("drawn", "released")),
        full(YARDSTICK, "simclr"),
        full(FORM, "drawn"),
        full(FORM, "released"),
        full(YARDSTICK, "supervised"),
        full(FORM, "drawn", final=True),
        full(FORM, "released", final=True),
        full(YARDSTICK, "simclr", final=True),
    ),
    "The race": (raced("drawn"), raced("drawn", grown=True), raced("moco"), raced("simclr")),
    "The family": tuple(full(FAMILY, name) for name in REST),
    "What each part is worth": tuple(ablated(variant, SEEDS[0]) for variant in ABLATION),
    "The release, larger batches, temperature 1": (
        Item(
            "as-released-224",
            "As its authors ran it, 224 pixels, ImageNet stem, T 1: pictures a second of two epochs, against c10-released",
            (module("mnclglf_lite", "train", "--preset", "as_released", "--dataset", "cifar10", "--method", "mnclglf",
                    "--epochs", "2", "--out", "{run}", "--resume"),),
            8.0,
            ("cifar10",),
            True,
        ),
        *(full(f"Batch {word}", "drawn", tag=f"-{word}", flags=("--batch-size", word)) for word in LARGER),
        *(full("The larger batch", name, tag="-large", flags=("--batch-size", "{batch}"), final=True)
          for name in ("drawn", "released")),
        *(full("Temperature 1", name, final=final) for final in (False, True) for name in ("drawn-T1", "released-T1")),
    ),
    "More of the race, more seeds, the family on test": (
        raced("fastmoco"), raced("byol"), raced("simclr", grown=True),
        *(ablated(variant, seed) for seed in SEEDS[1:] for variant in ABLATION),
        *(full("On test", name, final=True) for name in ("supervised", *REST)),
    ),
    "CIFAR-100 and TinyImageNet": tuple(
        full(f"{what}, {SETS[of][0]}", name, of, final=final)
        for of in ("c100", "tiny")
        for what, names, finals in (
            (FORM, ("drawn", "released"), (False, True)), (YARDSTICK, ("simclr", "supervised"), (False,)),
            (FAMILY, REST, (False,)),
        )
        for final in finals
        for name in names
    ),
    "Speed": (
        *(
            Item(
                f"peers-{name}",
                f"SimCLR's image views a second and peak memory: {rows.replace(',', ', ')}",
                (module("benchmarks.speed", "--methods", "simclr", "--rows", rows, "--out", "{out}/speed.json"),),
                minutes,
                needs,
            )
            for name, rows, minutes, needs in (
                ("own", "ours,ours-eager,ours-captured,ours-fp32,bare", 5.0, ()),
                ("lightly", "ours,lightly,lightly-tuned,lightly-fixed", 5.0, ("lightly",)),
                ("torchvision", "ours,torchvision", 4.0, ()),
            )
        ),
        *(
            Item(
                f"speed-{method}",
                f"Image views a second and share of the ceilings, as the package runs and bare: {method}",
                (module("benchmarks.speed", "--methods", method, "--sample", "10", "--out", "{out}/speed.json"),),
                3.0,
            )
            for method in ("mnclglf", *(name for name in OURS if name not in ("mnclglf", "simclr")))
        ),
        Item(
            "joined-views",
            "Does it pay to send whole views through the network as one batch, each with statistics of its own?",
            tuple(
                module("benchmarks.joined_views", "--preset", "standard", "--batch", "512", *flags, "--out", "{out}/" + file)
                for flags, file in (((), "eager.json"), (("--compile",), "compiled.json"))
            ),
            3.0,
        ),
        engines("simclr"),
        *(smoke(method) for method in OURS if method != "mnclglf"),
    ),
}  # fmt: skip
ITEMS = tuple(item for items in SECTIONS.values() for item in items)


def page() -> str:
    """gpu_queue.md, from the list above."""
    lines = [
        "# GPU queue",
        "",
        "Written by `python -m benchmarks.gpu_queue --write` from the list in `benchmarks/gpu_items.py`. One command does",
        "what comes next and fits, keeps its records in `data/runs/gpu/NAME/`, and goes on where it stopped:",
        "",
        "```",
        "python -m benchmarks.gpu_queue --minutes 9 --data FOLDER",
        "```",
        "",
        "CIFAR-10 must lie in FOLDER: `mnclglf-lite fetch cifar10 --data FOLDER`; what needs another set waits for it.",
        "The minutes are estimates, for an H100, made before anything ran on a GPU; the `standard` settings are customary,",
        "and most have not been trained with. In the commands, {run} is the item's folder for large things (`--scratch`),",
        "{out} that for its records (`--out`). What is done so far: `--list`; one item alone: `--only NAME`. The records",
        "are small. On a borrowed machine, put those of earlier calls into `data/runs/gpu` first, so that nothing is done",
        "twice, and carry the folder home afterwards, packed: `tar czf gpu.tgz -C data/runs gpu`. A run that outlasts such",
        "a machine begins anew on the next one, unless its folder in `--scratch` is carried along.",
        "",
        "These words are filled in when their item's turn comes: by the best kNN (k 20) on the hold-out, once every item",
        "that speaks for one of them has run or failed.",
        "",
        *(f"* {place}: {', '.join(f'{word} ({name})' for word, name in each.items())}" for place, each in CHOICES.items()),
        "",
        "Only MNCLGLF's temperature is chosen so; the other methods have customary ones. A place in a table of these runs",
        "is no ranking.",
        "",
        "Choices are made on CIFAR-10's hold-out. What ends in *final* trains on all pictures, hold-out included, when all",
        "is chosen, and is asked on test; so is the ablation, whose seeds no choice has seen.",
        "",
    ]
    number = itertools.count(1)
    for title, items in SECTIONS.items():
        lines += [f"## {title} (about {sum(item.minutes for item in items):.0f} min)", ""]
        for item in items:
            needs = f"; needs {', '.join(item.needs)}" if item.needs else ""
            lines += [f"{next(number)}. **{item.name}** (about {item.minutes:g} min{needs}). {item.question}", "", "   ```"]
            lines += [f"   python {' '.join(command)}" for command in item.commands]
            lines += ["   ```", ""]
    return "\n".join(lines)
