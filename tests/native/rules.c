/* rules.c - what the differential test leaves out, or takes for equal, and why. `native-diff -rules` prints the table.
 *
 * Three kinds of reason: the manual leaves a result undefined; the result is no function of the state (time, random
 * numbers, the kernel); AMD's and Intel's processors differ, and we model Intel's while the host is AMD's.
 */
#include <stdio.h>
#include <string.h>

#include "cpu/insn_table.h"
#include "tests/native/native.h"

enum kind {
    NOT_RUN,  /* never */
    PARTLY,   /* some cases are not run: rules_may_run */
    FORGIVEN, /* run; some differences do not count: rules_forgive, rules_defined_flags */
};

/* clang-format off */
static const struct rule { enum kind kind; const char *names, *where, *why; } rules[] = {
    /* kind, mnemonics, manual, reason */
    { NOT_RUN, "cpuid xgetbv rdpid", "SDM 2A CPUID",
      "describe the processor, not the state" },
    { NOT_RUN, "rdtsc rdtscp rdpmc rdrand rdseed", "SDM 2B",
      "results are no function of the state" },
    { NOT_RUN, "syscall sysenter int3 int1", "SDM 3A 6.3",
      "enter the host's kernel" },
    { NOT_RUN, "sgdt sidt sldt str smsw", "SDM 3A 2.5, UMIP",
      "Linux emulates them where CR4.UMIP forbids them" },
    { NOT_RUN, "monitor mwait", "SDM 2B MONITOR",
      "CPL 3: depends on MSRs" },
    { NOT_RUN, "sysret", "SDM 2B SYSRET",
      "AMD: valid in compatibility mode" },
    { NOT_RUN, "rsm", "SDM 3C 32.3",
      "outside SMM: #UD, which hypervisors see first" },
    { PARTLY, "int", "SDM 2A INT n",
      "not 3, 4 and 80h, which enter the host's kernel" },
    { PARTLY, "jmp call ret jcc loop loope loopne jcxz", "SDM 2A Jcc",
      "64-bit mode with 66: ignored by Intel, honoured by AMD" },
    { PARTLY, "shld shrd", "SDM 2B SHLD",
      "16 bits, count above 16: undefined" },
    { PARTLY, "bswap", "SDM 2A BSWAP",
      "16 bits: undefined" },
    { PARTLY, "lar lsl verr verw", "SDM 3A 3.5.1",
      "selectors of the TSS, the LDT and the CPU number depend on the host's kernel" },
    { PARTLY, "call_far jmp_far lss lfs lgs", "SDM 2A LDS, CALL",
      "REX.W: 16:64 pointers with Intel, 16:32 with AMD" },
    { PARTLY, "movsxd", "SDM 2B MOVSXD",
      "16-bit operand from memory: AMD reads 32 bits" },
    { PARTLY, "loope loopne", "SDM 2A 2.1.1",
      "F2, F3: reserved; with AMD they choose the condition" },
    { PARTLY, "nop (0F 0D), registers", "SDM 2B PREFETCHW",
      "AMD: #UD" },
    { FORGIVEN, "all", "SDM 1 A, undef of insn.def",
      "undefined flags" },
    { FORGIVEN, "all", "SDM 2A IRET",
      "null selectors 1..3 read as 0 once the kernel has returned to the handler that looks at them" },
    { FORGIVEN, "all", "SDM 3A 6.9",
      "LOCK where it is not allowed and a bad memory operand: AMD may see the operand's fault first" },
    { FORGIVEN, "lar", "SDM 2A LAR",
      "bits 19:16 are undefined" },
    { FORGIVEN, "push_sreg", "SDM 2B PUSH",
      "32 bits: Intel writes 16 bits and leaves the rest of the slot, AMD writes zeros" },
    { FORGIVEN, "pusha popa", "SDM 3A 6.9",
      "after a fault: AMD has pushed or popped some already" },
    { FORGIVEN, "arpl", "SDM 2A ARPL",
      "read-only destination whose RPL is not raised: fault or not" },
    { PARTLY, "vmaskmovps vmaskmovpd vpmaskmovd vpmaskmovq", "SDM 3A 5.3",
      "elements beyond the largest offset of the address size" },
    { FORGIVEN, "call", "SDM 3A 6.9",
      "target and stack both bad: which fault comes first" },
    { PARTLY, "verr verw with LOCK", "SDM 2A 2.1.1",
      "AMD ignores the prefix" },
    { FORGIVEN, "lds les lss lfs lgs", "SDM 3A 6.9",
      "which of several faults comes first" },
    { PARTLY, "call_far ret_far iret jmp_far", "SDM 2A CALL",
      "from other modes to 64-bit code, with SS not flat: AMD's stack accesses are the new mode's" },
    { PARTLY, "pextrd pinsrd", "SDM 2B PEXTRD",
      "VEX.W outside 64-bit mode: ignored by Intel, #UD with AMD" },
    { FORGIVEN, "call_far", "SDM 2A CALL",
      "from 64-bit to other code, with RSP above 4 GiB: AMD pushes with the new mode's stack pointer" },
    { FORGIVEN, "x87", "SDM 3A 6.9",
      "10 bytes, outside 64-bit mode: #GP, or #PF for the first part" },
    { FORGIVEN, "xsave xrstor xsaveopt xsavec", "SDM 1 13.4",
      "parts of the area for components that are not moved may fault" },
    { FORGIVEN, "maskmovq maskmovdqu", "SDM 2B MASKMOVDQU",
      "bytes that are not selected may fault" },
    { FORGIVEN, "fst fstp fist fistp fisttp fbstp", "SDM 1 8.6",
      "unmasked exception and bad address: AMD faults first, with us nothing is stored then" },
    { FORGIVEN, "x87", "SDM 1 8.1.8",
      "FOP, FIP, FDP without a pending exception: AMD does not keep them; FDP of instructions without "
      "memory operand" },
    { FORGIVEN, "maskmovq", "SDM 3A 6.9",
      "after a fault: AMD has changed to MMX state already" },
    { PARTLY, "all", "SDM 1 3.3.7.1",
      "segment bases that take a non-canonical offset to a canonical address: AMD may fault" },
    { FORGIVEN, "cmps", "SDM 3A 6.9",
      "both operands fault: which of them comes first" },
    { FORGIVEN, "enter call_far ret_far iret jmp_far", "SDM 3A 6.9",
      "which of several faults comes first, and memory below rSP then: AMD pushes before it has checked "
      "everything" },
    { PARTLY, "fxsave.. xsave.. lds.. x87 mmx sse", "SDM 3A 6.15, #AC",
      "with EFLAGS.AC: what is checked, and before or after #GP and #PF, depends on the processor" },
    { FORGIVEN, "fxsave fxrstor xsave xrstor xsaveopt xsavec fldenv frstor fnstenv fnsave", "SDM 3A 6.9",
      "bad address: AMD looks at the end of the image first; #GP for alignment before #SS" },
    { FORGIVEN, "all", "SDM 3A 4.7",
      "Linux reports page faults above user space as protection faults" },
    { FORGIVEN, "rcpps rcpss rsqrtps rsqrtss", "SDM 2B RCPPS",
      "relative error up to 1.5 * 2^-12" },
    { FORGIVEN, "fsin fcos fsincos fptan fpatan f2xm1 fyl2x fyl2xp1", "SDM 1 8.3.10",
      "one unit in the last place, and C1 accordingly" },
    { FORGIVEN, "fcomi fcomip fucomi fucomip", "SDM 2A FCOMI",
      "C1: cleared by Intel, left alone by AMD" },
    { FORGIVEN, "fxsave xsave xsaveopt xsavec fnstenv fnsave", "SDM 1 10.5.1",
      "pointers and MXCSR_MASK in the image: AMD keeps pointers only while an exception is pending" },
    { PARTLY, "sha1msg1 sha1msg2 sha1nexte sha1rnds4 sha256msg1 sha256msg2 sha256rnds2", "SDM 2A 2.4, type 4",
      "AMD takes memory operands at any alignment" },
};
/* clang-format on */

