/* fuzz_capstone.c - compares the decoder and the printer with Capstone: validity, length, mnemonic, operands as text.
 *
 *     fuzz-capstone [-m 16|32|64] [-n COUNT] [-s SEED] [-d DIFFERENCES] [-x HEXBYTES]
 *
 * Byte strings are structured: a walk over all encodings x opcodes x ModRM, each with random prefixes and a random
 * tail; one in eight is random altogether. Without -m all three modes are run, COUNT strings each. -x decodes one
 * string and shows both sides. The exit status is 0 only if nothing differs but what the list of known differences
 * explains.
 *
 * The list (capstone-differences.txt) says what is known to differ. One difference per line, fields separated by tabs,
 * # for comments; rules are tried in their order until the two sides agree: modes   accept    bytes   ours   theirs
 * reason     Capstone is wrong here modes   rewrite   bytes   ours   s/this/that/  reason     edit Capstone's text and
 * compare again modes   TRANSFORM bytes   ours   theirs        reason     change the bytes, decode both anew, compare
 * again bytes, ours, theirs: regular expressions; the first on the hex pairs of the longer of both instructions, the
 * others on the whole text "LENGTH mnemonic operands" or INVALID. Transforms, which may not change what we say unless
 * we said INVALID: order      each prefix once, in the order Capstone knows, without those that a later one or the mode
 * cancels as32       16-bit code as 32-bit code: 67 flipped, 66 flipped where it is the operand size and these, which
 * are passed over where they would change what we say: drop66     without 66        droprep   without F2 and F3
 * droplock  without LOCK        droprexw  without REX.W
 */
#include <capstone/capstone.h>

#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/insn_table.h"

enum { MAX_RULES = 400, MAX_KEYS = 300, ADDRESS = 0x1000 };

static const struct { unsigned bits, bytes; cs_mode mode; } modes[3] = {
    { 16, 2, CS_MODE_16 }, { 32, 4, CS_MODE_32 }, { 64, 8, CS_MODE_64 },
};
enum { ALL_MODES = 7 };

enum action { ACCEPT, REWRITE, ORDER, DROP66, DROPREP, DROPLOCK, DROPREXW, AS32, ACTION_COUNT };
static const char *const action_names[ACTION_COUNT] = { "accept",  "rewrite",  "order",    "drop66",
                                                        "droprep", "droplock", "droprexw", "as32" };

struct rule {
    unsigned modes;         /* bit i: modes[i] */
    enum action action;
    regex_t bytes, ours, theirs;
    char *replacement;
    u64 used;
    unsigned line;
};
static struct rule rules[MAX_RULES];
static unsigned rule_count;

/* A string of bytes, decoded by both. Dropped prefixes count as if they were still there. */
struct sample {
    unsigned mode;
    u8 bytes[16];
    int dropped;
    unsigned length;        /* of the longer one, as decoded */
    char ours[256], theirs[256], hex[34];
    bool keeps66;           /* 66 belongs to the opcode, or would */
    bool keeps_rep;         /* so do F2, F3 */
};

static u64 random_state;
static u64 random64(void)
{
    u64 z = random_state += 0x9e3779b97f4a7c15;     /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}
static unsigned below(unsigned n) { return (unsigned)((random64() >> 32) * n >> 32); }

/* ---- the list of differences ------------------------------------------------------------------------------------- */

static void compile_rule_regex(regex_t *re, const char *text, unsigned line, bool whole)
{
    char anchored[1024];
    snprintf(anchored, sizeof(anchored), whole ? "^(%s)$" : "%s", text);
    if (regcomp(re, anchored, REG_EXTENDED) != 0) {
        fprintf(stderr, "differences, line %u: bad expression %s\n", line, text);
        exit(2);
    }
}

