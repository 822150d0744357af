# SPDX-License-Identifier: Apache-2.0
"""Servers and clients of the tests: TCP, UDP and SCTP, in any namespace, both families.

A server says who it is and whom it sees, so that a test knows which backend answered and
whether the client's address arrived unchanged.
"""
import collections
import errno
import os
import selectors
import socket
import struct
import sys
import threading

from netns import within

# stretches every deadline, for emulated machines
SLOW = float(os.environ.get("BPFNET_TEST_SLOW", "1"))

Banner = collections.namedtuple("Banner", "name client client_port local local_port")


def family(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def _plain(ip):
    return ip[7:] if ip.startswith("::ffff:") else ip


def _banner(name, peer, local):
    return f"{name} {_plain(peer[0])} {peer[1]} {_plain(local[0])} {local[1]}\n".encode()


def _parse(line):
    name, client, port, local, local_port = line.decode().split()
    return Banner(name, client, int(port), local, int(local_port))


# ---------------------------------------------------------------- SCTP, by hand
_CRC = []
for _i in range(256):
    _c = _i
    for _ in range(8):
        _c = (_c >> 1) ^ (0x82F63B78 if _c & 1 else 0)
    _CRC.append(_c)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def sctp_packet(sport, dport, vtag, chunk):
    head = struct.pack("!HHI", sport, dport, vtag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def sctp_init(sport, dport, tag, ack=False, vtag=0):
    params = struct.pack("!HH4s", 7, 8, b"bpfn") if ack else b""
    chunk = struct.pack("!BBHIIHHI", 2 if ack else 1, 0, 20 + len(params), tag, 65536, 1, 1, tag)
    return sctp_packet(sport, dport, vtag, chunk + params)


def sctp_crc_ok(packet):
    return struct.unpack("<I", packet[8:12])[0] == crc32c(packet[:8] + bytes(4) + packet[12:])


def _sctp_payload(fam, data):
    return data[(data[0] & 15) * 4:] if fam == socket.AF_INET else data


# -------------------------------------------------------------------- servers
class Peers:
    """All servers of a session in one thread. The callbacks never block."""

    def __init__(self):
        self._sel = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe()
        self._todo = collections.deque()
        self._sel.register(self._wake_r, selectors.EVENT_READ, self._on_wake)
        self.sctp_bad_crc = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            for key, _ in self._sel.select():
                try:
                    key.data(key.fileobj)
                except (OSError, KeyError, ValueError):
                    pass

    def _on_wake(self, fd):
        os.read(fd, 4096)
        while self._todo:
            self._todo.popleft()()

    def _call(self, fn):
        done = threading.Event()

        def job():
            try:
                fn()
            finally:
                done.set()
        self._todo.append(job)
        os.write(self._wake_w, b"x")
        done.wait(10)

    def _add(self, sock, callback):
        sock.setblocking(False)
        self._call(lambda: self._sel.register(sock, selectors.EVENT_READ, callback))

    def close(self, *socks):
        def job():
            for s in socks:
                try:
                    self._sel.unregister(s)
                except (KeyError, ValueError):
                    pass
                s.close()
        self._call(job)

    def tcp(self, ns, name, port):
        """Banner, then echo. Listens on both families."""
        with within(ns):
            s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(("::", port))
        s.listen(1024)

        def on_data(conn):
            try:
                data = conn.recv(65536)
                if data:
                    conn.send(data)
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            self._sel.unregister(conn)
            conn.close()

        def on_accept(sock):
            conn, peer = sock.accept()
            conn.send(_banner(name, peer, conn.getsockname()))
            conn.setblocking(False)
            self._sel.register(conn, selectors.EVENT_READ, on_data)

        self._add(s, on_accept)
        return s

    def udp(self, ns, name, port):
        """Banner line and what was received, back to the sender, one socket for each family."""
        socks = []
        for fam, any_ in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            with within(ns):
                s = socket.socket(fam, socket.SOCK_DGRAM)
            if fam == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((any_, port))

            def on_data(sock):
                data, peer = sock.recvfrom(65536)
                sock.sendto(_banner(name, peer, sock.getsockname()) + data, peer)

            self._add(s, on_data)
            socks.append(s)
        return socks

    def sctp(self, ns, name, port):
        """INIT-ACK to every INIT whose CRC32c is right; a wrong one is counted."""
        socks = []
        for fam in (socket.AF_INET, socket.AF_INET6):
            with within(ns):
                s = socket.socket(fam, socket.SOCK_RAW, socket.IPPROTO_SCTP)

            def on_data(sock, fam=fam):
                data, peer = sock.recvfrom(65536)
                p = _sctp_payload(fam, data)
                if len(p) < 32 or p[12] != 1:
                    return
                sport, dport = struct.unpack("!HH", p[:4])
                if dport != port:
                    return
                if not sctp_crc_ok(p):
                    self.sctp_bad_crc += 1
                    return
                tag = struct.unpack("!I", p[16:20])[0]
                # the answering server's name travels in the initiate tag
                mine = int.from_bytes(name.encode()[:4].ljust(4, b"_"), "big")
                sock.sendto(sctp_init(dport, sport, mine, ack=True, vtag=tag), (peer[0], 0))

            self._add(s, on_data)
            socks.append(s)
        return socks


# -------------------------------------------------------------------- clients
def tcp_socket(ns, ip, timeout=5):
    with within(ns):
        s = socket.socket(family(ip), socket.SOCK_STREAM)
    s.settimeout(timeout * SLOW)
    return s


def tcp_bound(ns, ip, port=0, timeout=3):
    """A socket at that address and, where it is given, port."""
    s = tcp_socket(ns, ip, timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((ip, port))
    return s


def tcp_open(ns, ip, port, timeout=5, own=None):
    """A connection, from `own` address and port, and the banner of who answered."""
    s = tcp_bound(ns, *own, timeout) if own else tcp_socket(ns, ip, timeout)
    try:
        s.connect((ip, port))
        line = b""
        while not line.endswith(b"\n"):
            part = s.recv(1)
            if not part:
                raise ConnectionError("closed before the banner")
            line += part
    except BaseException:
        s.close()
        raise
    return s, _parse(line)


def tcp(ns, ip, port, timeout=5, own=None):
    s, banner = tcp_open(ns, ip, port, timeout, own)
    s.close()
    return banner


def echo(sock, data):
    """In pieces that the server's send buffer holds, as it does not wait for room there."""
    for at in range(0, len(data), 16384):
        piece = data[at:at + 16384]
        sock.sendall(piece)
        got = b""
        while len(got) < len(piece):
            part = sock.recv(65536)
            if not part:
                raise ConnectionError("closed by the server")
            got += part
        assert got == piece


def lost(s):
    """How many segments were sent again and had not arrived: tcpi_total_retrans without
    tcpi_dsack_dups, which were sent again for impatience."""
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 220)
    return int.from_bytes(info[100:104], sys.byteorder) - \
        int.from_bytes(info[216:220], sys.byteorder)


def tcp_error(ns, ip, port, timeout=5):
    """The errno of a connect() that must fail; None when it succeeds, "timeout" when silent."""
    s = tcp_socket(ns, ip, timeout)
    try:
        s.connect((ip, port))
        return None
    except socket.timeout:
        return "timeout"
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        s.close()


def udp_socket(ns, ip, port, timeout=3, connect=True, own=None):
    with within(ns):
        s = socket.socket(family(ip), socket.SOCK_DGRAM)
    s.settimeout(timeout * SLOW)
    if own:
        s.bind(own)
    if connect:
        s.connect((ip, port))
    return s


def udp_exchange(s, data=b"hello", to=None):
    if to:
        s.sendto(data, to)
        answer, peer = s.recvfrom(65536)
        assert peer[:2] == to[:2], f"answer came from {peer}, sent to {to}"
    else:
        s.send(data)
        answer = s.recv(65536)
    line, _, body = answer.partition(b"\n")
    assert body == data, f"{len(data)} bytes sent, {len(body)} came back"
    return _parse(line)


def udp(ns, ip, port, data=b"hello", tries=3, connect=True, own=None):
    """One request on a fresh socket; tried again on silence, as UDP may lose what it likes."""
    for left in reversed(range(tries)):
        with udp_socket(ns, ip, port, 2, connect, own) as s:
            try:
                return udp_exchange(s, data, None if connect else (ip, port))
            except socket.timeout:
                if not left:
                    raise


# What a connected UDP socket that was ended says: once, to a call that looks for an error that was
# left for it; and to each send(), which looks first for the peer that it no longer has.
TOLD = {"recv": errno.ECONNABORTED, "send": errno.EDESTADDRREQ}


def told(error):
    return error.errno in TOLD.values()


def assert_told(s):
    for call, argument in (("recv", 100), ("send", b"x")):
        try:
            getattr(s, call)(argument)
        except OSError as e:
            assert e.errno == TOLD[call], f"{call}() says {e}"
        else:
            raise AssertionError(f"{call}() says nothing")


def udp_error(ns, ip, port, timeout=5):
    with udp_socket(ns, ip, port, timeout) as s:
        try:
            s.send(b"x")
            s.recv(100)
            return None
        except socket.timeout:
            return "timeout"
        except OSError as e:
            return errno.errorcode[e.errno]


def sctp(ns, ip, port, sport=None, timeout=3):
    """INIT, and the INIT-ACK's (server name, address it came from); CRC32c and ports checked."""
    fam = family(ip)
    sport = sport or 20000 + int.from_bytes(os.urandom(2), "big") % 30000
    tag = 0x1234
    with within(ns):
        s = socket.socket(fam, socket.SOCK_RAW, socket.IPPROTO_SCTP)
    with s:
        s.settimeout(timeout * SLOW)
        s.sendto(sctp_init(sport, port, tag), (ip, 0))
        while True:
            data, peer = s.recvfrom(65536)
            p = _sctp_payload(fam, data)
            if len(p) < 32 or struct.unpack("!HH", p[:4]) != (port, sport):
                continue
            assert sctp_crc_ok(p), "INIT-ACK with a wrong CRC32c"
            assert p[12] == 2 and struct.unpack("!I", p[4:8])[0] == tag
            return p[16:20].decode().rstrip("_"), peer[0]
