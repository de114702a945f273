"""machines.py - the three that bench/compare compares: the host itself, QEMU, shadow86.

Each is started once per run and then told over its serial line what to do, one workload after the other, so that the
runs of one workload on all machines lie close together. A machine that waits sleeps.
"""
import os
import re
import subprocess
import threading
import time
from collections import namedtuple

# seconds: the program's own clock; cpu: the program's or the emulator's process; wall: the host's, between the markers
Result = namedtuple("Result", "seconds cpu wall checksum")
# In bytes, at most so far. code: the cache of translated code; rest: what is neither that nor guest RAM; resident: all
Memory = namedtuple("Memory", "code rest resident")
Line = namedtuple("Line", "began ended cpu text")


BOOT_MEGS = 512


class Failed(Exception):
    """A workload or a machine did not do what it should; the text says what."""


def process_cpu(pid):
    """CPU time of a process so far, by the kernel's clock of that process (CPUCLOCK_SCHED)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


class Session:
    """A process whose output is read line by line, each with the time at which it came."""

    def __init__(self, command):
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        except OSError as why:
            raise Failed("did not start: %s" % why)
        self.lines, self.changed, self.ended = [], threading.Condition(), False
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        pending, began = b"", 0.0
        while data := os.read(self.process.stdout.fileno(), 65536):
            now, cpu = time.monotonic(), process_cpu(self.process.pid)
            began = began if pending else now
            parts = (pending + data).split(b"\n")
            pending = parts.pop()
            with self.changed:
                for part in parts:
                    self.lines.append(Line(began, now, cpu, part.decode("utf-8", "replace").strip()))
                    began = now
                self.changed.notify_all()
        with self.changed:
            self.lines.append(Line(0, 0, 0, pending.decode("utf-8", "replace")))
            self.ended = True
            self.changed.notify_all()

    def send(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed("ended")

    def tail(self, start):
        """The end of what it printed from line number `start` on."""
        return " / ".join(line.text for line in self.lines[max(start, len(self.lines) - 6):] if line.text)[-300:]

    def wait(self, pattern, start, seconds):
        """The first line from number `start` on that matches; waits for it."""
        end, at = time.monotonic() + seconds, start
        with self.changed:
            while True:
                while at < len(self.lines):
                    if m := re.search(pattern, self.lines[at].text):
                        return self.lines[at], m
                    at += 1
                if self.ended:
                    raise Failed("ended: " + self.tail(start))
                if time.monotonic() > end:
                    raise Failed("nothing within %d s" % seconds)
                self.changed.wait(0.5)

    def stop(self, seconds=0):
        """Lets the process end by itself for some seconds, then ends it."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def result_of(session, start, name, seconds, cpu_by_host):
    """Reads one workload's lines. The emulator's CPU time is what its process used between the markers."""
    begin, _ = session.wait(r"BENCH-BEGIN %s$|^BENCH-END" % re.escape(name), start, seconds)
    if "BENCH-END" in begin.text:
        raise Failed(session.tail(start))
    end, m = session.wait(r"BENCH %s \d+ ([\d.]+) ([0-9a-f]{16}) ([\d.]+)|^BENCH-END" % re.escape(name), start, seconds)
    if not m.group(1):
        raise Failed(session.tail(start))
    cpu = end.cpu - begin.cpu if cpu_by_host else float(m.group(3))
    return Result(float(m.group(1)), cpu, end.began - begin.ended, m.group(2))


class Native:
    """The host itself."""
    name, guest = "native", False

    def __init__(self, programs, root):
        self.programs, self.root = programs, root
        with open("/proc/cpuinfo") as f:
            self.flags = set(re.search(r"^flags\s*:(.*)$", f.read(), re.M).group(1).split())

    def start(self, timeout):
        pass

    def lacks(self, workload):
        return [f for f in workload.needs if f not in self.flags]

    def run(self, workload, iterations, timeout):
        words = [os.path.join(self.programs, workload.program)]
        words += [self.root] if workload.program == "real" else []
        session = Session(words + [workload.name, str(iterations)])
        try:
            return result_of(session, 0, workload.name, timeout, False)
        finally:
            session.stop(1)

    def stop(self):
        pass


