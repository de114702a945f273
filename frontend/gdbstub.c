/* gdbstub.c - gdb's remote serial protocol (gdb manual, appendix E) for the machine.
 *
 * Runs on the main loop's thread under the machine lock. While gdb looks around the machine is paused; breakpoints and
 * watchpoints are the CPU's own stops (cpu/debug.c), so no byte of guest memory changes and the guest's debug registers
 * stay its own. Addresses are linear. When a stop is reached the vCPU's thread pauses the machine and wakes the main
 * loop through an eventfd; the answer to gdb is sent from there.
 *
 * A single step runs on this thread, with guest time standing still and interrupts held back, so that stepping does not
 * end up in the timer's handler each time; a halted CPU is let run until something wakes it. Connecting stops the
 * machine; detaching, and losing the connection, lets it run on as before.
 */
#include "frontend/gdbstub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <poll.h>

#include "cpu/cpu.h"
#include "devices/clock.h"
#include "frontend/chardev_host.h"
#include "frontend/gdbstub_regs.h"
#include "frontend/mainloop.h"
#include "frontend/monitor.h"

#define PACKET_MAX 0x4000
#define KEY_INTERRUPT 0x03
enum { SIG_INT = 2, SIG_TRAP = 5 };

struct gdbstub {
    struct pc *pc;
    struct chardev *stream;
    enum gdb_arch arch;
    const char *arch_wish;
    bool attached;              /* gdb is there: the machine stops for it */
    bool was_running;           /* before it came */
    bool running;               /* gdb waits for a stop */
    bool no_ack;
    bool knows_swbreak;         /* gdb asks whether a breakpoint's address or the next is the PC: it is the former */
    int last_signal;
    struct cpu_stopped last_stop;
    char *xml;

    enum { WAIT_START, IN_DATA, IN_SUM1, IN_SUM2 } state;
    char in[PACKET_MAX + 1];
    unsigned in_length;
    u8 sum, sum_said;
    char out[2 * PACKET_MAX + 8];       /* the answer being made */
    unsigned out_length;

    int stop_event;             /* eventfd: the vCPU's thread has stopped */
    struct watch stop_watch;
};

static struct gdbstub *the_stub;

/* ------------------------------------------------------------------------------------------------------ answers --- */

static const char digits[] = "0123456789abcdef";

