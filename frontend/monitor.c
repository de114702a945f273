/* monitor.c - the human monitor. One table of commands; each gets its arguments as words. Runs on the main loop's
 * thread under the machine lock; commands that need the CPU to stand still pause it for that long. */
#include "frontend/monitor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/log.h"
#include "devices/device.h"
#include "devices/pci.h"
#include "devices/png.h"
#include "frontend/chardev_host.h"
#include "frontend/gdbstub.h"
#include "frontend/mainloop.h"
#include "frontend/options.h"

#define MAX_WORDS 16
#define KEY_HOLD_NS (100 * 1000000ull)
#define PROMPT "(shadow86) "
enum { KEY_CANCEL = 3 /* Ctrl-C */, KEY_BACKSPACE = 8, KEY_KILL_LINE = 21 /* Ctrl-U */, KEY_DELETE = 127 };

static const char *machine_name;
static bool all_snapshots;

void monitor_configure(const char *name, bool snapshot)
{
    machine_name = name;
    all_snapshots = snapshot;
}

struct monitor {
    struct pc *pc;
    struct chardev *stream;
    char line[1024];
    unsigned length;
    u16 held[16];               /* sendkey: keys to release */
    unsigned held_count;
    struct timer release;
    unsigned buttons;
};

static void say(struct monitor *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct monitor *m, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* a terminal in raw mode needs the carriage return */
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        chardev_write(m->stream, (const u8 *)p, n);
        p += n;
        if (*p) {
            chardev_write(m->stream, (const u8 *)"\r\n", 2);
            p++;
        }
    }
}

static void say_line(const char *line, void *ctx)
{
    const char *end = strchr(line, '\n');
    say(ctx, end ? "%s" : "%s\n", line);
}

/* True if it ran. (pc_pause lets go of the machine lock while the vCPU comes to a stop.) */
static bool pause_cpu(struct monitor *m)
{
    bool ran = !pc_is_paused(m->pc);
    pc_pause(m->pc);
    return ran;
}

static void resume_if(struct monitor *m, bool paused)
{
    if (paused)
        pc_resume(m->pc);
}

/* ------------------------------------------------------------------ state ----- */
static void info_status(struct monitor *m, char **w)
{
    say(m, "VM status: %s\n", pc_is_paused(m->pc) ? "paused" : "running");
}

static void info_version(struct monitor *m, char **w) { say(m, "shadow86 0.1\n"); }

static void info_name(struct monitor *m, char **w)
{
    if (machine_name)
        say(m, "%s\n", machine_name);
}

static void info_registers(struct monitor *m, char **w)
{
    char text[8192];
    bool paused = pause_cpu(m);
    cpu_print_state(pc_cpu(m->pc), text, sizeof text);
    resume_if(m, paused);
    say_line(text, m);
}

static void info_pci(struct monitor *m, char **w) { pci_print(pc_pci(m->pc), say_line, m); }
static void info_mtree(struct monitor *m, char **w)
{
    say(m, "memory:\n");
    physmap_print(pc_physmap(m->pc), say_line, m);
    say(m, "I/O ports:\n");
    bus_print_io(pc_bus(m->pc), say_line, m);
}

static void info_device(struct monitor *m, char **w)
{
    const char *name = w[1] ? w[1] : "";
    for (struct device *d = bus_first(pc_bus(m->pc)); d; d = d->next) {
        if (!*name)
            say(m, "%s\n", d->class->name);
        else if (!strcmp(name, d->class->name) && d->class->print)
            d->class->print(d, say_line, m);
    }
}

static void info_cpus(struct monitor *m, char **w)
{
    struct vcpu *c = pc_cpu(m->pc);
    bool paused = pause_cpu(m);
    say(m, "* CPU #0: pc=0x%llx%s, %llu instructions so far\n", (unsigned long long)cpu_pc(c),
        cpu_is_halted(c) ? " (halted)" : "", (unsigned long long)cpu_icount(c));
    resume_if(m, paused);
}

