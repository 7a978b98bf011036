"""The only place where objects are built: a web worker, a rollup, and what a command line needs."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import cast

import msgspec
from aiohttp import web

from headcount import errors, logs
from headcount.clock import Clock
from headcount.config import Config
from headcount.jobs import audit, drain, loop, months, purge, redact
from headcount.jobs.licenses import LicenseJobs
from headcount.jobs.loop import Job
from headcount.privacy import door
from headcount.services.audits import Audits
from headcount.services.backups import Backups
from headcount.services.checks import Checks
from headcount.services.collector import Collector
from headcount.services.health import ASK_EVERY, Examiner
from headcount.services.licenses import Licenses
from headcount.services.limiter import Limiter
from headcount.services.management import Management
from headcount.services.product_reports import ProductReports
from headcount.services.products import Products
from headcount.services.redactions import Redactions
from headcount.services.reports import Reports
from headcount.services.sites import Sites, new_id
from headcount.store import daykeys, embedded, figures, files, geoip, migrations, secret
from headcount.store.counters import Counters
from headcount.store.figures import Board, Role
from headcount.store.heartbeats import Heartbeats
from headcount.store.installs import Installs
from headcount.store.license_copy import LicenseCopy
from headcount.store.postgres import Database
from headcount.store.settings import SettingsFile
from headcount.store.spool import Spool
from headcount.store.state import State
from headcount.web import keys, middleware, routes, script
from headcount.web.edge import Edge
from headcount.web.hot import Hot
from headcount.wire import event, site

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long requests under way may take when a worker stops, and the last flushes of a rollup."""
KEEP_ALIVE = 30.0
KEEP_DAMAGED = timedelta(days=7)
"""How long a damaged file is kept, for whoever wants to look into it; less if raw rows are kept for less."""
LINGER_SECONDS = 0.5
"""How long a worker that stops waits for requests on connections it has: their answers close them. A client may
be sending one at this moment, and would find the connection reset."""


def set_limits() -> None:
    """No core file, which would hold addresses; and as many open files, for connections, as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # 1, not 0: that also keeps the kernel from piping one to a collector.
    resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def database_of(config: Config, size: int = 4) -> Database:
    """The configured Postgres, or the own one, which somebody else has started."""
    own = embedded.Embedded(config.data_dir)
    return Database(lambda: config.database_url or own.dsn(), size)


def audits_of(config: Config, database: Database, clock: Clock) -> Audits:
    return Audits(database, Sites(database, clock), clock, config.retention_days)


def backups_of(config: Config, database: Database, clock: Clock) -> Backups:
    async def remove_old(within: Database) -> None:
        counters = Counters(within, Heartbeats(within))
        await purge.Purge(within, Sites(within, clock), counters, clock, config.retention_days).run()

    return Backups(database, clock, remove_old)


def reports_of(config: Config, database: Database, clock: Clock) -> Reports:
    return Reports(database, clock, config.retention_days)


@asynccontextmanager
async def application(config: Config) -> AsyncIterator[web.Application]:
    """The web application with everything behind it, and its timed jobs."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        settings = SettingsFile(config.data_dir / "settings.msgpack")
        settings.refresh()
        keys_of_days, board = _on_the_ram_disk(config, Role.WEB, clock)
        stack.callback(board.close)
        countries = geoip.Countries(config.geoip_file, config.data_dir)
        _refresh(countries)
        door.warm_up()
        spool = await stack.enter_async_context(
            Spool(config.data_dir / "spool", config.spool_limit, clock.milliseconds)
        )
        database = database_of(config)
        lookups = door.Lookups(countries.country, keys_of_days.get, door.Agents())
        collector = Collector(spool, settings, lookups, clock, board.figures)
        stack.push_async_callback(collector.keep_refused)
        secret_key = secret.load(config.secret_key, config.data_dir)
        copy = LicenseCopy(config.data_dir / "licenses.db")
        stack.callback(copy.close)
        installs = Installs(database)

        app = web.Application(
            middlewares=[
                middleware.count_answers,
                middleware.add_headers,
                middleware.say_what_went_wrong,
            ],
            client_max_size=event.MAX_BATCH_BODY,
        )
        app[keys.CONFIG] = config
        app[keys.COLLECTOR] = collector
        checks = app[keys.CHECKS] = Checks(
            settings, copy, installs, collector, lookups, secret_key, clock, board.figures
        )
        examiner = app[keys.EXAMINER] = Examiner(
            data_dir=config.data_dir,
            outbox_limit=config.outbox_limit,
            spool_limit=config.spool_limit,
            spool_full=lambda: spool.full,
            country_file=lambda: countries.facts,
            settings=settings,
            keys_of_days=keys_of_days,
            board=board,
            database=database,
            clock=clock,
        )
        app[keys.BOARD] = board
        app[keys.FIGURES] = board.figures
        limiter = Limiter(config.rate_limit, config.rate_burst, clock.monotonic)
        app[keys.HOT] = Hot(config, settings, collector, checks, limiter)
        app[keys.MANAGEMENT] = Management(database, clock, secret_key)
        app[keys.PRODUCT_REPORTS] = ProductReports(database, clock)
        app[keys.REPORTS] = reports_of(config, database, clock)
        app[keys.SETTINGS] = settings
        app[keys.SITES] = Sites(database, clock)
        app[keys.STOPPING] = asyncio.Event()
        app[keys.SCRIPT] = script.load()
        app.add_routes(routes.routes())

        await _in_background(
            stack,
            [
                Job("tell the rollup how far the spool is", 0.1, spool.tick),
                Job("read sites, tokens and products", 0.1, _plain(settings.refresh)),
                Job("read what changed of licenses", 0.1, _plain(copy.refresh)),
                Job("spool what was refused", 1.0, collector.keep_refused),
                Job("publish the figures", 1.0, _plain(board.publish)),
                Job("ask whether Postgres is there", ASK_EVERY, examiner.ask_postgres),
                Job(
                    "forget the keys of ended days",
                    20.0,
                    _plain(lambda: keys_of_days.destroy_ended(clock.now())),
                ),
                Job("read a replaced country file", 10.0, _plain(lambda: _refresh(countries))),
            ],
        )
        stack.push_async_callback(database.close)  # before the jobs end: see serve_rollup
        yield app


