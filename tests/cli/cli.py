#!/usr/bin/env python3
"""cli.py - the command line: wrong input, exit statuses, lines on terminals, pipes, sockets, the background.

usage: cli.py PROGRAM [CASE...]     runs all cases, or those whose names contain one of the words

Each wrong command line must give exit status 1, one line on stderr that matches, nothing on stdout, and leave the
directory as it was, although options that create files stand beside the wrong one.
"""
import fcntl, os, pty, re, select, signal, socket, subprocess, sys, tempfile, termios, time

PROGRAM = os.path.abspath(sys.argv[1])
SLOWER = float(os.environ.get("SHADOW86_SLOWER", "1"))
LIMIT = 120 * SLOWER

# Options that would leave something behind.
TRACES = ["-serial", "file:t.serial", "-pidfile", "t.pid", "-D", "t.log", "-monitor", "unix:t.sock,server=on,wait=off"]

# (arguments, what the line must match)
WRONG = [
    ("-foo", r"unknown option -foo \(-h"),
    ("--bar", r"unknown option --bar"),
    ("-m", r"-m needs an argument"),
    ("-m x", r"-m x: not a size"),
    ("-m -5", r"-m -5: not a size"),
    ("-m inf", r"not a size"),
    ("-m 0", r"between 2M"),
    ("-m 1", r"between 2M"),
    ("-m 1T", r"between 2M.*256G"),
    ("-m 2500K", r"whole number of MiB"),
    ("-m size=64,foo=1", r"-m: unknown key 'foo'"),
    ("-smp 2", r"-smp 2: .*one CPU"),
    ("-smp 1,cores=4", r"one CPU"),
    ("-smp x", r"not a number of CPUs"),
    ("-cpu i8", r"unknown model 'i8'"),
    ("-cpu max,+nosuch", r"unknown feature 'nosuch'"),
    ("-machine q35", r"no such machine in this version"),
    ("-machine pc,accel=kvm", r"pure software"),
    ("-machine pc,usb=on", r"does not have that"),
    ("-M pc,foo=1", r"unknown key 'foo'"),
    ("-accel kvm", r"pure software"),
    ("-enable-kvm", r"pure software"),
    ("-accel jit,nosuch=1", r"-accel: unknown key 'nosuch'"),
    ("-accel jit,chain=maybe", r"-accel: chain=maybe: must be on or off"),
    ("-accel jit,cache=1", r"-accel: cache=1: must be between"),
    ("-jit hot=x", r"-jit: hot=x: must be a number"),
    ("-accel warp", r"no such engine"),
    ("-icount shift=99", r"shift=0 to shift=10"),
    ("-rtc base=yesterday", r"base must be utc"),
    ("-bios nosuch", r"-bios nosuch: no such file"),
    ("-bios odd.img", r"odd.img: a BIOS image must be a multiple of 64 KiB"),
    ("-L nosuch", r"-L nosuch: No such file"),
    ("-vga cirrus", r"-vga cirrus: no such display adapter"),
    ("-device e1000", r"-device e1000: no such device"),
    ("-device isa-debug-exit,iobase=x", r"iobase must be a port"),
    ("-hda nosuch.img", r"-hda nosuch.img: No such file"),
    ("nosuch.img", r"-hda nosuch.img: No such file"),
    ("-hda .", r"-hda \.: Is a directory"),
    ("-hda odd.img", r"odd.img is 1000 bytes, not a multiple of 512"),
    ("-cdrom disk.img", r"disk.img is 1536 bytes, not a multiple of 2048"),
    ("-fda empty.img", r"empty.img is empty"),
    ("-hda fifo", r"fifo is a pipe"),
    ("-hda qcow2.img", r"qcow2"),
    ("-drive file=qcow2.img,format=qcow2", r"raw images only"),
    ("-hda disk.img -hdb disk.img", r"-hdb disk.img is in use"),
    ("-hda disk.img -hda disk2.img", r"-hda disk2.img: IDE drive 0 is there already"),
    ("-hdc disk.img -cdrom cd.img", r"-cdrom cd.img: IDE drive 2 is there already"),
    ("-drive if=virtio,file=disk.img", r"IDE and floppy drives only"),
    ("-drive if=ide", r"file= is missing"),
    ("-drive file=disk.img,index=7", r"index must be 0 to 3"),
    ("-drive file=disk.img,colour=red", r"-drive: unknown key 'colour'"),
    ("-drive file=disk.img,readonly=maybe", r"readonly=maybe: must be on or off"),
    ("-drive file=cd.img,if=floppy,media=cdrom", r"a CD drive is an IDE drive"),
    ("-boot x", r"order takes the letters"),
    ("-boot cc", r"twice"),
    ("-boot splash-time=x", r"splash-time must be"),
    ("-kernel nosuch", r"-kernel nosuch: No such file"),
    ("-kernel .", r"-kernel \.: is a directory"),
    ("-kernel odd.img", r"odd.img is no Linux bzImage, Multiboot or PVH kernel"),
    ("-kernel empty.img", r"empty"),
    ("-kernel KERNEL -initrd nosuch", r"-initrd nosuch: No such file"),
    ("-initrd disk.img", r"-initrd needs -kernel"),
    ("-append x", r"-append needs -kernel"),
    ("-m 2 -kernel KERNEL -initrd big.img", r"(?i)memory|fit|-m"),
    ("-serial carrier-pigeon", r"'carrier-pigeon' is none of stdio"),
    ("-serial file:nosuch/x", r"nosuch/x: its directory does not exist"),
    ("-serial file:.", r"is a directory"),
    ("-serial file:", r"the name of the file is missing"),
    ("-serial pipe:nosuch", r"mkfifo"),
    ("-serial pipe:disk.img", r"is no named pipe"),
    ("-serial tcp:localhost", r"must be tcp:HOST:PORT"),
    ("-serial tcp:localhost:1", r"tcp:localhost:1: Connection refused"),
    ("-serial tcp::1,server=perhaps", r"server=perhaps: must be on or off"),
    ("-serial unix:nosuch.sock", r"unix:nosuch.sock: No such file"),
    ("-serial unix:disk.img,server=on", r"exists and is no socket"),
    ("-serial stdio -debugcon stdio", r"-debugcon: stdio: is used twice"),
    ("-serial null -serial null -serial null -serial null", r"four serial ports"),
    ("-daemonize -debugcon stdio", r"-daemonize leaves the terminal"),
    ("-display gtk", r"no window"),
    ("-nic user", r"no network card"),
    ("-netdev user,id=n", r"no network"),
    ("-gdb nowhere", r"-gdb: 'nowhere' is none of"),
    ("-gdb tcp::1234,arch=arm", r"arch must be"),
    ("-loadvm x", r"no machine snapshots"),
    ("-pidfile nosuch/pid", r"-pidfile nosuch/pid: its directory does not exist"),
    ("-D nosuch/log", r"-D nosuch/log: its directory does not exist"),
    ("-d nosuch", r"-d: no log item 'nosuch'"),
    ("-fw_cfg opt/x", r"either file=FILE or string=TEXT"),
    ("-fw_cfg opt/x,file=nosuch", r"-fw_cfg nosuch: No such file"),
]


