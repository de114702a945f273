/* test_jit_units.c - units, links, keys, eviction and invalidation, with a backend that is no compiler: its "code" is a pointer
 * to the unit and the places that links are patched in, and entering it lets the interpreter execute the unit's instructions.
 * It follows links, keys and the table of indirect jumps exactly as host code would, so whatever leads to stale code shows in the
 * guest's registers.
 */
#include "tests/unit/cpu_machine.h"

#include <pthread.h>

#include "cpu/flags.h"
#include "jit/jit_private.h"

/* --- the backend ---------------------------------------------------------------------------------------------------- */

struct code { struct code_unit *unit; u8 end; u16 run; u32 first_link; };       /* at `entry`; entry_host is 4 bytes before it */
static struct { u32 unit_bytes; bool drop_flags; u64 entered, followed, jumped; } stub;

static u32 stub_init(struct jit *j, u8 *rw, u8 *rx, u32 room) { return room < 64 ? 0 : 64; }
static void stub_patch(struct jit *j, const struct code_link *l, u32 to) { memcpy(j->rw + l->at, &to, 4); }
static u32 stub_flags_get(const struct vcpu *c) { return c->jit.flags ^ 0x55000000; }
static void stub_flags_put(struct vcpu *c, u32 eflags) { c->jit.flags = eflags ^ 0x55000000; }
static bool stub_can(const struct insn *in) { return false; }

static bool is_link(u8 op) { return op == IR_OP_jmp || op == IR_OP_jcc || op == IR_OP_call || op == IR_OP_jz || op == IR_OP_jnz; }

static bool stub_emit(struct jit *j, const struct ir_unit *ir, struct code_unit *u, u32 at, u32 room)
{
    const u8 end = ir->ins[ir->count - 1].op;
    struct code k = { u, end, (u16)(ir->guests - (end == IR_OP_step)), 0 };
    if (room < stub.unit_bytes)
        return false;
    u->entry = at + 16;
    u->entry_host = at + 12;
    u->entry_jump = u->entry;
    u->size = stub.unit_bytes;
    u->links = code_alloc(j, 8 * sizeof(struct code_link));
    u32 place = at + 64, key = at + 512;
    for (unsigned i = 0; i < ir->count && u->links && u->link_count < 8; i++) {
        const struct ir_ins *ins = &ir->ins[i];
        if (!is_link(ins->op))
            continue;
        struct code_link *l = &u->links[u->link_count++];
        bool far = ins->imm < 0 || ins->imm > 4095;
        *l = (struct code_link){ .from = u, .at = place, .stub = place, .target = (s32)ins->imm, .kind = LINK_JUMP,
                                 .key = far ? key : 0, .flags = stub.drop_flags && !j->keep_flags ? LINK_FLAGS_DEAD
                                                                : u->pa & 1 ? LINK_FLAGS_HOST : LINK_FLAGS_SAVED };
        stub_patch(j, l, l->stub);
        place += 4;
        key += 8;
    }
    memcpy(j->rw + u->entry, &k, sizeof k);
    return u->links;
}

/* `to` is an entry, or 4 bytes less: entry_host. */
static const struct code *code_at(struct jit *j, u32 to) { return (const struct code *)(j->rx + ((to + 4) & ~15u)); }

/* Where the link leads, NULL: it leaves. */
static const struct code *follow(struct vcpu *c, const struct code_link *l)
{
    struct jit *j = c->jit.jit;
    u32 to;
    if (c->jit.poll)
        return NULL;
    if (l->key) {
        u64 pc = c->jit.pc + (u64)(s64)(l->target & ~4095), key;
        pc = c->code_size == 8 ? pc : (u32)pc;
        memcpy(&key, j->rx + l->key, 8);
        if (key != pc + c->jit.genkey)
            return NULL;
        c->jit.pc = pc;
    }
    memcpy(&to, j->rx + l->at, 4);
    stub.followed += to != l->stub;
    return to == l->stub ? NULL : code_at(j, to);
}

static const struct code *jump(struct vcpu *c)
{
    const struct jit_jump *e = &c->jit_jump[c->rip % JIT_JUMPS];
    if (c->jit.poll || e->key != c->rip + c->jit.genkey)
        return NULL;
    stub.jumped++;
    c->jit.pc = c->rip & PAGE_MASK;
    return (const struct code *)(uintptr_t)e->host;
}

