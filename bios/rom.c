/* rom.c - finds and reads the BIOS, the VGA BIOS, and other files as a whole.
 */
#include "bios/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_BIOS "bios-256k.bin"
#define MAX_ROM ((u64)16 << 20)

static const char *const usual_dirs[] = { "/usr/share/seabios", "/usr/share/qemu", "/usr/local/share/qemu",
                                          "/usr/share/qemu-kvm", "/usr/share/seavgabios", NULL };

bool file_read_open(int fd, const char *path, u64 size, struct bytes *out, char *err, size_t errlen)
{
    memset(out, 0, sizeof(*out));
    u8 *to = bytes_grow(out, size);

    for (u64 done = 0; done < size;) {
        ssize_t n = read(fd, to + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            snprintf(err, errlen, "%s: %s", path, n ? strerror(errno) : "became shorter while it was read");
            free(out->data);
            memset(out, 0, sizeof(*out));
            return false;
        }
        done += (u64)n;
    }
    return true;
}

int file_open(const char *path, u64 max, u64 *size, char *err, size_t errlen)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        snprintf(err, errlen, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        snprintf(err, errlen, "%s: not a regular file", path);
    else if (!st.st_size)
        snprintf(err, errlen, "%s: the file is empty", path);
    else if ((u64)st.st_size > max)
        snprintf(err, errlen, "%s: larger than %llu MiB", path, (unsigned long long)(max >> 20));
    else {
        *size = (u64)st.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

bool file_read(const char *path, u64 max, struct bytes *out, char *err, size_t errlen)
{
    u64 size;
    int fd = file_open(path, max, &size, err, errlen);

    memset(out, 0, sizeof(*out));
    if (fd < 0)
        return false;
    bool ok = file_read_open(fd, path, size, out, err, errlen);
    close(fd);
    return ok;
}

/* The file itself, or the first of that name in the directories. */
static bool find_in(const char *const *dirs, const char *name, char *path, size_t size)
{
    for (; dirs && *dirs; dirs++)
        if (snprintf(path, size, "%s/%s", *dirs, name) < (int)size && !access(path, R_OK))
            return true;
    return false;
}

static bool find_file(const struct pc_config *cfg, const char *name, bool is_path, char *path, size_t size)
{
    if (is_path && !access(name, R_OK) && snprintf(path, size, "%s", name) < (int)size)
        return true;
    return !strchr(name, '/') && (find_in(cfg->bios_dirs, name, path, size) || find_in(usual_dirs, name, path, size));
}

/* Fills a new ram of `size` bytes (a multiple of 4096) with the file at its start and ones behind it. */
static bool to_ram(const struct bytes *b, u64 size, struct ram **rom, char *err, size_t errlen)
{
    *rom = ram_new(size, err, errlen);
    if (!*rom)
        return false;
    memcpy((*rom)->base, b->data, b->n);
    memset((*rom)->base + b->n, 0xff, size - b->n);
    return true;
}

bool bios_load_rom(const struct pc_config *cfg, struct ram **rom, u64 *size, char *err, size_t errlen)
{
    const char *name = cfg->bios_file ? cfg->bios_file : DEFAULT_BIOS;
    char path[4096];
    struct bytes b;

    if (!find_file(cfg, name, cfg->bios_file != NULL, path, sizeof(path))) {
        if (cfg->bios_file)
            snprintf(err, errlen, "-bios %s: no such file, neither here nor in the BIOS directories (-L)", name);
        else
            snprintf(err, errlen, "no %s found: install the package seabios, or name a BIOS with -bios", name);
        return false;
    }
    if (!file_read(path, MAX_ROM, &b, err, errlen))
        return false;
    bool ok = b.n % 65536 == 0;
    if (!ok)
        snprintf(err, errlen, "%s: a BIOS image must be a multiple of 64 KiB, this has %zu bytes", path, b.n);
    ok = ok && to_ram(&b, b.n, rom, err, errlen);
    *size = b.n;
    free(b.data);
    return ok;
}

bool bios_load_option_rom(const struct pc_config *cfg, const char *name, struct ram **rom, u64 *size, char *err, size_t errlen)
{
    char path[4096];
    struct bytes b;
    u64 padded = PAGE_SIZE;

    if (!find_file(cfg, name, true, path, sizeof(path))) {
        snprintf(err, errlen, "no %s found: install the package seabios, or name its directory with -L", name);
        return false;
    }
    if (!file_read(path, MAX_ROM, &b, err, errlen))
        return false;
    while (padded < b.n)
        padded *= 2;
    bool ok = b.n > 2 && b.data[0] == 0x55 && b.data[1] == 0xaa;
    if (!ok)
        snprintf(err, errlen, "%s: no option ROM (it must begin with 55 aa)", path);
    ok = ok && to_ram(&b, padded, rom, err, errlen);
    *size = padded;
    free(b.data);
    return ok;
}
