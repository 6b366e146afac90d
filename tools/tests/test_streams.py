# SPDX-License-Identifier: MIT
"""Standard streams that are closed, full, or not read: no silence about lost output, and never a byte of it in the pond."""

import hashlib
import os
import subprocess

from pond import COMMAND, SECONDS, PondCase, Run, main


class Streams(PondCase):
    def setUp(self):
        super().setUp()
        self.pond = self.create(size="4M")
        lines = b"".join(b"set key%05d %s\n" % (i, b"v" * 40) for i in range(5000))
        self.done(Run(["shell", self.pond], stdin=lines))

    def digest(self):
        with open(self.pond, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def test_a_full_disk_is_reported(self):
        for words in (["get", self.pond, "key00001"], ["keys", self.pond], ["stats", self.pond], ["stats", self.pond, "--json"],
                      ["ttl", self.pond, "key00001"], ["check", self.pond], ["--help"], ["--version"], ["get", "--help"],
                      ["top", self.pond, "--once", "--interval", "100ms"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([COMMAND, *words], stdout=full, stderr=subprocess.PIPE, timeout=SECONDS)
            self.assertEqual(done.returncode, 3, (words, done))
            said = b"millpond: standard output: No space left on device; nothing or not all of it was written\n"
            self.assertEqual(done.stderr, said, words)

    def test_a_closed_output_is_reported_when_there_is_something_to_say(self):
        before = self.digest()
        for words in (["keys", self.pond], ["stats", self.pond], ["ttl", self.pond, "key00001"]):
            done = subprocess.run([COMMAND, *words], stderr=subprocess.PIPE, timeout=SECONDS, preexec_fn=lambda: os.close(1))
            self.assertEqual(done.returncode, 3, (words, done))
            self.assertTrue(done.stderr.startswith(b"millpond: standard output: "), done)
        self.assertEqual(self.digest(), before)

    def test_what_a_writing_verb_prints_never_lands_in_the_pond(self):
        """These open the file for writing; were it given the number of the closed stream, its first bytes would be overwritten."""
        cases = ((1, ["get", self.pond, "key00001"], 3), (1, ["incr", self.pond, "counter", "1", "--init", "0"], 3),
                 (2, ["incr", self.pond, "key00001"], 3))
        for stream, words, status in cases:
            with open(self.pond, "rb") as file:
                before = file.read(4096)
            done = subprocess.run([COMMAND, *words], timeout=SECONDS, preexec_fn=lambda: os.close(stream))
            self.assertEqual(done.returncode, status, words)
            with open(self.pond, "rb") as file:
                self.assertEqual(file.read(4096), before, words)
        self.done(Run(["check", self.pond]))

    def test_a_silent_verb_does_not_care_about_a_closed_output(self):
        for words in (["set", self.pond, "k", "v"], ["del", self.pond, "k"], ["touch", self.pond, "key00001", "0"]):
            done = subprocess.run([COMMAND, *words], stderr=subprocess.PIPE, timeout=SECONDS, preexec_fn=lambda: os.close(1))
            self.assertEqual((done.returncode, done.stderr), (0, b""), words)

    def test_closed_streams_never_become_the_pond(self):
        """The lowest free descriptor is the next file that is opened: an error line must not end up in the cache."""
        def close_all():
            for fd in (0, 1, 2):
                os.close(fd)
        for words, status in ((["keys", self.pond], 3), (["ttl", self.pond, "none"], 1), (["stats", self.pond], 3),
                              (["shell", self.pond], 3)):
            done = subprocess.run([COMMAND, *words], timeout=SECONDS, preexec_fn=close_all)
            self.assertEqual(done.returncode, status, words)
        done = subprocess.run([COMMAND, "set", self.pond, "from-nowhere"], timeout=SECONDS, preexec_fn=close_all)
        self.assertEqual(done.returncode, 3)
        self.no(Run(["get", self.pond, "from-nowhere"]))
        self.done(Run(["check", self.pond]))

    def test_a_reader_that_goes_away_is_no_error(self):
        for words in (["keys", self.pond], ["keys", self.pond, "--json"]):
            program = subprocess.Popen([COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                self.assertTrue(program.stdout.readline())
                program.stdout.close()
                self.assertEqual(program.wait(timeout=SECONDS), 0)
                self.assertEqual(program.stderr.read(), b"")
            finally:
                program.stderr.close()
                if program.poll() is None:
                    program.kill()
                    program.wait()

    def test_a_shell_whose_answers_nobody_reads_ends(self):
        program = subprocess.Popen([COMMAND, "shell", self.pond], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        program.stdout.close()
        try:
            _, err = program.communicate(b"get key00001\n" * 20000, timeout=SECONDS)
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
        self.assertEqual((program.returncode, err), (0, b""))

    def test_an_input_that_cannot_be_read(self):
        with open(os.devnull, "wb") as unreadable:
            done = subprocess.run([COMMAND, "set", self.pond, "k"], stdin=unreadable, stderr=subprocess.PIPE, timeout=SECONDS)
        self.assertEqual(done.returncode, 3)
        self.assertTrue(done.stderr.startswith(b"millpond: standard input: "), done)
        self.no(Run(["get", self.pond, "k"]))


if __name__ == "__main__":
    main()
