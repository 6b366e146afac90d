# SPDX-License-Identifier: MIT
"""tools/try, tools/test and what they share: with a fake apt, cmake and ctest in the path, so that nothing is installed or built."""

import json
import os
import shutil
import subprocess
import unittest

from pond import SOURCE, PondCase, main

TOOLS = os.path.join(SOURCE, "tools")
SCRIPTS = ["tools/try", "tools/test", ".ci/run", "tools/common.sh"]


class Scripts(PondCase):
    """A copy of the scripts in a folder of its own, and a path that begins with fakes which log how they were called."""

    def setUp(self):
        super().setUp()
        os.makedirs(self.path("tree/tools"))
        os.makedirs(self.path("bin"))
        for name in ("try", "test", "common.sh", "packages.txt"):
            shutil.copy(os.path.join(TOOLS, name), self.path("tree/tools"))
        self.fake("dpkg-query", 'case "$*" in *"$FAKE_MISSING") exit 1 ;; esac; printf installed')
        self.fake("apt-get", "")
        self.fake("sudo", '"$@"')
        self.fake("cmake", "")
        self.fake("id", 'echo "${FAKE_USER:-0}"')

    def fake(self, name, body):
        path = self.path("bin/" + name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\n[ {name} = id ] || [ {name} = dpkg-query ] || echo "{name} $*" >>"$FAKE_LOG"\n{body}\n')
        os.chmod(path, 0o755)

    def fake_ctest(self, report):
        with open(self.path("report.xml"), "w", encoding="utf-8") as file:
            file.write(report)
        self.fake("ctest", f'mkdir -p build/test; cp "{self.path("report.xml")}" build/test/report.xml')

    def bash(self, *words, **environment):
        env = dict(os.environ, PATH=self.path("bin") + ":" + os.environ["PATH"], FAKE_LOG=self.path("log"), FAKE_MISSING="none")
        env.update(environment)
        return subprocess.run(["bash", *words], cwd=self.path("tree"), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, text=True)

    def install(self, *groups, **environment):
        return self.bash("-euo", "pipefail", "-c", "me=it; . tools/common.sh; install_missing " + " ".join(groups), **environment)

    def log(self):
        if not os.path.exists(self.path("log")):
            return []
        with open(self.path("log"), encoding="utf-8") as file:
            return file.read().splitlines()

    def packages(self):
        with open(os.path.join(TOOLS, "packages.txt"), encoding="utf-8") as file:
            return [line.split(None, 2) for line in file if not line.startswith("#")]

    def test_nothing_missing_touches_no_apt(self):
        done = self.install("build", "test")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.log(), [])

    def test_installs_only_what_is_missing(self):
        done = self.install("build", "test", FAKE_MISSING="scdoc")
        self.assertEqual(done.returncode, 0, done)
        log = self.log()
        self.assertEqual(len(log), 2, log)
        self.assertTrue(log[0].startswith("apt-get ") and log[0].endswith(" update"), log)
        self.assertTrue(log[1].startswith("apt-get ") and " -y " in log[1] and log[1].endswith(" install scdoc"), log)

    def test_a_package_of_another_group_is_not_asked_for(self):
        self.install("build", FAKE_MISSING="valgrind")
        self.assertEqual(self.log(), [])
        self.install("matrix", FAKE_MISSING="valgrind")
        self.assertTrue(self.log()[-1].endswith(" install valgrind"))

    def test_who_is_not_root_uses_sudo(self):
        done = self.install("build", FAKE_MISSING="scdoc", FAKE_USER="1000")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual([line.split()[0] for line in self.log()], ["sudo", "apt-get", "sudo", "apt-get"])
        self.assertIn("DEBIAN_FRONTEND=noninteractive", self.log()[2])

    def test_a_failed_update_is_no_end_and_a_failed_install_is_one_with_a_sentence(self):
        self.fake("apt-get", 'case "$*" in *update) exit 100 ;; esac')
        self.assertEqual(self.install("build", FAKE_MISSING="scdoc").returncode, 0)
        self.fake("apt-get", "exit 100")
        done = self.install("build", FAKE_MISSING="scdoc")
        self.assertEqual(done.returncode, 1)
        self.assertIn("it: these packages could not be installed; see above, then install them yourself: scdoc\n", done.stderr)

    def test_every_package_has_a_group_and_a_reason(self):
        for line in self.packages():
            self.assertEqual(len(line), 3, line)
            self.assertIn(line[1], ("build", "test", "matrix"))
        names = [line[0] for line in self.packages()]
        self.assertEqual(len(names), len(set(names)))

    def test_the_last_line_counts(self):
        head = '<?xml version="1.0"?><testsuite name="x" tests="9" failures="9" skipped="9">'
        passed = '<testcase name="a" status="run"><system-out>x</system-out></testcase>'
        failed = '<testcase name="b" status="fail"><failure message=""/></testcase>'
        skipped = '<testcase name="c" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
        disabled = '<testcase name="d" status="disabled"/>'
        missing = '<testcase name="e" status="notrun"><skipped message="Unable to find executable"/></testcase>'
        for cases, line, status in ((passed * 3, "3 passed, 0 failed", 0), (passed * 3 + failed, "3 passed, 1 failed", 1),
                                    (passed + skipped + disabled, "1 passed, 0 failed", 0), (skipped, "0 passed, 0 failed", 1),
                                    ("", "0 passed, 0 failed", 1), (passed + missing, "1 passed, 1 failed", 1)):
            self.fake_ctest(head + cases + "</testsuite>")
            done = self.bash("tools/test")
            self.assertEqual((done.stdout.splitlines()[-1], done.returncode), (line, status), done)

    def test_a_build_that_fails_is_a_sentence(self):
        for name in ("try", "test"):
            self.fake("cmake", "echo configuring is wrong; exit 1")
            done = self.bash("tools/" + name)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"tools/{name}: cmake cannot configure the build; see above\n", done.stderr)
            self.fake("cmake", 'case "$*" in --build*) exit 1 ;; esac')
            done = self.bash("tools/" + name)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"tools/{name}: the build failed; see above\n", done.stderr)

    def test_labels_are_handed_on(self):
        self.fake_ctest('<testsuite><testcase name="a" status="run"/></testsuite>')
        self.assertEqual(self.bash("tools/test", "--label", "soak").returncode, 0)
        self.assertIn(" -L ^(soak)$", self.log()[-1])
        self.assertEqual(self.bash("tools/test", "--only", "cli_").returncode, 0)
        self.assertIn(" -R cli_ -LE ^(soak|long|fuzz|matrix)$", self.log()[-1])

    def matrix(self, *words, units=("fine", "leaky")):
        """Runs tools/test --matrix with programs that are said to be unit tests, and a valgrind that complains about `leaky`."""
        tests = json.dumps({"tests": [{"command": ["tests/" + name]} for name in units]})
        report = '<testsuite><testcase name="a" status="run"/></testsuite>'
        self.fake("ctest", 'while [ "$1" != --test-dir ]; do shift; done\ncase "$*" in *--show-only*)\n'
                  f"echo '{tests}';;\n*) mkdir -p \"$2\"; echo '{report}' >\"$2/report.xml\";;\nesac")
        self.fake("valgrind", 'case "$*" in *leaky*) echo "==12== Invalid read of size 8" ;; esac')
        return self.bash("tools/test", "--matrix", *words)

    def test_the_matrix_counts_every_build_and_every_program_under_valgrind(self):
        done = self.matrix()
        self.assertEqual((done.stdout.splitlines()[-1], done.returncode), ("5 passed, 1 failed", 1), done)
        self.assertIn("==12== Invalid read of size 8\ntools/test: leaky failed under valgrind\n", done.stdout)
        self.assertIn("tools/test: fine passed under valgrind\n", done.stdout)
        self.assertEqual(self.matrix(units=("fine",)).returncode, 0)  # and nothing is left of the failure before

    def test_the_matrix_runs_once_what_is_the_same_in_every_build(self):
        self.matrix()
        runs = [line for line in self.log() if line.startswith("ctest ") and "--output-junit" in line]
        self.assertEqual([line.split()[2] for line in runs], ["build/" + name for name in ("test", "asan", "tsan", "clang")])
        self.assertTrue(runs[0].endswith(" -LE ^(soak|long|fuzz|matrix)$"), runs[0])
        for line in runs[1:]:
            self.assertTrue(line.endswith(" -LE ^(soak|long|fuzz|matrix|model|cross)$"), line)

    def test_a_part_of_the_matrix_without_unit_tests_needs_no_valgrind(self):
        done = self.matrix("--label", "mp", units=())
        self.assertEqual((done.stdout.splitlines()[-1], done.returncode), ("4 passed, 0 failed", 0), done)
        self.assertFalse([line for line in self.log() if line.startswith("valgrind")])

    def test_wrong_usage(self):
        for words in (["--nonsense"], ["--label"], ["x"]):
            done = self.bash("tools/test", *words)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertTrue(done.stderr.startswith("usage: tools/test "))
        self.assertTrue(self.bash("tools/test", "--help").stdout.startswith("usage: tools/test "))
        self.assertEqual(self.log(), [])

    def test_try_runs_the_pool_over_real_files(self):
        os.makedirs(self.path("tree/build/bench"))
        bench = self.path("tree/build/bench/millpond-bench")
        with open(bench, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\necho "bench $*" >>"$FAKE_LOG"\n')
        os.chmod(bench, 0o755)
        self.assertEqual(self.bash("tools/try", "--json").returncode, 0)
        self.assertRegex(self.log()[-1], r"^bench pool --workers 4 --store dir:/\S+ --seconds 5 --json$")

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is needed")
    def test_shellcheck_finds_nothing(self):
        done = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=SOURCE, stdout=subprocess.PIPE, timeout=60, text=True)
        self.assertEqual((done.stdout, done.returncode), ("", 0))


if __name__ == "__main__":
    main()
