/* kernel_load.c - -kernel: reads the file and finds out by its contents what it is. */
#include "bios/private.h"

#include <stdio.h>
#include <unistd.h>

#define MAX_KERNEL ((u64)1 << 30)

static const struct {
    bool (*is)(const struct kernel_image *image);
    bool (*load)(struct kernelboot *k, const struct kernel_image *image, const struct pc_config *cfg, char *err, size_t errlen);
} kinds[] = {
    { linux_is, linux_load },
    { multiboot_is, multiboot_load },
    { pvh_is, pvh_load },
};

static bool load(struct fw_cfg *f, const struct kernel_image *image, const struct pc_config *cfg, const struct bios_machine *m,
                 char *err, size_t errlen)
{
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].is(image)) {
            struct kernelboot k;
            kernelboot_begin(&k, f, m);
            bool ok = kinds[i].load(&k, image, cfg, err, errlen);
            free(k.rom);
            return ok;
        }
    }
    snprintf(err, errlen, "%s is no Linux bzImage, Multiboot or PVH kernel", image->name);
    return false;
}

bool bios_load_kernel(struct fw_cfg *f, const struct pc_config *cfg, const struct bios_machine *m, char *err, size_t errlen)
{
    if (cfg->kernel_image) {
        struct kernel_image image = { cfg->kernel_image, cfg->kernel_image_size, "built-in-guest", -1 };
        return load(f, &image, cfg, m, err, errlen);
    }
    if (!cfg->kernel_file)
        return true;
    struct bytes file;
    u64 size;
    int fd = file_open(cfg->kernel_file, MAX_KERNEL, &size, err, errlen);
    if (fd < 0)
        return false;
    bool ok = file_read_open(fd, cfg->kernel_file, size, &file, err, errlen);
    if (ok) {
        struct kernel_image image = { file.data, file.n, cfg->kernel_file, fd };
        ok = load(f, &image, cfg, m, err, errlen);
        free(file.data);
    }
    close(fd);
    return ok;
}
