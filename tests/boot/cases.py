"""cases.py - the boot tests. Each row: args (options behind -display none -serial stdio), needs (files; the case is
skipped without them), before (shell commands that make scratch files), steps (do_* functions of boot.py), seconds (ctest's
time-out), long (the case belongs to the group "long"). {shared} {guests} {demo} {debian} {tmp} {build} stand for folders."""

LINUX = "console=ttyS0 autopoweroff"
LONG = {"long": True, "seconds": 7200}       # group "long": not part of a plain ./run-tests
PI = "3\\.14159265358979323846264338327950288419716939937510582097494459230781640628620(8|)"
HELLO = [("serial", "built-in guest"), ("serial", r"CPU: \w+"), ("serial", r"Memory: (\d{6}) KiB"), ("serial", "ticking")]


def linux_kernel(kernel, initrd):
    return {
        "args": ["-m", "256", "-kernel", "{guests}/" + kernel, "-initrd", "{guests}/" + initrd, "-append", LINUX],
        "needs": ["{guests}/" + kernel, "{guests}/" + initrd],
        "steps": [("serial", "Linux version", 120), ("serial", "GUEST-READY", 300), ("serial", "GUEST-SELFTEST OK", 300),
                  ("serial", "GUEST-POWEROFF", 60), ("exit", 0, 30)],
        "seconds": 900,
    }


def linux_medium(option, image):
    return {
        "args": ["-m", "256", option, "{guests}/" + image, "-snapshot"],
        "needs": ["{guests}/" + image],
        "steps": [("serial", "Linux version", 300), ("serial", "GUEST-READY", 300), ("serial", "GUEST-SELFTEST OK", 300),
                  ("send", "poweroff -f\n"), ("exit", 0, 60)],
        "seconds": 900,
    }


def bootos(program, *steps):
    return {
        "args": ["-fda", "{shared}/bootos.img", "-snapshot"],
        "needs": ["{shared}/bootos.img"],
        "steps": [("screen", r"(?m)^bootOS\n\$$"), ("type", program + "\n"), *steps],
        "seconds": 120,
    }


def grub_shell(devices):
    """GRUB's menu to its command line, which lists the devices."""
    return [("keys", "c"), ("screen", "grub> *$"), ("type", "ls\n"), ("screen", devices)]


def memtest86plus(kind, *steps):
    return {
        "args": ["-m", "64", "-cdrom", "{guests}/memtest86+" + kind + ".iso"],
        "needs": ["{guests}/memtest86+" + kind + ".iso"],
        "steps": [("screen", r"Memtest86\+ v6", 120), ("screen", r"(?s)64MB.*Pass: +0 +Errors: 0\b", 60), *steps],
        "seconds": 600,
    }


