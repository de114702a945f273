/* device_fixture.h - for suites of single devices: a bus with 4 MiB of RAM, a clock that the test moves, a scratch folder. */
#ifndef SHADOW86_DEVICE_FIXTURE_H
#define SHADOW86_DEVICE_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block.h"
#include "devices/clock.h"
#include "devices/device.h"
#include "devices/pci.h"

static struct physmap *phys;
static struct clock *timeline;
static struct bus *bus;
static struct pci_bus *pci;
static struct ram *ram;
static struct region ram_region;
static u64 instructions;            /* one nanosecond each */
static char dir[64];
static unsigned irq_edges[16];
static bool irq_level[16];

static u64 instruction_count(void *ctx) { return instructions; }

static void fixture_irq(void *ctx, int n, bool level)
{
    irq_edges[n] += level && !irq_level[n];
    irq_level[n] = level;
}

__attribute__((unused)) static struct irq fixture_line(int n)
{
    return (struct irq) { fixture_irq, NULL, n };
}

static void fixture_open(void)
{
    char err[256];
    memset(irq_edges, 0, sizeof irq_edges);
    memset(irq_level, 0, sizeof irq_level);
    instructions = 1000;
    strcpy(dir, "/tmp/shadow86-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    phys = physmap_new();
    timeline = clock_new();
    clock_use_icount(timeline, 0, instruction_count, NULL);
    clock_resume(timeline);
    ram = ram_new(4 << 20, err, sizeof err);
    ck_assert_ptr_nonnull(ram);
    ram_region = (struct region) { .name = "ram", .size = ram->size, .kind = REGION_RAM, .enabled = true, .ram = ram };
    physmap_add(phys, &ram_region);
    bus = bus_new(phys, timeline);
    pci = pci_bus_new(bus, fixture_irq, NULL);
}

static void fixture_close(void)
{
    char cmd[128];
    pci_bus_free(pci);
    bus_free(bus);
    physmap_remove(phys, &ram_region);
    physmap_free(phys);
    ram_free(ram);
    clock_free(timeline);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    ck_assert_int_eq(system(cmd), 0);
}

/* Lets time pass until nothing is due for a while. */
__attribute__((unused)) static void settle(void)
{
    for (unsigned i = 0; i < 10000 && clock_deadline(timeline) != TIMER_NEVER; i++) {
        if (instructions < clock_deadline(timeline))
            instructions = clock_deadline(timeline);
        clock_run(timeline);
    }
}

/* A raw image; byte i of sector n is n * 7 + i, so that every place is told apart. */
__attribute__((unused)) static u8 pattern(u64 sector, unsigned i) { return (u8)(sector * 7 + (sector >> 8) + i); }

__attribute__((unused)) static struct block *image(const char *name, u64 sectors, unsigned sector_bytes, bool readonly, bool snapshot)
{
    char path[128], err[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    for (u64 s = 0; s < sectors; s++) {
        u8 data[2048];
        for (unsigned i = 0; i < sector_bytes; i++)
            data[i] = pattern(s, i);
        ck_assert_uint_eq(fwrite(data, sector_bytes, 1, f), 1);
    }
    fclose(f);
    struct block_options o = { .file = path, .format = "raw", .readonly = readonly, .snapshot = snapshot, .sector_size = sector_bytes };
    struct block *b = block_open(&o, err, sizeof err);
    ck_assert_msg(b != NULL, "%s", err);
    return b;
}

__attribute__((unused)) static int fixture_run(Suite *s)
{
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

#endif