static bool listed(const char *names, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = names; (p = strstr(p, name)) != NULL; p += n)
        if ((p == names || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

const char *rules_not_run(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].kind == NOT_RUN && listed(rules[i].names, name))
            return rules[i].why;
    return NULL;
}

void rules_list(void)
{
    static const char *const kinds[] = { "not run", "partly run", "forgiven" };
    for (unsigned i = 0; i < ARRAY_LEN(rules); i++)
        printf("%-10s %-40s %s (%s)\n", kinds[rules[i].kind], rules[i].names, rules[i].why, rules[i].where);
}

/* --- what this host has --------------------------------------------------------------------------------------------
 */

static bool host_has(unsigned feature)
{
    static const struct {
        u32 leaf, sub;
        u8 reg, bit;
    } bits[CPUID_FEATURE_COUNT] = {
#define F(id, name, leaf, sub, reg, bit) [CPUID_##id] = { leaf, sub, reg, bit },
        CPUID_FEATURES(F)
#undef F
    };
    static s8 known[CPUID_FEATURE_COUNT];
    u32 r[4];
    if (feature == CPUID_BASE)
        return true;
    if (!known[feature])
        known[feature] =
            host_cpuid(bits[feature].leaf, bits[feature].sub, r) && r[bits[feature].reg] >> bits[feature].bit & 1 ? 1
                                                                                                                  : -1;
    return known[feature] > 0;
}

