"""Notebook 08: SimCLR and its relatives; on each branch the one thing that is changed."""

from PIL import Image, ImageDraw

from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, GREY, INK

BOX, TALL, FIRST, SECOND, TRUNK = 150, 46, 400, 736, 178  # pixels; left edges of the two columns, and of the trunk
ROWS = (46, 110, 174, 238, 302, 366)  # middles
# row, name, what it has; then the change that leads to it
CHILDREN = (
    (0, "MoCo", "queue, slow twin", "wrong answers from a queue"),
    (2, "NNCLR", "queue of positives", "another right answer"),
    (3, "BYOL", "slow twin, predictor", "no wrong answers"),
    (4, "Fast-MoCo", "pairs of patches", "ask about parts"),
    (5, "GLNet", "montages, place", "show parts, shuffled"),
)
GRANDCHILDREN = (
    (0, 0, "MCL", "two, each with a twin", "several networks"),
    (0, 1, "CGH", "teacher, two contexts", "shares, not one answer"),
    (3, 3, "SimSiam", "stop-gradient", "no twin"),
    (4, 4, "MNCLGLF", "patches as targets", "turned round"),
)


def box(pen, x, row, name, has, colour):
    y = ROWS[row]
    pen.rounded_rectangle((x, y - TALL // 2, x + BOX, y + TALL // 2), 8, "white", colour, 2)
    pen.text((x + BOX / 2, y - 9), name, colour, canvas.font(16), anchor="mm")
    pen.text((x + BOX / 2, y + 11), has, GREY, canvas.font(12), anchor="mm")


def draw():
    sheet = Image.new("RGB", (900, 436), "white")
    pen = ImageDraw.Draw(sheet)
    middle = (ROWS[0] + ROWS[-1]) // 2
    pen.line((164, middle, TRUNK, middle), GREY, 2)
    pen.line((TRUNK, ROWS[0], TRUNK, ROWS[-1]), GREY, 2)
    for row, name, has, change in CHILDREN:
        pen.line((TRUNK, ROWS[row], FIRST, ROWS[row]), GREY, 2)
        pen.text((TRUNK + 14, ROWS[row] - 4), change, INK, canvas.font(15), anchor="ls")
        box(pen, FIRST, row, name, has, AGREE)
    for parent, row, name, has, change in GRANDCHILDREN:
        turn = FIRST + BOX + 14
        pen.line((FIRST + BOX, ROWS[parent], turn, ROWS[parent]), GREY, 2)
        pen.line((turn, ROWS[parent], turn, ROWS[row]), GREY, 2)
        pen.line((turn, ROWS[row], SECOND, ROWS[row]), GREY, 2)
        pen.text((turn + 10, ROWS[row] - 4), change, INK, canvas.font(15), anchor="ls")
        box(pen, SECOND, row, name, has, DISAGREE if name == "MNCLGLF" else AGREE)
    up, down = ROWS[2], ROWS[4] - TALL // 2  # NNCLR lends its neighbours to MNCLGLF, past SimSiam
    side = SECOND - 12
    for start in range(FIRST + BOX, side, 10):
        pen.line((start, up, min(start + 5, side), up), DISAGREE, 2)
    for start in range(up, down + 12, 10):
        pen.line((side, start, side, min(start + 5, down + 12)), DISAGREE, 2)
    pen.line((side, down + 12, SECOND, down + 12), DISAGREE, 2)
    pen.text((FIRST + BOX + 24, up - 4), "its neighbours", DISAGREE, canvas.font(15), anchor="ls")
    pen.rounded_rectangle((14, middle - 40, 164, middle + 40), 8, "white", INK, 2)
    for dy, text, colour, size in (
        (-24, "SimCLR", INK, 18), (-3, "two views, one network,", GREY, 12), (12, "wrong answers from", GREY, 12),
        (27, "the batch", GREY, 12),
    ):  # fmt: skip
        pen.text((89, middle + dy), text, colour, canvas.font(size), anchor="mm")
    pen.text(
        (14, 412),
        "Drawn as changes of one picture, not as history, and only the main change of each: the table at the end has all of them.",
        GREY,
        canvas.font(12),
    )
    return sheet
