"""report.py - what bench/compare measured, as ratios, as a table, as JSON, as an SVG chart."""
import json
import math
import statistics

import machines
import workloads

# Emulators beside QEMU have names that begin so; there may be several, one for each --accel.
SHADOW = "shadow86"


class Row:
    """One workload on all machines: the medians, and what went wrong."""

    clock = "seconds"       # the field of Result that counts, for all rows

    def __init__(self, bits, workload, iterations):
        self.bits, self.workload, self.iterations = bits, workload, iterations
        self.results, self.problems = {}, {}

    def add(self, machine, result):
        self.results.setdefault(machine, []).append(result)

    def fail(self, machine, why):
        self.problems.setdefault(machine, why)

    def reference(self):
        """The checksum that counts: the host's, or QEMU's where the host did not run it."""
        for machine in ["native", "qemu"] + sorted(self.results):
            if self.results.get(machine):
                return self.results[machine][0].checksum
        return None

    def wrong(self):
        """Machines whose checksum is not the reference."""
        return [m for m, results in self.results.items() if any(r.checksum != self.reference() for r in results)]

    def median(self, machine):
        if machine in self.wrong() or not self.results.get(machine):
            return None
        return statistics.median(getattr(r, Row.clock) for r in self.results[machine])

    def ratio(self, slow, fast):
        """How many times longer `slow` takes; None if one of them has no right result."""
        a, b = self.median(slow), self.median(fast)
        return a / b if a and b else None

    def disagreement(self):
        """Emulators whose guest's clock and the host's differ by more than 5 % (and the serial line's 20 ms)."""
        found = []
        for machine, results in self.results.items():
            worst = max(results, key=lambda r: abs(r.seconds - r.wall))
            if machine != "native" and abs(worst.seconds - worst.wall) > max(0.05 * worst.wall, 0.02):
                found.append("%s: the guest says %.3f s, the host %.3f s" % (machine, worst.seconds, worst.wall))
        return found

    def remarks(self):
        remarks = ["WRONG RESULT (%s)" % m for m in self.wrong()]
        return remarks + ["%s: %s" % pair for pair in self.problems.items()]


def time_not_running(rows):
    """The share of all time between the markers in which the process had no CPU."""
    results = [r for row in rows for own in row.results.values() for r in own]
    wall = sum(r.wall for r in results)
    return 1 - sum(r.cpu for r in results) / wall if wall else 0


def geometric(values):
    values = [v for v in values if v]
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


def columns(names):
    """(title, slow, fast): the ratios that are shown, in this order."""
    shown = []
    emulators = [m for m in names if m != "native"]
    for m in emulators:
        if "native" in names:
            shown.append((m + " x native", m, "native"))
    for m in emulators:
        if m != "qemu" and "qemu" in names:
            shown.append((m + " x faster than qemu", "qemu", m))
    first = next((m for m in emulators if m.startswith(SHADOW)), None)
    for m in emulators:
        if m.startswith(SHADOW) and m != first:
            shown.append((m + " x slower than " + first, m, first))
    return shown


def groups_of(rows, names):
    """{(bits, group): {title: geometric mean}}; a mean takes in the rows that have this ratio."""
    means = {}
    for bits, group in dict.fromkeys((r.bits, r.workload.group) for r in rows):
        own = [r for r in rows if (r.bits, r.workload.group) == (bits, group)]
        means[bits, group] = {t: geometric([r.ratio(a, b) for r in own]) for t, a, b in columns(names)}
    return means


# --- table -----------------------------------------------------------------------------------------------------

def number(value, digits=2):
    return "-" if value is None else "%.*f" % (digits, value)


def aligned(lines):
    """Columns as wide as they must be: the first and the last to the left, the others to the right."""
    count = max(len(line) for line in lines)
    lines = [list(line) + [""] * (count - len(line)) for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(count)]
    return [("  ".join(line[i].ljust(widths[i]) if i in (0, count - 1) else line[i].rjust(widths[i])
                       for i in range(count))).rstrip() for line in lines]


def table(rows, names):
    shown = columns(names)
    lines = [["workload"] + [m + " s" for m in names] + [t for t, _, _ in shown] + ["remarks"]]
    for (bits, group), means in groups_of(rows, names).items():
        for r in rows:
            if (r.bits, r.workload.group) == (bits, group):
                lines.append(["%d %s/%s" % (bits, group, r.workload.name)] + [number(r.median(m), 3) for m in names] +
                             [number(r.ratio(a, b)) for _, a, b in shown] + ["; ".join(r.remarks())])
        lines.append(["%d %s, geometric mean" % (bits, group)] + [""] * len(names) +
                     [number(means[t]) for t, _, _ in shown])
        lines.append([])
    return "\n".join(aligned(lines)).rstrip()


