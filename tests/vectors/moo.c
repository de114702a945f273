/* moo.c - vectors in the MOO format of the single-step test suites (real mode, 16-bit registers).
 *
 * A file is a row of chunks: four letters, 32-bit length, body. A TEST chunk holds NAME, BYTS, INIT and FINA (each with REGS: a
 * bit mask and the registers it names, and RAM: address and byte), and EXCP (vector, address of the pushed FLAGS) where the
 * instruction faulted. Every test ends in HLT, which the final state includes.
 * metadata.json tells for each opcode which flags are undefined ("flags-mask"); modern-differs.txt lists cases where a
 * CPU later than the 286 does something else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vectors/vectors.h"

/* Order of REGS in the 286's files: bit i of the mask. */
enum { R_AX, R_BX, R_CX, R_DX, R_CS, R_SS, R_DS, R_ES, R_SP, R_BP, R_SI, R_DI, R_IP, R_FLAGS, R_COUNT };
static const char *const reg_names[R_COUNT] = { "ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags" };
static const u8 gprs[R_COUNT] = { [R_AX] = GPR_RAX, [R_BX] = GPR_RBX, [R_CX] = GPR_RCX, [R_DX] = GPR_RDX, [R_SP] = GPR_RSP,
                                  [R_BP] = GPR_RBP, [R_SI] = GPR_RSI, [R_DI] = GPR_RDI, [R_IP] = GPR_RIP };
static const u8 sregs[R_COUNT] = { [R_CS] = SEG_CS, [R_SS] = SEG_SS, [R_DS] = SEG_DS, [R_ES] = SEG_ES };
static bool is_sreg(unsigned i) { return i >= R_CS && i <= R_ES; }

/* A 286 in real mode keeps IOPL and NT at zero; later CPUs let POPF and IRET set them. */
#define REAL_MODE_FLAGS_286 0x0fff

#define MAX_RAM 4096
struct state { u32 mask; u16 reg[R_COUNT]; unsigned ram_count; struct { u32 at; u8 byte; } ram[MAX_RAM]; };
struct test { u32 index; char name[128]; u8 bytes[32]; unsigned len; struct state init, final; bool fault; u8 vector; };

static u32 le32(const u8 *p) { return (u32)(p[0] | p[1] << 8 | p[2] << 16) | (u32)p[3] << 24; }

struct cursor { const u8 *at, *end; };
struct chunk { const u8 *kind, *body; u32 size; };

static bool next_chunk(struct cursor *c, struct chunk *k)
{
    if (c->end - c->at < 8)
        return false;
    k->kind = c->at;
    k->size = le32(c->at + 4);
    k->body = c->at + 8;
    if (k->size > (size_t)(c->end - k->body))
        return false;
    c->at = k->body + k->size;
    return true;
}

static bool is(const struct chunk *k, const char *kind) { return !memcmp(k->kind, kind, 4); }

static void parse_state(const struct chunk *outer, struct state *s)
{
    struct cursor c = { outer->body, outer->body + outer->size };
    struct chunk k;
    s->mask = s->ram_count = 0;
    while (next_chunk(&c, &k)) {
        if (is(&k, "REGS") && k.size >= 2) {
            const u8 *p = k.body + 2;
            s->mask = (u32)(k.body[0] | k.body[1] << 8);
            for (unsigned i = 0; i < R_COUNT; i++)
                if (s->mask & 1u << i && p + 2 <= k.body + k.size) {
                    s->reg[i] = (u16)(p[0] | p[1] << 8);
                    p += 2;
                }
        } else if (is(&k, "RAM ") && k.size >= 4) {
            u32 n = le32(k.body);
            for (u32 i = 0; i < n && i < MAX_RAM && 4 + i * 5 + 5 <= k.size; i++) {
                s->ram[i].at = le32(k.body + 4 + i * 5);
                s->ram[i].byte = k.body[4 + i * 5 + 4];
                s->ram_count = i + 1;
            }
        }
    }
}

/* NAME and BYTS: a 32-bit length and the bytes. */
static unsigned parse_text(const struct chunk *k, void *out, unsigned room)
{
    u32 n = k->size >= 4 ? le32(k->body) : 0;
    if (n > k->size - 4)
        n = k->size - 4;
    if (n > room)
        n = room;
    memcpy(out, k->body + 4, n);
    return n;
}

static void parse_test(const struct chunk *outer, struct test *t)
{
    struct cursor c = { outer->body + 4, outer->body + outer->size };
    struct chunk k;
    t->index = le32(outer->body);
    t->fault = false;
    while (next_chunk(&c, &k)) {
        if (is(&k, "NAME"))
            t->name[parse_text(&k, t->name, sizeof t->name - 1)] = 0;
        else if (is(&k, "BYTS"))
            t->len = parse_text(&k, t->bytes, sizeof t->bytes);
        else if (is(&k, "INIT"))
            parse_state(&k, &t->init);
        else if (is(&k, "FINA"))
            parse_state(&k, &t->final);
        else if (is(&k, "EXCP") && k.size >= 1) {
            t->fault = true;
            t->vector = k.body[0];
        }
    }
}

