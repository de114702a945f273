/* fw_cfg.c - QEMU's firmware configuration device (QEMU docs/specs/fw_cfg).
 *
 * A list of items under 16-bit keys, read byte by byte through two ports, or block by block by a DMA engine that takes
 * the address of a descriptor. Named items (files) have keys from 20h on and are listed, sorted by name, in the item
 * FW_CFG_FILE_DIR. Contents are made in bios/ and never change while the guest runs; there is nothing that a guest may
 * write. What lies beyond the end of an item, or of a key that does not exist, reads as zeros. Contents are a copy in memory, or
 * (kernel, initrd) a part of an open file, which is read when the guest reads it, by read and not through a mapping: a file that
 * somebody has made shorter is an error that can be told.
 *
 * DMA runs to its end before the port write returns.
 */
#include "devices/fw_cfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITE_CHANNEL 0x4000u       /* a bit of the selector that old hosts gave a meaning */
#define MAX_FILES (FW_CFG_NOTHING - FW_CFG_FILE_FIRST)

enum dma_control { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
static const u8 dma_signature[8] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };

struct item {
    u16 key;                        /* numbered items */
    char name[FW_CFG_MAX_NAME + 1]; /* files */
    u32 size;
    void *data;                     /* NULL: it is in a file */
    int fd;
    u64 at;                         /* where in the file */
    char *file;                     /* its name */
    bool told;                      /* it could not be read, and that was said */
};

struct item_list { struct item *item; size_t count, room; };

struct fw_cfg {
    struct device dev;
    struct item_list numbered, files;       /* files are sorted by name: file n has key FW_CFG_FILE_FIRST + n */
    u16 selected;
    u32 offset;
    u32 dma_high;                   /* upper half of the descriptor's address, until the lower is written */
};

/* ---------------------------------------------------------------------------------------------- contents ----- */

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static struct item *list_insert(struct item_list *l, size_t at)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 16;
        l->item = must(realloc(l->item, l->room * sizeof(*l->item)));
    }
    memmove(&l->item[at + 1], &l->item[at], (l->count - at) * sizeof(*l->item));
    memset(&l->item[at], 0, sizeof(*l->item));
    l->count++;
    return &l->item[at];
}

static void item_empty(struct item *i)
{
    free(i->data);
    if (i->file) {
        close(i->fd);
        free(i->file);
    }
    i->data = i->file = NULL;
}

static void item_fill(struct item *i, void *data, size_t n)
{
    assert(n <= UINT32_MAX);
    item_empty(i);
    i->data = data;
    i->size = (u32)n;
}

static void *copy_of(const void *data, size_t n)
{
    void *copy = must(malloc(n ? n : 1));
    if (n)
        memcpy(copy, data, n);
    return copy;
}

static struct item *find_numbered(const struct fw_cfg *f, u16 key)
{
    for (size_t i = 0; i < f->numbered.count; i++)
        if (f->numbered.item[i].key == key)
            return &f->numbered.item[i];
    return NULL;
}

/* The directory as the guest reads it: a count, then size, key, reserved, name[56] of each, big-endian. */
static void put_be(u8 *to, u64 v, unsigned bytes)
{
    while (bytes--) {
        to[bytes] = (u8)v;
        v >>= 8;
    }
}

static u64 get_be(const u8 *from, unsigned bytes)
{
    u64 v = 0;
    while (bytes--)
        v = v << 8 | *from++;
    return v;
}

static void make_directory(struct fw_cfg *f)
{
    size_t n = 4 + 64 * f->files.count;
    u8 *dir = must(calloc(1, n));

    put_be(dir, f->files.count, 4);
    for (size_t i = 0; i < f->files.count; i++) {
        u8 *e = dir + 4 + 64 * i;
        put_be(e, f->files.item[i].size, 4);
        put_be(e + 4, FW_CFG_FILE_FIRST + i, 2);
        memcpy(e + 8, f->files.item[i].name, FW_CFG_MAX_NAME);
    }
    fw_cfg_take(f, FW_CFG_FILE_DIR, dir, n);
}

static struct item *numbered(struct fw_cfg *f, u16 key)
{
    struct item *i = find_numbered(f, key);

    assert(!(key & WRITE_CHANNEL) && key != FW_CFG_NOTHING);
    if (!i) {
        i = list_insert(&f->numbered, f->numbered.count);
        i->key = key;
    }
    return i;
}

