/* interp_string.c - MOVS CMPS STOS LODS SCAS INS OUTS with and without REP. SDM 2, "REP/REPE/REPZ/REPNE/REPNZ".
 *
 * An iteration commits rSI, rDI, rCX by itself, so a fault in the middle leaves exactly what was done. Where both sides
 * lie in memory that needs no check and DF is 0, iterations run page by page as one copy, fill or scan with the same
 * result as one by one: MOVS with a destination shortly above its source repeats the pattern.
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

/* Host address of the elements at [seg:reg], and how many of at most *count are there; NULL if they need checks. */
static u8 *run_of(struct vcpu *c, const struct insn *in, unsigned seg, unsigned reg, unsigned n, bool write, u64 *count)
{
    u64 off = offset_of(c, in, reg), room;
    const struct segment *s = &c->seg[seg];
    gla a = off;
    if (c->access_checks || (c->eflags & EFL_DF))
        return NULL;
    if (!(write ? s->flat_write : s->flat_read)) {
        if (c->code_size == 8) {
            a += seg >= SEG_FS ? s->base : 0;
        } else {
            if (!mem_in_limit(c, seg, off, n, write, &room))
                return NULL;
            if (room / n < *count)
                *count = room / n;
            a = (u32)(s->base + off);
        }
    }
    /* neither over the end of the page nor of the address size */
    room = PAGE_SIZE - (a & ~PAGE_MASK);
    if (in->addrsize == 2 && room > 0x10000 - off)
        room = 0x10000 - off;
    if (room < n)
        return NULL;
    if (room / n < *count)
        *count = room / n;
    return tlb_hit(write ? c->mmu.wr : c->mmu.rd, a, n);
}

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

static void copy_forward(u8 *to, const u8 *from, u64 count, unsigned n)
{
    u64 bytes = count * n;
    if (to <= from || to >= from + bytes) {
        memmove(to, from, bytes);
        return;
    }
    for (u64 i = 0; i < bytes; i += n) {
        u64 v;
        memcpy(&v, from + i, n);
        memcpy(to + i, &v, n);
    }
}

static u64 movs_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *from = run_of(c, in, in->seg, GPR_RSI, n, false, &count);
    u8 *to = from ? run_of(c, in, SEG_ES, GPR_RDI, n, true, &count) : NULL;
    if (!to)
        return 0;
    copy_forward(to, from, count, n);
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

static u64 stos_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    u8 *to = run_of(c, in, SEG_ES, GPR_RDI, n, true, &count);
    if (!to)
        return 0;
    if (n == 1) {
        memset(to, (u8)c->rax, count);
    } else {
        for (u64 i = 0; i < count; i++)
            memcpy(to + i * n, &c->rax, n);
    }
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
    gpr_write(c, GPR_RAX, n, form_get(from + (count - 1) * n, n));
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

/* How many of count elements are compared until one ends the repetition, that one included. */
static u64 cmps_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *x = run_of(c, in, in->seg, GPR_RSI, n, false, &count);
    const u8 *y = x ? run_of(c, in, SEG_ES, GPR_RDI, n, false, &count) : NULL;
    u64 i = 0;
    if (!y)
        return 0;
    while (i < count && (form_get(x + i * n, n) == form_get(y + i * n, n)) == (in->rep == REP_F3))
        i++;
    u64 last = i < count ? i : count - 1;
    flags_sub(c, n, form_get(x + last * n, n), form_get(y + last * n, n));
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

static u64 scas_run(struct vcpu *c, const struct insn *in, unsigned n, u64 count)
{
    const u8 *y = run_of(c, in, SEG_ES, GPR_RDI, n, false, &count);
    u64 i = 0, a = flags_truncate(n, c->rax);
    if (!y)
        return 0;
    while (i < count && (a == form_get(y + i * n, n)) == (in->rep == REP_F3))
        i++;
    u64 last = i < count ? i : count - 1;
    flags_sub(c, n, a, form_get(y + last * n, n));
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
