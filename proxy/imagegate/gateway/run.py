"""Running a gateway: here, or in workers of which this process is the parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from imagegate import log
from imagegate.gates.watch import News, Watch
from imagegate.gateway.assemble import (
    CannotServeError,
    assemble,
    quotas_of,
    seen_of,
    server_of,
)
from imagegate.gateway.folder import shared_folder
from imagegate.gateway.measure import Measured, measured_here, measured_in_workers
from imagegate.gateway.plan import Live, Plan, encode
from imagegate.gateway.reports import Reports
from imagegate.gateway.watching import Reread, watch
from imagegate.server.descriptors import ask_for, carried
from imagegate.server.listener import bind, url_of
from imagegate.server.notify import Notify
from imagegate.server.signals import held_back
from imagegate.server.workers import CannotStartError, Workers
from imagegate.settings import Settings

Bell: TypeAlias = queue.SimpleQueue[None]
# `-P`: what lies in the working directory is not imported in a module's place.
WORKER: Sequence[str] = (sys.executable, "-P", "-m", "imagegate.gateway.worker")


def serve(plan: Plan, reread: Reread | None = None) -> None:
    """Serve until a signal ends it.

    Args:
        plan: What is served.
        reread: Reads the settings anew, where there is a file of them.

    Raises:
        CannotListenError: When the address cannot be had.
        CannotServeError: When the workers do not start, or do not end by themselves.
        CannotMeasureError: When the port of the metrics cannot be had.
    """
    listen = plan.settings.listen
    ask_for(listen.connections)
    with with_threads(), held_back(), bind(listen) as listening, hang_ups() as bell:
        listening.set_inheritable(False)
        front = Front(plan, listening, bell, reread)
        if listen.workers == 1:
            with measured_here(plan.settings.metrics) as measured:
                serve_here(front, measured)
        else:
            with (
                measured_in_workers(plan.settings.metrics) as measured,
                remembering_together(plan.settings) as settings,
            ):
                asyncio.run(_serve_in_workers(front, settings, measured))
    log.info("imagegate.stopped")


@contextlib.contextmanager
def with_threads() -> Iterator[None]:
    """Say what is wrong where no thread can be had, for which Python has no class.

    Raises:
        CannotServeError: When that is so.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        raise CannotServeError(
            "this user, or this container, may have no more threads; raise the limit "
            "(TasksMax=, ulimit -u, pids)"
        ) from None


class Front:
    """What is the same whoever serves: where, what, and who is told of it."""

    def __init__(
        self,
        plan: Plan,
        listening: socket.socket,
        bell: Bell,
        reread: Reread | None = None,
    ) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.listening = listening
        self.live = Live(plan)
        self.notify = Notify.taken_from(os.environ)
        self._bell = bell
        self._reread = reread

    def watching(
        self, measured: Measured, on_news: Callable[[News], None]
    ) -> tuple[Watch, Reports]:
        """Return what watches the files, and what is told of them."""
        reports = Reports(self.notify, measured.reloads, self.live.gates)

        def put_in_force(news: News) -> None:
            on_news(news)
            reports.stale(news.stale)

        watched = watch(
            self.plan,
            put_in_force,
            observer=reports,
            bell=self._bell,
            reread=self._reread,
        )
        return watched, reports

    def announce(self, reports: Reports) -> None:
        """Say that the gateway serves: what, where, and for whom."""
        edition, settings = self.live.gates.current, self.settings
        gate, candidate = edition.gate, edition.candidate
        beside = {} if candidate is None else {"candidate": candidate.policy.name}
        log.info(
            "imagegate.listening",
            url=url_of(settings.listen, self.listening.getsockname()[1]),
            workers=settings.listen.workers,
            policy=gate.policy.name,
            mode=gate.policy.mode,
            digest=gate.digest,
            **beside,
            upstreams={
                each.prefix or "/": each.url for each in settings.upstreams.values()
            },
        )
        most = carried(settings.listen.connections)
        if most < settings.pool.connections:
            log.warning("imagegate.few_descriptors", connections=most)
        if settings.listen.unauthenticated:
            log.warning("imagegate.unauthenticated", host=settings.listen.host)
        reports.started()


@contextlib.contextmanager
def hang_ups() -> Iterator[Bell]:
    """Let SIGHUP ask for a look at the files, from the first moment on."""
    bell: Bell = queue.SimpleQueue()
    # Whose `put` may be called in the middle of another one.
    before = signal.signal(signal.SIGHUP, lambda *_: bell.put(None))
    try:
        yield bell
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def remembering_together(settings: Settings) -> Iterator[Settings]:
    """Let workers share what they judged and counted, as long as they run at least.

    Raises:
        CannotServeError: When a file that they are to share cannot be opened, or there
            is no place for one.
    """
    with shared_folder("state") as directory:
        state = settings.state
        if state.redis is None:
            file = state.file or directory / "seen.db"
            state = msgspec.structs.replace(state, file=file)
        quotas = settings.quotas
        if quotas.redis is None:
            file = quotas.file or directory / "quotas.db"
            quotas = msgspec.structs.replace(quotas, file=file)
        asyncio.run(seen_of(state).close())
        asyncio.run(quotas_of(quotas).close())
        yield msgspec.structs.replace(settings, state=state, quotas=quotas)


def serve_here(front: Front, measured: Measured) -> None:
    """Serve in this process."""
    settings, live, metrics = front.settings, front.live, measured.metrics

    def put_in_force(news: News) -> None:
        if live.apply(news) and metrics is not None:
            metrics.loaded()

    watched, reports = front.watching(measured, put_in_force)
    app = assemble(settings, live, os.environ, metrics)
    server = server_of(settings, app, metrics)
    server.on_started = lambda: front.announce(reports)
    server.on_stopping = front.notify.stopping
    server.on_beat = front.notify.beat
    with watched:
        server.run_until_told(front.listening)


async def _serve_in_workers(
    front: Front, settings: Settings, measured: Measured
) -> None:
    log.take_over()
    loop = asyncio.get_running_loop()

    def put_in_force(news: News) -> None:
        """Tell the workers, and wait for them: a reload is done when they have it."""
        front.live.apply(news)  # what cannot be laid out here goes nowhere
        telling = workers.tell(encode(news))
        asyncio.run_coroutine_threadsafe(telling, loop).result()

    watched, reports = front.watching(measured, put_in_force)
    workers = Workers(
        WORKER,
        plan=encode(settings),
        news=encode(front.plan.news),
        listening=front.listening,
        count=settings.listen.workers,
        grace=settings.listen.grace,
        on_started=lambda: front.announce(reports),
        on_lost=measured.on_lost,
        on_stopping=front.notify.stopping,
    )
    beating = asyncio.ensure_future(_beat(front.notify))
    watched.__enter__()
    try:
        ended_well = await workers.run()
    except CannotStartError as error:
        raise CannotServeError(str(error)) from None
    finally:
        beating.cancel()
        # It may wait for this loop.
        await asyncio.to_thread(watched.stop)
    if not ended_well:
        raise CannotServeError("a worker did not end by itself, or ended with an error")


async def _beat(notify: Notify) -> None:
    while notify.watchdog_seconds is not None:
        notify.beat()
        await asyncio.sleep(notify.watchdog_seconds / 4)