static const struct { const char *name; void (*run)(struct monitor *m, char **w); const char *help; } infos[] = {
    { "status", info_status, "running or paused" },
    { "version", info_version, "version of shadow86" },
    { "name", info_name, "name of the machine" },
    { "registers", info_registers, "CPU registers" },
    { "cpus", info_cpus, "CPUs and where they are" },
    { "pci", info_pci, "PCI devices and their resources" },
    { "mtree", info_mtree, "map of memory and I/O ports" },
    { "qtree", info_device, "devices on the bus" },
    { "device", info_device, "NAME: state of a device" },
};

static void cmd_info(struct monitor *m, char **w)
{
    for (unsigned i = 0; i < ARRAY_LEN(infos); i++)
        if (w[1] && !strcmp(w[1], infos[i].name)) {
            infos[i].run(m, w + 1);
            return;
        }
    for (unsigned i = 0; i < ARRAY_LEN(infos); i++)
        say(m, "info %-12s %s\n", infos[i].name, infos[i].help);
}

/* ------------------------------------------------------------------ running ----- */
static void cmd_quit(struct monitor *m, char **w) { mainloop_quit(); }
static void cmd_stop(struct monitor *m, char **w) { pause_cpu(m); }
static void cmd_cont(struct monitor *m, char **w) { pc_resume(m->pc); }
static void cmd_reset(struct monitor *m, char **w) { pc_reset(m->pc); }
static void cmd_powerdown(struct monitor *m, char **w) { pc_powerbutton(m->pc); }
static void cmd_nmi(struct monitor *m, char **w) { cpu_request(pc_cpu(m->pc), CPU_NMI); }

static void cmd_log(struct monitor *m, char **w)
{
    char err[200];
    log_mask = 0;
    if (w[1] && strcmp(w[1], "none") && !log_parse(w[1], err, sizeof err))
        say(m, "%s\n", err);
}

/* ------------------------------------------------------------------ keyboard, mouse, screen ----- */
static void release_keys(void *ctx)
{
    struct monitor *m = ctx;
    while (m->held_count)
        pc_key(m->pc, m->held[--m->held_count], false);
}

static void cmd_sendkey(struct monitor *m, char **w)
{
    u16 codes[16];
    const char *bad = "";
    unsigned n = w[1] ? keys_parse(w[1], codes, ARRAY_LEN(codes), &bad) : 0;
    if (!n) {
        say(m, "sendkey: unknown key '%s' (examples: a, shift-a, ctrl-alt-delete, f1, ret)\n", bad);
        return;
    }
    release_keys(m);
    for (unsigned i = 0; i < n; i++)
        pc_key(m->pc, m->held[m->held_count++] = codes[i], true);
    u64 ms = 0, hold = KEY_HOLD_NS;
    if (w[2] && parse_number(w[2], 1, 10000, &ms))
        hold = ms * 1000000;
    timer_set(&m->release, clock_now(m->release.clock) + hold);
}

static void cmd_mouse_move(struct monitor *m, char **w)
{
    if (!w[1] || !w[2])
        say(m, "mouse_move DX DY [DZ]\n");
    else
        pc_mouse(m->pc, atoi(w[1]), atoi(w[2]), w[3] ? atoi(w[3]) : 0, m->buttons);
}

static void cmd_mouse_button(struct monitor *m, char **w)
{
    m->buttons = w[1] ? (unsigned)atoi(w[1]) & 7 : 0;
    pc_mouse(m->pc, 0, 0, 0, m->buttons);
}

static void cmd_screendump(struct monitor *m, char **w)
{
    const struct display *d = pc_display(m->pc);
    struct display_size s = d ? d->size(d->ctx) : (struct display_size){ 0, 0 };
    if (!w[1])
        say(m, "screendump FILE.png\n");
    else if (!s.width || !s.height)
        say(m, "screendump: the screen is off\n");
    else {
        char err[300];
        u32 *pixels = malloc((size_t)s.width * s.height * sizeof *pixels);
        if (!pixels)
            return;
        d->render(d->ctx, pixels);
        if (!png_write(w[1], pixels, s.width, s.height, err, sizeof err))
            say(m, "screendump: %s\n", err);
        free(pixels);
    }
}