static int hex_digit(char c)
{
    const char *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void put_text(struct gdbstub *g, const char *text)
{
    for (; *text && g->out_length < sizeof g->out - 8; text++)
        g->out[g->out_length++] = *text;
}

static void put_hex(struct gdbstub *g, const void *bytes, size_t n)
{
    const u8 *p = bytes;
    for (; n-- && g->out_length < sizeof g->out - 8; p++) {
        g->out[g->out_length++] = digits[*p >> 4];
        g->out[g->out_length++] = digits[*p & 15];
    }
}

static void begin(struct gdbstub *g) { g->out_length = 1; }

/* Sends what has been put since begin(). */
static void finish(struct gdbstub *g)
{
    u8 sum = 0;
    g->out[0] = '$';
    for (unsigned i = 1; i < g->out_length; i++)
        sum += (u8)g->out[i];
    g->out[g->out_length++] = '#';
    g->out[g->out_length++] = digits[sum >> 4];
    g->out[g->out_length++] = digits[sum & 15];
    chardev_write(g->stream, (const u8 *)g->out, g->out_length);
}

static void answer(struct gdbstub *g, const char *text)
{
    begin(g);
    put_text(g, text);
    finish(g);
}

static void answer_stop(struct gdbstub *g)
{
    static const char *const reasons[] = { [CPU_STOP_WRITE] = "watch", [CPU_STOP_READ] = "rwatch",
                                           [CPU_STOP_ACCESS] = "awatch" };
    const struct cpu_stopped *s = &g->last_stop;
    char text[80];
    if (s->why == CPU_STOP_WRITE || s->why == CPU_STOP_READ || s->why == CPU_STOP_ACCESS)
        snprintf(text, sizeof text, "T%02xthread:01;%s:%llx;", g->last_signal, reasons[s->why],
                 (unsigned long long)s->at);
    else
        snprintf(text, sizeof text, "T%02xthread:01;%s", g->last_signal,
                 s->why == CPU_STOP_EXEC && g->knows_swbreak ? "swbreak:;" : "");
    answer(g, text);
}

/* ------------------------------------------------------------------------------------------- stopping, running --- */

/* On the vCPU's thread. */
static void cpu_has_stopped(void *ctx)
{
    struct gdbstub *g = ctx;
    u64 one = 1;
    pc_pause_soon(g->pc);
    if (write(g->stop_event, &one, sizeof one) < 0) {
        /* readable already */
    }
}

static void report_stop(struct gdbstub *g, int signal)
{
    g->last_signal = signal;
    if (!g->running)
        return;
    g->running = false;
    answer_stop(g);
}

static short stop_wanted(void *ctx) { return POLLIN; }

static void stop_ready(void *ctx, short events)
{
    struct gdbstub *g = ctx;
    u64 count;
    if (read(g->stop_event, &count, sizeof count) < 0)
        return;
    pc_pause(g->pc);
    g->last_stop = cpu_debugger_why(pc_cpu(g->pc));
    report_stop(g, SIG_TRAP);
}

static enum gdb_arch choose_arch(const struct gdbstub *g)
{
    struct vcpu *c = pc_cpu(g->pc);
    if (g->arch_wish)
        return strcmp(g->arch_wish, "i386") ? GDB_X86_64 : GDB_I386;
    if (cpu_in_long_mode(c))
        return GDB_X86_64;
    /* still in firmware: what will come is open, and 64 bits can show it all */
    return cpu_knows_long_mode(c) && !cpu_in_protected_mode(c) ? GDB_X86_64 : GDB_I386;
}

static void attach(struct gdbstub *g)
{
    if (g->attached)
        return;
    g->was_running = !pc_is_paused(g->pc);
    pc_pause(g->pc);
    cpu_debugger_attach(pc_cpu(g->pc), cpu_has_stopped, g);
    g->arch = choose_arch(g);
    g->attached = true;
    g->running = g->no_ack = false;
    g->last_signal = SIG_TRAP;
    g->last_stop = (struct cpu_stopped){ CPU_STOP_NONE, 0 };
}

static void detach(struct gdbstub *g, bool run)
{
    if (!g->attached)
        return;
    bool running = !pc_is_paused(g->pc);
    pc_pause(g->pc);
    cpu_debugger_detach(pc_cpu(g->pc));
    g->attached = g->running = g->no_ack = false;
    free(g->xml);
    g->xml = NULL;
    if (run || running)
        pc_resume(g->pc);
}

static void go_on(struct gdbstub *g)
{
    u64 old;
    if (read(g->stop_event, &old, sizeof old) > 0) {
        /* of a stop that an interrupt has reported already */
    }
    g->running = true;
    g->last_stop = (struct cpu_stopped){ CPU_STOP_NONE, 0 };
    pc_resume(g->pc);
}

static void single_step(struct gdbstub *g)
{
    struct vcpu *c = pc_cpu(g->pc);
    g->running = true;
    if (cpu_is_halted(c)) {
        cpu_debugger_step(c);
        go_on(g);
        return;
    }
    cpu_debugger_why(c);
    machine_unlock();           /* devices are called as they are on the vCPU's thread */
    cpu_step_quietly(c);
    machine_lock();
    g->last_stop = cpu_debugger_why(c);
    report_stop(g, SIG_TRAP);
}

/* ---------------------------------------------------------------------------------------- registers and memory --- */

static bool parse_hex(const char **p, u64 *v)
{
    const char *start = *p;
    for (*v = 0; hex_digit(**p) >= 0; ++*p)
        *v = *v << 4 | (u64)hex_digit(**p);
    return *p != start;
}

static unsigned parse_bytes(const char *p, u8 *bytes, unsigned max)
{
    unsigned n = 0;
    for (; n < max && hex_digit(p[0]) >= 0 && hex_digit(p[1]) >= 0; p += 2)
        bytes[n++] = (u8)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
    return n;
}

static void packet_read_registers(struct gdbstub *g, const char *p)
{
    u8 buf[CPU_REGISTER_MAX];
    begin(g);
    for (unsigned i = 0; i < gdbstub_reg_count(g->arch); i++)
        put_hex(g, buf, gdbstub_reg_get(pc_cpu(g->pc), g->arch, i, buf));
    finish(g);
}

static void packet_write_registers(struct gdbstub *g, const char *p)
{
    u8 buf[CPU_REGISTER_MAX];
    bool ok = true;
    for (unsigned i = 0; i < gdbstub_reg_count(g->arch) && *p; i++) {
        unsigned n = gdbstub_reg_size(g->arch, i);
        if (parse_bytes(p, buf, n) != n) {
            ok = false;
            break;
        }
        ok = gdbstub_reg_set(pc_cpu(g->pc), g->arch, i, buf) && ok;
        p += 2 * n;
    }
    answer(g, ok ? "OK" : "E01");
}

static void packet_read_register(struct gdbstub *g, const char *p)
{
    u8 buf[CPU_REGISTER_MAX];
    u64 n;
    unsigned bytes = parse_hex(&p, &n) && n < 1000 ? gdbstub_reg_get(pc_cpu(g->pc), g->arch, (unsigned)n, buf) : 0;
    begin(g);
    if (bytes)
        put_hex(g, buf, bytes);
    else
        put_text(g, "E01");
    finish(g);
}

static void packet_write_register(struct gdbstub *g, const char *p)
{
    u8 buf[CPU_REGISTER_MAX] = { 0 };
    u64 n;
    bool ok = parse_hex(&p, &n) && *p++ == '=' && n < 1000;
    unsigned bytes = ok ? gdbstub_reg_size(g->arch, (unsigned)n) : 0;
    ok = bytes && parse_bytes(p, buf, bytes) == bytes && gdbstub_reg_set(pc_cpu(g->pc), g->arch, (unsigned)n, buf);
    answer(g, ok ? "OK" : "E01");
}

static void packet_read_memory(struct gdbstub *g, const char *p)
{
    static u8 buf[PACKET_MAX];
    u64 a, n, got;
    if (!parse_hex(&p, &a) || *p++ != ',' || !parse_hex(&p, &n)) {
        answer(g, "E01");
        return;
    }
    got = cpu_memory_read(pc_cpu(g->pc), a, buf, n < sizeof buf - 8 ? n : sizeof buf - 8);
    begin(g);
    if (got || !n)
        put_hex(g, buf, got);
    else
        put_text(g, "E14");
    finish(g);
}

/* M: hex digits; X: bytes, in which } escapes. */
static void write_memory(struct gdbstub *g, const char *p, bool binary)
{
    static u8 buf[PACKET_MAX];
    const char *end = g->in + g->in_length;
    u64 a, n;
    unsigned got = 0;
    if (!parse_hex(&p, &a) || *p++ != ',' || !parse_hex(&p, &n) || *p++ != ':' || n > sizeof buf) {
        answer(g, "E01");
        return;
    }
    if (!binary)
        got = parse_bytes(p, buf, (unsigned)n);
    else
        for (; p < end && got < n; p++) {
            bool escaped = *p == '}' && p + 1 < end;
            p += escaped;
            buf[got++] = (u8)(escaped ? *p ^ 0x20 : *p);
        }
    answer(g, got == n && cpu_memory_write(pc_cpu(g->pc), a, buf, n) == n ? "OK" : "E14");
}

static void packet_write_memory(struct gdbstub *g, const char *p) { write_memory(g, p, false); }
static void packet_write_binary(struct gdbstub *g, const char *p) { write_memory(g, p, true); }

/* --------------------------------------------------------------------------------------------- stops of gdb's --- */

static void change_stop(struct gdbstub *g, const char *p, bool set)
{
    static const enum cpu_stop kinds[] = { CPU_STOP_EXEC, CPU_STOP_EXEC, CPU_STOP_WRITE, CPU_STOP_READ,
                                           CPU_STOP_ACCESS };
    u64 type, a, n;
    if (!parse_hex(&p, &type) || *p++ != ',' || !parse_hex(&p, &a) || *p++ != ',' || !parse_hex(&p, &n)) {
        answer(g, "E01");
        return;
    }
    if (type >= ARRAY_LEN(kinds)) {
        answer(g, "");
        return;
    }
    struct vcpu *c = pc_cpu(g->pc);
    if (kinds[type] == CPU_STOP_EXEC)
        n = 1;                  /* gdb gives the breakpoint instruction's length */
    /* A second Z for the same place must have no second effect. */
    cpu_debugger_remove(c, kinds[type], a, n);
    answer(g, !set || cpu_debugger_add(c, kinds[type], a, n) ? "OK" : "E28");
}

static void packet_set_stop(struct gdbstub *g, const char *p) { change_stop(g, p, true); }
static void packet_remove_stop(struct gdbstub *g, const char *p) { change_stop(g, p, false); }

/* An address to go on at may follow c and s. */
static void set_pc(struct gdbstub *g, const char *p)
{
    u8 buf[CPU_REGISTER_MAX] = { 0 };
    u64 a;
    if (!parse_hex(&p, &a))
        return;
    for (unsigned i = 0; i < 8; i++)
        buf[i] = (u8)(a >> 8 * i);
    cpu_register_set(pc_cpu(g->pc), "pc", buf);
}

static void packet_continue(struct gdbstub *g, const char *p)
{
    set_pc(g, p);
    go_on(g);
}

static void packet_step(struct gdbstub *g, const char *p)
{
    set_pc(g, p);
    single_step(g);
}

/* C05;ADDRESS: signals mean nothing to a machine. */
static void packet_continue_signal(struct gdbstub *g, const char *p)
{
    const char *semicolon = strchr(p, ';');
    packet_continue(g, semicolon ? semicolon + 1 : "");
}

static void packet_step_signal(struct gdbstub *g, const char *p)
{
    const char *semicolon = strchr(p, ';');
    packet_step(g, semicolon ? semicolon + 1 : "");
}

/* ------------------------------------------------------------------------------------------------ other packets --- */

static void packet_why(struct gdbstub *g, const char *p) { answer_stop(g); }

static void packet_kill(struct gdbstub *g, const char *p) { mainloop_quit(); }

static void packet_detach(struct gdbstub *g, const char *p)
{
    answer(g, "OK");
    detach(g, true);
}

static void packet_ok(struct gdbstub *g, const char *p) { answer(g, "OK"); }

static void packet_reset(struct gdbstub *g, const char *p) { pc_reset(g->pc); }     /* R has no answer */

/* "vCont;s:1;c" and the like: with one CPU, the first action counts. */
static void packet_v(struct gdbstub *g, const char *p)
{
    if (!strcmp(p, "Cont?"))
        answer(g, "vCont;c;C;s;S");
    else if (!strncmp(p, "Cont;s", 6) || !strncmp(p, "Cont;S", 6))
        single_step(g);
    else if (!strncmp(p, "Cont;c", 6) || !strncmp(p, "Cont;C", 6))
        go_on(g);
    else if (!strncmp(p, "Kill", 4)) {
        answer(g, "OK");
        mainloop_quit();
    } else
        answer(g, "");
}

/* "target.xml:OFFSET,LENGTH" */
static void query_features(struct gdbstub *g, const char *p)
{
    u64 offset, n;
    const char *name = "target.xml:";
    if (strncmp(p, name, strlen(name))) {
        answer(g, "E00");
        return;
    }
    p += strlen(name);
    if (!parse_hex(&p, &offset) || *p++ != ',' || !parse_hex(&p, &n)) {
        answer(g, "E01");
        return;
    }
    if (!g->xml)
        g->xml = gdbstub_target_xml(g->arch);
    size_t size = strlen(g->xml);
    begin(g);
    put_text(g, offset < size && n < size - offset ? "m" : "l");
    for (u64 i = offset; i < size && i - offset < n && i - offset < PACKET_MAX - 8; i++)
        g->out[g->out_length++] = g->xml[i];        /* no character in it needs an escape */
    finish(g);
}

/* gdb's "monitor COMMAND". */
static void query_command(struct gdbstub *g, const char *p)
{
    char line[1024];
    unsigned n = parse_bytes(p, (u8 *)line, sizeof line - 1);
    line[n] = 0;
    if (!strncmp(line, "gdbserver", 9)) {       /* would end us in the middle */
        answer(g, "E01");
        return;
    }
    struct chardev *out = chardev_memory();
    size_t size;
    monitor_execute(g->pc, line, out);
    const u8 *text = chardev_memory_output(out, &size);
    for (size_t done = 0; done < size; done += PACKET_MAX / 2) {
        begin(g);
        put_text(g, "O");
        put_hex(g, text + done, size - done < PACKET_MAX / 2 ? size - done : PACKET_MAX / 2);
        finish(g);
    }
    chardev_close(out);
    answer(g, "OK");
}

static void query_supported(struct gdbstub *g, const char *p)
{
    g->knows_swbreak = strstr(p, "swbreak+");
    answer(g, "PacketSize=4000;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+");
}

static void query_attached(struct gdbstub *g, const char *p) { answer(g, "1"); }
static void query_thread(struct gdbstub *g, const char *p) { answer(g, "QC01"); }
static void query_threads(struct gdbstub *g, const char *p) { answer(g, "m01"); }
static void query_no_more_threads(struct gdbstub *g, const char *p) { answer(g, "l"); }

static void query_thread_name(struct gdbstub *g, const char *p)
{
    const char *state = cpu_is_halted(pc_cpu(g->pc)) ? "CPU#0 [halted]" : "CPU#0 [running]";
    begin(g);
    put_hex(g, state, strlen(state));
    finish(g);
}

static const struct { const char *name; void (*run)(struct gdbstub *g, const char *p); } queries[] = {
    { "Supported", query_supported }, { "Xfer:features:read:", query_features }, { "Rcmd,", query_command },
    { "Attached", query_attached }, { "fThreadInfo", query_threads }, { "sThreadInfo", query_no_more_threads },
    { "ThreadExtraInfo", query_thread_name }, { "Symbol:", packet_ok },
};

static void packet_query(struct gdbstub *g, const char *p)
{
    for (unsigned i = 0; i < ARRAY_LEN(queries); i++) {
        size_t n = strlen(queries[i].name);
        if (!strncmp(p, queries[i].name, n)) {
            queries[i].run(g, p + n);
            return;
        }
    }
    if (!strcmp(p, "C"))
        query_thread(g, p);
    else
        answer(g, "");
}

static void packet_set(struct gdbstub *g, const char *p)
{
    if (strcmp(p, "StartNoAckMode")) {
        answer(g, "");
        return;
    }
    answer(g, "OK");
    g->no_ack = true;
}

static void packet_unknown(struct gdbstub *g, const char *p) { answer(g, ""); }

static const struct { char letter; void (*run)(struct gdbstub *g, const char *p); } packets[] = {
    { '?', packet_why }, { 'g', packet_read_registers }, { 'G', packet_write_registers }, { 'p', packet_read_register },
    { 'P', packet_write_register }, { 'm', packet_read_memory }, { 'M', packet_write_memory },
    { 'X', packet_write_binary }, { 'Z', packet_set_stop }, { 'z', packet_remove_stop }, { 'c', packet_continue },
    { 's', packet_step },
    { 'C', packet_continue_signal }, { 'S', packet_step_signal }, { 'k', packet_kill }, { 'D', packet_detach },
    { 'H', packet_ok }, { 'T', packet_ok }, { 'v', packet_v }, { 'q', packet_query }, { 'Q', packet_set },
    { 'R', packet_reset }, { '!', packet_ok },
};

/* ---------------------------------------------------------------------------------------------------- transport --- */

static void run_packet(struct gdbstub *g)
{
    g->in[g->in_length] = 0;
    attach(g);
    for (unsigned i = 0; i < ARRAY_LEN(packets); i++)
        if (packets[i].letter == g->in[0]) {
            packets[i].run(g, g->in + 1);
            return;
        }
    packet_unknown(g, g->in);
}

static void packet_done(struct gdbstub *g)
{
    bool good = g->sum == g->sum_said;
    g->state = WAIT_START;
    if (!g->no_ack)
        chardev_write(g->stream, (const u8 *)(good ? "+" : "-"), 1);
    if (good && g->in_length <= PACKET_MAX)
        run_packet(g);
}

static void interrupt(struct gdbstub *g)
{
    if (!g->attached || !g->running)
        return;
    pc_pause(g->pc);
    g->last_stop = cpu_debugger_why(pc_cpu(g->pc));
    report_stop(g, g->last_stop.why == CPU_STOP_NONE ? SIG_INT : SIG_TRAP);
}

static void receive_byte(struct gdbstub *g, u8 b)
{
    switch (g->state) {
    case WAIT_START:
        if (b == KEY_INTERRUPT)
            interrupt(g);
        else if (b == '$') {
            g->state = IN_DATA;
            g->in_length = g->sum = 0;
        } else if (b == '-' && g->out_length)       /* the last answer again */
            chardev_write(g->stream, (const u8 *)g->out, g->out_length);
        break;
    case IN_DATA:
        if (b == '#') {
            g->state = IN_SUM1;
            break;
        }
        g->sum += b;
        if (g->in_length < PACKET_MAX)
            g->in[g->in_length] = (char)b;
        g->in_length += g->in_length <= PACKET_MAX;     /* one more than fits: too long, ignored */
        break;
    case IN_SUM1:
        g->sum_said = (u8)(hex_digit((char)b) << 4);
        g->state = IN_SUM2;
        break;
    case IN_SUM2:
        g->sum_said |= (u8)(hex_digit((char)b) & 15);
        packet_done(g);
        break;
    }
}

static unsigned can_receive(void *ctx) { return 4096; }

static void receive(void *ctx, const u8 *buf, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        receive_byte(ctx, buf[i]);
}

static void connection(void *ctx, bool connected)
{
    struct gdbstub *g = ctx;
    g->state = WAIT_START;
    g->out_length = 0;
    if (connected)
        attach(g);
    else
        detach(g, g->was_running);
}

char *gdbstub_spec(const char *where)
{
    bool socket = !strncmp(where, "tcp:", 4) || !strncmp(where, "unix:", 5);
    char *spec;
    if (asprintf(&spec, "%s%s", where, socket && !strstr(where, ",server") ? ",server=on,wait=off" : "") < 0)
        abort();
    return spec;
}

void gdbstub_new(struct pc *pc, struct chardev *stream, const char *arch)
{
    struct gdbstub *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    g->pc = pc;
    g->stream = stream;
    g->arch_wish = arch;
    g->stop_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g->stop_watch = (struct watch){ .fd = g->stop_event, .events = stop_wanted, .ready = stop_ready, .ctx = g };
    mainloop_add(&g->stop_watch);
    chardev_on_connection(stream, connection, g);
    chardev_attach(stream, &(struct chardev_user){ .can_receive = can_receive, .receive = receive, .ctx = g });
    the_stub = g;
}

void gdbstub_end(int status)
{
    struct gdbstub *g = the_stub;
    char text[8];
    if (!g)
        return;
    the_stub = NULL;
    if (g->attached && g->running) {
        snprintf(text, sizeof text, "W%02x", status & 0xff);
        answer(g, text);
    }
    chardev_on_connection(g->stream, NULL, NULL);
    detach(g, false);
    mainloop_remove(&g->stop_watch);
    close(g->stop_event);
    chardev_close(g->stream);
    free(g);
}
