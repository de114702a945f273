#!/usr/bin/env python3
"""monitor.py - every command of the monitor, over a unix socket, with the built-in guest.

usage: monitor.py PROGRAM
"""
import os, re, socket, struct, subprocess, sys, tempfile, time, zlib

PROGRAM = os.path.abspath(sys.argv[1])
KERNEL = os.path.join(os.path.dirname(PROGRAM), "generated/hello.elf")
LIMIT = 120 * float(os.environ.get("SHADOW86_SLOWER", "1"))


def need(condition, why):
    if not condition:
        if os.path.exists("log"):
            with open("log", errors="replace") as f:
                print(f.read(), file=sys.stderr)
        sys.exit(f"FAIL  {why}")


class Monitor:
    def __init__(self):
        end = time.monotonic() + LIMIT
        while True:
            self.s = socket.socket(socket.AF_UNIX)
            try:
                self.s.connect("mon.sock")
                break
            except OSError:
                self.s.close()
                need(time.monotonic() < end, "no monitor")
                time.sleep(0.02)
        self.s.settimeout(LIMIT)
        self.prompt("")

    def prompt(self, line):
        """Sends a line; the answer without the echo."""
        self.s.sendall(line.encode() + b"\n")
        got = b""
        while not got.endswith(b"(shadow86) "):
            part = self.s.recv(65536)
            need(part, f"hung up after {line}")
            got += part
        return got.decode().replace("\r", "").split("\n", 1)[1].removesuffix("(shadow86) ")

    def expect(self, line, *patterns):
        answer = self.prompt(line)
        for p in patterns:
            need(re.search(p, answer), f"{line}: no /{p}/ in {answer!r}")
        return answer

    def silent(self, line):
        need(self.prompt(line) == "", f"{line} says something")

    def wait(self, line, pattern):
        end = time.monotonic() + LIMIT
        while not re.search(pattern, answer := self.prompt(line)):
            need(time.monotonic() < end, f"{line}: never /{pattern}/ in {answer!r}")
            time.sleep(0.05)


def picture(file):
    """Width, height and number of colours of a PNG, all of it checked."""
    with open(file, "rb") as f:
        data = f.read()
    need(data[:8] == b"\x89PNG\r\n\x1a\n", "PNG signature")
    at, pixels, names, head = 8, b"", [], None
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        need(zlib.crc32(name + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0], f"CRC of {name}")
        names.append(name)
        if name == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        elif name == b"IDAT":
            pixels += body
        at += 12 + size
    need(names[0] == b"IHDR" and names[-1] == b"IEND" and head[2:] == (8, 2, 0, 0, 0), f"chunks {names}, header {head}")
    raw, line = zlib.decompress(pixels), 1 + 3 * head[0]
    need(len(raw) == line * head[1], "size of the pixels")
    above, colours = bytes(line - 1), set()
    for y in range(head[1]):
        row = bytearray(raw[y * line + 1:(y + 1) * line])
        need(raw[y * line] <= 2, "filter none, sub or up")
        for i in range(len(row)):
            before = (0, row[i - 3] if i >= 3 else 0, above[i])[raw[y * line]]
            row[i] = (row[i] + before) & 255
        colours |= {bytes(row[i:i + 3]) for i in range(0, len(row), 3)}
        above = row
    return head[0], head[1], len(colours)


def information(m):
    m.expect("info", "info status", "info registers", "info mtree")
    m.expect("info status", "VM status: running")
    m.expect("info version", "shadow86")
    m.expect("info name", "^the guest\n$")
    m.expect("info registers", "RIP=|EIP=", "CR0=", "XMM", "GDT")
    m.expect("info cpus", r"CPU #0: pc=0x[0-9a-f]+")
    m.expect("info pci", "8086")
    m.expect("info mtree", "(?m)^memory:", "ram", "I/O ports")
    devices = m.expect("info qtree", "uart16550", "ide", "i8042").split()
    for d in devices:
        m.prompt(f"info device {d}")
    m.expect("info device uart16550", "baud")
    m.expect("info nonsense", "info status")
    m.expect("help", "screendump", "pmemsave", "gdbserver")
    m.expect("nonsense", "unknown command 'nonsense'")
    m.silent("   ")


