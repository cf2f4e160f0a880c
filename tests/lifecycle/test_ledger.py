from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from roost.errors import EndpointNotFound, InvalidArgument, LedgerBroken, StorageFailure
from roost.lifecycle.ledger import GENESIS, Ledger, append, canonical_json
from roost.lifecycle.store import Store

N_ENTRIES = 5


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    for number in range(N_ENTRIES):
        with store.write() as session:
            append(session, "ann", "promote", "search", f"v{number}", f"reason {number}", {"score": number / 10})
    return Ledger(store)


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def tamper(url: str, *statements: str) -> None:
    """Change rows as somebody would who has the file, or owns the table."""
    if url.startswith("sqlite"):
        execute(url, "DROP TRIGGER roost_ledger_no_update", "DROP TRIGGER roost_ledger_no_delete", *statements)
    else:
        execute(url, "ALTER TABLE roost_ledger DISABLE TRIGGER ALL", *statements)


def test_entries_say_who_did_what_when_and_why(ledger: Ledger) -> None:
    assert ledger.verify() == N_ENTRIES
    entry = ledger.entries()[2]
    assert (entry.seq, entry.actor, entry.action, entry.endpoint, entry.subject) == (
        3,
        "ann",
        "promote",
        "search",
        "v2",
    )
    assert (entry.reason, entry.evidence) == ("reason 2", {"score": 0.2})
    assert datetime.fromisoformat(entry.at).utcoffset() == timezone.utc.utcoffset(None)
    assert ledger.head == (N_ENTRIES, ledger.entries()[-1].hash)


def test_entries_can_be_of_one_endpoint_and_the_newest_alone(ledger: Ledger, store: Store) -> None:
    with store.write() as session:
        append(session, "bob", "register", None, "digits/1")
    assert len(ledger.entries("search")) == N_ENTRIES
    assert [entry.subject for entry in ledger.entries(limit=2)] == ["v4", "digits/1"]


def test_an_empty_ledger_is_whole(store: Store) -> None:
    assert Ledger(store).verify() == 0
    assert Ledger(store).head == (0, GENESIS)


def test_it_knows_the_champion_of_every_moment(ledger: Ledger) -> None:
    times = [entry.at for entry in ledger.entries()]
    assert ledger.at("search", "2000-01-01T00:00:00+00:00") is None
    assert [ledger.at("search", at) for at in times] == [f"v{number}" for number in range(N_ENTRIES)]
    assert ledger.at("search", datetime.now(timezone.utc)) == "v4"
    for bad in ("yesterday", datetime.now(timezone.utc).timestamp(), None):
        with pytest.raises(InvalidArgument, match="ISO 8601"):
            ledger.at("search", bad)  # type: ignore[arg-type]


def test_an_endpoint_that_it_does_not_know_is_named(ledger: Ledger) -> None:
    now = datetime.now(timezone.utc)
    for ask in (
        lambda: ledger.at("serch", now),
        lambda: ledger.why("serch", now),
        lambda: ledger.history("serch"),
        lambda: ledger.entries("serch"),
    ):
        with pytest.raises(EndpointNotFound, match="did you mean 'search'"):
            ask()


def test_a_kept_head_is_taken_as_it_was_given(ledger: Ledger) -> None:
    seq, kept = ledger.head
    assert ledger.verify(ledger.head) == ledger.verify(kept) == ledger.verify((0, GENESIS)) == N_ENTRIES
    older = ledger.entries()[2]
    assert ledger.verify((older.seq, older.hash)) == N_ENTRIES
    with pytest.raises(LedgerBroken, match=f"not row {seq - 1} has the hash {kept}"):
        ledger.verify((seq - 1, kept))


