"""Measurements that stand beside the package: each file says what it measures and with which command."""