CASES = {
    # ---- the built-in guest
    "hello": {
        "args": ["-m", "256", "-kernel", "{build}/generated/hello.elf", "-append", "test;date;pci"],
        "steps": HELLO + [("serial", "Self-test: .* OK"), ("serial", r"Date: 20\d\d-"), ("serial", "8086:1237"), ("serial", "> "),
                          ("send", "mem\r"), ("serial", "Memory: "), ("screen", "Memory: "), ("idle", 0.2),
                          ("type", "cpu\n"), ("serial", "CPU: "), ("send", "poweroff\r"), ("exit", 0)],
    },
    "hello-pvh": {
        "args": ["-m", "256", "-kernel", "{build}/generated/hello-pvh.elf", "-append", "test;poweroff"],
        "steps": [("serial", "built-in guest"), ("serial", "Started as a PVH kernel"), ("serial", "Self-test: .* OK"), ("exit", 0)],
    },
    "hello-debug-exit": {
        "args": ["-kernel", "{build}/generated/hello.elf", "-append", "exit", "-device", "isa-debug-exit,iobase=0x501,iosize=2"],
        "steps": [("exit", 33, 60)],        # (0x10 << 1) | 1
    },
    "hello-reboot": {
        "args": ["-kernel", "{build}/generated/hello.elf", "-append", "cpu"],
        "steps": HELLO[:1] + [("serial", "> "), ("send", "reboot\r"), ("serial", "built-in guest"), ("serial", "> "),
                              ("monitor", "system_reset"), ("serial", "built-in guest"), ("serial", "> ")],
    },
    "hello-no-reboot": {
        "args": ["-kernel", "{build}/generated/hello.elf", "-append", "reboot", "-no-reboot"],
        "steps": HELLO[:1] + [("exit", 0)],
    },
    "hello-icount": {
        "args": ["-m", "256", "-icount", "shift=4", "-kernel", "{build}/generated/hello.elf", "-append", "test;poweroff"],
        "steps": HELLO + [("serial", "Self-test: .* OK"), ("exit", 0)],
    },
    "hello-stop": {
        "args": ["-S", "-kernel", "{build}/generated/hello.elf"],
        "steps": [("monitor", "info status", "paused"), ("monitor", "info registers", "(?i)fff0"), ("monitor", "cont"),
                  ("serial", "> "), ("monitor", "stop"), ("monitor", "info status", "paused"), ("monitor", "cont"),
                  ("send", "help\r"), ("serial", "poweroff - "), ("monitor", "info pci", "1234:1111|VGA|8086"), ("monitor", "quit"),
                  ("exit", 0)],
    },
    # ---- firmware
    "seabios-menu": {
        "args": ["-boot", "menu=on,splash-time=5000", "-hda", "{tmp}/disk.img", "-fda", "{shared}/mikeos.flp", "-snapshot"],
        "needs": ["{shared}/mikeos.flp"],
        "before": ["truncate -s 16M {tmp}/disk.img"],
        "steps": [("screen", "SeaBIOS"), ("screen", "Press ESC for boot menu"), ("keys", "esc"), ("screen", "Select boot device"),
                  ("screen", "(?s)1\\..*2\\."), ("screen", "ata0-0")],
    },
    # ---- boot sectors and DOS
    "bootos": {
        "args": ["-fda", "{tmp}/bootos.img"],
        "needs": ["{shared}/bootos.img"],
        "before": ["cp {shared}/bootos.img {tmp}/bootos.img && chmod u+w {tmp}/bootos.img"],
        "steps": [("screen", r"(?m)^bootOS\n\$$"), ("type", "dir\n"), ("screen", r"(?s)fbird\n.*invaders\n.*bootle\n\$$"),
                  ("type", "counter\n"), ("screen", r"\*06\n\$$"), ("type", "counter\n"),    # it counts in its own sector
                  ("screen", r"\*07\n\$$"), ("type", "basic\n"), ("screen", ">$"), ("type", "10 print 67\n20 goto 10\nlist\n"),
                  ("screen", "(?m)^10 print 67\n20 goto 10\n>$"), ("type", "run\n"), ("screen", "(?m)(^67\n){20}"),
                  ("monitor", "system_reset"), ("screen", r"(?m)^bootOS\n\$$"), ("type", "counter\n"), ("screen", r"\*08\n\$$")],
    },
    # Its programs, each in a machine of its own: text mode, 40 columns, mode 13h, the timer's count, x87.
    "bootos-fbird": bootos("fbird", ("screen", "(?s)F-BIRD.*▀{80}")),
    "bootos-pi": bootos("pi", ("screen", "^3\\.1415926535.*\n[0-9]{80}\n[0-9]*582097494459230781|^" + PI)),
    "bootos-chess": bootos("atomchess", ("screen", r"rnbqkbnr\npppppppp\n(\.{8}\n){4}PPPPPPPP\nRNBQKBNR"), ("type", "e2e4\n"),
                           ("screen", r"(?s)RNBQKBNR.*PPPP\.PPP\nRNBQKBNR.*PPPP\.PPP\nRNBQKBNR")),
    "bootos-rogue": bootos("rogue", ("screen", "(?s)╔═+╗.*║·*║?.*╬▒+╬.*☺")),
    "bootos-sokoban": bootos("sokoban", ("screen", "∙  ▓♦▓▓▓▓  ▓\n *▓∙∙    ☺ ▓▓  ▓"), ("keys", "left", "left"), ("screen", "▓∙∙  ☺   ▓▓  ▓")),
    "bootos-mine": bootos("mine", ("screen", "(?m)(^[0-8* ]{40}\n){24}")),
    "bootos-mode13h": bootos("invaders", ("graphics", 320, 200, 40)),
    "bootos-pillman": bootos("pillman", ("graphics", 320, 200, 4)),
    "bootos-cubicdoom": bootos("cubicdoom", ("graphics", 320, 200, 10)),
    "bootos-heart": bootos("heart", ("graphics", 320, 200, 2)),
    "freedos": {
        "args": ["-fda", "{tmp}/dos.img", "-hda", "{tmp}/disk.img"],
        "needs": ["{shared}/freedos-144.img"],
        "before": ["cp {shared}/freedos-144.img {tmp}/dos.img && chmod u+w {tmp}/dos.img", "truncate -s 16M {tmp}/disk.img"],
        "steps": [("screen", r"A:\\>$", 120), ("type", "ver\n"), ("screen", r"(?s)ver\nFreeCom version 0.8.*\nA:\\>$"),
                  ("type", "dir\n"), ("screen", r"(?s)KERNEL +SYS +45,450.* 5 file\(s\) +112,371 bytes\n.* bytes free.*A:\\>$"),
                  ("type", "copy kernel.sys k2.sys\n"), ("screen", r"kernel.sys => k2.sys\nA:\\>$"), ("type", "md sub\ncd sub\n"),
                  ("screen", r"A:\\SUB>$"), ("type", "type ..\\config.sys\n"), ("screen", r"(?is)config\.sys\n.*=.*\nA:\\SUB>$"),
                  ("monitor", "quit"), ("exit", 0),
                  ("host", "mdir -b -i {tmp}/dos.img ::/SUB && mcopy -i {tmp}/dos.img ::/KERNEL.SYS {tmp}/k1 && "
                           "mcopy -i {tmp}/dos.img ::/K2.SYS {tmp}/k2 && cmp {tmp}/k1 {tmp}/k2")],
    },
    "freedos-disk": {
        "args": ["-hda", "{guests}/dos.img", "-snapshot"],
        "needs": ["{guests}/dos.img"],
        "steps": [("serial", "GUEST-READY", 120), ("screen", r"C:\\>$")],
    },
    "mikeos": {
        "args": ["-fda", "{shared}/mikeos.flp", "-snapshot"],
        "needs": ["{shared}/mikeos.flp"],
        "steps": [("screen", "Welcome to MikeOS", 60), ("screen", "(?s)OK.*Cancel"), ("screen", "Version 4.6.1"), ("keys", "ret"),
                  ("screen", r"(?s)KERNEL\.BIN\n.*FISHER\.BIN\n.*CALC\.BAS", 60), ("keys", "down", "down", "ret"),
                  ("screen", "(?i)file manager|delete a file", 60)],
    },
    # ---- boot loaders and kernels that are not Linux
    "grub-floppy": {
        "args": ["-fda", "{guests}/grub-rescue-floppy.img", "-snapshot"],
        "needs": ["{guests}/grub-rescue-floppy.img"],
        "steps": [("screen", "GNU GRUB +version 2", 180), *grub_shell(r"(?s)ls\n.*\(fd0\)")],
    },
    "grub-cd": {
        "args": ["-cdrom", "{guests}/grub-rescue-cdrom.iso"],
        "needs": ["{guests}/grub-rescue-cdrom.iso"],
        "steps": [("screen", "GNU GRUB +version 2", 120), *grub_shell(r"(?s)ls\n.*\(cd\)"), ("type", "ls /boot/grub/i386-pc/\n"),
                  ("screen", r"zstd\.mod\s+grub>"), ("type", "reboot\n"), ("screen", "GNU GRUB +version 2")],
    },
    "grub-disk": {              # GRUB in the master boot record and the gap behind it
        "args": ["-hda", "{guests}/gnumach.img", "-snapshot"],
        "needs": ["{guests}/gnumach.img"],
        "steps": [("screen", "GNU GRUB +version 2", 120), *grub_shell(r"(?s)ls\n.*\(hd0\) \(hd0,msdos1\)"),
                  ("type", "ls (hd0,msdos1)/boot/\n"), ("screen", r"gnumach.*\n")],
    },
    "invaders": {
        "args": ["-hda", "{guests}/invaders.img", "-snapshot"],
        "needs": ["{guests}/invaders.img"],
        "steps": [("screen", r"(?s)-\*- .* _\n +/ \\", 120), ("keys", "p"), ("screen", "PAUSE")],
    },
    "gnumach": {
        "args": ["-m", "256", "-hda", "{guests}/gnumach.img", "-snapshot"],
        "needs": ["{guests}/gnumach.img"],
        "steps": [("serial", "GNU Mach", 120), ("serial", "No bootstrap code loaded", 120)],
    },
    "memtest86": {
        "args": ["-m", "64", "-hda", "{guests}/memtest86.img", "-snapshot", "-cpu", "pentium3"],
        "needs": ["{guests}/memtest86.img"],
        "steps": [("screen", r"Memtest86 v4\.3\.7", 120), ("screen", r"(?s)Test #4 .*Errors: +0\b", 400)],
        "seconds": 600,
    },
    "memtest86+ia32": memtest86plus("ia32", ("screen", r"(?s)Test #3.*Errors: 0\b", 300)),
    "memtest86+x64": memtest86plus("x64", ("screen", r"(?s)Test #3.*Errors: 0\b", 300)),
    # A pass over all the memory without the three slowest tests (6, 9, and 10, which sleeps); the whole pass is long.
    "memtest86+pass": {
        "args": ["-m", "64", "-cdrom", "{guests}/memtest86+ia32.iso"],
        "needs": ["{guests}/memtest86+ia32.iso"],
        "steps": [("screen", "Press <F1> to configure", 120), ("keys", "f1"), ("screen", "<F1> +Test selection"), ("keys", "f1"),
                  ("screen", "Current selection"), ("keys", "f5", "f2"), ("type", "6\n"), ("screen", r"\*{6}\.\*{4}"), ("keys", "f2"),
                  ("type", "9\n"), ("screen", r"\*{6}\.\*\*\.\*"), ("keys", "f2"), ("type", "10\n"), ("screen", r"\*{6}\.\*\*\.\."),
                  ("keys", "f10"), ("screen", "<F10> Exit menu"), ("keys", "f10"), ("screen", "Test #1", 60),
                  ("screen", r"(?s)Pass: +1 +Errors: 0\b", 2000)],
        "seconds": 2400,
    },
    "memtest86+ia32-whole-pass": memtest86plus("ia32", ("screen", r"(?s)Pass: +1 +Errors: 0\b", 7000)) | LONG,
    "memtest86+x64-whole-pass": memtest86plus("x64", ("screen", r"(?s)Pass: +1 +Errors: 0\b", 7000)) | LONG,
    "ipxe": {
        "args": ["-m", "64", "-cdrom", "{guests}/ipxe.iso", "-boot", "order=d"],
        "needs": ["{guests}/ipxe.iso"],
        "steps": [("screen", r"iPXE initialising devices\.\.\.ok", 120), ("screen", r"iPXE 1\.0\.0"), ("screen", "Features: DNS HTTP")],
    },
    "xen": {                    # a hypervisor and its first domain: rings 0 and 3 in long mode, page tables checked by Xen
        "args": ["-m", "512", "-hda", "{guests}/xen.img", "-snapshot"],
        "needs": ["{guests}/xen.img"],
        "steps": [("serial", r"Xen version 4\.\d+", 120), ("serial", "Linux version", 300), ("serial", "GUEST-READY", 600),
                  ("serial", "GUEST-SELFTEST OK", 300), ("serial", "/ # "), ("send", "poweroff -f\n"), ("exit", 0, 120)],
        "seconds": 1500,
    },
    # ---- Linux
    "linux-demo": {
        "args": ["-m", "256", "-kernel", "{demo}/vmlinuz", "-initrd", "{demo}/initrd.gz", "-append", LINUX, "-no-reboot"],
        "needs": ["{demo}/vmlinuz", "{demo}/initrd.gz"],
        "steps": [("serial", "Linux version", 120), ("serial", "GUEST-READY", 300), ("exit", 0, 60)],
        "seconds": 600,
    },
    "linux-amd64": linux_kernel("vmlinuz-amd64", "initrd-amd64.gz"),
    "linux-686": linux_kernel("vmlinuz-686", "initrd-i386.gz"),
    "linux-amd64-disk": linux_medium("-hda", "linux-amd64.img"),
    "linux-686-disk": linux_medium("-hda", "linux-686.img"),
    "linux-686-cd": linux_medium("-cdrom", "linux-686.iso"),
    # The whole of Debian: GRUB, ext4 on IDE, systemd, frame buffer, logins; fsck after a clean power-off. Counted time keeps
    # systemd's time-outs away from a busy host.
    "debian-disk": {
        "args": ["-icount", "shift=3", "-m", "512", "-hda", "{tmp}/deb.img"],
        "needs": ["{debian}/deb-amd64.img"],
        "before": ["cp --sparse=always {debian}/deb-amd64.img {tmp}/deb.img"],
        "steps": [("serial", "Linux version", 300), ("serial", "GUEST-READY debian=12", 1800), ("serial", "GUEST-FAILED-UNITS none"), ("graphics", 1024, 768, 2, 300),
                  ("serial", "guest login:", 300), ("send", "root\n"), ("serial", "guest:~#", 300), ("send", "poweroff\n"),
                  ("exit", 0, 900), ("host", "/sbin/e2fsck -fn {tmp}/deb.img?offset=1048576")],
    } | LONG,
    "linux-idle": {
        "args": ["-m", "256", "-kernel", "{guests}/vmlinuz-amd64", "-initrd", "{guests}/initrd-amd64.gz", "-append",
                 "console=ttyS0 noselftest"],
        "needs": ["{guests}/vmlinuz-amd64", "{guests}/initrd-amd64.gz"],
        "steps": [("serial", "GUEST-READY", 300), ("serial", "to end"), ("idle", 0.1), ("monitor", "system_powerdown"),
                  ("send", "echo $((6*7))\n"), ("serial", "42"), ("send", "poweroff -f\n"), ("exit", 0, 60)],
        "seconds": 600,
    },
    "linux-ide-root": {
        "args": ["-m", "256", "-kernel", "{guests}/vmlinuz-amd64", "-initrd", "{tmp}/initrd.gz", "-append",
                 "console=ttyS0", "-hda", "{tmp}/root.img"],
        "needs": ["{guests}/vmlinuz-amd64", "{guests}/.cache/root/k-amd64/lib/modules"],
        "before": ["{here}/make-ide-root {guests} {tmp}"],
        "steps": [("serial", "ROOT-IS ext4 rw", 300), ("serial", "ROOT-OK", 200), ("exit", 0, 60),
                  ("host", "PATH=$PATH:/sbin:/usr/sbin; e2fsck -fn {tmp}/root.img"),
                  ("host", "PATH=$PATH:/sbin:/usr/sbin; cd {tmp}/keep && debugfs -R 'dump /sums ../sums' ../root.img && test $(wc -l < ../sums) = 200 && "
                           "md5sum -c --quiet ../sums && debugfs -R 'ls -p /new/5' ../root.img | grep -c '^/' | grep -qx 202 && "
                           "debugfs -R 'stat /drop' ../root.img 2>&1 | grep -q 'not found'")],
        "seconds": 600,
    },
}
