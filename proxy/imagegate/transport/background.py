"""An event loop in a thread of its own, for clients that have none."""

from __future__ import annotations

import asyncio
import threading


class Background:
    """Runs a loop until it is told to stop; the thread does not outlive the program."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, name="imagegate-transport", daemon=True
        )
        self._thread.start()

    @property
    def here(self) -> bool:
        """Whether this is called in its thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