MANY = "help;" * 150      # more output than a small pipe holds


class Failed(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Failed(why)


def make_files(kernel):
    sizes = {"odd.img": 1000, "disk.img": 1536, "disk2.img": 1024, "cd.img": 4096, "empty.img": 0, "big.img": 8 << 20}
    for name, size in sizes.items():
        with open(name, "wb") as f:
            f.truncate(size)
    with open("qcow2.img", "wb") as f:
        f.write(b"QFI\xfb\0\0\0\3" + bytes(504))
    os.mkfifo("fifo")
    os.symlink(kernel, "KERNEL")


def listing():
    return {n: (os.lstat(n).st_size, os.lstat(n).st_mtime_ns) for n in os.listdir(".")}


def run(args, stdin=b"", **kw):
    return subprocess.run([PROGRAM] + args, input=stdin, capture_output=True, timeout=LIMIT, **kw)


def case_wrong_input():
    failures = []
    for text, pattern in WRONG:
        before = listing()
        args = text.split(" ")
        r = run(["-display", "none"] + [a for a in TRACES if "-daemonize" not in args or a != "x"] + args)
        err = r.stderr.decode()
        if r.returncode != 1 or err.count("\n") != 1 or not err.startswith("shadow86: ") or not re.search(pattern, err):
            failures.append(f"{text}: status {r.returncode}, stderr {err!r}, expected /{pattern}/")
        if r.stdout:
            failures.append(f"{text}: wrote {r.stdout!r}")
        if listing() != before:
            failures.append(f"{text}: left {set(listing()) - set(before) or 'changes'} behind")
            for name in set(listing()) - set(before):
                os.unlink(name)
    print(f"  {len(WRONG)} wrong command lines")
    need(not failures, "\n  ".join(failures))


def case_help():
    r = run(["-h"])
    text = r.stdout.decode()
    need(r.returncode == 0 and not r.stderr, "status of -h")
    with open(os.path.join(ROOT, "frontend/options.def")) as f:
        for name in re.findall(r'^OPT\("([^"]+)"', f.read(), re.M):
            need(re.search(rf"^  -{re.escape(name)}( .*)?\n        \S", text, re.M), f"-h does not explain -{name}")
    for args in ["-version"], ["--help"], ["-cpu", "help"], ["-machine", "help"], ["-d", "help"], ["-device", "help"]:
        r = run(args)
        need(r.returncode == 0 and r.stdout and not r.stderr, f"{args} prints something, status 0")


def hello(*more, append="poweroff"):
    return ["-display", "none", "-kernel", "KERNEL", "-append", append] + list(more)


def case_power_off():
    r = run(hello("-serial", "stdio"))
    need(r.returncode == 0, f"status {r.returncode}, {r.stderr}")
    need(b"built-in guest" in r.stdout and not r.stderr, "output of the guest, nothing else")


def case_harmless_options():
    r = run(hello("-serial", "stdio", "-nodefaults", "-no-user-config", "-machine", "pc,accel=kvm:tcg,usb=off", "-accel",
                  "tcg,thread=multi", "-smp", "1,cores=1", "-rtc", "base=utc,clock=vm,driftfix=slew", "-k", "de", "-audiodev",
                  "none,id=a", "-parallel", "none", "-nic", "none", "-net", "none", "-name", "guest=test,debug-threads=on",
                  "-vga", "std", "-boot", "order=c,strict=on", "-m", "size=64M", "-no-reboot"))
    need(r.returncode == 0 and b"built-in guest" in r.stdout, f"status {r.returncode}, {r.stderr}")


def case_debug_exit_status():
    r = run(hello("-serial", "null", "-device", "isa-debug-exit", append="exit"))
    need(r.returncode == 33, f"status {r.returncode}")


def case_input_at_its_end():
    """Input that ends while the guest runs, or was never there, is no reason to end."""
    with subprocess.Popen([PROGRAM] + hello("-serial", "stdio", append=""), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        expect(p.stdout.fileno(), rb"> $")
        p.stdin.write(b"poweroff\r")
        p.stdin.close()
        need(b"Power off" in p.stdout.read() and p.wait(LIMIT) == 0, f"piped input, status {p.returncode}")
    r = run(hello("-serial", "stdio"), stdin=b"")
    need(r.returncode == 0 and b"Power off" in r.stdout, f"empty input, status {r.returncode}, {r.stderr}")
    r = subprocess.run([PROGRAM] + hello("-serial", "stdio", "-hda", "disk2.img"), capture_output=True, timeout=LIMIT,
                       preexec_fn=lambda: os.close(0))
    need(r.returncode == 0 and b"built-in guest" in r.stdout, f"closed input, status {r.returncode}, {r.stderr}")


def case_input_line_by_line():
    for where in "stdio", "mon:stdio":
        with subprocess.Popen([PROGRAM] + hello("-serial", where, append=""), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as p:
            expect(p.stdout.fileno(), rb"> $")
            for i in range(20):
                p.stdin.write(b"cpu\r")
                p.stdin.flush()
                expect(p.stdout.fileno(), rb"CPU: (.|\n)*> $")
            p.stdin.write(b"poweroff\r")
            p.stdin.close()
            need(p.wait(LIMIT) == 0, f"{where}: status {p.returncode}")


def case_output_to_a_closed_pipe():
    read, write = os.pipe()
    p = subprocess.Popen([PROGRAM] + hello("-serial", "stdio"), stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    os.close(read)
    _, err = p.communicate(timeout=LIMIT)
    need(p.returncode == 0 and b"output is lost" in err, f"status {p.returncode}, {err}")


def case_slow_reader():
    """A reader who takes a pause gets everything, and the monitor works meanwhile."""
    p = subprocess.Popen([PROGRAM] + hello("-serial", "stdio", "-monitor", "unix:slow.sock,server=on,wait=off",
                                           append=MANY + "poweroff"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    small_pipe(p)
    time.sleep(3)
    m = connect("slow.sock")
    need("running" in command(m, "info status"), "the monitor answers")
    command(m, "info registers")
    out = p.stdout.read()
    count = out.count(b"poweroff - ")
    need(p.wait(LIMIT) == 0 and count == 150, f"{count} answers, 150 expected")


def case_term_with_blocked_output():
    """SIGTERM ends the run although nobody reads a full pipe."""
    p = subprocess.Popen([PROGRAM] + hello("-serial", "stdio", "-pidfile", "p.pid", append=MANY), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE)
    small_pipe(p)
    time.sleep(3)
    need(os.path.exists("p.pid"), "pidfile")
    p.terminate()
    need(p.wait(20 * SLOWER) == 0 and not os.path.exists("p.pid"), "ends, pidfile gone")
    p.stdout.close()


def small_pipe(p):
    """The program's output goes through a pipe of one page; before it has written anything."""
    fcntl.fcntl(p.stdout, fcntl.F_SETPIPE_SZ, 4096)


def connect(path):
    end = time.monotonic() + LIMIT
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            s.settimeout(LIMIT)
            return s
        except OSError:
            s.close()
            need(time.monotonic() < end, f"no socket {path}")
            time.sleep(0.05)


def read_until(s, pattern):
    got = b""
    while not re.search(pattern, got):
        part = s.recv(65536)
        need(part, f"closed before {pattern}: {got[-200:]}")
        got += part
    return got


def command(s, text):
    s.sendall(text.encode() + b"\n")
    return read_until(s, rb"\(shadow86\) $").decode()


def case_sockets():
    """Serial line as server: two visitors one after the other; a waiting server; sockets vanish at the end."""
    p = subprocess.Popen([PROGRAM] + hello("-serial", "unix:s.sock,server=on", append=""), stderr=subprocess.PIPE)
    need(b"waiting for a connection" in p.stderr.readline(), "says what it waits for")
    s = connect("s.sock")
    read_until(s, rb"> ")
    s.close()
    s = connect("s.sock")
    s.sendall(b"cpu\r")
    read_until(s, rb"CPU: ")
    s.sendall(b"poweroff\r")
    need(p.wait(LIMIT) == 0 and not os.path.exists("s.sock"), "ends, socket gone")
    p.stderr.close()


def case_tcp():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    p = subprocess.Popen([PROGRAM] + hello("-serial", f"tcp:127.0.0.1:{port}", append=""))
    s, _ = listener.accept()
    s.settimeout(LIMIT)
    read_until(s, rb"> ")
    s.sendall(b"poweroff\r")
    need(p.wait(LIMIT) == 0, "client")
    listener.close()
    p = subprocess.Popen([PROGRAM] + hello("-serial", f"tcp:127.0.0.1:{port},server=on,wait=off", append=""))
    for _ in range(200):
        try:
            s = socket.create_connection(("127.0.0.1", port), LIMIT)
            break
        except OSError:
            time.sleep(0.05)
    s.sendall(b"\rpoweroff\r")
    read_until(s, rb"Power off")
    need(p.wait(LIMIT) == 0, "server")


def case_signal_while_waiting():
    p = subprocess.Popen([PROGRAM] + hello("-serial", "unix:w.sock,server=on", "-pidfile", "w.pid"), stderr=subprocess.PIPE)
    p.stderr.readline()
    p.terminate()
    err = p.communicate(timeout=LIMIT)[1]
    need(p.returncode == 1 and not os.path.exists("w.sock") and not os.path.exists("w.pid"), f"{p.returncode}, {err}")


def case_two_serial_ports():
    r = run(hello("-serial", "file:one", "-serial", "file:two"))
    with open("one", "rb") as f:
        need(r.returncode == 0 and b"built-in guest" in f.read() and os.path.exists("two"), "both files")


def case_pty_line():
    p = subprocess.Popen([PROGRAM] + hello("-serial", "pty", append=""), stderr=subprocess.PIPE)
    name = re.search(rb"redirected to (\S+) \(label serial0\)", p.stderr.readline()).group(1)
    fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
    got = b""
    while b"> " not in got:
        got += os.read(fd, 4096)
    os.write(fd, b"poweroff\r")
    need(p.wait(LIMIT) == 0, "ends")
    os.close(fd)
    p.stderr.close()


def case_named_pipe():
    os.mkfifo("np.in")
    os.mkfifo("np.out")
    p = subprocess.Popen([PROGRAM] + hello("-serial", "pipe:np", append=""))
    out = os.open("np.out", os.O_RDONLY)
    got = b""
    while b"> " not in got:
        got += os.read(out, 4096)
    with open("np.in", "wb") as f:
        f.write(b"poweroff\r")
    need(p.wait(LIMIT) == 0, "ends")
    os.close(out)


def on_terminal(args):
    """Runs the program on a terminal of its own. Returns process, our end, the settings before."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)

    def own_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    p = subprocess.Popen([PROGRAM] + args, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
    return p, master, slave, before


def expect(fd, pattern):
    got, end = b"", time.monotonic() + LIMIT
    while not re.search(pattern, got):
        need(select.select([fd], [], [], max(0, end - time.monotonic()))[0], f"no {pattern} in {got[-300:]}")
        got += os.read(fd, 4096)
    return got


def case_terminal():
    """-nographic: keys, Ctrl-A C to the monitor and back, Ctrl-A X; the terminal is as it was."""
    p, master, slave, before = on_terminal(["-nographic", "-kernel", "KERNEL"])
    expect(master, rb"> $")
    need(not termios.tcgetattr(slave)[3] & termios.ECHO, "raw while it runs")
    os.write(master, b"cpu\r")
    expect(master, rb"CPU: (.|\n)*> $")
    os.write(master, b"\x01c")
    expect(master, rb"\(shadow86\) $")
    os.write(master, b"info status\r")
    expect(master, rb"running(.|\n)*\(shadow86\) $")
    os.write(master, b"\x01h")
    expect(master, rb"Ctrl-A X")
    os.write(master, b"\x01ccpu\r")
    expect(master, rb"CPU: ")
    os.write(master, b"\x03\x01x")          # Ctrl-C is the guest's
    expect(master, rb"ended by Ctrl-A X")
    need(p.wait(LIMIT) == 0 and termios.tcgetattr(slave) == before, "status 0, settings restored")
    os.close(master)
    os.close(slave)


def case_terminal_signals():
    """-serial stdio: Ctrl-C ends; after Ctrl-Z and fg the terminal is raw again; settings restored."""
    p, master, slave, before = on_terminal(hello("-serial", "stdio", append=""))
    expect(master, rb"> $")
    raw = termios.tcgetattr(slave)
    os.kill(p.pid, signal.SIGSTOP)
    termios.tcsetattr(slave, termios.TCSANOW, before)
    os.kill(p.pid, signal.SIGCONT)
    end = time.monotonic() + LIMIT
    while termios.tcgetattr(slave) != raw:
        need(time.monotonic() < end, "raw again after SIGCONT")
        time.sleep(0.02)
    os.write(master, b"\x03")
    need(p.wait(LIMIT) == 0 and termios.tcgetattr(slave) == before, "status 0, settings restored")
    os.close(master)
    os.close(slave)


def case_built_in_guest():
    p, master, slave, before = on_terminal([])
    expect(master, rb"built-in guest(.|\n)*> $")
    os.write(master, b"poweroff\r")
    expect(master, rb"Power off")
    need(p.wait(LIMIT) == 0 and termios.tcgetattr(slave) == before, "status 0, settings restored")
    os.close(master)
    os.close(slave)


def case_daemonize():
    r = run(hello("-serial", "file:d.serial", "-monitor", "unix:d.sock,server=on,wait=off", "-pidfile", "d.pid", "-daemonize",
                  append=""))
    need(r.returncode == 0 and not r.stdout and not r.stderr, f"returns silently: {r.stderr}")
    with open("d.pid") as f:
        pid = int(f.read())
    need(run(["-pidfile", "d.pid"] + hello("-serial", "null")).returncode == 1, "the pidfile is in use")
    m = connect("d.sock")
    need("running" in command(m, "info status"), "runs in the background")
    m.close()
    m = connect("d.sock")
    m.sendall(b"quit\n")
    end = time.monotonic() + LIMIT
    while os.path.exists("d.pid") or os.path.exists("d.sock"):
        need(time.monotonic() < end, "pidfile and socket vanish")
        time.sleep(0.05)
    need(pid != os.getpid(), "a process of its own")
    r = run(["-daemonize", "-display", "none", "-hda", "nosuch"])
    need(r.returncode == 1 and b"No such file" in r.stderr, "an error in the background is told")


def case_no_shutdown():
    """The machine stays after a power-off; the monitor can look at it and quit."""
    p = subprocess.Popen([PROGRAM] + hello("-serial", "file:n.serial", "-monitor", "unix:n.sock,server=on,wait=off",
                                           "-no-shutdown"))
    m = connect("n.sock")
    end = time.monotonic() + LIMIT
    while "paused" not in command(m, "info status"):
        need(time.monotonic() < end and p.poll() is None, "paused after power-off")
        time.sleep(0.1)
    need("RIP" in command(m, "info registers"), "registers")
    m.sendall(b"quit\n")
    need(p.wait(LIMIT) == 0, "quit")


def case_boot_once():
    """The first start boots from the floppy, the one after a reset from the disk."""
    def boot_sector(letter):
        # mov al,letter; mov dx,e9h.. : prints to COM1, then resets through port 92h... by CF9h
        code = bytes([0xba, 0xf8, 0x03, 0xb0, ord(letter), 0xee, 0xba, 0xf9, 0x0c, 0xb0, 0x02, 0xee, 0xb0, 0x06, 0xee,
                      0xf4, 0xeb, 0xfd])
        return code + bytes(510 - len(code)) + b"\x55\xaa"
    with open("once.flp", "wb") as f:
        f.write(boot_sector("F"))
        f.truncate(1474560)
    with open("once.img", "wb") as f:
        f.write(boot_sector("D"))
        f.truncate(1 << 20)
    p = subprocess.Popen([PROGRAM, "-display", "none", "-serial", "stdio", "-fda", "once.flp", "-hda", "once.img", "-boot",
                          "order=c,once=a"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    need(p.stdout.read(3) == b"FDD", "floppy, disk, disk")
    p.terminate()
    p.stdout.close()
    need(p.wait(LIMIT) == 0, "ends")


def main():
    global ROOT
    ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    kernel = os.path.join(os.path.dirname(PROGRAM), "generated/hello.elf")
    failed = 0
    words = sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_files(kernel)
        for name, function in list(globals().items()):
            if not name.startswith("case_") or (words and not any(w in name for w in words)):
                continue
            try:
                start = time.monotonic()
                function()
                print(f"ok    {name[5:]} ({time.monotonic() - start:.1f} s)", flush=True)
            except (Failed, subprocess.TimeoutExpired, OSError) as e:
                failed += 1
                print(f"FAIL  {name[5:]}: {e}", flush=True)
        os.chdir("/")
    return 1 if failed else 0


sys.exit(main())