static void cmd_screentext(struct monitor *m, char **w)
{
    const struct display *d = pc_display(m->pc);
    char text[32768];
    if (d && d->text(d->ctx, text, sizeof text))
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            say(m, "%s\n", line);
    else
        say(m, "screentext: the screen is not in a text mode\n");
}

/* ------------------------------------------------------------------ media ----- */
static const struct { const char *name; bool floppy; unsigned unit; } drives[] = {
    { "floppy0", true, 0 }, { "floppy1", true, 1 }, { "ide0-cd0", false, 0 }, { "ide0-cd1", false, 1 },
    { "ide1-cd0", false, 2 }, { "ide1-cd1", false, 3 },
};

static void change_medium(struct monitor *m, const char *drive, const char *file)
{
    char err[300];
    for (unsigned i = 0; i < ARRAY_LEN(drives); i++) {
        if (strcmp(drive, drives[i].name))
            continue;
        struct block_options o = { .file = file, .readonly = !drives[i].floppy,
                                   .snapshot = all_snapshots && drives[i].floppy,
                                   .sector_size = drives[i].floppy ? 512 : 2048 };
        struct block *b = file ? block_open(&o, err, sizeof err) : NULL;
        bool ok = file && !b ? false
                  : drives[i].floppy ? pc_change_floppy(m->pc, drives[i].unit, b, err, sizeof err)
                                     : pc_change_cd(m->pc, drives[i].unit, b, err, sizeof err);
        if (!ok) {
            say(m, "%s\n", err);
            block_close(b);
        }
        return;
    }
    say(m, "no drive '%s'; there are floppy0 floppy1 ide1-cd0 ide0-cd0 ide0-cd1 ide1-cd1\n", drive);
}

static void cmd_eject(struct monitor *m, char **w)
{
    if (w[1])
        change_medium(m, w[1], NULL);
    else
        say(m, "eject DRIVE\n");
}

static void cmd_change(struct monitor *m, char **w)
{
    if (w[1] && w[2])
        change_medium(m, w[1], w[2]);
    else
        say(m, "change DRIVE FILE\n");
}

/* ------------------------------------------------------------------ memory ----- */
struct format { unsigned count, size; char letter; };

/* "/16xb": count, format (x d u o c i), size (b h w g). */
static bool parse_format(const char *s, struct format *f)
{
    *f = (struct format){ 1, 4, 'x' };
    if (*s == '/')
        s++;
    if (*s >= '0' && *s <= '9')
        f->count = (unsigned)strtoul(s, (char **)&s, 10);
    for (; *s; s++) {
        switch (*s) {
        case 'x': case 'd': case 'u': case 'o': case 'c': case 'i': f->letter = *s; break;
        case 'b': f->size = 1; break;
        case 'h': f->size = 2; break;
        case 'w': f->size = 4; break;
        case 'g': f->size = 8; break;
        default: return false;
        }
    }
    return f->count >= 1 && f->count <= 4096;
}

static void print_value(struct monitor *m, struct format f, u64 v)
{
    int shift = 64 - 8 * (int)f.size;
    switch (f.letter) {
    case 'd': say(m, " %lld", (long long)((s64)(v << shift) >> shift)); break;
    case 'u': say(m, " %llu", (unsigned long long)v); break;
    case 'o': say(m, " 0%llo", (unsigned long long)v); break;
    case 'c': say(m, " '%c'", (u8)v >= ' ' && (u8)v < 127 ? (char)v : '.'); break;
    default: say(m, " 0x%0*llx", (int)f.size * 2, (unsigned long long)v); break;
    }
}

static void dump_instructions(struct monitor *m, unsigned count, gla a)
{
    char text[128];
    while (count--) {
        unsigned len = cpu_disassemble(pc_cpu(m->pc), a, text, sizeof text);
        say(m, "0x%08llx:  %s\n", (unsigned long long)a, text);
        a += len;
    }
}