static void set_state(struct rig *r, const struct state *s)
{
    struct vcpu *c = r->cpu;
    for (unsigned i = 0; i < s->ram_count; i++)
        rig_write(r, s->ram[i].at, &s->ram[i].byte, 1);
    for (unsigned i = 0; i < R_FLAGS; i++) {
        if (is_sreg(i))
            segment_set_real(c, sregs[i], s->reg[i]);
        else
            c->gpr[gprs[i]] = s->reg[i];
    }
    rflags_set(c, s->reg[R_FLAGS] & REAL_MODE_FLAGS_286);
    c->halted = false;
    segment_refresh(c);
}

static u16 get_reg(struct vcpu *c, unsigned i)
{
    return i == R_FLAGS ? (u16)rflags_get(c) : is_sreg(i) ? c->seg[sregs[i]].sel : (u16)c->gpr[gprs[i]];
}

/* Where the FLAGS that a fault pushed stand: the third word from the top of the stack. */
static u32 pushed_flags_at(const struct test *t)
{
    u16 sp = t->final.mask & 1u << R_SP ? t->final.reg[R_SP] : t->init.reg[R_SP];
    u16 ss = t->final.mask & 1u << R_SS ? t->final.reg[R_SS] : t->init.reg[R_SS];
    return ((u32)ss << 4) + (u16)(sp + 4);
}

/* Compares with the state that the CPU of the suite had; describes the first difference. */
static bool compare(struct rig *r, const struct test *t, u16 flags_mask, char *why, size_t size)
{
    for (unsigned i = 0; i < R_COUNT; i++) {
        u16 want = t->final.mask & 1u << i ? t->final.reg[i] : t->init.reg[i], got = get_reg(r->cpu, i);
        u16 mask = i == R_FLAGS ? flags_mask & REAL_MODE_FLAGS_286 : 0xffff;
        if ((want ^ got) & mask)
            return snprintf(why, size, "%s is %04x, must be %04x (mask %04x)", reg_names[i], got, want, mask), false;
    }
    for (unsigned i = 0; i < t->final.ram_count; i++) {
        u32 at = t->final.ram[i].at;
        u8 got, mask = 0xff;
        rig_read(r, at, &got, 1);
        if (t->fault && at - pushed_flags_at(t) < 2)
            mask = (u8)(flags_mask >> (at - pushed_flags_at(t)) * 8);
        if ((got ^ t->final.ram[i].byte) & mask)
            return snprintf(why, size, "byte at %06x is %02x, must be %02x", at, got, t->final.ram[i].byte), false;
    }
    return true;
}

static void describe(const struct test *t, const char *why, char *out, size_t size)
{
    int n = snprintf(out, size, "case %u '%s' bytes", t->index, t->name);
    for (unsigned i = 0; i < t->len; i++)
        n += snprintf(out + n, size - (size_t)n, " %02x", t->bytes[i]);
    n += snprintf(out + n, size - (size_t)n, ": %s\n   before:", why);
    for (unsigned i = 0; i < R_COUNT; i++)
        n += snprintf(out + n, size - (size_t)n, " %s=%04x", reg_names[i], t->init.reg[i]);
    n += snprintf(out + n, size - (size_t)n, "\n   after: ");
    for (unsigned i = 0; i < R_COUNT; i++)
        if (t->final.mask & 1u << i)
            n += snprintf(out + n, size - (size_t)n, " %s=%04x", reg_names[i], t->final.reg[i]);
    for (unsigned i = 0; i < t->init.ram_count && n < (int)size - 64; i++)
        n += snprintf(out + n, size - (size_t)n, "%s %06x:%02x", i ? "" : "\n   memory:", t->init.ram[i].at, t->init.ram[i].byte);
}

/* ------------------------------------------------------------------ the suite's own lists ----- */
/* "flags-mask" of opcode "F7.7" in metadata.json; 0xffff if there is none. */
static u16 flags_mask(const char *folder, const char *opcode)
{
    static char loaded_from[1024];
    static char *text;
    char path[1100], key[32], reg[8] = "";
    if (strcmp(loaded_from, folder)) {
        size_t size;
        snprintf(path, sizeof path, "%s/metadata.json", folder);
        free(text);
        text = (char *)read_gz(path, &size);        /* zlib reads plain files too */
        snprintf(loaded_from, sizeof loaded_from, "%s", folder);
    }
    const char *dot = strchr(opcode, '.');
    snprintf(key, sizeof key, "\"%.*s\": {", dot ? (int)(dot - opcode) : 8, opcode);
    if (dot)
        snprintf(reg, sizeof reg, "\"%c\": {", dot[1]);
    const char *p = text ? strstr(text, "\"opcodes\"") : NULL;
    p = p ? strstr(p, key) : NULL;
    p = p && dot ? strstr(p, reg) : p;
    const char *end = p ? strchr(p, '}') : NULL, *mask = p ? strstr(p, "\"flags-mask\": ") : NULL;
    return mask && mask < end ? (u16)atoi(mask + strlen("\"flags-mask\": ")) : 0xffff;
}