async def serve_web(
    config: Config, listener: socket.socket, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Answer requests until told to stop, then finish those under way. `ready` is called once it listens."""
    asyncio.get_running_loop().set_exception_handler(logs.on_loop_error)
    async with application(config) as app, listening(app, listener):
        # What was loaded lives as long as the process: the collector of garbage need not walk it each time.
        gc.collect()
        gc.freeze()
        ready()
        await stop.wait()


@asynccontextmanager
async def listening(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """The edge on this socket and aiohttp behind it, or aiohttp alone; at the end they finish what they have."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE,
        shutdown_timeout=DRAIN_SECONDS,
    )
    await runner.setup()
    behind = cast("web.Server", runner.server)  # the runner is set up
    stopping = app[keys.STOPPING]
    edge = Edge(
        app[keys.HOT], app[keys.FIGURES], behind, lambda: len(behind.connections), stopping, KEEP_ALIVE
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await _in_background(stack, [Job("end connections that wait too long", 1.0, edge.sweep)])
        front = edge if app[keys.CONFIG].edge else behind
        server = await asyncio.get_running_loop().create_server(front, sock=listener, backlog=1024)
        yield
        server.close()
        stopping.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while edge.connections or behind.connections:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.02)
        await edge.finish(DRAIN_SECONDS)


def collect_garbage_seldom() -> None:
    """A rollup makes hardly any cycles, and walking through all open visits is a seventh of its work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


async def serve_rollup(config: Config, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Move what was spooled to Postgres, and do what the time brings, until told to stop."""
    asyncio.get_running_loop().set_exception_handler(logs.on_loop_error)
    async with AsyncExitStack() as stack:
        database = database_of(config)
        stack.push_async_callback(database.close)
        rollup = Rollup(config, database, Clock(), stack)
        collect_garbage_seldom()
        end_jobs = await _in_background(stack, rollup.jobs())
        ready()
        await stop.wait()
        await (
            database.close()
        )  # a statement under way ends now; were it only cancelled, Postgres would be asked
        await end_jobs()
        finishing = asyncio.create_task(rollup.engine.finish())
        await asyncio.wait({finishing}, timeout=DRAIN_SECONDS)
        await database.close()
        finishing.cancel()
        with suppress(asyncio.CancelledError, errors.ServiceBusy):
            await finishing  # what is left is durable, and taken at the next start


