/* rom80186.c - 64 KiB test ROMs for the 80186 with the memory that they must leave behind (NAME.bin.gz, NAME.expected.gz).
 *
 * The ROM stands at F0000, the CPU starts at F000:FFF0 and stops in HLT; then memory from address 0 must equal the expected
 * bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vectors/vectors.h"

#define ROM_AT 0xf0000u
#define ROM_SIZE 0x10000u

/* The first byte that differs and is not listed as excused; `size` if there is none. */
static size_t first_difference(const char *name, const u8 *want, const u8 *got, size_t size, struct tally *t)
{
    for (size_t i = 0; i < size; i++)
        if (want[i] != got[i]) {
            /* as bits of the 16-bit word in which it lies: flags are what is excused */
            const char *reason = excused(name, (int)i, (unsigned)(want[i] ^ got[i]) << i % 2 * 8);
            if (!reason)
                return i;
            excuse(t, reason);
        }
    return size;
}

void run_rom80186(const char *folder, const char *name, struct tally *t)
{
    char path[1100], expected_path[1100];
    size_t rom_size, want_size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(expected_path, sizeof expected_path, "%s/%.*s.expected.gz", folder, (int)(strstr(name, ".bin.gz") - name), name);
    u8 *rom = read_gz(path, &rom_size), *want = read_gz(expected_path, &want_size);
    if (!rom || !want || rom_size != ROM_SIZE || want_size > ROM_AT) {
        t->failed++;
        snprintf(t->first_failure, sizeof t->first_failure, "%s: no 64 KiB ROM with an .expected.gz beside it", path);
        free(rom);
        free(want);
        return;
    }
    struct rig *r = rig_new("486");
    rig_enter_real_mode(r);
    rig_write(r, ROM_AT, rom, rom_size);
    segment_set_real(r->cpu, SEG_CS, 0xf000);
    r->cpu->rip = 0xfff0;
    r->cpu->rdx = 0;        /* later CPUs have their model number there */
    segment_refresh(r->cpu);
    bool halted = rig_run_to_halt(r, 10000000);
    u8 *got = malloc(want_size + 1);
    rig_read(r, 0, got, want_size);
    size_t at = first_difference(name, want, got, want_size, t);
    if (halted && at == want_size)
        t->passed++;
    else {
        t->failed++;
        if (!halted)
            snprintf(t->first_failure, sizeof t->first_failure, "%s: no HLT; stands at %04x:%04x", name, r->cpu->seg[SEG_CS].sel,
                     (u16)r->cpu->rip);
        else
            snprintf(t->first_failure, sizeof t->first_failure, "%s: byte %zu is %02x, must be %02x", name, at, got[at], want[at]);
    }
    rig_free(r);
    free(got);
    free(rom);
    free(want);
}
