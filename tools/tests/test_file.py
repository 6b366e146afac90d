# SPDX-License-Identifier: MIT
"""create, keys, stats, top --once, check, clear, sync: what they print and their statuses."""

import json
import os
import re
import stat

from pond import SOURCE, PondCase, Run, main


def header_figures():
    """The names in MILLPOND_STATS of the header, in order."""
    with open(os.path.join(SOURCE, "include", "millpond.h"), encoding="utf-8") as header:
        block = re.search(r"#define MILLPOND_STATS\(X\)(.*?)\n\n", header.read(), re.S).group(1)
    return re.findall(r"X\((\w+), ", block)


class Create(PondCase):
    def test_sizes_are_powers_of_1024(self):
        for number, (text, size) in enumerate((("131072", 1 << 17), ("256K", 1 << 18), ("256k", 1 << 18), ("0.5M", 1 << 19),
                                               ("1M", 1 << 20), ("1MiB", 1 << 20), ("1MB", 1 << 20), ("0.001953125G", 1 << 21))):
            pond = self.create(name=f"{number}.pond", size=text)
            self.assertEqual(os.stat(pond).st_size, size, text)
            self.assertEqual(self.stats(pond)["file_bytes"], size, text)

    def test_every_block_is_allocated(self):
        status = os.stat(self.create(size="4M"))
        self.assertGreaterEqual(status.st_blocks * 512, 4 << 20)

    def test_an_existing_file_is_never_overwritten(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        self.error(Run(["create", pond, "--size", "1M"]), pond, "exist")
        self.done(Run(["get", pond, "k"]), b"v")

    def test_the_mode_is_as_asked_whatever_the_umask(self):
        old = os.umask(0o077)
        self.addCleanup(os.umask, old)
        for text, mode in ((None, 0o600), ("640", 0o640), ("0600", 0o600), ("0444", 0o444)):
            pond = self.create(*(["--mode", text] if text else []), name=f"{text}.pond")
            self.assertEqual(stat.S_IMODE(os.stat(pond).st_mode), mode)
        for text in ("0", "8", "1777", "rw", "-1", ""):
            self.usage(Run(["create", self.path("bad"), "--size", "1M", "--mode=" + text]), "create")

    def test_the_options_are_what_the_file_has(self):
        pond = self.create("--shards", "2", "--segment", "16K", "--max-item", "10K", "--entry-bytes", "64", size="2M")
        stats = self.stats(pond)
        self.assertEqual((stats["shards"], stats["segment_bytes"], stats["max_item_bytes"]), (2, 16384, 10240))
        wide = self.stats(self.create("--shards", "2", "--entry-bytes", "4K", name="wide.pond", size="2M"))
        self.assertGreater(stats["index_slots"], wide["index_slots"])
        self.done(Run(["set", pond, "k"], stdin=bytes(10240)))
        self.error(Run(["set", pond, "k"], stdin=bytes(10241)), pond)

    def test_huge_pages_and_namespaces_are_accepted(self):
        pond = self.create("--hugepages", "--namespaces")
        self.done(Run(["set", pond, "k", "v"]), b"")
        self.done(Run(["get", pond, "k"]), b"v")
        self.done(Run(["get", pond, "k", "--force-filesystem"]), b"v")

    def test_wrong_sizes_are_wrong_usage_and_leave_nothing(self):
        path = self.path("bad.pond")
        self.usage(Run(["create", path]), "create")
        for text in ("", "x", "-1", "1X", "1.5", "1KK", "99999999999999999999", "16777216T", "0", "1 M", "0x10"):
            self.usage(Run(["create", path, "--size=" + text]), "create")
        for option in ("--max-item=0", "--segment=0", "--shards=0", "--entry-bytes=0", "--shards=x", "--shards=99999999999"):
            self.usage(Run(["create", path, "--size", "1M", option]), "create")
        for words in (["--size", "1K"], ["--size", "9T"], ["--size", "1M", "--shards", "3"], ["--size", "1M", "--shards", "512"],
                      ["--size", "1M", "--max-item", "1M"], ["--size", "1M", "--segment", "1G"]):
            run = Run(["create", path, *words])
            self.assertEqual((run.status, run.out), (2, b""), run)
            self.assertRegex(run.err.decode(), r"^millpond: " + re.escape(path) + r": [^\n]+\n$")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_folder_that_is_not_there(self):
        self.error(Run(["create", self.path("no/folder.pond"), "--size", "1M"]), self.path("no/folder.pond"))


class Keys(PondCase):
    NAMES = [b"user:1", b"user:2", b"a b", b"back\\slash", b"tab\there", b"\xff\xfe", "grün".encode(), b"nul\xc2\x85", b"\xe2\x80\xae"]
    SHOWN = ["user:1", "user:2", "a b", "back\\\\slash", "tab\\x09here", "\\xff\\xfe", "grün", "nul\\xc2\\x85", "\\xe2\\x80\\xae"]

    def fill(self):
        pond = self.create()
        for name in self.NAMES:
            self.done(Run(["set", pond, name, "value", "--ttl", "1h"]))
        self.done(Run(["set", pond, "00", "", "--hex"]))
        return pond

    def test_one_a_line_escaped(self):
        out = self.done(Run(["keys", self.fill()])).out.decode()
        self.assertEqual(sorted(out.splitlines()), sorted(self.SHOWN + ["\\x00"]))

    def test_by_prefix_and_limit(self):
        pond = self.fill()
        out = self.done(Run(["keys", pond, "--prefix", "user:"])).out.decode()
        self.assertEqual(sorted(out.split()), ["user:1", "user:2"])
        out = self.done(Run(["keys", pond, "--prefix", "ff", "--hex"])).out
        self.assertEqual(out, b"fffe\n")
        self.done(Run(["keys", pond, "--prefix", "nobody"]), b"")
        self.assertEqual(len(self.done(Run(["keys", pond, "--limit", "3"])).out.splitlines()), 3)
        self.done(Run(["keys", pond, "--limit", "0"]), b"")
        self.usage(Run(["keys", pond, "--prefix", "f", "--hex"]), "keys")

    def test_in_hexadecimal_as_the_other_verbs_take_them(self):
        pond = self.fill()
        lines = self.done(Run(["keys", pond, "--hex"])).out.split()
        self.assertEqual(sorted(bytes.fromhex(line.decode()) for line in lines), sorted(self.NAMES + [b"\0"]))
        for line in lines:
            self.done(Run(["del", pond, "--hex-key", line]), b"")
        self.done(Run(["keys", pond]), b"")

    def test_as_json(self):
        found = {}
        for line in self.done(Run(["keys", self.fill(), "--json"])).out.splitlines():
            entry = json.loads(line)
            found[entry["key"].encode() if "key" in entry else bytes.fromhex(entry["key_hex"])] = entry
        self.assertEqual(sorted(found), sorted(self.NAMES + [b"\0"]))
        self.assertEqual(found[b"user:1"]["value_bytes"], 5)
        self.assertTrue(3500e3 < found[b"user:1"]["ttl_ms"] <= 3600e3)
        self.assertEqual((found[b"\0"]["value_bytes"], found[b"\0"]["ttl_ms"]), (0, None))

    def test_looking_changes_no_byte(self):
        pond = self.fill()
        with open(pond, "rb") as file:
            before = file.read()
        for words in (["keys"], ["stats"], ["stats", "--json"], ["top", "--once", "--interval", "100ms"]):
            self.done(Run([words[0], pond, *words[1:]]))
        self.done(Run(["ttl", pond, "user:1"]))
        with open(pond, "rb") as file:
            self.assertEqual(file.read(), before)


class Figures(PondCase):
    def fill(self):
        pond = self.create("--shards", "4", size="4M")
        self.done(Run(["shell", pond], stdin=b"".join(b"set key%d value%d\nget key%d\nget none%d\n" % (i, i, i, i) for i in range(200))))
        return pond

    def test_json_has_every_figure_and_the_shards_add_up(self):
        stats = self.stats(self.fill())
        for name in header_figures():
            self.assertIsInstance(stats[name], int, name)
        self.assertEqual((stats["items"], stats["sets"], stats["hits"], stats["misses"]), (200, 200, 200, 200))
        self.assertEqual(stats["bytes"], sum(len(f"key{i}value{i}") for i in range(200)))
        self.assertEqual(stats["hit_ratio"], 0.5)
        self.assertGreaterEqual(stats["write_amplification"], 1)
        self.assertEqual([shard["shard"] for shard in stats["per_shard"]], [0, 1, 2, 3])
        for name in ("items", "bytes", "sets", "deletes", "evictions", "lock_waits"):
            self.assertEqual(sum(shard[name] for shard in stats["per_shard"]), stats[name], name)

    def test_the_table_is_aligned(self):
        out = self.done(Run(["stats", self.fill(), "--shards"])).out.decode()
        table, shards = out.split("\n\n")
        rows = table.splitlines()
        self.assertEqual({row[37:39] for row in rows}, {"  "})
        names = [row[:20].strip() for row in rows]
        self.assertEqual([name for name in names if " " not in name], header_figures())
        self.assertIn("hit ratio                     50.00 %  ", out)
        self.assertIn("file_bytes                       4.0M  ", out)
        self.assertEqual(len(shards.splitlines()), 5)

    def test_prometheus(self):
        pond = self.fill()
        out = self.done(Run(["stats", pond, "--prometheus", "--shards"])).out.decode()
        samples, types = {}, {}
        for line in out.splitlines():
            if line.startswith("# HELP "):
                continue
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.assertNotIn(name, types)
                types[name] = kind
                continue
            match = re.fullmatch(r'(millpond_[a-z_]+)\{file="([^"]+)"(?:,shard="(\d+)")?\} (\d+)', line)
            self.assertTrue(match, line)
            self.assertEqual(match[2], pond)
            self.assertIn(match[1], types)
            self.assertEqual("_shard_" in match[1], match[3] is not None, line)
            samples[match[1], match[3]] = int(match[4])
        self.assertEqual((samples["millpond_items", None], types["millpond_items"]), (200, "gauge"))
        self.assertEqual((samples["millpond_hits_total", None], types["millpond_hits_total"]), (200, "counter"))
        self.assertEqual(sum(samples["millpond_shard_sets_total", str(i)] for i in range(4)), 200)
        for name in header_figures():
            self.assertTrue(("millpond_" + name, None) in samples or ("millpond_" + name + "_total", None) in samples, name)
        for name, kind in types.items():
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
        self.assertNotIn("shard=", self.done(Run(["stats", pond, "--prometheus"])).out.decode())
        self.usage(Run(["stats", pond, "--prometheus", "--json"]), "stats")

    def test_a_label_is_escaped(self):
        pond = self.create(name='a"b\\c.pond')
        out = self.done(Run(["stats", pond, "--prometheus"])).out.decode()
        self.assertIn('a\\"b\\\\\\\\c.pond"} ', out)

    def test_one_frame_of_top(self):
        pond = self.fill()
        out = self.done(Run(["top", pond, "--once", "--interval", "200ms"])).out.decode()
        self.assertTrue(out.startswith(pond[:60]), out)
        self.assertRegex(out, r"\nhits +0 +200\n")
        self.assertRegex(out, r"\nhit ratio +- +50\.00 %\n")
        self.assertIn("every 0.2s", out)
        out = self.done(Run(["top", pond, "--once", "--interval", "100ms", "--shards"])).out.decode()
        self.assertEqual(len(re.findall(r"^ +[0-3] ", out, re.M)), 4)
        for words in (["--interval", "1ms"], ["--interval", "2h"], []):
            self.usage(Run(["top", pond, *words]), "top")


class Check(PondCase):
    def test_a_whole_pond(self):
        pond = self.create()
        for i in range(20):
            self.done(Run(["set", pond, f"key{i:02}", "value"]))
        self.done(Run(["check", pond]), f"{pond}: whole: 20 entries, 200 bytes of keys and values\n".encode())
        self.assertEqual(json.loads(self.done(Run(["check", pond, "--json"])).out),
                         {"found": [], "whole": True, "entries": 20, "bytes": 200, "damages": 0, "repaired": 0})
        self.done(Run(["check", pond, "--repair"]))

    def test_damage_is_named_and_mended(self):
        pond = self.create()
        for i in range(20):
            self.done(Run(["set", pond, f"key{i:02}", f"<the value {i:02}>"]))
        with open(pond, "r+b") as file:
            whole = file.read()
            self.assertEqual(whole.count(b"<the value 07>"), 1)
            file.seek(whole.index(b"<the value 07>") + 5)
            file.write(b"X")
        run = Run(["check", pond])
        self.assertEqual((run.status, run.err), (1, b""), run)
        lines = run.out.decode().splitlines()
        self.assertGreaterEqual(len(lines), 2, run)
        self.assertIn(": damaged: ", lines[-1])
        run = Run(["check", pond, "--json"])
        report = json.loads(run.out)
        self.assertEqual((run.status, report["whole"], report["entries"]), (1, False, 19))
        self.assertEqual(len(report["found"]), report["damages"])
        self.assertEqual(lines[:-1], report["found"])
        run = Run(["check", pond, "--repair"])
        self.assertEqual(run.status, 1, run)
        self.done(Run(["check", pond]), f"{pond}: whole: 19 entries, {19 * 19} bytes of keys and values\n".encode())
        self.no(Run(["get", pond, "key07"]))
        self.done(Run(["get", pond, "key08"]), b"<the value 08>")


class ClearSync(PondCase):
    def test_clear_removes_everything_and_keeps_the_figures(self):
        pond = self.create()
        for i in range(10):
            self.done(Run(["set", pond, f"key{i}", "value"]))
        self.done(Run(["clear", pond]), b"")
        self.done(Run(["keys", pond]), b"")
        stats = self.stats(pond)
        self.assertEqual((stats["items"], stats["sets"]), (0, 10))
        self.done(Run(["clear", pond]), b"")

    def test_sync_marks_the_file_whole_for_a_copy(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        self.done(Run(["sync", pond]), b"")
        self.done(Run(["get", pond, "k"]), b"v")

    def test_a_copy_can_be_looked_at(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        copy = self.path("copy.pond")
        with open(pond, "rb") as source, open(os.open(copy, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as target:
            target.write(source.read())
        self.assertEqual(self.stats(copy)["file_bytes"], self.stats(pond)["file_bytes"])
        self.done(Run(["set", copy, "other", "w"]), b"")
        self.done(Run(["get", copy, "other"]), b"w")
        self.done(Run(["get", pond, "k"]), b"v")


if __name__ == "__main__":
    main()
