/* main.c - the built-in guest: shows that the machine works, and is a test guest.
 *
 * Freestanding 32-bit C. Speaks on the VGA text screen and on COM1 at once, listens to the keyboard and COM1.
 * What -append says runs as commands, separated by ';': "cpu;ticks;poweroff".
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct frame { u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, vector, error, eip, cs, eflags; };

/* ------------------------------------------------------------------ ports ----- */
static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static inline u8 inb(u16 port) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u32 inl(u16 port) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

enum { COM1 = 0x3f8, PIC1 = 0x20, PIC2 = 0xa0, PIT = 0x40, KBD = 0x60, PCI_ADDR = 0xcf8, PCI_DATA = 0xcfc };
enum { TICKS_PER_SECOND = 100, PIT_HZ = 1193182, COLUMNS = 80, ROWS = 25 };

/* ------------------------------------------------------------------ screen and serial line ----- */
static volatile u16 *const screen = (volatile u16 *)0xb8000;
static unsigned row, column;

static void scroll(void)
{
    for (unsigned i = 0; i < (ROWS - 1) * COLUMNS; i++)
        screen[i] = screen[i + COLUMNS];
    for (unsigned i = (ROWS - 1) * COLUMNS; i < ROWS * COLUMNS; i++)
        screen[i] = 0x0720;
    row = ROWS - 1;
}

static void cursor(void)
{
    u16 at = (u16)(row * COLUMNS + column);
    outb(0x3d4, 14);
    outb(0x3d5, (u8)(at >> 8));
    outb(0x3d4, 15);
    outb(0x3d5, (u8)at);
}

static void screen_char(char c)
{
    if (c == '\r')
        column = 0;
    else if (c == '\b')
        column -= column > 0;
    else if (c == '\n' || column == COLUMNS) {
        column = 0;
        if (++row == ROWS)
            scroll();
    }
    if ((u8)c >= ' ')
        screen[row * COLUMNS + column++] = (u16)(0x0700 | (u8)c);
    cursor();
}

static void serial_char(char c)
{
    for (unsigned n = 0; !(inb(COM1 + 5) & 0x20) && n < 100000; n++)
        ;
    outb(COM1, (u8)c);
}

static void put(char c)
{
    screen_char(c);
    if (c == '\n')
        serial_char('\r');
    serial_char(c);
}

static void print(const char *s)
{
    while (*s)
        put(*s++);
}

static void print_number(u32 v, u32 base, unsigned width, char pad)
{
    char digits[12];
    unsigned n = 0;
    do
        digits[n++] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (width > n) {
        put(pad);
        width--;
    }
    while (n)
        put(digits[--n]);
}

static void print_dec(u32 v) { print_number(v, 10, 0, ' '); }
static void print_hex(u32 v, unsigned width) { print_number(v, 16, width, '0'); }

/* ------------------------------------------------------------------ interrupts ----- */
extern u8 stubs[];
static u64 idt[48];
static volatile u32 ticks;
static volatile char typed[64];
static volatile unsigned typed_in, typed_out;

static void key_typed(char c)
{
    if (typed_in - typed_out < sizeof typed)
        typed[typed_in++ % sizeof typed] = c;
}

static void keyboard_interrupt(void)
{
    static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
    static const char shifted[] = "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
    static int shift;
    u8 code = inb(KBD);
    if (code == 0x2a || code == 0x36)
        shift = 1;
    else if (code == 0xaa || code == 0xb6)
        shift = 0;
    else if (code < sizeof plain - 1 && plain[code])
        key_typed(shift ? shifted[code] : plain[code]);
}

void interrupt(struct frame *f);
void interrupt(struct frame *f)
{
    if (f->vector < 32) {
        print("\nexception ");
        print_dec(f->vector);
        print(" error ");
        print_hex(f->error, 4);
        print(" at ");
        print_hex(f->eip, 8);
        print("\n");
        for (;;)
            __asm__ volatile("cli; hlt");
    }
    u32 irq = f->vector - 32;
    if (irq == 0)
        ticks++;
    else if (irq == 1)
        keyboard_interrupt();
    else if (irq == 4)
        while (inb(COM1 + 5) & 1)
            key_typed((char)inb(COM1));
    if (irq >= 8)
        outb(PIC2, 0x20);
    outb(PIC1, 0x20);
}

static void set_up_interrupts(void)
{
    static struct { u16 limit; u32 base; } __attribute__((packed)) idtr;
    for (unsigned i = 0; i < 48; i++) {
        u32 at = (u32)stubs + i * 16;
        idt[i] = (at & 0xffff) | 0x08u << 16 | (u64)((at & 0xffff0000) | 0x8e00) << 32;
    }
    idtr.limit = sizeof idt - 1;
    idtr.base = (u32)idt;
    __asm__ volatile("lidt %0" : : "m"(idtr));
    static const u8 init[][2] = { { 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, 0x20 }, { 0xa1, 0x28 }, { 0x21, 4 }, { 0xa1, 2 },
                                  { 0x21, 1 }, { 0xa1, 1 }, { 0x21, 0xec /* 0, 1, 4 */ }, { 0xa1, 0xff } };
    for (unsigned i = 0; i < sizeof init / sizeof init[0]; i++)
        outb(init[i][0], init[i][1]);
    outb(PIT + 3, 0x34);
    outb(PIT, (u8)(PIT_HZ / TICKS_PER_SECOND));
    outb(PIT, PIT_HZ / TICKS_PER_SECOND >> 8);
    outb(COM1 + 3, 0x80);
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    outb(COM1 + 2, 7);
    outb(COM1 + 4, 0x0b);
    outb(COM1 + 1, 1);
    __asm__ volatile("sti");
}

