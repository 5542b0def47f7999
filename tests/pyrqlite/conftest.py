"""What the Rust harness hands over: a server of its own, and the certificate of a client that owns the schema.

`make python-tests` runs these tests through `tests/sidecar/pyrqlite.rs`. They share the server, so each has a table of
its own.
"""

import os
import ssl
from urllib.parse import urlsplit

import pyrqlite.dbapi2
import pytest


@pytest.fixture
def connect():
    """Opens connections, with pyrqlite's own options."""
    url = urlsplit(os.environ["LARDER_URL"])
    context = ssl.create_default_context(cafile=os.environ["LARDER_CA"])
    context.load_cert_chain(os.environ["LARDER_CERT"], os.environ["LARDER_KEY"])
    opened = []

    def connect(**options):
        connection = pyrqlite.dbapi2.connect(
            scheme="https", host=url.hostname, port=url.port, ssl_context=context, timeout=30, **options
        )
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def cursor(connect):
    with connect().cursor() as cursor:
        yield cursor