@pytest.mark.parametrize("bad", [5, None, "nope", GENESIS[1:], ("1", GENESIS), (0, "f" * 64), (True, GENESIS), ()])
def test_what_is_no_head_is_an_argument_and_not_an_alarm(ledger: Ledger, bad: object) -> None:
    with pytest.raises(InvalidArgument, match="no head of a ledger"):
        ledger.verify(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("statement", ["UPDATE roost_ledger SET actor = 'eve'", "DELETE FROM roost_ledger"])
def test_the_database_refuses_changes(ledger: Ledger, store_url: str, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        execute(store_url, statement)
    assert ledger.verify() == N_ENTRIES


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["UPDATE roost_ledger SET actor = 'eve' WHERE seq = 3"], "row 3 was altered"),
        (["UPDATE roost_ledger SET evidence = '{}' WHERE seq = 1"], "row 1 was altered"),
        (["UPDATE roost_ledger SET at = '2020-01-01T00:00:00.000000+00:00' WHERE seq = 2"], "row 2 was altered"),
        (["DELETE FROM roost_ledger WHERE seq = 2"], "row 2 is missing"),
        (["DELETE FROM roost_ledger WHERE seq = 1"], "row 1 is missing"),
        (["DELETE FROM roost_ledger WHERE seq = 5"], "row 5 is wrong: 5 rows were written, 4 are there"),
        (["DELETE FROM roost_ledger"], "row 1 is wrong"),
        (["DELETE FROM roost_ledger_head"], "row 1 is wrong"),
        (
            [
                "UPDATE roost_ledger SET seq = 99 WHERE seq = 2",
                "UPDATE roost_ledger SET seq = 2 WHERE seq = 3",
                "UPDATE roost_ledger SET seq = 3 WHERE seq = 99",
            ],
            "row 2 does not follow row 1",
        ),
    ],
)
def test_tampering_is_found_at_its_first_row(
    ledger: Ledger, store_url: str, statements: list[str], message: str
) -> None:
    tamper(store_url, *statements)
    with pytest.raises(LedgerBroken, match=message):
        ledger.verify()


def test_a_head_that_was_kept_shows_a_ledger_that_was_cut_off_with_its_own_head(ledger: Ledger, store_url: str) -> None:
    older, kept = ledger.entries()[2].hash, ledger.head[1]
    assert ledger.verify(older) == ledger.verify(kept) == N_ENTRIES
    tamper(
        store_url,
        "DELETE FROM roost_ledger WHERE seq > 3",
        f"UPDATE roost_ledger_head SET seq = 3, hash = '{older}'",
    )
    assert ledger.verify() == ledger.verify(older) == 3
    with pytest.raises(LedgerBroken, match="cut off or written anew"):
        ledger.verify(kept)


def test_an_entry_comes_and_goes_with_its_transaction(ledger: Ledger, store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as session:
        append(session, "ann", "promote", "search", "v9")
        raise RuntimeError
    assert ledger.verify() == N_ENTRIES


def test_what_json_cannot_say_is_no_evidence(store: Store) -> None:
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises(InvalidArgument, match="JSON"), store.write() as session:
            append(session, "ann", "promote", "search", "v9", evidence=bad)
    assert Ledger(store).verify() == 0
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'


def test_two_stores_on_one_database_make_one_chain(store: Store, store_url: str) -> None:
    other = Store(store_url)
    for number in range(6):
        with (store, other)[number % 2].write() as session:
            append(session, "ann", "promote", "search", f"v{number}")
    assert Ledger(other).verify() == 6
    other.close()


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is not a database, and long enough to be taken for one" * 20)
    with pytest.raises(StorageFailure, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'store.db'}")


def test_it_says_what_was_in_production_at_a_time_and_why(store: Store) -> None:
    steps = [("promote", "v1"), ("promote", "v2"), ("retire", "v0"), ("rollback", "v1")]
    for action, subject in steps:
        with store.write() as session:
            append(session, "ann", action, "search", subject, f"why {subject}", {"model": f"digits/{subject[1:]}"})
    ledger = Ledger(store)
    first, second, _, back = ledger.entries()
    found = ledger.why("search", second.at)
    assert found == second and (found.reason, found.evidence) == ("why v2", {"model": "digits/2"})
    assert ledger.why("search", "1999-01-01T00:00:00+00:00") is None
    periods = ledger.history("search")
    assert [(p.deployment, p.model, p.since, p.until) for p in periods] == [
        ("v1", "digits/1", first.at, second.at),
        ("v2", "digits/2", second.at, back.at),
        ("v1", "digits/1", back.at, None),
    ]
    assert periods[1].entry == second and (periods[1].actor, periods[1].reason) == ("ann", "why v2")


def test_an_entry_is_shown_in_words_and_in_a_notebook(store: Store) -> None:
    with store.write() as session:
        append(session, "ann", "promote", "search", "v1", "<b>better</b>")
    ledger = Ledger(store)
    entry = ledger.entries()[0]
    assert repr(entry).endswith("ann promote v1 on search: <b>better</b>)")
    assert "&lt;b&gt;better" in entry._repr_html_()
    assert "&lt;b&gt;better" in ledger.history("search")[0]._repr_html_()
