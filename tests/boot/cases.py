"""cases.py - the boot tests. Each row: args (options behind -display none -serial stdio), needs (files; the case is
skipped without them), before (shell commands that make scratch files), steps (do_* functions of boot.py), seconds (ctest's
time-out). {shared} {guests} {demo} {tmp} {build} stand for folders."""

LINUX = "console=ttyS0 autopoweroff"
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
        "args": ["-fda", "{shared}/bootos.img", "-snapshot"],
        "needs": ["{shared}/bootos.img"],
        "steps": [("screen", "(?s)bootOS.*\\$"), ("type", "dir\n"), ("screen", "(?s)fbird.*\\$"), ("type", "fbird\n"), ("sleep", 1),
                  ("keys", "spc", "spc")],
    },
    "bootos-mode13h": {
        "args": ["-fda", "{shared}/bootos.img", "-snapshot"],
        "needs": ["{shared}/bootos.img"],
        "steps": [("screen", "(?s)bootOS.*\\$"), ("type", "invaders\n"), ("graphics", 320, 200, 3)],
    },
    "freedos": {
        "args": ["-fda", "{shared}/freedos-144.img", "-snapshot"],
        "needs": ["{shared}/freedos-144.img"],
        "steps": [("screen", "A:\\\\>", 120), ("type", "ver\n"), ("screen", "(?i)freecom"), ("type", "dir\n"), ("screen", "bytes free")],
    },
    "freedos-disk": {
        "args": ["-hda", "{guests}/dos.img", "-snapshot"],
        "needs": ["{guests}/dos.img"],
        "steps": [("serial", "GUEST-READY", 120), ("screen", "C:\\\\>")],
    },
    "mikeos": {
        "args": ["-fda", "{shared}/mikeos.flp", "-snapshot"],
        "needs": ["{shared}/mikeos.flp"],
        "steps": [("screen", "Welcome to MikeOS", 60), ("screen", "(?s)OK.*Cancel"), ("screen", "Version 4.6.1"), ("keys", "ret"),
                  ("screen", "(?i)\\.BIN|\\.BAS", 60)],
    },
    # ---- boot loaders and kernels that are not Linux
    "grub-floppy": {
        "args": ["-fda", "{guests}/grub-rescue-floppy.img", "-snapshot"],
        "needs": ["{guests}/grub-rescue-floppy.img"],
        "steps": [("screen", "GNU GRUB|grub>", 180)],
    },
    "grub-cd": {
        "args": ["-cdrom", "{guests}/grub-rescue-cdrom.iso"],
        "needs": ["{guests}/grub-rescue-cdrom.iso"],
        "steps": [("screen", "GNU GRUB|grub>", 120)],
    },
    "invaders": {
        "args": ["-hda", "{guests}/invaders.img", "-snapshot"],
        "needs": ["{guests}/invaders.img"],
        "steps": [("screen", "(?i)invaders", 120)],
    },
    "gnumach": {
        "args": ["-m", "256", "-hda", "{guests}/gnumach.img", "-snapshot"],
        "needs": ["{guests}/gnumach.img"],
        "steps": [("serial", "GNU Mach", 120), ("serial", "No bootstrap code loaded", 120)],
    },
    "memtest86": {
        "args": ["-m", "64", "-hda", "{guests}/memtest86.img", "-snapshot", "-cpu", "pentium3"],
        "needs": ["{guests}/memtest86.img"],
        "steps": [("screen", "(?i)memtest86", 120), ("screen", "Test #?1|Test #2", 180)],
        "seconds": 400,
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
    "linux-idle": {
        "args": ["-m", "256", "-kernel", "{guests}/vmlinuz-amd64", "-initrd", "{guests}/initrd-amd64.gz", "-append",
                 "console=ttyS0 noselftest"],
        "needs": ["{guests}/vmlinuz-amd64", "{guests}/initrd-amd64.gz"],
        "steps": [("serial", "GUEST-READY", 300), ("serial", "to end"), ("idle", 0.1), ("monitor", "system_powerdown"),
                  ("send", "echo $((6*7))\n"), ("serial", "42"), ("send", "poweroff -f\n"), ("exit", 0, 60)],
        "seconds": 600,
    },
    "linux-ide-root": {
        "args": ["-m", "256", "-kernel", "{guests}/vmlinuz-amd64", "-initrd", "{guests}/initrd-amd64-hw.gz", "-append",
                 LINUX + " noselftest nodhcp guestcmd=\"mount -t ext4 /dev/sda /mnt && cd /mnt && tar xf t.tar && "
                 "chroot /mnt /bin/busybox sh -c 'busybox find / -xdev -type f | busybox xargs busybox md5sum > /sums' && rm -r d/1 && "
                 "cd / && umount /mnt && echo ROOT-OK\"", "-hda", "{tmp}/root.img"],
        "needs": ["{guests}/vmlinuz-amd64", "{guests}/initrd-amd64-hw.gz"],
        "before": ["cd {tmp} && mkdir -p r/bin d/1 d/2 && gzip -dc {guests}/initrd-amd64.gz | (cd r && cpio -id --quiet bin/busybox) && "
                   "for i in 1 2; do for j in $(seq 200); do head -c $((j*100)) /dev/urandom > d/$i/$j; done; done && tar cf r/t.tar d && "
                   "truncate -s 64M root.img && /sbin/mke2fs -q -t ext4 -d r root.img"],
        "steps": [("serial", "GUEST-BLOCK sda", 600), ("serial", "ROOT-OK", 300), ("serial", "GUEST-CMD-EXIT 0"), ("exit", 0, 60),
                  ("host", "/sbin/e2fsck -fn {tmp}/root.img"),
                  ("host", "cd {tmp} && /sbin/debugfs -R 'dump /sums sums' root.img 2>/dev/null && sed -n 's# /d/2# d/2#p' sums > want && "
                           "test $(wc -l < want) = 200 && md5sum -c --quiet want")],
        "seconds": 900,
    },
}