static bool modern_differs(const char *folder, const char *opcode, u32 index)
{
    char path[1100], line[64], want[64];
    snprintf(path, sizeof path, "%s/modern-differs.txt", folder);
    snprintf(want, sizeof want, "%s %u\n", opcode, index);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = !strcmp(line, want);
    if (f)
        fclose(f);
    return found;
}

/* Known ways in which the 80286 differs from all later CPUs; NULL if the case is none of them. */
static const char *known_difference(const struct test *t)
{
    struct insn in;
    unsigned len = t->len ? t->len - 1 : 0;     /* without the HLT behind it */
    const u8 *lock = memchr(t->bytes, 0xf0, len);
    enum decode_status s = insn_decode(&in, t->bytes, t->len, 2, NULL);
    if (lock && s == DECODE_UD)
        return "the 286 takes LOCK in front of any instruction; later ones raise #UD (SDM 2A, LOCK)";
    if (len > 10 && t->fault && t->vector == EXC_GP)
        return "the 286's limit is 10 bytes an instruction; 15 since the 386 (SDM 3B 23.15)";
    if (s != DECODE_OK)
        return NULL;
    const char *name = insn_rows[in.row].name;
    if ((!strcmp(name, "rcl") || !strcmp(name, "rcr")) && in.op[1].kind == OP_IMM && in.imm != 1)
        return "OF is undefined after a rotation by more than one (SDM 2B, RCL/RCR)";
    if (!t->fault)
        return NULL;
    for (unsigned i = 0; i < 4; i++)
        if (t->vector == EXC_UD && in.op[i].kind == OP_SREG && in.op[i].reg >= SEG_FS)
            return "FS and GS exist since the 386";
    if (t->vector == EXC_GP && insn_rows[in.row].attr & ATTR_STRING)
        return "the 286 has moved SI and DI when a string access faults; later ones restart it (SDM 3A 6.5)";
    bool stack = in.modrm_mem ? in.seg == SEG_SS : !strcmp(name, "leave") || !strncmp(name, "pop", 3) || !strncmp(name, "ret", 3);
    if (t->vector == EXC_GP && stack)
        return "the 286 in real mode raises #13 for an access across the end of the stack segment, later ones #SS (SDM 3A 6.15)";
    return NULL;
}

static const char *why_excused(const char *folder, const char *name, const char *opcode, const struct test *t)
{
    const char *reason = known_difference(t);
    if (!reason)
        reason = excused(name, (int)t->index, 0);
    return !reason && modern_differs(folder, opcode, t->index) ? "listed in the suite's modern-differs.txt" : reason;
}

void run_moo(const char *folder, const char *name, struct tally *tally)
{
    static struct test t;
    char path[1100], opcode[32], why[256];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(opcode, sizeof opcode, "%.*s", (int)(strstr(name, ".MOO") - name), name);
    u8 *data = read_gz(path, &size);
    if (!data) {
        tally->failed++;
        snprintf(tally->first_failure, sizeof tally->first_failure, "%s: cannot be read", path);
        return;
    }
    struct rig *r = rig_new("486");
    struct cursor c = { data, data + size };
    struct chunk k;
    u16 mask = flags_mask(folder, opcode);
    while (next_chunk(&c, &k)) {
        if (!is(&k, "TEST") || k.size < 4)
            continue;
        const char *reason;
        parse_test(&k, &t);
        rig_enter_real_mode(r);
        set_state(r, &t.init);
        bool halted = rig_run_to_halt(r, 100000);
        if (!halted)
            snprintf(why, sizeof why, "does not come to its HLT");
        if (halted && compare(r, &t, mask, why, sizeof why))
            tally->passed++;
        else if ((reason = why_excused(folder, name, opcode, &t)))
            excuse(tally, reason);
        else if (!tally->failed++)
            describe(&t, why, tally->first_failure, sizeof tally->first_failure);
        for (unsigned i = 0; i < t.final.ram_count; i++)        /* leave no trace for the next one */
            rig_write(r, t.final.ram[i].at, &(u8){ 0 }, 1);
        for (unsigned i = 0; i < t.init.ram_count; i++)
            rig_write(r, t.init.ram[i].at, &(u8){ 0 }, 1);
    }
    rig_free(r);
    free(data);
}
