"""Views: what augmentation does to a batch of images. Random numbers are drawn first, as data, and rendered afterwards.

view.py          View (what may happen), ViewParams (what was drawn), `render_view`; normalisation
named_views.py   views that presets and methods share
crops.py         boxes of random crops for a whole batch, and one batched resample that cuts them
color.py         colour jitter, greyscale, blur and solarisation, with a factor for each image
patches.py       a view cut into a grid of patches, and averages over combinations of their features (Fast-MoCo)
montage.py       quarters of images shuffled over the batch and glued into montages (JigClu, GLNet)
batch.py         all views of a batch, as a training step makes them
"""
