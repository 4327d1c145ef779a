"""Policies, checked and laid out, and the one of them that holds now.

A policy that is put in the place of another holds from the next request on: what has
begun is ended under the one that it began with.
"""

from __future__ import annotations

from imagegate.gates.followed import Followed
from imagegate.gates.holder import Edition, Gates
from imagegate.gates.reading import load_gate, read_gate

__all__ = ["Edition", "Followed", "Gates", "load_gate", "read_gate"]
