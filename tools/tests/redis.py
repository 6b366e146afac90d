# SPDX-License-Identifier: MIT
"""A redis-server of the test's own, a connection to it, and a pond through the library, for the tests of the agent."""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
import unittest

SECONDS = 30
SERVER = shutil.which("redis-server")


class Server:
    """One redis-server on a unix socket, without files."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "redis.sock")
        self.options = []
        self.program = None

    def start(self):
        words = [SERVER, "--port", "0", "--unixsocket", self.path, "--save", "", "--appendonly", "no", "--dir", os.path.dirname(self.path)]
        self.program = subprocess.Popen(words + self.options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                Client(self.path).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("redis-server does not start")

    def stop(self):
        if self.program is not None:
            self.program.kill()
            self.program.wait()
            self.program = None


class Client:
    """A few commands, each with its answer."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        kind, text = line[:1], line[1:-2]
        if kind == b"$":
            return None if text == b"-1" else self.file.read(int(text) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(text))]
        if kind == b"-":
            raise ConnectionError(text.decode())
        return int(text) if kind == b":" else text


class Proxy:
    """A unix socket in front of another one, whose connections can be left hanging (nothing passes, nobody hangs up) or cut."""

    def __init__(self, path, to):
        self.path, self.to, self.pairs, self.hanging = path, to, [], threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.to)
            except OSError:
                near.close()
                far.close()
                continue
            self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        try:
            while data := one.recv(65536):
                while self.hanging.is_set():
                    time.sleep(0.01)
                other.sendall(data)
        except OSError:
            pass
        self.hang_up(one, other)

    @staticmethod
    def hang_up(*ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for pair in self.pairs:
            self.hang_up(*pair)

    def close(self):
        self.listener.close()
        self.cut()
        for pair in self.pairs:
            for end in pair:
                end.close()


OK, MISS, EXISTS, CHANGED, STALE = 0, 1, 2, 3, 6


class Set(ctypes.Structure):
    _fields_ = [("ttl_ms", ctypes.c_uint64), ("grace_ms", ctypes.c_uint64), ("version", ctypes.c_uint64), ("when", ctypes.c_uint32),
                ("group_number", ctypes.c_uint32), ("group", ctypes.c_char_p), ("group_bytes", ctypes.c_size_t)]


class Agent(ctypes.Structure):
    _fields_ = [("epoch", ctypes.c_uint64), ("now_ms", ctypes.c_uint64), ("until_ms", ctypes.c_uint64), ("stale_ms", ctypes.c_uint64)]


def require_library():
    if os.environ.get("MILLPOND_SANITIZE"):
        raise unittest.SkipTest("a library with a sanitizer cannot be loaded by an interpreter that has none")


class Pond:
    """The library, as a worker uses it."""

    def __init__(self, path):
        require_library()
        self.lib = ctypes.CDLL(os.path.join(os.environ["MILLPOND_BUILD"], "lib", "libmillpond.so"))
        for name in ("millpond_get", "millpond_set_ex", "millpond_cas", "millpond_delete", "millpond_agent_look"):
            getattr(self.lib, name).restype = ctypes.c_int
        self.handle = ctypes.c_void_p()
        errmsg = ctypes.create_string_buffer(256)
        if self.lib.millpond_open(ctypes.byref(self.handle), path.encode(), None, errmsg) != OK:
            raise OSError(errmsg.value)
        self.buf = ctypes.create_string_buffer(65536)
        self.size = ctypes.c_size_t()

    def look(self):
        agent = Agent()
        return self.lib.millpond_agent_look(self.handle, ctypes.byref(agent)), agent

    def get(self, key):
        result = self.lib.millpond_get(self.handle, key, ctypes.c_size_t(len(key)), self.buf, ctypes.c_size_t(65536),
                                       ctypes.byref(self.size))
        return self.buf.raw[:self.size.value] if result == OK else None

    def add(self, key, value, ttl_ms):
        """The version of what was added, or None when there is something."""
        how = Set(ttl_ms=ttl_ms, when=1)
        result = self.lib.millpond_set_ex(self.handle, key, ctypes.c_size_t(len(key)), value, ctypes.c_size_t(len(value)),
                                          ctypes.byref(how))
        return how.version if result == OK else None

    def cas(self, key, value, ttl_ms, version):
        return self.lib.millpond_cas(self.handle, key, ctypes.c_size_t(len(key)), value, ctypes.c_size_t(len(value)),
                                     ctypes.c_uint64(ttl_ms), ctypes.c_uint64(version))

    def delete(self, key):
        return self.lib.millpond_delete(self.handle, key, ctypes.c_size_t(len(key)))

    def close(self):
        self.lib.millpond_close(self.handle)