static const struct code_link *link_to(const struct vcpu *c, const struct code_unit *u)
{
    for (unsigned i = 0; i < u->link_count; i++) {
        u64 rip = c->jit.pc + (u64)(s64)u->links[i].target;
        if ((u->links[i].wraps ? (u16)rip : c->code_size == 8 ? rip : (u32)rip) == c->rip)
            return &u->links[i];
    }
    return NULL;
}

static enum leave_reason stub_enter(struct vcpu *c, const void *at)
{
    struct jit *j = c->jit.jit;
    flags_set_status(c, stub_flags_get(c));
    for (const struct code *k = at; k;) {
        const struct code_unit *u = k->unit;
        ck_assert_msg(!u->dead, "dead code at %llx is entered", (unsigned long long)u->pa);
        gpa pa;
        ck_assert_msg(cpu_translate(c, cpu_pc(c), &pa) && pa == u->pa, "the unit at %llx runs at rip %llx",
            (unsigned long long)u->pa, (unsigned long long)c->rip);
        ck_assert_msg(u->mode == j->mode && (u32)(c->jit.pc + (u->pa & 4095)) == c->rip, "pc %llx", (unsigned long long)c->jit.pc);
        stub.entered++;
        if (u->self && !self_same(u, u->self->host)) {
            stub_flags_put(c, flags_status(c));
            return LEAVE_LOOKUP;
        }
        u64 count = c->icount + k->run, deaths = j->deaths;
        for (unsigned i = 0; i < k->run; i++) {
            ck_assert_msg(!i || c->code_size == 8 || c->rip <= c->seg[SEG_CS].limit, "code beyond CS's limit in a unit");
            interp_one(c);
        }
        if (deaths != j->deaths || c->icount != count) {
            stub_flags_put(c, flags_status(c));
            return LEAVE_RETURN;
        }
        const struct code_link *l = link_to(c, u);
        const struct code *next = k->end == IR_OP_step ? NULL : l ? follow(c, l) : jump(c);
        if (!next)
            stub_flags_put(c, flags_status(c));
        if (!next && k->end == IR_OP_step)
            return LEAVE_STEP;
        if (!next && !l)
            return LEAVE_LOOKUP;
        if (!next) {
            c->jit.left = (void *)l;
            c->rip = 0xdeadbeef;        /* the dispatcher's business */
            return LEAVE_LINK;
        }
        k = next;
    }
    return LEAVE_RETURN;
}

static const struct backend backend = {
    .name = "stub", .init = stub_init, .emit = stub_emit, .can_insn = stub_can, .enter = stub_enter, .patch = stub_patch,
    .flags_get = stub_flags_get, .flags_put = stub_flags_put, .self_checks = true,
};

/* --- the machine ---------------------------------------------------------------------------------------------------- */

#define J (C->jit.jit)

static void translator(const char *keys)
{
    char err[200], text[200];
    struct jit_options o;
    snprintf(text, sizeof text, "super=off,returns=off,verify=on,cache=4,%s", keys);
    ck_assert_msg(jit_options_parse(&o, text, err, sizeof err), "%s", err);
    ck_assert_msg(jit_new_with(C, &o, &backend, err, sizeof err), "%s", err);
    memset(&stub, 0, sizeof stub);
    stub.unit_bytes = 1024;
}

static void protected_with(const char *keys)
{
    machine_protected();
    translator(keys);
}

static void put_code(u32 at, const void *bytes, unsigned n) { physmap_write(m.map, at, bytes, n); }
#define AT_CODE(at, ...) put_code(at, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))
#define LE32(v) (u8)(v), (u8)((v) >> 8), (u8)((v) >> 16), (u8)((v) >> 24)

/* Until HLT. */
static void run_from(u64 rip)
{
    C->halted = false;
    C->rip = rip;
    cpu_run(C);
    ck_assert(C->halted);
}

/* mov ecx, n; loop: inc eax; dec ecx; jnz loop; hlt */
static void small_loop(u32 at, u32 n)
{
    const u8 bytes[] = { 0xb9, LE32(n), 0x40, 0x49, 0x75, 0xfc, 0xf4 };
    put_code(at, bytes, sizeof bytes);
}

/* --- links ------------------------------------------------------------------------------------------------------------ */

START_TEST(loop_is_linked)
{
    protected_with("");
    small_loop(CODE, 1000);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 1000);
    ck_assert_uint_ge(J->count.units, 1);
    ck_assert_uint_lt(J->count.leave_link, 10);
    ck_assert_uint_gt(stub.followed, 900);
    machine_free();
}
END_TEST

