"""Draw the pictures of the explorers that README shows: python docs/make_explorers.py -> docs/explorers/*.png

Each is what the widget shows when it is opened, on toys drawn on the spot: nothing is trained, nothing is measured.
"""

from pathlib import Path

from mnclglf_lite.explorers import CropExplorer, LossExplorer, NetworkDiagram

HERE = Path(__file__).parent / "explorers"


def main() -> None:
    HERE.mkdir(exist_ok=True)
    made = {"networks": NetworkDiagram("mnclglf"), "crops": CropExplorer(), "loss": LossExplorer()}
    for name, explorer in made.items():
        (HERE / f"{name}.png").write_bytes(explorer.picture.png)
        print(f"docs/explorers/{name}.png: {explorer.picture.alt}")


if __name__ == "__main__":
    main()
