/* text.c - host code as text that stays the same when only addresses and layouts change.
 *
 * Fields of struct vcpu go by name, places in the unit by label; tails, fixed code, links, keys and pointers into the
 * emulator's own memory by what they are. Code behind the unit (tails) is left out.
 */
#include "tests/golden/golden.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "jit/jit_private.h"

/* --- names ---------------------------------------------------------------------------------------------------------- */

#define FIELD(member) { #member, offsetof(struct vcpu, member), sizeof(((struct vcpu *)0)->member) }
static const struct field { const char *name; size_t at, size; } fields[] = {
    FIELD(rax), FIELD(rcx), FIELD(rdx), FIELD(rbx), FIELD(rsp), FIELD(rbp), FIELD(rsi), FIELD(rdi), FIELD(r8), FIELD(r9), FIELD(r10),
    FIELD(r11), FIELD(r12), FIELD(r13), FIELD(r14), FIELD(r15), FIELD(rip), FIELD(jit.pc), FIELD(jit.genkey), FIELD(jit.flags),
    FIELD(jit.poll), FIELD(jit.vec_state), FIELD(jit.x87_state), FIELD(jit.temp), FIELD(jit.code_sp),
    FIELD(jit.host_sp), FIELD(jit.flag_a), FIELD(jit.flag_b), FIELD(jit.left), FIELD(jit.reload), FIELD(jit.address), FIELD(jit.x87_pc),
    FIELD(jit.x87_ea), FIELD(jit.x87_note), FIELD(jit.x87_seg), FIELD(jit), FIELD(pending), FIELD(eflags), FIELD(icount), FIELD(mmu.rd),
    FIELD(mmu.wr), FIELD(mmu.rd_mask), FIELD(mmu.wr_mask), FIELD(mmu.large), FIELD(jit_jump), FIELD(cr0), FIELD(cr4),
    FIELD(kernel_gs_base), FIELD(mxcsr), FIELD(x87), FIELD(jit_straddle),
};
static bool is_in(u64 offset, size_t at, size_t size, u64 *rest)
{
    *rest = offset - at;
    return offset >= at && *rest < size;
}
#define IN(member) is_in(offset, offsetof(struct vcpu, member), sizeof(((struct vcpu *)0)->member), &rest)

static void rest_text(char *to, size_t room, const char *name, u64 index, u64 rest)
{
    if (rest)
        snprintf(to, room, "%s[%u]+%u", name, (unsigned)index, (unsigned)rest);
    else
        snprintf(to, room, "%s[%u]", name, (unsigned)index);
}

void text_field(char *to, size_t room, u64 offset)
{
    static const char *const segments[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs" };
    u64 rest;
    if (IN(mmu.site))
        snprintf(to, room, "site.%s", rest % sizeof(struct mmu_site) == offsetof(struct mmu_site, page) ? "page" : "delta");
    else if (IN(seg))
        snprintf(to, room, "%s.%s", segments[rest / sizeof(struct segment)],
                 rest % sizeof(struct segment) == offsetof(struct segment, base) ? "base" : "?");
    else if (IN(vec))
        rest_text(to, room, "vec", rest / sizeof(union vec), rest % sizeof(union vec));
    else if (IN(jit_room))
        snprintf(to, room, "room.%s.%s", rest / 8 < SEG_COUNT ? "read" : "write", segments[rest / 8 % SEG_COUNT]);
    else {
        for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
            if (!is_in(offset, fields[i].at, fields[i].size, &rest))
                continue;
            snprintf(to, room, rest ? "%s+%u" : "%s", fields[i].name, (unsigned)rest);
            return;
        }
        snprintf(to, room, "vcpu.?");
    }
}

/* Near something of the translator's, or of the program: very near where constants of guest code are of that size too. */
static const struct golden_code *now;
static bool near(u64 v, const void *p)
{
    const u64 d = v - (u64)(uintptr_t)p, room = v >> 32 ? 1 << 28 : 1 << 16;
    return d + room < 2 * room && !(v >> 63);
}
bool text_is_pointer(u64 v)
{
    return v > 1 << 20 && (near(v, now->unit) || near(v, now->jit) || near(v, &host_backend) || near(v, now->jit->rx) ||
                           near(v, now->jit->rw) || near(v, now->jit->cpu));
}

void text_brackets(char *text, size_t room, const char *with)
{
    char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL, behind[64];
    if (!close)
        return;
    snprintf(behind, sizeof behind, "%s", close);
    snprintf(open + 1, room - (size_t)(open + 1 - text), "%s%s", with, behind);
}

/* --- targets of branches ---------------------------------------------------------------------------------------------- */

