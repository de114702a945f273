/* run_check.c - replays what -accel check has saved (jit/check.c): the state before one unit and the memory around what it touches.
 *
 *     run-check FILE...
 *
 * Every page of the file's memory gets a page of RAM, mapped where it was by tables of the kind that the file's control
 * registers ask for, for everybody and writable (page faults are not what differs). Then the unit at RIP is made and compared
 * with the interpreter. A difference is reported as -accel check does, with exit status 1.
 *
 *     gpr HEX            all sixteen, little-endian        rip eflags mxcsr cpl cr0 cr4 efer xcr0 kernel_gs_base  a number
 *     segment NAME BASE LIMIT SELECTOR ATTRIBUTES UNUSABLE
 *     x87 N EXPONENT MANTISSA (N = 8: control, status; 9: empty registers)        vec HEX
 *     memory LINEAR HEX  64 bytes                          model guests exactflags super  for the reader
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/vcpu.h"
#include "jit/jit_private.h"

enum { RAM_BYTES = 16 << 20, TABLES = 0x1000, FIRST_PAGE = 0x400000 };

static struct ram *ram;
static struct physmap *map;
static struct region region;
static struct vcpu *c;
static u32 next_table, next_page;
static bool exactflags;

static void die(const char *what, const char *name)
{
    fprintf(stderr, "run-check: %s%s%s\n", what, *name ? ": " : "", name);
    exit(2);
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

static u64 entry(u64 at, unsigned bytes)
{
    u64 v = 0;
    memcpy(&v, ram->base + at, bytes);
    return v;
}

static u64 make_entry(u64 at, unsigned bytes, u64 target, u64 flags)
{
    u64 v = target | flags;
    memcpy(ram->base + at, &v, bytes);
    return target;
}

static u64 below_entry(u64 at, unsigned bytes, u64 flags)
{
    const u64 v = entry(at, bytes);
    if (v)
        return v & ~(u64)0xfff;
    if (next_table >= FIRST_PAGE)
        die("too many page tables", "");
    next_table += PAGE_SIZE;
    return make_entry(at, bytes, next_table - PAGE_SIZE, flags);
}

/* Supervisor pages stay the supervisor's where SMEP or SMAP would mind. */
static u64 page_flags(void) { return c->cpl < 3 && c->cr4 & (CR4_SMEP | CR4_SMAP) ? 0x63 : 0x67; }

/* The physical page behind a linear address; makes it. */
static u64 page_of(u64 a)
{
    u64 table = TABLES;
    unsigned bytes = 8, level = 4;
    if (!(c->cr0 & CR0_PG))
        return a & ~(u64)0xfff;
    if (!(c->cr4 & CR4_PAE))
        bytes = 4, level = 2;
    else if (!(c->efer & EFER_LMA))
        level = 3;
    for (; level > 1; level--) {
        const unsigned shift = bytes == 4 ? 22 : 3 + 9 * level, index = (unsigned)(a >> shift) & (bytes == 4 ? 1023 : 511);
        table = below_entry(table + index * bytes, bytes, level == 3 && !(c->efer & EFER_LMA) ? 1 : page_flags());
    }
    const u64 at = table + ((a >> 12) & (bytes == 4 ? 1023 : 511)) * bytes;
    if (entry(at, bytes))
        return entry(at, bytes) & ~(u64)0xfff;
    if (next_page >= RAM_BYTES)
        die("too many pages", "");
    next_page += PAGE_SIZE;
    return make_entry(at, bytes, next_page - PAGE_SIZE, page_flags());
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

static unsigned parse_hex(void *to, const char *s, unsigned room)
{
    u8 *p = to;
    unsigned n = 0, v;
    while (n < room && sscanf(s, "%2x", &v) == 1) {
        p[n++] = (u8)v;
        s += 2;
    }
    return n;
}

static bool parse_number(const char *name, u64 v)
{
    const struct { const char *name; u64 *to; } places[] = {
        { "rip", &c->rip }, { "cr0", &c->cr0 }, { "cr4", &c->cr4 }, { "efer", &c->efer }, { "xcr0", &c->xcr0 },
        { "kernel_gs_base", &c->kernel_gs_base },
    };
    for (unsigned i = 0; i < ARRAY_LEN(places); i++)
        if (!strcmp(name, places[i].name)) {
            *places[i].to = v;
            return true;
        }
    if (!strcmp(name, "eflags"))
        rflags_set(c, v);
    else if (!strcmp(name, "mxcsr"))
        c->mxcsr = (u32)v;
    else if (!strcmp(name, "cpl"))
        c->cpl = (u8)v;
    else if (!strcmp(name, "exactflags"))
        exactflags = v;
    else
        return !strcmp(name, "guests") || !strcmp(name, "super");
    return true;
}

static void parse_x87(unsigned n, unsigned se, u64 mant)
{
    if (n < 8)
        c->x87.r[n] = (struct f80){ mant, (u16)se };
    else if (n == 8)
        c->x87.cw = (u16)se, c->x87.sw = (u16)mant;
    else
        c->x87.empty = (u8)se;
}

static bool parse_segment(const char *line)
{
    static const char *const names[] = { "es", "cs", "ss", "ds", "fs", "gs" };
    char name[8];
    unsigned long long base;
    unsigned limit, sel, attr, unusable;
    if (sscanf(line, "segment %7s %llx %x %x %x %u", name, &base, &limit, &sel, &attr, &unusable) != 6)
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(name, names[i]))
            c->seg[i] = (struct segment){ base, limit, (u16)sel, (u16)attr, (u8)unusable, 0, 0 };
    return true;
}

