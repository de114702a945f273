#!/usr/bin/env python3
"""gdb.py - the gdb stub: packets by hand, and a session of the real gdb (skipped where there is none).

usage: gdb.py PROGRAM
"""
import os, re, shutil, socket, struct, subprocess, sys, tempfile, time

PROGRAM = os.path.abspath(sys.argv[1])
KERNEL = os.path.join(os.path.dirname(PROGRAM), "generated/hello.elf")
LIMIT = 120 * float(os.environ.get("SHADOW86_SLOWER", "1"))


def need(condition, why):
    if not condition:
        sys.exit(f"FAIL  {why}")


def entry_point():
    with open(KERNEL, "rb") as f:
        return struct.unpack_from("<I", f.read(64), 24)[0]


def start(*more, append=""):
    if os.path.exists("gdb.sock"):
        os.unlink("gdb.sock")
    p = subprocess.Popen([PROGRAM, "-display", "none", "-serial", "file:serial", "-kernel", KERNEL, "-append", append, "-gdb",
                          "unix:gdb.sock" + "".join(m for m in more if m[0] == ",")] + [m for m in more if m[0] != ","])
    end = time.monotonic() + LIMIT
    while not os.path.exists("gdb.sock"):
        need(time.monotonic() < end and p.poll() is None, "no socket")
        time.sleep(0.02)
    return p


class Remote:
    """gdb's side of the protocol."""

    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(LIMIT)
        self.s.connect("gdb.sock")
        self.got = b""

    def send(self, text):
        data = text.encode("latin-1")
        self.s.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xff))

    def receive(self):
        while not (m := re.search(rb"\$([^#]*)#(..)", self.got)):
            part = self.s.recv(65536)
            need(part, "the stub hung up")
            self.got += part
        self.got = self.got[m.end():]
        need(sum(m.group(1)) & 0xff == int(m.group(2), 16), "checksum")
        try:
            self.s.sendall(b"+")
        except BrokenPipeError:
            pass                    # that was its last word
        return m.group(1).decode("latin-1")

    def ask(self, text):
        self.send(text)
        return self.receive()

    def ok(self, text, answer="OK"):
        got = self.ask(text)
        need(re.fullmatch(answer, got), f"{text}: {got!r}, expected {answer}")
        return got

    def registers(self, names):
        """The first registers of the g packet, of 8 or 4 bytes."""
        raw = bytes.fromhex(self.ask("g"))
        size = 8 if len(names) > 10 else 4
        return {n: int.from_bytes(raw[i * size:(i + 1) * size], "little") for i, n in enumerate(names)}


X86_64 = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()
I386 = "eax ecx edx ebx esp ebp esi edi eip".split()


def rip(r):
    return r.registers(X86_64)["rip"]


def packets_at_reset():
    p = start("-S")
    r = Remote()
    r.ok("qSupported:swbreak+", ".*PacketSize=4000.*")
    xml, part = "", "m"
    while part[0] == "m":
        part = r.ask(f"qXfer:features:read:target.xml:{len(xml):x},100")
        xml += part[1:]
    need("<architecture>i386:x86-64</architecture>" in xml and xml.endswith("</target>") and 'name="fs_base"' in xml, "XML")
    r.ok("qXfer:features:read:other.xml:0,100", "E00")
    r.ok("?", "T05thread:01;")
    r.ok("qC", "QC01")
    r.ok("vMustReplyEmpty", "")
    need(rip(r) == 0xfffffff0, "the reset vector as linear address")
    r.ok("mfffffff0,1", "ea")
    r.ok("s", "T05thread:01;")
    need(rip(r) < 1 << 20, "the jump was stepped")
    # memory and registers, written and read back; the pieces of hostile packets
    r.ok("M600,4:78563412")
    r.ok("m600,4", "78563412")
    r.ok("X600,2:}\x03}\x04")
    r.ok("m600,4", "23243412")
    r.ok("P0=efcdab8967452301")
    need(r.registers(X86_64)["rax"] == 0x0123456789abcdef, "rax")
    r.ok("P12=00000000", "E01")         # CS
    for bad in "m", "m600", "m600,zz", "M600,4:12", "M600,ffffffff:00", "P", "Pfff=00", "p1000", "G12", "Z0", "Z0,1", "X1,1", \
            "qXfer:features:read:target.xml:zz", "qRcmd,", "vCont;q", "H", "mffffffffffffffff,8":
        r.ask(bad)
    r.ok("Z9,600,1", "")
    r.s.sendall(b"$m600,4#00")          # wrong checksum
    while b"-" not in r.got:
        r.got += r.s.recv(100)
    r.got = b""
    r.s.sendall(b"$" + b"A" * 100000 + b"#00")
    r.ok("m600,4", "23243412")
    p.terminate()
    need(p.wait(LIMIT) == 0, "ends")
    print("ok    packets at reset")


