"""The command line: `python -m mnclglf_lite COMMAND`, also installed as `mnclglf-lite`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import InputError, TrainingError, UnknownName, unknown
from ..core.text import number, slug
from ..core.version import __version__
from .parser import Parser

EXAMPLES = """\
  mnclglf-lite train --method simclr --minutes 1        train on the toy box for a minute, into runs/simclr-toybox-seed0
  mnclglf-lite evaluate runs/simclr-toybox-seed0        its kNN and linear accuracy, beside raw pixels"""


def doctor(args: argparse.Namespace) -> int:
    from . import doctor as room

    return room.doctor(args.data)


def fetch(args: argparse.Namespace) -> None:
    from ..data import fetch as room

    print(f"{args.name} is ready in {room.fetch(args.name, args.data)}")


def train(args: argparse.Namespace) -> int:
    from ..core import distributed
    from ..core.distributed import init_distributed
    from ..training import train as room
    from ..training.prepare import check_divides, check_folder

    with init_distributed(args.device) as args.device:  # one of many processes where torchrun has started this one
        one_size(args)
        ((name, recipe),) = recipes_of(args).items()
        out = args.out or Path("runs") / f"{name}-{slug(recipe.data.dataset)}-seed{recipe.seed}"
        check_folder(out, args.resume)
        check_divides(recipe)
        told = distributed.first_rank_only(print)
        if args.resume and not (out / "checkpoint.pt").exists():
            told(f"there is no run in {out} to resume: this starts one")
        run = room.train(
            recipe, load_splits(args, recipe.data.dataset), out=out, resume=args.resume, device=args.device,
            minutes=args.minutes, engine=args.engine,
        )  # fmt: skip
        if run.finished:
            told(f"the run is in {out}; next: mnclglf-lite evaluate {out}")
            return 0
        told("to go on: " + shlex.join(["mnclglf-lite", *args.words, *["--resume"] * (not args.resume)]))
    return 130  # the customary code of an interrupted program


def evaluate(args: argparse.Namespace) -> None:
    from . import evaluate as room

    room.evaluate(args, partial(load_splits, args))


def compare(args: argparse.Namespace) -> None:
    from ..drawing import sheets
    from ..results import compare as room
    from ..results import paper_table

    try:
        seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError:
        raise InputError(f"--seeds takes whole numbers with commas between, such as 0,1,2; got {args.seeds!r}") from None
    one_size(args)
    recipes = recipes_of(args)
    dataset = args.dataset or "toybox"
    sized = f"-{args.minutes:g}min" if args.minutes else f"-{args.image_views}views" if args.image_views else ""
    out = args.out or Path("runs") / f"compare-{slug(dataset)}{sized}"
    splits = load_splits(args, dataset)
    result = room.compare(
        recipes, seeds, splits, out, args.split, args.minutes, args.device, image_views=args.image_views, engine=args.engine
    )
    (out / "compare.md").write_text(room.table(result, markdown=True) + "\n")
    print(f"\n{room.table(result, args.markdown)}")
    if dataset == "cifar10":
        print(f"\nThe paper's table and the runs that come with a checkout:\n\n{paper_table.table(markdown=args.markdown)}")
    sheets.save(room.picture(result), out / "compare.png")
    print(f"\nwritten to {out}/compare.json, compare.md and compare.png")


def explore(args: argparse.Namespace) -> None:
    from ..core.text import format_duration
    from ..evaluation.evaluate import extract_features, query_split
    from ..explorers.embedding import page as room
    from ..training.run import load_run

    run = load_run(args.folder, args.device)
    splits = load_splits(args, args.dataset or run.recipe.data.dataset)
    images = query_split(splits, args.split)
    out = args.out or args.folder / "explore"
    caption = f"{run.recipe.method.name}, seed {run.recipe.seed}, {run.step} steps in {format_duration(run.seconds)}"
    found = extract_features(run.backbone, images, size=run.recipe.views.eval_size or None)
    paths = room.explore(
        found, images, out, kind=args.map, seed=args.seed, points=args.points,
        title=f"{run.recipe.method.name} on {images.name}", caption=caption,
    )  # fmt: skip
    print("open in a browser or viewer:\n" + "\n".join(f"  {path}" for path in paths))


def export(args: argparse.Namespace) -> None:
    from ..results import export as room
    from ..training.run import load_run

    path = args.path or args.folder / "backbone.safetensors"
    print(f"written to {room.export_run(load_run(args.folder, 'cpu'), path, args.half)}")


# ---- what several commands need


def recipes_of(args: argparse.Namespace) -> dict[str, Any]:
    """The recipes that the flags make, by the names of their methods or variants."""
    from ..recipe.flags import recipe_from

    try:
        return {name: recipe_from(args, name) for name in args.bases}
    except InputError as error:
        raise InputError(f"{error}; see {args.page} --help") from None


def load_splits(args: argparse.Namespace, name: str) -> Any:
    """The image sets of this name, on the device asked for."""
    from ..core.device import pick_device
    from ..data.dataset import load_dataset

    return load_dataset(name, root=args.data, device=pick_device(args.device))


def one_size(args: argparse.Namespace) -> None:
    """Refuse a run whose length is said twice."""
    from ..recipe.flags import flag_of

    names = ("image_views", "minutes", "steps", "epochs")
    given = [flag_of(name) for name in names if getattr(args, name, None) is not None]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} each size the runs: give one of the two")


# ---- flags, command by command

FEW = "These are the most used settings."
SPLIT = "holdout (validation) or test (once, for the reported number)"
SETS = "toybox, toybox-v1 (that of older records), cifar10, cifar100, tinyimagenet or folder:PATH"
ENGINE = "how a step is run: eager, compiled, or captured (CUDA, experimental); all compute the same"
RECIPE = (
    "in place of --method and --preset: a recipe.json, a .toml of a few settings, or the folder of a run whose recipe is to "
    "be trained again; flags change it"
)


def flag(parser: Any, name: str, text: str, unset: str, **how: Any) -> None:
    """One flag, whose help says what holds where it is not given."""
    parser.add_argument(name, help=f"{text} (default: {unset})", **how)


def switch(parser: Any, name: str, text: str) -> None:
    flag(parser, name, text, "off", action="store_true")


def place(parser: Any, name: str, text: str, unset: str, metavar: str = "DIR") -> None:
    flag(parser, name, text, unset, type=Path, metavar=metavar)


def _data_folder(parser: Any, words: Sequence[str] = ()) -> None:
    place(parser, "--data", "where image sets are kept", "$MNCLGLF_LITE_DATA or data/")


def _data_flags(parser: Any, default: str) -> None:
    flag(parser, "--dataset", SETS, default, metavar="NAME")
    _data_folder(parser)
    flag(parser, "--device", "auto, cuda, mps or cpu", "auto", default="auto")


def _length_flags(parser: Any) -> None:
    text = "size the run by time: 3 s of timing fix the steps"
    flag(parser, "--minutes", text, "by --epochs", type=number(float, 5), metavar="FLOAT")
    flag(parser, "--engine", ENGINE, "auto, by device and length", default="auto")


def _fetch_flags(parser: Parser, words: Sequence[str]) -> None:
    parser.add_argument("name", help="cifar10, cifar100 or tinyimagenet")
    _data_folder(parser)


def _train_flags(parser: Parser, words: Sequence[str]) -> None:
    from ..methods.registry import METHODS, VARIANTS
    from ..recipe import flags
    from ..recipe.presets import PRESETS

    told = flags.choose(words, partial(Parser, parser.prog))
    given = [f"--{name}" for name in ("method", "preset") if getattr(told, name) is not None]
    if told.recipe and given:
        raise InputError(f"{given[0]} stands beside --recipe, which names it itself: leave one of the two out")
    bases = {(base := _recipe_at(told.recipe)).method.name: base} if told.recipe else flags.presets_for(told)
    run, every = parser.add_argument_group("run"), f"one of {', '.join(METHODS)}, or a variant: {', '.join(VARIANTS)}"
    flag(run, "--method", every, "mnclglf", metavar="NAME")
    flag(run, "--preset", f"settings that go together: {', '.join(PRESETS)}", "quick", metavar="NAME")
    flag(run, "--recipe", RECIPE, "none", metavar="FILE")
    place(run, "--out", "folder of the run", "runs/METHOD-DATASET-seedN")
    switch(run, "--resume", "go on with the run in --out")
    _length_flags(run)
    _data_flags(run, "toybox")
    flags.add_recipe_flags(parser, bases)
    if told.method or told.recipe:
        parser.prog += f" --method {told.method}" if told.method else f" --recipe {told.recipe}"
        return
    parser.epilog = (
        f"{FEW} All that a method reads, with its own defaults:\n\n  mnclglf-lite train --method NAME --help\n\n"
        "and with those of another preset:  mnclglf-lite train --method NAME --preset standard --help"
    )


def _recipe_at(path: str) -> Any:
    """The recipe in a file, or of a run by its folder."""
    from ..recipe.recipe import Recipe
    from ..recipe.recipe_file import read_recipe

    if Path(path).suffix in (".json", ".toml"):
        return read_recipe(path)
    from ..results.records import recipe_of_record

    return Recipe.from_dict(recipe_of_record(path))


def _evaluate_flags(parser: Parser, words: Sequence[str]) -> None:
    parser.add_argument("folder", type=Path, nargs="?", help="folder of the run")
    place(parser, "--weights", "in place of a run: what export wrote", "none", "FILE")
    flag(parser, "--split", SPLIT, "holdout", default="holdout")
    switch(parser, "--few-labels", "linear accuracy by labels a class, 3 draws each")
    switch(parser, "--factors", "what the features kept of the toy box's factors")
    text = "the paper's augmented linear protocol; it uses 90"
    flag(parser, "--paper", text, "0, off", type=number(int, 90), default=0, metavar="EPOCHS")
    place(parser, "--json", "where to write the results", "FOLDER/result.json; of --weights: nowhere", "FILE")
    _data_flags(parser, "that of the run")


def _compare_flags(parser: Parser, words: Sequence[str]) -> None:
    from ..methods.registry import METHODS, VARIANTS
    from ..recipe import flags
    from ..recipe.presets import PRESETS

    told, usual = flags.choose(words, partial(Parser, parser.prog)), "simclr,mnclglf,mnclglf-released,supervised"
    names = [name.strip() for name in (usual if told.methods is None else told.methods).split(",") if name.strip()]
    names = [each for name in names for each in (METHODS if name == "all" else [name])]
    if not names:
        raise InputError(f"nothing to compare: --methods takes names with commas between, such as {usual}")
    run = parser.add_argument_group("runs")
    every = f"comma-separated methods, or all of them (all), and variants: {', '.join(VARIANTS)}"
    flag(run, "--methods", every, usual, metavar="NAMES")
    flag(run, "--preset", f"one of {', '.join(PRESETS)}", "quick", metavar="NAME")
    flag(run, "--seeds", "comma-separated whole numbers", "0", default="0")
    place(run, "--out", "folder", "runs/compare-DATASET, and the budget where one is given")
    switch(run, "--markdown", "print the table as Markdown")
    flag(run, "--split", SPLIT, "holdout", default="holdout")
    _data_flags(run, "toybox")
    text = "size the runs by whole views shown, the same for every method; not with --minutes"
    flag(run, "--image-views", text, "by --epochs", type=number(int, 400_000), metavar="N")
    _length_flags(run)
    changed = {field for _, changes in VARIANTS.values() for field in changes}
    flags.add_recipe_flags(parser, flags.presets_for(told, names), without=("seed", *changed))
    if told.methods is not None:
        parser.prog += f" --methods {told.methods}"
    else:
        parser.epilog = f"{FEW} All that one of the methods reads:\n\n  mnclglf-lite compare --methods NAMES --help"


def _explore_flags(parser: Parser, words: Sequence[str]) -> None:
    parser.add_argument("folder", type=Path, help="folder of the run")
    place(parser, "--out", "where the figures go", "FOLDER/explore")
    flag(parser, "--map", "umap, tsne or pca; the page has pca too", "umap", default="umap")
    flag(parser, "--points", "images on the map", "2000", type=number(int, 2000), default=2000)
    flag(parser, "--seed", "fixes the layout, on one thread, slower", "none", type=number(int, 0))
    flag(parser, "--split", SPLIT, "test", default="test")
    _data_flags(parser, "that of the run")


def _export_flags(parser: Parser, words: Sequence[str]) -> None:
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument("path", type=Path, nargs="?", help="file to write (default: FOLDER/backbone.safetensors)")
    switch(parser, "--half", "float16, half as large")


class Command(NamedTuple):
    run: Callable[[argparse.Namespace], int | None]
    flags: Callable[[Parser, Sequence[str]], None]
    text: str


COMMANDS = {
    "doctor": Command(doctor, _data_folder, "what is installed, what will work and what won't"),
    "fetch": Command(fetch, _fetch_flags, "get CIFAR-10, CIFAR-100 or TinyImageNet: disk, usual server, mirrors; resumable"),
    "train": Command(train, _train_flags, "train one method; stop it whenever you like, and go on later"),
    "evaluate": Command(
        evaluate, _evaluate_flags, "measure a run beside raw pixels and a random encoder: kNN, linear, more"
    ),
    "compare": Command(compare, _compare_flags, "several methods and seeds in one table and one plot"),
    "explore": Command(explore, _explore_flags, "figures and an interactive map of a run's features"),
    "export": Command(export, _export_flags, "the backbone as safetensors under torchvision's key names"),
}


def overview() -> str:
    """The help without a command."""
    lines = "\n".join(f"  {name:<10}{command.text}" for name, command in COMMANDS.items())
    return (
        "usage: mnclglf-lite COMMAND [FLAGS]\n\nTrain, evaluate and explore contrastive self-supervised learning.\n\n"
        f"commands:\n{lines}\n\nexamples:\n{EXAMPLES}\n\n"
        "mnclglf-lite COMMAND --help says more; mnclglf-lite --version says which version this is."
    )


def parse(words: Sequence[str]) -> argparse.Namespace | None:
    """A command's words as its arguments, with `run`; None where help was asked for and given."""
    name, *rest = words or ["--help"]
    if name in ("-h", "--help", "--version"):
        print(__version__ if name == "--version" else overview())
        return None
    if name not in COMMANDS:
        raise InputError(f"{unknown('command', name, COMMANDS)}; see mnclglf-lite --help")
    command = COMMANDS[name]
    parser = Parser(f"mnclglf-lite {name}", description=command.text)
    try:
        command.flags(parser, rest)
    except InputError as error:
        parser.error(str(error))
    if set(rest) & {"-h", "--help"} and parser.get_default("bases"):
        return _recipe_help(parser, rest)
    args = parser.parse_args(rest)
    args.run, args.words, args.page = command.run, list(words), parser.prog
    return args


