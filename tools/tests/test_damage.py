# SPDX-License-Identifier: MIT
"""Every verb on every kind of file that is no usable pond: status 3, one sentence, and not a byte of the file changed."""

import os
import random
import stat
import struct
import subprocess

from pond import COMMAND, SECONDS, PondCase, Run, answer_line, main

VERBS = {
    "set": (["k", "v"], b""), "get": (["k"], b""), "del": (["k"], b""), "touch": (["k", "1s"], b""), "ttl": (["k"], b""),
    "incr": (["n", "1", "--init", "0"], b""), "keys": ([], b""), "stats": ([], b""), "top": (["--once", "--interval", "100ms"], b""),
    "check": ([], b""), "clear": ([], b""), "sync": ([], b""), "shell": ([], b"get k\n"), "create": (["--size", "1M"], b""),
}
MORE = {"set": [["k"]], "check": [["--repair"], ["--json"]], "stats": [["--json"], ["--prometheus"]], "keys": [["--json"]]}

VERSION_OFF = 16  # of every format: the magic's 16 bytes, then the version


def described(path):
    """What must not change: kind, mode, content, and the time of the last change."""
    status = os.lstat(path)
    content = None
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = file.read()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISDIR(status.st_mode):
        content = os.listdir(path)
    return status.st_mode, status.st_ino, status.st_mtime_ns, content


