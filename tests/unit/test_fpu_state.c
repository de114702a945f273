/* test_fpu_state.c - which state counts as in use for the XSAVE family, SDM 1 13.6 and 13.7. The images themselves are
 * compared with a real CPU's in tests/native.
 */
#include "cpu/fpu.h"
#include "tests/unit/vec_guest.h"

static void used_state(struct vcpu *c)
{
    memset(c->vec, 0x55, sizeof(c->vec));
    memset(c->x87.r, 0x55, sizeof(c->x87.r));
    c->x87.cw = 0x27f;
    c->x87.empty = 0;
    c->mxcsr = 0x9f80;
    c->rdx = 0;
    c->rdi = GUEST_DATA;
}

/* State that XRSTOR initialized is not in use: XSAVEOPT then writes the header only. */
START_TEST(initial_state)
{
    static const u8 xrstor[] = { 0x0f, 0xae, 0x2f }, xsaveopt[] = { 0x0f, 0xae, 0x37 };
    static const u8 untouched[160] = { 0 };
    struct guest *g = guest_new();
    struct vcpu *c = g->cpu;
    used_state(c);
    memset(g->data, 0, 1024);
    g->data[25] = 0x1f;
    g->data[24] = 0x80;
    c->rax = 7;
    ck_assert(guest_exec(g, xrstor, 3));
    ck_assert_uint_eq(c->x87.cw, 0x37f);
    ck_assert_uint_eq(c->x87.empty, 0xff);
    ck_assert_uint_eq(c->mxcsr, 0x1f80);
    memset(g->data, 0, 1024);
    memset(g->data + 512, 0xff, 8);
    ck_assert(guest_exec(g, xsaveopt, 3));
    u64 xstate_bv;
    memcpy(&xstate_bv, g->data + 512, 8);
    ck_assert_uint_eq(xstate_bv, ~(u64)7);
    ck_assert_mem_eq(g->data, untouched, 24);
    ck_assert_mem_eq(g->data + 32, untouched, 128);
    guest_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fpu_state");
    TCase *t = tcase_create("xsave");
    tcase_add_test(t, initial_state);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
