"""guest_image.py - builds what the benchmarks run on: programs, real programs from packages, initramfs.

Everything is made in the cache folder, nothing in the source tree. Kernels and busybox come from ../shared/guests/
mk-linux-guest, which also leaves the private apt configuration that the packages are fetched with.
"""
import hashlib
import os
import shutil
import stat
import subprocess
import time

import workloads

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SHARED = os.environ.get("SHADOW86_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
CACHE = os.environ.get("SHADOW86_CACHE", os.path.expanduser("~/.cache/shadow86"))
GUESTS = os.path.join(CACHE, "guests")
SOURCES = os.path.join(HERE, "programs")
BENCH = os.path.join(CACHE, "bench")
ARCH = {64: "amd64", 32: "i386"}
KERNEL = {64: "vmlinuz-amd64", 32: "vmlinuz-686"}
PREPROCESS = ["-std=c99", "-U_GNU_SOURCE", "-E", "-P"]      # plain headers: tcc does not know gcc's types
# What of the packages' files no workload opens: the guest has all of them in memory.
UNUSED = ["usr/share/" + f for f in "doc man locale info lintian gcc polkit-1 gdb dpkg".split()]
UNUSED += ["usr/lib/%s-linux-gnu/gconv" % a for a in ("x86_64", "i386")] + ["usr/sbin", "usr/libexec", "usr/lib/dpkg"]


class CannotBuild(Exception):
    """Its text says what is missing."""


def guest_file(name):
    return os.path.join(GUESTS, name)


def make_kernels():
    """Kernels, small initramfs images and busybox, by mk-linux-guest."""
    wanted = ["vmlinuz-amd64", "vmlinuz-686", "initrd-amd64.gz", "initrd-i386.gz", ".cache/apt/apt.conf",
              ".cache/root/bb-amd64", ".cache/root/bb-i386"]
    if all(os.path.exists(guest_file(f)) for f in wanted):
        return
    script = os.path.join(SHARED, "guests", "mk-linux-guest")
    if not os.path.exists(script):
        raise CannotBuild("no ../shared/guests beside the checkout: its mk-linux-guest makes the guest's kernel")
    if subprocess.run([script, GUESTS, "--no-media"]).returncode:
        raise CannotBuild("%s failed" % script)


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def stamp(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def folder_for(name, *parts):
    """The cache's folder for something made of these parts, and whether it is there already. Other parts are another
    folder, so that comparisons of two versions of the sources do not disturb each other; a week later it goes."""
    folder = os.path.join(BENCH, "%s-%s" % (name, stamp(parts)[:12]))
    made = os.path.isdir(folder)
    os.makedirs(folder, exist_ok=True)
    os.utime(folder)
    for other in os.listdir(BENCH):
        path = os.path.join(BENCH, other)
        if other.startswith(name + "-") and os.stat(path).st_mtime < time.time() - 7 * 86400:
            shutil.rmtree(path)
    return folder, made


# --- programs --------------------------------------------------------------------------------------------------

def compiler_flags(bits):
    flags = workloads.COMMON_FLAGS.split()
    if bits == 32:
        # Debian's i686; <asm/...> is where the 64-bit compiler has it, as gcc-multilib's link may be missing.
        multiarch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
        flags += ["-m32", "-march=i686", "-idirafter", "/usr/include/" + multiarch]
    return flags


def program_flags(name):
    return [f.replace("_double", " double") for f in workloads.PROGRAMS[name][1].split()]


def need_compiler(bits):
    if not shutil.which("gcc"):
        raise CannotBuild("gcc is missing: apt-get install gcc libc6-dev")
    if bits == 64:
        return
    probe = ["gcc", "-m32", "-static", "-x", "c", "-o", "/dev/null", "-"]
    version = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True).stdout.split(".")[0]
    packages = ["lib32gcc-%s-dev" % version, "libc6-dev-i386"]
    test = lambda: subprocess.run(probe, input=b"int main(void) { return 0; }", stderr=subprocess.DEVNULL).returncode
    if test():
        # Not gcc-multilib itself: it conflicts with cross-compilers.
        subprocess.run(["bash", "-c", '. tests/packages.sh; need_packages "$@"', "bench/compare"] + packages, cwd=ROOT)
        if test():
            raise CannotBuild("gcc -m32 does not work: apt-get install " + " ".join(packages))


def compile_program(name, bits, where):
    command = ["gcc"] + compiler_flags(bits) + program_flags(name) + ["-o", where]
    command += [os.path.join(SOURCES, f) for f in ("bench.c", workloads.PROGRAMS[name][0])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild("%s does not compile: %s" % (workloads.PROGRAMS[name][0], done.stderr[-500:]))


def build_programs(bits, names):
    """Compiles these programs; returns their folder. source.i is what the C compilers among the workloads compile."""
    need_compiler(bits)
    contents = [read_file(os.path.join(SOURCES, f)) for f in sorted(os.listdir(SOURCES)) if f[-2:] in (".c", ".h")]
    folder, _ = folder_for("programs%d" % bits, contents, workloads.PROGRAMS, compiler_flags(bits), PREPROCESS)
    for name in names:
        where = os.path.join(folder, name)
        if not os.path.exists(where):
            compile_program(name, bits, where + ".new")
            os.rename(where + ".new", where)
    if "real" in names:
        subprocess.run(["gcc"] + compiler_flags(bits) + PREPROCESS + ["-o", os.path.join(folder, "source.i"),
                       os.path.join(SOURCES, "integer.c")], check=True)
    return folder


# --- real programs ---------------------------------------------------------------------------------------------

def download(bits):
    """Fetches the packages with all they depend on; returns the .deb files of this architecture."""
    folder, _ = folder_for("debs%d" % bits, workloads.PACKAGES)
    done = os.path.join(folder, ".done")
    if not os.path.exists(done):
        os.makedirs(os.path.join(folder, "partial"), exist_ok=True)
        print("fetching packages: " + workloads.PACKAGES, flush=True)
        names = ["%s:%s" % (p, ARCH[bits]) for p in workloads.PACKAGES.split()]
        fetch = ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "-o", "Debug::NoLocking=1",
                 "-o", "Dir::Cache::archives=" + folder, "install"] + names
        env = dict(os.environ, APT_CONFIG=guest_file(".cache/apt/apt.conf"), DEBIAN_FRONTEND="noninteractive")
        if subprocess.run(fetch, env=env, stdout=subprocess.DEVNULL).returncode:
            # The lists may be older than the archive.
            subprocess.run(["apt-get", "-qq", "update"], env=env)
            if subprocess.run(fetch, env=env, stdout=subprocess.DEVNULL).returncode:
                raise CannotBuild("the packages of the real programs could not be fetched: " + " ".join(names))
        open(done, "w").close()
    ours = ("_%s.deb" % ARCH[bits], "_all.deb")
    return [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(ours)]


def build_root(bits, programs):
    """A file tree with the real programs; returns it."""
    debs = download(bits)
    scripts = os.path.join(SOURCES, "real")
    contents = [read_file(os.path.join(scripts, f)) for f in sorted(os.listdir(scripts))]
    final, made = folder_for("root%d" % bits, debs, contents, read_file(os.path.join(programs, "source.i")), UNUSED)
    if made and os.path.exists(os.path.join(final, "bench", "source.i")):
        return final
    root = final + ".new%d" % os.getpid()
    for folder in ("tmp", "dev", "bench"):
        os.makedirs(os.path.join(root, folder))
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    for folder in UNUSED:
        shutil.rmtree(os.path.join(root, folder), ignore_errors=True)
    for name in os.listdir(scripts):
        shutil.copy(os.path.join(scripts, name), os.path.join(root, "bench"))
    shutil.copy(os.path.join(programs, "source.i"), os.path.join(root, "bench"))
    shutil.rmtree(final)
    os.rename(root, final)
    return final


# --- initramfs -------------------------------------------------------------------------------------------------

def cpio_entry(out, name, mode, data=b"", device=(0, 0)):
    """One file in cpio's newc format: header, name, contents, each padded to four bytes."""
    name = name.encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(name), 0]
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name
    out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


