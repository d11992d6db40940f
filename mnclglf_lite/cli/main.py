"""The command line: python -m mnclglf_lite COMMAND, also installed as mnclglf-lite.

doctor     what is installed, what will work and what won't
fetch      get CIFAR-10, CIFAR-100 or TinyImageNet from whatever source answers
train      train one method; stop and go on as you like
evaluate   kNN, linear, few labels, factors and gauges of a run, beside raw pixels and a random encoder
compare    several methods and seeds in one table and one plot
explore    pictures and an interactive map of what a run has learned
export     the backbone as safetensors under torchvision's names
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..core.errors import InputError, TrainingError
from ..core.version import __version__


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line; `--help` has the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mnclglf-lite: {message}; see {self.prog} --help\n")


def _data_flags(parser: argparse.ArgumentParser, dataset: str | None = "toybox") -> None:
    parser.add_argument(
        "--dataset", default=dataset, metavar="NAME",
        help="toybox, toybox-v1 (that of older records), cifar10, cifar100, tinyimagenet or folder:PATH "
        f"(default: {dataset or 'that of the run'})",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR", help="where image sets are kept (default: see doctor)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")


def _run_flags(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    from ..methods.registry import METHODS
    from ..recipe.flags import add_recipe_flags
    from ..recipe.presets import PRESETS, presets_of

    released = ", ".join(name for name in METHODS if "as_released" in presets_of(name))
    parser.add_argument(
        "--preset", default="quick", help=f"one of {', '.join(PRESETS)} (default: quick); as_released: {released} alone"
    )
    parser.add_argument(
        "--minutes", type=float, help="size the run by time: 3 s of timing fix the steps (default: by --epochs)"
    )
    parser.add_argument("--engine", default="auto", help=(
        "how a step is run: eager, compiled, or captured (CUDA, experimental); all compute the same "
        "(default: auto, by device and length)"
    ))  # fmt: skip
    add_recipe_flags(parser, without)


def _split_flag(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--split",
        default=default,
        help=f"holdout (validation) or test (once, for the reported number) (default: {default})",
    )


def parser() -> argparse.ArgumentParser:
    """All commands with their flags; defaults and units are in the help."""
    from ..methods.registry import METHODS, VARIANTS

    main = Parser("mnclglf-lite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    main.add_argument("--version", action="version", version=__version__)
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    one = command("doctor", doctor, "versions, device, data and disk: what will work and what won't")
    one.add_argument(
        "--data", type=Path, metavar="DIR", help="where image sets are kept (default: $MNCLGLF_LITE_DATA or data/)"
    )

    one = command("fetch", fetch, "get an image set: disk, usual server, then mirrors; checked, resumable")
    one.add_argument("name", help="cifar10, cifar100 or tinyimagenet")
    one.add_argument("--data", type=Path, metavar="DIR", help="where to put it (default: $MNCLGLF_LITE_DATA or data/)")

    one = command("train", train, "train one method")
    one.add_argument("--method", default="mnclglf", help=f"one of {', '.join(METHODS)} (default: mnclglf)")
    one.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/METHOD-DATASET-seedN)")
    one.add_argument("--resume", action="store_true", help="go on with the run in --out (default: off)")
    _data_flags(one)
    _run_flags(one)

    one = command("evaluate", evaluate, "measure a run, beside raw pixels and a random encoder")
    one.add_argument("folder", type=Path, nargs="?", help="folder of the run")
    one.add_argument("--weights", type=Path, metavar="FILE", help="in place of a run: what export wrote (default: none)")
    _split_flag(one, "holdout")
    one.add_argument(
        "--few-labels", action="store_true", help="linear accuracy by labels a class, 3 draws each (default: off)"
    )
    one.add_argument("--factors", action="store_true", help="what the features kept of the toy box's factors (default: off)")
    one.add_argument(
        "--paper",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="the paper's augmented linear protocol; it uses 90 (default: 0, off)",
    )  # noqa: E501
    one.add_argument("--json", type=Path, metavar="FILE", help=(
        "where to write the results (default: FOLDER/result.json; of --weights: nowhere)"
    ))  # fmt: skip
    _data_flags(one, None)

    one = command("compare", compare, "several methods and seeds, one table and one plot")
    usual = "simclr,mnclglf,mnclglf-released,supervised"
    one.add_argument("--methods", default=usual, help=(
        f"comma-separated methods, or all of them (all), and variants: {', '.join(VARIANTS)} (default: {usual})"
    ))  # fmt: skip
    one.add_argument("--seeds", default="0", help="comma-separated whole numbers (default: 0)")
    one.add_argument(
        "--out", type=Path, metavar="DIR", help="folder (default: runs/compare-DATASET, and the budget where one is given)"
    )
    one.add_argument("--markdown", action="store_true", help="print the table as Markdown (default: text)")
    _split_flag(one, "holdout")
    _data_flags(one)
    one.add_argument("--image-views", type=int, metavar="N", help=(
        "size the runs by whole views shown, the same for every method; not with --minutes (default: by --epochs)"
    ))  # fmt: skip
    _run_flags(one, without=("seed", *sorted({field for _, changes in VARIANTS.values() for field in changes})))

    one = command("explore", explore, "pictures and an interactive map of a run's features")
    one.add_argument("folder", type=Path, help="folder of the run")
    one.add_argument("--out", type=Path, metavar="DIR", help="where the pictures go (default: FOLDER/explore)")
    one.add_argument("--map", default="umap", help="umap, tsne or pca; the page has pca too (default: umap)")
    one.add_argument("--points", type=int, default=2000, help="pictures on the map (default: 2000)")
    one.add_argument("--seed", type=int, help="fixes the layout, on one thread, slower (default: none)")
    _split_flag(one, "test")
    _data_flags(one, None)

    one = command("export", export, "the backbone as safetensors under torchvision's key names")
    one.add_argument("folder", type=Path, help="folder of the run")
    one.add_argument("path", type=Path, help="file to write, such as backbone.safetensors")
    one.add_argument("--half", action="store_true", help="float16, half as large (default: float32)")
    one.add_argument(
        "--part-mb", type=float, metavar="MB", help="cut into files of at most so many megabytes (default: one file)"
    )
    return main


def doctor(args: argparse.Namespace) -> int:
    from . import doctor as room

    return room.doctor(args.data)


def fetch(args: argparse.Namespace) -> None:
    from ..data import fetch as room

    print(f"{args.name} is ready in {room.fetch(args.name, args.data)}")


def _splits(args: argparse.Namespace, name: str) -> Any:
    from ..core.device import pick_device
    from ..data.dataset import load_dataset

    return load_dataset(name, root=args.data, device=pick_device(args.device))


def one_size(args: argparse.Namespace) -> None:
    """Refuse a run whose length is said twice."""
    names = ("image_views", "minutes", "steps", "epochs")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name, None) is not None]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} each size the runs: give one of the two")


def slug(dataset: str) -> str:
    """An image set's name as part of a file's name."""
    return dataset.replace(":", "-").replace("/", "-")


def train(args: argparse.Namespace) -> int:
    from ..core import distributed
    from ..core.distributed import init_distributed
    from ..recipe.flags import recipe_from
    from ..training import train as room
    from ..training.prepare import check_divides, check_folder

    with init_distributed(args.device) as args.device:  # one of many processes where torchrun has started this one
        one_size(args)
        recipe = recipe_from(args, args.method)
        out = args.out or Path("runs") / f"{recipe.method.name}-{slug(recipe.data.dataset)}-seed{recipe.seed}"
        check_folder(out, args.resume)
        check_divides(recipe)
        run = room.train(
            recipe, _splits(args, recipe.data.dataset), out=out, resume=args.resume, device=args.device,
            minutes=args.minutes, engine=args.engine,
        )  # fmt: skip
        if distributed.rank() == 0:
            print(f"the run is in {out}; next: mnclglf-lite evaluate {out}")
    return 0 if run.finished else 130  # the customary code of an interrupted program


def _measured(args: argparse.Namespace) -> tuple[Any, Any, int, float]:
    """What `evaluate` is to measure, a run or exported weights: recipe, backbone, steps, seconds of training."""
    from ..core.device import pick_device
    from ..results import export
    from ..training.run import load_run

    if (args.folder is None) == (args.weights is None):
        raise InputError("name the folder of a run, or --weights FILE, one of the two")
    if args.weights is None:
        run = load_run(args.folder, args.device)
        return run.recipe, run.backbone, run.step, run.seconds
    told = export.read_metadata(args.weights)
    backbone = export.load_backbone(args.weights).to(pick_device(args.device))
    return export.recipe_of(told, args.weights), backbone, int(told["steps"]), float(told.get("train_seconds", 0))


def evaluate(args: argparse.Namespace) -> None:
    from ..core.files import save_json
    from ..core.text import format_duration
    from ..data import toybox
    from ..data.dataset import joined
    from ..evaluation import evaluate as room
    from ..evaluation import linear, paper_probe
    from ..evaluation.evaluate import extract_features, query_split
    from ..recipe.recipe import build_method, check_holdout_unseen
    from ..training.first_layer import with_data_start

    recipe, backbone, steps, seconds = _measured(args)
    elsewhere = args.dataset and args.dataset != recipe.data.dataset  # transfer: the run's own result stays
    if not elsewhere:
        check_holdout_unseen(recipe, args.split)
    name = f"result-{slug(args.dataset)}.json" if elsewhere else "result.json"
    path = args.json or (args.folder / name if args.folder else None)
    if path and not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for the results (--json); make it first")
    protocol = paper_probe.PaperProtocol(epochs=args.paper) if args.paper else None
    splits = _splits(args, args.dataset or recipe.data.dataset)
    asked, size = query_split(splits, args.split), recipe.views.eval_size or None
    if args.factors and splits.train.factors is None:
        raise InputError(f"{splits.train.name} has no known factors; they are the toy box's: --dataset toybox")
    random = build_method(recipe, len(splits.train.classes)).to(splits.train.device).backbone
    known = splits
    if not recipe.data.holdout and not elsewhere:  # what the network has trained on is the bank
        known = splits._replace(train=joined(splits.train, splits.holdout))
    others = {} if elsewhere else with_data_start(recipe, splits)
    rows = room.baseline_rows(random, known, args.split, size, others=others)
    label = recipe.method.name + ("" if getattr(recipe.method, "local_gradient", True) else " as released")
    rows[label] = room.evaluate(backbone, known, args.split, size=size)
    result: dict[str, Any] = {
        "recipe": recipe.to_dict(),
        "step": steps,
        "train_seconds": seconds,
        "rows": rows,
    }
    row = rows[label]
    print(room.table(rows))
    print(
        f"\n{splits.train.name}, asked on {args.split} ({row['queries']:,} pictures, bank {row['bank']:,}); kNN: cosine, "
        f"weighted, T 0.1; linear: L-BFGS on cached features; percent; seed {recipe.seed}, {steps} steps in "
        f"{format_duration(seconds)}, {row['hardware']}"
    )
    if args.few_labels or args.factors:
        bank, queries = (extract_features(backbone, part, size=size) for part in (known.train, asked))
    if args.few_labels:
        fewest = int(known.train.labels.bincount().min())
        each = tuple(count for count in linear.LABELS_A_CLASS if count <= fewest)
        classes = len(known.train.classes)
        curve = linear.few_label_curve(bank, known.train.labels, queries, asked.labels, classes, each)
        result["few_labels"] = {str(count): draws for count, draws in curve.items()}
        print("\nlabels a class -> linear top-1 of three draws")
        for count, draws in curve.items():
            print(f"{count:6d}  " + "  ".join(f"{100 * value:.1f}" for value in draws))
    if args.factors:
        bank = bank[: len(splits.train)]  # `dataset.joined` leaves the hold-out's factors behind
        found = linear.factor_probe(bank, splits.train.factors, queries, asked.factors, toybox.PERIODS)
        result["factors"] = found
        print("\nfactor -> what a linear map reads out of the features")
        for name, value in found.items():
            print(f"{name:>18}  {value['kind']} {value['value']:.2f}  (chance {value['chance']:.2f})")
    if protocol:
        result["paper_linear"] = paper_probe.paper_probe(backbone, known.train, asked, protocol, recipe.seed, size)
        last, best = result["paper_linear"]["last"], result["paper_linear"]["best_on_test"]
        print(
            f"\nthe paper's linear protocol, {args.paper} epochs: "
            f"last epoch {100 * last['top1']:.2f} / {100 * last['top5']:.2f} "
            f"(best of all tests {100 * best['top1']:.2f} / {100 * best['top5']:.2f})"
        )
    if path:
        save_json(path, result)
    print(f"\nwritten to {path}" if path else "\nnot written down; --json FILE does that")


def compare(args: argparse.Namespace) -> None:
    from ..drawing import sheets
    from ..methods.registry import METHODS, variant
    from ..recipe.flags import recipe_from
    from ..results import compare as room
    from ..results import paper_table

    names = [name.strip() for name in args.methods.split(",") if name.strip()]
    names = [each for name in names for each in (METHODS if name == "all" else [name])]
    try:
        seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError:
        raise InputError(f"--seeds takes whole numbers with commas between, such as 0,1,2; got {args.seeds!r}") from None
    one_size(args)
    recipes, others = {}, tuple(variant(name)[0] for name in names)
    for name in names:
        method, changes = variant(name)
        recipes[name] = recipe_from(args, method, others, **changes)
    sized = f"-{args.minutes:g}min" if args.minutes else f"-{args.image_views}views" if args.image_views else ""
    out = args.out or Path("runs") / f"compare-{slug(args.dataset)}{sized}"
    splits = _splits(args, args.dataset)
    result = room.compare(
        recipes, seeds, splits, out, args.split, args.minutes, args.device, image_views=args.image_views, engine=args.engine
    )
    text = room.table(result, args.markdown)
    (out / "compare.md").write_text(room.table(result, markdown=True) + "\n")
    print(f"\n{text}")
    if args.dataset == "cifar10":
        print(f"\nThe paper's table and the runs that come with a checkout:\n\n{paper_table.table(markdown=args.markdown)}")
    sheets.save(room.picture(result), out / "compare.png")
    print(f"\nwritten to {out}/compare.json, compare.md and compare.png")


def explore(args: argparse.Namespace) -> None:
    from ..core.text import format_duration
    from ..evaluation.evaluate import extract_features, query_split
    from ..explorers.embedding import page as room
    from ..training.run import load_run

    run = load_run(args.folder, args.device)
    splits = _splits(args, args.dataset or run.recipe.data.dataset)
    pictures = query_split(splits, args.split)
    out = args.out or args.folder / "explore"
    caption = f"{run.recipe.method.name}, seed {run.recipe.seed}, {run.step} steps in {format_duration(run.seconds)}"
    found = extract_features(run.backbone, pictures, size=run.recipe.views.eval_size or None)
    paths = room.explore(
        found, pictures, out, kind=args.map, seed=args.seed, points=args.points,
        title=f"{run.recipe.method.name} on {pictures.name}", caption=caption,
    )  # fmt: skip
    print("open in a browser or viewer:\n" + "\n".join(f"  {path}" for path in paths))


def export(args: argparse.Namespace) -> None:
    from ..results import export as room
    from ..training.run import load_run

    if args.part_mb is not None and not args.part_mb >= 1:
        raise InputError(f"--part-mb must be at least 1; got {args.part_mb:g}")
    part = round(args.part_mb * 1e6) if args.part_mb else None
    path = room.export_run(load_run(args.folder, "cpu"), args.path, args.half, part)
    print("written to " + ", ".join(str(file) for file in room.parts(path)))


def main(argv: list[str] | None = None) -> int:
    """Run one command. Bad input is one line on stderr and exit code 2; a run or a disk that broke, 1; an interrupt, 130."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["doctor"] and len(words) == 1:  # must answer even where torch cannot be imported
        return doctor(argparse.Namespace(data=None))
    args = parser().parse_args(argv)
    try:
        if args.command != "train":
            from ..core.distributed import refuse_many

            refuse_many(args.command)
        return args.run(args) or 0
    except InputError as error:
        print(f"mnclglf-lite: {error}", file=sys.stderr)
        return 2
    except (TrainingError, OSError) as error:  # OSError: a full disk, a folder that may not be written to
        print(f"mnclglf-lite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nmnclglf-lite: interrupted; what was written stays. To go on: the same command (train: with --resume)",
            file=sys.stderr,
        )
        return 130
