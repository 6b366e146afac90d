# SPDX-License-Identifier: MIT
"""set, get, del, touch, ttl, incr: what they print, their statuses, and that no byte is harmed."""

import json
import os
import time

from pond import PondCase, Run, main

ALL_BYTES = bytes(range(256))


class SetGet(PondCase):
    def test_a_value_comes_back_and_nothing_else_is_printed(self):
        pond = self.create()
        self.done(Run(["set", pond, "user:1", "alice", "--ttl", "30s"]), b"")
        self.done(Run(["get", pond, "user:1"]), b"alice")

    def test_a_miss_is_status_1_in_silence(self):
        pond = self.create()
        self.no(Run(["get", pond, "nobody"]))
        self.no(Run(["get", pond, "nobody", "--json"]))

    def test_the_value_comes_from_standard_input_when_absent_or_a_hyphen(self):
        pond = self.create()
        self.done(Run(["set", pond, "a"], stdin=ALL_BYTES * 40), b"")
        self.done(Run(["get", pond, "a"]), ALL_BYTES * 40)
        self.done(Run(["set", pond, "b", "-"], stdin=b"\n\0\n"), b"")
        self.done(Run(["get", pond, "b"]), b"\n\0\n")
        self.done(Run(["set", pond, "c"], stdin=b""), b"")
        self.done(Run(["get", pond, "c"]), b"")

    def test_an_empty_operand_is_an_empty_value(self):
        pond = self.create()
        self.done(Run(["set", pond, "a", ""], stdin=b"not this"), b"")
        self.done(Run(["get", pond, "a"]), b"")

    def test_a_large_value_from_standard_input(self):
        pond = self.create("--max-item", "512K", "--shards", "1", size="8M")
        value = os.urandom(512 * 1024)
        self.done(Run(["set", pond, "large"], stdin=value), b"")
        self.done(Run(["get", pond, "large"]), value)
        self.error(Run(["set", pond, "large"], stdin=value + b"x"), pond, "larger than the pond allows")
        self.error(Run(["set", pond, "large"], stdin=value * 50), pond, "larger than the pond allows")
        self.done(Run(["get", pond, "large"]), value)

    def test_keys_and_values_in_hexadecimal(self):
        pond = self.create()
        self.done(Run(["set", pond, "00ff0A", "DEadbe ef", "--hex"]), b"")
        self.done(Run(["get", pond, "--hex", "00ff0a"]), b"deadbeef\n")
        self.done(Run(["get", pond, "00ff0a", "--hex-key"]), b"\xde\xad\xbe\xef")
        self.done(Run(["set", pond, "61", "--hex"], stdin=b"00 01\n02\n"), b"")
        self.done(Run(["get", pond, "a"]), b"\0\1\2")
        self.done(Run(["set", pond, "62", "raw", "--hex-key"]), b"")
        self.done(Run(["get", pond, "b"]), b"raw")
        self.done(Run(["del", pond, "--hex", "62"]), b"")
        self.no(Run(["get", pond, "b"]))

    def test_what_is_not_hexadecimal_is_wrong_usage(self):
        pond = self.create()
        for words, stdin in ((["6"], b""), (["6g"], b""), (["0x61"], b""), (["61", "1"], b""), (["61"], b"0"), (["61"], b"zz"),
                             ([""], b"")):
            self.usage(Run(["set", pond, "--hex", *words], stdin=stdin), "set")
        self.done(Run(["keys", pond]), b"")

    def test_keys_of_any_bytes_and_up_to_65535_of_them(self):
        pond = self.create(size="8M")
        for key in (b"\x01", b"\xff\xfe", b"a b\tc\n", "Schlüssel".encode(), b"-", b"x" * 65535):
            self.done(Run(["set", pond, key, b"v:" + key[:9]]), b"")
            self.done(Run(["get", pond, key]), b"v:" + key[:9])
            self.done(Run(["get", pond, key.hex(), "--hex-key"]), b"v:" + key[:9])
        self.usage(Run(["set", pond, "", "v"]), "set")
        self.usage(Run(["set", pond, b"x" * 65536, "v"]), "set")
        self.usage(Run(["get", pond, b"x" * 65536]), "get")

    def test_operands_that_begin_with_a_hyphen(self):
        pond = self.create()
        self.done(Run(["set", pond, "-1", "-2"]), b"")
        self.done(Run(["get", pond, "-1"]), b"-2")
        self.done(Run(["set", pond, "--ttl", "1h", "--", "--key", "--value"]), b"")
        self.done(Run(["get", pond, "--", "--key"]), b"--value")
        self.usage(Run(["get", pond, "--key"]), "get")

    def test_json_says_text_or_hexadecimal(self):
        pond = self.create()
        text = 'quote " backslash \\ control \x01\x7f newline \n ü €'
        self.done(Run(["set", pond, "a", text]))
        self.done(Run(["set", pond, "fe", "00ff", "--hex"]))
        self.assertEqual(json.loads(self.done(Run(["get", pond, "a", "--json"])).out),
                         {"key": "a", "value": text, "value_bytes": len(text.encode())})
        self.assertEqual(json.loads(self.done(Run(["get", pond, "fe", "--hex-key", "--json"])).out),
                         {"key_hex": "fe", "value_hex": "00ff", "value_bytes": 2})
        self.assertEqual(json.loads(self.done(Run(["get", pond, "61", "--hex", "--json"])).out),
                         {"key_hex": "61", "value_hex": text.encode().hex(), "value_bytes": len(text.encode())})

    def test_add_and_replace(self):
        pond = self.create()
        self.no(Run(["set", pond, "k", "1", "--replace"]))
        self.no(Run(["get", pond, "k"]))
        self.done(Run(["set", pond, "k", "1", "--add"]), b"")
        self.no(Run(["set", pond, "k", "2", "--add"]))
        self.done(Run(["get", pond, "k"]), b"1")
        self.done(Run(["set", pond, "k", "3", "--replace"]), b"")
        self.done(Run(["get", pond, "k"]), b"3")
        self.usage(Run(["set", pond, "k", "3", "--replace", "--add"]), "set")

    def test_grace_needs_a_time_to_live(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v", "--ttl", "10s", "--grace", "10s"]), b"")
        self.usage(Run(["set", pond, "k", "v", "--grace", "10s"]), "set")

    def test_gets_are_counted(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        for _ in range(3):
            self.done(Run(["get", pond, "k"]))
        self.no(Run(["get", pond, "other"]))
        stats = self.stats(pond)
        self.assertEqual((stats["hits"], stats["misses"], stats["sets"], stats["items"]), (3, 1, 1, 1))
        self.assertEqual(stats["hit_ratio"], 0.75)


class Times(PondCase):
    def ttl_ms(self, pond, key):
        return json.loads(self.done(Run(["ttl", pond, key, "--json"])).out)["ttl_ms"]

    def test_every_unit(self):
        pond = self.create()
        for text, ms in (("900s", 900e3), ("900", 900e3), ("15m", 900e3), ("2h", 7200e3), ("3d", 3 * 86400e3), ("900000ms", 900e3),
                         ("1.5h", 5400e3), ("36500d", 36500 * 86400e3)):
            self.done(Run(["set", pond, "k", "v", "--ttl", text]), b"")
            left = self.ttl_ms(pond, "k")
            self.assertTrue(ms - 30e3 < left <= ms, (text, left))

    def test_never_and_what_is_left(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        self.done(Run(["ttl", pond, "k"]), b"never\n")
        self.assertIsNone(self.ttl_ms(pond, "k"))
        self.done(Run(["set", pond, "k", "v", "--ttl", "1h"]))
        out = self.done(Run(["ttl", pond, "k"])).out.decode()
        self.assertRegex(out, r"^[0-9]+(\.[0-9]{1,3})?s\n$")
        self.assertTrue(3500 < float(out[:-2]) <= 3600, out)
        self.no(Run(["ttl", pond, "other"]))

    def test_an_entry_expires(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v", "--ttl", "300ms"]))
        self.done(Run(["set", pond, "tiny", "v", "--ttl", "0.00001s"]))
        end = time.monotonic() + 20
        while Run(["get", pond, "k"]).status == 0 and time.monotonic() < end:
            time.sleep(0.02)
        self.no(Run(["get", pond, "k"]))
        self.no(Run(["get", pond, "tiny"]))

    def test_touch_by_operand_and_by_option(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        self.done(Run(["touch", pond, "k", "1h"]), b"")
        self.assertTrue(3500e3 < self.ttl_ms(pond, "k") <= 3600e3)
        self.done(Run(["touch", pond, "k", "--ttl", "2h"]), b"")
        self.assertTrue(7100e3 < self.ttl_ms(pond, "k") <= 7200e3)
        self.done(Run(["touch", pond, "k", "0"]), b"")
        self.done(Run(["ttl", pond, "k"]), b"never\n")
        self.done(Run(["get", pond, "k"]), b"v")
        self.no(Run(["touch", pond, "other", "1h"]))
        self.usage(Run(["touch", pond, "k"]), "touch")
        self.usage(Run(["touch", pond, "k", "1h", "--ttl", "1h"]), "touch")

    def test_what_is_no_time(self):
        pond = self.create()
        for text in ("", "s", "-1s", "1x", "1 s", "1.s", ".5s", "1e3s", "99999999999999999999", "36501d", "0x10", "1s1s", "nan"):
            self.usage(Run(["set", pond, "k", "v", "--ttl=" + text]), "set")
            if text != "-1s":
                self.usage(Run(["touch", pond, "k", text]), "touch")
        self.no(Run(["get", pond, "k"]))


class Incr(PondCase):
    def test_counts(self):
        pond = self.create()
        self.no(Run(["incr", pond, "hits"]))
        self.done(Run(["incr", pond, "hits", "1", "--init", "0", "--ttl", "1m"]), b"1\n")
        self.done(Run(["incr", pond, "hits", "1", "--init", "100", "--ttl", "1h"]), b"2\n")
        self.assertTrue(float(self.done(Run(["ttl", pond, "hits"])).out[:-2]) <= 60)
        self.done(Run(["incr", pond, "hits", "-5"]), b"-3\n")
        self.done(Run(["incr", pond, "hits"]), b"-2\n")
        self.done(Run(["get", pond, "hits"]), b"-2")
        self.assertEqual(json.loads(self.done(Run(["incr", pond, "hits", "44", "--json"])).out), {"key": "hits", "value": 42})
        self.done(Run(["incr", pond, "down", "0", "--init", "-9223372036854775808"]), b"-9223372036854775808\n")
        self.error(Run(["incr", pond, "down", "-1"]), pond, "overflow")
        self.done(Run(["incr", pond, "down", "9223372036854775807"]), b"-1\n")

    def test_a_text_that_is_a_number_is_a_counter(self):
        pond = self.create()
        self.done(Run(["set", pond, "n", "41"]))
        self.done(Run(["incr", pond, "n"]), b"42\n")
        self.done(Run(["set", pond, "t", "text"]))
        self.error(Run(["incr", pond, "t"]), pond, "not a number")
        self.done(Run(["get", pond, "t"]), b"text")

    def test_wrong_numbers(self):
        pond = self.create()
        for number in ("x", "", "1.5", "9223372036854775808", "-9223372036854775809", "0x1", "1 "):
            self.usage(Run(["incr", pond, "n", "--init", "0", "--", number]), "incr")
            self.usage(Run(["incr", pond, "n", "1", "--init=" + number]), "incr")
        self.usage(Run(["incr", pond, "n", "1", "--ttl", "1s"]), "incr")
        self.no(Run(["get", pond, "n"]))


class Groups(PondCase):
    def test_a_group_is_removed_at_once_and_nothing_else(self):
        pond = self.create()
        self.done(Run(["set", pond, "a", "1", "--group", "users"]), b"")
        self.done(Run(["set", pond, "b", "2", "--group", "users", "--ttl", "1h"]), b"")
        self.done(Run(["set", pond, "c", "3", "--group", "others"]), b"")
        self.done(Run(["incr", pond, "n", "1", "--init", "0", "--group", "users"]), b"1\n")
        self.done(Run(["set", pond, "d", "4"]), b"")
        groups = [json.loads(line).get("group") for line in sorted(self.done(Run(["keys", pond, "--json"])).out.splitlines())]
        self.assertEqual(groups[0], groups[1])
        self.assertEqual(groups[0], groups[4])
        self.assertNotEqual(groups[0], groups[2])
        self.assertTrue(0 < groups[0] < 65536 and groups[3] is None)
        self.done(Run(["clear", pond, "--group", "users"]), b"")
        for key in ("a", "b", "n"):
            self.no(Run(["get", pond, key]))
        self.done(Run(["get", pond, "c"]), b"3")
        self.done(Run(["get", pond, "d"]), b"4")
        self.done(Run(["set", pond, "a", "5", "--group", "users", "--add"]), b"")
        self.done(Run(["get", pond, "a"]), b"5")
        stats = json.loads(self.done(Run(["stats", pond, "--json"])).out)
        self.assertEqual((stats["invalidations"], stats["groups"]), (1, 256))

    def test_names_that_are_none(self):
        pond = self.create()
        for name in ("", "x" * 256):
            self.usage(Run(["set", pond, "a", "1", "--group", name]), "set")
            self.usage(Run(["clear", pond, "--group", name]), "clear")
            self.usage(Run(["incr", pond, "n", "--init", "0", "--group", name]), "incr")
        self.usage(Run(["incr", pond, "n", "--group", "g"]), "incr")
        self.done(Run(["set", pond, "a", "1", "--group", "x" * 255]), b"")
        self.done(Run(["clear", pond, "--group", "x" * 255]), b"")
        self.no(Run(["get", pond, "a"]))


class Del(PondCase):
    def test_removes_once(self):
        pond = self.create()
        self.done(Run(["set", pond, "k", "v"]))
        self.done(Run(["del", pond, "k"]), b"")
        self.no(Run(["del", pond, "k"]))
        self.no(Run(["get", pond, "k"]))


if __name__ == "__main__":
    main()