bool rules_host_runs(unsigned row, bool vex, unsigned vl)
{
    return host_has(insn_rows[row].cpuid) && (!vex || host_has(CPUID_AVX)) && (!vex || vl < 32 || host_has(CPUID_AVX2));
}

/* Opcodes that the decoder rightly takes for #UD while the host knows them: SSE4a, VAES, VPCLMULQDQ, group 0F 01;
 * VPERMQ and VPERMPD with VEX.W 0, which AMD ignores. */
static bool host_extra(const struct test_case *t)
{
    const u8 *p = t->bytes, *end = p + 15;
    while (p < end && (strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", *p) != NULL) && *p)
        p++;
    if (t->mode == 8 && (*p & 0xf0) == 0x40)
        p++;
    if (p > end - 4)
        return true;
    if (p[0] == 0xc4 && (p[1] & 31) == 2)
        return p[3] >= 0xdc && p[3] <= 0xdf;
    if (p[0] == 0xc4 && (p[1] & 31) == 3)
        return p[3] == 0x44 || p[3] <= 0x01;
    if (p[0] != 0x0f)
        return p[0] == 0xf1 || p[0] == 0xcc || p[0] == 0xcd;
    if (p[1] == 0x00)
        return memchr(t->bytes, 0xf0, 14) != NULL;
    return p[1] == 0x01 || p[1] == 0x05 || p[1] == 0x34 || p[1] == 0x2b || p[1] == 0x78 || p[1] == 0x79 ||
           p[1] == 0xc7 || p[1] == 0xae || p[1] == 0x0e;
}

/* --- cases that are not run ----------------------------------------------------------------------------------------
 */

static unsigned shift_count(const struct test_case *t)
{
    const struct operand *o = t->in.op[2].kind != OP_NONE ? &t->in.op[2] : &t->in.op[1];
    const u64 count = o->kind == OP_IMM ? t->in.imm : t->before.gpr[GPR_RCX];
    return (unsigned)(count & (t->in.op[0].size == 8 ? 63 : 31));
}

static bool kernel_selector(const struct test_case *t)
{
    u64 sel = t->in.op[1].kind == OP_GPR ? t->before.gpr[t->in.op[1].reg] : t->before.gpr[t->in.op[0].reg & 15];
    sel &= 0xfffc;
    return sel == 0x78 || sel == 0x40 || sel == 0x50;
}

/* in->rex_w does not tell outside 64-bit mode. */
static bool has_vex_w(const struct test_case *t)
{
    const u8 *vex = memchr(t->bytes, 0xc4, 8);
    return vex && vex[2] & 0x80;
}

bool rules_may_run(const struct test_case *t)
{
    const struct insn *in = &t->in;
    const char *name = case_name(t);
    if (t->status != DECODE_OK)
        return !host_extra(t);
    const struct insn_row *row = case_row(t);
    if (rules_not_run(name) || !rules_host_runs(in->row, in->vex, in->vl))
        return false;
    if (t->before.rflags & EFL_AC && (row->attr & (ATTR_SSE | ATTR_MMX | ATTR_X87) ||
                                      listed("fxsave fxrstor xsave xrstor xsaveopt xsavec lds les lss lfs lgs bound "
                                             "call_far jmp_far ret_far iret enter push_sreg",
                                             name)))
        return false;
    if (listed("shld shrd", name))
        return !(in->op[0].size == 2 && shift_count(t) > 16);
    if (listed("bt bts btr btc", name) && in->modrm_mem && t->mode == 8 &&
        ((in->seg == SEG_FS && t->before.fsbase >> 40) || (in->seg == SEG_GS && t->before.gsbase >> 40)))
        return false;
    if (listed("call_far jmp_far lss lfs lgs", name) && in->rex_w)
        return false;
    if (listed("movsxd", name))
        return !(in->opsize == 2 && in->modrm_mem);
    if (listed("loope loopne", name) && in->prefix & (PREFIX_F2 | PREFIX_F3))
        return false;
    if (listed("nop", name) && in->op[0].kind == OP_GPR)
        return insn_encodings[in->row].opcode != 0x0f0d;
    if (listed("vmaskmovps vmaskmovpd vpmaskmovd vpmaskmovq", name) && t->mode != 8) {
        const u32 offset = (u32)(t->operand - guest_segment_base(t->before.sel[in->seg]));
        return offset + in->vl <= (in->addrsize == 2 ? 0x10000u : 0xffffffffu) && offset < 0xffffffc0;
    }
    if (listed("pextrd pinsrd", name) && in->vex && t->mode != 8)
        return !has_vex_w(t);
    if (listed("bswap", name))
        return in->opsize != 2;
    if (row->cpuid == CPUID_SHA && in->modrm_mem && t->operand & 15)
        return false;
    if (listed("lar lsl verr verw", name))
        return !kernel_selector(t);
    if (listed("int", name))
        return (u8)in->imm != 0x80 && (u8)in->imm != 3 && (u8)in->imm != 4;
    if (row->attr & ATTR_BRANCH && row->attr & ATTR_F64 && t->mode == 8)
        return !(in->prefix & PREFIX_66);
    return true;
}

/* --- differences that do not count ---------------------------------------------------------------------------------
 */

u32 rules_defined_flags(const struct test_case *t)
{
    const struct insn *in = &t->in;
    if (t->status != DECODE_OK)
        return EFL_STATUS;
    const struct insn_row *row = case_row(t);
    u32 undef = row->undef;
    if (row->attr & ATTR_CONDFL && !(row->attr & ATTR_STRING)) {
        const unsigned count = shift_count(t), bits = 8u * in->op[0].size;
        if (count == 0)
            return EFL_STATUS;
        if (count == 1)
            undef &= ~(u32)EFL_OF;
        if (count >= bits && listed("shl shr", row->name))
            undef |= EFL_CF;
    }
    return EFL_STATUS & ~undef;
}

static bool f32_close(u32 a, u32 b)
{
    float x, y;
    if (a == b)
        return true;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    if (!(x - x == 0) || !(y - y == 0) || (a ^ b) >> 31)
        return false;
    const double d = (double)x - y, big = x < 0 ? -x : x;
    return (d < 0 ? -d : d) <= big * (3.0 / 4096) || (big < 1.2e-38 && (y < 0 ? -y : y) < 1.2e-38);
}

static void forgive_approximation(const struct native_state *ours, struct native_state *host)
{
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned k = 0; k < 8; k++) {
            const u8 *a = k < 4 ? ours->fx + FX_XMM + 16 * i + 4 * k : ours->ymmh[i] + 4 * (k - 4);
            u8 *b = k < 4 ? host->fx + FX_XMM + 16 * i + 4 * k : host->ymmh[i] + 4 * (k - 4);
            u32 x, y;
            memcpy(&x, a, 4);
            memcpy(&y, b, 4);
            if (f32_close(x, y))
                memcpy(b, a, 4);
        }
    }
}

