"""The client on asyncio's protocols and llhttp: what most requests go through.

`client` sends, `pool` keeps connections, `connection` reads and writes one of them,
`reading` makes an answer out of what came and touches no socket, `writing` makes a
head out of a request.
"""
