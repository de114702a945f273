# packages.sh - sourced by run-demo and run-tests: installs what is missing on Debian and Ubuntu.
# need_packages PACKAGE...: installs those that are not installed yet, as root or through sudo; names them if it can't.
need_packages() {
    local missing=()
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} = 0 ] && return 0
    install_packages "${missing[@]}"
}

# need_foreign_packages ARCHITECTURE PACKAGE...: libraries for another architecture, beside our own.
need_foreign_packages() {
    local architecture=$1 p missing=()
    shift
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p:$architecture" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p:$architecture")
    done
    [ ${#missing[@]} = 0 ] && return 0
    if ! dpkg --print-foreign-architectures 2>/dev/null | grep -qx "$architecture"; then
        local root=
        [ "$(id -u)" = 0 ] || root=sudo
        $root dpkg --add-architecture "$architecture"
    fi
    install_packages "${missing[@]}"
}

install_packages() {
    local missing=("$@")
    if ! command -v apt-get >/dev/null; then
        echo "$0: this needs the equivalents of these Debian packages: ${missing[*]}" >&2
        return 1
    fi
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "$0: please install as root: apt-get install ${missing[*]}" >&2; return 1; }
        root=(sudo)
    fi
    echo "$0: installing ${missing[*]}"
    "${root[@]}" apt-get -qq update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

build_packages=(gcc libc6-dev cmake ninja-build pkg-config seabios zlib1g-dev libelf-dev acpica-tools)
case $(uname -m) in     # the option ROM and the built-in guest are x86 code
x86_64 | i?86) ;;
*) build_packages+=(gcc-i686-linux-gnu) ;;
esac
# Libraries of the machine that a cross build is for.
cross_packages=(zlib1g-dev libelf-dev check libsubunit-dev libcapstone-dev)
