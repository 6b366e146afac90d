# SPDX-License-Identifier: MIT
"""The table of verbs, each --help, and the man pages say the same; the man pages are well-formed."""

import os
import re
import shutil
import subprocess
import unittest

from pond import COMMAND, SOURCE, PondCase, Run, main

TOOLS = os.path.join(SOURCE, "tools")
BENCH = os.path.join(os.environ.get("MILLPOND_BUILD", ""), "bench", "millpond-bench")


def read(*names):
    with open(os.path.join(*names), encoding="utf-8") as file:
        return file.read()


def options_in_help(text):
    """{'--ttl': 'TIME', '--add': None, ...} from a verb's --help."""
    block = text.split("\noptions:\n")[1].split("\nexample: ")[0]
    return {match[1]: match[2] for match in re.finditer(r"^  (--[a-z-]+)(?: ([A-Z]+))?  ", block, re.M)}


def sections_of_man(page="millpond.1.scd"):
    """{'set': ('FILE KEY [VALUE]', text), ...} from the source of a page."""
    verbs = read(TOOLS, page).split("\n# VERBS\n")[1].split("\n# ")[0]
    found = {}
    for section in verbs.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        name, _, operands = heading.partition(" ")
        found[name] = (operands, text)
    return found


def options_in_man(text):
    """As options_in_help, from the lines of a section that begin with an option."""
    found = {}
    for line in text.splitlines():
        if line.startswith("*--"):
            for name, argument in re.findall(r"\*(--[a-z-]+)\*(?: _([A-Z]+)_)?", line.split(". ")[0]):
                found[name] = argument or None
    return found