static unsigned parse_modes(const char *s)
{
    unsigned set = 0;
    for (unsigned i = 0; i < 3; i++) {
        char bits[4];
        snprintf(bits, sizeof(bits), "%u", modes[i].bits);
        if (strstr(s, bits) || !strcmp(s, "*"))
            set |= 1u << i;
    }
    return set;
}

static void bad_rule(unsigned line)
{
    fprintf(stderr, "differences, line %u: wants modes, action, bytes, ours, theirs, reason\n", line);
    exit(2);
}

/* s/this/that/ in place: returns this, sets the rule's replacement. */
static char *split_rewrite(struct rule *r, char *text)
{
    char *save = NULL, *from = strtok_r(text + 1, "/", &save), *to = strtok_r(NULL, "/", &save);
    if (text[0] != 's' || !from)
        bad_rule(r->line);
    r->replacement = strdup(to ? to : "");
    return from;
}

static void add_rule(char *text, unsigned line)
{
    char *field[6];
    unsigned n = 0;
    for (char *p; n < 6 && (p = strsep(&text, "\t")) != NULL;)
        if (*p)
            field[n++] = p;
    if (n < 6 || rule_count == MAX_RULES)
        bad_rule(line);
    struct rule *r = &rules[rule_count++];
    r->modes = parse_modes(field[0]);
    r->line = line;
    while (r->action < ACTION_COUNT && strcmp(field[1], action_names[r->action]))
        r->action++;
    if (r->action == ACTION_COUNT || !r->modes)
        bad_rule(line);
    char *theirs = r->action == REWRITE ? split_rewrite(r, field[4]) : field[4];
    compile_rule_regex(&r->bytes, field[2], line, false);
    compile_rule_regex(&r->ours, field[3], line, true);
    compile_rule_regex(&r->theirs, theirs, line, r->action != REWRITE);
}

static void load_rules(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(2);
    }
    char *text = NULL;
    size_t size = 0;
    for (unsigned line = 1; getline(&text, &size, f) > 0; line++) {
        text[strcspn(text, "\n")] = 0;
        if (text[0] && text[0] != '#')
            add_rule(text, line);
    }
    free(text);
    fclose(f);
}

static void rewrite(char *text, size_t size, const struct rule *r, const regmatch_t *m)
{
    char tail[256], insert[64] = "";
    size_t n = 0;
    for (const char *p = r->replacement; *p && n < sizeof(insert) - 16; p++)
        if (*p == '\\' && p[1] >= '1' && p[1] <= '9') {
            const regmatch_t *g = &m[*++p - '0'];
            for (regoff_t i = g->rm_so; i >= 0 && i < g->rm_eo && n < sizeof(insert) - 1; i++)
                insert[n++] = text[i];
        } else {
            insert[n++] = *p;
        }
    insert[n] = 0;
    snprintf(tail, sizeof(tail), "%s", text + m[0].rm_eo);
    snprintf(text + m[0].rm_so, size - (size_t)m[0].rm_so, "%s%s", insert, tail);
}

/* ---- both decoders ----------------------------------------------------------------------------------------------- */

static csh handles[3];
static cs_insn *scratch[3];

static unsigned decode_ours(struct sample *s, unsigned skipped)
{
    struct insn in;
    s->keeps66 = s->keeps_rep = true;
    if (insn_decode(&in, s->bytes, 15, modes[s->mode].bytes, NULL) != DECODE_OK) {
        snprintf(s->ours, sizeof(s->ours), "INVALID");
        return 0;
    }
    unsigned pfx = insn_encodings[in.row].pfx;
    s->keeps66 = in.vex || insn_rows[in.row].attr & (ATTR_SSE | ATTR_MMX) || pfx == PFX_NP || pfx == PFX_P6;
    s->keeps_rep = !(pfx & PFX_NP);
    int n = snprintf(s->ours, sizeof(s->ours), "%d ", in.len + s->dropped);
    insn_print(s->ours + n, sizeof(s->ours) - (size_t)n, &in, ADDRESS + skipped);
    return in.len;
}

