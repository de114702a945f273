/* elf_image.c - ELF kernels: segments, entry, Xen's PVH note. Reads with libelf, which checks the file's own
 * structure; what a segment claims of file and memory is checked here.
 */
#include "bios/private.h"

#include <gelf.h>
#include <stdio.h>

enum { NOTE_PVH_ENTRY = 18 };       /* XEN_ELFNOTE_PHYS32_ENTRY */

bool elf_image_is(const struct kernel_image *image)
{
    return image->size >= EI_NIDENT && !memcmp(image->data, ELFMAG, SELFMAG) && image->data[EI_DATA] == ELFDATA2LSB;
}

static bool bad(const struct kernel_image *image, const char *what, char *err, size_t errlen)
{
    snprintf(err, errlen, "%s is a damaged ELF file: %s", image->name, what);
    return false;
}

/* Notes of one segment: name size, descriptor size, type, then name and descriptor, each padded to 4 bytes. */
static void find_pvh_entry(const struct kernel_image *image, u64 offset, u64 bytes, struct elf_program *p)
{
    while (bytes >= 12) {
        const u8 *note = image->data + offset;
        u64 name = get_le(note, 4), desc = get_le(note + 4, 4), type = get_le(note + 8, 4);
        u64 desc_at = 12 + ((name + 3) & ~(u64)3), next = desc_at + ((desc + 3) & ~(u64)3);
        if (desc_at + desc > bytes)
            return;
        if (type == NOTE_PVH_ENTRY && name == 4 && !memcmp(note + 12, "Xen", 4) && (desc == 4 || desc == 8)) {
            p->has_pvh_entry = true;
            p->pvh_entry = get_le(note + desc_at, (unsigned)desc);
        }
        if (next > bytes)
            return;
        offset += next;
        bytes -= next;
    }
}

static bool in_file(const struct kernel_image *image, const GElf_Phdr *h)
{
    return h->p_offset <= image->size && h->p_filesz <= image->size - h->p_offset;
}

static bool read_segment(const struct kernel_image *image, const GElf_Ehdr *e, const GElf_Phdr *h, struct elf_program *p, char *err,
                         size_t errlen)
{
    if (h->p_type == PT_NOTE && in_file(image, h))
        find_pvh_entry(image, h->p_offset, h->p_filesz, p);
    if (h->p_type != PT_LOAD || !h->p_memsz)
        return true;
    if (!in_file(image, h))
        return bad(image, "a segment lies beyond its end (truncated?)", err, errlen);
    if (h->p_filesz > h->p_memsz || h->p_paddr + h->p_memsz < h->p_paddr)
        return bad(image, "a segment's sizes contradict each other", err, errlen);
    if (p->count == ELF_SEGMENTS) {
        snprintf(err, errlen, "%s has more than %d segments", image->name, ELF_SEGMENTS);
        return false;
    }
    p->segment[p->count++] = (struct elf_segment){ h->p_paddr, h->p_offset, h->p_filesz, h->p_memsz };
    /* An entry given as a virtual address. */
    if (e->e_entry >= h->p_vaddr && e->e_entry - h->p_vaddr < h->p_memsz)
        p->entry = e->e_entry - h->p_vaddr + h->p_paddr;
    return true;
}

static bool read_all(Elf *elf, const struct kernel_image *image, struct elf_program *p, char *err, size_t errlen)
{
    GElf_Ehdr e;
    GElf_Phdr h;
    size_t n;

    if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &e) || elf_getphdrnum(elf, &n) < 0)
        return bad(image, "its headers cannot be read", err, errlen);
    if (e.e_machine != EM_386 && e.e_machine != EM_X86_64) {
        snprintf(err, errlen, "%s is an ELF file for another processor (machine %u)", image->name, e.e_machine);
        return false;
    }
    p->entry = e.e_entry;
    for (size_t i = 0; i < n; i++)
        if (!gelf_getphdr(elf, (int)i, &h) || !read_segment(image, &e, &h, p, err, errlen))
            return *err ? false : bad(image, "its program headers cannot be read", err, errlen);
    return true;
}

bool elf_image_read(const struct kernel_image *image, struct elf_program *p, char *err, size_t errlen)
{
    memset(p, 0, sizeof(*p));
    if (errlen)
        *err = 0;
    elf_version(EV_CURRENT);
    Elf *elf = elf_memory((char *)(uintptr_t)image->data, image->size);     /* opened for reading: not written to */
    bool ok = read_all(elf, image, p, err, errlen);
    if (elf)
        elf_end(elf);
    return ok;
}

bool elf_image_load(struct kernelboot *k, const struct kernel_image *image, const struct elf_program *p, u64 *low_end,
                    u64 *high_end, char *err, size_t errlen)
{
    struct bytes data = { 0 };
    bool ok = true;

    *low_end = KERNELBOOT_LOW_START;
    *high_end = KERNELBOOT_HIGH_START;
    if (!p->count)
        return bad(image, "it has nothing to load", err, errlen);
    for (unsigned i = 0; ok && i < p->count; i++) {
        const struct elf_segment *s = &p->segment[i];
        u64 end = s->address + s->bytes;
        u64 *region_end = s->address < KERNELBOOT_HIGH_START ? low_end : high_end;
        ok = kernelboot_room(k, image, s->address, end, err, errlen);
        if (end > *region_end)
            *region_end = end;
    }
    for (unsigned i = 0, first = 1; ok && i < p->count; i++) {
        const struct elf_segment *s = &p->segment[i];
        if (!s->file_bytes)
            continue;
        bytes_add(&data, image->data + s->file_offset, s->file_bytes);
        kernelboot_copy(k, FW_CFG_KERNEL_DATA, first, (u32)s->address, (u32)s->file_bytes);
        first = 0;
    }
    for (unsigned i = 0; ok && i < p->count; i++) {
        const struct elf_segment *s = &p->segment[i];
        if (s->bytes > s->file_bytes)
            kernelboot_zero(k, (u32)(s->address + s->file_bytes), (u32)(s->bytes - s->file_bytes));
    }
    if (ok)
        fw_cfg_take(k->f, FW_CFG_KERNEL_DATA, data.data, data.n);
    else
        free(data.data);
    return ok;
}