static void forgive_transcendental(const struct native_state *ours, struct native_state *host)
{
    const u64 integer_bit = (u64)1 << 63;
    for (unsigned i = 0; i < 8; i++) {
        struct f80 a = { 0 }, b = { 0 };
        memcpy(&a, ours->fx + FX_ST + 16 * i, 10);
        memcpy(&b, host->fx + FX_ST + 16 * i, 10);
        const u128 x = (u128)(a.se & 0x7fff) << 63 | (a.mant & ~integer_bit),
                   y = (u128)(b.se & 0x7fff) << 63 | (b.mant & ~integer_bit);
        if (a.se >> 15 == b.se >> 15 && (x > y ? x - y : y - x) <= 1)
            memcpy(host->fx + FX_ST + 16 * i, &a, 10);
    }
    host->fx[FX_FSW + 1] = (u8)((host->fx[FX_FSW + 1] & ~2) | (ours->fx[FX_FSW + 1] & 2));
}

/* The pointers of an image at t->operand: offsets and lengths. */
static void forgive_pointers(const struct test_case *t, const u8 *ours, u8 *host)
{
    unsigned from = 6, bytes = 26; /* FOP FIP FDP; MXCSR stands between */
    if (listed("fnstenv fnsave", case_name(t))) {
        from = t->in.opsize == 2 ? 6 : 12;
        bytes = t->in.opsize == 2 ? 8 : 16;
    }
    for (unsigned i = from; i < from + bytes; i++) {
        const u64 at = t->operand + i - DATA_AT;
        if (at < DATA_BYTES && !(from == 6 && bytes == 26 && i >= 24 && i < 28))
            host[at] = ours[at];
    }
}