START_TEST(hot_and_limit)
{
    protected_with("hot=100000");
    small_loop(CODE, 1000);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 1000);
    ck_assert_uint_eq(J->count.units, 0);
    machine_free();
    protected_with("limit=1");
    small_loop(CODE, 1000);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 1000);
    ck_assert_uint_eq(J->count.units, 1);
    machine_free();
}
END_TEST

START_TEST(chain_off)
{
    protected_with("chain=off");
    small_loop(CODE, 1000);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 1000);
    ck_assert_uint_eq(J->count.links, 0);
    ck_assert_uint_gt(J->count.leave_link, 990);
    machine_free();
}
END_TEST

/* A link on the page must not be cut by poll, and pending requests are seen at once: a timer stops an endless loop. */
static void *stop_soon(void *ctx)
{
    struct timespec t = { 0, 20000000 };
    nanosleep(&t, NULL);
    cpu_request(C, CPU_STOP);
    return NULL;
}

START_TEST(endless_loop_is_stopped)
{
    pthread_t thread;
    protected_with("");
    AT_CODE(CODE, 0x40, 0xeb, 0xfd);
    C->rip = CODE;
    pthread_create(&thread, NULL, stop_soon, NULL);
    cpu_run(C);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(C->rax, 0);
    ck_assert_uint_lt(J->count.leave_link, 10);
    machine_free();
}
END_TEST

/* --- other pages ------------------------------------------------------------------------------------------------------ */

enum { LINEAR = 0x400000, PAGE_A = 0x100000, PAGE_B = 0x110000, PAGE_C = 0x120000 };

/* Identity below 4 MiB; LINEAR and the page behind it as told. */
static void map(unsigned page, u32 to) { put(TABLES + 0x2000 + page * 4, 4, to | 3); }
static void paging(void)
{
    for (unsigned i = 0; i < 1024; i++)
        put(TABLES + 0x1000 + i * 4, 4, i << 12 | 3);
    put(TABLES, 4, (TABLES + 0x1000) | 3);
    put(TABLES + 4, 4, (TABLES + 0x2000) | 3);
    C->cr3 = TABLES;
    C->cr0 |= CR0_PG;
    sysreg_refresh_mmu(C);
}

/* Page A: inc eax; jmp to the next page. There: add ebx, n; dec ecx; jnz page A; hlt */
static void two_pages(void)
{
    const s32 back = -(4096 + 10);
    AT_CODE(PAGE_A, 0x40, 0xe9, LE32(4096 - 6));
    AT_CODE(PAGE_B, 0x83, 0xc3, 1, 0x49, 0x0f, 0x85, LE32(back), 0xf4);
    AT_CODE(PAGE_C, 0x83, 0xc3, 2, 0x49, 0x0f, 0x85, LE32(back), 0xf4);
    map(0, PAGE_A);
    map(1, PAGE_B);
}

static void run_pages(u32 times)
{
    C->rcx = times;
    C->rax = C->rbx = 0;
    run_from(LINEAR);
    ck_assert_uint_eq(C->rax, times);
}

START_TEST(across_pages)
{
    protected_with("");
    paging();
    two_pages();
    run_pages(500);
    ck_assert_uint_eq(C->rbx, 500);
    ck_assert_uint_lt(J->count.leave_link, 20);
    machine_free();
    protected_with("cross=off");
    paging();
    two_pages();
    run_pages(500);
    ck_assert_uint_eq(C->rbx, 500);
    ck_assert_uint_gt(J->count.leave_link, 900);
    machine_free();
}
END_TEST

START_TEST(page_mapped_elsewhere)
{
    protected_with("");
    paging();
    two_pages();
    run_pages(100);
    map(1, PAGE_C);
    mmu_flush_page(&C->mmu, LINEAR + 4096);
    run_pages(100);
    ck_assert_uint_eq(C->rbx, 200);
    map(1, PAGE_B);
    C->cr3 = TABLES;
    mmu_set_paging(&C->mmu, C->cr0, C->cr3, C->cr4, C->efer, true, false);
    run_pages(100);
    ck_assert_uint_eq(C->rbx, 100);
    ck_assert_uint_eq(J->count.invalidations, 0);
    machine_free();
}
END_TEST

