"""One policy for AI image generation, enforced on the wire and proved on paper.

The names here are the public ones. `imagegate.shipped` finds the catalogue and the
policies that come with the program; `imagegate.middleware` governs an application that
forwards requests, and `imagegate.transport` one that calls an SDK itself.
"""

from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Forward, Rewrite
from imagegate.engine.errors import MalformedRequest, PolicyError
from imagegate.engine.policy import Policy, Principal
from imagegate.engine.request import Request
from imagegate.policyfile import load_policy

__all__ = [
    "Block",
    "Decider",
    "Decision",
    "Forward",
    "MalformedRequest",
    "Policy",
    "PolicyError",
    "Principal",
    "Request",
    "Rewrite",
    "load_policy",
    "read_body_now",
]
