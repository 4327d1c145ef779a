"""The engine: bytes and values in, values out.

No socket, clock, logger, environment or randomness lives here. A request brings
its date, its principal and its decision id; whoever calls adds durations.
"""