/* A number, or a register "$rip" ("$pc" is its linear address), and "+N" or "-N" behind it. */
static bool parse_address(struct monitor *m, const char *text, u64 *a)
{
    char word[64];
    size_t n = strcspn(text + (*text != 0), "+-") + (*text != 0);
    u64 offset = 0;
    if (n >= sizeof word)
        return false;
    memcpy(word, text, n);
    word[n] = 0;
    if (text[n] && !parse_number(text + n + 1, 0, UINT64_MAX, &offset))
        return false;
    if (word[0] == '$') {
        u8 bytes[CPU_REGISTER_MAX];
        unsigned size = cpu_register_get(pc_cpu(m->pc), word + 1, bytes);
        if (!size || size > 8)
            return false;
        *a = 0;
        for (unsigned i = 0; i < size; i++)
            *a |= (u64)bytes[i] << 8 * i;
    } else if (!parse_number(word, 0, UINT64_MAX, a))
        return false;
    *a += text[n] == '-' ? -offset : offset;
    return true;
}

static void print_memory(struct monitor *m, struct format f, u64 a, bool linear)
{
    for (unsigned i = 0; i < f.count; i++, a += f.size) {
        u8 bytes[8] = { 0 };
        u64 v = 0;
        if (i * f.size % 16 == 0)
            say(m, "%s%016llx:", i ? "\n" : "", (unsigned long long)a);
        if (!linear)
            v = physmap_read_int(pc_physmap(m->pc), a, f.size);
        else if (cpu_memory_read(pc_cpu(m->pc), a, bytes, f.size) != f.size) {
            say(m, " not mapped");
            break;
        }
        for (unsigned b = 0; linear && b < f.size; b++)
            v |= (u64)bytes[b] << 8 * b;
        print_value(m, f, v);
    }
    say(m, "\n");
}

static void dump_memory(struct monitor *m, char **w, bool linear)
{
    struct format f;
    const char *where = w[1] && w[1][0] == '/' ? w[2] : w[1];
    u64 a;
    bool paused = pause_cpu(m);
    if (!where || !parse_format(w[1][0] == '/' ? w[1] : "", &f) || !parse_address(m, where, &a))
        say(m, "%s[/COUNT FORMAT SIZE] ADDRESS: format x d u o c i, size b h w g; address: N or $REGISTER+N\n", w[0]);
    else if (f.letter == 'i' && linear)
        dump_instructions(m, f.count, a);
    else
        print_memory(m, f, a, linear);
    resume_if(m, paused);
}

static void cmd_port_read(struct monitor *m, char **w)
{
    struct format f;
    const char *where = w[1] && w[1][0] == '/' ? w[2] : w[1];
    u64 port;
    if (!where || !parse_format(w[1][0] == '/' ? w[1] : "/b", &f) || f.size > 4 ||
        !parse_number(where, 0, 0xffff, &port))
        say(m, "i[/SIZE] PORT: size b h w\n");
    else
        say(m, "port 0x%04llx = 0x%0*x\n", (unsigned long long)port, (int)f.size * 2,
            bus_io_read(pc_bus(m->pc), (u16)port, f.size));
}

static void cmd_port_write(struct monitor *m, char **w)
{
    struct format f;
    char **args = w[1] && w[1][0] == '/' ? w + 2 : w + 1;
    u64 port, value;
    if (!args[0] || !args[1] || !parse_format(args == w + 2 ? w[1] : "/b", &f) || f.size > 4 ||
        !parse_number(args[0], 0, 0xffff, &port) || !parse_number(args[1], 0, UINT32_MAX, &value))
        say(m, "o[/SIZE] PORT VALUE: size b h w\n");
    else
        bus_io_write(pc_bus(m->pc), (u16)port, f.size, (u32)value);
}

static void cmd_x(struct monitor *m, char **w) { dump_memory(m, w, true); }
static void cmd_xp(struct monitor *m, char **w) { dump_memory(m, w, false); }