static bool parse_line(const char *line, bool memory)
{
    char name[40];
    unsigned long long v;
    unsigned n, se;
    int at = 0;
    if (sscanf(line, "memory %llx %n", &v, &at) == 1 && at) {
        if (!memory)
            return true;
        const u64 to = page_of(v) + (v & 0xfff);
        if (to > RAM_BYTES - 64)
            die("memory beyond what is there", line);
        parse_hex(ram->base + to, line + at, 64);
        return true;
    }
    if (memory || *line == '#' || !strncmp(line, "model", 5))
        return true;
    if (!strncmp(line, "gpr ", 4))
        return parse_hex(c->gpr, line + 4, 128) == 128;
    if (!strncmp(line, "vec ", 4))
        return parse_hex(c->vec, line + 4, 512) == 512;
    if (!strncmp(line, "segment", 7))
        return parse_segment(line);
    if (sscanf(line, "x87 %u %x %llx", &n, &se, &v) == 3) {
        parse_x87(n, se, v);
        return true;
    }
    return sscanf(line, "%39s %llx", name, &v) == 2 && parse_number(name, v);
}

static void load(const char *name)
{
    char line[1200];
    FILE *f = fopen(name, "r");
    if (!f)
        die("cannot read", name);
    for (unsigned pass = 0; pass < 2; pass++) {
        rewind(f);
        while (fgets(line, sizeof(line), f))
            if (!parse_line(line, pass))
                die("not understood", line);
    }
    fclose(f);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void machine_new(void)
{
    char err[200] = "";
    ram = ram_new(RAM_BYTES, err, sizeof(err));
    map = physmap_new();
    if (!ram || !map)
        die(err, "");
    region = (struct region){ .name = "ram", .size = RAM_BYTES, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(map, &region);
    c = vcpu_new("max", map, NULL, NULL, err, sizeof(err));
    if (!c)
        die(err, "");
    vcpu_reset(c);
    next_table = TABLES + PAGE_SIZE;
    next_page = FIRST_PAGE;
}

static void check(void)
{
    struct jit_options o;
    char err[200];
    if (!jit_options_parse(&o, exactflags ? "check=on,hot=0,cache=4,exactflags=on" : "check=on,hot=0,cache=4", err, sizeof(err)) ||
        !jit_new(c, &o, err, sizeof(err)))
        die(err, "");
    c->cr3 = TABLES;
    segment_refresh(c);
    if (c->cr0 & CR0_PG && c->cr4 & CR4_PAE && !(c->efer & EFER_LMA))
        mmu_load_pdptes(&c->mmu, c->cr3, c->mmu.pdpte);
    sysreg_refresh_mmu(c);
    for (unsigned i = 0; i < 3; i++)        /* no unit: the interpreter has executed something */
        if (check_here(jit_of(c)))
            return;
    printf("  (no unit is made there)\n");
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        printf("%s\n", argv[i]);
        machine_new();
        load(argv[i]);
        check();
        jit_free(c);
        vcpu_free(c);
        physmap_free(map);
        ram_free(ram);
    }
    printf("no difference\n");
    return EXIT_SUCCESS;
}
