# SPDX-License-Identifier: MIT
"""dump and load: round trips, other sizes, writers beside them, cuts and damage, streams that fail; --sync and what a restart leaves."""

import json
import os
import pty
import select
import struct
import subprocess
import time
import unittest

from pond import COMMAND, SECONDS, PondCase, Run, main

BLOCK_HEAD, HEAD = 32, 64


class Dumps(PondCase):
    def dump(self, pond, *options):
        return self.done(Run(["dump", pond, *options])).out

    def load(self, dump, name="new.pond", *options):
        return json.loads(self.done(Run(["load", self.path(name), "--json", *options], stdin=dump)).out)

    def entries(self, pond):
        """{key: (value, ttl or None)} by the verbs that users have."""
        found = {}
        for line in self.done(Run(["keys", pond, "--json", "--hex"])).out.splitlines():
            entry = json.loads(line)
            found[bytes.fromhex(entry["key_hex"])] = entry["ttl_ms"]
        return {key: (self.done(Run(["get", pond, key.hex(), "--hex-key"])).out, ttl) for key, ttl in found.items()}

    def fill(self, count=200, name="a.pond", size="4M"):
        pond = self.create(name=name, size=size)
        lines = b"".join(b"set key%05d value%05d\n" % (i, i) for i in range(count))
        self.done(Run(["shell", pond], stdin=lines))
        return pond


