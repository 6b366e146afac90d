# SPDX-License-Identifier: MIT
"""What is installed works for a project outside this tree: find_package and pkg-config, shared and static, in a tree that was moved."""

import json
import os
import re
import shutil
import subprocess

from pond import PondCase, main

BUILD = os.environ["MILLPOND_BUILD"]
CC = os.environ.get("MILLPOND_CC", "cc")
SANITIZE = {"": [], "address": ["-fsanitize=address,undefined"], "thread": ["-fsanitize=thread"]}[os.environ.get("MILLPOND_SANITIZE", "")]

PROGRAM = r"""
#include <millpond.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    char errmsg[MILLPOND_ERRMSG_BYTES], value[64];
    size_t value_bytes;
    if (argc != 2) return 2;
    options.size_bytes = 1 << 20;
    options.flags = MILLPOND_CREATE;
    if (millpond_open(&pond, argv[1], &options, errmsg) != 0) { fprintf(stderr, "%s\n", errmsg); return 1; }
    if (millpond_set(pond, "user:1", 6, "alice", 5, 0) != MILLPOND_OK) return 1;
    if (millpond_get(pond, "user:1", 6, value, sizeof value, &value_bytes) != MILLPOND_OK) return 1;
    printf("%.*s %s\n", (int)value_bytes, value, millpond_version());
    millpond_close(pond);
    return 0;
}
"""

PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(outside LANGUAGES C)
find_package(millpond 0.1 REQUIRED)
add_executable(shared main.c)
target_link_libraries(shared millpond::millpond)
add_executable(static main.c)
target_link_libraries(static millpond::static)
"""


def run(*words, **more):
    done = subprocess.run(list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=170, text=True, **more)
    if done.returncode != 0:
        raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Installed(PondCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        import tempfile
        cls.base = tempfile.mkdtemp(prefix="millpond-install-")
        cls.addClassCleanup(shutil.rmtree, cls.base, ignore_errors=True)
        prefix = os.path.join(cls.base, "first place")
        run("cmake", "--install", BUILD, "--prefix", prefix)
        cls.prefix = os.path.join(cls.base, "second-place")
        os.rename(prefix, cls.prefix)
        cls.files = sorted(os.path.relpath(os.path.join(folder, name), cls.prefix)
                           for folder, _, names in os.walk(cls.prefix) for name in names)
        cls.libdir = os.path.dirname(next(os.path.join(cls.prefix, name) for name in cls.files if name.endswith("/libmillpond.a")))

    def pkg_config(self, *words):
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(self.libdir, "pkgconfig"))
        return run("pkg-config", *words, "millpond", env=env).split()

    def works(self, program, **environment):
        out = run(program, self.path(), env=dict(os.environ, **environment))
        self.assertRegex(out, r"^alice \d+\.\d+\.\d+\n$")

    def write_project(self):
        with open(self.path("main.c"), "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        with open(self.path("CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(PROJECT)

    def test_the_files_are_there_and_no_others(self):
        names = [os.path.basename(name) for name in self.files]
        for name in ("millpond.h", "libmillpond.a", "libmillpond.so", "libmillpond.so.0", "millpond.pc", "millpond-config.cmake",
                     "millpond-config-version.cmake", "millpond", "millpond.1", "millpond.3"):
            self.assertIn(name, names)
        self.assertEqual([name for name in names if name.endswith(".h")], ["millpond.h"])
        self.assertEqual([name for name in names if "crashpoint" in name], [])

    def test_find_package(self):
        self.write_project()
        run("cmake", "-S", self.folder, "-B", self.path("build"), f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_C_COMPILER={CC}",
            f"-DCMAKE_C_FLAGS={' '.join(SANITIZE)}")
        run("cmake", "--build", self.path("build"))
        for name in ("shared", "static"):
            self.works(self.path("build/" + name))
        needed = run("readelf", "-d", self.path("build/shared"))
        self.assertIn("libmillpond.so.0", needed)
        self.assertNotIn("libmillpond", run("readelf", "-d", self.path("build/static")))

    def test_the_shared_library_needs_nothing_of_what_it_was_built_with(self):
        """Neither flags nor headers of ck, liburcu or xxhash are asked of who links the shared library."""
        targets = next(name for name in self.files if name.endswith("millpond-shared.cmake"))
        with open(os.path.join(self.prefix, targets), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(re.findall(r"urcu|xxhash|\bck\b", text), [])
        self.assertEqual([flag for flag in self.pkg_config("--libs") if "millpond" not in flag and not flag.startswith("-L")], [])
        with open(os.path.join(self.prefix, "include/millpond.h"), encoding="utf-8") as file:
            self.assertEqual(set(re.findall(r"#include <(.*)>", file.read())) - {"millpond.h", "stdio.h"}, {"stddef.h", "stdint.h"})

    def test_pkg_config_shared_and_static(self):
        self.write_project()
        flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", *SANITIZE]
        run(CC, *flags, self.path("main.c"), "-o", self.path("shared"), *self.pkg_config("--cflags", "--libs"))
        self.works(self.path("shared"), LD_LIBRARY_PATH=self.libdir)
        static = [os.path.join(self.libdir, "libmillpond.a") if flag == "-lmillpond" else flag
                  for flag in self.pkg_config("--static", "--cflags", "--libs")]
        run(CC, *flags, self.path("main.c"), "-o", self.path("static"), *static)
        self.works(self.path("static"))
        self.assertNotIn("libmillpond", run("readelf", "-d", self.path("static")))
        self.assertRegex(self.pkg_config("--modversion")[0], r"^\d+\.\d+\.\d+$")

    def test_the_header_serves_c99_and_cplusplus(self):
        self.write_project()
        include = "-I" + os.path.join(self.prefix, "include")
        run(CC, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", include, "-fsyntax-only", self.path("main.c"))
        header = os.path.join(self.prefix, "include/millpond.h")
        compiler = {"gcc": "g++", "cc": "c++", "clang": "clang++"}.get(os.path.basename(CC))
        if compiler and shutil.which(compiler):
            run(compiler, "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", header)

    def test_only_millpond_symbols_are_exported_and_versioned(self):
        out = run("nm", "-D", "--defined-only", os.path.join(self.libdir, "libmillpond.so"))
        symbols = [line.split()[-1] for line in out.splitlines()]
        functions = sorted(name.partition("@@")[0] for name in symbols if name != "MILLPOND_0")
        self.assertTrue(all(name.endswith("@@MILLPOND_0") for name in symbols if name != "MILLPOND_0"), symbols)
        with open(os.path.join(self.prefix, "include/millpond.h"), encoding="utf-8") as file:
            declared = sorted(re.findall(r"^MILLPOND_API .*?(millpond_\w+)\(", file.read(), re.M))
        self.assertEqual(functions, declared)

    def test_the_library_stays_loaded_and_its_stack_is_not_executable(self):
        library = os.path.join(self.libdir, "libmillpond.so")
        self.assertRegex(run("readelf", "-d", library), r"FLAGS_1.*NODELETE")
        stack = [line for line in run("readelf", "-lW", library).splitlines() if "GNU_STACK" in line]
        self.assertEqual(len(stack), 1)
        self.assertNotIn("E", stack[0].split()[-2])

    def test_the_bench_harness_finds_the_library_beside_it(self):
        bench = os.path.join(self.prefix, "bin/millpond-bench")
        if not os.path.exists(bench):
            self.skipTest("the bench harness was not built")
        env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        self.assertIn("pool", run(bench, "--help", env=env))
        self.assertIn(self.prefix, run("ldd", bench, env=env))

    def test_the_installed_command_works(self):
        command = os.path.join(self.prefix, "bin/millpond")
        run(command, "create", self.path(), "--size", "1M")
        self.assertEqual(json.loads(run(command, "stats", self.path(), "--json"))["items"], 0)


if __name__ == "__main__":
    main()
