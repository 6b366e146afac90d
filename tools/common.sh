# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What tools/try and tools/test share: they source it after setting `me` to their own name. Works from the top of the tree.

me=${me:-tools/common.sh}

say() {
    printf '%s: %s\n' "$me" "$*"
}

die() {
    printf '%s: %s\n' "$me" "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# wanted_packages GROUP... : the packages of packages.txt that belong to one of the groups.
wanted_packages() {
    local package group rest
    while read -r package group rest; do
        case " $* " in
        *" $group "*) [ "${package#\#}" = "$package" ] && printf '%s\n' "$package" ;;
        esac
    done <tools/packages.txt
    return 0
}

# install_missing GROUP... : installs what dpkg-query says is missing; touches neither network nor apt when nothing is.
install_missing() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "this is no Debian machine, so nothing is installed; if the build misses something, tools/packages.txt names what it needs"
        return
    fi
    for package in $(wanted_packages "$@"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        say "all packages are there"
        return
    fi
    command -v apt-get >/dev/null || die "these packages are missing and there is no apt-get; install them yourself: ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "these packages are missing; install them as root: ${missing[*]}"
    say "installing ${missing[*]}"
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null || say "apt-get update failed; trying with the lists that are there"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "${missing[@]}" \
        </dev/null || die "these packages could not be installed; see above, then install them yourself: ${missing[*]}"
}

# configure_and_build PRESET FOLDER [OPTION...] : a folder that was configured for another tree or generator is configured anew.
configure_and_build() {
    local preset=$1 folder=$2 log=$2/configure.log fresh=()
    shift 2
    if [ -f "$folder/CMakeCache.txt" ]; then
        grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$folder/CMakeCache.txt" &&
            grep -qxF "CMAKE_GENERATOR:INTERNAL=Ninja" "$folder/CMakeCache.txt" || fresh=(--fresh)
    fi
    say "building in $folder"
    mkdir -p "$folder"
    cmake "${fresh[@]}" --preset "$preset" "$@" >"$log" 2>&1 </dev/null ||
        { cat "$log" >&2 && die "cmake cannot configure the build; see above"; }
    cmake --build --preset "$preset" </dev/null || die "the build failed; see above"
}