START_TEST(same_code_at_two_addresses)
{
    protected_with("");
    paging();
    two_pages();
    run_pages(100);
    u64 units = J->count.units;
    for (unsigned i = 2; i < 4; i++)
        map(i, i == 2 ? PAGE_A : PAGE_B);
    C->rcx = 100;
    C->rax = C->rbx = 0;
    run_from(LINEAR + 0x2000);
    ck_assert_uint_eq(C->rax, 100);
    ck_assert_uint_eq(C->rbx, 100);
    ck_assert_uint_eq(J->count.units, units);
    machine_free();
}
END_TEST

/* Old keys must not come back to life. */
START_TEST(generations_change)
{
    protected_with("");
    paging();
    two_pages();
    run_pages(100);
    for (unsigned i = 0; i < 6; i++) {
        map(1, i & 1 ? PAGE_B : PAGE_C);
        mmu_flush_page(&C->mmu, LINEAR + 4096);
        run_pages(100);
        ck_assert_uint_eq(C->rbx, i & 1 ? 100 : 200);
    }
    ck_assert_uint_eq(J->count.invalidations, 0);
    machine_free();
}
END_TEST

/* --- indirect jumps --------------------------------------------------------------------------------------------------- */

/* mov edx, CODE + 16; loop: jmp edx; ... + 16: inc eax; dec ecx; jnz loop; hlt */
static void indirect_loop(void)
{
    AT_CODE(CODE, 0xba, LE32(CODE + 16), 0xff, 0xe2);
    AT_CODE(CODE + 16, 0x40, 0x49, 0x75, (u8)(5 - 20), 0xf4);
}

START_TEST(indirect)
{
    protected_with("");
    indirect_loop();
    C->rcx = 300;
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 300);
    ck_assert_uint_gt(stub.jumped, 280);
    u32 more = 0x00c08348;      /* 32-bit mode: dec eax; add eax, 0 */
    physmap_write(m.map, CODE + 16, &more, 1);      /* dec eax in place of inc eax */
    C->rcx = 300;
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 0);
    machine_free();
    protected_with("indirect=off");
    indirect_loop();
    C->rcx = 300;
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 300);
    ck_assert_uint_eq(stub.jumped, 0);
    machine_free();
}
END_TEST

/* --- writes ------------------------------------------------------------------------------------------------------------- */

/* loop: inc dword [operand of the next one]; add eax, n; dec ecx; jnz loop; hlt: sum of 1..n */
START_TEST(own_block_is_written)
{
    protected_with("hot=0,self=0");
    AT_CODE(CODE, 0xff, 0x05, LE32(CODE + 7), 0x05, LE32(0), 0x49, 0x75, 0xf2, 0xf4);
    C->rcx = 200;
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 200 * 201 / 2);
    ck_assert_uint_gt(J->count.invalidations, 50);
    machine_free();
}
END_TEST

static void write_byte(u32 at, u8 v) { physmap_write(m.map, at, &v, 1); }

static void *write_by_dma(void *ctx)
{
    u8 dec = 0x48;
    physmap_write(m.map, CODE + 5, &dec, 1);
    return NULL;
}

START_TEST(written_by_others)
{
    pthread_t thread;
    protected_with("");
    small_loop(CODE, 100);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 100);
    pthread_create(&thread, NULL, write_by_dma, NULL);
    pthread_join(thread, NULL);
    ck_assert(atomic_load(&C->pending) & PEND_CODE);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 0);
    ck_assert_uint_ge(J->count.invalidations, 1);
    machine_free();
}
END_TEST

/* A unit that lives leads to one that is written: on its page, and on another. */
START_TEST(target_is_written)
{
    static const u32 targets[] = { CODE + 128, CODE + 8192 + 128 };
    for (unsigned i = 0; i < ARRAY_LEN(targets); i++) {
        u32 b = targets[i];
        protected_with("liveness=off");     /* the first one is not made from the second one's bytes */
        AT_CODE(CODE, 0x43, 0xe9, LE32(b - CODE - 6));              /* inc ebx; jmp b */
        AT_CODE(b, 0x40, 0x49, 0x0f, 0x85, LE32(CODE - b - 8), 0xf4); /* inc eax; dec ecx; jnz CODE; hlt */
        C->rcx = 100;
        run_from(CODE);
        write_byte(b, 0x48);
        ck_assert_uint_eq(J->count.invalidations, 1);
        C->rcx = 100;
        run_from(CODE);
        ck_assert_uint_eq(C->rax, 0);
        machine_free();
    }
}
END_TEST