static void save_memory(struct monitor *m, char **w, bool linear)
{
    u8 buf[4096];
    u64 a, n;
    bool ok = true;
    if (!w[1] || !w[2] || !w[3] || !parse_address(m, w[1], &a) || !parse_number(w[2], 1, 1ull << 38, &n)) {
        say(m, "%s ADDRESS SIZE FILE\n", w[0]);
        return;
    }
    FILE *f = fopen(w[3], "wbe");
    if (!f) {
        say(m, "%s: %s: %s\n", w[0], w[3], strerror(errno));
        return;
    }
    bool paused = pause_cpu(m);
    for (size_t part; n && ok; a += part, n -= part) {
        part = n < sizeof buf ? (size_t)n : sizeof buf;
        if (!linear)
            physmap_read(pc_physmap(m->pc), a, buf, part);
        else if (cpu_memory_read(pc_cpu(m->pc), a, buf, part) != part) {
            say(m, "%s: not all of it is mapped\n", w[0]);
            break;
        }
        ok = fwrite(buf, 1, part, f) == part;
    }
    resume_if(m, paused);
    if (fclose(f) || !ok)
        say(m, "%s: could not write all of %s\n", w[0], w[3]);
}

static void cmd_memsave(struct monitor *m, char **w) { save_memory(m, w, true); }
static void cmd_pmemsave(struct monitor *m, char **w) { save_memory(m, w, false); }

static void cmd_gdbserver(struct monitor *m, char **w)
{
    char err[300];
    gdbstub_end(0);
    if (w[1] && !strcmp(w[1], "none"))
        return;
    char *spec = gdbstub_spec(w[1] ? w[1] : "tcp::1234");
    struct chardev *c = chardev_new("gdb", spec, err, sizeof err);
    free(spec);
    if (!c || !chardev_connect(c, err, sizeof err)) {
        say(m, "gdbserver: %s\n", err);
        chardev_close(c);
        return;
    }
    gdbstub_new(m->pc, c, NULL);
}

/* ------------------------------------------------------------------ commands ----- */
static void cmd_help(struct monitor *m, char **w);

static const struct {
    const char *name, *alias;
    void (*run)(struct monitor *m, char **w);
    const char *args, *help;
} commands[] = {
    { "help", "?", cmd_help, "", "this list" },
    { "info", NULL, cmd_info, "WHAT", "state of the machine ('info' lists what)" },
    { "quit", "q", cmd_quit, "", "end shadow86" },
    { "stop", "s", cmd_stop, "", "pause the machine" },
    { "cont", "c", cmd_cont, "", "let it run on" },
    { "system_reset", NULL, cmd_reset, "", "press the reset button" },
    { "system_powerdown", NULL, cmd_powerdown, "", "press the power button" },
    { "nmi", NULL, cmd_nmi, "", "send a non-maskable interrupt" },
    { "sendkey", NULL, cmd_sendkey, "KEYS [MS]", "press keys: ctrl-alt-delete, shift-a, f1" },
    { "mouse_move", NULL, cmd_mouse_move, "DX DY [DZ]", "move the mouse" },
    { "mouse_button", NULL, cmd_mouse_button, "STATE", "buttons: 1 left, 2 right, 4 middle" },
    { "screendump", NULL, cmd_screendump, "FILE.png", "save the screen as a picture" },
    { "screentext", NULL, cmd_screentext, "", "print a text screen" },
    { "eject", NULL, cmd_eject, "DRIVE", "take the medium out (floppy0, ide1-cd0)" },
    { "change", NULL, cmd_change, "DRIVE FILE", "put another medium in" },
    { "x", NULL, cmd_x, "[/FMT] ADDR", "memory at a linear address (/10i disassembles)" },
    { "xp", NULL, cmd_xp, "[/FMT] ADDR", "memory at a physical address" },
    { "i", NULL, cmd_port_read, "[/SIZE] PORT", "read an I/O port (i/h: 16 bits, i/w: 32)" },
    { "o", NULL, cmd_port_write, "[/SIZE] PORT VALUE", "write to an I/O port" },
    { "memsave", NULL, cmd_memsave, "ADDR SIZE FILE", "save linear memory" },
    { "pmemsave", NULL, cmd_pmemsave, "ADDR SIZE FILE", "save physical memory" },
    { "gdbserver", NULL, cmd_gdbserver, "[WHERE|none]", "wait for gdb (default tcp::1234)" },
    { "log", NULL, cmd_log, "ITEM,...|none", "what -d logs" },
};

