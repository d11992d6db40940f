"""What each notebook asks, the typical slips, and the hints: one file a notebook, read by `checks`."""

from __future__ import annotations
