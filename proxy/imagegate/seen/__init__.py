"""What this gateway has judged: responses, conversations and items, by their ids.

A request may refer to state at the provider that no request shows. The word `seen`
in a policy lets such a reference pass when the state was made by requests that were
judged here, for the same principal, and when the tools that it holds would pass
today's policy as they are.
"""

from imagegate.seen.memory import MemorySeen
from imagegate.seen.redis import RedisSeen
from imagegate.seen.store import Seen, Sight, SightLost, allowed, joined

__all__ = [
    "MemorySeen",
    "RedisSeen",
    "Seen",
    "Sight",
    "SightLost",
    "allowed",
    "joined",
]