static unsigned decode_theirs(struct sample *s, unsigned skipped)
{
    const u8 *p = s->bytes;
    size_t left = 15;
    u64 address = ADDRESS + skipped;
    if (!cs_disasm_iter(handles[s->mode], &p, &left, &address, scratch[s->mode])) {
        snprintf(s->theirs, sizeof(s->theirs), "INVALID");
        return 0;
    }
    const cs_insn *i = scratch[s->mode];
    snprintf(s->theirs, sizeof(s->theirs), "%d %s%s%s", i->size + s->dropped, i->mnemonic, i->op_str[0] ? " " : "",
             i->op_str);
    for (size_t n = strlen(s->theirs); n && s->theirs[n - 1] == ' ';)
        s->theirs[--n] = 0;
    return i->size;
}

static void decode_both(struct sample *s)
{
    unsigned skipped = (unsigned)s->dropped;
    unsigned a = decode_ours(s, skipped), b = decode_theirs(s, skipped);
    s->length = a > b ? a : b;
    s->hex[0] = 0;
    for (unsigned i = 0; i < s->length; i++)
        snprintf(s->hex + 2 * i, 3, "%02x", s->bytes[i]);
}

/* ---- transforms -------------------------------------------------------------------------------------------------- */

struct prefixes { unsigned count; u8 seg, p66, p67, rep, lock, rex; };