void fw_cfg_take(struct fw_cfg *f, u16 key, void *data, size_t n) { item_fill(numbered(f, key), data, n); }

void fw_cfg_add_open(struct fw_cfg *f, u16 key, int fd, u64 offset, u32 n, const char *name)
{
    struct item *i = numbered(f, key);

    item_fill(i, NULL, n);
    i->fd = fd;
    i->at = offset;
    i->file = must(strdup(name));
    i->told = false;
}

void fw_cfg_add(struct fw_cfg *f, u16 key, const void *data, size_t n) { fw_cfg_take(f, key, copy_of(data, n), n); }

static void add_int(struct fw_cfg *f, u16 key, u64 v, unsigned bytes)
{
    u8 le[8];
    for (unsigned i = 0; i < 8; i++)
        le[i] = (u8)(v >> 8 * i);
    fw_cfg_add(f, key, le, bytes);
}

void fw_cfg_add_u16(struct fw_cfg *f, u16 key, u16 v) { add_int(f, key, v, 2); }
void fw_cfg_add_u32(struct fw_cfg *f, u16 key, u32 v) { add_int(f, key, v, 4); }
void fw_cfg_add_u64(struct fw_cfg *f, u16 key, u64 v) { add_int(f, key, v, 8); }
void fw_cfg_add_string(struct fw_cfg *f, u16 key, const char *s) { fw_cfg_add(f, key, s, strlen(s) + 1); }

void fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t n)
{
    size_t at = 0;
    int order = -1;

    assert(strlen(name) <= FW_CFG_MAX_NAME);
    while (at < f->files.count && (order = strcmp(f->files.item[at].name, name)) < 0)
        at++;
    if (at == f->files.count || order) {
        assert(f->files.count < MAX_FILES);
        strcpy(list_insert(&f->files, at)->name, name);
    }
    item_fill(&f->files.item[at], copy_of(data, n), n);
    make_directory(f);
}

static struct item *find(const struct fw_cfg *f, u16 key)
{
    if (key >= FW_CFG_FILE_FIRST && key < FW_CFG_FILE_FIRST + f->files.count)
        return &f->files.item[key - FW_CFG_FILE_FIRST];
    return find_numbered(f, key);
}

const void *fw_cfg_item(const struct fw_cfg *f, u16 key, size_t *n)
{
    const struct item *i = find(f, key);
    if (n)
        *n = i ? i->size : 0;
    return i ? i->data : NULL;
}

const void *fw_cfg_file(const struct fw_cfg *f, const char *name, size_t *n)
{
    for (size_t i = 0; i < f->files.count; i++)
        if (!strcmp(f->files.item[i].name, name))
            return fw_cfg_item(f, (u16)(FW_CFG_FILE_FIRST + i), n);
    return NULL;
}

