"""Learn contrastive self-supervised learning by doing it: global and local views, several networks, one frame.

    images --> views --> networks --> loss --> measure --> look

Importing the package is cheap: it needs torch and numpy, and nothing of jupyter, matplotlib, scikit-learn or umap.
"""

__version__ = "0.1.0"