START_TEST(marks_go_with_the_last_unit)
{
    protected_with("");
    small_loop(CODE, 100);
    run_from(CODE);
    ck_assert(m.ram->code[CODE >> 12]);
    put(CODE, 8, 0);
    put(CODE + 8, 8, 0);
    ck_assert(!m.ram->code[CODE >> 12]);
    small_loop(CODE, 50);
    run_from(CODE);
    ck_assert_uint_eq(C->rax, 150);
    machine_free();
}
END_TEST

/* --- code that checks itself -------------------------------------------------------------------------------------------- */

/* The same program: from the second write on, its page has no marks, and its unit is not told of writes. */
START_TEST(page_becomes_restless)
{
    for (unsigned ripe = 0; ripe < 10; ripe += 9) {
        protected_with(ripe ? "hot=0,self=2,ripe=9" : "hot=0,self=2,ripe=0");
        AT_CODE(CODE, 0xff, 0x05, LE32(CODE + 7), 0x05, LE32(0), 0x49, 0x75, 0xf2, 0xf4);
        C->rcx = 200;
        run_from(CODE);
        ck_assert_uint_eq(C->rax, 200 * 201 / 2);
        ck_assert_uint_lt(J->count.invalidations, 5);
        ck_assert_uint_eq(J->count.restless_pages, 1);
        ck_assert_uint_gt(J->count.self_units + J->count.loose_decoded, 0);
        ck_assert(self_wanted(J, CODE) && !m.ram->code[CODE >> 12]);
        machine_free();
    }
}
END_TEST

/* CODE: loop: inc dword [operand of the callee]; call CODE + 4096; add ebx, eax; dec ecx; jnz loop; hlt. There: mov eax, n; ret */
static void patched_callee(void)
{
    C->rsp = 0x9000;
    AT_CODE(CODE, 0xff, 0x05, LE32(CODE + 4097), 0xe8, LE32(4096 - 11), 0x01, 0xc3, 0x49, 0x75, 0xf0, 0xf4);
    AT_CODE(CODE + 4096, 0xb8, LE32(0), 0xc3);
}

/* A constant that changes is loaded: the unit is made twice and stays. */
START_TEST(constants_are_loaded)
{
    protected_with("hot=0,self=2,ripe=0");
    patched_callee();
    C->rcx = 300;
    run_from(CODE);
    ck_assert_uint_eq(C->rbx, 300 * 301 / 2);
    ck_assert_uint_lt(J->count.self_changed, 3);
    ck_assert_uint_gt(J->count.self_units, 0);
    /* now its opcode changes, too: sub eax, n */
    AT_CODE(CODE + 4096, 0x2d, LE32(0), 0xc3);
    C->rax = 0;
    C->rbx = 0;
    C->rcx = 3;
    run_from(CODE);
    ck_assert_uint_eq((u32)C->rbx, (u32)-10);    /* -1, -3, -6 */
    machine_free();
}
END_TEST

/* What is not written any more is made again in the usual way. */
START_TEST(quiet_again)
{
    protected_with("hot=0,self=2,ripe=0,super=on,hotter=1000");
    patched_callee();
    C->rcx = 100;
    run_from(CODE);
    struct code_unit *u = unit_find(J, CODE + 4096, J->mode, UNIT_WHOLE);
    ck_assert(u && u->self && u->left);
    for (unsigned i = 0; i < 2; i++) {      /* its constant has changed: it begins to count afresh */
        u->left = 0;
        AT_CODE(CODE, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90);
        C->rcx = 4;
        run_from(CODE);
        ck_assert(i ? u->dead : !u->dead);
    }
    ck_assert_uint_eq(J->count.self_settled, 1);
    u = unit_find(J, CODE + 4096, J->mode, UNIT_WHOLE);
    ck_assert(u && !u->self && !self_wanted(J, CODE + 4096) && m.ram->code[(CODE + 4096) >> 12]);
    machine_free();
}
END_TEST

