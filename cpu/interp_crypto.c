/* interp_crypto.c - AES rounds, carry-less multiplication, SHA-1 and SHA-256 steps.
 *
 * AES: FIPS 197; byte i of the register is row i % 4, column i / 4 of the state. SHA: FIPS 180-4, with the words in the
 * order that the SHA extensions keep them in (SDM 2, SHA1RNDS4 and following). PCLMULQDQ: SDM 2.
 */
#include "cpu/interp.h"
#include "cpu/vec.h"

static inline u32 rol(u32 v, unsigned n) { return v << n | v >> (32 - n); }
static inline u32 ror(u32 v, unsigned n) { return v >> n | v << (32 - n); }

/* ---------------------------------------------------------------------------------------------------- AES ----- */
/* Inverse in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, then the affine map of FIPS 197 5.1.1; and its inverse. */
static const u8 sbox[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};
static const u8 inv_sbox[256] = {
    0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb,
    0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87, 0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb,
    0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
    0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25,
    0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16, 0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92,
    0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
    0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06,
    0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02, 0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b,
    0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
    0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e,
    0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89, 0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b,
    0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
    0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f,
    0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d, 0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef,
    0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
    0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
};

/* Product in the field with a small constant. */
static inline u8 gf_mul(u8 a, unsigned k)
{
    u8 r = 0;
    for (; k; k >>= 1) {
        r ^= k & 1 ? a : 0;
        a = (u8)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
    }
    return r;
}

/* ShiftRows moves row r to the left by r columns (the inverse: to the right), SubBytes maps each byte. */
static void shift_and_substitute(union vec *s, const u8 *box, int direction)
{
    const union vec from = *s;
    for (int i = 0; i < 16; i++) {
        int row = i % 4, column = i / 4;
        s->b[i] = box[from.b[row + 4 * ((column + direction * row) & 3)]];
    }
}

/* Each column is multiplied by the circulant matrix whose first row is k (MixColumns: 2 3 1 1, inverse: 14 11 13 9). */
static void mix_columns(union vec *s, const u8 k[4])
{
    const union vec from = *s;
    for (unsigned i = 0; i < 16; i++) {
        u8 v = 0;
        for (unsigned j = 0; j < 4; j++)
            v ^= gf_mul(from.b[i / 4 * 4 + j], k[(j - i) & 3]);
        s->b[i] = v;
    }
}

static const u8 mix[4] = { 2, 3, 1, 1 }, inv_mix[4] = { 14, 11, 13, 9 };

/* One round on operand 1 with the round key in operand 2; the last round does not mix. */
static bool aes_round(struct vcpu *c, const struct insn *in, bool encrypt, bool last)
{
    union vec s, key;
    if (!vec_sources(c, in, &s, &key))
        return false;
    shift_and_substitute(&s, encrypt ? sbox : inv_sbox, encrypt ? 1 : -1);
    if (!last)
        mix_columns(&s, encrypt ? mix : inv_mix);
    s.q[0] ^= key.q[0];
    s.q[1] ^= key.q[1];
    return vec_write(c, in, &s);
}

bool in_aesenc(struct vcpu *c, const struct insn *in) { return aes_round(c, in, true, false); }
bool in_aesenclast(struct vcpu *c, const struct insn *in) { return aes_round(c, in, true, true); }
bool in_aesdec(struct vcpu *c, const struct insn *in) { return aes_round(c, in, false, false); }
bool in_aesdeclast(struct vcpu *c, const struct insn *in) { return aes_round(c, in, false, true); }

bool in_aesimc(struct vcpu *c, const struct insn *in)
{
    union vec s;
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    mix_columns(&s, inv_mix);
    return vec_write(c, in, &s);
}

static u32 sub_word(u32 v)
{
    u32 r = 0;
    for (unsigned i = 0; i < 32; i += 8)
        r |= (u32)sbox[v >> i & 0xff] << i;
    return r;
}

bool in_aeskeygenassist(struct vcpu *c, const struct insn *in)
{
    union vec s, r = { 0 };
    if (!operand_read_vec(c, in, 1, &s))
        return false;
    for (unsigned i = 0; i < 4; i += 2) {
        r.d[i] = sub_word(s.d[i + 1]);
        r.d[i + 1] = ror(r.d[i], 8) ^ vec_imm(in);
    }
    return vec_write(c, in, &r);
}

