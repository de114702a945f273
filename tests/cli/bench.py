#!/usr/bin/env python3
"""bench.py - bench/compare without emulators: its list, a native run, and a stand-in for shadow86 that answers wrongly.

usage: bench.py SOURCE-DIRECTORY

The stand-in does what the guest does on its serial line: one workload right, one with a wrong checksum, one that fails.
"""
import json, os, subprocess, sys, tempfile, xml.dom.minidom

ROOT = sys.argv[1]
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "bench"))
import machines

GROUPS = "integer memory double x87 sse avx2 system real".split()
STANDS_FOR = ["vmlinuz-amd64", "vmlinuz-686", "initrd-amd64.gz", "initrd-i386.gz", ".cache/apt/apt.conf",
              ".cache/root/bb-amd64/bin/busybox", ".cache/root/bb-i386/bin/busybox"]
EMULATOR = """#!/usr/bin/env python3
import glob, subprocess, sys
programs = glob.glob("CACHE/bench/programs64-*")[0]
stats = sys.argv[sys.argv.index("-accel") + 1].split("stats=")[1]
if "-S" in sys.argv:
    sys.exit(0)
print("BENCH-READY\\ntype 'poweroff -f' to end", flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "poweroff":
        break
    if words[1] == "nqueens":
        print("BENCH-END 1", flush=True)
        continue
    out = subprocess.run([words[0].replace("/bench", programs), *words[1:]], capture_output=True, text=True).stdout
    if words[1] == "fft":
        out = out.replace(out.split()[6], "0123456789abcdef")
    print(out + "BENCH-END 0", flush=True)
counted = "count=on" in sys.argv[sys.argv.index("-accel") + 1]
open(stats, "w").write("insns_interpreted 5\\n" + ("insns_executed 1000\\n" if counted else "something_new 7\\n"))
"""


def run(folder, *args):
    return subprocess.run([os.path.join(ROOT, "bench", "compare"), *args], capture_output=True, text=True,
                          env=dict(os.environ, SHADOW86_CACHE=folder))


# Guest RAM; a memfd mapped twice; code in anonymous memory, as large as RAM; a library; the stack.
SMAPS = """7f0000000000-7f0000100000 rw-p 00000000 00:00 0
Size: 1024 kB
Rss: 500 kB
7f0000200000-7f0000280000 r-xs 00000000 00:01 77 /memfd:shadow86-code (deleted)
Size: 512 kB
Rss: 100 kB
7f0000300000-7f0000380000 rw-s 00000000 00:01 77 /memfd:shadow86-code (deleted)
Size: 512 kB
Rss: 120 kB
7f0000400000-7f0000500000 rwxp 00000000 00:00 0
Size: 1024 kB
Rss: 7 kB
7f0000600000-7f0000700000 r-xp 00000000 08:01 77 /usr/lib/libc.so.6
Size: 1024 kB
Rss: 30 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
Size: 132 kB
Rss: 9 kB
"""


def must(what, true, done):
    if not true:
        sys.exit("bench.py: %s\n%s%s" % (what, done.stdout, done.stderr))


def stand_in(folder):
    for name in STANDS_FOR:
        path = os.path.join(folder, "guests", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "w").close()
    program = os.path.join(folder, "emulator")
    with open(program, "w") as f:
        f.write(EMULATOR.replace("CACHE", folder))
    os.chmod(program, 0o755)
    return program


def main():
    with tempfile.TemporaryDirectory() as folder:
        sizes = machines.memory_of(SMAPS.split("\n")[:-1], 1 << 20)
        done = run(folder, "--list")
        must("memory: %s" % (sizes,), [n // 1024 for n in sizes] == [127, 39, 666], done)
        must("--list lacks groups", all(g + "/" in done.stdout for g in GROUPS), done)
        must("a wrong name is accepted", run(folder, "--only", "nosuch").returncode, done)
        done = run(folder, "--on", "native", "--quick", "--runs", "1", "--only", "integer/fib,double/fft")
        must("native run", done.returncode == 0 and "integer/fib" in done.stdout, done)
        files = [os.path.join(folder, f) for f in ("out.json", "out.svg")]
        done = run(folder, "--on", "native,shadow86", "--quick", "--runs", "2", "--only", "fib,double/fft,nqueens",
                   "--clock", "seconds", "--shadow86", stand_in(folder), "--json", files[0], "--svg", files[1])
        must("wrong results are not told", done.returncode == 1 and "WRONG RESULT (shadow86)" in done.stdout, done)
        data = json.load(open(files[0]))
        rows = {r["name"]: r for r in data["rows"]}
        must("the right one has no ratio", rows["fib"]["ratios"]["shadow86 x native"] > 0, done)
        must("the wrong one has a ratio", rows["fft"]["ratios"]["shadow86 x native"] is None, done)
        must("the failure is not told", rows["nqueens"]["problems"] and "nqueens" in data["not_run"][0], done)
        must("statistics", data["statistics"][0]["something_new"] == 7, done)
        must("derived", abs(data["derived"][0]["share of interpreted instructions"] - 0.005) < 1e-9, done)
        must("boot and memory", data["boot"][0]["seconds"] > 0 and data["memory"][0]["beyond_ram_and_code"] > 0, done)
        xml.dom.minidom.parse(files[1])
        done = run(folder, "--load", files[0], "--load", files[0], "--json", files[0])
        must("samples put together", len(json.load(open(files[0]))["rows"][0]["results"]["shadow86"]) == 4, done)
        must("statistics are not loaded", json.load(open(files[0]))["statistics"] == data["statistics"], done)
        data["memory"] = [{"bits": 64, "machine": "shadow86", "beyond_ram": 5 << 20, "resident": 77 << 20}]
        json.dump(data, open(files[0], "w"))
        done = run(folder, "--load", files[0])
        must("an older file's memory", "77" in done.stdout and "WRONG RESULT" in done.stdout, done)


main()