def group_table(rows, names):
    shown = columns(names)
    lines = [["geometric means"] + [t for t, _, _ in shown] + [""]]
    for (bits, group), means in groups_of(rows, names).items():
        lines.append(["%d-bit %s" % (bits, workloads.TITLES[group])] + [number(means[t]) for t, _, _ in shown] + [""])
    return "\n".join(aligned(lines))


def extras_table(boots, memory, initrd):
    """Boot times and memory of the emulators."""
    lines = [["emulator", "guest", "power-on to shell s", "CPU s", "code cache MiB", "MiB beyond guest RAM and code cache",
              "peak resident MiB", ""]]
    for bits, machine in dict.fromkeys(list(boots) + list(memory)):
        wall, cpu = boots.get((bits, machine), (None, None))
        sizes = memory.get((bits, machine), machines.Memory(None, None, None))
        lines.append([machine, "%d-bit" % bits, number(wall), number(cpu)] +
                     [number(mebibytes(size), 0) for size in sizes] + [""])
    note = "".join("\n(%d-bit: an emulator that keeps a copy of the initramfs, %d MiB, has it in the rest)" %
                   (bits, mebibytes(size)) for bits, size in initrd.items())
    return "\n".join(aligned(lines)) + note


def larger(a, b):
    """Either may be None: not known."""
    return b if a is None else a if b is None else max(a, b)


def mebibytes(size):
    return None if size is None else size / 2**20


# --- translator statistics -------------------------------------------------------------------------------------

# name: (numerator, denominator) among what shadow86 prints
DERIVED = {
    "translation time / run time": ("translate_ns", "run_ns"),
    "host bytes / guest byte": ("host_bytes_emitted", "guest_bytes_translated"),
    "host instructions / guest instruction": ("host_insns_executed", "insns_executed"),
    "share of interpreted instructions": ("insns_interpreted", "insns_executed"),
}


def is_count(name):
    """Does it say how many instructions were executed?"""
    return name.startswith(("insns_executed", "insns_interpreted", "host_insns_executed", "host_checks_executed", "interp_"))


def derived(values):
    return {name: values[a] / values[b] for name, (a, b) in DERIVED.items() if values.get(b) and a in values}


def statistics_table(stats):
    lines = []
    for (bits, machine), values in stats.items():
        lines += ["%s, %d-bit guest:" % (machine, bits)]
        lines += ["  %-40s %s" % (n, v) for n, v in values.items()]
        lines += ["  %-40s %.4f" % pair for pair in derived(values).items()]
    return "\n".join(lines)


# --- JSON ------------------------------------------------------------------------------------------------------

MEMORY_FIELDS = ("code_cache", "beyond_ram_and_code", "resident")       # of machines.Memory


def row_json(row, names):
    results = {m: [r._asdict() for r in results] for m, results in row.results.items()}
    return {"bits": row.bits, "group": row.workload.group, "name": row.workload.name, "iterations": row.iterations,
            "results": results, "median": {m: row.median(m) for m in names},
            "ratios": {t: row.ratio(a, b) for t, a, b in columns(names)},
            "wrong": row.wrong(), "problems": row.problems, "clocks_disagree": row.disagreement()}


def write_json(path, rows, names, extras):
    keyed = lambda table: [{"bits": bits, "machine": m, **values} for (bits, m), values in table.items()]
    groups = groups_of(rows, names).items()
    data = dict(extras["about"], clock=Row.clock, machines=names,
                rows=[row_json(r, names) for r in rows],
                groups=[{"bits": bits, "group": group, **means} for (bits, group), means in groups],
                boot=keyed({k: {"seconds": w, "cpu": c} for k, (w, c) in extras["boots"].items()}),
                memory=keyed({k: dict(zip(MEMORY_FIELDS, sizes)) for k, sizes in extras["memory"].items()}),
                initramfs_bytes=extras["initrd"], statistics=keyed(extras["statistics"]),
                derived=keyed({k: derived(v) for k, v in extras["statistics"].items()}),
                not_run=extras["not_run"])
    with open(path, "w") as f:
        json.dump(data, f, indent=1)
        f.write("\n")


