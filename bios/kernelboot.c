/* kernelboot.c - fills in the option ROM that starts a kernel (kernelboot.S): parameters, DMA descriptors, checksums. */
#include "bios/blobs.h"
#include "bios/private.h"

#include <stdio.h>

enum { ROM_CHECKSUM = 0x06, ROM_PNP = 0x20, PNP_BYTES = 0x20, PNP_CHECKSUM = ROM_PNP + 9, PARAMETERS = 0x40 };
enum { DMA_READ = 2, DMA_SELECT = 8 };

/* The BIOS keeps its tables in the last 256 KiB; the ACPI tables come on top of that. */
#define TOP_RESERVED ((u64)512 << 10)

u64 kernelboot_top(const struct bios_machine *m) { return m->ram_below_4g > TOP_RESERVED ? m->ram_below_4g - TOP_RESERVED : 0; }

bool kernelboot_room(const struct kernelboot *k, const struct kernel_image *image, u64 start, u64 end, char *err, size_t errlen)
{
    u64 top = kernelboot_top(k->m);

    if (start > end || start < KERNELBOOT_LOW_START || (start < KERNELBOOT_HIGH_START && end > KERNELBOOT_LOW_END)) {
        snprintf(err, errlen, "%s wants to be loaded to %llx-%llx; only %x-%x and what is above %x can be used", image->name,
                 (unsigned long long)start, (unsigned long long)end, KERNELBOOT_LOW_START, KERNELBOOT_LOW_END,
                 KERNELBOOT_HIGH_START);
        return false;
    }
    if (end > top) {
        snprintf(err, errlen, "%s does not fit: it needs memory up to %llu MiB, and the machine has %llu MiB (-m)", image->name,
                 (unsigned long long)((end + TOP_RESERVED + 0xfffff) >> 20), (unsigned long long)(k->m->ram_below_4g >> 20));
        return false;
    }
    return true;
}

void kernelboot_begin(struct kernelboot *k, struct fw_cfg *f, const struct bios_machine *m)
{
    assert(bios_kernelboot_bin_size == KERNELBOOT_ROM);
    *k = (struct kernelboot){ .rom = malloc(KERNELBOOT_ROM), .f = f, .m = m };
    if (!k->rom)
        abort();
    memcpy(k->rom, bios_kernelboot_bin, KERNELBOOT_ROM);
}

static void descriptor(struct kernelboot *k, u32 control, u32 to, u32 n)
{
    if (k->descriptors < KERNELBOOT_DESCRIPTORS) {
        u8 *d = k->rom + KERNELBOOT_TABLE + 16 * k->descriptors;
        put_be(d, control, 4);
        put_be(d + 4, n, 4);
        put_be(d + 8, to, 8);
    }
    k->descriptors++;               /* too many: kernelboot_end says so */
}

void kernelboot_copy(struct kernelboot *k, u16 key, bool first, u32 to, u32 n)
{
    descriptor(k, first ? (u32)key << 16 | DMA_SELECT | DMA_READ : DMA_READ, to, n);
}

void kernelboot_zero(struct kernelboot *k, u32 to, u32 n) { kernelboot_copy(k, FW_CFG_NOTHING, true, to, n); }

static void checksum(u8 *p, size_t n, u8 *at)
{
    u8 sum = 0;

    *at = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    *at = (u8)-sum;
}

bool kernelboot_end(struct kernelboot *k, const struct kernelboot_parameters *p)
{
    const u32 words[] = { p->e820_table, p->e820_room, p->e820_result, p->memory_result, p->rsdp_result, p->entry, p->eax, p->ebx };
    u8 *at = k->rom + PARAMETERS;

    if (k->descriptors > KERNELBOOT_DESCRIPTORS)
        return false;
    assert(!memcmp(at, "S86K", 4));
    put_le(at + 4, p->kind, 2);
    put_le(at + 6, k->descriptors, 2);
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        put_le(at + 8 + 4 * i, words[i], 4);
    checksum(k->rom + ROM_PNP, PNP_BYTES, k->rom + PNP_CHECKSUM);
    checksum(k->rom, KERNELBOOT_ROM, k->rom + ROM_CHECKSUM);
    fw_cfg_add_file(k->f, KERNELBOOT_ROM_NAME, k->rom, KERNELBOOT_ROM);
    return true;
}