static void cmd_help(struct monitor *m, char **w)
{
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        char head[64];
        snprintf(head, sizeof head, "%s%s%s %s", commands[i].name, commands[i].alias ? "|" : "",
                 commands[i].alias ? commands[i].alias : "", commands[i].args);
        say(m, "%-34s %s\n", head, commands[i].help);
    }
}

/* The next word: up to a blank, or between quotes. NULL at the end. */
static char *next_word(char **p)
{
    *p += strspn(*p, " \t");
    if (!**p)
        return NULL;
    bool quoted = **p == '"';
    char *word = *p + quoted, *end = word + strcspn(word, quoted ? "\"" : " \t");
    *p = end + (*end != 0);
    *end = 0;
    return word;
}

static void run_line(struct monitor *m)
{
    char *words[MAX_WORDS + 2] = { 0 }, *at = m->line, format[64];
    unsigned n = 0;
    for (char *word; n < MAX_WORDS && (word = next_word(&at));)
        words[n++] = word;
    if (!n)
        return;
    /* "x/10i" is the command x with its format */
    char *slash = strchr(words[0], '/');
    if (slash) {
        snprintf(format, sizeof format, "%s", slash);
        *slash = 0;
        memmove(words + 2, words + 1, sizeof *words * (MAX_WORDS - 1));
        words[1] = format;
    }
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(words[0], commands[i].name) || (commands[i].alias && !strcmp(words[0], commands[i].alias))) {
            commands[i].run(m, words);
            return;
        }
    say(m, "unknown command '%s' (help lists them)\n", words[0]);
}

void monitor_execute(struct pc *pc, const char *line, struct chardev *stream)
{
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    m->pc = pc;
    m->stream = stream;
    timer_init(&m->release, bus_clock(pc_bus(pc)), release_keys, m);
    snprintf(m->line, sizeof m->line, "%s", line);
    run_line(m);
    timer_cancel(&m->release);
    release_keys(m);
    free(m);
}

/* --------------------------------------------------------------------------------------------------- the prompt --- */

static unsigned can_receive(void *ctx) { return 256; }

static void receive_key(struct monitor *m, u8 key)
{
    switch (key) {
    case '\r': case '\n':
        say(m, "\n");
        m->line[m->length] = 0;
        m->length = 0;
        run_line(m);
        say(m, PROMPT);
        break;
    case KEY_BACKSPACE: case KEY_DELETE:
        if (m->length) {
            m->length--;
            say(m, "\b \b");
        }
        break;
    case KEY_CANCEL: case KEY_KILL_LINE:
        m->length = 0;
        say(m, "\n" PROMPT);
        break;
    default:
        if (key >= ' ' && m->length < sizeof m->line - 1) {
            m->line[m->length++] = (char)key;
            chardev_write(m->stream, &key, 1);
        }
    }
}

static void receive(void *ctx, const u8 *buf, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        receive_key(ctx, buf[i]);
}

/* What the last peer left half typed is not the next one's. */
static void connection(void *ctx, bool connected) { ((struct monitor *)ctx)->length = 0; }

void monitor_new(struct pc *pc, struct chardev *stream)
{
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    m->pc = pc;
    m->stream = stream;
    timer_init(&m->release, bus_clock(pc_bus(pc)), release_keys, m);
    chardev_attach(stream, &(struct chardev_user){ .can_receive = can_receive, .receive = receive, .ctx = m });
    chardev_on_connection(stream, connection, m);
}

void monitor_greet(struct chardev *stream)
{
    static const char text[] = "shadow86 monitor, type 'help' for the commands\r\n" PROMPT;
    chardev_write(stream, (const u8 *)text, sizeof text - 1);
}
