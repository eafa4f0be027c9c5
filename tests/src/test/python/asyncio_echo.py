# SPDX-License-Identifier: MIT
"""Clients, 200 if not said otherwise, and one server on one asyncio loop: each line comes back as it was sent."""
import asyncio
import sys

CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
LINES = 10


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def client(number, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = 0
    for n in range(LINES):
        line = b"client %d line %d %s\n" % (number, n, b"x" * (number * 7 % 300))
        writer.write(line)
        await writer.drain()
        assert await reader.readline() == line
        answers += 1
    writer.close()
    await writer.wait_closed()
    return answers


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=CLIENTS)
    port = server.sockets[0].getsockname()[1]
    answers = await asyncio.gather(*(client(n, port) for n in range(CLIENTS)))
    print(f"{len(answers)} clients, {sum(answers)} answers")
    server.close()
    await server.wait_closed()


asyncio.run(asyncio.wait_for(main(), 50))