/* ------------------------------------------------------------------ commands ----- */
struct multiboot { u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr; };
enum { MULTIBOOT_MAGIC = 0x2badb002, PVH_MAGIC = 0x336ec578 };
struct pvh { u32 magic, version, flags, modules; u64 modlist, cmdline, rsdp, memmap; u32 entries; };
static u32 boot_magic;
static const void *boot_info;

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static void cpuid(u32 leaf, u32 out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}

static void cmd_cpu(void)
{
    u32 r[4];
    char text[49];
    cpuid(0, r);
    u32 vendor[3] = { r[1], r[3], r[2] };
    for (unsigned i = 0; i < 12; i++)
        text[i] = ((char *)vendor)[i];
    text[12] = 0;
    print("CPU: ");
    print(text);
    cpuid(0x80000000, r);
    if (r[0] >= 0x80000004) {
        for (u32 i = 0; i < 3; i++) {
            cpuid(0x80000002 + i, r);
            for (unsigned j = 0; j < 16; j++)
                text[i * 16 + j] = ((char *)r)[j];
        }
        text[48] = 0;
        print(", ");
        print(text);
    }
    cpuid(1, r);
    print(", family ");
    print_dec((r[0] >> 8 & 15) + (r[0] >> 20 & 255));
    print(" model ");
    print_dec((r[0] >> 4 & 15) | (r[0] >> 12 & 0xf0));
    print("\n");
}

/* One range of an E820-like map: its KiB if it is usable RAM (type 1). */
static u32 usable(u64 length, u32 type) { return type == 1 ? (u32)(length >> 10) : 0; }

static u32 multiboot_memory(const struct multiboot *boot)
{
    u32 end = boot->mmap_addr + boot->mmap_length, total = 0;
    if (!(boot->flags & 64))
        return boot->mem_lower + boot->mem_upper;
    for (u32 p = boot->mmap_addr; p < end; p += *(u32 *)p + 4) {
        const struct { u32 size; u64 base, length; u32 type; } __attribute__((packed)) *e = (void *)p;
        total += usable(e->length, e->type);
    }
    return total;
}

static u32 pvh_memory(const struct pvh *boot)
{
    const struct { u64 base, length; u32 type, reserved; } *map = (void *)(u32)boot->memmap;
    u32 total = 0;
    for (u32 i = 0; boot->version >= 1 && i < boot->entries; i++)
        total += usable(map[i].length, map[i].type);
    return total;
}

static void cmd_memory(void)
{
    print("Memory: ");
    print_dec(boot_magic == PVH_MAGIC ? pvh_memory(boot_info) : multiboot_memory(boot_info));
    print(" KiB usable\n");
}

static const char *boot_cmdline(void)
{
    if (boot_magic == PVH_MAGIC)
        return (const char *)(u32)((const struct pvh *)boot_info)->cmdline;
    const struct multiboot *m = boot_info;
    return m->flags & 4 ? (const char *)m->cmdline : 0;
}

static void sleep_ticks(u32 n)
{
    for (u32 start = ticks; ticks - start < n;)
        __asm__ volatile("hlt");
}

static void cmd_ticks(void)
{
    sleep_ticks(10);
    print("Timer: ");
    print_dec(ticks);
    print(" ticks at 100 Hz, ticking\n");
}