class Help(PondCase):
    def verbs(self):
        out = self.done(Run(["--help"])).out.decode()
        return re.findall(r"^  ([a-z]+) +\S", out.split("\nverbs:\n")[1].split("\n\n")[0], re.M)

    def test_help_lists_the_verbs_of_the_interface(self):
        self.assertEqual(self.verbs(), ["create", "set", "get", "del", "touch", "ttl", "incr", "keys", "stats", "top", "check", "dump",
                                        "load", "clear", "sync", "agent", "resize", "shell"])

    def test_every_way_of_asking(self):
        overview = self.done(Run(["--help"])).out
        for words in (["help"], ["-h"]):
            self.done(Run(words), overview)
        for verb in self.verbs():
            text = self.done(Run([verb, "--help"])).out
            for words in (["help", verb], [verb, "-h"], [verb, "file", "--help"], ["--help", verb]):
                self.done(Run(words), text)
        self.assertRegex(self.done(Run(["--version"])).out.decode(), r"^millpond \d+\.\d+\.\d+\n$")

    def test_help_goes_into_100_columns(self):
        for words in [["--help"]] + [[verb, "--help"] for verb in self.verbs()]:
            for line in self.done(Run(words)).out.decode().splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_the_man_page_has_every_verb_with_its_operands_and_options(self):
        sections = sections_of_man()
        self.assertEqual(list(sections), self.verbs())
        for verb, (operands, text) in sections.items():
            help_text = self.done(Run([verb, "--help"])).out.decode()
            self.assertEqual(help_text.splitlines()[0], f"usage: millpond {verb} [OPTION...] {operands}")
            common = {"--help": None, "--force-filesystem": None}
            self.assertEqual(options_in_help(help_text), {**options_in_man(text), **common}, verb)

    def test_every_option_is_accepted_by_its_verb_and_refused_by_the_others(self):
        every = {}
        for verb in self.verbs():
            every.update(options_in_help(self.done(Run([verb, "--help"])).out.decode()))
        for verb in self.verbs():
            own = options_in_help(self.done(Run([verb, "--help"])).out.decode())
            for option, argument in every.items():
                run = Run([verb, self.path("none"), option])
                if option not in own:
                    self.usage(run, verb)
                    self.assertIn(f"unknown option '{option}'", run.err.decode())
                elif own[option] is not None:
                    self.usage(run, verb)
                    self.assertIn(f"{option} needs an argument", run.err.decode())
                elif option != "--help":
                    self.assertNotIn(b"unknown option", run.err)
                    self.assertNotEqual(run.status, 0)

    def test_the_examples_in_the_help_work(self):
        self.done(Run(["create", "app.pond", "--size", "1M"], cwd=self.folder))
        self.done(Run(["set", "app.pond", "user:1", "alice"], cwd=self.folder))
        for verb in self.verbs():
            if verb in ("create", "top", "agent"):
                continue
            example = self.done(Run([verb, "--help"])).out.decode().split("\nexample: ")[1]
            path = os.path.dirname(os.path.abspath(COMMAND)) + ":" + os.environ["PATH"]
            done = subprocess.run(["sh", "-c", example], cwd=self.folder, env=dict(os.environ, PATH=path), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
            self.assertEqual((done.returncode, done.stderr), (0, b""), (example, done))
            if verb == "del":
                self.done(Run(["set", "app.pond", "user:1", "alice"], cwd=self.folder))


@unittest.skipUnless(os.path.exists(BENCH), "the bench harness was not built")
class BenchHelp(unittest.TestCase):
    def test_the_man_page_has_every_verb_with_its_options(self):
        def ask(*words):
            return subprocess.run([BENCH, *words], stdout=subprocess.PIPE, timeout=30, check=True, text=True).stdout
        sections = sections_of_man("millpond-bench.1.scd")
        self.assertEqual(list(sections), re.findall(r"^  ([a-z]+)  ", ask("--help"), re.M))
        for verb, (_, text) in sections.items():
            in_help = set(re.findall(r"^  (--[a-z-]+)", ask(verb, "--help"), re.M))
            self.assertEqual(in_help - {"--help"}, set(options_in_man(text)), verb)


class WrongUsage(PondCase):
    def test_status_2_and_one_line(self):
        for words in ([], ["nonsense"], ["--nonsense"], ["help", "nonsense"], [""], ["-x"]):
            self.usage(Run(words))
        for verb, most in (("create", 0), ("set", 2), ("get", 1), ("del", 1), ("touch", 2), ("ttl", 1), ("incr", 2), ("keys", 0),
                           ("stats", 0), ("top", 0), ("check", 0), ("dump", 0), ("load", 0), ("clear", 0), ("sync", 0), ("agent", 0),
                           ("shell", 0)):
            path = self.path("none.pond")
            self.usage(Run([verb]), verb)
            self.usage(Run([verb, ""]), verb)
            self.usage(Run([verb, path, *["1"] * (most + 1)]), verb)
            self.usage(Run([verb, path, "--nonsense"]), verb)
            self.usage(Run([verb, path, "-x"]), verb)
            if most > 0:
                self.usage(Run([verb, path]), verb)
        self.assertEqual(os.listdir(self.folder), [])


class ManPages(unittest.TestCase):
    # What scdoc always writes and mandoc never likes.
    ACCEPTED = ("skipping paragraph macro: PP", "input text line longer than 80 bytes", "lower case character in document title")

    def pages(self):
        return sorted(name for name in os.listdir(TOOLS) if name.endswith(".scd"))

    @unittest.skipUnless(shutil.which("scdoc") and shutil.which("mandoc"), "scdoc and mandoc are needed")
    def test_are_well_formed(self):
        self.assertEqual(self.pages(), ["millpond-bench.1.scd", "millpond.1.scd", "millpond.3.scd"])
        for name in self.pages():
            with open(os.path.join(TOOLS, name), "rb") as source:
                page = subprocess.run(["scdoc"], stdin=source, stdout=subprocess.PIPE, timeout=30, check=True).stdout
            lint = subprocess.run(["mandoc", "-Tlint"], input=page, stdout=subprocess.PIPE, timeout=30).stdout.decode()
            left = [line for line in lint.splitlines() if not any(known in line for known in self.ACCEPTED)]
            self.assertEqual(left, [], name)
            self.assertIn(b".SH SEE ALSO", page)

    def test_name_the_version_of_the_header(self):
        header = read(SOURCE, "include", "millpond.h")
        version = ".".join(re.search(r"MILLPOND_VERSION_%s (\d+)" % part, header)[1] for part in ("MAJOR", "MINOR", "PATCH"))
        self.assertIn(f"project(millpond VERSION {version} ", read(SOURCE, "CMakeLists.txt"))
        self.assertEqual(Run(["--version"]).out, f"millpond {version}\n".encode())
        for name in self.pages():
            self.assertIn(f'"millpond {version}"', read(TOOLS, name).splitlines()[0])

    def test_the_library_page_names_every_function_of_the_header(self):
        headers = "".join(read(SOURCE, "include", part) for part in ("millpond.h", "millpond_fetch.h", "millpond_store.h"))
        functions = set(re.findall(r"^MILLPOND_API .*?(millpond_\w+)\(", headers, re.M))
        page = set(re.findall(r"\*(millpond_\w+)\*\(", read(TOOLS, "millpond.3.scd")))
        self.assertEqual(functions, page)


if __name__ == "__main__":
    main()