class NoPond(PondCase):
    def each_verb_refuses(self, path, says=None, besides=()):
        before = described(path) if os.path.lexists(path) else None
        for verb, (words, stdin) in VERBS.items():
            if verb in besides:
                continue
            for more in [words] + MORE.get(verb, []):
                with self.subTest(verb=verb, words=more):
                    self.error(Run([verb, path, *more], stdin=stdin), path, None if verb == "create" else says)
        after = described(path) if os.path.lexists(path) else None
        self.assertEqual(before, after)

    def write(self, content, name="bad.pond"):
        path = self.path(name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(content)
        return path

    def pond_bytes(self):
        pond = self.create(name="good.pond")
        self.done(Run(["set", pond, "k", "v"]))
        with open(pond, "rb") as file:
            return file.read()

    def test_random_bytes(self):
        self.each_verb_refuses(self.write(random.Random(7).randbytes(1 << 20)), "not a pond")

    def test_a_few_bytes(self):
        self.each_verb_refuses(self.write(b"hello\n"), "not a pond")

    def test_an_empty_file(self):
        self.each_verb_refuses(self.write(b""), "empty")

    def test_zeroes(self):
        self.each_verb_refuses(self.write(bytes(1 << 20)), "not a pond")

    def test_a_pond_cut_short(self):
        whole = self.pond_bytes()
        for size in (len(whole) - 4096, len(whole) // 2, 8192, 4096, 100):
            self.each_verb_refuses(self.write(whole[:size], f"{size}.pond"))

    def test_a_pond_with_more_behind_it(self):
        self.each_verb_refuses(self.write(self.pond_bytes() + bytes(4096)), "bytes and should have")

    def test_another_version(self):
        for version in (0, 2, 0xffffffff):
            changed = bytearray(self.pond_bytes() if version == 0 else changed)
            struct.pack_into("=I", changed, VERSION_OFF, version)
            self.each_verb_refuses(self.write(bytes(changed), f"{version}.pond"), f"version {version}")

    def test_a_damaged_first_page(self):
        whole = self.pond_bytes()
        for offset in range(20, 120, 4):
            changed = bytearray(whole)
            changed[offset] ^= 0x41
            path = self.write(bytes(changed), f"{offset}.pond")
            before = described(path)
            for verb in ("get", "set", "keys", "check"):
                words, stdin = VERBS[verb]
                self.error(Run([verb, path, *words], stdin=stdin), path)
            self.assertEqual(before, described(path))

    def test_a_directory(self):
        path = self.path("folder.pond")
        os.mkdir(path)
        self.each_verb_refuses(path, "directory", besides=("keys", "ttl", "stats", "top", "check"))
        self.each_verb_refuses(path)

    def test_no_file(self):
        self.each_verb_refuses(self.path("missing.pond"), "no such file", besides=("create",))
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_symbolic_link(self):
        pond = self.create()
        link = self.path("link.pond")
        os.symlink(pond, link)
        before = described(pond)
        self.each_verb_refuses(link, "symbolic link")
        self.assertEqual(before, described(pond))
        dangling = self.path("dangling.pond")
        os.symlink("nowhere", dangling)
        self.each_verb_refuses(dangling, "symbolic link")

    def test_a_fifo_does_not_block(self):
        path = self.path("fifo.pond")
        os.mkfifo(path, 0o600)
        self.each_verb_refuses(path, "not a regular file")

    def test_a_device(self):
        for verb, (words, stdin) in VERBS.items():
            self.error(Run([verb, "/dev/null", *words], stdin=stdin), "/dev/null")

    def test_a_name_with_a_newline_stays_on_one_line(self):
        path = self.path("two\nlines.pond")
        run = Run(["get", path, "k"])
        self.assertEqual((run.status, run.out), (3, b""), run)
        self.assertEqual(run.err.count(b"\n"), 1, run)
        self.assertIn(b"two\\x0alines.pond: ", run.err)

    def test_a_file_that_others_may_write(self):
        pond = self.create()
        os.chmod(pond, 0o666)
        before = described(pond)
        for verb in ("set", "del", "incr", "clear"):
            words, stdin = VERBS[verb]
            self.error(Run([verb, pond, *words], stdin=stdin), pond, "others may write")
        self.assertEqual(before, described(pond))
        os.chmod(pond, 0o600)
        self.done(Run(["set", pond, "k", "v"]), b"")


class Other(PondCase):
    """Another user: may read what the mode allows, and never writes."""

    def as_other(self, *words, stdin=b""):
        def leave_root():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return Run(words, stdin=stdin, preexec_fn=leave_root)

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        os.chmod(self.folder, 0o755)
        try:
            probe = self.as_other("--version")
        except (PermissionError, subprocess.SubprocessError) as wrong:
            self.skipTest(f"another user cannot run the command here: {wrong}")
        if probe.status != 0:
            self.skipTest("another user cannot run the command here")

    def test_reads_what_the_mode_allows_and_writes_nothing(self):
        pond = self.create("--mode", "0644")
        self.done(Run(["set", pond, "k", "v"]))
        before = described(pond)
        self.done(self.as_other("get", pond, "k"), b"v")
        self.done(self.as_other("keys", pond), b"k\n")
        self.done(self.as_other("stats", pond, "--json"))
        self.done(self.as_other("shell", pond, stdin=b"get k\nset k w\n"),
                  b"v\n(error) the pond was opened read-only; run as a user who may write it\n")
        for verb in ("set", "del", "touch", "incr", "clear"):
            self.error(self.as_other(verb, pond, *VERBS[verb][0]), pond, "permission denied")
        self.assertEqual(before, described(pond))

    def test_reads_nothing_of_a_private_pond(self):
        pond = self.create()
        for verb, (words, stdin) in VERBS.items():
            if verb != "create":
                self.error(self.as_other(verb, pond, *words, stdin=stdin), pond, "permission denied")


class Truncated(PondCase):
    def test_a_file_truncated_in_use_ends_with_a_sentence(self):
        pond = self.create()
        shell = subprocess.Popen([COMMAND, "shell", pond], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 bufsize=0)
        try:
            shell.stdin.write(b"set k v\n")
            shell.stdin.flush()
            self.assertEqual(answer_line(shell), b"OK\n")
            os.truncate(pond, 0)
            _, err = shell.communicate(b"get k\nset k v\n", timeout=SECONDS)
        finally:
            if shell.poll() is None:
                shell.kill()
                shell.wait()
        self.assertEqual(shell.returncode, 3, err)
        self.assertTrue(err.startswith(f"millpond: {pond}: it was truncated".encode()), err)
        self.assertEqual(err.count(b"\n"), 1)


if __name__ == "__main__":
    main()