static bool has_lock(const struct test_case *t) { return memchr(t->bytes, 0xf0, 14) != NULL; }

static void forgive_fault(const struct native_state *ours, struct native_state *host)
{
    host->vector = ours->vector;
    host->error = ours->error;
    host->cr2 = ours->cr2;
}

static unsigned operand_bytes(const struct test_case *t)
{
    for (unsigned i = 0; i < 4; i++)
        if (t->in.op[i].kind == OP_MEM)
            return t->in.op[i].size;
    return 0;
}

/* The upper half of the slot that rSP points to. */
static void forgive_slot(const struct test_case *t, const struct native_state *ours, const u8 *our_mem, u8 *host_mem)
{
    const u16 ss = t->before.sel[SEG_SS];
    const u64 sp = ss == LDT_SEL(LDT_DATA16) ? (u16)ours->gpr[GPR_RSP] : (u32)ours->gpr[GPR_RSP];
    for (unsigned i = 2; i < 4; i++) {
        const u64 at = guest_segment_base(ss) + sp + i - DATA_AT;
        if (at < DATA_BYTES)
            host_mem[at] = our_mem[at];
    }
}

/* FOP, FIP, FDP count where both makers' processors keep them. */
static void forgive_last_x87(const struct test_case *t, const struct native_state *ours, struct native_state *host)
{
    const bool kept =
        t->status == DECODE_OK && case_row(t)->attr & ATTR_X87 && host->vector == NO_FAULT && host->fx[FX_FSW] & 0x80 &&
        !listed("fldcw fnstcw fnstsw fnclex fninit fneni fndisi fnsetpm fldenv frstor fnstenv fnsave", case_name(t));
    if (!kept)
        memcpy(host->fx + FX_FOP, ours->fx + FX_FOP, 10);
    if (!kept || !t->in.modrm_mem)
        memcpy(host->fx + FX_FDP, ours->fx + FX_FDP, 8);
}

