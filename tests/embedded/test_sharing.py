"""Embedded servers: started, shared by openings and processes, killed and stopped by the last."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import psycopg
import redis

from tests.support.embedded_servers import (
    OPEN,
    OPEN_AND_FORGET,
    OPEN_FORK_AND_CLOSE,
    AnotherProcess,
    ask_postgres,
    assert_all_gone,
    is_alive,
    kill,
    pids,
    valkey_of,
)
from turnlog.infrastructure.embedded import EmbeddedServers


def test_both_servers_start_and_answer(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        assert str(ask_postgres(servers, "SELECT version()")).startswith("PostgreSQL 18")
        assert ask_postgres(servers, "SHOW fsync") == "on"
        assert ask_postgres(servers, "SELECT lower('ÄÖ') || 'é'") == "äöé"
        with valkey_of(servers) as client:
            assert client.ping()
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"


async def test_the_urls_work_with_the_asynchronous_drivers(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        async with redis.asyncio.from_url(str(servers.redis_url)) as client:
            assert await client.ping()
        async with await psycopg.AsyncConnection.connect(str(servers.database_url)) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


def test_pages_are_compressed_in_the_write_ahead_log(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        assert ask_postgres(opening.start(), "SHOW wal_compression") in ("on", "pglz")


def test_nobody_else_on_the_machine_can_reach_them(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        assert ask_postgres(servers, "SHOW listen_addresses") == ""
        with valkey_of(servers) as client:
            assert client.config_get("port")["port"] == "0"
        for name in ("postgres", "valkey"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700


def test_the_first_of_two_openings_leaves_them_up_and_the_second_stops_them(folder: Path) -> None:
    first, second = EmbeddedServers(folder), EmbeddedServers(folder)
    servers = first.start()
    assert second.start() == servers
    processes = pids(servers)
    first.close()
    assert pids(servers) == processes
    second.close()
    assert_all_gone(*processes)


def test_closing_twice_or_before_the_start_does_nothing(folder: Path) -> None:
    EmbeddedServers(folder).close()
    with EmbeddedServers(folder) as staying:
        leaving = EmbeddedServers(folder)
        leaving.start()
        leaving.close()
        leaving.close()
        assert pids(staying.start())


def test_an_opening_can_be_started_again_after_it_was_closed(folder: Path) -> None:
    opening = EmbeddedServers(folder)
    for _ in range(2):
        processes = pids(opening.start())
        opening.close()
        assert_all_gone(*processes)


def test_a_second_process_shares_the_pair_and_what_the_first_wrote(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        ask_postgres(servers, "CREATE TABLE shared AS SELECT 'row' AS kept")
        with valkey_of(servers) as client:
            client.set("shared", "entry")
        with AnotherProcess(folder) as other:
            theirs = other.servers()
            assert pids(theirs) == pids(servers)
            assert ask_postgres(theirs, "SELECT kept FROM shared") == "row"
            with valkey_of(theirs) as client:
                assert client.get("shared") == "entry"
            other.leave()
        assert pids(servers)


def test_the_last_process_out_stops_both_also_when_another_one_started_them(folder: Path) -> None:
    with AnotherProcess(folder) as starter:
        processes = pids(starter.servers())
        with EmbeddedServers(folder) as opening:
            starter.leave()
            assert pids(opening.start()) == processes
    assert_all_gone(*processes)


def test_a_kill_of_the_process_that_started_them_leaves_them_usable(folder: Path) -> None:
    with AnotherProcess(folder) as starter:
        servers = starter.servers()
        with EmbeddedServers(folder) as opening:
            processes = pids(servers)
            starter.kill()
            assert pids(opening.start()) == processes
    assert_all_gone(*processes)


def test_a_kill_of_the_last_process_leaves_them_to_the_next_which_stops_them(folder: Path) -> None:
    with AnotherProcess(folder) as only:
        processes = pids(only.servers())
        only.kill()
    assert all(map(is_alive, processes))
    with EmbeddedServers(folder) as opening:
        assert pids(opening.start()) == processes
    assert_all_gone(*processes)


def test_a_process_that_ends_without_closing_leaves_too(folder: Path) -> None:
    with AnotherProcess(folder, OPEN_AND_FORGET) as forgetful:
        processes = pids(forgetful.servers())
        forgetful.leave()
    assert_all_gone(*processes)


def test_a_forked_child_neither_closes_nor_prolongs_its_parents_opening(folder: Path) -> None:
    with AnotherProcess(folder, OPEN + OPEN_FORK_AND_CLOSE) as parent:
        servers = parent.servers()
        time.sleep(0.1)
        processes = pids(servers)
        parent.leave()
    assert_all_gone(*processes)


def test_killed_servers_are_started_by_the_next_opening_with_their_data(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        servers = opening.start()
        ask_postgres(servers, "CREATE TABLE durable AS SELECT 'row' AS kept")
        killed = pids(servers)
        kill(*killed)
        with AnotherProcess(folder) as other:
            theirs = other.servers()
            assert set(pids(theirs)).isdisjoint(killed)
            assert ask_postgres(theirs, "SELECT kept FROM durable") == "row"


def test_starting_an_open_one_again_revives_what_has_died(folder: Path) -> None:
    with EmbeddedServers(folder) as opening:
        postgres, valkey = pids(opening.start())
        kill(valkey)
        revived = pids(opening.start())
        assert revived[0] == postgres
        assert revived[1] != valkey
    assert_all_gone(*revived)


def test_two_processes_that_start_at_once_in_an_empty_directory_get_one_pair(empty_folder: Path) -> None:
    with AnotherProcess(empty_folder) as one, AnotherProcess(empty_folder) as two:
        processes = pids(one.servers())
        assert pids(two.servers()) == processes
        one.leave()
        assert all(map(is_alive, processes))
        two.leave()
    assert_all_gone(*processes)