static u8 cmos(u8 reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

static void cmd_date(void)
{
    print("Date: ");
    print_hex(cmos(0x32), 2);
    print_hex(cmos(9), 2);
    print("-");
    print_hex(cmos(8), 2);
    print("-");
    print_hex(cmos(7), 2);
    print(" ");
    print_hex(cmos(4), 2);
    print(":");
    print_hex(cmos(2), 2);
    print(":");
    print_hex(cmos(0), 2);
    print("\n");
}

static u32 pci_read(u32 devfn, u32 reg)
{
    outl(PCI_ADDR, 0x80000000 | devfn << 8 | reg);
    return inl(PCI_DATA);
}

static void cmd_pci(void)
{
    for (u32 devfn = 0; devfn < 256; devfn++) {
        u32 id = pci_read(devfn, 0);
        if ((id & 0xffff) == 0xffff)
            continue;
        print("PCI 00:");
        print_hex(devfn >> 3, 2);
        print(".");
        print_dec(devfn & 7);
        print(" ");
        print_hex(id & 0xffff, 4);
        print(":");
        print_hex(id >> 16, 4);
        print(" class ");
        print_hex(pci_read(devfn, 8) >> 16, 4);
        print("\n");
    }
}

/* A little of each kind of arithmetic, with known results. */
static void cmd_test(void)
{
    u32 crc = ~0u;
    for (u32 i = 0; i < 100000; i++) {
        crc ^= i & 255;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    double pi = 0;
    __asm__ volatile("fninit");     /* the BIOS leaves the FPU as it was at power-on */
    for (int i = 0; i < 10000; i++)
        pi += (i & 1 ? -4.0 : 4.0) / (2 * i + 1);
    u32 micro = (u32)(pi * 1000000);
    print("Self-test: crc ");
    print_hex(~crc, 8);
    print(" pi ");
    print_dec(micro);
    print(~crc == 0xaacf4fc9 && micro == 3141492 ? " OK\n" : " WRONG\n");
}

static void cmd_clear(void)
{
    row = column = 0;
    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        screen[i] = 0x0720;
    print("\033[H\033[2J");
}

/* ACPI: the power management base is in PCI function 00:01.3, SLP_TYP 0 is S5 there. */
static void cmd_poweroff(void)
{
    u32 base = pci_read(0x0b, 0x40) & 0xffc0;
    print("Power off\n");
    outw((u16)(base + 4), 0x2000);
    sleep_ticks(TICKS_PER_SECOND);
    print("The machine did not switch off\n");
}

static void cmd_reboot(void)
{
    print("Reboot\n");
    outb(0xcf9, 2);
    outb(0xcf9, 6);
}

static void cmd_exit(void) { outb(0x501, 0x10); }
static void cmd_fault(void) { __asm__ volatile("ud2"); }

static void cmd_help(void);
static const struct { const char *name; void (*run)(void); const char *help; } commands[] = {
    { "help", cmd_help, "this list" },
    { "cpu", cmd_cpu, "the processor" },
    { "mem", cmd_memory, "memory found" },
    { "ticks", cmd_ticks, "is the timer ticking?" },
    { "date", cmd_date, "the clock" },
    { "pci", cmd_pci, "devices" },
    { "test", cmd_test, "integer and floating-point self-test" },
    { "clear", cmd_clear, "clear the screen" },
    { "fault", cmd_fault, "an invalid instruction" },
    { "exit", cmd_exit, "write to isa-debug-exit at port 0x501" },
    { "reboot", cmd_reboot, "reset the machine" },
    { "poweroff", cmd_poweroff, "switch it off" },
};

static void cmd_help(void)
{
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        print("  ");
        print(commands[i].name);
        print(" - ");
        print(commands[i].help);
        print("\n");
    }
}

static void run(const char *line)
{
    if (!*line)
        return;
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (same(line, commands[i].name)) {
            commands[i].run();
            return;
        }
    print("no command '");
    print(line);
    print("' (try help)\n");
}

static char wait_for_key(void)
{
    for (;;) {
        __asm__ volatile("cli");
        if (typed_in != typed_out)
            break;
        __asm__ volatile("sti; hlt");
    }
    char c = typed[typed_out++ % sizeof typed];
    __asm__ volatile("sti");
    return c;
}

static void prompt(void)
{
    char line[80];
    unsigned n = 0;
    print("> ");
    for (;;) {
        char c = wait_for_key();
        if (c == '\r' || c == '\n') {
            put('\n');
            line[n] = 0;
            run(line);
            return;
        }
        if ((c == '\b' || c == 127) && n) {
            n--;
            print("\b \b");
        } else if ((u8)c >= ' ' && n < sizeof line - 1) {
            line[n++] = c;
            put(c);
        }
    }
}

/* Commands separated by ';'. */
static void run_boot_commands(const char *s)
{
    while (*s) {
        char line[80];
        unsigned n = 0;
        while (*s == ' ' || *s == ';')
            s++;
        while (*s && *s != ';' && n < sizeof line - 1)
            line[n++] = *s++;
        line[n] = 0;
        run(line);
    }
}

void main(u32 magic, const void *info);
void main(u32 magic, const void *info)
{
    boot_magic = magic;
    boot_info = info;
    cmd_clear();
    set_up_interrupts();
    print("shadow86 built-in guest: a PC in a process\n");
    cmd_cpu();
    if (magic == MULTIBOOT_MAGIC || magic == PVH_MAGIC) {
        print(magic == PVH_MAGIC ? "Started as a PVH kernel\n" : "Started as a Multiboot kernel\n");
        cmd_memory();
    } else
        print("Started by an unknown loader\n");
    cmd_ticks();
    print("Type help for a list of commands; Ctrl-A X ends shadow86.\n");
    const char *line = magic == MULTIBOOT_MAGIC || magic == PVH_MAGIC ? boot_cmdline() : 0;
    if (line && magic == MULTIBOOT_MAGIC)       /* the first word is the kernel's name */
        while (*line && *line != ' ')
            line++;
    if (line)
        run_boot_commands(line);
    for (;;)
        prompt();
}
