/* vec_guest.h - what the vector tests share: a vCPU in 64-bit mode with a little memory, no machine around it, and the
 * list of the instructions that cpu/interp_mmx.c, interp_sse_*.c, interp_crypto.c and interp_avx.c own.
 *
 * Linear GUEST_DATA..+GUEST_BYTES is mapped for user mode (CPL 3), the page behind it is not present; so a fault in the
 * middle of an operand can be looked at, with its error code and CR2.
 */
#ifndef SHADOW86_VEC_GUEST_H
#define SHADOW86_VEC_GUEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/vcpu.h"
#include "mmu/mmu.h"

#define GUEST_DATA 0x10000000u
#define GUEST_BYTES 8192u

static const char *const owned_names[] = {
    "aesdec", "aesdeclast", "aesenc", "aesenclast", "aesimc", "aeskeygenassist", "andnpd", "andnps", "andpd",
    "andps", "blendpd", "blendps", "blendvpd", "blendvps", "emms", "extractps", "insertps", "lddqu", "maskmovdqu",
    "maskmovq", "movapd", "movaps", "movd", "movddup", "movdq2q", "movdqa", "movdqu", "movhlps", "movhpd",
    "movhps", "movlhps", "movlpd", "movlps", "movmskpd", "movmskps", "movntdq", "movntdqa", "movntpd", "movntps",
    "movntq", "movq", "movq2dq", "movsd", "movshdup", "movsldup", "movss", "movupd", "movups", "mpsadbw", "orpd",
    "orps", "pabsb", "pabsd", "pabsw", "packssdw", "packsswb", "packusdw", "packuswb", "paddb", "paddd", "paddq",
    "paddsb", "paddsw", "paddusb", "paddusw", "paddw", "palignr", "pand", "pandn", "pavgb", "pavgw", "pblendvb",
    "pblendw", "pclmulqdq", "pcmpeqb", "pcmpeqd", "pcmpeqq", "pcmpeqw", "pcmpestri", "pcmpestrm", "pcmpgtb",
    "pcmpgtd", "pcmpgtq", "pcmpgtw", "pcmpistri", "pcmpistrm", "pextrb", "pextrd", "pextrw", "phaddd", "phaddsw",
    "phaddw", "phminposuw", "phsubd", "phsubsw", "phsubw", "pinsrb", "pinsrd", "pinsrw", "pmaddubsw", "pmaddwd",
    "pmaxsb", "pmaxsd", "pmaxsw", "pmaxub", "pmaxud", "pmaxuw", "pminsb", "pminsd", "pminsw", "pminub", "pminud",
    "pminuw", "pmovmskb", "pmovsxbd", "pmovsxbq", "pmovsxbw", "pmovsxdq", "pmovsxwd", "pmovsxwq", "pmovzxbd",
    "pmovzxbq", "pmovzxbw", "pmovzxdq", "pmovzxwd", "pmovzxwq", "pmuldq", "pmulhrsw", "pmulhuw", "pmulhw",
    "pmulld", "pmullw", "pmuludq", "por", "psadbw", "pshufb", "pshufd", "pshufhw", "pshuflw", "pshufw", "psignb",
    "psignd", "psignw", "pslld", "pslldq", "psllq", "psllw", "psrad", "psraw", "psrld", "psrldq", "psrlq", "psrlw",
    "psubb", "psubd", "psubq", "psubsb", "psubsw", "psubusb", "psubusw", "psubw", "ptest", "punpckhbw",
    "punpckhdq", "punpckhqdq", "punpckhwd", "punpcklbw", "punpckldq", "punpcklqdq", "punpcklwd", "pxor",
    "sha1msg1", "sha1msg2", "sha1nexte", "sha1rnds4", "sha256msg1", "sha256msg2", "sha256rnds2", "shufpd",
    "shufps", "unpckhpd", "unpckhps", "unpcklpd", "unpcklps", "vbroadcastf128", "vbroadcasti128", "vbroadcastsd",
    "vbroadcastss", "vextractf128", "vextracti128", "vgatherdpd", "vgatherdps", "vgatherqpd", "vgatherqps",
    "vinsertf128", "vinserti128", "vmaskmovpd", "vmaskmovps", "vpblendd", "vpbroadcastb", "vpbroadcastd",
    "vpbroadcastq", "vpbroadcastw", "vperm2f128", "vperm2i128", "vpermd", "vpermilpd", "vpermilps", "vpermpd",
    "vpermps", "vpermq", "vpgatherdd", "vpgatherdq", "vpgatherqd", "vpgatherqq", "vpmaskmovd", "vpmaskmovq",
    "vpsllvd", "vpsllvq", "vpsravd", "vpsrlvd", "vpsrlvq", "vtestpd", "vtestps", "vzeroall", "vzeroupper", "xorpd",
    "xorps",
};

