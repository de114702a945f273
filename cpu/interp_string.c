/* interp_string.c - MOVS CMPS STOS LODS SCAS INS OUTS with and without REP. SDM 2, "REP/REPE/REPZ/REPNE/REPNZ".
 *
 * An iteration commits rSI, rDI, rCX by itself, so a fault in the middle leaves exactly what was done. Where both sides
 * lie in memory that needs no check, iterations run page by page, in either direction, as one copy, fill or scan with
 * the same result as one by one: MOVS with a destination shortly behind its source repeats the pattern.
 *
 * Between such runs the instruction looks whether somebody waits (an interrupt that would be taken, single-stepping).
 * If so it ends with RIP at itself, which the interpreter takes as an instruction executed; RF is set then, so that an
 * instruction breakpoint does not hit again in the middle (SDM 3B 18.3.1.1). It does the same after so many turns
 * (runs, or elements where no run is possible): a count of 2^64 may never end, and the instruction clock stands while
 * one instruction runs.
 */
#include "cpu/interp_forms.h"

enum { MAX_TURNS = 1024 };

static bool somebody_waits(const struct vcpu *c)
{
    u32 p = atomic_load_explicit(&c->pending, memory_order_relaxed) & ~(u32)PEND_TRAP;
    if (!(c->eflags & EFL_IF))
        p &= ~(u32)PEND_INTR;
    return p || cpu_stepping(c);
}

static bool leave_early(struct vcpu *c, const struct insn *in)
{
    u64 ip = c->rip - in->len;
    c->rip = in->mode == 8 ? ip : (u32)ip;
    debug_set_resume(c);
    return true;
}

static void advance(struct vcpu *c, const struct insn *in, unsigned reg, u64 iterations, unsigned n)
{
    u64 bytes = iterations * n;
    gpr_write(c, reg, in->addrsize, c->gpr[reg] + (c->eflags & EFL_DF ? -bytes : bytes));
}
static u64 offset_of(const struct vcpu *c, const struct insn *in, unsigned reg)
{
    return flags_truncate(in->addrsize, c->gpr[reg]);
}
static u64 count_of(const struct vcpu *c, const struct insn *in) { return flags_truncate(in->addrsize, c->rcx); }
static void count_down(struct vcpu *c, const struct insn *in, u64 iterations)
{
    gpr_write(c, GPR_RCX, in->addrsize, c->rcx - iterations);
}

/* How many elements of n bytes there are from offset `off`, at a, on (DF: down) before the end of the page, of the address
 * size and of what is *count; 0: not even one. */
static u64 in_page(const struct vcpu *c, const struct insn *in, gla a, u64 off, unsigned n, u64 count)
{
    u64 within = a & ~PAGE_MASK, room = PAGE_SIZE - within;
    if (room < n || (in->addrsize == 2 && off + n > 0x10000))
        return 0;
    if (c->eflags & EFL_DF)
        room = (off < within ? off : within) / n + 1;
    else
        room = (in->addrsize == 2 && room > 0x10000 - off ? 0x10000 - off : room) / n;
    return room < count ? room : count;
}

/* The same for a segment with a limit. */
static u64 in_segment(struct vcpu *c, unsigned seg, u64 off, unsigned n, bool write, u64 count)
{
    u64 room;
    if (!mem_in_limit(c, seg, off, n, write, &room))
        return 0;
    if (c->eflags & EFL_DF)         /* a segment that expands down ends there */
        return count <= off / n + 1 && mem_in_limit(c, seg, off - (count - 1) * n, n, write, &room) ? count : 0;
    return room / n < count ? room / n : count;
}

