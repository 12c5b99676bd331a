"""An existing Dask cluster as the place where handlers run: each call is one task, run once.

A worker of the cluster is given no more calls than it has threads, so that what has been given runs, and a worker that
is lost takes with it what it ran and not what waited there. Left to choose, Dask now and then gives one worker two
while another has none. A task that has begun cannot be ended from here: a
cancelled call goes on, so a client that comes to a cluster first waits until nothing of its scope runs there.

Source: distributed's documentation, "Resilience": a task whose worker is lost counts against ``allowed-failures``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import uuid4

from commute.errors import CommuteError, DiedError, NotReachableError, UsageError

LOGGER = logging.getLogger("commute")

CONNECT_S = 10.0
LOOK_S = 1.0  # how often the threads of the cluster are counted, and how soon a lost scheduler is tried again


class Dask:
    """Runs calls on the cluster behind ``dask://HOST:PORT``. `spec` says which handlers there are; `scope` names whose
    they are: no two clients of one scope at a time. `on_free(count)`: that many more may run.

    What its workers import, by the names of these functions: `perform` (spec, scope, call) gives the answer,
    `running` (scope) how many calls run there, `importable` (spec) why the handlers cannot be imported, or None.
    """

    def __init__(
        self,
        url: str,
        spec: bytes,
        scope: str,
        *,
        perform: Callable[[bytes, str, bytes], bytes],
        running: Callable[[str], int],
        importable: Callable[[bytes], str | None],
        on_free: Callable[[int], None],
    ) -> None:
        try:
            self._distributed: Any = import_module("distributed")
        except ModuleNotFoundError:
            raise UsageError(
                f'executor="{url}" needs a client that is not installed: pip install "commute[dask]"', slug="no-extra"
            ) from None
        self._url = url
        self._spec = spec
        self._scope = scope
        self._perform = perform
        self._count_running = running
        self._importable = importable
        self._on_free = on_free
        self._client: Any = None
        self._threads: dict[str, int] = {}  # of each worker of the cluster, by its address
        self._given: Counter[str] = Counter()  # calls that have not ended, by that address
        self._looking: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> bool:
        """Whether a thread of the cluster has nothing of ours to do."""
        return self._client is not None and any(self._spare(address) > 0 for address in self._threads)

    def _spare(self, address: str) -> int:
        return self._threads[address] - self._given[address]

    async def start(self) -> None:
        """Returns when the cluster can run the handlers. Raises NotReachableError, UsageError (``not-importable``)."""
        await self._connect()
        self._looking = asyncio.get_running_loop().create_task(self._look(), name="commute dask")

    async def run(self, call: bytes) -> bytes:
        """The answer to one call. Raises DiedError, NotReachableError. Cancelled, it gives up a task that has not
        begun; one that has goes on."""
        client = self._client
        if client is None or client.status != "running" or not self._threads:
            self._lost(client)
            raise self._unreachable("the connection is lost")
        address = max(self._threads, key=self._spare)
        self._given[address] += 1
        future = client.submit(
            self._perform, self._spec, self._scope, call, key=f"commute-{uuid4().hex}", pure=False, retries=0,
            workers=[address], allow_other_workers=True,  # where it has gone meanwhile, another one
        )  # fmt: skip
        try:
            answer: bytes = await future
        except self._distributed.scheduler.KilledWorker as error:
            self._threads.pop(error.last_worker.address, None)
            raise DiedError(f"the Dask worker {error.last_worker.address} was lost") from None
        except (self._distributed.client.FutureCancelledError, OSError) as error:
            self._lost(client)
            raise self._unreachable(str(error)) from None
        finally:
            self._given[address] -= 1
            future.release()
        return answer

    async def close(self) -> None:
        """Leave the cluster. Idempotent."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _connect(self) -> None:
        address = self._url.replace("dask://", "tcp://")
        client = self._distributed.Client(address, asynchronous=True, set_as_default=False, timeout=CONNECT_S)
        try:
            await client
            await self._check(client)
            threads = await client.nthreads()
        except CommuteError:
            await client.close()
            raise
        except Exception as error:
            await client.close()
            raise self._unreachable(f"{type(error).__name__}: {error}") from error
        self._threads = threads
        self._client = client

    async def _check(self, client: Any) -> None:
        said = False
        while True:
            left = await client.run(self._count_running, self._scope, on_error="ignore")
            if not any(left.values()):
                break
            if not said:
                LOGGER.warning("%s still runs handlers of an earlier worker: waiting until they have ended", self._url)
            said = True
            await asyncio.sleep(LOOK_S)
        for worker, why in (await client.run(self._importable, self._spec, on_error="return")).items():
            if why is not None:
                raise UsageError(
                    f"the Dask worker {worker} cannot import the handlers: {why}. Install commute and the app's "
                    "modules there, in the versions that are here",
                    slug="not-importable",
                )
        failures_max = await client.run_on_scheduler(_allowed_failures)
        if failures_max:
            LOGGER.warning(
                "warning[dask-reruns] %s runs a task again by itself up to %d times when its worker is lost, so one "
                "death that is counted here may be %d. Set distributed.scheduler.allowed-failures: 0 for its scheduler",
                self._url, failures_max, failures_max + 1,
            )  # fmt: skip

    def _lost(self, client: Any) -> None:
        if client is not None and self._client is client:
            self._client = None
            work = asyncio.get_running_loop().create_task(client.close(), name="commute dask leaves")
            self._leaving.add(work)
            work.add_done_callback(self._leaving.discard)
            LOGGER.error("error[not-reachable] %s: the connection is lost; its handlers wait", self._url)

    def _unreachable(self, why: str) -> NotReachableError:
        return NotReachableError(f"{self._url}: {why}. Does its scheduler run?", slug="not-reachable")

    async def _look(self) -> None:
        """Count the threads of the cluster, and connect again when it was lost; until cancelled."""
        said = ""
        while True:
            await asyncio.sleep(LOOK_S)
            client, before = self._client, sum(self._threads.values())
            try:
                if client is None:
                    await self._connect()
                    LOGGER.warning("%s is back", self._url)
                    said, before = "", 0
                elif client.status != "running":
                    self._lost(client)
                else:
                    self._threads = await client.nthreads()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may find the cluster again
                if said != str(error):  # once, not every second of an hour without a cluster
                    said = str(error)
                    LOGGER.warning("%s: %s", self._url, error)
                if client is not None:
                    self._lost(client)
                continue
            self._given = +self._given
            if (more := sum(self._threads.values()) - before) > 0:
                self._on_free(more)


def _allowed_failures(dask_scheduler: Any) -> int:
    return int(dask_scheduler.allowed_failures)