void rules_forgive(const struct test_case *t, struct native_state *ours, struct native_state *host, u8 *our_mem,
                   u8 *host_mem)
{
    const char *name = case_name(t);
    const u32 flags = (host->vector == NO_FAULT && ours->vector == NO_FAULT ? rules_defined_flags(t) : EFL_STATUS) |
                      EFL_DF | EFL_AC | EFL_NT | EFL_ID | EFL_IF | EFL_IOPL;
    host->rflags = (ours->rflags & ~(u64)flags) | (host->rflags & flags);
    if (host->vector == EXC_PF && host->cr2 >= 0x7ffffffff000) /* TASK_SIZE_MAX */
        host->error = ours->error |= PF_P;
    if (host->vector != EXC_PF)
        host->cr2 = ours->cr2;
    if (host->vector == NO_FAULT || ours->vector != host->vector ||
        (host->vector != EXC_GP && host->vector != EXC_PF && host->vector != EXC_SS && host->vector != EXC_NP))
        host->error = ours->error;
    for (unsigned i = 0; i < 16 && (t->mode != 8 || ours->sel[SEG_CS] != SEL_CODE64);
         i++) { /* upper halves are undefined outside 64-bit mode */
        host->gpr[i] = (u32)host->gpr[i];
        ours->gpr[i] = (u32)ours->gpr[i];
    }
    if (ours->sel[SEG_CS] != SEL_CODE64 || t->mode != 8 || listed("mov_sreg pop_sreg lfs lgs", name)) {
        host->fsbase = ours->fsbase;
        host->gsbase = ours->gsbase;
    }
    forgive_last_x87(t, ours, host);
    memcpy(host->fx + 28, ours->fx + 28, 4);
    memcpy(host->fx + 416, ours->fx + 416, 96);
    for (unsigned i = 0; i < 8; i++)
        memcpy(host->fx + FX_ST + 16 * i + 10, ours->fx + FX_ST + 16 * i + 10, 6);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (ours->sel[i] < 4 && !host->sel[i])
            host->sel[i] = ours->sel[i];
    if (t->status == DECODE_UD && ours->vector == EXC_UD && has_lock(t) && host->vector >= EXC_SS &&
        host->vector <= EXC_PF)
        forgive_fault(ours, host);
    if (t->status != DECODE_OK)
        return;
    if (listed("lar", name) && t->in.op[0].kind == OP_GPR)
        host->gpr[t->in.op[0].reg] =
            (host->gpr[t->in.op[0].reg] & ~(u64)0xf0000) | (ours->gpr[t->in.op[0].reg] & 0xf0000);
    if (listed("cmps", name) && ours->vector != NO_FAULT && host->vector != NO_FAULT)
        forgive_fault(ours, host);
    if (listed("push_sreg", name) && t->mode != 8 && t->in.opsize == 4) {
        if (host->vector != NO_FAULT) {
            *host = *ours;
            memcpy(host_mem, our_mem, DATA_BYTES);
        }
        forgive_slot(t, ours, our_mem, host_mem);
    }
    if (listed("pusha popa", name) && ours->vector != NO_FAULT && host->vector != NO_FAULT) {
        forgive_fault(ours, host);
        memcpy(host_mem, our_mem, DATA_BYTES);
        memcpy(host->gpr, ours->gpr, sizeof(host->gpr));
    }
    if (listed("maskmovq", name) && ours->vector != NO_FAULT && host->vector == ours->vector) {
        memcpy(host->fx, ours->fx, 5);
        memcpy(host->fx + FX_ST, ours->fx + FX_ST, 128);
    }
    if (listed("arpl lds les lss lfs lgs", name) && ours->vector != NO_FAULT && host->vector != NO_FAULT)
        forgive_fault(ours, host);
    if (listed("maskmovq maskmovdqu", name) && host->vector != NO_FAULT) {
        forgive_fault(ours, host);
        host->rip = ours->rip;
        memcpy(host_mem, our_mem, DATA_BYTES);
    }
    if (listed("call_far", name) && t->mode == 8 && t->before.gpr[GPR_RSP] >> 32 && host->sel[SEG_CS] != SEL_CODE64) {
        *host = *ours;
        memcpy(host_mem, our_mem, DATA_BYTES);
    }
    if (case_row(t)->attr & ATTR_X87 && t->mode != 8 && operand_bytes(t) == 10 && ours->vector != NO_FAULT &&
        host->vector != NO_FAULT)
        forgive_fault(ours, host);
    if (listed("fst fstp fist fistp fisttp fbstp", name) && ours->vector == NO_FAULT && host->vector >= EXC_SS &&
        host->vector <= EXC_PF && ours->fx[FX_FSW] & 0x80) {
        forgive_fault(ours, host);
        host->rip = ours->rip;
        memcpy(host->fx + FX_FSW, ours->fx + FX_FSW, 2);
    }
    if (listed("arpl", name) && ours->vector != NO_FAULT && host->vector == NO_FAULT &&
        !memcmp(host_mem, our_mem, DATA_BYTES)) {
        forgive_fault(ours, host);
        host->rip = ours->rip;
        host->rflags = ours->rflags;
    }
    if (listed("enter call call_far ret_far iret jmp_far", name) && ours->vector != NO_FAULT &&
        host->vector != NO_FAULT) {
        forgive_fault(ours, host);
        memcpy(host_mem, our_mem, DATA_BYTES);
    }
    if (listed("xsave xrstor xsaveopt xsavec", name) && ours->vector == NO_FAULT && host->vector >= EXC_SS &&
        host->vector <= EXC_PF) {
        *host = *ours;
        memcpy(host_mem, our_mem, DATA_BYTES);
    }
    if (listed("fxsave fxrstor xsave xrstor xsaveopt xsavec fldenv frstor fnstenv fnsave", name) &&
        ours->vector >= EXC_SS && host->vector >= EXC_SS && ours->vector <= EXC_PF && host->vector <= EXC_PF)
        forgive_fault(ours, host);
    if (listed("rcpps rcpss rsqrtps rsqrtss", name))
        forgive_approximation(ours, host);
    if (listed("fsin fcos fsincos fptan fpatan f2xm1 fyl2x fyl2xp1", name))
        forgive_transcendental(ours, host);
    if (listed("fcomi fcomip fucomi fucomip", name))
        host->fx[FX_FSW + 1] = (u8)((host->fx[FX_FSW + 1] & ~2) | (ours->fx[FX_FSW + 1] & 2));
    if (listed("fxsave xsave xsaveopt xsavec fnstenv fnsave", name))
        forgive_pointers(t, our_mem, host_mem);
}