/* Other memory at its address: nobody reports that, but the unit is not for it. */
START_TEST(other_memory_at_restless_code)
{
    char err[100];
    protected_with("hot=0,self=1,ripe=0");
    struct ram *other = ram_new(4096, err, sizeof err);
    struct region region = { .name = "other", .start = CODE, .size = 4096, .priority = 5, .kind = REGION_RAM, .ram = other };
    ck_assert(other);
    physmap_add(m.map, &region);
    small_loop(CODE, 10);
    memcpy(other->base, (const u8[]){ 0xb9, LE32(10), 0x48, 0x49, 0x75, 0xfc, 0xf4 }, 10);     /* dec eax */
    for (unsigned i = 0; i < 6; i++) {
        physmap_change(m.map, &region, CODE, i & 1);
        C->rax = 100;
        run_from(CODE);
        ck_assert_uint_eq(C->rax, i & 1 ? 90 : 110);
    }
    physmap_remove(m.map, &region);
    machine_free();
    ram_free(other);
}
END_TEST

/* --- eviction ----------------------------------------------------------------------------------------------------------- */

enum { BLOCKS = 200 };

/* BLOCKS times: add eax, 1; jmp to the next; then dec ecx; jnz first; hlt. Spread over pages. */
static void many_blocks(void)
{
    for (u32 i = 0; i < BLOCKS; i++)
        AT_CODE(PAGE_A + i * 1040, 0x83, 0xc0, 1, 0xe9, LE32(1040 - 8));
    const s32 back = -(s32)(BLOCKS * 1040 + 7);
    AT_CODE(PAGE_A + BLOCKS * 1040, 0x49, 0x0f, 0x85, LE32(back), 0xf4);
}

START_TEST(all_goes)
{
    protected_with("oldest=off");
    stub.unit_bytes = 40000;
    many_blocks();
    C->rcx = 12;
    run_from(PAGE_A);
    ck_assert_uint_eq(C->rax, 12 * BLOCKS);
    ck_assert_uint_gt(J->count.evictions, 20);
    ck_assert_uint_eq(J->count.evictions % CODE_SEGMENTS, 0);
    machine_free();
}
END_TEST

START_TEST(oldest_part_goes)
{
    protected_with("");
    stub.unit_bytes = 40000;    /* 4 MiB hold about 100 */
    many_blocks();
    C->rcx = 12;
    run_from(PAGE_A);
    ck_assert_uint_eq(C->rax, 12 * BLOCKS);
    ck_assert_uint_gt(J->count.evictions, 20);
    ck_assert_uint_gt(J->count.units, 2 * BLOCKS);
    machine_free();
    protected_with("");
    many_blocks();
    C->rcx = 100;
    run_from(PAGE_A);
    ck_assert_uint_eq(C->rax, 100 * BLOCKS);
    ck_assert_uint_eq(J->count.evictions, 0);
    ck_assert_uint_le(J->count.units, BLOCKS + 1);
    ck_assert_uint_lt(J->count.leave_link, 3 * BLOCKS);
    machine_free();
}
END_TEST

/* Its target is older and goes first. */
START_TEST(link_into_the_oldest_part)
{
    protected_with("hot=0");
    stub.unit_bytes = 40000;
    many_blocks();
    AT_CODE(CODE, 0x43, 0x4d, 0xf4);                    /* inc ebx; dec ebp; hlt */
    AT_CODE(CODE + 4096, 0x46, 0xe9, LE32(-4096 - 6));  /* inc esi; jmp CODE */
    C->rbx = C->rsi = 0;
    run_from(CODE);
    AT_CODE(PAGE_A + 40 * 1040, 0xf4);
    run_from(PAGE_A);
    for (unsigned i = 0; i < 3; i++)
        run_from(CODE + 4096);
    u64 links = J->count.links;
    AT_CODE(PAGE_A + 100 * 1040, 0xf4);
    run_from(PAGE_A + 41 * 1040);
    ck_assert_uint_gt(J->count.evictions, 0);
    ck_assert(!unit_find(J, CODE, J->mode, UNIT_WHOLE));
    ck_assert(unit_find(J, CODE + 4096, J->mode, UNIT_WHOLE));
    run_from(CODE + 4096);
    ck_assert_uint_gt(J->count.links, links);
    ck_assert_uint_eq(C->rbx, 5);
    ck_assert_uint_eq(C->rsi, 4);
    machine_free();
}
END_TEST

/* --- flags -------------------------------------------------------------------------------------------------------------- */

/* A link that has dropped flags which its target reads: the unit is made again with all of them. */
START_TEST(flags_that_are_missing)
{
    protected_with("");
    stub.drop_flags = true;
    /* adc al, 0; dec ecx; jnz over; hlt; over: cmp ecx, 7; jmp CODE */
    AT_CODE(CODE, 0x14, 0, 0x49, 0x75, 1, 0xf4, 0x83, 0xf9, 7, 0xeb, 0xf5);
    C->rcx = 100;
    run_from(CODE + 6);
    ck_assert_uint_eq(C->rax, 6);
    ck_assert_uint_ge(J->count.units_remade, 1);
    ck_assert_uint_lt(J->count.units_remade, 8);
    machine_free();
}
END_TEST

