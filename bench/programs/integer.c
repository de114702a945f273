/* integer.c - integer loops, calls and interpreters: what compilers make of ordinary C. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

/* --- core: linked list, matrix, state machine and CRC, in the manner of embedded benchmarks --- */
struct item {
    struct item *next;
    short key, value;
};
static struct item items[256];
static short matrix_a[24][24], matrix_b[24][24];
static char numbers[2048];

static u16 crc16(u16 crc, u16 value)
{
    for (int i = 0; i < 16; i++, value >>= 1)
        crc = (u16)((crc ^ value) & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1);
    return crc;
}

static struct item *list_merge(struct item *a, struct item *b)
{
    struct item head, *tail = &head;
    while (a && b) {
        struct item **least = a->key <= b->key ? &a : &b;
        tail = tail->next = *least;
        *least = (*least)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static struct item *list_sort(struct item *list)
{
    if (!list || !list->next)
        return list;
    struct item *slow = list, *fast = list->next;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    struct item *half = slow->next;
    slow->next = NULL;
    return list_merge(list_sort(list), list_sort(half));
}

static u16 core_matrix(u16 crc, int round)
{
    for (int i = 0; i < 24; i++)
        for (int j = 0; j < 24; j++) {
            int sum = round;
            for (int k = 0; k < 24; k++)
                sum += matrix_a[i][k] * matrix_b[k][j];
            crc = crc16(crc, (u16)(sum >> 3));
        }
    return crc;
}

/* Counts what in a text of numbers is an integer, a float, a hexadecimal number, wrong. */
static u16 core_states(u16 crc)
{
    enum { START, INTEGER, FRACTION, HEX, WRONG, STATES } state = START;
    u32 count[STATES] = { 0 };
    for (const char *p = numbers; *p; p++) {
        char c = *p;
        if (c == ' ') {
            count[state]++;
            state = START;
            continue;
        }
        /* clang-format off */
        switch (state) {
        case START: state = c >= '0' && c <= '9' ? INTEGER : c == '-' ? INTEGER : c == '.' ? FRACTION : WRONG; break;
        case INTEGER: state = c >= '0' && c <= '9' ? INTEGER : c == '.' ? FRACTION : c == 'x' ? HEX : WRONG; break;
        case FRACTION: state = c >= '0' && c <= '9' ? FRACTION : WRONG; break;
        case HEX: state = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ? HEX : WRONG; break;
        default: break;
        }
        /* clang-format on */
    }
    for (int i = 0; i < STATES; i++)
        crc = crc16(crc, (u16)count[i]);
    return crc;
}

static void core_prepare(void)
{
    for (int i = 0; i < 24 * 24; i++) {
        matrix_a[i / 24][i % 24] = (short)(rnd() % 100);
        matrix_b[i / 24][i % 24] = (short)(rnd() % 100);
    }
    for (size_t i = 0; i < sizeof numbers - 1; i++)
        numbers[i] = "0123456789 0123456789 -.xaf"[rnd() % 27];
}

static u64 core_run(long iterations)
{
    u16 crc = 0;
    for (long n = 0; n < iterations; n++)
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < 256; i++)
                items[i] =
                    (struct item){ i < 255 ? &items[i + 1] : NULL, (short)((i * 7919 + n + round) & 0xfff), (short)i };
            for (struct item *p = list_sort(items); p; p = p->next)
                crc = crc16(crc, (u16)(p->key ^ p->value));
            crc = core_matrix(crc, round);
            crc = core_states(crc);
        }
    return crc;
}

/* --- sha256 --- */
static const u32 sha_k[64] = {
    /* clang-format off */
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    /* clang-format on */
};
static u8 text[256 * 1024];

static void text_prepare(void)
{
    static const char *words[] = { "the ",      "shadow ", "of ",    "a ",     "machine ", "is ",
                                   "register ", "memory ", "page ",  "table ", "and ",     "interrupt ",
                                   "in ",       "to ",     "block ", "code ",  ".\n",      "which " };
    for (size_t at = 0; at < sizeof text - 16;) {
        const char *word = rnd() % 8 ? words[rnd() % 18] : "xyz ";
        size_t length = strlen(word);
        memcpy(text + at, word, length);
        at += length;
        if (rnd() % 16 == 0)
            text[at++] = (u8)(rnd() % 26 + 'a');
    }
}

