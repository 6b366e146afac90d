# SPDX-License-Identifier: MIT
"""What happens on a terminal: the shell's prompt and history, and the live view of top. A pseudo-terminal plays the person."""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import termios
import time

from pond import COMMAND, PondCase, Run, main

SECONDS = 20


class Terminal:
    """A program on a terminal of 40 lines and 120 columns."""

    def __init__(self, words, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        env = dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8", **environment)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([COMMAND, *words], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
        self.seen = ""

    def read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return False
        try:
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        except OSError as wrong:
            if wrong.errno != errno.EIO:
                raise
            return False
        return True

    def expect(self, pattern):
        """Waits for the pattern in what comes from now on; what comes before and with it is used up."""
        end = time.monotonic() + SECONDS
        while not (match := re.search(pattern, self.seen)):
            if time.monotonic() > end:
                raise AssertionError(f"no {pattern!r} within {SECONDS} s in {self.seen!r}")
            self.read(0.1)
        self.seen = self.seen[match.end():]
        return match

    def prompt(self):
        """Waits for the prompt, and for the line editor behind it: until it has the terminal to itself, ^D means something else."""
        self.expect(r"millpond> ")
        end = time.monotonic() + SECONDS
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            if time.monotonic() > end:
                raise AssertionError("the line editor does not take the terminal")
            time.sleep(0.005)

    def type(self, text):
        os.write(self.master, text.encode())

    def resize(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        """The status, after all output was read; no program outlives this."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        late = self.process.poll() is None
        self.kill()
        while self.read(0):
            pass
        self.after = termios.tcgetattr(self.slave)
        os.close(self.master)
        os.close(self.slave)
        if late:
            raise AssertionError("it did not end")
        return self.process.returncode


class Prompt(PondCase):
    def shell(self, pond, **environment):
        environment.setdefault("MILLPOND_HISTORY", self.path("history"))
        terminal = Terminal(["shell", pond], **environment)
        self.addCleanup(terminal.kill)
        terminal.prompt()
        return terminal

    def test_commands_and_answers(self):
        terminal = self.shell(self.create())
        for command, answer in (("set k 'a value'", "OK"), ("get k", "a value"), ("get none", r"\(miss\)"), ("set l grün", "OK"),
                                ("get l", "grün"), ("bad", r"\(error\) unknown command 'bad'"), ("stats", r"items +2  entries"),
                                ("help", r"get +KEY +the value")):
            terminal.type(command + "\r")
            terminal.expect(r"\n" + r"(.*\n)*" * (command in ("stats", "help")) + answer)
            terminal.prompt()
        terminal.type("quit\r")
        self.assertEqual(terminal.end(), 0)

    def test_history_within_and_across_sessions(self):
        pond = self.create()
        terminal = self.shell(pond)
        terminal.type("incr n 1 0\r")
        terminal.expect(r"\n1\r\n")
        terminal.prompt()
        terminal.type("\x1b[A\r")
        terminal.expect(r"\n2\r\n")
        terminal.prompt()
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("history")).st_mode), 0o600)
        terminal = self.shell(pond)
        terminal.type("\x1b[A\r")
        terminal.expect(r"\n3\r\n")
        terminal.prompt()
        terminal.type("quit\r")
        self.assertEqual(terminal.end(), 0)
        self.done(Run(["get", pond, "n"]), b"3")

    def test_no_history_when_asked(self):
        terminal = self.shell(self.create(), MILLPOND_HISTORY="", HOME=self.folder)
        terminal.type("set k v\r")
        terminal.expect(r"\nOK\r\n")
        terminal.prompt()
        terminal.type("quit\r")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(os.listdir(self.folder), ["a.pond"])

    def test_the_terminal_is_given_back(self):
        terminal = self.shell(self.create())
        terminal.type("quit\r")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.after, terminal.before)


class Top(PondCase):
    def top(self, pond, *options):
        terminal = Terminal(["top", pond, *options])
        self.addCleanup(terminal.kill)
        return terminal

    def test_shows_rates_and_leaves_at_q(self):
        pond = self.create("--shards", "2")
        terminal = self.top(pond, "--interval", "100ms")
        terminal.expect(r"every 0\.1s")
        terminal.expect(r"q leaves")
        for i in range(30):
            self.done(Run(["set", pond, f"key{i}", "value"]))
        # Only what changed is drawn, in pieces of words; another size of the terminal has everything drawn.
        terminal.type("s+")
        end = time.monotonic() + SECONDS
        for columns in range(100, 120):
            terminal.resize(30, columns)
            frame = terminal.expect(r"every (\S+)s [^q]*?(\d+) items,(?s:.*?)q leaves")
            if (frame[1], frame[2]) == ("0.2", "30") and "deletes/s" in frame[0]:
                break
            self.assertLess(time.monotonic(), end)
            time.sleep(0.3)
        else:
            self.fail(frame[0])
        terminal.type("q")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.after, terminal.before)

    def test_leaves_at_an_interrupt_and_gives_the_terminal_back(self):
        for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)):
            terminal = self.top(self.create(name=f"{number}.pond"))
            terminal.expect(r"q leaves")
            terminal.process.send_signal(number)
            self.assertEqual(terminal.end(), status)
            self.assertEqual(terminal.after, terminal.before)

    def test_a_terminal_of_no_known_kind(self):
        pond = self.create()
        master, slave = pty.openpty()
        try:
            done = subprocess.run([COMMAND, "top", pond], stdin=slave, stdout=slave, stderr=subprocess.PIPE, timeout=SECONDS,
                                  env=dict(os.environ, TERM="no-such-terminal",
                                           ASAN_OPTIONS="detect_leaks=0"))  # the library of terminals forgets some bytes
        finally:
            os.close(slave)
            os.close(master)
        self.assertEqual(done.returncode, 3, done)
        self.assertTrue(done.stderr.startswith(b"millpond: terminal: ") and b"; set TERM" in done.stderr, done)

    def test_a_file_truncated_while_it_is_watched(self):
        pond = self.create()
        terminal = self.top(pond, "--interval", "100ms")
        terminal.expect(r"q leaves")
        os.truncate(pond, 0)
        terminal.expect(r"millpond: [^\n]*truncated")
        self.assertEqual(terminal.end(), 3)
        self.assertEqual(terminal.after, terminal.before)


if __name__ == "__main__":
    main()