/* --- counting ------------------------------------------------------------------------------------------------------------ */

static u64 due_at;
static void timer_due(void *ctx)
{
    due_at = C->icount;
    cpu_request(C, CPU_STOP);
}

START_TEST(limits_are_exact)
{
    static struct cpu_host with_timer;
    protected_with("");
    small_loop(CODE, 100000);
    with_timer = *C->host;
    with_timer.timer_due = timer_due;
    C->host = &with_timer;
    C->rip = CODE;
    for (u64 limit = 100; limit < 1000; limit += 37) {
        cpu_set_icount_limit(C, limit);
        cpu_run(C);
        ck_assert_uint_eq(due_at, limit);
        ck_assert_uint_eq(C->icount, limit);
    }
    ck_assert_uint_gt(J->count.units, 0);
    ck_assert_uint_eq(J->count.links, 0);
    cpu_set_icount_limit(C, UINT64_MAX);
    cpu_run(C);
    ck_assert_uint_eq(C->rax, 100000);
    machine_free();
}
END_TEST

/* --- 16-bit code: base, limit, wrapping --------------------------------------------------------------------------------- */

static void real_with(const char *keys, u16 cs)
{
    machine_real();
    translator(keys);
    segment_set_real(C, SEG_CS, cs);
    segment_refresh(C);
}

START_TEST(parts_of_pages)
{
    real_with("", 0x1001);
    ck_assert_uint_eq(unit_part(C, 0x10010, 0), 0x010 | 4095 << 12);
    ck_assert_uint_eq(unit_part(C, 0x11000, 0xff0), UNIT_WHOLE);
    ck_assert_uint_eq(unit_part(C, 0x20000, 0xfff0), 0 | 0x00f << 12);
    C->seg[SEG_CS].base = 0x10000;
    ck_assert_uint_eq(unit_part(C, 0x1ffff, 0xffff), UNIT_WHOLE);
    machine_free();
}
END_TEST

/* The loop's jump leads from the start of the segment, backwards, to its end: 16-bit RIP wraps. At its end RIP is fff8:
 * inc ax; jmp 2. At 2: dec cx; jz 8; jmp fff8. At 8: hlt. */
static void wrapping_loop(u16 cs)
{
    u32 base = cs * 16u;
    AT_CODE(base + 0xfff8, 0x40, 0xe9, 6, 0);
    AT_CODE(base + 2, 0x49, 0x74, 3, 0xe9, (u8)(0xfff8 - 8), (u8)((0xfff8 - 8) >> 8), 0xf4);
}

START_TEST(rip_wraps)
{
    static const u16 segments[] = { 0x1000, 0x1001, 0x10ff, 0x1100 };
    for (unsigned i = 0; i < 2 * ARRAY_LEN(segments); i++) {
        real_with("", segments[i / 2]);
        if (i & 1)
            C->seg[SEG_CS].limit = 0xffffffff;      /* "unreal" */
        wrapping_loop(segments[i / 2]);
        C->rcx = 200;
        run_from(2);
        ck_assert_uint_eq(C->rax, 199);
        ck_assert_uint_ge(J->count.units, 2);
        machine_free();
    }
}
END_TEST

/* The segment ends behind the third INC AX: #GP, whose handler's HLT is at 3000:0. */
START_TEST(code_runs_over_the_limit)
{
    for (unsigned i = 0; i < 2; i++) {
        real_with(i ? "hot=0" : "", 0x1001);
        AT_CODE(0x2000d, 0x40, 0x40, 0x40, 0x40, 0x40, 0xf4);
        put(13 * 4, 4, 0x30000000);
        AT_CODE(0x30000, 0xf4);
        run_from(0x10000 - 3);
        ck_assert_uint_eq(C->seg[SEG_CS].base, 0x30000);
        ck_assert_uint_eq(C->rax, 3);
        machine_free();
    }
}
END_TEST