static u32 ror(u32 x, int n) { return x >> n | x << (32 - n); }

static void sha256_block(u32 h[8], const u8 *p)
{
    u32 w[64], s[8];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        u32 a =
            s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
        u32 b = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + a, s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = a + b;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

static u64 sha256_run(long iterations)
{
    u32 h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    for (long n = 0; n < iterations; n++)
        for (int at = 0; at < 256 * 1024; at += 64)
            sha256_block(h, text + at);
    return (u64)h[0] << 32 | h[7];
}

/* --- qsort: a generic sort that calls its comparison by pointer --- */
static int sorted[20000];

static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static void swap(char *a, char *b, size_t size)
{
    while (size--) {
        char c = *a;
        *a++ = *b;
        *b++ = c;
    }
}

static void sort(char *base, size_t count, size_t size, int (*cmp)(const void *, const void *))
{
    while (count > 1) {
        char *left = base, *right = base + (count - 1) * size, *pivot = base + count / 2 * size;
        swap(pivot, right, size);
        pivot = right;
        char *store = left;
        for (char *p = left; p < right; p += size)
            if (cmp(p, pivot) < 0) {
                swap(p, store, size);
                store += size;
            }
        swap(store, right, size);
        size_t lower = (size_t)(store - base) / size;
        sort(base, lower, size, cmp);
        base = store + size;
        count -= lower + 1;
    }
}

static u64 qsort_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++) {
        for (int i = 0; i < 20000; i++)
            sorted[i] = (int)rnd();
        sort((char *)sorted, 20000, sizeof sorted[0], compare);
        for (int i = 0; i < 20000; i += 1000)
            sum = mix(sum, (u32)sorted[i]);
    }
    return sum;
}

/* --- hashmap: open addressing, inserts, look-ups, deletions --- */
#define SLOTS 16384
static struct {
    u32 key, value;
} slots[SLOTS];

static u32 find_slot(u32 key)
{
    u32 i = key * 2654435769u >> 18;
    while (slots[i].key && slots[i].key != key)
        i = (i + 1) & (SLOTS - 1);
    return i;
}

static u64 hashmap_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++) {
        memset(slots, 0, sizeof slots);
        for (u32 i = 0; i < 10000; i++) {
            u32 key = (rnd() & 0xffff) + 1, at = find_slot(key);
            slots[at].key = key;
            slots[at].value += i;
        }
        for (u32 key = 1; key < 20000; key++) {
            u32 at = find_slot(key * 3);
            if (slots[at].key)
                sum += slots[at].value;
        }
    }
    return sum;
}

/* --- bytecode: a stack machine, computed goto --- */
enum { PUSH, LOAD, STORE, ADD, SUB, MUL, AND, XOR, LESS, JUMP, JUMP_IF, CALL, RET, HALT };
/* clang-format off */
static const int program[] = {
    /*  0 */ PUSH, 0, STORE, 0, PUSH, 0, STORE, 1,              /* sum = i = 0 */
    /*  8 */ LOAD, 0, LOAD, 1, CALL, 36, ADD, STORE, 0,         /* sum += f(i) */
    /* 17 */ LOAD, 0, PUSH, 0xffffff, AND, STORE, 0,
    /* 24 */ LOAD, 1, PUSH, 1, ADD, STORE, 1,
    /* 31 */ LOAD, 1, JUMP, 47, HALT,
    /* 36 */ STORE, 2, LOAD, 2, LOAD, 2, MUL, PUSH, 12345, XOR, RET,
    /* 47 */ PUSH, 20000, LESS, JUMP_IF, 8, HALT,
};