enum { MAX_LABELS = 64 };
static u32 labels[MAX_LABELS];
static unsigned label_count;

static bool is_link(u32 from, u32 to_end, const struct code_link **l)
{
    for (unsigned i = 0; i < now->unit->link_count; i++) {
        *l = &now->unit->links[i];
        if ((*l)->at >= from && (*l)->at < to_end)
            return true;
    }
    return false;
}

static void add_label(u64 target)
{
    for (unsigned i = 0; i < label_count; i++)
        if (labels[i] == target)
            return;
    if (label_count < MAX_LABELS)
        labels[label_count++] = (u32)target;
}

static int by_place(const void *a, const void *b)
{
    const u32 x = *(const u32 *)a, y = *(const u32 *)b;
    return x < y ? -1 : x > y;
}

static void find_labels(const cs_insn *in, size_t n)
{
    const struct code_link *l;
    u64 target;
    label_count = 0;
    for (size_t i = 0; i < n; i++)
        if (host_branch(&in[i], &target) && target >= now->base && target < now->end &&
            !is_link((u32)in[i].address, (u32)in[i].address + in[i].size, &l))
            add_label(target);
    qsort(labels, label_count, sizeof labels[0], by_place);
}

static unsigned label_of(u64 at)
{
    for (unsigned i = 0; i < label_count; i++)
        if (labels[i] == at)
            return i + 1;
    return 0;
}

static void target_text(char *to, size_t room, const cs_insn *in, u64 target)
{
    const struct code_link *l;
    if (is_link((u32)in->address, (u32)in->address + in->size, &l)) {
        if (l->target < 0)
            snprintf(to, room, "<link -%#x>", (unsigned)-l->target);
        else
            snprintf(to, room, "<link %#x>", (unsigned)l->target);
    } else if (label_of(target))
        snprintf(to, room, ".%u", label_of(target));
    else if (target == now->end && target < now->op_at[now->jit->ir.count])     /* there, tails begin */
        snprintf(to, room, "<next>");
    else if ((target >= now->end && target < now->base + now->size) || target - now->unit->cold < now->unit->cold_size)
        snprintf(to, room, "<tail>");
    else
        snprintf(to, room, "<stub>");
}

/* --- the listing ------------------------------------------------------------------------------------------------------- */

static unsigned op_of(u32 at)
{
    unsigned i = 0;
    while (i + 1 < now->ops && now->op_at[i + 1] <= at)
        i++;
    return i;
}

static void one(csh h, const cs_insn *in, bool first, char *to, size_t room)
{
    u64 target;
    char name[40];
    host_text(h, in, first, to, room);
    if (!host_branch(in, &target))
        return;
    char *last = strrchr(to, ' ');      /* the target is the last operand */
    target_text(name, sizeof name, in, target);
    snprintf(last + 1, room - (size_t)(last + 1 - to), "%s", name);
}

static void list(FILE *f, struct golden_case *c, csh h, const cs_insn *in, size_t n)
{
    char text[200];
    int guest = -1;
    for (size_t i = 0; i < n;) {
        const unsigned op = op_of((u32)in[i].address), label = label_of(in[i].address);
        if (guest != now->op_guest[op])
            fprintf(f, "%s\n", c->text[guest = now->op_guest[op]]);
        if (label)
            fprintf(f, " .%u:\n", label);
        unsigned count = host_pointer(&in[i], n - i, text, sizeof text);
        if (!count) {
            one(h, &in[i], !i, text, sizeof text);
            count = 1;
        }
        c->hosts += count;
        c->checks += now->op_check[op] ? count : 0;
        fprintf(f, "  %c %s\n", now->op_check[op] ? '?' : ' ', text);
        i += count;
    }
}

void text_make(struct golden_case *c, const struct golden_code *code)
{
    static csh h;
    cs_insn *in = NULL;
    char *text = NULL, *whole = NULL;
    size_t size, n;
    FILE *f = open_memstream(&text, &size);
    now = code;
    if (!h)
        h = host_open();
    n = cs_disasm(h, code->bytes + code->base, code->end - code->base, code->base, 0, &in);
    find_labels(in, n);
    list(f, c, h, in, n);
    if (!n ? code->end != code->base : in[n - 1].address + in[n - 1].size != code->end)
        fprintf(f, "    (Capstone does not know what follows)\n");
    cs_free(in, n);
    fclose(f);
    if (asprintf(&whole, "= %s | %u\n%u guest, %u host, %u checks\n%s\n", c->name, c->mode * 8, c->guests, c->hosts - c->checks, c->checks,
                 text) < 0)
        whole = NULL;
    free(text);
    c->golden = whole;
}