static struct prefixes parse_prefixes(const struct sample *s)
{
    struct prefixes p = { 0 };
    bool long_mode = modes[s->mode].bytes == 8;
    for (;; p.count++) {
        u8 b = s->bytes[p.count];
        if (long_mode && (b & 0xf0) == 0x40) {
            p.rex = b;
            continue;
        }
        if (p.count >= 15 || !b || !memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", b, 11))
            return p;
        p.rex = 0;
        if (b == 0x64 || b == 0x65 || ((b & 0xe7) == 0x26 && !long_mode))
            p.seg = b;
        p.p66 |= b == 0x66 ? b : 0;
        p.p67 |= b == 0x67 ? b : 0;
        p.lock |= b == 0xf0 ? b : 0;
        if (b >= 0xf2)
            p.rep = b;
    }
}

static void transform(struct sample *s, enum action action)
{
    struct prefixes p = parse_prefixes(s);
    u8 out[24];
    unsigned n = 0;
    if (action == DROP66)
        p.p66 = 0;
    if (action == DROPREP)
        p.rep = 0;
    if (action == DROPLOCK)
        p.lock = 0;
    if (action == DROPREXW)
        p.rex &= (u8)~8;
    if (action == AS32) {
        p.p67 = p.p67 ? 0 : 0x67;
        if (!s->keeps66)
            p.p66 = p.p66 ? 0 : 0x66;
        s->mode = 1;
    }
    const u8 order[] = { p.seg, p.p67, s->keeps_rep ? 0 : p.rep, p.lock, p.p66, s->keeps_rep ? p.rep : 0, p.rex };
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        if (order[i])
            out[n++] = order[i];
    s->dropped += (int)p.count - (int)n;
    unsigned rest = 16 - (p.count > n ? p.count : n);
    memcpy(out + n, s->bytes + p.count, rest);
    memset(s->bytes, 0, sizeof(s->bytes));
    memcpy(s->bytes, out, n + rest);
    decode_both(s);
}

/* Applies one rule: 1 the two sides agree or the rule accepts that they do not, -1 we contradict ourselves, 0 go on. */
static int apply(struct rule *r, struct sample *s, const regmatch_t m[10])
{
    struct sample before = *s;
    if (r->action == REWRITE)
        rewrite(s->theirs, sizeof(s->theirs), r, m);
    else if (r->action != ACCEPT)
        transform(s, r->action);
    if (strcmp(before.ours, s->ours) && strcmp(before.ours, "INVALID")) {
        if (r->action == ORDER || r->action == AS32) {
            snprintf(s->theirs, sizeof(s->theirs), "(we contradict ourselves: %.200s)", before.ours);
            return -1;
        }
        *s = before;
        return 0;
    }
    r->used++;
    return r->action == ACCEPT || !strcmp(s->ours, s->theirs);
}

/* Does the list explain the difference? Three times through it, as one transform can make room for another. */
static bool explained(struct sample *s)
{
    for (unsigned i = 0; i < 3 * rule_count; i++) {
        struct rule *r = &rules[i % rule_count];
        regmatch_t m[10];
        if (!(r->modes >> s->mode & 1) || regexec(&r->bytes, s->hex, 0, NULL, 0) ||
            regexec(&r->ours, s->ours, 0, NULL, 0) || regexec(&r->theirs, s->theirs, 10, m, 0))
            continue;
        int result = apply(r, s, m);
        if (result)
            return result > 0;
    }
    return false;
}

static struct { char key[96]; u64 count; } keys[MAX_KEYS];
static unsigned key_count;
static u64 failures;

/* One full report per pair of mnemonics; the rest is counted. */
static void report(const struct sample *first, const struct sample *s)
{
    char key[96];
    const char *a = strchr(s->ours, ' '), *b = strchr(s->theirs, ' ');
    snprintf(key, sizeof(key), "%u %.*s %.*s", modes[first->mode].bits, a ? (int)strcspn(a + 1, " ") : 7,
             a ? a + 1 : s->ours, b ? (int)strcspn(b + 1, " ") : 7, b ? b + 1 : s->theirs);
    failures++;
    for (unsigned i = 0; i < key_count; i++)
        if (!strcmp(keys[i].key, key)) {
            keys[i].count++;
            return;
        }
    if (key_count == MAX_KEYS)
        return;
    snprintf(keys[key_count].key, sizeof(key), "%s", key);
    keys[key_count++].count = 1;
    printf("mode %u  %-30s  ours: %-44s  Capstone: %-44s", modes[first->mode].bits, first->hex, first->ours,
           first->theirs);
    if (strcmp(first->ours, s->ours) || strcmp(first->theirs, s->theirs))
        printf("  by the list: %s, %s | %s", s->hex, s->ours, s->theirs);
    printf("\n");
}

static void compare(unsigned mode, const u8 *bytes)
{
    struct sample first = { .mode = mode }, s;
    memcpy(first.bytes, bytes, 15);
    decode_both(&first);
    if (!strcmp(first.ours, first.theirs))
        return;
    s = first;
    if (!explained(&s))
        report(&first, &s);
}

/* ---- byte strings ------------------------------------------------------------------------------------------------ */

static u8 *add_prefixes(u8 *p, unsigned mode)
{
    static const u8 all[] = { 0x66, 0xf2, 0xf3, 0x66, 0xf2, 0xf3, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0 };
    static const u8 weights[] = { 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3 };
    for (unsigned n = weights[below(ARRAY_LEN(weights))]; n; n--)
        *p++ = all[below(ARRAY_LEN(all))];
    if (modes[mode].bytes == 8 && below(3) == 0)
        *p++ = (u8)(0x40 | below(16));
    return p;
}

enum { ENCODINGS = 7, WALK = ENCODINGS * 65536 };

/* step: position in the walk. */
static void structured(u8 *bytes, unsigned mode, u64 step)
{
    unsigned w = (unsigned)(step * 40503 % WALK), encoding = w >> 16;
    u8 *p = bytes, *end = bytes + 15;
    static const u8 escape[3] = { 0x38, 0x3a };
    if (encoding < 4 || below(16) == 0)
        p = add_prefixes(p, mode);
    if (encoding >= 1 && encoding < 4)
        *p++ = 0x0f;
    if (encoding >= 2 && encoding < 4)
        *p++ = escape[encoding - 2];
    if (encoding >= 4) {
        bool two = encoding == 4 && below(2);
        u8 vvvv = below(2) ? 0x78 : (u8)(below(16) << 3);
        *p++ = two ? 0xc5 : 0xc4;
        u8 rxb = modes[mode].bytes == 8 ? (u8)(below(8) << 5) : (u8)(0xc0 | below(2) << 5);
        if (!two)
            *p++ = rxb | (u8)(below(40) ? encoding - 3 : below(32));
        *p++ = (u8)(vvvv | below(8) | (two ? (modes[mode].bytes == 8 ? below(2) << 7 : 0xc0) : (below(3) ? 0 : 0x80)));
    }
    *p++ = (u8)(w & 0xff);
    *p++ = (u8)(w >> 8);
    while (p < end)
        *p++ = below(4) ? (u8)random64() : below(2) ? 0 : 0xff;
}

static void run(unsigned mode, u64 count)
{
    u8 bytes[16] = { 0 };
    for (u64 i = 0; i < count; i++) {
        if (below(8) == 0)
            for (unsigned k = 0; k < 15; k++)
                bytes[k] = (u8)random64();
        else
            structured(bytes, mode, i);
        compare(mode, bytes);
    }
}

static int show(unsigned set, const char *hex)
{
    u8 bytes[16] = { 0 };
    for (unsigned n = 0; n < 15 && sscanf(hex, "%2hhx", &bytes[n]) == 1; n++)
        hex += hex[1] ? 2 : 1;
    for (unsigned m = 0; m < 3; m++)
        if (set >> m & 1) {
            struct sample s = { .mode = m };
            memcpy(s.bytes, bytes, 15);
            decode_both(&s);
            printf("mode %u\n    ours      %s\n    Capstone  %s\n", modes[m].bits, s.ours, s.theirs);
            compare(m, bytes);
        }
    return failures != 0;
}

static void summary(u64 count, u64 seed, unsigned set)
{
    for (unsigned i = 0; i < key_count; i++)
        if (keys[i].count > 1)
            printf("%8" PRIu64 " x  %s\n", keys[i].count, keys[i].key);
    u64 known = 0;
    for (unsigned i = 0; i < rule_count; i++)
        known += rules[i].used;
    for (unsigned i = 0; i < rule_count && getenv("SHOW_UNUSED"); i++)
        if (!rules[i].used)
            printf("line %u of the list was not needed\n", rules[i].line);
    printf("%" PRIu64 " strings in each of %d modes: %" PRIu64 " unexplained differences, %" PRIu64
           " uses of the list. Again: -s %" PRIu64 " -n %" PRIu64 "\n",
           count, __builtin_popcount(set), failures, known, seed, count);
}

int main(int argc, char **argv)
{
    u64 count = 200000, seed = 1;
    unsigned set = ALL_MODES;
    const char *list = CAPSTONE_DIFFERENCES, *hex = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        switch (argv[i][0] == '-' ? argv[i][1] : 0) {
        case 'm': set = parse_modes(value); break;
        case 'n': count = strtoull(value, NULL, 0); break;
        case 's': seed = strtoull(value, NULL, 0); break;
        case 'd': list = value; break;
        case 'x': hex = value; break;
        default:
            fprintf(stderr, "usage: %s [-m 16|32|64] [-n COUNT] [-s SEED] [-d LIST] [-x HEX]\n", argv[0]);
            return 2;
        }
    }
    load_rules(list);
    for (unsigned m = 0; m < 3; m++) {
        if (cs_open(CS_ARCH_X86, modes[m].mode, &handles[m]) != CS_ERR_OK)
            return 2;
        scratch[m] = cs_malloc(handles[m]);
    }
    if (hex)
        return show(set, hex);
    for (unsigned m = 0; m < 3; m++)
        if (set >> m & 1) {
            random_state = seed * 3 + m;
            run(m, count);
        }
    summary(count, seed, set);
    return failures != 0;
}
