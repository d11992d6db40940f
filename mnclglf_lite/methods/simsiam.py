from .base import Method


class SimSiam(Method):
    def __init__(self, recipe, classes):
        raise NotImplementedError