def cpio_tree(out, folder, prefix):
    for base, folders, files in os.walk(folder):
        inside = os.path.join(prefix, os.path.relpath(base, folder)) if base != folder else prefix
        cpio_entry(out, inside, 0o40755)
        for name in sorted(folders + files):
            path = os.path.join(base, name)
            if os.path.islink(path):
                cpio_entry(out, os.path.join(inside, name), 0o120777, os.readlink(path).encode())
            elif os.path.isfile(path):
                mode = 0o100400 | stat.S_IMODE(os.stat(path).st_mode)
                cpio_entry(out, os.path.join(inside, name), mode, read_file(path))


def build_initrd(bits, programs, root, where):
    """Writes the initramfs, not compressed: what an emulator takes to unpack it is not what is measured here."""
    busybox = next(p for p in ("bin/busybox", "usr/bin/busybox")
                   if os.path.exists(guest_file(".cache/root/bb-%s/%s" % (ARCH[bits], p))))
    with open(where, "wb") as out:
        for folder in ("bin", "dev", "proc", "sys", "tmp"):
            cpio_entry(out, folder, 0o40755)
        cpio_entry(out, "dev/console", 0o20600, device=(5, 1))
        cpio_entry(out, "bin/busybox", 0o100755, read_file(guest_file(".cache/root/bb-%s/%s" % (ARCH[bits], busybox))))
        cpio_entry(out, "init", 0o100755, read_file(os.path.join(HERE, "guest-init")))
        cpio_tree(out, programs, "bench")
        if root:
            cpio_tree(out, root, "real")
        cpio_entry(out, "TRAILER!!!", 0)
    return where