/* Whole, or false, with zeros for what could not be read. */
static bool file_contents(struct item *i, u32 offset, u8 *to, u32 bytes)
{
    while (bytes) {
        ssize_t n = pread(i->fd, to, bytes, (off_t)(i->at + offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (!i->told)
                fprintf(stderr, "shadow86: %s: %s; the guest reads zeros\n", i->file,
                        n ? strerror(errno) : "the file has become shorter since it was opened");
            i->told = true;
            memset(to, 0, bytes);
            return false;
        }
        to += n, offset += (u32)n, bytes -= (u32)n;
    }
    return true;
}

/* How much of `bytes` there is at the offset. */
static u32 available(const struct item *i, u32 offset, u32 bytes)
{
    u32 left = i && offset < i->size ? i->size - offset : 0;
    return bytes < left ? bytes : left;
}

bool fw_cfg_contents(struct fw_cfg *f, u16 key, u32 offset, void *to, u32 bytes)
{
    struct item *i = find(f, key);
    u32 n = available(i, offset, bytes);

    memset((u8 *)to + n, 0, bytes - n);
    if (n && i->file)
        return file_contents(i, offset, to, n);
    if (n)
        memcpy(to, (const u8 *)i->data + offset, n);
    return true;
}

/* ------------------------------------------------------------------------------------------------- guest ----- */

static void fw_cfg_select(struct fw_cfg *f, u16 key)
{
    f->selected = key & ~WRITE_CHANNEL;
    f->offset = 0;
}

static void advance(struct fw_cfg *f, u32 bytes)
{
    f->offset = bytes > UINT32_MAX - f->offset ? UINT32_MAX : f->offset + bytes;
}

static u8 data_read(struct fw_cfg *f)
{
    u8 v;
    fw_cfg_contents(f, f->selected, f->offset, &v, 1);
    advance(f, 1);
    return v;
}

/* False: some of it could not be read. */
static bool dma_read(struct fw_cfg *f, struct physmap *p, gpa to, u32 bytes)
{
    u8 data[16384];
    bool good = true;

    while (bytes) {
        u32 n = bytes < sizeof(data) ? bytes : sizeof(data);
        good &= fw_cfg_contents(f, f->selected, f->offset, data, n);
        physmap_write(p, to, data, n);
        advance(f, n);
        bytes -= n;
        if (to + n < to) {      /* the end of the address space */
            advance(f, bytes);
            break;
        }
        to += n;
    }
    return good;
}

static void dma_run(struct fw_cfg *f, gpa at)
{
    struct physmap *p = bus_physmap(f->dev.bus);
    u8 descriptor[16], status[4];
    u32 error = 0;

    physmap_read(p, at, descriptor, sizeof(descriptor));
    u32 control = (u32)get_be(descriptor, 4), bytes = (u32)get_be(descriptor + 4, 4);
    gpa to = get_be(descriptor + 8, 8);

    if (control & DMA_SELECT)
        fw_cfg_select(f, (u16)(control >> 16));
    if (control & DMA_READ) {
        error = dma_read(f, p, to, bytes) ? 0 : DMA_ERROR;
    } else if (control & DMA_WRITE) {
        error = DMA_ERROR;
    } else if (control & DMA_SKIP) {
        advance(f, bytes);
    }
    put_be(status, error, 4);
    physmap_write(p, at, status, sizeof(status));
}

static u32 fw_cfg_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct fw_cfg *f = (struct fw_cfg *)d;
    u32 v = 0;

    if (region == FW_CFG_REGION_DMA) {
        for (unsigned i = 0; i < bytes; i++)
            v |= (u32)dma_signature[(reg + i) & 7] << 8 * i;
        return v;
    }
    return reg == 1 ? data_read(f) : UINT32_MAX;
}

static void fw_cfg_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct fw_cfg *f = (struct fw_cfg *)d;

    if (region == FW_CFG_REGION_PORTS) {
        if (reg == 0 && bytes == 2)
            fw_cfg_select(f, (u16)value);
        return;
    }
    if (bytes != 4 || reg % 4)
        return;
    value = __builtin_bswap32(value);       /* the register is big-endian */
    if (reg == 0) {
        f->dma_high = value;
    } else {
        gpa at = (gpa)f->dma_high << 32 | value;
        f->dma_high = 0;
        dma_run(f, at);
    }
}

static void fw_cfg_reset(struct device *d)
{
    struct fw_cfg *f = (struct fw_cfg *)d;

    fw_cfg_select(f, FW_CFG_SIGNATURE);
    f->dma_high = 0;
}

static bool fw_cfg_init(struct device *d, char *err, size_t errlen)
{
    struct fw_cfg *f = (struct fw_cfg *)d;

    fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(f, FW_CFG_ID, 1 /* ports */ | 2 /* DMA */);
    make_directory(f);
    fw_cfg_reset(d);
    return true;
}

static void list_free(struct item_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        item_empty(&l->item[i]);
    free(l->item);
}

static void fw_cfg_fini(struct device *d)
{
    struct fw_cfg *f = (struct fw_cfg *)d;

    list_free(&f->numbered);
    list_free(&f->files);
}

static void fw_cfg_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    const struct fw_cfg *f = (const struct fw_cfg *)d;
    char line[120];

    for (size_t i = 0; i < f->numbered.count; i++) {
        snprintf(line, sizeof(line), "%04x %10u", f->numbered.item[i].key, f->numbered.item[i].size);
        out(line, ctx);
    }
    for (size_t i = 0; i < f->files.count; i++) {
        snprintf(line, sizeof(line), "%04x %10u %s", FW_CFG_FILE_FIRST + (unsigned)i, f->files.item[i].size,
                 f->files.item[i].name);
        out(line, ctx);
    }
}

const struct device_class fw_cfg_class = {
    .name = "fw_cfg",
    .size = sizeof(struct fw_cfg),
    .init = fw_cfg_init,
    .reset = fw_cfg_reset,
    .fini = fw_cfg_fini,
    .read = fw_cfg_read,
    .write = fw_cfg_write,
    .print = fw_cfg_print,
};
