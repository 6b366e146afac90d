# SPDX-License-Identifier: MIT
"""The agent in front of a real redis-server: two ponds of one machine stand for two nodes, writers and readers on both.

A read that is served from a pond is judged by when its value was overwritten: the writer notes when the server had answered the next SET.
None may have been overwritten longer than the lease before the read began, whatever happens to agents, server and connections."""

import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import time
import unittest

from pond import COMMAND, PondCase, Run, main
from redis import MISS, OK, SECONDS, SERVER, STALE, Client, Pond, Proxy, Server, require_library

KEYS, SEQUENCES, WORKERS = 64, 1 << 15, 2
LEASE_MS = 1000
TICK_MS = 20  # two readings of a clock that ticks each 4 ms, and the steps between


class Board:
    """Shared by all processes of a test: when the server had answered each SET, and what the readers counted."""

    COUNTS = ("hits", "trips", "stored", "refused", "stale", "oldest_us", "violations")

    def __init__(self):
        self.memory = mmap.mmap(-1, 64 + 8 * len(self.COUNTS) * 16 + 8 * KEYS * SEQUENCES)
        self.counts_off, self.times_off = 64, 64 + 8 * len(self.COUNTS) * 16

    def stop(self, value=None):
        if value is not None:
            self.memory[0] = value
        return self.memory[0]

    def count(self, worker, name, value=None):
        off = self.counts_off + 8 * (worker * len(self.COUNTS) + self.COUNTS.index(name))
        if value is not None:
            struct.pack_into("<Q", self.memory, off, value)
        return struct.unpack_from("<Q", self.memory, off)[0]

    def total(self, name):
        values = [self.count(worker, name) for worker in range(16)]
        return max(values) if name == "oldest_us" else sum(values)

    def answered(self, key, sequence, now_ns=None):
        off = self.times_off + 8 * (key * SEQUENCES + sequence)
        if now_ns is not None:
            struct.pack_into("<Q", self.memory, off, now_ns)
        return struct.unpack_from("<Q", self.memory, off)[0]


def key_of(number):
    return b"app:%03d" % number


def try_again(path):
    while True:
        try:
            return Client(path)
        except OSError:
            time.sleep(0.02)


def read_on(board, worker, path, server, blind):
    """A worker that reads, L1 to L5 and M1 of agent.c. `blind`: it skips the lease, to show that the test notices."""
    pond, client, number, seed = Pond(path), try_again(server), worker, os.urandom(2)
    counts = dict.fromkeys(Board.COUNTS, 0)
    number = struct.unpack("<H", seed)[0]
    while not board.stop():
        number = (number * 75 + 74) % 65537
        key = number % KEYS
        start_ns = time.monotonic_ns()
        looked, _ = pond.look()
        value = pond.get(key_of(key)) if looked == OK else None
        if value is not None and value.startswith(b"v"):
            counts["hits"] += 1
            over_ns = board.answered(key, int(value[1:]) + 1)
            age_us = (start_ns - over_ns) // 1000 if over_ns else 0
            counts["oldest_us"] = max(counts["oldest_us"], age_us)
            counts["violations"] += age_us > (LEASE_MS + TICK_MS) * 1000
        else:
            version = pond.add(key_of(key), b"lease", 5000) if looked == OK and value is None and not blind else None
            try:
                counts["trips"] += 1
                found = client.call("GET", key_of(key))
            except OSError:
                client.close()
                client, found = try_again(server), None
            if found is not None and blind and looked == OK:
                pond.delete(key_of(key))
                pond.add(key_of(key), found, 0)
            if version is not None and found is not None:
                stored = pond.cas(key_of(key), found, 0, version)
                counts["stored" if stored == OK else "refused"] += 1
            elif version is not None:
                pond.cas(key_of(key), b"lease", 1, version)
        for name in Board.COUNTS:
            board.count(worker, name, counts[name])
        if number % 16 == 0:
            time.sleep(0.0005)
    pond.close()