static inline int owned_index(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(owned_names); i++) {
        if (!strcmp(owned_names[i], name))
            return (int)i;
    }
    return -1;
}

struct guest {
    struct ram *ram;
    struct physmap *phys;
    struct region region;
    struct vcpu *cpu;
    u8 *data;               /* host address of the bytes at GUEST_DATA */
};

static inline void guest_pte(struct guest *g, gpa at, u64 v)
{
    memcpy(g->ram->base + at, &v, 8);
}

/* PML4 at 0x1000, PDPT 0x2000, PD 0x3000, PT 0x4000, data at 0x8000. */
static inline void guest_tables(struct guest *g)
{
    const u64 flags = 0x67;     /* present, writable, user, accessed, dirty */
    guest_pte(g, 0x1000, 0x2000 | flags);
    guest_pte(g, 0x2000, 0x3000 | flags);
    guest_pte(g, 0x3000 + (GUEST_DATA >> 21) * 8, 0x4000 | flags);
    for (u64 i = 0; i < GUEST_BYTES / PAGE_SIZE; i++)
        guest_pte(g, 0x4000 + i * 8, (0x8000 + i * PAGE_SIZE) | flags);
}

/* 64-bit mode (8), or 32-bit protected mode with flat segments and no paging (4). */
static inline void guest_mode(struct guest *g, unsigned mode)
{
    struct vcpu *c = g->cpu;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        c->seg[i] = (struct segment){ .limit = 0xffffffff, .sel = 0x2b };
        c->seg[i].attr = SEG_P | SEG_DPL | SEG_S | SEG_W | SEG_A | SEG_D | SEG_G;
    }
    c->seg[SEG_CS].attr = SEG_P | SEG_DPL | SEG_S | SEG_CODE | SEG_W | SEG_A | SEG_G | (mode == 8 ? SEG_L : SEG_D);
    c->cpl = 3;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | (mode == 8 ? CR0_PG : 0);
    c->cr3 = 0x1000;
    c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    c->efer = mode == 8 ? EFER_LME | EFER_LMA : 0;
    c->xcr0 = 7;
    c->eflags = EFL_1;
    mmu_set_paging(&c->mmu, c->cr0, c->cr3, c->cr4, c->efer, true, false);
    segment_refresh(c);
}

static inline struct guest *guest_new(void)
{
    char err[200] = "";
    struct guest *g = calloc(1, sizeof(*g));
    g->ram = ram_new(1 << 20, err, sizeof(err));
    ck_assert_msg(g->ram != NULL, "%s", err);
    g->phys = physmap_new();
    g->region = (struct region){ .name = "ram", .size = g->ram->size, .kind = REGION_RAM, .enabled = true };
    g->region.ram = g->ram;
    physmap_add(g->phys, &g->region);
    g->cpu = vcpu_new("max", g->phys, NULL, NULL, err, sizeof(err));
    ck_assert_msg(g->cpu != NULL, "%s", err);
    g->data = g->ram->base + 0x8000;
    guest_tables(g);
    guest_mode(g, 8);
    return g;
}

static inline void guest_free(struct guest *g)
{
    vcpu_free(g->cpu);
    physmap_free(g->phys);
    ram_free(g->ram);
    free(g);
}

/* Executes one instruction; false: it faulted, see cpu->exc. */
static inline bool guest_exec(struct guest *g, const void *bytes, unsigned n)
{
    struct insn in;
    ck_assert_int_eq(insn_decode(&in, bytes, n, g->cpu->code_size, NULL), DECODE_OK);
    ck_assert_uint_eq(in.len, n);
    g->cpu->exc.vector = 0xff;
    return in.run(g->cpu, &in);
}

#endif