static int interpret(const int *code)
{
    static const void *const labels[] = { &&push, &&load, &&store, &&add, &&sub, &&mul, &&and, &&xor,
                                          &&less, &&jump, &&jump_if, &&call, &&ret, &&halt };
    int stack[64], returns[16], variables[4] = { 0 };
    int *sp = stack, *rp = returns;
    const int *pc = code;
#define NEXT goto *labels[*pc++]
    NEXT;
push: *sp++ = *pc++; NEXT;
load: *sp++ = variables[*pc++]; NEXT;
store: variables[*pc++] = *--sp; NEXT;
add: sp--, sp[-1] += sp[0]; NEXT;
sub: sp--, sp[-1] -= sp[0]; NEXT;
mul: sp--, sp[-1] = (int)((u32)sp[-1] * (u32)sp[0]); NEXT;
and: sp--, sp[-1] &= sp[0]; NEXT;
xor: sp--, sp[-1] ^= sp[0]; NEXT;
less: sp--, sp[-1] = sp[-1] < sp[0]; NEXT;
jump: pc = code + *pc; NEXT;
jump_if: pc = *--sp ? code + *pc : pc + 1; NEXT;
call: *rp++ = (int)(pc + 1 - code), pc = code + *pc; NEXT;
ret: pc = code + *--rp; NEXT;
halt:
    return variables[0];
}

/* clang-format on */
static u64 bytecode_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++)
        sum = mix(sum, (u32)interpret(program));
    return sum;
}

/* --- switch: the same kind of loop by a switch, registers instead of a stack --- */
struct op {
    u8 code, to, a, b;
};
static struct op ops[64];

static void switch_prepare(void)
{
    for (int i = 0; i < 64; i++)
        ops[i] = (struct op){ (u8)(rnd() % 12), (u8)(rnd() % 16), (u8)(rnd() % 16), (u8)(rnd() % 16) };
}

static u64 switch_run(long iterations)
{
    u32 r[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
    for (long n = 0; n < iterations * 3000; n++)
        for (const struct op *o = ops; o < ops + 64; o++) {
            u32 a = r[o->a], b = r[o->b], *to = &r[o->to];
            /* clang-format off */
            switch (o->code) {
            case 0: *to = a + b; break;
            case 1: *to = a - b; break;
            case 2: *to = a ^ b; break;
            case 3: *to = a | 1; break;
            case 4: *to = a << (b & 7); break;
            case 5: *to = a >> (b & 7); break;
            case 6: *to = a * 5 + 1; break;
            case 7: *to = a < b ? a : b; break;
            case 8: *to = ~a; break;
            case 9: *to = a & (b | 0xff); break;
            case 10: *to = a * b; break;
            case 11: o += a & 1; break; /* skips one; at the end the loop's condition still holds */
            }
        }
    /* clang-format on */
    u64 sum = 0;
    for (int i = 0; i < 16; i++)
        sum = mix(sum, r[i]);
    return sum;
}

/* --- fib: calls and returns; virtual: indirect calls; nqueens: recursion with bit masks --- */
static __attribute__((noinline)) u32 fib(u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static u64 fib_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++)
        sum += fib(24 + (u32)(n & 1));
    return sum;
}

struct shape {
    u32 (*area)(const struct shape *, u32);
    u32 width, height;
};
static u32 square(const struct shape *s, u32 x) { return s->width * s->width + x; }
static u32 rectangle(const struct shape *s, u32 x) { return s->width * s->height ^ x; }
static u32 triangle(const struct shape *s, u32 x) { return (s->width * s->height >> 1) - x; }
static u32 circle(const struct shape *s, u32 x) { return s->width * s->width * 3 + (x >> 1); }
static struct shape shapes[1000];

static void virtual_prepare(void)
{
    static u32 (*const kinds[])(const struct shape *, u32) = { square, rectangle, triangle, circle };
    for (int i = 0; i < 1000; i++)
        shapes[i] = (struct shape){ kinds[rnd() % 4], rnd() % 100, rnd() % 100 };
}

static u64 virtual_run(long iterations)
{
    u32 x = 0;
    for (long n = 0; n < iterations * 200; n++)
        for (int i = 0; i < 1000; i++)
            x = shapes[i].area(&shapes[i], x);
    return x;
}