def stops():
    p = start("-S")
    r = Remote()
    entry = entry_point()
    r.ok("qSupported:swbreak+", ".*")
    r.ok(f"Z0,{entry:x},1")
    r.ok("c", "T05thread:01;swbreak:;")
    need(rip(r) == entry and r.registers(X86_64)["rax"] == 0x2badb002, "stopped at the entry point, Multiboot magic in EAX")
    r.ok(f"m{entry:x},1", "bc")         # the instruction itself, no INT3
    r.ok(f"z0,{entry:x},1")
    r.ok("vCont;s:1;c", "T05thread:01;")
    need(rip(r) == entry + 5, "a step over MOV ESP, imm32")
    stack = r.registers(X86_64)["rsp"]
    r.ok(f"Z2,{stack - 4:x},4")         # the first push or call writes there
    got = r.ask("c")
    need(got == f"T05thread:01;watch:{stack - 4:x};", f"watchpoint: {got}")
    r.ok(f"z2,{stack - 4:x},4")
    r.ok("Z4,b8000,2")
    got = r.ask("c")
    need(got == "T05thread:01;awatch:b8000;", f"access to MMIO: {got}")
    r.ok("z4,b8000,2")
    r.send("c")
    time.sleep(1)
    r.s.sendall(b"\x03")
    need(re.match("T02", r.receive()), "interrupted")
    a = rip(r)
    for _ in range(20):
        r.ok("s", "T05.*")              # halted in between: the timer wakes it
    out = ""
    r.send("qRcmd," + b"info status".hex())
    while (got := r.receive()) != "OK":
        out += bytes.fromhex(got[1:]).decode()
    need("paused" in out, f"monitor command: {out}")
    r.ok("D")
    r.s.close()
    r = Remote()                        # again
    r.ok("?", "T05.*")
    need(0x100000 <= r.registers(I386)["eip"] < 0x200000, "registers of a 32-bit guest")
    r.s.close()                         # hangs up: the machine runs on
    p.terminate()
    need(p.wait(LIMIT) == 0, "ends")
    print("ok    breakpoints, watchpoints, interrupt, steps, monitor, detach, second visit")


def exit_status_and_i386():
    p = start("-S", ",arch=i386", "-device", "isa-debug-exit", append="exit")
    r = Remote()
    r.ok("qXfer:features:read:target.xml:0,1000", ".*<architecture>i386</architecture>.*")
    entry = entry_point()
    r.ok(f"Z1,{entry:x},1")
    r.ok("c", "T05.*")
    regs = r.registers(I386)
    need(regs["eip"] == entry and regs["eax"] == 0x2badb002, f"i386 registers {regs}")
    r.ok("c", "W21")
    need(p.wait(LIMIT) == 33, "status of isa-debug-exit")
    p = start("-S")
    r = Remote()
    r.send("k")
    need(p.wait(LIMIT) == 0, "killed")
    print("ok    i386 registers, exit status, kill")


def real_gdb():
    if not shutil.which("gdb"):
        print("skip  no gdb")
        return False
    p = start("-S", ",arch=i386")
    entry = entry_point()
    script = f"""set pagination off
set confirm off
target remote gdb.sock
printf "at %#x\\n", $pc
hbreak *{entry:#x}
continue
printf "entry %#x %#x\\n", $pc, $eax
x/i $pc
stepi
printf "next %#x\\n", $pc
set $ebx = 0x1234
printf "ebx %#x xmm0 %#x cr0 %#x\\n", $ebx, $xmm0.v4_int32[0], $cr0
eval "watch *(int *)%#x", $esp - 4
continue
delete
set *(int *)0x600 = 0x11223344
x/xw 0x600
monitor info status
kill
"""
    with open("script", "w") as f:
        f.write(script)
    text = subprocess.run(["gdb", "-nx", "-batch", "-x", "script", KERNEL], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT).stdout.decode()
    for pattern in ("at 0xfffffff0", f"entry {entry:#x} 0x2badb002", r"mov +\$0x[0-9a-f]+,%esp", f"next {entry + 5:#x}",
                    "ebx 0x1234 xmm0 (0|0x0) cr0 0x11", r"[Hh]ardware watchpoint 2", r"Old value|New value",
                    "0x600:\t0x11223344", "VM status: paused"):
        need(re.search(pattern, text), f"gdb: no {pattern} in\n{text}")
    need(p.wait(LIMIT) == 0, "killed by gdb")
    print("ok    a session of gdb")
    return True


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        packets_at_reset()
        stops()
        exit_status_and_i386()
        real_gdb()
        os.chdir("/")
    return 0


sys.exit(main())
