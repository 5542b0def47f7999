"""rqlite's own Python client drives `/db/execute` and `/db/query` over mutual TLS.

pyrqlite writes parameters into the SQL, sends reads as `GET /db/query?q=`, writes as `POST /db/execute?transaction`,
and understands blobs as base64 under a declared type.
"""

import base64
import datetime

import pyrqlite.dbapi2
import pytest
from pyrqlite.dbapi2 import Error

EVERYTHING = "häm 'n' \"jam\" 🫙 \\ % x'00' \t\n;"


def test_create_insert_select(cursor):
    cursor.execute("CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, name TEXT)")
    cursor.execute("INSERT INTO people (name) VALUES (?)", ("ada",))
    assert cursor.lastrowid == 1
    cursor.execute("INSERT INTO people (name) VALUES (:name)", {"name": "grace"})
    assert cursor.lastrowid == 2
    cursor.execute("SELECT id, name FROM people WHERE id >= ? ORDER BY id", (1,))
    assert [column[0] for column in cursor.description] == ["id", "name"]
    assert cursor.rowcount == 2
    assert tuple(cursor.fetchone()) == (1, "ada")
    assert [tuple(row) for row in cursor.fetchall()] == [(2, "grace")]
    assert cursor.fetchone() is None


def test_a_result_without_rows(cursor):
    cursor.execute("CREATE TABLE nobody (id INTEGER PRIMARY KEY, name TEXT)")
    cursor.execute("SELECT * FROM nobody")
    assert [column[0] for column in cursor.description] == ["id", "name"]
    assert cursor.fetchall() == []


def test_executemany_is_one_transaction(cursor):
    cursor.execute("CREATE TABLE numbers (n INTEGER UNIQUE, square INTEGER)")
    cursor.executemany("INSERT INTO numbers VALUES (?, ?)", [(n, n * n) for n in range(500)])
    assert cursor.rowcount == 500
    cursor.execute("SELECT count(*), sum(square) FROM numbers")
    assert tuple(cursor.fetchone()) == (500, sum(n * n for n in range(500)))
    # pyrqlite only logs the errors of executemany: what matters is that nothing of it stays.
    cursor.executemany("INSERT INTO numbers VALUES (?, ?)", [(1000, 0), (1001, 0), (7, 0)])
    cursor.execute("SELECT count(*) FROM numbers WHERE n >= 1000")
    assert cursor.fetchone()[0] == 0


def test_update_and_delete_say_how_many(cursor):
    cursor.execute("CREATE TABLE jars (id INTEGER PRIMARY KEY, full INTEGER)")
    cursor.executemany("INSERT INTO jars (full) VALUES (?)", [(n % 2,) for n in range(10)])
    assert cursor.execute("UPDATE jars SET full = 2 WHERE full = ?", (1,)).rowcount == 5
    assert cursor.execute("DELETE FROM jars WHERE full = ?", (0,)).rowcount == 5
    assert cursor.execute("DELETE FROM jars WHERE full = ?", (0,)).rowcount == 0


def test_text_stays_text(cursor):
    cursor.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, body TEXT)")
    texts = [EVERYTHING, "", "x'00ff'", "X'00'", "123", base64.b64encode(b"blob").decode()]
    for text in texts:
        # pyrqlite finds placeholders in literals too, so the text goes in as a parameter of its own.
        cursor.execute("INSERT INTO texts (body) VALUES (?)", (text,))
    cursor.execute("SELECT body, typeof(body) FROM texts ORDER BY id")
    assert [tuple(row) for row in cursor.fetchall()] == [(text, "text") for text in texts]
    cursor.execute("SELECT id FROM texts WHERE body = ?", (EVERYTHING,))
    assert cursor.fetchone()[0] == 1


def test_blobs(cursor):
    cursor.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, body BLOB)")
    blobs = [bytes(range(256)), b"", b"\x00", "ü".encode()]
    for blob in blobs:
        cursor.execute("INSERT INTO blobs (body) VALUES (?)", (blob,))
    cursor.execute("SELECT body FROM blobs ORDER BY id")
    assert [row[0] for row in cursor.fetchall()] == blobs
    cursor.execute("SELECT DISTINCT typeof(body) FROM blobs")
    assert cursor.fetchone()[0] == "blob"


def test_numbers_and_null(cursor):
    cursor.execute("CREATE TABLE numbers_of_all_kinds (id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC)")
    rows = [(0, 0.5, None), (2**63 - 1, 1e300, None), (-(2**63) + 1, -0.1, None), (2**53 + 1, 0.1 + 0.2, None)]
    for row in rows:
        cursor.execute("INSERT INTO numbers_of_all_kinds (i, r, n) VALUES (?, ?, ?)", row)
    cursor.execute("SELECT i, r, n FROM numbers_of_all_kinds ORDER BY id")
    assert [tuple(row) for row in cursor.fetchall()] == rows


def test_declared_types_are_parsed(connect):
    with connect(detect_types=pyrqlite.dbapi2.PARSE_DECLTYPES).cursor() as cursor:
        cursor.execute("CREATE TABLE days (day DATE, kept BOOL)")
        cursor.execute("INSERT INTO days VALUES (?, ?)", (datetime.date(2024, 2, 29), True))
        cursor.execute("SELECT day, kept FROM days")
        assert tuple(cursor.fetchone()) == (datetime.date(2024, 2, 29), True)


@pytest.mark.parametrize(
    "sql, says",
    [
        ("SELECT * FROM missing", "no such table"),
        ("SELEC 1", "syntax error"),
        ("INSERT INTO missing VALUES (1)", "no such table"),
        ("ATTACH DATABASE 'other.db' AS other", None),
        ("BEGIN", None),
        ("SELECT 1; SELECT 2", None),
    ],
)
def test_errors_are_errors(cursor, sql, says):
    with pytest.raises(Error, match=says):
        cursor.execute(sql)
    assert cursor.execute("SELECT 1").fetchone()[0] == 1


def test_a_violated_constraint_leaves_nothing(cursor):
    cursor.execute("CREATE TABLE once (id INTEGER PRIMARY KEY)")
    cursor.execute("INSERT INTO once VALUES (1)")
    with pytest.raises(Error, match="UNIQUE constraint failed: once.id"):
        cursor.execute("INSERT INTO once VALUES (2), (1)")
    assert cursor.execute("SELECT count(*) FROM once").fetchone()[0] == 1


def test_a_write_is_seen_by_the_next_connection(connect):
    with connect().cursor() as writer, connect().cursor() as reader:
        writer.execute("CREATE TABLE seen (n INTEGER)")
        for n in range(20):
            writer.execute("INSERT INTO seen VALUES (?)", (n,))
            assert reader.execute("SELECT max(n) FROM seen").fetchone()[0] == n