def memory(m):
    with open(KERNEL, "rb") as f:
        elf = f.read()
    offset = struct.unpack_from("<I", elf, struct.unpack_from("<I", elf, 28)[0] + 4)[0]
    m.expect("x/2xw 0x100000", r"100000: 0x1badb002" if b"\x02\xb0\xad\x1b" == elf[offset:offset + 4] else ":")
    m.expect("xp/1xw 0x100000", "0x1badb002")
    m.expect("xp /4xb 0x100000", "0x02 0xb0 0xad 0x1b")
    m.expect("x/1dw 0x100000", " 464367618")
    m.expect("x/1ug 0x100000", r" \d+")
    m.expect("x/1oh 0x100000", " 0130002")
    m.expect("x/2cb 0x100000", r"'.' '.'")
    m.expect("x/3i 0x100010", "mov", "lgdt")
    m.expect("x/2i $pc", "0x")
    m.expect("xp/1xb $pc+0", "0x")
    m.expect("x/1xb $nosuch", "ADDRESS")
    m.expect("x/1xb", "ADDRESS")
    m.expect("x/9999999x 0", "ADDRESS")
    m.expect("x/1q 0", "ADDRESS")
    m.silent("pmemsave 0x100000 5000 saved")
    m.silent("memsave 0x100000 5000 \"saved too\"")
    with open("saved", "rb") as a, open("saved too", "rb") as b:
        first, second = a.read(), b.read()
    need(len(first) == 5000 and first == second and first[:4] == b"\x02\xb0\xad\x1b", "pmemsave, memsave")
    m.expect("pmemsave 0 16 /nonexistent/file", "No such file")
    m.expect("pmemsave 0", "ADDRESS SIZE FILE")
    m.silent("o 0x80 0x12")
    m.silent("o/b 0x70 0x10")
    m.expect("i 0x71", "port 0x0071 = 0x[0-9a-f]{2}\n")
    m.expect("i/w 0xcf8", "= 0x[0-9a-f]{8}\n")
    m.expect("i 0x10000", "PORT")


def keys_and_screen(m):
    for key in "c", "p", "u", "ret":
        m.silent(f"sendkey {key} 20")
        time.sleep(0.1)
    m.wait("screentext", "> cpu\nCPU: ")
    m.expect("sendkey nosuch", "unknown key 'nosuch'")
    m.expect("sendkey", "unknown key")
    m.silent("mouse_move 5 -5")
    m.silent("mouse_button 1")
    m.silent("mouse_button 0")
    m.expect("mouse_move", "DX DY")
    m.silent("screendump screen.png")
    width, height, colours = picture("screen.png")
    need((width, height) == (720, 400) and colours > 1, f"picture {width}x{height}, {colours} colours")
    m.expect("screendump /nonexistent/x.png", "No such file")
    m.expect("screendump", "FILE")


def media(m):
    m.silent("change ide1-cd0 cd.iso")
    m.silent("eject ide1-cd0")
    m.silent('change floppy0 "a floppy.img"')
    m.silent("eject floppy0")
    m.expect("change ide1-cd0 nosuch.iso", "No such file")
    m.expect("change ide1-cd0 odd.iso", "multiple of 2048")
    m.expect("change ide0-cd0 cd.iso", "no CD drive")
    m.expect("change floppy9 cd.iso", "no drive 'floppy9'")
    m.expect("change floppy1 cd.iso", "no floppy drive|no drive")
    m.expect("eject", "DRIVE")
    m.silent("change ide1-cd0 cd.iso")          # the failed ones have closed their files


def running(m):
    m.silent("stop")
    m.expect("info status", "paused")
    before = m.prompt("info cpus")
    time.sleep(0.1)
    need(m.prompt("info cpus") == before, "stands still")
    m.silent("stop")
    m.silent("cont")
    m.expect("info status", "running")
    m.silent("nmi")
    m.silent("log int")
    m.silent("log none")
    m.expect("log nonsense", "no log item")
    m.silent("gdbserver unix:gdb.sock")
    need(os.path.exists("gdb.sock"), "gdbserver")
    m.silent("gdbserver none")
    need(not os.path.exists("gdb.sock"), "gdbserver none")
    m.expect("gdbserver nowhere", "none of")
    m.silent("system_powerdown")
    m.silent("system_reset")
    time.sleep(0.1)
    m.wait("screentext", "(?m)^> *$")
    m.s.sendall(b"x" * 5000 + b"\x15inf\x7fof\x08o status\x03info stat")      # too long, killed, mended, cancelled
    m.s.close()


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, size in ("cd.iso", 4096), ("odd.iso", 1000), ("a floppy.img", 1474560):
            with open(name, "wb") as f:
                f.truncate(size)
        with open("log", "wb") as log:
            p = subprocess.Popen([PROGRAM, "-display", "none", "-m", "64", "-kernel", KERNEL, "-fda", "a floppy.img", "-snapshot",
                                  "-name", "the guest", "-monitor", "unix:mon.sock,server=on,wait=off"], stderr=log)
            m = Monitor()
            m.wait("screentext", "(?m)^> *$")
            for part in information, memory, keys_and_screen, media, running:
                part(m)
                print(f"ok    {part.__name__}")
            m = Monitor()                       # the half line of the last visitor is gone
            m.expect("info status", "running")
            m.s.sendall(b"q\n")
            need(p.wait(LIMIT) == 0, "quit")
        os.chdir("/")
    return 0


sys.exit(main())
