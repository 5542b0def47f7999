"""Leads connections from one place to another: `relay.py FROM TO`, each a Unix socket's path or HOST:PORT. Two of these, one on each side of
a Unix socket, lead out of a network that has no way out. Prints the port that it listens on."""

import asyncio
import sys

source, target = sys.argv[1:]


async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def lead(reader, writer):
    if target.startswith("/"):
        further = await asyncio.open_unix_connection(target)
    else:
        further = await asyncio.open_connection(*target.split(":"))
    await asyncio.gather(copy(reader, further[1]), copy(further[0], writer))


async def main():
    if source.startswith("/"):
        server = await asyncio.start_unix_server(lead, source)
    else:
        server = await asyncio.start_server(lead, *source.split(":"))
    print("relays from", server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


asyncio.run(main())
