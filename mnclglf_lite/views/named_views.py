"""Views by name: those that presets and methods share. `QUICK_VIEW` and `TOY_VIEW` are for runs of minutes."""

from __future__ import annotations

from .view import View

# Blur is off and grey rarer than in the release: at 32 pixels both cost accuracy and time (SimCLR's CIFAR recipes agree).
SMALL_IMAGE_VIEW = View(gray_p=0.1, blur_p=0.0)
# The supervised reference's and, but for the crop, a weak teacher's: no colour changes.
PLAIN_VIEW = View(scale=(0.4, 1.0), jitter_p=0.0, gray_p=0.0, blur_p=0.0)
# Views of 24 pixels cost 0.56 of 32; in minutes the steps gained are worth more than the pixels (measured).
QUICK_VIEW = View(size=24, scale=(0.3, 1.0), gray_p=0.1, blur_p=0.0)
WEAK_VIEW = View(size=24, jitter_p=0.0, gray_p=0.0, blur_p=0.0)
# A toy's colour says nothing, nor whether it is brighter than its ground, so views may change both wildly; crops keep most
# of the toy (measured).
TOY_VIEW = View(scale=(0.4, 1.0), jitter=(0.8, 0.8, 0.8, 0.5), gray_p=0.5, blur_p=0.0, invert_p=0.5)