/* Host address of the first of the elements at [seg:reg], and how many of at most *count are there; NULL if they need checks. */
static u8 *run_of(struct vcpu *c, const struct insn *in, unsigned seg, unsigned reg, unsigned n, bool write, u64 *count)
{
    u64 off = offset_of(c, in, reg);
    const struct segment *s = &c->seg[seg];
    const bool flat = write ? s->flat_write : s->flat_read, limited = !flat && c->code_size != 8;
    gla a = off;
    if (c->access_checks)
        return NULL;
    if (!flat)
        a = limited ? (u32)(s->base + off) : seg >= SEG_FS ? s->base + off : off;
    *count = in_page(c, in, a, off, n, *count);
    if (*count && limited)
        *count = in_segment(c, seg, off, n, write, *count);
    return !*count ? NULL : write ? mmu_hit_write(&c->mmu, a, n) : mmu_hit_read(&c->mmu, a, n);
}

/* The lowest of the run's elements. */
static u64 below(const struct vcpu *c, u64 count, unsigned n) { return c->eflags & EFL_DF ? (count - 1) * n : 0; }

/* --- MOVS -------------------------------------------------------------------------------------------------------- */

static bool movs_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 v;
    if (!mem_read(c, in->seg, offset_of(c, in, GPR_RSI), n, &v) ||
        !mem_write(c, SEG_ES, offset_of(c, in, GPR_RDI), n, v))
        return false;
    advance(c, in, GPR_RSI, 1, n);
    advance(c, in, GPR_RDI, 1, n);
    return true;
}

/* One by one: each element may be what an earlier one has written. step: -n or n. */
FORM_INLINE void copy_elements(u8 *to, const u8 *from, u64 count, unsigned n, s64 step)
{
    for (u64 i = 0; i < count; i++, to += step, from += step) {
        u64 v = form_get(from, n);
        memcpy(to, &v, n);
    }
}

static void copy_pattern(u8 *to, const u8 *from, u64 count, unsigned n, s64 step)
{
    switch (n) {
    case 1: copy_elements(to, from, count, 1, step); break;
    case 2: copy_elements(to, from, count, 2, step); break;
    case 4: copy_elements(to, from, count, 4, step); break;
    default: copy_elements(to, from, count, 8, step); break;
    }
}

static u64 movs_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *from = run_of(c, in, in->seg, GPR_RSI, n, false, &count);
    u8 *to = from ? run_of(c, in, SEG_ES, GPR_RDI, n, true, &count) : NULL;
    if (!to)
        return 0;
    const bool down = c->eflags & EFL_DF;
    const u64 bytes = count * n, back = below(c, count, n);
    if (down ? to >= from || to + bytes <= from : to <= from || to >= from + bytes)
        memmove(to - back, from - back, bytes);
    else
        copy_pattern(to, from, count, n, down ? -(s64)n : (s64)n);
    advance(c, in, GPR_RSI, count, n);
    advance(c, in, GPR_RDI, count, n);
    return count;
}

/* --- STOS, LODS -------------------------------------------------------------------------------------------------- */

static bool stos_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    if (!mem_write(c, SEG_ES, offset_of(c, in, GPR_RDI), n, c->rax))
        return false;
    advance(c, in, GPR_RDI, 1, n);
    return true;
}

/* n divides the pattern's size. */
static void fill(u8 *to, u64 v, u64 count, unsigned n)
{
    u8 pattern[32];
    u64 bytes = count * n;
    if (flags_truncate(n, v) == flags_truncate(n, (u8)v * (u64)0x0101010101010101)) {
        memset(to, (u8)v, bytes);
        return;
    }
    for (unsigned i = 0; i < sizeof pattern; i += n)
        memcpy(pattern + i, &v, n);
    for (; bytes >= sizeof pattern; bytes -= sizeof pattern, to += sizeof pattern)
        memcpy(to, pattern, sizeof pattern);
    memcpy(to, pattern, bytes);
}

static u64 stos_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    u8 *to = run_of(c, in, SEG_ES, GPR_RDI, n, true, &count);
    if (!to)
        return 0;
    fill(to - below(c, count, n), c->rax, count, n);
    advance(c, in, GPR_RDI, count, n);
    return count;
}

static bool lods_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 v;
    if (!mem_read(c, in->seg, offset_of(c, in, GPR_RSI), n, &v))
        return false;
    gpr_write(c, GPR_RAX, n, v);
    advance(c, in, GPR_RSI, 1, n);
    return true;
}

