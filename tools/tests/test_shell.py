# SPDX-License-Identifier: MIT
"""The shell from a pipe: one command a line, one answer a line."""

import os
import subprocess

from pond import COMMAND, SECONDS, PondCase, Run, answer_line, main


class Pipe(PondCase):
    def ask(self, pond, *lines):
        text = b"".join(line if isinstance(line, bytes) else line.encode() for line in (line_ + b"\n" if isinstance(line_, bytes)
                        else line_ + "\n" for line_ in lines))
        out = self.done(Run(["shell", pond], stdin=text)).out
        self.assertTrue(out == b"" or out.endswith(b"\n"), out)
        return out.decode().split("\n")[:-1]

    def test_each_command(self):
        pond = self.create()
        self.assertEqual(self.ask(pond, "set k v", "get k", "get none", "add k w", "add l w", "replace none x", "replace l x", "get l",
                                  "mget k none l", "del k", "del k", "get k", "incr n", "incr n 5 10", "incr n 1", "incr n -20", "incr n",
                                  "touch l 0", "ttl l", "ttl none", "touch none 1s", "quit", "get l"),
                         ["OK", "v", "(miss)", "(exists)", "OK", "(miss)", "OK", "x", "v\t(miss)\tx", "OK", "(miss)", "(miss)", "(miss)",
                          "15", "16", "-4", "-3", "OK", "never", "(miss)", "(miss)", "OK"])

    def test_a_transaction(self):
        pond = self.create()
        self.assertEqual(self.ask(pond, "set a 1", "set b 2", "begin", "get a", "set a 10", "incr n 5 100", "get n", "del b", "get b",
                                  "mget a b n", "snapshot a b n", "commit", "mget a b n", "snapshot a b n none"),
                         ["OK", "OK", "OK", "1", "OK", "105", "105", "OK", "(miss)", "10\t(miss)\t105", "1\t2\t(miss)", "OK",
                          "10\t(miss)\t105", "10\t(miss)\t105\t(miss)"])
        self.assertEqual(self.ask(pond, "begin", "set a 11", "set new x", "abort", "get a", "get new", "begin", "set a 12"),
                         ["OK", "OK", "OK", "OK", "10", "(miss)", "OK", "OK"])
        self.assertEqual(self.ask(pond, "get a"), ["10"], "what was not committed when the shell ended")

    def test_a_conflict(self):
        pond = self.create()
        self.done(Run(["set", pond, "a", "1"]))
        shell = subprocess.Popen([COMMAND, "shell", pond], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            for command, answer in (("begin", "OK"), ("get a", "1"), ("set b 2", "OK")):
                shell.stdin.write((command + "\n").encode())
                shell.stdin.flush()
                self.assertEqual(shell.stdout.readline().decode(), answer + "\n")
            self.done(Run(["set", pond, "a", "other"]))
            out, _ = shell.communicate(b"commit\nget b\nget a\n", timeout=SECONDS)
        finally:
            shell.kill()
            shell.wait()
        self.assertEqual(out.decode().splitlines(), ["(conflict)", "(miss)", "other"])

    def test_transactions_out_of_place(self):
        pond = self.create()
        answers = self.ask(pond, "commit", "abort", "begin", "begin", "add a 1", "replace a 1", "touch a 1s", "abort")
        for i in (0, 1, 3, 4, 5, 6):
            self.assertRegex(answers[i], r"^\(error\) [^;]+; .+")
        self.assertEqual([answers[2], answers[7]], ["OK", "OK"])

    def test_a_transaction_of_which_a_part_was_refused(self):
        pond = self.create()
        sets = [f"set k{i} v" for i in range(200)]  # more than one shard's log takes
        for wrong in (sets, ["set a 1", "touch a 1s"], ["set a 1", "sett b 2"], ["set a 1", "incr a x"], ["set a 1", "set b"]):
            answers = self.ask(pond, "begin", *wrong, "commit", "get k0", "get a", "begin", "set a 2", "commit", "get a", "del a")
            self.assertRegex(answers[len(wrong) + 1], r"^\(error\) .*nothing has happened; .+")
            self.assertEqual(answers[len(wrong) + 2:], ["(miss)", "(miss)", "OK", "OK", "OK", "2", "OK"])

    def test_times(self):
        pond = self.create()
        answers = self.ask(pond, "set a v 1h", "ttl a", "touch a 2h", "ttl a", "incr n 1 0 1m", "ttl n", "set a v bad", "touch a bad",
                           "incr n x", "incr n 1 x", "incr n 1 0 x", "set a v 99999d")
        self.assertEqual([answers[i] for i in (0, 2, 4)], ["OK", "OK", "1"])
        for i, least, most in ((1, 3500, 3600), (3, 7100, 7200), (5, 30, 60)):
            self.assertTrue(least < float(answers[i].rstrip("s")) <= most, answers)
        for i in (6, 7, 8, 9, 10, 11):
            self.assertRegex(answers[i], r"^\(error\) [^;]+; .+")

    def test_quotes_and_escapes(self):
        pond = self.create()
        self.assertEqual(self.ask(pond, 'set "a key" \'a "value"\'', 'get "a key"', "get a\\ key",
                                  'set b "\\x00\\xff\\n\\t\\\\\\""', "get b",
                                  "set c pre'mid dle'\"post\"", "get c", 'set d ""', "get d", "set e grün", "get e", "get \\x65",
                                  "  get\te\t", "get e\r", "set f '\\x41'", "get f"),
                         ["OK", 'a "value"', 'a "value"', "OK", '\\x00\\xff\\x0a\\x09\\\\"', "OK", "premid dlepost", "OK", "", "OK", "grün",
                          "grün", "grün", "grün", "OK", "\\\\x41"])
        self.done(Run(["get", pond, "b"]), b'\0\xff\n\t\\"')

    def test_what_is_printed_may_be_typed_in_again(self):
        pond = self.create()
        value = bytes(range(256)).replace(b'"', b"")
        self.done(Run(["set", pond, "all"], stdin=value))
        printed = self.ask(pond, "get all")[0]
        self.assertEqual(self.ask(pond, f'set again "{printed}"'), ["OK"])
        self.done(Run(["get", pond, "again"]), value)

    def test_a_value_cannot_look_like_an_outcome(self):
        pond = self.create()
        self.assertEqual(self.ask(pond, "set k '(miss)'", "get k", "mget k none", "set '(k' ''", "keys (", "keys nothing"),
                         ["OK", "\\x28miss)", "\\x28miss)\t(miss)", "OK", "\\x28k", "(none)"])

    def test_groups(self):
        self.assertEqual(self.ask(self.create(), "set a 1 0 red", "set b 2 1h blue", "set c 3", "incr n 1 5 0 red", "begin",
                                  "set d 4 0 red", "commit", "mget a b c n d", "clear red", "mget a b c n d", "begin", "clear blue",
                                  "abort", "clear", "mget a b c n d"),
                         ["OK", "OK", "OK", "6", "OK", "OK", "OK", "1\t2\t3\t6\t4", "OK", "(miss)\t2\t3\t(miss)\t(miss)", "OK",
                          "(error) this cannot be part of a transaction; commit or abort that first", "OK", "OK",
                          "(miss)\t(miss)\t(miss)\t(miss)\t(miss)"])

    def test_every_mistake_is_one_line_that_says_what_to_do(self):
        pond = self.create()
        lines = ["get", "get a b", "set k", "set k v 1s ''", "set k v 1s g more", "begin x", "nonsense x", "get 'open", 'get "open',
                 "get \\q", "get \\x4", "get \\xzz", "get a\\", "get ''", "mget a ''", "del", "touch k", "ttl", "incr", "incr a b c d e",
                 "keys a b", "stats x", "clear a b", "clear ''", "help x", "quit now", "\\x00 x", "GET k", b"\xff\xfe"]
        answers = self.ask(pond, *lines)
        self.assertEqual(len(answers), len(lines))
        for line, answer in zip(lines, answers):
            self.assertRegex(answer, r"\(error\) \S.*", (line, answer))

    def test_blank_lines_and_remarks_get_no_answer(self):
        self.assertEqual(self.ask(self.create(), "", "   ", "# don't", "set k v", "#", "get k"), ["OK", "v"])

    def test_the_last_line_needs_no_newline(self):
        pond = self.create()
        self.done(Run(["shell", pond], stdin=b"set k v\nget k"), b"OK\nv\n")
        self.done(Run(["shell", pond], stdin=b""), b"")

    def test_lists_are_one_line(self):
        pond = self.create()
        answers = self.ask(pond, "keys", "set a:1 x", "set a:2 x", "set b x", "keys", "keys a:", "stats", "help")
        self.assertEqual(answers[0], "(none)")
        self.assertEqual(sorted(answers[4].split("\t")), ["a:1", "a:2", "b"])
        self.assertEqual(sorted(answers[5].split("\t")), ["a:1", "a:2"])
        self.assertIn("items=3", answers[6].split("\t"))
        self.assertIn("get KEY", answers[7].split("\t"))
        self.assertEqual(len(answers), 8)

    def test_values_larger_than_a_buffer(self):
        pond = self.create("--max-item", "600K", "--shards", "1", size="8M")
        value = os.urandom(300 * 1024).hex()
        self.assertEqual(self.ask(pond, "set k " + value, "get k", "mget none k"), ["OK", value, "(miss)\t" + value])
        self.assertRegex(self.ask(pond, "set k " + value * 2)[0], r"^\(error\) the value is larger than the pond allows; ")

    def test_each_answer_comes_before_the_next_command_is_needed(self):
        pond = self.create()
        shell = subprocess.Popen([COMMAND, "shell", pond], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            for command, answer in ((b"set k v\n", b"OK\n"), (b"get k\n", b"v\n"), (b"get none\n", b"(miss)\n"), (b"bad\n", b"(error)")):
                shell.stdin.write(command)
                self.assertTrue(answer_line(shell).startswith(answer))
            shell.stdin.close()
            self.assertEqual(shell.wait(timeout=SECONDS), 0)
        finally:
            shell.stdout.close()
            if shell.poll() is None:
                shell.kill()
                shell.wait()


if __name__ == "__main__":
    main()
