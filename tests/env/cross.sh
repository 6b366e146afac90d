# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests that compile for another machine share. They source it after setting `me`.

me=${me:-cross.sh}

skip() {
    printf '%s: not here: %s\n' "$me" "$*" >&2
    exit 77
}

fail() {
    printf '%s: %s\n' "$me" "$*" >&2
    exit 1
}

# need COMMAND PACKAGE : skips the test when the command is missing.
need() {
    command -v "$1" >/dev/null || skip "$1 is missing; apt-get install $2"
}

# foreign_package ARCHITECTURE FOLDER PACKAGE... : unpacks packages of another architecture into FOLDER/root, without a change to this
# system: apt gets lists and a cache of its own. What was unpacked by an earlier run stays.
foreign_package() {
    local architecture=$1 folder=$2 package
    shift 2
    [ ! -e "$folder/done" ] || return 0
    command -v apt-get >/dev/null || skip "packages of $architecture come from apt-get, which is missing"
    rm -rf "$folder"
    mkdir -p "$folder/state/lists/partial" "$folder/cache/archives/partial" "$folder/packages" "$folder/root"
    : >"$folder/state/status"
    local options=(-q -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
        -o "Dir::State=$folder/state"
        -o "Dir::State::status=$folder/state/status" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
    # A list that does not arrive (updates, security) does not matter when the packages do.
    timeout 90 apt-get "${options[@]}" update >"$folder/log" 2>&1 </dev/null || true
    (cd "$folder/packages" && timeout 90 apt-get "${options[@]}" download "$@") >>"$folder/log" 2>&1 </dev/null ||
        skip "these packages of $architecture cannot be downloaded: $*; see $folder/log"
    for package in "$folder"/packages/*.deb; do
        dpkg -x "$package" "$folder/root" || fail "$package cannot be unpacked"
    done
    rm -rf "$folder/state" "$folder/cache"
    : >"$folder/done"
}

# shellcheck disable=SC2034
warnings=(-Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes -Werror)

# portable_headers FOLDER : the headers of packages that are the same for every machine, and nothing else of this machine's.
portable_headers() {
    mkdir -p "$1"
    local header
    for header in /usr/include/ck_*.h /usr/include/gcc /usr/include/xxhash.h /usr/include/xxh3.h; do
        [ -e "$header" ] || skip "$header is missing; apt-get install libck-dev libxxhash-dev"
        ln -sfn "$header" "$1/"
    done
}
