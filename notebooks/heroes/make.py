"""Draw the picture at the head of each notebook: python notebooks/heroes/make.py [NN ...] -> notebooks/heroes/NN.png

Each is drawn by `draw()` of hNN.py beside this file, from computations of a few seconds and from data/runs.
"""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(wanted: list[str]) -> None:
    sys.path.insert(0, str(HERE))
    for source in sorted(HERE.glob("h[0-9]*.py")):
        number = source.stem[1:]
        if not wanted or number in wanted:
            picture = importlib.import_module(source.stem).draw()
            picture.save(HERE / f"{number}.png", optimize=True)
            print(
                f"drew {number}.png, {picture.width} x {picture.height}, {(HERE / f'{number}.png').stat().st_size / 1e3:.0f} kB"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
