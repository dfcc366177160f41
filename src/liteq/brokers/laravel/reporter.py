"""Reporter: keeps Horizon told of jobs and of the worker itself, and brings back its orders."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence

from liteq.brokers.laravel.client import Client
from liteq.errors import BrokerError
from liteq.job import WorkerInfo
from liteq.laravel import horizon
from liteq.laravel.horizon import Command, Horizon, Listing, Master, Supervisor

logger = logging.getLogger("liteq.laravel")

_PRESENT_EVERY = 1.0  # seconds; Horizon takes a master without news for 14 s for gone
_TRIM_EVERY = 60.0


class Reporter:
    """Sends what Horizon is to know. What it cannot send, it says once: jobs go on without it."""

    def __init__(self, client: Client, dashboard: Horizon):
        self._client = client
        self._horizon = dashboard
        self._commands: list[Command] = []
        self._master: Master | None = None
        self._present_again = self._trim_again = 0.0
        self._silent = False
        self.paused = False

    # ── jobs ──

    def pushed(self, queue: str, body: str, now: float) -> None:
        """A job went into its queue."""
        if job := self._listing(queue, body, now):
            self._commands += self._horizon.pushed(job, now)

    def migrated(self, payloads: Sequence[tuple[str, str]], now: float) -> None:
        """Jobs whose time has come went into their queue."""
        jobs = [self._listing(queue, body, now) for queue, body in payloads]
        self._commands += self._horizon.migrated([job for job in jobs if job], now)

    def reserved(self, queue: str, held: str, now: float) -> None:
        """A job begins."""
        if job := self._listing(queue, held, now):
            self._commands += self._horizon.reserved(job, now)

    def released(self, queue: str, held: str, now: float, delay: int) -> None:
        """A job is to run again."""
        if job := self._listing(queue, held, now):
            self._commands += self._horizon.released(job, now, delay)

    def completed(self, queue: str, held: str, now: float, seconds: float) -> None:
        """A job is done; its run took `seconds`."""
        if job := self._listing(queue, held, now):
            self._commands += self._horizon.completed(job, now, seconds * 1000)

    def failed(self, queue: str, held: str, now: float, exception: str) -> None:
        """A job has failed for good."""
        if job := self._listing(queue, held, now):
            self._commands += self._horizon.failed(job, now, exception)

    def flush(self) -> None:
        """Send what there is to tell."""
        commands, self._commands = self._commands, []
        if commands:
            self._send(commands)

    # ── the worker ──

    def begin(self, queues: Sequence[str]) -> None:
        """The worker starts."""
        name = horizon.master_name(socket.gethostname(), secrets.token_hex(2))
        supervisor = Supervisor(
            horizon.supervisor_name(name, "liteq"), os.getpid(), tuple(queues), 1
        )
        self._master = Master(name, os.getpid(), (supervisor,))

    def concerns(self, worker: WorkerInfo) -> None:
        """What the worker says of itself."""
        if self._master is not None:
            [supervisor] = self._master.supervisors
            self._master = self._master._replace(
                supervisors=(supervisor._replace(processes=worker.concurrency),)
            )

    def tend(self) -> str | None:
        """Show that the worker lives, and heed orders; why it is to stop, if it is told so."""
        now = time.time()
        if self._master is None or now < self._present_again:
            return None
        self._present_again = now + _PRESENT_EVERY
        [supervisor] = self._master.supervisors
        names = (f"master:{self._master.name}", supervisor.name)
        replies = self._send([self._horizon.orders(name) for name in names])
        why = None
        for order in [each for reply in replies for each in horizon.read_orders(reply)]:
            if order.verb in ("pause", "continue"):
                self.paused = order.verb == "pause"
            elif order.verb in ("terminate", "restart"):
                why = f"Horizon told it to {order.verb}"
            else:
                logger.warning("Horizon's order %.200r means nothing to a worker", order.text)
        self._show(now)
        return why

    def end(self) -> None:
        """The worker stops."""
        if self._master is not None:
            self._send(self._horizon.gone(self._master))
            self._master = None

    def _show(self, now: float) -> None:
        assert self._master is not None
        status: horizon.Status = "paused" if self.paused else "running"
        self._master = self._master._replace(
            status=status,
            supervisors=tuple(each._replace(status=status) for each in self._master.supervisors),
        )
        commands = self._horizon.present(self._master, now)
        if now >= self._trim_again:
            self._trim_again = now + _TRIM_EVERY
            commands += self._horizon.trim(now)
        self._send(commands)

    def _listing(self, queue: str, body: str, now: float) -> Listing | None:
        try:
            return horizon.listing(queue, body, now)
        except ValueError:  # no JSON: its failure is told elsewhere, Horizon could not show it
            return None

    def _send(self, commands: Sequence[Command]) -> list[list[str]]:
        try:
            replies = self._client.send_all(commands)
        except BrokerError as error:
            if not self._silent:
                logger.error("Horizon cannot be told, jobs go on without it: %s", error)
            self._silent = True
            return []
        self._silent = False
        return replies
