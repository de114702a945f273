#!/usr/bin/env python3
"""boot.py - boots a guest under shadow86 and looks at its serial line and screen.

usage: boot.py --list                      all cases: name, time-out in seconds, group (boot or long)
       boot.py [options] CASE...           runs them; exit status 0 if all pass, 77 if all were skipped
options: --shadow86 PATH   the program (default build/release/shadow86)
         --accel ENGINE     -accel for every guest: jit, check, interp
         --verbose         shows the serial line while it comes in, and the screen when it was as wanted
         --keep DIR        keeps serial.log and screen.png of each case there

A case is a row of cases.py: the options, the files it needs, and steps that are done one after the other.
"""
import argparse, os, re, signal, socket, subprocess, sys, tempfile, threading, time

sys.dont_write_bytecode = True
import cases

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.environ.get("SHADOW86_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
CACHE = os.environ.get("SHADOW86_CACHE", os.path.join(os.path.expanduser("~"), ".cache", "shadow86"))
SLOWER = float(os.environ.get("SHADOW86_SLOWER", "1"))      # factor on every time-out, for slow machines


class Failed(Exception):
    pass


class Guest:
    """A running shadow86: its serial line on our pipe, its monitor on a socket."""

    def __init__(self, program, args, folder, verbose, accel):
        self.monitor_path = os.path.join(folder, "monitor")
        self.verbose = verbose
        command = [program, "-display", "none", "-serial", "stdio",
                   "-monitor", f"unix:{self.monitor_path},server=on,wait=off"] + (["-accel", accel] if accel else []) + args
        if verbose:
            print(" ".join(command), file=sys.stderr)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.serial, self.seen, self.errors = "", 0, b""
        self.changed = threading.Condition()
        threading.Thread(target=self.read_serial, daemon=True).start()
        threading.Thread(target=self.read_errors, daemon=True).start()
        self.socket = None

    def read_serial(self):
        while data := os.read(self.process.stdout.fileno(), 4096):
            text = data.decode("utf-8", "replace")
            if self.verbose:
                sys.stderr.write(text)
            with self.changed:
                self.serial += text
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def read_errors(self):
        while data := os.read(self.process.stderr.fileno(), 4096):
            self.errors += data

    def monitor(self, command):
        """Runs a command; returns what it printed."""
        if self.socket is None:
            for _ in range(200):
                try:
                    self.socket = socket.socket(socket.AF_UNIX)
                    self.socket.connect(self.monitor_path)
                    break
                except OSError:
                    self.socket.close()
                    if self.process.poll() is not None:
                        raise Failed("shadow86 ended")
                    time.sleep(0.05)
            self.socket.settimeout(30)
        self.socket.sendall(command.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"(shadow86) "):
            part = self.socket.recv(65536)
            if not part:
                break
            answer += part
        lines = answer.decode("utf-8", "replace").replace("\r", "").split("\n")
        return "\n".join(lines[1:-1])

    def wait(self, what, look, seconds):
        end = time.monotonic() + seconds * SLOWER
        while True:
            if look():
                return
            if self.process.poll() is not None:
                time.sleep(0.2)
                if look():
                    return
                raise Failed(f"shadow86 ended (status {self.process.returncode}) before {what}")
            if time.monotonic() > end:
                raise Failed(f"no {what} within {seconds} s")
            with self.changed:
                self.changed.wait(0.2)

    # --- steps -------------------------------------------------------------------------------------------------
    def do_serial(self, pattern, seconds=120):
        """Waits for a pattern on the serial line, behind what was matched before."""
        def look():
            m = re.compile(pattern).search(self.serial, self.seen)
            if m:
                self.seen = m.end()
            return m
        self.wait(f"'{pattern}' on the serial line", look, seconds)

    def do_screen(self, pattern, seconds=120):
        """Waits for a pattern on the text screen."""
        self.wait(f"'{pattern}' on the screen", lambda: re.search(pattern, self.monitor("screentext")), seconds)

    def do_graphics(self, width, height, colours, seconds=60):
        """Waits for a picture of this size with at least so many colours."""
        file = self.monitor_path + ".png"
        def look():
            self.monitor(f"screendump {file}")
            return os.path.exists(file) and picture(file)[:2] == (width, height) and picture(file)[2] >= colours
        self.wait(f"picture of {width}x{height} with {colours} colours", look, seconds)

    def do_keys(self, *keys):
        for key in keys:
            self.monitor(f"sendkey {key}")
            time.sleep(0.15)

    def do_type(self, text):
        names = {" ": "spc", "\n": "ret", ".": "dot", "/": "slash", "-": "minus", ",": "comma", "\\": "backslash",
                 ":": "shift-semicolon", "(": "shift-9", ")": "shift-0"}
        self.do_keys(*(names.get(c, "shift-" + c.lower() if c.isupper() else c) for c in text))

    def do_send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def do_monitor(self, command, pattern=""):
        answer = self.monitor(command)
        if not re.search(pattern, answer):
            raise Failed(f"monitor: '{command}' answered '{answer}', not '{pattern}'")

    def do_sleep(self, seconds):
        time.sleep(seconds)

    def do_idle(self, share):
        """The guest idles: over two seconds the process uses at most this share of a CPU."""
        def used():
            fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        best = 1.0
        for _ in range(5):      # the least of several: the guest may still be busy
            time.sleep(2)
            before = used()
            time.sleep(2)
            best = min(best, (used() - before) / 2)
            if best <= share:
                return
        raise Failed(f"idle guest uses {best:.0%} of a CPU")

    def do_exit(self, status=0, seconds=60):
        """Waits for the end of the process and looks at its exit status."""
        try:
            got = self.process.wait(seconds * SLOWER)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running after {seconds} s")
        if got != status:
            raise Failed(f"exit status {got}, not {status}")

    def do_host(self, command):
        """Runs a shell command on the host; it must succeed."""
        done = subprocess.run(command, shell=True, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"'{command}': {done.stdout}{done.stderr}")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failed("did not end on SIGTERM")


def picture(file):
    """(width, height, number of colours) of a PNG."""
    import struct, zlib
    data, at, packed = open(file, "rb").read(), 8, b""
    width = height = depth = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack(">IIBB", body[:10])
            depth = {2: 3, 6: 4, 0: 1, 3: 1}[colour] * bits // 8
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    raw, stride, above, colours = zlib.decompress(packed), width * depth, bytes(width * depth), set()
    for y in range(height):
        line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        kind = raw[y * (stride + 1)]
        for i in range(stride):
            left = line[i - depth] if i >= depth else 0
            corner = above[i - depth] if i >= depth else 0
            p = left + above[i] - corner
            paeth = min((abs(p - left), 0, left), (abs(p - above[i]), 1, above[i]), (abs(p - corner), 2, corner))[2]
            line[i] = (line[i] + [0, left, above[i], (left + above[i]) // 2, paeth][kind]) & 255
        above = bytes(line)
        colours.update(above[i:i + depth] for i in range(0, stride, depth))
    return width, height, len(colours)


def run_case(name, case, options):
    missing = [f for f in case.get("needs", []) if not os.path.exists(f.format(**paths(options, ""))) ]
    if missing:
        print(f"boot.{name}: SKIPPED: no {missing[0].format(**paths(options, ''))} (made by tests/boot/make-guests from ../shared/guests)")
        return None
    with tempfile.TemporaryDirectory() as folder:
        where = paths(options, folder)
        for command in case.get("before", []):
            subprocess.run(command.format(**where), shell=True, check=True, stdout=subprocess.DEVNULL)
        start = time.monotonic()
        guest = Guest(options.shadow86, [a.format(**where) for a in case["args"]], folder, options.verbose, options.accel)
        try:
            for number, step in enumerate(case["steps"]):
                words = [w.format(**where) if isinstance(w, str) and step[0] in ("host", "monitor") else w for w in step[1:]]
                getattr(guest, "do_" + step[0])(*words)
                if options.verbose and step[0] == "screen":
                    print(f"--- screen, {time.monotonic() - start:.1f} s:\n" + guest.monitor("screentext"), file=sys.stderr)
            guest.close()
        except (Failed, OSError) as why:
            print(f"boot.{name}: FAILED at step {number + 1} {step}: {why}")
            print("--- end of the serial line:\n" + guest.serial[-3000:])
            if guest.errors:
                print("--- stderr:\n" + guest.errors.decode("utf-8", "replace")[-2000:])
            try:
                print("--- screen:\n" + guest.monitor("screentext"))
                print("--- registers:\n" + guest.monitor("info registers"))
            except (Failed, OSError):
                pass
            guest.process.kill()
            return False
        finally:
            if options.keep:
                os.makedirs(options.keep, exist_ok=True)
                open(os.path.join(options.keep, name + ".serial.log"), "w").write(guest.serial)
        print(f"boot.{name}: passed in {time.monotonic() - start:.1f} s")
        return True


def paths(options, folder):
    return {"shared": SHARED + "/guests", "guests": CACHE + "/guests", "demo": CACHE + "/demo",
            "debian": CACHE + "/debian", "tmp": folder,
            "build": os.path.dirname(os.path.abspath(options.shadow86)), "here": HERE}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--shadow86", default=os.path.join(ROOT, "build/release/shadow86"))
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep")
    parser.add_argument("--accel")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name} {case.get('seconds', 300)} {'long' if case.get('long') else 'boot'}"
                        for name, case in cases.CASES.items()))
        return 0
    results = []
    for name in options.cases:
        if name not in cases.CASES:
            print(f"boot.py: no case '{name}' (--list shows them)", file=sys.stderr)
            return 2
        results.append(run_case(name, cases.CASES[name], options))
    return 1 if False in results else 77 if results and all(r is None for r in results) else 0


sys.exit(main())