def write_on(board, side, path, server, pause):
    """A worker that writes every second key, U1 and U2 of agent.c."""
    pond, client, sequence = Pond(path), try_again(server), [0] * KEYS
    while not board.stop():
        for key in range(side, KEYS, 2):
            try:
                client.call("SET", key_of(key), b"v%d" % (sequence[key] + 1))
            except OSError:
                client.close()
                client = try_again(server)
                continue
            sequence[key] += 1
            board.answered(key, sequence[key], time.monotonic_ns())
            pond.delete(key_of(key))
            time.sleep(pause)
            if board.stop() or sequence[key] + 2 >= SEQUENCES:
                break
    pond.close()


@unittest.skipUnless(SERVER, "redis-server is not installed")
class Nodes(PondCase):
    def setUp(self):
        super().setUp()
        self.server = Server(self.folder)
        self.addCleanup(self.server.stop)
        self.server.start()
        self.agents, self.children, self.logs = {}, [], {}
        self.addCleanup(self.end_agents)
        self.addCleanup(self.end_children)

    # ---- agents ----

    def start_agent(self, node, address=None, *options):
        address = address or f"unix:{self.server.path}"
        words = [COMMAND, "agent", self.path(f"{node}.pond"), "--redis", address, "--lease", f"{LEASE_MS}ms", "--json", *options]
        self.agents[node] = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.logs[node] = b""

    def wait_for(self, node, event):
        """The next line of this event."""
        agent, end = self.agents[node], time.monotonic() + SECONDS
        while time.monotonic() < end:
            line, newline, rest = self.logs[node].partition(b"\n")
            if newline:
                self.logs[node] = rest
                if json.loads(line)["event"] == event:
                    return json.loads(line)
            elif select.select([agent.stdout], [], [], 1)[0]:
                got = os.read(agent.stdout.fileno(), 65536)
                if not got:
                    self.fail(f"the agent ended: {agent.stderr.read()!r}")
                self.logs[node] += got
        self.fail(f"the agent never said {event}")

    def end_agent(self, node, number=signal.SIGTERM):
        agent = self.agents[node]
        agent.send_signal(number)
        out, err = agent.communicate(timeout=SECONDS)
        del self.agents[node]
        if number == signal.SIGTERM:
            self.assertEqual((agent.returncode, err), (0, b""))
            return json.loads((self.logs[node] + out).splitlines()[-1])
        return None

    def end_agents(self):
        for agent in self.agents.values():
            agent.kill()
            agent.communicate()

    # ---- workers ----

    def child(self, body, *words):
        require_library()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                body(*words)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        self.children.append(pid)

    def start_workers(self, board, pause, blind=False):
        for side, node in enumerate("ab"):
            for worker in range(WORKERS):
                self.child(read_on, board, side * WORKERS + worker, self.path(f"{node}.pond"), self.server.path, blind)
            self.child(write_on, board, side, self.path(f"{node}.pond"), self.server.path, pause)

    def end_workers(self, board):
        board.stop(1)
        end = time.monotonic() + SECONDS
        for pid in self.children:
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self.assertEqual(status, 0)
                    break
                self.assertLess(time.monotonic(), end, "a worker does not end")
                time.sleep(0.02)
        self.children = []

    def end_children(self):
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def hits_come(self, board, workers):
        """Waits until these workers are served from their pond again."""
        before = [board.count(worker, "hits") for worker in workers]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if all(board.count(worker, "hits") > hits for worker, hits in zip(workers, before)):
                return
            time.sleep(0.02)
        self.fail("nothing is served from the pond")

    def no_hits_come(self, board, workers):
        before = [board.count(worker, "hits") for worker in workers]
        time.sleep(0.3)
        self.assertEqual([board.count(worker, "hits") for worker in workers], before)

    def ponds_are_right(self):
        """After a quiet moment every value in a pond is the server's."""
        client = Client(self.server.path)
        found = 0
        for node in "ab":
            pond = Pond(self.path(f"{node}.pond"))
            for key in range(KEYS):
                value = pond.get(key_of(key))
                if value is not None and value != b"lease":
                    self.assertEqual(value, client.call("GET", key_of(key)), (node, key))
                    found += 1
            pond.close()
        client.close()
        return found

    # ---- the tests ----

    def test_two_nodes_through_every_kind_of_loss(self):
        board, client = Board(), Client(self.server.path)
        proxy = Proxy(self.path("proxy.sock"), self.server.path)
        self.addCleanup(proxy.close)
        for node in "ab":
            self.create(name=f"{node}.pond")
        self.start_agent("a", None, "--prefix", "app:")
        self.start_agent("b", f"unix:{proxy.path}", "--prefix", "app:")
        for node in "ab":
            self.wait_for(node, "up")
        self.start_workers(board, 0.002)
        side_a, side_b = range(WORKERS), range(WORKERS, 2 * WORKERS)
        self.hits_come(board, range(2 * WORKERS))
        time.sleep(1.5)
        quiet = {name: board.total(name) for name in Board.COUNTS}

        self.end_agent("a", signal.SIGKILL)
        time.sleep((LEASE_MS + 200) / 1000)
        self.no_hits_come(board, side_a)
        self.start_agent("a", None, "--prefix", "app:")
        self.wait_for("a", "up")
        self.hits_come(board, side_a)

        proxy.hanging.set()
        time.sleep((LEASE_MS + 200) / 1000)
        self.no_hits_come(board, side_b)
        time.sleep(0.5)
        proxy.hanging.clear()
        self.wait_for("b", "down")
        self.wait_for("b", "up")
        self.hits_come(board, side_b)
        proxy.cut()
        self.wait_for("b", "down")
        self.wait_for("b", "up")
        self.hits_come(board, side_b)

        self.agents["b"].send_signal(signal.SIGSTOP)
        time.sleep((LEASE_MS + 200) / 1000)
        self.no_hits_come(board, side_b)
        self.agents["b"].send_signal(signal.SIGCONT)
        self.hits_come(board, side_b)

        client.call("FLUSHALL")
        self.server.stop()
        self.wait_for("a", "down")
        self.server.start()
        for node in "ab":
            self.wait_for(node, "up")
        self.hits_come(board, range(2 * WORKERS))

        self.end_workers(board)
        time.sleep(0.3)
        self.assertGreater(self.ponds_are_right(), 0)
        ends = {node: self.end_agent(node) for node in "ab"}
        print(f"quiet: {quiet['hits']} hits, {quiet['trips']} round trips, oldest {quiet['oldest_us'] / 1000:.1f} ms; all: "
              + ", ".join(f"{board.total(name)} {name}" for name in Board.COUNTS)
              + f"; told {ends['a']['invalidations']} and {ends['b']['invalidations']}", file=sys.stderr)
        self.assertEqual(board.total("violations"), 0)
        self.assertGreater(quiet["hits"], 100)
        self.assertGreater(ends["b"]["losses"], 1)
        for node in "ab":
            self.done(Run(["check", self.path(f"{node}.pond")]))
            self.assertEqual(self.stats(self.path(f"{node}.pond"))["items"], 0)

    def test_late_fills_are_refused(self):
        """Keys that are written as fast as they are read: the window between a load and its fill is hit all the time."""
        board = Board()
        for node in "ab":
            self.create(name=f"{node}.pond")
            self.start_agent(node)
        for node in "ab":
            self.wait_for(node, "up")
        self.start_workers(board, 0)
        time.sleep(3)
        self.end_workers(board)
        time.sleep(0.3)
        self.ponds_are_right()
        self.assertEqual(board.total("violations"), 0)
        self.assertGreater(board.total("refused"), 0)

    def test_one_agent_for_a_file(self):
        pond = self.create()
        self.start_agent("a")
        self.wait_for("a", "up")
        run = Run(["agent", pond, "--redis", f"unix:{self.server.path}"])
        self.error(run, pond, "another agent")
        self.end_agent("a")

    def test_what_it_deletes_and_what_it_keeps(self):
        pond, client = self.create(), Client(self.server.path)
        self.done(Run(["set", pond, "before", "v"]))
        self.start_agent("a", None, "--prefix", "app:", "--strip")
        self.assertEqual(self.wait_for("a", "up")["epoch"] % 2, 0)
        self.no(Run(["get", pond, "before"]))
        for key in ("one", "two", "other", "big"):
            self.done(Run(["set", pond, key, "v"]))
        client.call("MSET", "app:one", "w", "app:two", "w", "other", "w")
        client.call("SET", "app:" + "x" * 70000, "w")
        client.call("SET", "app:", "w")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and Run(["get", pond, "two"]).status == 0:
            time.sleep(0.02)
        self.no(Run(["get", pond, "one"]))
        self.no(Run(["get", pond, "two"]))
        self.done(Run(["get", pond, "other"]), b"v")
        client.call("FLUSHDB")
        while time.monotonic() < end and Run(["get", pond, "other"]).status == 0:
            time.sleep(0.02)
        self.no(Run(["get", pond, "other"]))
        said = self.end_agent("a")
        self.assertEqual((said["invalidations"], said["deleted"], said["flushes"], said["losses"]), (4, 2, 1, 1))

    def test_a_lost_link_leaves_nothing_or_what_is_only_stale(self):
        for options, left, looked in (((), None, MISS), (("--stale", "1m"), b"v", STALE)):
            path = self.create(name=f"{len(options)}.pond")
            self.start_agent(str(len(options)), None, *options)
            self.wait_for(str(len(options)), "up")
            self.done(Run(["set", path, "k", "v"]))
            pond = Pond(path)
            self.assertEqual(pond.look()[0], OK)
            self.server.stop()
            self.wait_for(str(len(options)), "down")
            self.assertEqual((pond.get(b"k"), pond.look()[0]), (left, looked))
            self.assertEqual(pond.look()[1].epoch % 2, 1)
            self.server.start()
            self.wait_for(str(len(options)), "up")
            self.assertEqual((pond.get(b"k"), pond.look()[0]), (None, OK))
            pond.close()
            self.end_agent(str(len(options)))

    def test_what_was_kept_as_stale_goes_after_its_time(self):
        path = self.create()
        self.start_agent("a", None, "--stale", "300ms")
        self.wait_for("a", "up")
        self.done(Run(["set", path, "k", "v"]))
        self.server.stop()
        self.wait_for("a", "down")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and Run(["get", path, "k"]).status == 0:
            time.sleep(0.02)
        self.no(Run(["get", path, "k"]))
        self.end_agent("a")

    def test_passwords(self):
        self.server.stop()
        self.server.options = ["--requirepass", "secret"]
        self.server.start()
        path, secret = self.create(), self.path("password")
        address = f"unix:{self.server.path}"
        self.error(Run(["agent", path, "--redis", address]), address, "refuses")
        for text in ("wrong\n", ""):
            with open(secret, "w", encoding="ascii") as file:
                file.write(text)
            run = Run(["agent", path, "--redis", address, "--password-file", secret])
            self.assertEqual((run.status, run.out), (3, b""), run)
        with open(secret, "w", encoding="ascii") as file:
            file.write("secret\n")
        self.start_agent("a", None, "--password-file", secret)
        self.wait_for("a", "up")
        self.end_agent("a")

    def test_a_server_that_comes_later_and_one_that_speaks_otherwise(self):
        path = self.create()
        self.server.stop()
        self.start_agent("a")
        self.assertIn("cannot be reached", self.wait_for("a", "down")["text"])
        self.server.start()
        self.wait_for("a", "up")
        self.end_agent("a")
        proxy = Proxy(self.path("other.sock"), self.path("none.sock"))
        self.addCleanup(proxy.close)
        self.start_agent("a", f"unix:{proxy.path}")
        self.assertIn("hung up", self.wait_for("a", "down")["text"])
        self.assertEqual(Pond(path).look()[0], MISS)
        self.end_agent("a")

    def test_wrong_usage(self):
        path = self.create()
        for words in ([], ["--redis", "host:6379"], ["--redis", "tcp:host"], ["--redis", "tcp::1"], ["--redis", "unix:"],
                      ["--redis", "unix:/x", "--lease", "1ms"], ["--redis", "unix:/x", "--strip"], ["--redis", "unix:/x", "--user", "u"]):
            self.usage(Run(["agent", path, *words]), "agent")
        self.error(Run(["agent", self.path("none"), "--redis", "unix:/x"]), self.path("none"))


if __name__ == "__main__":
    main()
