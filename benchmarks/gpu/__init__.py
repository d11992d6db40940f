"""What to run first on a CUDA GPU: `first_light.py`; README.md says what to carry and what to type."""