def read_json(path):
    """(rows, names of machines, boots, memory, statistics, initramfs sizes) of a file that write_json wrote."""
    with open(path) as f:
        data = json.load(f)
    rows = []
    for r in data["rows"]:
        workload = workloads.Workload(r["group"], r["name"], r["group"], r["iterations"], 0, [])
        row = Row(r["bits"], workload, r["iterations"])
        row.results = {m: [machines.Result(**sample) for sample in results] for m, results in r["results"].items()}
        row.problems = r["problems"]
        rows.append(row)
    keyed = lambda name, *fields: {(e["bits"], e["machine"]): tuple(map(e.get, fields)) for e in data[name]}
    # (older files counted code twice and among the rest: "beyond_ram")
    stats = {(e.pop("bits"), e.pop("machine")): e for e in data["statistics"]}
    initrd = {int(bits): size for bits, size in data["initramfs_bytes"].items()}
    return rows, data["machines"], keyed("boot", "seconds", "cpu"), keyed("memory", *MEMORY_FIELDS), stats, initrd


def merge(rows, more):
    """Adds the samples of `more` to the rows of the same workload and size; the others are appended."""
    known = {(r.bits, r.workload.group, r.workload.name, r.iterations): r for r in rows}
    for new in more:
        old = known.get((new.bits, new.workload.group, new.workload.name, new.iterations))
        if old is None:
            rows.append(new)
            continue
        for machine, results in new.results.items():
            old.results[machine] = old.results.get(machine, []) + results
        old.problems.update(new.problems)


# --- chart -----------------------------------------------------------------------------------------------------

COLOURS = ["#9aa5b1", "#2f6fde", "#e08a2e", "#3a9d6b", "#a35bc2"]
STYLE = ("text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;font-size:15px}.axis{fill:#57606a;"
         "text-anchor:middle}.left{text-anchor:end}line{stroke:#d0d7de}.page{fill:#ffffff}")
LEFT, WIDTH, TOP, THICK = 310, 480, 74, 14      # of the bars, in pixels


def text(x, y, words, kind=""):
    words = str(words).replace("&", "&amp;").replace("<", "&lt;")
    return '<text x="%.1f" y="%.1f"%s>%s</text>' % (x, y, ' class="%s"' % kind if kind else "", words)


def rectangle(x, y, width, height, colour):
    return '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (x, y, width, height, colour)


def axis(decades, place, bottom):
    """A line and a number for 1, 2, 5, 10, ..."""
    out = []
    for value in [step * 10**power for power in range(decades) for step in (1, 2, 5)] + [10**decades]:
        x = place(value)
        out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>' % (x, x, TOP - 8, bottom))
        out.append(text(x, bottom + 18, value, "axis"))
    return out


def bars_of(values, y, place):
    """One bar per emulator, with its number at the end."""
    out = []
    for i, value in enumerate(values):
        if value:
            end = place(max(value, 1))
            out.append(rectangle(LEFT, y + i * THICK, max(1, end - LEFT), THICK - 2, COLOURS[i % len(COLOURS)]))
            out.append(text(end + 5, y + i * THICK + THICK - 3, "%.1f" % value))
    return out


def svg(rows, names):
    """A chart: per group, times slower than native on a logarithmic axis, one bar per emulator."""
    emulators = [m for m in names if m != "native"]
    means = {key: [values.get(m + " x native") for m in emulators] for key, values in groups_of(rows, names).items()}
    means = {key: values for key, values in means.items() if any(values)}
    largest = max([v for values in means.values() for v in values if v], default=10)
    decades = max(1, math.ceil(math.log10(largest * 1.3)))
    place = lambda value: LEFT + WIDTH * math.log10(value) / decades
    height = THICK * len(emulators) + 14
    bottom = TOP + height * len(means)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d">' % (LEFT + WIDTH + 60, bottom + 34),
           "<style>%s</style>" % STYLE, '<rect class="page" width="100%" height="100%"/>',
           text(16, 26, "Times slower than native (shorter is better, logarithmic)", "title")]
    for i, m in enumerate(emulators):
        out += [rectangle(16 + i * 200, 40, 12, 12, COLOURS[i % len(COLOURS)]), text(34 + i * 200, 50, m)]
    out += axis(decades, place, bottom)
    for line, ((bits, group), values) in enumerate(means.items()):
        y = TOP + line * height
        title = "%s, %d-bit" % (workloads.TITLES[group], bits)
        out.append(text(LEFT - 10, y + THICK * len(emulators) / 2 + 3, title, "left"))
        out += bars_of(values, y, place)
    return "\n".join(out + ["</svg>"]) + "\n"
