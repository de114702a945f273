"""workloads.py - what bench/compare runs: one row per workload, and how the programs are compiled.

The iterations are chosen so that a native run takes 0.1 to 0.3 seconds and QEMU at most about 15; what QEMU emulates very
slowly (x87, AVX2) gets fewer.
"""
from collections import namedtuple

Workload = namedtuple("Workload", "group name program iterations quick needs")

# What the groups are called in tables and charts.
TITLES = {
    "integer": "integer loops, calls, interpreters",
    "memory": "memory: copies, strings, chases, random",
    "double": "scalar SSE2 double",
    "x87": "x87",
    "sse": "SSE vectors",
    "avx2": "AVX2 vectors",
    "system": "system calls, faults, pipes, fork, exec",
    "real": "real programs",
}

# program: (source, flags). Floating point is compiled so that no number depends on the compiler's fancy: no contraction.
PROGRAMS = {
    "integer": ("integer.c", "-fno-tree-vectorize"),
    "memory": ("memory.c", "-fno-tree-vectorize"),
    "double": ("float.c", "-fno-tree-vectorize -msse2 -mfpmath=sse -DREAL=double"),
    "x87": ("float.c", "-fno-tree-vectorize -mfpmath=387 -DX87 -DREAL=long_double"),
    "sse": ("sse.c", "-fno-tree-vectorize -msse2 -mfpmath=sse"),
    "avx2": ("avx2.c", "-fno-tree-vectorize -mavx2 -mfma -mbmi -mbmi2 -mlzcnt -mpopcnt -mfpmath=sse"),
    "system": ("system.c", ""),
    "real": ("real.c", ""),
}
COMMON_FLAGS = "-O2 -static -D_GNU_SOURCE -fno-math-errno -ffp-contract=off"

# What the real programs come from; their dependencies follow.
PACKAGES = "dash gzip xz-utils zstd openssl sqlite3 python3-minimal cpp tcc"

# name, iterations, iterations with --quick, what the CPU must have beyond x86-64-v1. A name's part before the slash is its
# group and its program.
TABLE = """
integer/core                100      5
integer/sha256              100      5
integer/qsort               100      5
integer/hashmap             100      5
integer/bytecode            100      5
integer/switch              100      5
integer/fib                 100      5
integer/virtual             100      5
integer/nqueens             100      5
integer/dijkstra            100      5
integer/strsearch           100      5
integer/lz                  100      5
integer/crc32               100      5
integer/bits                100      5
integer/muldiv              100      5
memory/copy-small           100      5
memory/copy-page            100      5
memory/copy-large           100      5
memory/memset               100      5
memory/strings              100      5
memory/rep-movs             100      5
memory/rep-stos             100      5
memory/rep-scan             100      5
memory/chase-l1             100      5
memory/chase-l2             100      5
memory/chase-far            100      5
memory/random-near          100      5
memory/random-far           100      5
memory/list                 100      5
double/nbody                100      5
double/mandelbrot           100      5
double/spectral             100      5
double/fft                  100      5
double/matmul               100      5
double/newton               100      5
x87/nbody                   100      5
x87/mandelbrot              100      5
x87/spectral                100      5
x87/fft                     100      5
x87/matmul                  100      5
x87/newton                  100      5
x87/trig                    100      5
sse/saxpy                   100      5
sse/ddot                    100      5
sse/mandelbrot4             100      5
sse/blend                   100      5
sse/sad                     100      5
sse/filter                  100      5
sse/transpose               100      5
sse/find                    100      5
sse/hex                     100      5 ssse3
sse/aes                     100      5 aes
sse/clmul                   100      5 pclmulqdq
avx2/dgemm                  100      5 avx2 fma bmi2
avx2/saxpy                  100      5 avx2 fma bmi2
avx2/mandelbrot8            100      5 avx2 fma bmi2
avx2/blend                  100      5 avx2 fma bmi2
avx2/sad                    100      5 avx2 fma bmi2
avx2/find                   100      5 avx2 fma bmi2
avx2/hash8                  100      5 avx2 fma bmi2
avx2/shuffle                100      5 avx2 fma bmi2
avx2/gather                 100      5 avx2 fma bmi2
avx2/bmi                    100      5 avx2 fma bmi2
system/getpid               100      5
system/read                 100      5
system/files                100      5
system/pipe                 100      5
system/fork                 100      5
system/exec                 100      5
system/fault                100      5
system/cow                  100      5
system/signal               100      5
system/segv                 100      5
system/codegen              100      5
system/patch                100      5
real/gzip                     1      1
real/gunzip                   1      1
real/xz                       1      1
real/unxz                     1      1
real/zstd                     1      1
real/openssl-hash             1      1
real/openssl-aes              1      1
real/openssl-prime            1      1
real/sqlite                   1      1
real/python                   1      1
real/cc1                      1      1
real/tcc                      1      1
real/shell                    1      1
"""


def workloads():
    """All rows."""
    rows = []
    for line in TABLE.split("\n"):
        words = line.split()
        if words:
            group, name = words[0].split("/")
            rows.append(Workload(group, name, group, int(words[1]), int(words[2]), words[3:]))
    return rows