class Rollup:
    """The objects of a rollup, and its jobs."""

    def __init__(self, config: Config, database: Database, clock: Clock, stack: AsyncExitStack) -> None:
        self._clock = clock
        self._data_dir = config.data_dir
        self._keep_damaged = min(KEEP_DAMAGED, timedelta(days=config.retention_days))
        self._database = database
        self._settings = SettingsFile(config.data_dir / "settings.msgpack")
        self._settings.refresh()
        secret_key = secret.load(config.secret_key, config.data_dir)
        heartbeats = Heartbeats(database, config.max_values)
        counters = Counters(database, heartbeats)
        self._sites = Sites(database, clock)
        self._products = Products(database, clock, secret_key)
        self._licenses = Licenses(database, clock, secret_key)
        state = State(config.data_dir / "state.db")
        self._keys_of_days, self._board = _on_the_ram_disk(config, Role.ROLLUP, clock)
        stack.callback(self._board.close)
        self._started_at = clock.milliseconds()
        self.engine = drain.Drain(
            state,
            counters,
            self._settings,
            config.data_dir / "spool",
            clock,
            config.max_values,
            config.outbox_limit,
            new_id,
            self._board.figures,
        )
        stack.callback(self.engine.close)
        copy = LicenseCopy(config.data_dir / "licenses.db")
        stack.callback(copy.close)
        self._of_licenses = LicenseJobs(Installs(database), heartbeats, copy, self.engine, clock)
        self._sweeper = purge.Purge(database, self._sites, counters, clock, config.retention_days)
        self._auditor = audit.Auditor(audits_of(config, database, clock), self.engine, clock)
        self._months = months.Months(database, clock)
        self._redactor = redact.Redactor(database, self.engine, Redactions(database, clock), state, clock)

    def jobs(self) -> list[Job]:
        """What runs whether Postgres answers or not."""
        keys_of_days, now = self._keys_of_days, self._clock.now
        return [
            Job("count what was spooled", 0.05, self.engine.take),
            Job("destroy the keys of ended days", 20.0, _plain(lambda: keys_of_days.destroy_ended(now()))),
            Job("destroy what is open of ended days", 20.0, self.engine.close_days),
            Job("drop applied flushes", 60.0, self.engine.forget_sent),
            Job("delete damaged files", 3600.0, _plain(self._forget_damaged)),
            Job("publish the figures", 1.0, self._publish),
            Job("reach Postgres", 1.0, self._with_postgres),
        ]

    async def _publish(self) -> None:
        self._board.publish(await self.engine.progress(self._sweeper.purged_at, self._started_at))

    def _forget_damaged(self) -> None:
        files.forget_damaged(self._data_dir, self._clock.now() - self._keep_damaged)

    async def _with_postgres(self) -> None:
        await _until_migrated(self._database, self._sites, self._clock)
        licenses = self._of_licenses
        await licenses.tick()
        await loop.run(
            [
                Job("copy sites, tokens and products to this node", 0.5, self._copy_settings),
                Job("copy licenses to this node", 0.5, licenses.copy),
                Job("apply flushes to Postgres", 0.05, self.engine.send),
                Job("let the clock of silence go on", 5.0, licenses.tick),
                Job("count installs", 2.0, licenses.count),
                Job("free the seats of silent installs", 60.0, licenses.free_silent),
                Job("sign the key sets anew", 600.0, self._products.renew_key_sets),
                Job("forget customers and installs of long ago", 3600.0, self._forget),
                Job("recount closed days", 60.0, self._auditor.run),
                Job("add up closed months", 3600.0, self._months.run),
                Job("purge raw rows", 3600.0, self._sweeper.run),
                Job("replace what is to be redacted", 1.0, self._redactor.run),
            ]
        )

    async def _copy_settings(self) -> None:
        found = await self._sites.settings()
        self._settings.write(msgspec.structs.replace(found, products=await self._products.all()))
        self._settings.refresh()

    async def _forget(self) -> None:
        now = self._sweeper.believed_now()
        await self._licenses.forget_customers(now)
        await self._licenses.forget_installs(now)


def _on_the_ram_disk(config: Config, role: Role, clock: Clock) -> tuple[daykeys.DayKeys, Board]:
    """The keys of the days, and the figures: both are shared by the processes, and neither is for a disk."""
    folder = daykeys.folder(config.data_dir)
    return daykeys.DayKeys(folder), Board(folder / figures.FOLDER, role, clock.monotonic)


async def _until_migrated(database: Database, sites: Sites, clock: Clock) -> None:
    async with database.connection() as connection:
        applied = await migrations.migrate(connection, clock.now())
    if applied and not await sites.all():
        await sites.add(site.from_values({"domain": "localhost"}))
        log.info("made the site localhost, for a first try")


@asynccontextmanager
async def postgres(config: Config) -> AsyncIterator[Database]:
    """Postgres for a command: the configured one, or the own one, joined or started, with a current schema."""
    own = embedded.Embedded(config.data_dir)
    if not config.database_url:
        await asyncio.to_thread(own.start)
    database = database_of(config)
    try:
        async with database.connection() as connection:
            await migrations.migrate(connection, Clock().now())
        yield database
    finally:
        await database.close()
        await asyncio.to_thread(own.release)


async def _in_background(stack: AsyncExitStack, jobs: list[Job]) -> Callable[[], Awaitable[None]]:
    task = asyncio.create_task(loop.run(jobs))

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
    return end


def _refresh(countries: geoip.Countries) -> None:
    running = countries.facts is not None
    try:
        if countries.refresh() and running:
            log.info("a new country file is in use")
    except errors.BadInput as error:
        log.error(
            "the country file is refused, %s is used: %s",
            "the old" if running else "the shipped",
            error.message,
        )


def _plain(work: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def job() -> None:
        work()

    return job