static u32 queens(u32 all, u32 columns, u32 left, u32 right)
{
    u32 count = 0;
    if (columns == all)
        return 1;
    for (u32 free = all & ~(columns | left | right); free;) {
        u32 bit = free & -free;
        free ^= bit;
        count += queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return count;
}

static u64 nqueens_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++)
        sum += queens(0x7ff, 0, (u32)n & 1, 0);
    return sum;
}

/* --- dijkstra: shortest paths, binary heap --- */
#define NODES 2000
#define EDGES 8
static struct {
    u16 to, cost;
} edges[NODES][EDGES];

static void dijkstra_prepare(void)
{
    for (int i = 0; i < NODES * EDGES; i++)
        edges[i / EDGES][i % EDGES].to = (u16)(rnd() % NODES),
                             edges[i / EDGES][i % EDGES].cost = (u16)(rnd() % 1000 + 1);
}

static struct {
    u32 distance, node;
} heap[NODES * EDGES + 1];
static u32 heap_count;

static void heap_push(u32 distance, u32 node)
{
    u32 i = heap_count++;
    for (; i && heap[(i - 1) / 2].distance > distance; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i].distance = distance;
    heap[i].node = node;
}

static void heap_pop(void)
{
    u32 last = --heap_count, i = 0, child;
    while ((child = 2 * i + 1) < last) {
        if (child + 1 < last && heap[child + 1].distance < heap[child].distance)
            child++;
        if (heap[child].distance >= heap[last].distance)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = heap[last];
}

static u64 dijkstra_run(long iterations)
{
    static u32 best[NODES];
    u64 sum = 0;
    for (long n = 0; n < iterations; n++) {
        memset(best, 0xff, sizeof best);
        best[n % NODES] = 0;
        heap_push(0, (u32)(n % NODES));
        while (heap_count) {
            u32 distance = heap[0].distance, node = heap[0].node;
            heap_pop();
            for (int i = 0; i < EDGES && distance == best[node]; i++) {
                u32 to = edges[node][i].to, d = distance + edges[node][i].cost;
                if (d < best[to]) {
                    best[to] = d;
                    heap_push(d, to);
                }
            }
        }
        for (int i = 0; i < NODES; i++)
            sum += best[i];
    }
    return sum;
}

/* --- strsearch: words in a text, Horspool's way and the plain way --- */
static u32 horspool(const u8 *word, size_t length)
{
    size_t skip[256];
    u32 count = 0;
    for (int i = 0; i < 256; i++)
        skip[i] = length;
    for (size_t i = 0; i + 1 < length; i++)
        skip[word[i]] = length - 1 - i;
    for (size_t at = 0; at + length <= sizeof text; at += skip[text[at + length - 1]]) {
        size_t i = length;
        while (i && text[at + i - 1] == word[i - 1])
            i--;
        count += !i;
    }
    return count;
}

static u32 plain_search(const u8 *word, size_t length)
{
    u32 count = 0;
    for (size_t at = 0; at + length <= sizeof text; at++) {
        size_t i = 0;
        while (i < length && text[at + i] == word[i])
            i++;
        count += i == length;
    }
    return count;
}

static u64 strsearch_run(long iterations)
{
    static const char *const words[] = { "register mem", "interrupt", "block code", "xyz xyz" };
    u64 sum = 0;
    for (long n = 0; n < iterations; n++) {
        const char *word = words[n % 4];
        sum = mix(sum, horspool((const u8 *)word, strlen(word)));
        sum = mix(sum, plain_search((const u8 *)word, strlen(word)));
    }
    return sum;
}

/* --- lz: packs (hash of three bytes, one candidate) and unpacks --- */
static u8 packed[sizeof text * 2], unpacked[sizeof text];

static size_t lz_pack(const u8 *from, size_t n, u8 *to)
{
    static int last[4096];
    u8 *out = to;
    memset(last, 0xff, sizeof last);
    for (size_t i = 0; i < n;) {
        u32 hash = 0, length = 0;
        int at = -1;
        if (i + 3 < n) {
            hash = ((u32)from[i] << 16 | (u32)from[i + 1] << 8 | from[i + 2]) * 2654435761u >> 20;
            at = last[hash];
            last[hash] = (int)i;
        }
        if (at >= 0 && i - (size_t)at < 65536)
            while (i + length < n && length < 255 && from[(size_t)at + length] == from[i + length])
                length++;
        if (length >= 4) {
            size_t distance = i - (size_t)at;
            *out++ = (u8)length, *out++ = (u8)distance, *out++ = (u8)(distance >> 8);
            i += length;
        } else {
            *out++ = 0, *out++ = from[i++];
        }
    }
    return (size_t)(out - to);
}

static size_t lz_unpack(const u8 *from, size_t n, u8 *to)
{
    u8 *out = to;
    for (const u8 *end = from + n; from < end;) {
        u32 length = *from++;
        if (!length) {
            *out++ = *from++;
            continue;
        }
        const u8 *source = out - (from[0] | from[1] << 8);
        for (from += 2; length; length--)
            *out++ = *source++;
    }
    return (size_t)(out - to);
}

static u64 lz_run(long iterations)
{
    u64 sum = 0;
    for (long n = 0; n < iterations; n++) {
        size_t bytes = lz_pack(text, sizeof text, packed);
        sum = mix(sum, bytes);
        sum = mix(sum, lz_unpack(packed, bytes, unpacked));
        sum = mix(sum, unpacked[(size_t)n * 4099 % sizeof text]);
    }
    return sum;
}

/* --- crc32 by table; bits: counting, reversing, rotating; muldiv: 64-bit products and quotients --- */
static u32 crc_table[256];

static void crc32_prepare(void)
{
    text_prepare();
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        crc_table[i] = c;
    }
}

