#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Connections that talk, for the restart loop and the churn. Runs inside a pod's namespace.

    talk.py serve PORT                  echoes lines; says `ready` when it listens; on SIGUSR1 it
                                        stops listening and says `closed`, what is open goes on;
                                        on SIGUSR2 it listens again
    talk.py talk HOST PORT OPEN RATE    keeps OPEN connections talking ten times a second each,
                                        makes RATE new ones a second; on SIGTERM prints counts
"""
import asyncio
import errno
import json
import signal
import sys

PATIENCE = 5  # seconds that an answer may take: a lost segment is sent again well before


async def serve(port):
    async def one(reader, writer):
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
    wanted, changed = True, asyncio.Event()

    def want(listening):
        nonlocal wanted
        wanted = listening
        changed.set()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, want, False)
    loop.add_signal_handler(signal.SIGUSR2, want, True)
    server = None
    while True:
        if wanted and not server:
            server = await asyncio.start_server(one, None, port, backlog=1024)
            print("ready", flush=True)
        elif not wanted and server:
            server.close()
            server = None
            print("closed", flush=True)
        await changed.wait()
        changed.clear()


class Talk:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.counts = {"requests": 0, "connections": 0, "resets": 0, "refused": 0, "lost": 0,
                       "other": 0}
        self.slowest = 0.0
        self.stop = asyncio.Event()

    def failed(self, e):
        if isinstance(e, asyncio.TimeoutError):
            self.counts["lost"] += 1
        elif isinstance(e, ConnectionRefusedError):
            self.counts["refused"] += 1
        elif isinstance(e, (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError)):
            self.counts["resets"] += 1
        else:
            self.counts["other"] += 1
            print(f"talk: {e!r} {errno.errorcode.get(getattr(e, 'errno', 0), '')}", file=sys.stderr)

    async def ask(self, reader, writer, text):
        begin = asyncio.get_running_loop().time()
        writer.write(text)
        answer = await asyncio.wait_for(reader.readuntil(b"\n"), PATIENCE)
        if answer != text:
            raise OSError(errno.EBADMSG, "another answer")
        self.counts["requests"] += 1
        self.slowest = max(self.slowest, asyncio.get_running_loop().time() - begin)

    async def connect(self):
        pair = await asyncio.wait_for(asyncio.open_connection(self.host, self.port), PATIENCE)
        self.counts["connections"] += 1
        return pair

    async def open_one(self, number):
        try:
            reader, writer = await self.connect()
            turn = 0
            while not self.stop.is_set():
                await self.ask(reader, writer, b"open %d %d\n" % (number, turn))
                turn += 1
                await asyncio.sleep(0.1)
            writer.close()
        except (OSError, EOFError, asyncio.TimeoutError) as e:
            self.failed(e)

    async def short_one(self, number):
        try:
            reader, writer = await self.connect()
            await self.ask(reader, writer, b"short %d\n" % number)
            writer.close()
        except (OSError, EOFError, asyncio.TimeoutError) as e:
            self.failed(e)

    async def run(self, n_open, rate):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop.set)
        tasks = set()
        for i in range(n_open):
            tasks.add(loop.create_task(self.open_one(i)))
            await asyncio.sleep(0.002)
        print("ready", flush=True)
        begin, number = loop.time(), 0
        while not self.stop.is_set():
            task = loop.create_task(self.short_one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(max(0, begin + number / rate - loop.time()))
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE + 1)
        print(json.dumps(dict(self.counts, slowest_ms=round(self.slowest * 1000, 1))), flush=True)


async def main():
    if sys.argv[1] == "serve":
        await serve(int(sys.argv[2]))
    else:
        await Talk(sys.argv[2], int(sys.argv[3])).run(int(sys.argv[4]), float(sys.argv[5]))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
