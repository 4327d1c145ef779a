"""A stand-in for the providers: strict about the contract, and free of charge.

It answers the routes of OpenAI, Azure OpenAI and Azure AI Foundry as they are
documented and as they were seen to answer, images included, and it refuses what they
refuse, in their words. What nobody documents it accepts. It draws, and to all else it
says one sentence: it calls no functions, does not reason, and keeps to no schema. It
shares no judgement with `imagegate.engine`: the two are checked against each other.

    app = create_simulator()
    uvicorn.run(app, host="127.0.0.1", port=9000)

Misbehaviour is ordered by the request, in `metadata`, which every gateway lets pass:
`metadata={"simulator": "status=429"}`. The words are the fields of `Behaviour`.
"""

from __future__ import annotations

from imagegate.simulator.app import Simulator, create_simulator
from imagegate.simulator.behaviour import Behaviour
from imagegate.simulator.received import Received

__all__ = ["Behaviour", "Received", "Simulator", "create_simulator"]
