/* fwcfg_options.c - see fwcfg_options.h.
 *
 * -boot once= is a device without addresses: the machine resets it with all others, and at the first reset it puts the
 * boot order for later starts into fw_cfg and CMOS, from where firmware reads it.
 */
#include "frontend/fwcfg_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bios/bios.h"
#include "devices/device.h"
#include "devices/fw_cfg.h"
#include "devices/mc146818.h"

#define MAX_FILE (64u << 20)
#define BELOW_4G (3ull << 30)

static struct device *find_device(struct pc *pc, const struct device_class *class)
{
    struct device *d = bus_first(pc_bus(pc));
    while (d && d->class != class)
        d = d->next;
    assert(d);
    return d;
}

/* ------------------------------------------------------------------ -boot once= ----- */
struct boot_once { struct device dev; struct pc *pc; struct pc_config cfg; bool done; };

static void set_cmos(void *ctx, u8 reg, u8 value) { mc146818_set(ctx, reg, value); }

static void boot_once_reset(struct device *d)
{
    struct boot_once *b = (struct boot_once *)d;
    struct bios_machine m = { b->cfg.ram_bytes, 0, 1 };
    char err[200];
    if (b->done)
        return;
    b->done = true;
    if (m.ram_below_4g > BELOW_4G) {
        m.ram_above_4g = m.ram_below_4g - BELOW_4G;
        m.ram_below_4g = BELOW_4G;
    }
    bios_fill_fw_cfg((struct fw_cfg *)find_device(b->pc, &fw_cfg_class), &b->cfg, &m, err, sizeof err);
    bios_fill_cmos(&b->cfg, &m, set_cmos, find_device(b->pc, &mc146818_class));
}

static const struct device_class boot_once_class = { .name = "boot-once", .size = sizeof(struct boot_once),
                                                     .reset = boot_once_reset };

static void add_boot_once(struct pc *pc, const struct options *o)
{
    struct boot_once *b = device_new(pc_bus(pc), &boot_once_class);
    b->pc = pc;
    b->cfg = o->pc;
    b->cfg.boot_order = o->boot_later;
}

/* ------------------------------------------------------------------ -fw_cfg ----- */
static void *read_file(const char *path, size_t *size, char *err, size_t errlen)
{
    struct stat st;
    FILE *f = fopen(path, "rbe");
    u8 *data = NULL;
    if (!f || fstat(fileno(f), &st))
        snprintf(err, errlen, "-fw_cfg %s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        snprintf(err, errlen, "-fw_cfg %s: not a regular file", path);
    else if (st.st_size > MAX_FILE)
        snprintf(err, errlen, "-fw_cfg %s: larger than %u MiB", path, MAX_FILE >> 20);
    else if (!(data = malloc((size_t)st.st_size + 1)) || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        snprintf(err, errlen, "-fw_cfg %s: cannot read all of it", path);
        free(data);
        data = NULL;
    } else
        *size = (size_t)st.st_size;
    if (f)
        fclose(f);
    return data;
}

static bool add_file(struct fw_cfg *f, const struct fw_cfg_option *o, char *err, size_t errlen)
{
    if (o->text) {
        fw_cfg_add_file(f, o->name, o->text, strlen(o->text));
        return true;
    }
    size_t size;
    void *data = read_file(o->file, &size, err, errlen);
    if (data)
        fw_cfg_add_file(f, o->name, data, size);
    free(data);
    return data;
}

bool fwcfg_options_apply(struct pc *pc, const struct options *o, char *err, size_t errlen)
{
    struct fw_cfg *f = (struct fw_cfg *)find_device(pc, &fw_cfg_class);
    bool ok = true;
    machine_lock();
    if (o->nographic)
        fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, 1);     /* SeaBIOS shows its screen on the serial line too */
    for (unsigned i = 0; i < o->fw_cfg_count && ok; i++)
        ok = add_file(f, &o->fw_cfg[i], err, errlen);
    if (o->boot_once)
        add_boot_once(pc, o);
    machine_unlock();
    return ok;
}
