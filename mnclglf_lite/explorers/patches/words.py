"""What the combine explorer's picture shows, in sentences."""

from __future__ import annotations

from .compute import Combined
from .figure import ROWS, noun

ALT = (
    "A view and its patches; below, for each combination of patches, its embedding as a strip of colours and its cosine "
    "with the prediction of another view, among those of other pictures."
)
LISTED = 12  # combinations told one by one (ours): more are a list that nobody listens to


def describe(found: Combined, chosen: str = "") -> str:
    """The state in words, a line for each matter."""
    own, count, others = found.cosines[:, 0], len(found.members), found.others
    side, size = found.second.shape[-1], found.patches.shape[-1]
    cut = f"cut into {found.grid}x{found.grid} patches" if found.grid else f"joined by {len(found.patches)} random crops"
    lines = [
        f"The view x2 of {side} pixels is {cut} of {size} pixels: {count} combination{'s' if count > 1 else ''} of "
        f"{len(found.members[0])}. Each becomes {found.prediction.numel()} numbers, which the loss compares with p(x1), the "
        "prediction for the picture's other view.",
        f"Cosine with p(x1): {float(own.min()):.2f} to {float(own.max()):.2f}. On average it is larger than for "
        f"{float(found.beaten.float().mean()):.1f} of {others} other pictures; chance would give {others / 2:g}.",
    ]
    if count <= LISTED:
        each = (f"{n} {float(c):.2f} ({int(b)} of {others})" for n, c, b in zip(found.names, own, found.beaten, strict=True))
        lines.append(f"{noun(found).capitalize()}s: {', '.join(each)}.")
    elif count > ROWS:
        lines.append(f"The first {ROWS} are drawn.")
    batch = f"this batch of {others + 1} pictures"
    lines.append(f"BatchNorm takes its statistics from {batch}, as in training; the method stays as it was.")
    names = [f"{noun(found)} {j + 1}" for j in range(count)]
    if chosen in names:
        lines.append(one(found, names.index(chosen)))
    return "\n".join(lines)


def one(found: Combined, j: int) -> str:
    """One combination in a sentence."""
    members, cosine, numbers = len(found.members[j]), float(found.cosines[j, 0]), found.prediction.numel()
    features = f"mean of {members} pooled features" if members > 1 else "one pooled feature"
    return (
        f"{noun(found)} {j + 1} = {found.names[j]}: {features}, projected to {numbers} numbers; cosine with p(x1) "
        f"{cosine:.2f}, larger than for {int(found.beaten[j])} of {found.others} other pictures."
    )