def _recipe_help(parser: Parser, words: Sequence[str]) -> None:
    """The help of settings that have an effect beside those given."""
    from ..recipe import flags

    args = parser.parse_known_args([word for word in words if word not in ("-h", "--help")])[0]
    args.page = parser.prog
    flags.hide_flags(parser, list(recipes_of(args).values()), flags.COMMON if parser.epilog else ())
    parser.print_help()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Bad input is one line on stderr and exit code 2; a run or a disk that broke, 1; an interrupt, 130."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words == ["doctor"]:  # must answer even where torch cannot be imported
        return doctor(argparse.Namespace(data=None))
    try:
        args = parse(words)
    except InputError as error:
        if os.environ.get("RANK", "0") == "0":  # torchrun's processes all read the same words: one says what is wrong
            print(f"mnclglf-lite: {error}", file=sys.stderr)
        return 2
    if args is None:
        return 0
    try:
        if words[0] != "train":
            from ..core.distributed import refuse_many

            refuse_many(words[0])
        return args.run(args) or 0
    except InputError as error:
        page = f"; see {args.page} --help" * isinstance(error, UnknownName)
        print(f"mnclglf-lite: {error}{page}", file=sys.stderr)
        return 2
    except (TrainingError, OSError) as error:  # OSError: a full disk, a folder that may not be written to
        print(f"mnclglf-lite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmnclglf-lite: interrupted; what was written stays. To go on: the same command", file=sys.stderr)
        return 130