class RoundTrips(Dumps):
    def test_keys_values_times_and_counters(self):
        pond = self.create(size="8M")
        content = {b"plain": b"value", b"\x00\xff\n\\": bytes(range(256)), b"empty": b"", b"k" * 60000: b"long key",
                   b"large": os.urandom(200000)}
        for key, value in content.items():
            if len(key) < 1000:
                self.done(Run(["set", pond, key.hex(), "--hex-key"], stdin=value))
            else:
                self.done(Run(["set", pond, key], stdin=value))
        self.done(Run(["set", pond, "short", "lived", "--ttl", "1h", "--grace", "10m"]))
        self.done(Run(["incr", pond, "counter", "41", "--init", "0"]))
        dump = self.dump(pond)
        said = self.load(dump)
        self.assertEqual((said["entries"], said["loaded"], said["created"]), (len(content) + 2, len(content) + 2, True))
        found = self.entries(self.path("new.pond"))
        self.assertEqual({key: value for key, (value, _) in found.items()}, {**content, b"short": b"lived", b"counter": b"41"})
        self.assertTrue(3590e3 < found[b"short"][1] <= 3600e3, found[b"short"])
        self.assertEqual([key for key, (_, ttl) in found.items() if ttl is not None], [b"short"])
        self.done(Run(["incr", self.path("new.pond"), "counter"]), b"42\n")
        # The grace is in the dump; nothing but a stale read shows it in the pond, so it is dumped once more.
        graces = [struct.unpack_from("<IIQQQ", self.dump(name, "--prefix", "short"), HEAD + BLOCK_HEAD)[4] for name in
                  (pond, self.path("new.pond"))]
        self.assertEqual(graces[0], graces[1])
        self.assertTrue(400e3 <= graces[0] <= 600e3, graces)
        self.done(Run(["check", self.path("new.pond")]))

    def test_groups(self):
        old, new = self.create(name="a.pond", size="4M"), self.path("new.pond")
        for key, group in (("a", "red"), ("b", "blue"), ("gone", "gone")):
            self.done(Run(["set", old, key, key, "--group", group]))
        self.done(Run(["set", old, "plain", "plain"]))
        self.done(Run(["clear", old, "--group", "gone"]))
        self.done(Run(["load", new, "--size", "256K"], stdin=self.done(Run(["dump", old])).out))
        self.assertEqual(self.done(Run(["keys", new, "--json"])).out.count(b"group"), 2)
        self.done(Run(["clear", new, "--group", "red"]))
        self.no(Run(["get", new, "a"]))
        self.no(Run(["get", new, "gone"]))
        self.done(Run(["get", new, "b"]), b"b")
        self.done(Run(["get", new, "plain"]), b"plain")

    def test_a_pond_without_entries(self):
        dump = self.dump(self.create())
        self.assertEqual(len(dump), HEAD + BLOCK_HEAD + 16)
        self.assertEqual(self.load(dump)["entries"], 0)
        self.assertEqual(self.stats(self.path("new.pond"))["file_bytes"], 1 << 20)

    def test_values_of_16_mib(self):
        pond = self.create("--shards", "1", "--max-item", "16M", size="64M")
        values = {b"one": os.urandom(16 << 20), b"two": os.urandom(16 << 20)}
        for key, value in values.items():
            self.done(Run(["set", pond, key], stdin=value))
        self.assertEqual(self.load(self.dump(pond), "same.pond", "--max-item", "16M", "--size", "192M")["loaded"], 2)
        for key, value in values.items():
            self.assertTrue(self.done(Run(["get", self.path("same.pond"), key])).out == value)

    def test_into_larger_and_smaller_ponds(self):
        pond = self.create(size="8M")
        value = "v" * 900
        self.done(Run(["shell", pond], stdin="".join(f"set key{i:05} {i}{value}\n" for i in range(4000)).encode()))
        dump = self.dump(pond)
        self.assertEqual(self.load(dump, "large.pond", "--size", "32M")["loaded"], 4000)
        self.assertEqual(len(self.done(Run(["keys", self.path("large.pond")])).out.splitlines()), 4000)
        said = self.load(dump, "small.pond", "--size", "1M")
        self.assertEqual(said["loaded"], 4000)
        self.assertGreater(said["evicted"], 1000)
        kept = self.entries(self.path("small.pond"))
        self.assertTrue(100 < len(kept) < 2000, len(kept))
        for key, (got, _) in kept.items():
            self.assertEqual(got.decode(), f"{int(key[3:])}{value}")
        self.done(Run(["check", self.path("small.pond")]))
        self.assertEqual(self.stats(self.path("large.pond"))["file_bytes"], 32 << 20)

    def test_what_does_not_fit_is_named_and_counted_and_the_rest_loaded(self):
        pond = self.create("--shards", "1", "--max-item", "400K", size="1M")
        for key, size in (("fits", 10), ("large1", 300000), ("after", 5), ("large2", 300000)):
            self.done(Run(["set", pond, key], stdin=bytes(size)))
        small = self.create("--max-item", "1000", name="small.pond", size="128K")
        run = Run(["load", small, "--json"], stdin=self.dump(pond))
        self.assertEqual(run.status, 1, run)
        lines = run.err.decode().splitlines()
        self.assertEqual(len(lines), 2, run)
        for line in lines:
            self.assertRegex(line, f"^millpond: {small}: entry [1-4] of the dump, 300000 bytes under the key large[12], was left out: ")
        said = json.loads(run.out)
        self.assertEqual((said["loaded"], said["too_large"]), (2, 2))
        self.assertEqual(sorted(self.entries(small)), [b"after", b"fits"])

    def test_the_examples_pipe_and_its_summary(self):
        pond = self.fill()
        line = f"'{COMMAND}' dump '{pond}' --json | '{COMMAND}' load '{self.path('new.pond')}'"
        done = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stdout), (0, f"{self.path('new.pond')}: 200 entries loaded\n".encode()), done)
        said = json.loads(done.stderr)
        self.assertEqual((said["entries"], said["bytes"]), (200, 200 * 18))
        self.assertEqual(self.entries(pond), self.entries(self.path("new.pond")))

    def test_prefix_add_and_over_what_is_there(self):
        pond = self.fill()
        said = self.load(self.dump(pond, "--prefix", "key0001"))
        self.assertEqual(said["loaded"], 10)
        new = self.path("new.pond")
        self.done(Run(["set", new, "key00010", "mine"]))
        said = self.load(self.dump(pond), "new.pond", "--add")
        self.assertEqual((said["loaded"], said["present"], said["created"]), (190, 10, False))
        self.done(Run(["get", new, "key00010"]), b"mine")
        self.load(self.dump(pond, "--prefix", b"key00010".hex(), "--hex"), "new.pond")
        self.done(Run(["get", new, "key00010"]), b"value00010")

    def test_time_counts_from_the_load_or_with_elapse_from_the_dump(self):
        pond = self.create()
        self.done(Run(["set", pond, "brief", "v", "--ttl", "700ms"]))
        self.done(Run(["set", pond, "long", "v", "--ttl", "1h"]))
        dump = self.dump(pond)
        time.sleep(1)
        self.assertEqual(self.load(dump, "again.pond")["loaded"], 2)
        said = self.load(dump, "elapsed.pond", "--elapse")
        self.assertEqual((said["loaded"], said["expired"]), (1, 1))
        self.assertLess(self.entries(self.path("elapsed.pond"))[b"long"][1], 3599e3 + 1)

    def test_dumping_changes_no_byte(self):
        pond = self.fill()
        with open(pond, "rb") as file:
            before = file.read()
        self.dump(pond)
        with open(pond, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_beside_writers(self):
        """What is there all the time is in every dump, and every value is one that was stored under its key."""
        pond = self.fill(2000, size="16M")
        endless = ("i=0; while :; do i=$((i+1)); for k in 1 2 3 4 5 6 7 8 9; do echo set moving$k $k.$i; echo set key0000$k value0000$k; "
                   "echo del gone$k; echo set gone$k $k.$i; done; done")
        writers = []
        try:
            for _ in range(2):
                source = subprocess.Popen(["sh", "-c", endless], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                writers.append(source)
                writers.append(subprocess.Popen([COMMAND, "shell", pond], stdin=source.stdout, stdout=subprocess.DEVNULL))
                source.stdout.close()
            for turn in range(8):
                said = self.load(self.dump(pond), f"{turn}.pond")
                self.assertGreaterEqual(said["loaded"], 2000)
                lines = self.done(Run(["shell", self.path(f"{turn}.pond")], stdin=b"".join(b"get key%05d\n" % i for i in range(2000)))).out
                self.assertEqual(lines.split(), [b"value%05d" % i for i in range(2000)])
                for kind in (b"moving", b"gone"):
                    for number in range(1, 10):
                        run = Run(["get", self.path(f"{turn}.pond"), kind + b"%d" % number])
                        self.assertTrue(run.status == 1 or run.out.startswith(b"%d." % number), run)
        finally:
            for writer in writers:
                writer.kill()
                writer.wait()


class Refusals(Dumps):
    def test_a_cut_dump_leaves_what_came_before_it(self):
        dump = self.dump(self.fill(3000))
        for cut in (0, 5, HEAD - 1, HEAD, HEAD + 10, 70000, len(dump) // 2, len(dump) - 1):
            path = self.path(f"{cut}.pond")
            run = self.error(Run(["load", path], stdin=dump[:cut]), "standard input", "cut short")
            self.assertIn(f"at byte {cut},", run.err.decode())
            self.assertEqual(os.path.exists(path), cut >= HEAD)
            if cut < HEAD:
                continue
            number = int(run.err.decode().split("the end of entry ")[1].split(";")[0])
            entries = self.entries(path) if cut < 71000 else None
            kept = len(self.done(Run(["keys", path])).out.splitlines())
            self.assertEqual(kept, number - 1)
            for key, (value, _) in (entries or {}).items():
                self.assertEqual(value, b"value" + key[3:])
            self.done(Run(["check", path]))

    def test_a_damaged_dump_is_refused_with_the_place(self):
        dump = bytearray(self.dump(self.fill(3000)))
        body, = struct.unpack("<Q", dump[HEAD + 8:HEAD + 16])
        entries, = struct.unpack("<I", dump[HEAD + 4:HEAD + 8])
        second = HEAD + BLOCK_HEAD + body
        for at, place, before in ((20, 0, None), (HEAD + 50, HEAD, 0), (second, second, entries), (second + 1000, second, entries),
                                  (len(dump) - 1, len(dump) - 48, 3000)):
            dump[at] ^= 4
            path = self.path(f"{at}.pond")
            run = self.error(Run(["load", path], stdin=bytes(dump)), "standard input", f"damaged at byte {place}, ")
            dump[at] ^= 4
            self.assertEqual(os.path.exists(path), before is not None)
            if before is not None:
                self.assertIn(f"from entry {before + 1} on", run.err.decode())
                self.assertIn(f"the {before} entries before are loaded", run.err.decode())
                self.assertEqual(len(self.done(Run(["keys", path])).out.splitlines()), before)
                self.done(Run(["check", path]))

    def test_what_is_no_dump(self):
        self.error(Run(["load", self.path("x.pond")], stdin=b"some text\n" * 100), "standard input", "this is no dump")
        with open(self.create(), "rb") as file:
            self.error(Run(["load", self.path("x.pond")], stdin=file.read()), "standard input", "this is no dump")
        self.assertFalse(os.path.exists(self.path("x.pond")))

    def test_sizes_that_do_not_go_together(self):
        dump = self.dump(self.fill())
        for words in (["--size", "0"], ["--max-item", "0"]):
            self.usage(Run(["load", self.path("x.pond"), *words], stdin=dump), "load")
        run = Run(["load", self.path("x.pond"), "--size", "1K"], stdin=dump)
        self.assertEqual((run.status, run.out), (2, b""), run)
        self.error(Run(["load", self.path("no/folder.pond")], stdin=dump), self.path("no/folder.pond"))
        self.error(Run(["dump", self.path("none.pond")]), self.path("none.pond"))
        self.assertEqual(os.listdir(self.folder), ["a.pond"])


class FailingStreams(Dumps):
    def test_a_full_disk_is_reported(self):
        for count in (1, 3000):
            pond = self.fill(count, name=f"{count}.pond")
            with open("/dev/full", "wb") as full:
                done = subprocess.run([COMMAND, "dump", pond], stdout=full, stderr=subprocess.PIPE, timeout=SECONDS)
            self.assertEqual(done.returncode, 3, done)
            said = b"millpond: standard output: No space left on device; nothing or not all of it was written\n"
            self.assertEqual(done.stderr, said)

    def test_a_reader_that_goes_away_is_no_error(self):
        program = subprocess.Popen([COMMAND, "dump", self.fill(5000)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self.assertEqual(program.stdout.read(8), b"\x89MPDUMP\n")
            program.stdout.close()
            self.assertEqual(program.wait(timeout=SECONDS), 0)
            self.assertEqual(program.stderr.read(), b"")
        finally:
            program.stderr.close()
            program.kill()
            program.wait()

    def test_an_input_that_cannot_be_read(self):
        with open(os.devnull, "wb") as unreadable:
            done = subprocess.run([COMMAND, "load", self.path()], stdin=unreadable, stderr=subprocess.PIPE, timeout=SECONDS)
        self.assertEqual(done.returncode, 3)
        self.assertTrue(done.stderr.startswith(b"millpond: standard input: it cannot be read at byte 0"), done)

    def test_a_slow_source_in_small_pieces(self):
        dump = self.dump(self.fill())
        program = subprocess.Popen([COMMAND, "load", self.path("new.pond")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        for at in range(0, len(dump), 997):
            program.stdin.write(dump[at:at + 997])
        self.assertEqual(program.communicate(timeout=SECONDS)[0], f"{self.path('new.pond')}: 200 entries loaded\n".encode())
        self.assertEqual(program.returncode, 0)

    def on_terminal(self, words, **streams):
        """What a run writes to a terminal that is its standard error, or the stream named in its place."""
        master, slave = pty.openpty()
        streams = {name: slave if stream is None else stream for name, stream in streams.items()}
        program = subprocess.Popen([COMMAND, *words], **streams)
        os.close(slave)
        said = b""
        while select.select([master], [], [], SECONDS)[0]:
            try:
                said += os.read(master, 65536)
            except OSError:
                break
        os.close(master)
        return program.wait(timeout=SECONDS), said

    def test_a_terminal_is_no_place_for_a_dump(self):
        pond = self.fill()
        status, said = self.on_terminal(["dump", pond], stdout=None, stderr=subprocess.DEVNULL)
        self.assertEqual((status, said), (2, b""))
        status, _ = self.on_terminal(["load", pond], stdin=None, stderr=subprocess.DEVNULL)
        self.assertEqual(status, 2)

    def test_the_bar_is_for_terminals_and_goes_when_the_work_ends(self):
        pond = self.fill(3000)
        dump = self.dump(pond)
        reading, writing = os.pipe()
        feeder = os.fork()
        if feeder == 0:
            os.close(reading)
            os.write(writing, dump[:60000])
            time.sleep(0.3)
            os.write(writing, dump[60000:120000])
            time.sleep(0.3)
            with open(writing, "wb") as rest:
                rest.write(dump[120000:])
            os._exit(0)
        os.close(writing)
        status, said = self.on_terminal(["load", self.path("new.pond")], stdin=reading, stdout=subprocess.DEVNULL, stderr=None)
        os.close(reading)
        os.waitpid(feeder, 0)
        self.assertEqual(status, 0)
        self.assertRegex(said, rb"^(\rload \[=*> +\] +\d+ %  [\d,]+ entries  \S+  \S+/s\x1b\[K)+\r\x1b\[K$")


@unittest.skipUnless(os.geteuid() == 0, "another boot id is mounted, which needs root")
class Restarts(Dumps):
    """The machine restarts: here a process that sees another boot id."""

    def after_restart(self, number, *words):
        boot = self.path("boot")
        with open(boot, "w", encoding="ascii") as file:
            file.write(f"{number:08d}-0000-4000-8000-000000000000\n")
        script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id || exit 77; exec "$@"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, boot, COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=SECONDS)
        if done.returncode == 77 or b"unshare" in done.stderr:
            self.skipTest("mounts are not allowed here")
        return done

    def starts(self, number, pond):
        """As told by stats, without a restart in between."""
        stats = json.loads(self.after_restart(number, "stats", pond, "--json").stdout)
        return stats["warm_starts"], stats["cold_starts"], stats["items"]

    def test_what_was_synced_opens_warm_and_the_rest_cold(self):
        cases = {"set": ["k2", "v", "--sync"], "del": ["key00001", "--sync"], "touch": ["key00001", "1h", "--sync"],
                 "incr": ["n", "--init", "1", "--sync"], "sync": []}
        for number, (verb, words) in enumerate(cases.items()):
            pond = self.fill(name=f"{verb}.pond")
            run = Run([verb, pond, *words])
            self.assertEqual((run.status, run.err), (0, b""), run)
            items = self.stats(pond)["items"]
            done = self.after_restart(number, "get", pond, "key00002")
            self.assertEqual((done.returncode, done.stdout), (0, b"value00002"), (verb, done))
            self.assertEqual(self.starts(number, pond), (1, 0, items), verb)

    def test_without_it_or_after_a_write_it_opens_cold(self):
        pond = self.fill()
        self.assertEqual(self.after_restart(1, "get", pond, "key00002").returncode, 1)
        self.assertEqual(self.starts(1, pond), (0, 1, 0))
        self.done(Run(["set", pond, "k", "v", "--sync"]))  # in the machine's own boot, so cold once more
        self.done(Run(["set", pond, "k", "w"]))
        self.assertEqual(self.after_restart(2, "get", pond, "k").returncode, 1)
        self.assertEqual(self.starts(2, pond), (0, 3, 0))

    def test_load_shell_and_clear_with_sync(self):
        pond = self.fill()
        dump = self.dump(pond)
        self.load(dump, "new.pond", "--sync")
        self.assertEqual(self.after_restart(1, "get", self.path("new.pond"), "key00002").stdout, b"value00002")
        self.done(Run(["shell", pond, "--sync"], stdin=b"set k v\n"))
        self.assertEqual(self.after_restart(1, "get", pond, "k").stdout, b"v")
        self.assertEqual(self.after_restart(1, "set", self.path("new.pond"), "k", "v", "--sync").returncode, 0)
        self.assertEqual(self.after_restart(2, "get", self.path("new.pond"), "k").stdout, b"v")
        self.assertEqual(self.after_restart(2, "clear", self.path("new.pond"), "--sync").returncode, 0)
        self.assertEqual(self.after_restart(3, "get", self.path("new.pond"), "k").returncode, 1)
        self.assertEqual(self.starts(3, self.path("new.pond")), (3, 0, 0))


if __name__ == "__main__":
    main()
