"""The combine explorer: a view cut into patches whose features are averaged over combinations.

compute.py   patches, combinations, their embeddings and cosine similarities, from one forward pass of a method
figure.py    the view, its patches, and what each combination becomes
words.py     the figure in sentences
widget.py    CombineExplorer
"""