class Emulator:
    """QEMU or shadow86 with a benchmark guest in it."""
    guest = True

    def __init__(self, name, command, kernel, initrd, megs, stats=None):
        self.name, self.command, self.kernel, self.initrd, self.megs = name, command, kernel, initrd, megs
        self.stats_file, self.session = stats, None
        self.memory, self.statistics = Memory(0, 0, 0), {}

    def lacks(self, workload):
        return []

    def boot(self, pattern, append, timeout, initrd, megs):
        """Starts it; (wall, CPU) seconds until the line."""
        command = self.command + ["-m", str(megs), "-display", "none", "-serial", "stdio", "-monitor", "none"]
        command += ["-no-reboot", "-kernel", self.kernel, "-initrd", initrd, "-append", append]
        start = time.monotonic()
        self.session = Session(command)
        try:
            line, _ = self.session.wait(pattern, 0, timeout)
        except Failed as why:
            self.kill()
            raise Failed("the guest did not start: %s" % why)
        return line.began - start, line.cpu

    def start(self, timeout):
        self.boot("BENCH-READY", "console=ttyS0 quiet panic=-1", timeout, self.initrd, self.megs)

    def boot_stock(self, initrd, timeout):
        """(wall, CPU) seconds from power-on to the shell of mk-linux-guest's guest, which is then switched off."""
        try:
            return self.boot("type 'poweroff -f' to end", "console=ttyS0 noselftest", timeout, initrd, BOOT_MEGS)
        finally:
            self.kill()

    def run(self, workload, iterations, timeout):
        if not self.session:
            self.start(timeout)     # it failed at the workload before
        start = len(self.session.lines)
        where = "/real " if workload.program == "real" else ""
        try:
            self.session.send("/bench/%s %s%s %d" % (workload.program, where, workload.name, iterations))
            result = result_of(self.session, start, workload.name, timeout, True)
            self.session.wait("^BENCH-END", start, timeout)
            self.measure_memory()
            return result
        except Failed:
            self.kill()
            raise

    def measure_memory(self):
        with open("/proc/%d/smaps" % self.session.process.pid) as f:
            self.memory = Memory(*map(max, self.memory, memory_of(f, self.megs << 20)))

    def counting(self, stats):
        """The same emulator, if it is shadow86's translator, counting executed instructions; these statistics only."""
        command = [word.replace(",stats=" + self.stats_file, ",count=on,stats=" + stats) for word in self.command]
        return Emulator(self.name, command, self.kernel, self.initrd, self.megs, stats)

    def kill(self):
        if self.session:
            self.session.stop()
        self.session = None

    def stop(self):
        """Switches the guest off, so that the emulator ends by itself and writes its statistics."""
        if not self.session:
            return
        try:
            self.session.send("poweroff -f")
            self.session.stop(30)
        except Failed:
            pass
        self.kill()
        if self.stats_file and os.path.exists(self.stats_file):
            with open(self.stats_file) as f:
                self.statistics = dict(read_statistic(line) for line in f if len(line.split()) >= 2)


def memory_of(smaps, ram_bytes):
    """What a process has resident, by the lines of its smaps. A file that is mapped twice counts once: as much as is seen
    through the mapping that has most of it. RAM is the memory of that size (QEMU reserves as much for code, but does not
    fill it), else the largest; code is what can be executed and comes from no file on a disk."""
    memories = {}       # by file, or address: [size, resident, is it code?]
    for line in smaps:
        words = line.split()
        if re.match(r"[0-9a-f]+-[0-9a-f]+$", words[0]):
            own = memories.setdefault(words[0] if words[4] == "0" else (words[3], words[4], words[2]), [0, 0, False])
            name = " ".join(words[5:])
            own[2] |= "x" in words[1] and (not name or name.startswith("/memfd:"))
        elif words[0] == "Size:":
            own[0] = max(own[0], int(words[1]) * 1024)
        elif words[0] == "Rss:":
            own[1] = max(own[1], int(words[1]) * 1024)
    ram = max(memories.values(), key=lambda m: (m[0] == ram_bytes and not m[2], m[0], m[1]))
    code = sum(m[1] for m in memories.values() if m[2])
    total = sum(m[1] for m in memories.values())
    return Memory(code, total - code - ram[1], total)


def read_statistic(line):
    name, value = line.split(None, 1)
    try:
        return name, float(value) if "." in value else int(value)
    except ValueError:
        return name, value.strip()


def engine_works(program, accel):
    """Whether shadow86 starts with this -accel; if not, what it says."""
    command = [program, "-accel", accel, "-S", "-m", "16", "-display", "none", "-serial", "none", "-monitor", "stdio"]
    try:
        done = subprocess.run(command, input="quit\n", capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as why:
        return False, str(why)
    return done.returncode == 0, (done.stderr.strip().split("\n") or [""])[0]


def choose_engine(program, wanted, stats):
    """The -accel string to use, whether it writes statistics, and lines that say what is not there."""
    notes = []
    for accel in [wanted] if wanted else ["jit", "interp"]:
        for with_stats in (True, False):
            string = accel + (",stats=" + stats if with_stats else "")
            works, why = engine_works(program, string)
            if works:
                if not with_stats:
                    notes.append("shadow86 -accel %s: no translator statistics (it does not know stats=FILE)" % accel)
                return string, with_stats, notes
        notes.append("shadow86 -accel %s: %s" % (accel, why))
    return None, False, notes
