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

STORE_PROGRAM = r"""
#include <millpond_stores.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    char text[512], errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_store store;
    struct millpond_store_call call = {UINT64_MAX, errmsg};
    struct millpond_store_item item = {0};
    if (argc != 2) return 2;
    snprintf(text, sizeof text, "dir:%s?create", argv[1]);
    if (millpond_store_open(&store, text, errmsg) != MILLPOND_OK) { fprintf(stderr, "%s\n", errmsg); return 1; }
    item.key = "user:1";
    item.key_bytes = 6;
    if (store.store(store.state, "user:1", 6, "alice", 5, 0, &call) != MILLPOND_OK) return 1;
    if (store.load(store.state, &item, &call) != MILLPOND_OK) return 1;
    printf("%.*s\n", (int)item.value_bytes, (char *)item.value);
    free(item.value);
    store.close(store.state);
    return millpond_strerror(0) == NULL;
}
"""

STORE_PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(outside LANGUAGES C)
find_package(millpond 0.1 REQUIRED COMPONENTS COMPONENTS_HERE)
add_executable(shared main.c)
target_link_libraries(shared millpond::stores millpond::millpond)
add_executable(static main.c)
target_link_libraries(static millpond::stores millpond::static)
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

    def pkg_config(self, *words, package="millpond"):
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(self.libdir, "pkgconfig"))
        return run("pkg-config", *words, package, env=env).split()

    def declared(self, *headers):
        names = []
        for header in headers:
            with open(os.path.join(self.prefix, "include", header), encoding="utf-8") as file:
                names += re.findall(r"^MILLPOND_API .*?(millpond_\w+)\(", file.read(), re.M)
        return sorted(names)

    def stores(self):
        return sorted(name[:-2] for name in map(os.path.basename, self.files) if re.match(r"millpond_store(s|_\w+)\.h", name))

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
        self.assertEqual(sorted(name for name in names if name.endswith(".h") and not re.match("millpond_store_(sqlite|redis)", name)),
                         ["millpond.h", "millpond_fetch.h", "millpond_store.h", "millpond_store_dir.h", "millpond_stores.h"])
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
        self.assertEqual(functions, self.declared("millpond.h", "millpond_fetch.h", "millpond_store.h"))

    def test_a_store_is_a_library_that_needs_nothing_of_the_other_ones(self):
        for name in self.stores():
            library = os.path.join(self.libdir, f"lib{name}.so")
            symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
            self.assertEqual(sorted(s.partition("@@")[0] for s in symbols if s != "MILLPOND_0"), self.declared(name + ".h"))
            needed = run("readelf", "-d", library)
            self.assertNotIn("libmillpond.so", needed)
            self.assertRegex(needed, r"FLAGS_1.*NODELETE")
            compiler = {"gcc": "g++", "cc": "c++", "clang": "clang++"}.get(os.path.basename(CC))
            if compiler and shutil.which(compiler):
                run(compiler, "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
                    os.path.join(self.prefix, "include"), os.path.join(self.prefix, "include", name + ".h"))

    def test_a_store_by_components_and_by_pkg_config(self):
        components = " ".join(name.partition("_")[2] for name in self.stores())
        with open(self.path("main.c"), "w", encoding="utf-8") as file:
            file.write(STORE_PROGRAM)
        with open(self.path("CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(STORE_PROJECT.replace("COMPONENTS_HERE", components))
        configure = ["cmake", "-S", self.folder, "-B", self.path("build"), f"-DCMAKE_PREFIX_PATH={self.prefix}",
                     f"-DCMAKE_C_COMPILER={CC}", f"-DCMAKE_C_FLAGS={' '.join(SANITIZE)}"]
        run(*configure)
        run("cmake", "--build", self.path("build"))
        for name in ("shared", "static"):
            self.assertEqual(run(self.path("build/" + name), self.path("files")), "alice\n")
        run(CC, *SANITIZE, self.path("main.c"), "-o", self.path("by-pkg-config"), *self.pkg_config("--cflags", "--libs"),
            *self.pkg_config("--cflags", "--libs", package="millpond_stores"))
        self.assertEqual(run(self.path("by-pkg-config"), self.path("files"), env=dict(os.environ, LD_LIBRARY_PATH=self.libdir)), "alice\n")
        with open(self.path("CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(STORE_PROJECT.replace("COMPONENTS_HERE", "store_nosuch"))
        with self.assertRaises(AssertionError):
            run(*configure)

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
