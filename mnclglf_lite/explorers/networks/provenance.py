"""Where did a tensor come from? A ledger that watches torch's operations and keeps, for each tensor, what it was made of.

    with Ledger() as ledger:
        ledger.begin(x1, "x1"); ledger.begin(x2, "x2")          sources have a name
        a, b = torch.stack([x1, x2]).flip(0).chunk(2)
        c = (a * b).detach()
    ledger.before(a)    {"x2": GradientPath(True)}                  what only moves numbers is followed number by number
    ledger.before(c)    {"x1": GradientPath(False, "detach"), ...}  and whether a gradient can go the way back

Operations come in two kinds. *Moves* (stack, chunk, reshape, an index ...) make no new number: they are done once more on a
shadow that holds, in the place of each number, where it came from. All others make numbers out of all they were given. An
operation that keeps no gradient although it was given one cuts the way, and the ledger notes why: `detach`, `no_grad`, or
an operation without a derivative, such as argmax.

All this is seen while the code runs, so it holds for code that the ledger has never met. Numbers that pass through Python
(`.item()`) or NumPy are lost from sight. `iter_tensors` and `map_tensors` serve nested tuples, lists and dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def iter_tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from iter_tensors(part)
    elif isinstance(tree, dict):
        yield from iter_tensors(list(tree.values()))


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named tuple takes its parts one by one
        return type(tree)(*(map_tensors(part, change) for part in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_tensors(part, change) for part in tree)
    return {key: map_tensors(part, change) for key, part in tree.items()} if isinstance(tree, dict) else tree


# --- Where did a tensor come from? A ledger that watches torch's operations and keeps, for each tensor, what it was made of.

MOVES = {
    "__getitem__", "cat", "chunk", "concat", "concatenate", "expand", "expand_as", "flatten", "flip", "hstack",
    "index_select", "movedim", "narrow", "permute", "repeat", "reshape", "roll", "select", "split", "squeeze", "stack",
    "swapaxes", "tensor_split", "transpose", "unbind", "unflatten", "unsqueeze", "view", "view_as", "vstack",
}  # fmt: skip
COPIES = {
    "bfloat16", "clone", "contiguous", "cpu", "cuda", "detach", "double", "float", "half", "requires_grad_", "to", "type",
}  # fmt: skip
INDEXED = {"__getitem__", "index_select"}  # moves whose later arguments say which numbers, and are none of them
SHAPED = {"expand_as", "view_as"}  # and here they give a shape
NOTHING = -1  # in a shadow: numbers from nowhere, such as constants


class GradientPath(NamedTuple):
    """How one thing reached another: whether a gradient can go back, and if not, what cut it."""

    gradient: bool
    cut: str = ""

    def then(self, further: GradientPath) -> GradientPath:
        """This way and a further one behind it: where a gradient was lost first is what counts."""
        return GradientPath(self.gradient and further.gradient, self.cut or (further.cut if self.gradient else ""))


@dataclass
class _Value:
    """Numbers that were made at one moment, out of others."""

    parents: dict[int, GradientPath]
    kept: bool  # was it on a gradient's way when it was made?
    name: str = ""  # of a source, or of a place to stop at


Tag = int | Tensor  # the value that a tensor holds, or a shadow: one for each of its numbers


class Ledger(TorchFunctionMode):
    """See above. Tensors are kept alive as long as the ledger is: use it on small batches."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[_Value] = []
        self.tags: dict[int, Tag] = {}  # by the tensor's id
        self.alive: list[Tensor] = []  # so that no id is given away twice
        self.makers: dict[Any, set[int]] = {}  # autograd's nodes -> values
        self.inside = 0  # depth of what is not looked into

    # ---- asked from outside

    def begin(self, tensor: Tensor, name: str, sources: Sequence[Tensor] = ()) -> None:
        """From here on `tensor` is a place of this name. `sources`: what it was made of, unseen, inside of a network."""
        parents: dict[int, GradientPath] = {}
        for source in sources:
            lost = source.requires_grad and not tensor.requires_grad
            way = GradientPath(source.requires_grad and tensor.requires_grad, "no_grad" if lost else "")
            for number in _numbers(self._tag_of(source)):
                _join(parents, {number: GradientPath(True)}, way)
        self._note(tensor, self._new(parents, tensor, name))

    def call(self, tensor: Tensor, name: str) -> bool:
        """Make what a tensor holds a place, if that is one thing and has no name yet."""
        tag = self._tag_of(tensor)
        free = isinstance(tag, int) and tag != NOTHING and not self.values[tag].name
        if free:
            self.values[tag].name = name
        return free

    def places(self, tensor: Tensor) -> set[str]:
        """The places that a tensor's numbers are, moved about or copied at most."""
        return {self.values[number].name for number in _numbers(self._tag_of(tensor))} - {""}

    def rank(self, name: str) -> int:
        """When a place began: the first are the smallest."""
        return next(number for number, value in enumerate(self.values) if value.name == name)

    def before(self, tensor: Tensor) -> dict[str, GradientPath]:
        """The nearest places that a tensor was made of; itself, where it is one."""
        found: dict[str, GradientPath] = {}
        for number in _numbers(self._tag_of(tensor)):
            name, kept = self.values[number].name, tensor.requires_grad or not self.values[number].kept
            _join(
                found,
                {name: GradientPath(True)} if name else self._behind(number),
                GradientPath(kept, "" if kept else "detach"),
            )
        return found

    def behind(self, tensor: Tensor) -> dict[str, GradientPath]:
        """The nearest places that a place was made of."""
        found: dict[str, GradientPath] = {}
        for number in _numbers(self._tag_of(tensor)):
            _join(found, self._behind(number), GradientPath(True))
        return found

    # ---- what happens at an operation

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return func(*args, **kwargs)
        given = {id(t): (tag, t.requires_grad) for t in iter_tensors((args, kwargs)) if (tag := self._tag_of(t)) is not None}
        came = {id(t) for t in iter_tensors((args, kwargs))} if given else set()
        result = func(*args, **kwargs)
        if not given:
            return result
        name = getattr(func, "__name__", "")
        if name == "__setitem__":
            self._write(args[0], given, name)
            return result
        made = list(iter_tensors(result))
        fresh = [t for t in made if id(t) not in came]
        tags = self._moved(func, name, args, kwargs, given) if fresh else None
        for i, tensor in enumerate(made):
            if id(tensor) not in came and tags is not None:
                self._note(tensor, self._cut(tensor, tags[min(i, len(tags) - 1)], name))
            elif id(tensor) not in came:
                self._note(tensor, self._made(tensor, given, name))
            elif name not in MOVES | COPIES:  # in place; else nothing was to be done, as in `x.contiguous()`
                self._write(tensor, given, name)
        return result

    def _write(self, tensor: Tensor, given: dict[int, tuple[Tag, bool]], name: str) -> None:
        """A tensor was changed in place: it holds what it held, and what it was given; so does the one it is a part of."""
        self._note(tensor, self._made(tensor, given, name))
        if tensor._base is not None:
            held, kept = self._tag_of(tensor._base), tensor._base.requires_grad
            whole = given if held is None else given | {id(tensor._base): (held, kept)}
            self._note(tensor._base, self._made(tensor._base, whole, name))

    def _made(self, tensor: Tensor, given: dict[int, tuple[Tag, bool]], name: str) -> int:
        """A new value, made of everything that went in."""
        parents: dict[int, GradientPath] = {}
        for tag, could in given.values():
            kept = could and tensor.requires_grad
            for number in _numbers(tag):
                _join(parents, {number: GradientPath(True)}, GradientPath(kept, reason(name) if could and not kept else ""))
        return self._new(parents, tensor)

    def _moved(self, func: Callable, name: str, args: tuple, kwargs: dict, given: dict) -> list[Tag] | None:
        """The tags of what a move or a copy gave: one for all, or one each. None for all other operations."""
        if name not in MOVES | COPIES:
            return None
        if name in INDEXED and any(id(t) in given for t in iter_tensors((args[1:], kwargs))):  # values say which numbers
            return None
        tensors = list(iter_tensors(args[:1] if name in INDEXED | SHAPED | COPIES else (args, kwargs)))
        held = {id(t): given.get(id(t), (NOTHING, False))[0] for t in tensors}
        first = next(iter(held.values()))
        if name in COPIES or all(isinstance(tag, int) and tag == first for tag in held.values()):
            return [first]
        shadows = {
            id(t): held[id(t)] if isinstance(held[id(t)], Tensor) else torch.full(t.shape, held[id(t)], device=t.device)
            for t in tensors
        }
        args, kwargs = map_tensors((args, kwargs), lambda t: shadows.get(id(t), t))
        return [_plain(shadow) for shadow in iter_tensors(func(*args, **kwargs))]

    def _cut(self, tensor: Tensor, tag: Tag, name: str) -> Tag:
        """The same tag, with new values where a move or a copy dropped the gradient."""
        lost = [number for number in _numbers(tag) if self.values[number].kept and not tensor.requires_grad]
        fresh = {number: self._new({number: GradientPath(False, reason(name))}, tensor) for number in lost}
        if isinstance(tag, int):
            tag = fresh.get(tag, tag)
        elif fresh:
            for old, new in fresh.items():
                tag = torch.where(tag == old, new, tag)
        if tensor.grad_fn is not None:
            self.makers[tensor.grad_fn] = set(_numbers(tag))
        return tag

    # ---- bookkeeping

    def _new(self, parents: dict[int, GradientPath], tensor: Tensor, name: str = "") -> int:
        self.values.append(_Value(parents, tensor.requires_grad, name))
        if tensor.grad_fn is not None:
            self.makers[tensor.grad_fn] = {len(self.values) - 1}
        return len(self.values) - 1

    def _note(self, tensor: Tensor, tag: Tag) -> None:
        self.tags[id(tensor)] = tag
        self.alive.append(tensor)

    def _tag_of(self, tensor: Tensor) -> Tag | None:
        """A tensor's tag. What an `autograd.Function` gave, unseen, is looked up in autograd's own graph."""
        tag = self.tags.get(id(tensor))
        if tensor.grad_fn is None or isinstance(tag, Tensor) or (tag not in (None, NOTHING) and self.values[tag].kept):
            return tag
        parents = {number: GradientPath(True) for number in self._makers_of(tensor.grad_fn)}
        if not parents:
            return tag
        self._note(tensor, self._new(parents, tensor))
        return self.tags[id(tensor)]

    def _makers_of(self, last: Any) -> set[int]:
        """The nearest values behind a node of autograd's graph."""
        found: set[int] = set()
        seen, todo = set(), [last]
        while todo:
            node = todo.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node in self.makers:
                found |= self.makers[node]
            elif hasattr(node, "variable"):  # a parameter
                found |= set(_numbers(self.tags.get(id(node.variable))))
            else:
                todo += [earlier for earlier, _ in node.next_functions]
        return found

    def _behind(self, number: int) -> dict[str, GradientPath]:
        """The nearest places behind a value, by all ways that lead there."""
        found: dict[str, GradientPath] = {}
        seen: set[tuple[int, GradientPath]] = set()
        todo = [(number, GradientPath(True))]
        while todo:
            at, then = todo.pop()
            for parent, way in self.values[at].parents.items():
                whole = way.then(then)
                if name := self.values[parent].name:
                    _join(found, {name: whole}, GradientPath(True))
                elif (parent, whole) not in seen:
                    seen.add((parent, whole))
                    todo.append((parent, whole))
        return found


def reason(operation: str) -> str:
    """Why an operation kept no gradient."""
    if operation in ("detach", "detach_"):
        return "detach"
    return "no derivative" if torch.is_grad_enabled() else "no_grad"


def _plain(shadow: Tensor) -> Tag:
    """A shadow of one value alone is that value."""
    ids = shadow.unique().tolist()
    return ids[0] if len(ids) == 1 else shadow


def _numbers(tag: Tag | None) -> list[int]:
    if tag is None:
        return []
    return [number for number in ([tag] if isinstance(tag, int) else tag.unique().tolist()) if number != NOTHING]


def _join(ways: dict[Any, GradientPath], others: dict[Any, GradientPath], then: GradientPath) -> None:
    """Add ways that go on by `then`. Of two to the same place, one with a gradient counts."""
    for place, way in others.items():
        whole = way.then(then)
        if place not in ways or (whole.gradient and not ways[place].gradient):
            ways[place] = whole
