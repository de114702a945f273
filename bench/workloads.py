"""workloads.py - what bench/compare runs: one row per workload, and how the programs are compiled.

The iterations are chosen so that a native run takes 0.1 to 0.3 seconds and QEMU at most about 10; what QEMU emulates
very slowly gets fewer.
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

# program: (source, flags); an underscore stands for a space. Never fused multiply-add where the source has none.
PROGRAMS = {
    "integer": ("integer.c", "-fno-tree-vectorize"),
    "memory": ("memory.c", "-fno-tree-vectorize"),
    "double": ("float.c", "-fno-tree-vectorize -msse2 -mfpmath=sse -DREAL=double"),
    "x87": ("float.c", "-fno-tree-vectorize -mfpmath=387 -DX87 -DREAL=long_double"),
    "x87double": ("float.c", '-fno-tree-vectorize -mfpmath=387 -DREAL=double -DSUFFIX="-double"'),
    "sse": ("sse.c", "-fno-tree-vectorize -msse2 -mfpmath=sse"),
    "avx2": ("avx2.c", "-fno-tree-vectorize -mavx2 -mfma -mbmi -mbmi2 -mlzcnt -mpopcnt -mfpmath=sse"),
    "system": ("system.c", ""),
    "real": ("real.c", ""),
}
COMMON_FLAGS = "-O2 -static -D_GNU_SOURCE -fno-math-errno -ffp-contract=off"

# What the real programs come from; their dependencies follow.
PACKAGES = "dash gzip xz-utils zstd openssl sqlite3 python3-minimal cpp tcc"

# name, iterations, iterations with --quick, what the CPU must have beyond x86-64-v1. A name's part before the slash is
# its group, and its program unless that is named.
TABLE = """
integer/core                880     58
integer/sha256               75      5
integer/qsort                57      3
integer/hashmap             430     28
integer/bytecode            180     12
integer/switch              150     10
integer/fib                 360     24
integer/virtual              83      5
integer/nqueens             150     10
integer/dijkstra            440     29
integer/strsearch           160     10
integer/lz                   90      6
integer/crc32               200     13
integer/bits                470     31
integer/muldiv             1400     93
memory/copy-small           350     23
memory/copy-page            580     38
memory/copy-large           130      8
memory/memset              2100    140
memory/strings              410     27
memory/rep-movs             780     52
memory/rep-stos            2800    186
memory/rep-scan            2000    133
memory/chase-l1             990     66
memory/chase-l2             250     16
memory/chase-far              8      1
memory/random-near          190     12
memory/random-far           200     13
memory/list                 570     38
double/nbody                310     20
double/mandelbrot           540     36
double/spectral             440     29
double/fft                  210     14
double/matmul               160     10
double/newton               350     23
x87/nbody                    47      3
x87/mandelbrot              230     15
x87/spectral                190     12
x87/fft                      31      2
x87/matmul                   43      2
x87/newton                  180     12
x87/nbody-double             40      3 program=x87double
x87/mandelbrot-double       230     15 program=x87double
x87/spectral-double         190     12 program=x87double
x87/fft-double               40      3 program=x87double
x87/matmul-double            50      3 program=x87double
x87/newton-double           180     12 program=x87double
x87/trig                    490     32
sse/saxpy                   360     24
sse/ddot                    470     31
sse/mandelbrot4             820     54
sse/blend                   630     42
sse/sad                     740     49
sse/filter                 1300     86
sse/transpose               580     38
sse/find                    500     33
sse/hex                     720     48 ssse3
sse/aes                    1600    106 aes
sse/clmul                   560     37 pclmulqdq
avx2/dgemm                   35      2 avx2 fma bmi2
avx2/saxpy                  190     12 avx2 fma bmi2
avx2/mandelbrot8            210     14 avx2 fma bmi2
avx2/blend                   90      6 avx2 fma bmi2
avx2/sad                   1400     93 avx2 fma bmi2
avx2/find                   370     24 avx2 fma bmi2
avx2/hash8                 2000    133 avx2 fma bmi2
avx2/shuffle                310     20 avx2 fma bmi2
avx2/gather                 770     51 avx2 fma bmi2
avx2/bmi                    410     27 avx2 fma bmi2
system/getpid               170     11
system/read                 220     14
system/files                 34      2
system/pipe                  74      4
system/fork                  85      5
system/exec                  61      4
system/fault                 67      4
system/cow                   63      4
system/signal                75      5
system/segv                 250     16
system/codegen              620     41
system/patch                410     27
real/gzip                     1      1
real/gunzip                   1      1
real/xz                       1      1
real/unxz                     1      1
real/zstd                     1      1
real/openssl-hash             4      1
real/openssl-aes              2      1
real/openssl-prime            2      1
real/sqlite                   3      1
real/python                   1      1
real/cc1                      1      1
real/tcc                      1      1
real/shell                    2      1
"""


def workloads():
    """All rows."""
    rows = []
    for line in TABLE.strip().split("\n"):
        name, iterations, quick, *needs = line.split()
        group, name = name.split("/")
        program = next((n.split("=")[1] for n in needs if n.startswith("program=")), group)
        needs = [n for n in needs if not n.startswith("program=")]
        rows.append(Workload(group, name, program, int(iterations), int(quick), needs))
    return rows
