from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from filewatchd.errors import FatalError, StateError
from filewatchd.state.database import Database
from filewatchd.state.schema import MIGRATIONS
from filewatchd.testing.clock import FakeClock

STAMP = "20250615T150640Z"  # where a fake clock starts
COUNT = "SELECT count(*) FROM counters"


def count(database: Database, name: str) -> None:
    database.execute("INSERT INTO counters VALUES ('r', ?, 1)", (name,))


def full(database: Database) -> bool:
    return database.wants_checkpoint


def broken(database: Database) -> int | None:
    return database.promise_broken_since


def opened(path: Path, clock: FakeClock) -> Database:
    return Database(str(path), clock=clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


# ---- opening and closing


def test_a_new_file_is_private_whatever_the_umask(path: Path, clock: FakeClock) -> None:
    before = os.umask(0)
    try:
        with opened(path, clock) as database:
            assert database.created
            assert database.set_aside is None
            count(database, "a")
            assert sorted(os.listdir(path.parent)) == ["journal.db", "journal.db-shm", "journal.db-wal"]
            assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert os.listdir(path.parent) == ["journal.db"]


def test_what_was_committed_is_there_again(path: Path, clock: FakeClock) -> None:
    with opened(path, clock) as database:
        count(database, "a")
    with opened(path, clock) as database:
        assert not database.created
        assert database.execute(COUNT) == [(1,)]


def test_closing_twice_is_fine(path: Path, clock: FakeClock) -> None:
    database = opened(path, clock)
    database.close()
    database.close()


def test_a_mode_that_others_can_read_is_tightened(path: Path, clock: FakeClock) -> None:
    opened(path, clock).close()
    path.chmod(0o644)
    with opened(path, clock):
        assert path.stat().st_mode & 0o777 == 0o600


def test_it_stays_small_and_never_checkpoints_by_itself(database: Database) -> None:
    def pragma(name: str) -> object:
        return database.execute(f"PRAGMA {name}")[0][0]

    assert pragma("journal_mode") == "wal"
    assert pragma("wal_autocheckpoint") == 0
    assert pragma("cache_size") == -2048
    assert pragma("mmap_size") == 0
    assert pragma("synchronous") == 1


def test_durability_full_syncs_every_commit(path: Path, clock: FakeClock) -> None:
    with Database(str(path), clock=clock, durability="full") as database:
        assert database.execute("PRAGMA synchronous") == [(2,)]
        with database.durable():
            pass
        assert database.execute("PRAGMA synchronous") == [(2,)]


def test_a_start_that_was_cut_off_leaves_nothing_in_the_way(path: Path, clock: FakeClock) -> None:
    for suffix in (".new", ".new-wal", ".new-journal"):
        Path(f"{path}{suffix}").write_bytes(b"half")
    with opened(path, clock) as database:
        assert database.created
    assert os.listdir(path.parent) == ["journal.db"]


# ---- transactions


def test_a_transaction_is_whole_or_not_at_all(database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            count(database, "a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert database.execute(COUNT) == [(0,)]
    with database.transaction():
        count(database, "a")
        count(database, "b")
    assert database.execute(COUNT) == [(2,)]


def test_an_inner_transaction_joins_the_outer(database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            with database.transaction():
                count(database, "a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert database.execute(COUNT) == [(0,)]


def test_a_durable_transaction_syncs_and_then_no_more(database: Database) -> None:
    with database.durable() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        count(database, "a")
    assert database.execute("PRAGMA synchronous") == [(1,)]
    assert database.execute(COUNT) == [(1,)]


def test_a_durable_transaction_cannot_join(database: Database) -> None:
    with database.transaction(), pytest.raises(RuntimeError):
        database.durable()


def test_many_rows_at_once(database: Database) -> None:
    database.execute_many("INSERT INTO counters VALUES ('r', ?, 1)", [(str(number),) for number in range(10)])
    assert database.execute(COUNT) == [(10,)]


# ---- errors


def test_a_full_disk_keeps_what_was_committed(database: Database) -> None:
    count(database, "before")
    (pages,) = database.execute("PRAGMA page_count")[0]
    database.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with database.transaction():
            for number in range(10_000):
                count(database, str(number))

    with pytest.raises(StateError, match="full; free space") as caught:
        fill()
    assert caught.value.path == database.path
    assert not database.connection.in_transaction
    assert database.execute(COUNT) == [(1,)]


def test_another_program_that_holds_it(database: Database) -> None:
    database.execute("PRAGMA busy_timeout = 1")
    stranger = sqlite3.connect(database.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StateError, match="locked; end the other program"):
            count(database, "a")
        with pytest.raises(StateError, match="locked"):
            database.transaction().__enter__()
    finally:
        stranger.close()
    with pytest.raises(StateError, match="locked"):  # held back, lest every write waits for the lock
        count(database, "a")
    database.probe()
    database.health.mended()
    count(database, "a")


def test_a_failed_write_holds_the_others_back_but_no_reading(database: Database, clock: FakeClock) -> None:
    told: list[int | None] = []
    database.health.changed = lambda: told.append(database.health.since_ns)
    count(database, "a")
    began = clock.wall_ns()
    database.execute("PRAGMA query_only = ON")
    for _ in range(3):
        with pytest.raises(StateError, match="read-write"):
            count(database, "b")
        clock.advance(1)
    database.execute("PRAGMA query_only = OFF")
    with pytest.raises(StateError, match="read-write"):
        count(database, "b")
    with pytest.raises(StateError, match="read-write"), database.durable():
        pass
    assert database.execute(COUNT) == [(1,)]
    assert database.health.statistics()["failed"] == 1
    assert told == [began]
    database.health.mended()
    assert told == [began, None]
    count(database, "b")
    with database.durable():
        pass


def test_a_durable_transaction_that_cannot_begin_leaves_commits_as_configured(database: Database) -> None:
    database.execute("PRAGMA busy_timeout = 1")
    stranger = sqlite3.connect(database.path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked"), database.durable():
        pass
    stranger.close()
    assert database.execute("PRAGMA synchronous") == [(1,)]


def test_a_probe_leaves_nothing(database: Database) -> None:
    in_thread(database.probe)
    pages = database.execute("PRAGMA page_count")
    in_thread(database.probe)
    assert database.execute("PRAGMA page_count") == pages
    assert database.execute("SELECT count(*) FROM meta WHERE name = 'probe'") == [(0,)]


def test_a_read_only_file(database: Database) -> None:
    database.execute("PRAGMA query_only = ON")
    with pytest.raises(StateError, match="read-write"), database.transaction() as connection:
        connection.execute("INSERT INTO counters VALUES ('r', 'a', 1)")
    with pytest.raises(StateError):
        database.close()


def test_a_mistake_of_ours_stays_what_it_is(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        database.execute("SELECT * FROM nowhere")


# ---- checkpoints


def test_the_log_grows_until_a_checkpoint_in_another_thread(database: Database) -> None:
    assert not full(database)
    for number in range(1100):
        count(database, str(number))
    assert full(database)
    assert database.statistics()["log_size"] > 1000 * 4096
    in_thread(database.checkpoint)
    assert not full(database)
    assert database.statistics()["log_size"] < 10 * 4096  # the first commit, which syncs, was made there
    assert database.statistics()["checkpoints"] == 1
    assert database.execute(COUNT) == [(1100,)]


def test_a_reader_in_the_way_is_not_waited_for(database: Database) -> None:
    count(database, "a")
    reader = sqlite3.connect(database.path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute(COUNT).fetchone() == (1,)
    for number in range(1100):
        count(database, str(number))
    in_thread(database.checkpoint)
    assert not full(database)  # not again at once, but when it has grown by as much
    reader.close()
    for number in range(1100, 2300):
        count(database, str(number))
    assert full(database)
    in_thread(database.checkpoint)
    assert database.statistics()["log_size"] < 10 * 4096


def test_a_writer_in_the_way_is_not_waited_for(database: Database) -> None:
    with database.transaction():
        count(database, "a")
        in_thread(database.checkpoint)
    assert database.execute(COUNT) == [(1,)]


def test_a_checkpoint_says_that_a_reader_is_in_its_way(database: Database) -> None:
    with contextlib.closing(sqlite3.connect(database.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchall()
        count(database, "a")
        assert database.checkpoint() is False
    assert database.checkpoint() is True


def test_a_checkpoint_of_a_bad_file_is_said(database: Database) -> None:
    for name in ("", "-wal", "-shm"):
        os.rename(database.path + name, database.path + ".away" + name)
    Path(database.path).write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError, match="restart the daemon"):
        database.checkpoint()
    for name in ("", "-wal", "-shm"):
        if os.path.exists(database.path + name):
            os.unlink(database.path + name)
        os.rename(database.path + ".away" + name, database.path + name)


# ---- bad files


def assert_set_aside(path: Path, clock: FakeClock, content: bytes) -> None:
    with opened(path, clock) as database:
        aside = f"{path}.corrupt-{STAMP}"
        assert database.created
        assert database.set_aside == aside
        assert broken(database) == clock.wall_ns()
        assert Path(aside).read_bytes() == content
        assert database.execute(COUNT) == [(0,)]


@pytest.mark.parametrize("content", [b"", b"no database", os.urandom(10_000)], ids=["empty", "text", "noise"])
def test_what_is_no_database_is_set_aside(path: Path, clock: FakeClock, content: bytes) -> None:
    path.write_bytes(content)
    assert_set_aside(path, clock, content)


def test_somebody_elses_database_is_set_aside(path: Path, clock: FakeClock) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE cookies (name)")
    foreign.commit()
    foreign.close()
    assert_set_aside(path, clock, path.read_bytes())


def test_a_log_without_its_database_is_not_played_into_a_new_one(path: Path, clock: FakeClock) -> None:
    Path(f"{path}-wal").write_bytes(b"orphan")
    with opened(path, clock) as database:
        assert database.set_aside == f"{path}.corrupt-{STAMP}"
    assert Path(f"{path}.corrupt-{STAMP}-wal").read_bytes() == b"orphan"


def test_an_older_bad_file_is_never_overwritten(path: Path, clock: FakeClock) -> None:
    for content in (b"first", b"second", b"third"):
        path.write_bytes(content)
        opened(path, clock).close()
    kept = [Path(f"{path}.corrupt-{STAMP}{end}").read_bytes() for end in ("", "-2", "-3")]
    assert kept == [b"first", b"second", b"third"]


def test_the_broken_promise_is_remembered_until_it_is_mended(path: Path, clock: FakeClock) -> None:
    path.write_bytes(b"bad")
    opened(path, clock).close()
    since = clock.wall_ns()
    clock.advance(1000)
    with opened(path, clock) as database:
        assert database.set_aside is None
        assert broken(database) == since
        database.mend_promise()
        assert broken(database) is None
    with opened(path, clock) as database:
        assert broken(database) is None


def damage_a_leaf(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(30, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)


def filled(path: Path, clock: FakeClock) -> None:
    with opened(path, clock) as database:
        database.execute_many("INSERT INTO counters VALUES ('r', ?, 1)", ((str(n),) for n in range(20_000)))


def unclean(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")
    connection.commit()
    connection.close()


def test_damage_is_found_at_start_after_an_unclean_end(path: Path, clock: FakeClock) -> None:
    filled(path, clock)
    unclean(path)
    damage_a_leaf(path)
    assert_set_aside(path, clock, path.read_bytes())


def test_damage_found_in_use_is_reported_and_set_aside_by_the_next_start(path: Path, clock: FakeClock) -> None:
    filled(path, clock)
    damage_a_leaf(path)
    database = opened(path, clock)
    assert database.set_aside is None
    with pytest.raises(StateError, match="malformed; restart the daemon") as caught:
        database.execute("SELECT sum(value) FROM counters")
    assert caught.value.corrupt
    database.close()
    with opened(path, clock) as fresh:
        assert fresh.set_aside is not None
    assert not os.path.exists(f"{path}.suspect")


def test_a_suspicion_without_ground_goes_away(path: Path, clock: FakeClock) -> None:
    filled(path, clock)
    Path(f"{path}.suspect").write_bytes(b"")
    with opened(path, clock) as database:
        assert database.set_aside is None
    assert not os.path.exists(f"{path}.suspect")


# ---- refused files


def test_a_symlink_a_hard_link_and_a_directory_are_refused(path: Path, clock: FakeClock, tmp_path: Path) -> None:
    path.symlink_to("elsewhere.db")
    with pytest.raises(FatalError, match="no regular file of its own") as caught:
        opened(path, clock)
    assert caught.value.exit_code == 77
    path.unlink()
    (tmp_path / "other").write_bytes(b"x")
    os.link(tmp_path / "other", path)
    with pytest.raises(FatalError, match="no regular file of its own"):
        opened(path, clock)
    path.unlink()
    path.mkdir()
    with pytest.raises(FatalError, match="no regular file of its own"):
        opened(path, clock)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file somebody else's")
def test_somebody_elses_file_is_refused(path: Path, clock: FakeClock) -> None:
    opened(path, clock).close()
    os.chown(path, 12345, 12345)
    with pytest.raises(FatalError, match="belongs to uid 12345") as caught:
        opened(path, clock)
    assert caught.value.exit_code == 77


def test_a_directory_that_is_missing_is_said(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StateError, match=r"No such file.*; make the directory"):
        opened(tmp_path / "gone" / "journal.db", clock)


# ---- versions

NOW = len(MIGRATIONS)
NEXT = (*MIGRATIONS, "CREATE TABLE later (x);\nINSERT INTO later VALUES (';');\n")


def test_a_newer_schema_refuses_to_start(path: Path, clock: FakeClock) -> None:
    Database(str(path), clock=clock, migrations=NEXT).close()
    message = f"schema version {NOW + 1}, this filewatchd knows versions up to {NOW}"
    with pytest.raises(FatalError, match=message) as caught:
        opened(path, clock)
    assert caught.value.exit_code == 78
    Database(str(path), clock=clock, migrations=NEXT).close()


def test_a_migration_makes_a_backup_first(path: Path, clock: FakeClock) -> None:
    with opened(path, clock) as database:
        count(database, "a")
    with Database(str(path), clock=clock, migrations=NEXT) as database:
        assert database.backup == f"{path}.v{NOW}-{STAMP}"
        assert database.execute("SELECT x FROM later") == [(";",)]
        assert database.execute(COUNT) == [(1,)]
    backup = Path(f"{path}.v{NOW}-{STAMP}")
    assert backup.stat().st_mode & 0o777 == 0o600
    with opened(backup, clock) as old:
        assert old.execute(COUNT) == [(1,)]


def test_a_migration_may_be_a_function(path: Path, clock: FakeClock) -> None:
    def add(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE later (x)")

    opened(path, clock).close()
    with Database(str(path), clock=clock, migrations=(*MIGRATIONS, add)) as database:
        assert database.execute("SELECT * FROM later") == []


def test_a_migration_that_fails_changes_nothing(path: Path, clock: FakeClock) -> None:
    opened(path, clock).close()
    wrong = (*MIGRATIONS, "CREATE TABLE later (x);\nCREATE TABLE later (x);\n")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Database(str(path), clock=clock, migrations=wrong)
    with opened(path, clock) as database:
        assert database.execute("SELECT name FROM sqlite_master WHERE name = 'later'") == []


# ---- room


def auto_vacuum(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA auto_vacuum").fetchone()[0])


def born_without(path: Path, clock: FakeClock) -> None:
    """As versions made it that knew nothing of shrinking."""
    with opened(path, clock) as database:
        count(database, "kept")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    assert auto_vacuum(path) == 0


def test_a_file_is_born_able_to_shrink(path: Path, clock: FakeClock) -> None:
    opened(path, clock).close()
    assert auto_vacuum(path) == 2


def test_an_older_file_learns_to_shrink(path: Path, clock: FakeClock) -> None:
    born_without(path, clock)
    with opened(path, clock) as database:
        assert database.set_aside is None
        assert database.execute(COUNT) == [(1,)]
        assert database.execute("PRAGMA integrity_check(1)") == [("ok",)]
    assert auto_vacuum(path) == 2