static u64 crc32_run(long iterations)
{
    u32 crc = ~0u;
    for (long n = 0; n < iterations; n++)
        for (size_t i = 0; i < sizeof text; i++)
            crc = crc >> 8 ^ crc_table[(crc ^ text[i]) & 255];
    return crc;
}

static u32 reverse(u32 x)
{
    x = (x & 0x55555555) << 1 | (x >> 1 & 0x55555555);
    x = (x & 0x33333333) << 2 | (x >> 2 & 0x33333333);
    x = (x & 0x0f0f0f0f) << 4 | (x >> 4 & 0x0f0f0f0f);
    return __builtin_bswap32(x);
}

static u64 bits_run(long iterations)
{
    u64 x = 88172645463325252ull;
    u32 sum = 0;
    for (long n = 0; n < iterations * 40000; n++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        u32 y = (u32)x | 1u << 31;
        sum += (u32)__builtin_ctz(y) + (u32)__builtin_clz(y | 1) + (reverse(y) >> 9);
        sum = sum << 7 | sum >> 25;
        if (y >> (sum & 31) & 1)
            sum += 3;
    }
    return sum;
}

static u64 power_mod(u64 base, u64 exponent, u32 modulus)
{
    u64 r = 1;
    for (base %= modulus; exponent; exponent >>= 1) {
        if (exponent & 1)
            r = r * base % modulus;
        base = base * base % modulus;
    }
    return r;
}

static u64 muldiv_run(long iterations)
{
    u64 sum = 1;
    for (long n = 0; n < iterations; n++)
        for (u32 i = 1; i <= 1000; i++) {
            sum = mix(sum, power_mod(sum | 1, 65537, 4294967291u - i));
            sum += sum / (i + 7) + sum % (((u64)i << 33) | 12345) + (u64)((long long)sum / -(long long)i);
        }
    return sum;
}

const struct workload workloads[] = {
    { "core", core_prepare, core_run },
    { "sha256", text_prepare, sha256_run },
    { "qsort", NULL, qsort_run },
    { "hashmap", NULL, hashmap_run },
    { "bytecode", NULL, bytecode_run },
    { "switch", switch_prepare, switch_run },
    { "fib", NULL, fib_run },
    { "virtual", virtual_prepare, virtual_run },
    { "nqueens", NULL, nqueens_run },
    { "dijkstra", dijkstra_prepare, dijkstra_run },
    { "strsearch", text_prepare, strsearch_run },
    { "lz", text_prepare, lz_run },
    { "crc32", crc32_prepare, crc32_run },
    { "bits", NULL, bits_run },
    { "muldiv", NULL, muldiv_run },
    { NULL, NULL, NULL },
};
