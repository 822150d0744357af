#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Strangers: short TCP connections and DNS exchanges, each from a socket of its own.

    short.py serve TCP-PORT UDP-PORT            a line and a close to each; an answer to each query
    short.py tcp|dns ADDRESS PORT NUMBER        one after the other; prints what became of them
"""
import json
import os
import select
import signal
import socket
import struct
import sys

PATIENCE = 10


def question(number):
    """A query for the A record of n<number>.test (RFC 1035)."""
    name = b"".join(bytes([len(x)]) + x for x in (b"n%d" % number, b"test")) + b"\0"
    return struct.pack("!6H", number & 0xffff, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)


def answer(query):
    """The same question with one address, 192.0.2.1, for a name that begins at offset 12."""
    record = struct.pack("!3HIH4B", 0xc00c, 1, 1, 60, 4, 192, 0, 2, 1)
    return query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + query[12:] + record


def dual(kind, port):
    s = socket.socket(socket.AF_INET6, kind)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port))
    return s


def serve(tcp_port, udp_port):
    tcp, udp = dual(socket.SOCK_STREAM, tcp_port), dual(socket.SOCK_DGRAM, udp_port)
    tcp.listen(4096)
    print("ready", flush=True)
    while True:
        for s in select.select([tcp, udp], [], [])[0]:
            if s is udp:
                query, peer = udp.recvfrom(512)
                udp.sendto(answer(query), peer)
            else:
                # the server ends first, so that the client's ports are free at once
                conn = tcp.accept()[0]
                conn.sendall(b"hello\n")
                conn.close()


def connect(family, address, number):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(PATIENCE)
        s.connect(address)
        return s.recv(64) == b"hello\n" and s.recv(64) == b""


def ask(family, address, number):
    query = question(number)
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE)
        s.connect(address)
        s.send(query)
        return s.recv(512) == answer(query)


def run(exchange, ip, port, count):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    done, errors = 0, {}
    for number in range(count):
        try:
            why = None if exchange(family, (ip, port), number) else "wrong answer"
        except OSError as e:
            why = os.strerror(e.errno) if e.errno else str(e)
        done += why is None
        if why:
            errors[why] = errors.get(why, 0) + 1
    print(json.dumps({"done": done, "errors": errors}), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    what, args = sys.argv[1], sys.argv[2:]
    if what == "serve":
        serve(int(args[0]), int(args[1]))
    else:
        run({"tcp": connect, "dns": ask}[what], args[0], int(args[1]), int(args[2]))
