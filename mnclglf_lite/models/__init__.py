"""Models: the networks, and what a method keeps of them from one step to the next.

resnet.py         the backbone: a ResNet of any width, depth and stem, under torchvision's key names
convolution.py    torch's convolution, whose weight gradient is faster on small maps, on a CPU in bf16
encoder.py        the backbone as settings: width, blocks, stem
heads.py          projection head (projector) and prediction head (predictor)
batchnorm.py      BatchNorm with statistics of parts of the batch, or of all processes; the batch shuffled and back
momentum.py       the momentum encoder (target network): EMA update, and the schedule of its momentum
memory_queue.py   a queue of embeddings: first in, first out; nearest-neighbour look-up
freeze.py         gradients off for good; eval mode for a while
"""