/* The same bytes under two bases: at the second one the loop's target lies in front of the segment. */
START_TEST(other_base)
{
    real_with("hot=0", 0x1000);
    AT_CODE(0x10000, 0x40, 0xf4);                                   /* 1000:0  inc ax; hlt */
    AT_CODE(0x10020, 0x43, 0x49, 0x75, 0xfc, 0xeb, 0xda);           /* 1000:20 inc bx; dec cx; jnz; jmp 1000:0 */
    AT_CODE(0x20000, 0xba, 0x34, 0x12, 0xf4);                       /* 1001:fff0  mov dx, 1234h; hlt */
    for (unsigned i = 1; i <= 3; i++) {
        C->rcx = 100;
        run_from(0x20);
        ck_assert_uint_eq(C->rax, i);
    }
    C->rcx = 100;
    segment_set_real(C, SEG_CS, 0x1001);
    segment_refresh(C);
    run_from(0x10);
    ck_assert_uint_eq(C->rax, 3);
    ck_assert_uint_eq(C->rbx, 400);
    ck_assert_uint_eq((u16)C->rdx, 0x1234);
    machine_free();
}
END_TEST

/* --- options and counters ------------------------------------------------------------------------------------------------ */

START_TEST(options)
{
    struct jit_options o;
    char err[200];
    ck_assert(jit_options_parse(&o, NULL, err, sizeof err));
    ck_assert(o.chain == 1 && o.cache == 128 && !o.stats[0]);
    ck_assert(jit_options_parse(&o, "chain=off,hot=9,stats=/tmp/x,check", err, sizeof err));
    ck_assert(!o.chain && o.hot == 9 && o.check && !strcmp(o.stats, "/tmp/x"));
    static const char *const bad[] = { "chain=2", "hot=", "hot=x", "hot=-1", "hot=99999999999", "cache=1", "cache=4096", "no=1",
                                       "=1" };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!jit_options_parse(&o, bad[i], err, sizeof err), "%s", bad[i]);
    char longest[600] = "stats=";
    memset(longest + 6, 'x', 500);
    ck_assert(!jit_options_parse(&o, longest, err, sizeof err));
}
END_TEST

struct look { const char *name; u64 value; bool found; };
static void look_for(void *ctx, const char *name, u64 value)
{
    struct look *l = ctx;
    if (!strcmp(name, l->name)) {
        l->value = value;
        l->found = true;
    }
}
static u64 counter(const char *name)
{
    struct look l = { name, 0, false };
    jit_stats(C, look_for, &l);
    ck_assert_msg(l.found, "%s", name);
    return l.value;
}

START_TEST(counters)
{
    protected_with("hot=0,count=on");
    AT_CODE(CODE, 0x40, 0x0f, 0xa2, 0x4d, 0x75, 0xfa, 0x40, 0xf4);   /* loop: inc eax; cpuid; dec ebp; jnz; inc eax; hlt */
    C->rbp = 5;
    run_from(CODE);
    ck_assert_uint_gt(counter("units"), 0);
    ck_assert_uint_eq(counter("insns_executed"), C->icount);
    ck_assert_uint_eq(counter("interp_hlt"), 1);
    machine_free();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jit_units");
    TCase *t = tcase_create("units");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, loop_is_linked);
    tcase_add_test(t, hot_and_limit);
    tcase_add_test(t, chain_off);
    tcase_add_test(t, endless_loop_is_stopped);
    tcase_add_test(t, across_pages);
    tcase_add_test(t, page_mapped_elsewhere);
    tcase_add_test(t, same_code_at_two_addresses);
    tcase_add_test(t, generations_change);
    tcase_add_test(t, indirect);
    tcase_add_test(t, own_block_is_written);
    tcase_add_test(t, page_becomes_restless);
    tcase_add_test(t, constants_are_loaded);
    tcase_add_test(t, quiet_again);
    tcase_add_test(t, other_memory_at_restless_code);
    tcase_add_test(t, written_by_others);
    tcase_add_test(t, target_is_written);
    tcase_add_test(t, link_into_the_oldest_part);
    tcase_add_test(t, code_runs_over_the_limit);
    tcase_add_test(t, marks_go_with_the_last_unit);
    tcase_add_test(t, oldest_part_goes);
    tcase_add_test(t, all_goes);
    tcase_add_test(t, flags_that_are_missing);
    tcase_add_test(t, limits_are_exact);
    tcase_add_test(t, parts_of_pages);
    tcase_add_test(t, rip_wraps);
    tcase_add_test(t, other_base);
    tcase_add_test(t, options);
    tcase_add_test(t, counters);
    suite_add_tcase(s, t);
    return run_suite(s);
}
