# SPDX-License-Identifier: MIT
"""What the tests of the command share: running it, a folder of their own, and what every error line must look like."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import unittest

COMMAND = os.environ.get("MILLPOND", "millpond")
SOURCE = os.environ.get("MILLPOND_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SECONDS = 30


class Run:
    """One finished run: status, out and err as bytes."""

    def __init__(self, words, stdin=b"", **more):
        words = [COMMAND] + [word if isinstance(word, bytes) else str(word) for word in words]
        done = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, **more)
        self.words, self.status, self.out, self.err = words, done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"{self.words!r}: status {self.status}, out {self.out[:2000]!r}, err {self.err[:2000]!r}"


def answer_line(program):
    """The next line of a program that was started with bufsize=0, or what there is of it after a while."""
    line = b""
    while not line.endswith(b"\n") and select.select([program.stdout], [], [], SECONDS)[0]:
        got = program.stdout.read(1)
        if not got:
            break
        line += got
    return line


class PondCase(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millpond-cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name="a.pond"):
        return os.path.join(self.folder, name)

    def create(self, *options, name="a.pond", size="1M"):
        path = self.path(name)
        self.done(Run(["create", path, "--size", size, *options]), b"")
        return path

    def done(self, run, out=None):
        """The run ended with 0, without a complaint, and with this output."""
        self.assertEqual(run.status, 0, run)
        self.assertEqual(run.err, b"", run)
        if out is not None:
            self.assertEqual(run.out, out, run)
        return run

    def no(self, run):
        """The ordinary no: status 1 and silence."""
        self.assertEqual((run.status, run.out, run.err), (1, b"", b""), run)

    def usage(self, run, verb=None):
        """Wrong usage: status 2 and one line that says where help is."""
        self.assertEqual((run.status, run.out), (2, b""), run)
        lines = run.err.decode().splitlines()
        self.assertEqual(len(lines), 1, run)
        self.assertTrue(lines[0].startswith(f"millpond: {verb}: " if verb else "millpond: "), run)
        self.assertTrue(lines[0].endswith(f"; see 'millpond {verb} --help'" if verb else "; see 'millpond --help'"), run)
        return run

    def error(self, run, subject, says=None):
        """An error: status 3 and one line that names the file once, says what is wrong and what to do."""
        self.assertEqual((run.status, run.out), (3, b""), run)
        lines = run.err.decode().splitlines()
        self.assertEqual(len(lines), 1, run)
        self.assertTrue(lines[0].startswith(f"millpond: {subject}: "), run)
        self.assertEqual(lines[0].count(subject), 1, run)
        wrong, semicolon, advice = lines[0][len(f"millpond: {subject}: "):].partition("; ")
        self.assertTrue(len(wrong) > 5 and semicolon and len(advice) > 5, run)
        if says:
            self.assertIn(says, lines[0])
        return run

    def stats(self, path):
        return json.loads(self.done(Run(["stats", path, "--json"])).out)


def main():
    """A test program whose every test was skipped says so to ctest."""
    program = unittest.main(exit=False, verbosity=1)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun == len(result.skipped) else 0)