/* Only the last element is seen. */
static u64 lods_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *from = run_of(c, in, in->seg, GPR_RSI, n, false, &count);
    if (!from)
        return 0;
    gpr_write(c, GPR_RAX, n, form_get(c->eflags & EFL_DF ? from - (count - 1) * n : from + (count - 1) * n, n));
    advance(c, in, GPR_RSI, count, n);
    return count;
}

/* --- the loop for those that look at no flag --------------------------------------------------------------------- */

typedef bool one_fn(struct vcpu *c, const struct insn *in, unsigned n);
typedef u64 run_fn(struct vcpu *c, const struct insn *in, unsigned n, u64 count);

FORM_INLINE bool repeat(struct vcpu *c, const struct insn *in, unsigned n, one_fn *one, run_fn *run)
{
    u64 count;
    unsigned turns = 0;
    if (!in->rep)
        return one(c, in, n);
    while ((count = count_of(c, in)) != 0) {
        u64 done = cpu_stepping(c) ? 0 : run(c, in, n, count);
        if (!done) {
            if (!one(c, in, n))
                return false;
            done = 1;
        }
        count_down(c, in, done);
        if (done < count && (somebody_waits(c) || ++turns == MAX_TURNS))
            return leave_early(c, in);
    }
    return true;
}

bool in_movs(struct vcpu *c, const struct insn *in) { return repeat(c, in, in->op[0].size, movs_one, movs_run); }
bool in_stos(struct vcpu *c, const struct insn *in) { return repeat(c, in, in->op[0].size, stos_one, stos_run); }
bool in_lods(struct vcpu *c, const struct insn *in) { return repeat(c, in, in->op[1].size, lods_one, lods_run); }

/* --- CMPS, SCAS -------------------------------------------------------------------------------------------------- */

static bool cmps_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 a, b;
    if (!mem_read(c, in->seg, offset_of(c, in, GPR_RSI), n, &a) ||
        !mem_read(c, SEG_ES, offset_of(c, in, GPR_RDI), n, &b))
        return false;
    flags_sub(c, n, a, b);
    advance(c, in, GPR_RSI, 1, n);
    advance(c, in, GPR_RDI, 1, n);
    return true;
}

/* The first i with (x[i] == y[i]) != equal, count if there is none. x and y move by step; y may stand still. */
FORM_INLINE u64 compare_elements(const u8 *x, const u8 *y, u64 count, unsigned n, s64 step, s64 y_step, bool equal)
{
    u64 i = 0;
    while (i < count && (form_get(x, n) == form_get(y, n)) == equal) {
        x += step;
        y += y_step;
        i++;
    }
    return i;
}

/* Upwards, words that are the same are passed by eights. */
static u64 same_words(const u8 *x, const u8 *y, u64 bytes)
{
    u64 i = 0;
    while (i + 8 <= bytes && form_get(x + i, 8) == form_get(y + i, 8))
        i += 8;
    return i;
}

static u64 compare_run(const u8 *x, const u8 *y, u64 count, unsigned n, s64 step, s64 y_step, bool equal)
{
    u64 skip = equal && step > 0 && y_step > 0 ? same_words(x, y, count * n) / n : 0;
    x += skip * n;
    y += skip * n;
    count -= skip;
    switch (n) {
    case 1: return skip + compare_elements(x, y, count, 1, step, y_step, equal);
    case 2: return skip + compare_elements(x, y, count, 2, step, y_step, equal);
    case 4: return skip + compare_elements(x, y, count, 4, step, y_step, equal);
    default: return skip + compare_elements(x, y, count, 8, step, y_step, equal);
    }
}

static s64 step_of(const struct vcpu *c, unsigned n) { return c->eflags & EFL_DF ? -(s64)n : (s64)n; }

