"""executor="dask://…": the same promises on a cluster of other processes, that may lose workers or its scheduler."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from commute import App, Limits, NotReachableError, Retry, UsageError
from tests.executors import heavy
from tests.executors.conftest import Cluster
from tests.executors.heavy import Done, Refused, Work
from tests.executors.test_processes import lines, parked, processed
from tests.runtime.shop import until

QUICK = Retry(attempts=2, first_s=0.01, max_s=0.02, fatal=(Refused,))
pytestmark = pytest.mark.filterwarnings("default::ResourceWarning", "default::DeprecationWarning")


def make(folder: Path, cluster: Cluster, timeout_s: float | None = None) -> App[None]:
    app: App[None] = App("shop", f"sqlite:///{folder}/shop.db", limits=Limits(deaths_max=2))
    app.on(Work, writes="key/{key}", executor=cluster.url, retry=QUICK, timeout_s=timeout_s)(heavy.work)

    @app.on(Done, writes="done/{key}")
    async def done(event: Done) -> None:
        heavy.mark(str(folder), "done", event.n)

    return app


async def workers(cluster: Cluster, count: int) -> None:
    """Wait until the scheduler knows so many Dask workers."""
    import distributed

    address = cluster.url.replace("dask", "tcp")
    make_client: Any = distributed.Client  # its parts are typed unevenly
    async with make_client(address, asynchronous=True, set_as_default=False, timeout=30) as client:
        await client.wait_for_workers(count, timeout=30)


async def test_order_parallelism_failures_and_children_are_as_anywhere(tmp_path: Path, cluster: Cluster) -> None:
    cluster.scheduler()
    cluster.worker(), cluster.worker()
    await workers(cluster, 2)
    app = make(tmp_path, cluster)
    folder = str(tmp_path)
    async with app, app.running():
        both = [Work(key=key, n=100, folder=folder, do="meet") for key in "ab"]
        hot = [Work(key="hot", n=n, folder=folder) for n in range(40)]
        asks = [Work(key=do, n=n, folder=folder, do=do) for n, do in enumerate(["publish", "raise", "fatal"], 200)]
        receipts = await app.publish_many([*both, *hot, *asks])
        await processed(*receipts[:-2])
        assert await parked(receipts[-2]) == "failed 2 times: KeyError: 'tea-9'"
        assert await parked(receipts[-1]) == "fatal: Refused: no more"
        await until(lambda: lines(tmp_path, "done") == ["200"])
        assert lines(tmp_path, "began hot") == lines(tmp_path, "ended hot") == [str(n) for n in range(40)]
        assert len(set(lines(tmp_path, "pids"))) == 2
        poison = await app.publish(Work(key="bad", n=300, folder=folder, do="kill"))
        innocent = await app.publish_many([Work(key=f"good{n}", n=n, folder=folder) for n in range(301, 310)])
        assert "died 2 times" in await parked(poison)
        await processed(*innocent)
    assert len(lines(tmp_path, "tries 300")) == 2


async def test_a_lost_scheduler_is_nobodys_failure(tmp_path: Path, cluster: Cluster) -> None:
    scheduler, worker = cluster.scheduler(), cluster.worker()
    await workers(cluster, 1)
    app = make(tmp_path, cluster)
    folder = str(tmp_path)
    async with app, app.running():
        first = await app.publish(Work(key="k", n=1, folder=folder, do="wait"))
        second = await app.publish(Work(key="k", n=2, folder=folder))
        await until(lambda: lines(tmp_path, "began k") == ["1"])
        cluster.kill(scheduler)
        cluster.kill(worker)
        here = await app.publish(Done(key="here", n=7))  # others go on
        await processed(here)
        (tmp_path / "go on").touch()
        cluster.scheduler(), cluster.worker()
        await processed(first, second)
    assert lines(tmp_path, "attempts k") == ["1", "1", "1"]
    assert lines(tmp_path, "ended k") == ["1", "2"]


async def test_a_new_worker_waits_until_the_old_ones_handlers_have_ended(
    tmp_path: Path, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.scheduler()
    cluster.worker(), cluster.worker()
    await workers(cluster, 2)
    folder = str(tmp_path)
    app = make(tmp_path, cluster)
    app.override(grace_s=0.1)
    async with app:
        worker = app.worker()
        await worker.start()
        await app.publish(Work(key="k", n=1, folder=folder, do="wait"), id="e1")
        await until(lambda: lines(tmp_path, "began k") == ["1"])
        assert not await worker.stop()  # its handler still runs on the cluster
    app = make(tmp_path, cluster)
    async with app:
        again = app.worker()
        with caplog.at_level(logging.WARNING, "commute"):
            starting = asyncio.create_task(again.start())
            await until(lambda: "still runs handlers of an earlier worker" in caplog.text)
            assert lines(tmp_path, "began k") == ["1"]
            (tmp_path / "go on").touch()
            await starting
        await processed(app.receipt("e1"))
        await again.stop()
    assert lines(tmp_path, "began k") == ["1", "1"]


async def test_what_cannot_work_is_refused_at_start(tmp_path: Path, cluster: Cluster) -> None:
    app = make(tmp_path, cluster)
    async with app:
        with pytest.raises(NotReachableError, match="Does its scheduler run"):
            async with app.running():
                pass
    cluster.scheduler(allowed_failures=3)
    cluster.worker()
    await workers(cluster, 1)
    module = tmp_path / "only_here.py"
    module.write_text("from tests.executors.heavy import Work\ndef run(event: Work) -> None: ...\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        import only_here  # type: ignore[import-not-found]

        app = App("shop", f"sqlite:///{tmp_path}/other.db")
        app.on(Work, writes="key/{key}", executor=cluster.url)(only_here.run)
        async with app:
            with pytest.raises(UsageError, match="only_here"):
                async with app.running():
                    pass


async def test_a_timeout_keeps_the_keys_until_the_task_has_ended(tmp_path: Path, cluster: Cluster) -> None:
    cluster.scheduler()
    cluster.worker(), cluster.worker()
    await workers(cluster, 2)
    app = make(tmp_path, cluster, timeout_s=0.3)
    folder = str(tmp_path)
    async with app:
        worker = app.worker()
        await worker.start()
        slow = await app.publish(Work(key="k", n=1, folder=folder, do="wait"))
        await app.publish(Work(key="k", n=2, folder=folder))
        await until(lambda: worker.session is not None and worker.session.sweep.overdue == 1)
        assert lines(tmp_path, "began k") == ["1"]
        (tmp_path / "go on").touch()
        await processed(slow)  # late, and a success
        await until(lambda: lines(tmp_path, "ended k") == ["1", "2"])
        await worker.stop()
