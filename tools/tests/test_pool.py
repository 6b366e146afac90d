# SPDX-License-Identifier: MIT
"""millpond-bench pool in front of a table and of a server, every value verified; and what it says of one that is not there."""

import json
import os
import sqlite3
import subprocess
import unittest

from pond import PondCase, main
from redis import SERVER, Client, Server

BENCH = os.path.join(os.environ["MILLPOND_BUILD"], "bench", "millpond-bench")
VALUES = {f"key:{i}".encode(): os.urandom(i * 37 % 5000) for i in range(200)}


def has_store(name):
    return os.path.exists(os.path.join(os.environ["MILLPOND_BUILD"], "lib", "stores", f"libmillpond_store_{name}.so"))


class Pool(PondCase):
    def pool(self, store, *more):
        words = [BENCH, "pool", "--store", store, "--workers", "3", "--seconds", "2", "--size", "8M", "--json", *more]
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)

    def require_right(self, run):
        self.assertEqual(run.returncode, 0, run)
        said = json.loads(run.stdout)
        self.assertEqual(said["wrong_bytes"], 0, said)
        self.assertEqual((said["wrong_values"], said["errors"], said["unreadable"]), (0, 0, 0), said)
        self.assertGreater(said["hits"], 1000, said)

    def table(self):
        path = self.path("table.db")
        with sqlite3.connect(path) as base:
            base.execute("create table t (key blob primary key, value blob)")
            base.executemany("insert into t values (?, ?)", VALUES.items())
        base.close()
        return path

    @unittest.skipUnless(has_store("sqlite"), "built without the store for SQLite")
    def test_a_table_is_served(self):
        self.require_right(self.pool(f"sqlite:{self.table()}?table=t"))

    @unittest.skipUnless(has_store("sqlite"), "built without the store for SQLite")
    def test_a_table_that_is_not_there_is_told(self):
        run = self.pool(f"sqlite:{self.table()}?table=other")
        self.assertEqual(run.returncode, 3, run)
        self.assertIn(b"other", run.stderr)

    @unittest.skipUnless(has_store("redis") and SERVER, "built without the store for Redis, or no redis-server")
    def test_a_server_is_served(self):
        server = Server(self.path("."))
        server.start()
        self.addCleanup(server.stop)
        client = Client(server.path)
        for key, value in VALUES.items():
            client.call(b"SET", key, value)
        client.close()
        self.require_right(self.pool(f"redis:unix:{server.path}"))

    @unittest.skipUnless(has_store("redis"), "built without the store for Redis")
    def test_a_server_that_is_not_there_is_told(self):
        run = self.pool(f"redis:unix:{self.path('nobody.sock')}")
        self.assertEqual(run.returncode, 3, run)
        self.assertIn(b"nobody.sock", run.stderr)


if __name__ == "__main__":
    main()