/* ---------------------------------------------------------------------------------- carry-less product ----- */
/* Immediate bit 0 chooses the half of operand 1, bit 4 that of operand 2. */
bool in_pclmulqdq(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    u128 product = 0;
    if (!vec_sources(c, in, &s, &t))
        return false;
    const u64 a = s.q[vec_imm(in) & 1], b = t.q[vec_imm(in) >> 4 & 1];
    for (unsigned i = 0; i < 64; i++)
        product ^= b >> i & 1 ? (u128)a << i : 0;
    r.q[0] = (u64)product;
    r.q[1] = (u64)(product >> 64);
    return vec_write(c, in, &r);
}

/* -------------------------------------------------------------------------------------------------- SHA-1 ----- */
static u32 choice(u32 x, u32 y, u32 z) { return (x & y) ^ (~x & z); }
static u32 majority(u32 x, u32 y, u32 z) { return (x & y) ^ (x & z) ^ (y & z); }
static u32 parity(u32 x, u32 y, u32 z) { return x ^ y ^ z; }

/* Operand 1: A B C D from the top element down; operand 2: W0 + E, W1, W2, W3 likewise. */
bool in_sha1rnds4(struct vcpu *c, const struct insn *in)
{
    static const struct { u32 (*f)(u32, u32, u32); u32 k; } phases[] = {
        { choice, 0x5a827999 }, { parity, 0x6ed9eba1 }, { majority, 0x8f1bbcdc }, { parity, 0xca62c1d6 },
    };
    union vec s, w;
    if (!vec_sources(c, in, &s, &w))
        return false;
    u32 e = 0;
    for (unsigned i = 0; i < 4; i++) {
        const u32 a = s.d[3];
        const u32 next = phases[vec_imm(in) & 3].f(s.d[2], s.d[1], s.d[0]) + rol(a, 5) + w.d[3 - i] + e +
                         phases[vec_imm(in) & 3].k;
        e = s.d[0];
        s.d[0] = s.d[1];
        s.d[1] = rol(s.d[2], 30);
        s.d[2] = a;
        s.d[3] = next;
    }
    return vec_write(c, in, &s);
}

bool in_sha1nexte(struct vcpu *c, const struct insn *in)
{
    union vec s, t;
    if (!vec_sources(c, in, &s, &t))
        return false;
    t.d[3] += rol(s.d[3], 30);
    return vec_write(c, in, &t);
}

bool in_sha1msg1(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    if (!vec_sources(c, in, &s, &t))
        return false;
    r.d[3] = s.d[1] ^ s.d[3];
    r.d[2] = s.d[0] ^ s.d[2];
    r.d[1] = t.d[3] ^ s.d[1];
    r.d[0] = t.d[2] ^ s.d[0];
    return vec_write(c, in, &r);
}

bool in_sha1msg2(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    if (!vec_sources(c, in, &s, &t))
        return false;
    r.d[3] = rol(s.d[3] ^ t.d[2], 1);
    r.d[2] = rol(s.d[2] ^ t.d[1], 1);
    r.d[1] = rol(s.d[1] ^ t.d[0], 1);
    r.d[0] = rol(s.d[0] ^ r.d[3], 1);
    return vec_write(c, in, &r);
}

/* ------------------------------------------------------------------------------------------------ SHA-256 ----- */
/* Operand 1: C D G H, operand 2: A B E F, from the top element down; operand 3 is XMM0: W + K of two rounds. Gives the
 * new A B E F. */
bool in_sha256rnds2(struct vcpu *c, const struct insn *in)
{
    union vec s, t, wk, r = { 0 };
    if (!vec_sources(c, in, &s, &t) || !operand_read_vec(c, in, 3, &wk))
        return false;
    u32 v[8] = { t.d[3], t.d[2], s.d[3], s.d[2], t.d[1], t.d[0], s.d[1], s.d[0] };  /* a..h */
    for (unsigned i = 0; i < 2; i++) {
        const u32 t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + choice(v[4], v[5], v[6]) + wk.d[i];
        const u32 t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + majority(v[0], v[1], v[2]);
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    r.d[3] = v[0];
    r.d[2] = v[1];
    r.d[1] = v[4];
    r.d[0] = v[5];
    return vec_write(c, in, &r);
}

bool in_sha256msg1(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const u32 w = i < 3 ? s.d[i + 1] : t.d[0];
        r.d[i] = s.d[i] + (ror(w, 7) ^ ror(w, 18) ^ w >> 3);
    }
    return vec_write(c, in, &r);
}

bool in_sha256msg2(struct vcpu *c, const struct insn *in)
{
    union vec s, t, r = { 0 };
    if (!vec_sources(c, in, &s, &t))
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const u32 w = i < 2 ? t.d[i + 2] : r.d[i - 2];
        r.d[i] = s.d[i] + (ror(w, 17) ^ ror(w, 19) ^ w >> 10);
    }
    return vec_write(c, in, &r);
}