/* How many of count elements are compared until one ends the repetition, that one included. */
static u64 cmps_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *x = run_of(c, in, in->seg, GPR_RSI, n, false, &count);
    const u8 *y = x ? run_of(c, in, SEG_ES, GPR_RDI, n, false, &count) : NULL;
    if (!y)
        return 0;
    const s64 step = step_of(c, n);
    const u64 i = compare_run(x, y, count, n, step, step, in->rep == REP_F3), last = i < count ? i : count - 1;
    flags_sub(c, n, form_get(x + (s64)last * step, n), form_get(y + (s64)last * step, n));
    advance(c, in, GPR_RSI, last + 1, n);
    advance(c, in, GPR_RDI, last + 1, n);
    return last + 1;
}

static bool scas_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 b;
    if (!mem_read(c, SEG_ES, offset_of(c, in, GPR_RDI), n, &b))
        return false;
    flags_sub(c, n, c->rax, b);
    advance(c, in, GPR_RDI, 1, n);
    return true;
}

/* REPNE SCASB upwards is strlen and memchr. */
static u64 find_byte(const u8 *y, u8 v, u64 count)
{
    const u8 *found = memchr(y, v, count);
    return found ? (u64)(found - y) : count;
}

static u64 scas_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *y = run_of(c, in, SEG_ES, GPR_RDI, n, false, &count);
    if (!y)
        return 0;
    const u64 a = flags_truncate(n, c->rax);
    const s64 step = step_of(c, n);
    const u64 i = n == 1 && step > 0 && in->rep == REP_F2 ? find_byte(y, (u8)a, count)
                : compare_run(y, (const u8 *)&a, count, n, step, 0, in->rep == REP_F3);
    const u64 last = i < count ? i : count - 1;
    flags_sub(c, n, a, form_get(y + (s64)last * step, n));
    advance(c, in, GPR_RDI, last + 1, n);
    return last + 1;
}

FORM_INLINE bool repeat_compare(struct vcpu *c, const struct insn *in, unsigned n, one_fn *one, run_fn *run)
{
    u64 count;
    unsigned turns = 0;
    if (!in->rep)
        return one(c, in, n);
    while ((count = count_of(c, in)) != 0) {
        u64 done = cpu_stepping(c) ? 0 : run(c, in, n, count);
        if (!done) {
            if (!one(c, in, n))
                return false;
            done = 1;
        }
        count_down(c, in, done);
        if (flags_zf(c) != (in->rep == REP_F3))
            return true;
        if (done < count && (somebody_waits(c) || ++turns == MAX_TURNS))
            return leave_early(c, in);
    }
    return true;
}

bool in_cmps(struct vcpu *c, const struct insn *in)
{
    return repeat_compare(c, in, in->op[0].size, cmps_one, cmps_run);
}

bool in_scas(struct vcpu *c, const struct insn *in)
{
    return repeat_compare(c, in, in->op[1].size, scas_one, scas_run);
}

/* --- INS, OUTS: the device sees every element; the port is read only when the store cannot fault ----------------- */

static bool ins_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 off = offset_of(c, in, GPR_RDI);
    if (!mem_probe_write(c, SEG_ES, off, n))
        return false;
    if (!mem_write(c, SEG_ES, off, n, io_read(c, (u16)c->rdx, n)))
        return false;
    advance(c, in, GPR_RDI, 1, n);
    return true;
}

static bool outs_one(struct vcpu *c, const struct insn *in, unsigned n)
{
    u64 v;
    if (!mem_read(c, in->seg, offset_of(c, in, GPR_RSI), n, &v))
        return false;
    io_write(c, (u16)c->rdx, n, (u32)v);
    advance(c, in, GPR_RSI, 1, n);
    return true;
}

static u64 no_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count) { return 0; }

bool in_ins(struct vcpu *c, const struct insn *in)
{
    unsigned n = in->op[0].size;
    return io_permitted(c, (u16)c->rdx, n) && repeat(c, in, n, ins_one, no_run);
}

bool in_outs(struct vcpu *c, const struct insn *in)
{
    unsigned n = in->op[1].size;
    return io_permitted(c, (u16)c->rdx, n) && repeat(c, in, n, outs_one, no_run);
}
