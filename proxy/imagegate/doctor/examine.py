"""The whole examination, area by area, each whatever the others find."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, cast

from imagegate import shipped
from imagegate.doctor.files import examine_files
from imagegate.doctor.finding import Finding
from imagegate.doctor.issuer import examine_issuer
from imagegate.doctor.listening import examine_listener
from imagegate.doctor.machine import examine_machine
from imagegate.doctor.matching import examine_matching
from imagegate.doctor.policy import examine_policy
from imagegate.doctor.provider import Permits, examine_provider
from imagegate.doctor.stores import examine_stores
from imagegate.doctor.trail import examine_trail
from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block
from imagegate.engine.policy import Policy
from imagegate.engine.request import Request
from imagegate.engine.surface import Match, find_door
from imagegate.gateway.assemble import client_of, proxy_of, upstream_of
from imagegate.policyfile import Checked
from imagegate.settings import Reading, Settings
from imagegate.upstream.document import Documents
from imagegate.upstream.trust import trusting

_UNUSABLE: Final = "look at it again when the settings are well"


async def examine(
    reading: Reading,
    checked: Checked | None,
    file: str,
    environ: Mapping[str, str],
) -> AsyncIterator[Finding]:
    """Look at everything.

    Args:
        reading: The settings, with what is wrong with them.
        checked: The policy with what is wrong with it, if it could be read.
        file: The name of its file.
        environ: The environment.
    """
    settings, now = reading.settings, datetime.datetime.now(tz=datetime.UTC)
    here = itertools.chain(
        _settings(reading),
        _policy(checked, file, settings, now),
        examine_machine(settings, environ),
        examine_files(settings),
        examine_listener(settings, now),
        examine_trail(settings.audit),
        examine_stores(settings),
    )
    for finding in here:
        yield finding
    broken = {problem.path.partition(".credential")[0] for problem in reading.problems}
    policy = checked.policy if checked else None
    async for finding in _others(settings, broken, policy, environ, now):
        yield finding


async def _others(
    settings: Settings,
    broken: set[str],
    policy: Policy | None,
    environ: Mapping[str, str],
    now: datetime.datetime,
) -> AsyncIterator[Finding]:
    """Ask whoever is elsewhere, if the settings of the way there are well."""
    if any(path.startswith("pool.") for path in broken):
        for name in settings.upstreams:
            yield _unusable(name)
        return
    async for finding in _providers(settings, broken, policy, environ, now):
        yield finding
    async for finding in _issuer(settings, broken):
        yield finding


def _unusable(name: str) -> Finding:
    return Finding(weight="advice", area=f"provider {name}", found=_UNUSABLE)


def _settings(reading: Reading) -> Iterator[Finding]:
    for problem in reading.problems:
        said = filter(None, (problem.origin, problem.path, problem.message))
        yield Finding(weight="broken", area="settings", found=": ".join(said))


def _policy(
    checked: Checked | None, file: str, settings: Settings, now: datetime.datetime
) -> Iterator[Finding]:
    """Look at the policy, by itself and beside who can come."""
    if checked is not None:
        yield from examine_policy(checked, file)
        if checked.policy is not None:
            yield from examine_matching(checked.policy, settings.identity, now)


async def _issuer(settings: Settings, broken: set[str]) -> AsyncIterator[Finding]:
    """Ask the provider of identities for its keys, if its settings are well."""
    if any(path.startswith("identity.jwt") for path in broken):
        return
    client = client_of(settings)
    try:
        async for finding in examine_issuer(settings.identity.jwt, Documents(client)):
            yield finding
    finally:
        await client.close()


async def _providers(
    settings: Settings,
    broken: set[str],
    policy: Policy | None,
    environ: Mapping[str, str],
    now: datetime.datetime,
) -> AsyncIterator[Finding]:
    """Ask each provider whose settings are well."""
    client, trust = client_of(settings), trusting(settings.pool.authorities)
    permits, proxy = permits_of(policy, now.date()), proxy_of(settings.pool)
    try:
        for name, each in settings.upstreams.items():
            if any(path.startswith(f"upstreams.{name}") for path in broken):
                yield _unusable(name)
                continue
            upstream = upstream_of(name, each, environ)
            async for finding in examine_provider(
                upstream, client, trust, proxy, permits, now
            ):
                yield finding
            await upstream.credential.close()
    finally:
        await client.close()


def permits_of(policy: Policy | None, today: datetime.date) -> Permits:
    """Return what tells whether the policy lets an image model through as it is."""
    catalogue = shipped.catalogue()
    known = catalogue.provider("openai")
    door = find_door("POST", "/v1/responses")

    def permits(model: str) -> bool | None:
        if policy is None or known.model(model) is None:
            return None
        tool = b'{"type":"image_generation","model":"%s"}' % model.encode()
        body = read_body_now(b'{"model":"gpt-5","input":"","tools":[%s]}' % tool)
        request = Request(match=cast("Match", door), body=body, date=today)
        decision = Decider(policy, catalogue).decide(request)
        if isinstance(decision, Block):
            return False
        return all(tool.enforced.get("model") == model for tool in decision.tools)

    return permits
