/* gdbstub_regs.c - gdb's registers. The features are those that gdb knows for i386 and x86-64 (gdb manual, "i386
 * Features"), in the order in which its own layout has them, plus one of ours with control registers.
 *
 * The program counter is shown as a linear address, segment base included, since that is what gdb compares with the
 * addresses of breakpoints and symbols; the same as EIP wherever segments are flat.
 */
#include "frontend/gdbstub_regs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum feature { CORE, SSE, SEGMENTS, SYSTEM };

struct row {
    const char *name;       /* gdb's */
    const char *cpu;        /* cpu_register_get's; NULL: the same */
    u8 bytes;               /* as gdb has it: the CPU's register is cut or extended with zeros */
    u8 feature;
    const char *type;
    const char *group;
};

#define ROWS8(prefix, bytes, feature, type) \
    { prefix "0", NULL, bytes, feature, type, NULL }, { prefix "1", NULL, bytes, feature, type, NULL }, \
    { prefix "2", NULL, bytes, feature, type, NULL }, { prefix "3", NULL, bytes, feature, type, NULL }, \
    { prefix "4", NULL, bytes, feature, type, NULL }, { prefix "5", NULL, bytes, feature, type, NULL }, \
    { prefix "6", NULL, bytes, feature, type, NULL }, { prefix "7", NULL, bytes, feature, type, NULL }
#define SELECTORS_AND_X87 \
    { "eflags", NULL, 4, CORE, "i386_eflags", NULL }, \
    { "cs", NULL, 4, CORE, "int32", NULL }, { "ss", NULL, 4, CORE, "int32", NULL }, \
    { "ds", NULL, 4, CORE, "int32", NULL }, { "es", NULL, 4, CORE, "int32", NULL }, \
    { "fs", NULL, 4, CORE, "int32", NULL }, { "gs", NULL, 4, CORE, "int32", NULL }, \
    ROWS8("st", 10, CORE, "i387_ext"), \
    { "fctrl", NULL, 4, CORE, "int", "float" }, { "fstat", NULL, 4, CORE, "int", "float" }, \
    { "ftag", NULL, 4, CORE, "int", "float" }, { "fiseg", NULL, 4, CORE, "int", "float" }, \
    { "fioff", NULL, 4, CORE, "int", "float" }, { "foseg", NULL, 4, CORE, "int", "float" }, \
    { "fooff", NULL, 4, CORE, "int", "float" }, { "fop", NULL, 4, CORE, "int", "float" }
#define MXCSR { "mxcsr", NULL, 4, SSE, "int", "vector" }
#define CONTROL(bytes, type) \
    { "cr0", NULL, bytes, SYSTEM, type, "system" }, { "cr2", NULL, bytes, SYSTEM, type, "system" }, \
    { "cr3", NULL, bytes, SYSTEM, type, "system" }, { "cr4", NULL, bytes, SYSTEM, type, "system" }, \
    { "efer", NULL, bytes, SYSTEM, type, "system" }

static const struct row x86_64[] = {
    { "rax", NULL, 8, CORE, "int64", NULL }, { "rbx", NULL, 8, CORE, "int64", NULL },
    { "rcx", NULL, 8, CORE, "int64", NULL }, { "rdx", NULL, 8, CORE, "int64", NULL },
    { "rsi", NULL, 8, CORE, "int64", NULL }, { "rdi", NULL, 8, CORE, "int64", NULL },
    { "rbp", NULL, 8, CORE, "data_ptr", NULL }, { "rsp", NULL, 8, CORE, "data_ptr", NULL },
    { "r8", NULL, 8, CORE, "int64", NULL }, { "r9", NULL, 8, CORE, "int64", NULL },
    { "r10", NULL, 8, CORE, "int64", NULL }, { "r11", NULL, 8, CORE, "int64", NULL },
    { "r12", NULL, 8, CORE, "int64", NULL }, { "r13", NULL, 8, CORE, "int64", NULL },
    { "r14", NULL, 8, CORE, "int64", NULL }, { "r15", NULL, 8, CORE, "int64", NULL },
    { "rip", "pc", 8, CORE, "code_ptr", NULL }, SELECTORS_AND_X87,
    ROWS8("xmm", 16, SSE, "vec128"),
    { "xmm8", NULL, 16, SSE, "vec128", NULL }, { "xmm9", NULL, 16, SSE, "vec128", NULL },
    { "xmm10", NULL, 16, SSE, "vec128", NULL }, { "xmm11", NULL, 16, SSE, "vec128", NULL },
    { "xmm12", NULL, 16, SSE, "vec128", NULL }, { "xmm13", NULL, 16, SSE, "vec128", NULL },
    { "xmm14", NULL, 16, SSE, "vec128", NULL }, { "xmm15", NULL, 16, SSE, "vec128", NULL }, MXCSR,
    { "fs_base", NULL, 8, SEGMENTS, "int64", NULL }, { "gs_base", NULL, 8, SEGMENTS, "int64", NULL },
    { "k_gs_base", NULL, 8, SYSTEM, "int64", "system" }, CONTROL(8, "int64"),
};

static const struct row i386[] = {
    { "eax", "rax", 4, CORE, "int32", NULL }, { "ecx", "rcx", 4, CORE, "int32", NULL },
    { "edx", "rdx", 4, CORE, "int32", NULL }, { "ebx", "rbx", 4, CORE, "int32", NULL },
    { "esp", "rsp", 4, CORE, "data_ptr", NULL }, { "ebp", "rbp", 4, CORE, "data_ptr", NULL },
    { "esi", "rsi", 4, CORE, "int32", NULL }, { "edi", "rdi", 4, CORE, "int32", NULL },
    { "eip", "pc", 4, CORE, "code_ptr", NULL }, SELECTORS_AND_X87,
    ROWS8("xmm", 16, SSE, "vec128"), MXCSR, CONTROL(4, "int32"),
};

static const struct { const char *name; const struct row *rows; unsigned count; } archs[] = {
    [GDB_X86_64] = { "i386:x86-64", x86_64, ARRAY_LEN(x86_64) },
    [GDB_I386] = { "i386", i386, ARRAY_LEN(i386) },
};

unsigned gdbstub_reg_count(enum gdb_arch arch) { return archs[arch].count; }

unsigned gdbstub_reg_size(enum gdb_arch arch, unsigned n)
{
    return n < archs[arch].count ? archs[arch].rows[n].bytes : 0;
}

unsigned gdbstub_reg_get(struct vcpu *c, enum gdb_arch arch, unsigned n, u8 buf[CPU_REGISTER_MAX])
{
    if (n >= archs[arch].count)
        return 0;
    const struct row *r = &archs[arch].rows[n];
    memset(buf, 0, CPU_REGISTER_MAX);
    cpu_register_get(c, r->cpu ? r->cpu : r->name, buf);
    return r->bytes;
}

bool gdbstub_reg_set(struct vcpu *c, enum gdb_arch arch, unsigned n, const u8 buf[CPU_REGISTER_MAX])
{
    u8 old[CPU_REGISTER_MAX], new[CPU_REGISTER_MAX] = { 0 };
    unsigned bytes = gdbstub_reg_get(c, arch, n, old);
    if (!bytes)
        return false;
    memcpy(new, buf, bytes);
    if (!memcmp(old, new, bytes))
        return true;                /* gdb writes all registers back, those that cannot change too */
    const struct row *r = &archs[arch].rows[n];
    return cpu_register_set(c, r->cpu ? r->cpu : r->name, new);
}

/* ------------------------------------------------------------------ target.xml ----- */
struct text { char *at; size_t size, room; };

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *format, ...)
{
    va_list args;
    for (;;) {
        va_start(args, format);
        int n = vsnprintf(t->at + t->size, t->room - t->size, format, args);
        va_end(args);
        if (n >= 0 && t->size + (size_t)n < t->room) {
            t->size += (size_t)n;
            return;
        }
        t->room = t->room * 2 + 1024;
        t->at = realloc(t->at, t->room);
        if (!t->at)
            abort();
    }
}

static void add_flags_type(struct text *t)
{
    static const char *const bits[] = { "CF", "", "PF", NULL, "AF", NULL, "ZF", "SF", "TF", "IF", "DF", "OF", NULL,
                                        NULL, "NT", NULL, "RF", "VM", "AC", "VIF", "VIP", "ID" };
    add(t, "<flags id=\"i386_eflags\" size=\"4\">");
    for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
        if (bits[i])
            add(t, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", bits[i], i, i);
    add(t, "</flags>");
}

static void add_vector_type(struct text *t)
{
    static const struct { const char *id, *type; unsigned count; } vectors[] = {
        { "v4f", "ieee_single", 4 }, { "v2d", "ieee_double", 2 }, { "v16i8", "int8", 16 }, { "v8i16", "int16", 8 },
        { "v4i32", "int32", 4 }, { "v2i64", "int64", 2 },
    };
    static const char *const fields[] = { "v4_float", "v2_double", "v16_int8", "v8_int16", "v4_int32", "v2_int64" };
    for (unsigned i = 0; i < ARRAY_LEN(vectors); i++)
        add(t, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>", vectors[i].id, vectors[i].type, vectors[i].count);
    add(t, "<union id=\"vec128\">");
    for (unsigned i = 0; i < ARRAY_LEN(vectors); i++)
        add(t, "<field name=\"%s\" type=\"%s\"/>", fields[i], vectors[i].id);
    add(t, "<field name=\"uint128\" type=\"uint128\"/></union>");
}

char *gdbstub_target_xml(enum gdb_arch arch)
{
    static const char *const features[] = {
        [CORE] = "org.gnu.gdb.i386.core", [SSE] = "org.gnu.gdb.i386.sse", [SEGMENTS] = "org.gnu.gdb.i386.segments",
        [SYSTEM] = "org.shadow86.i386.system",
    };
    struct text t = { NULL, 0, 0 };
    int open = -1;
    add(&t, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">");
    add(&t, "<target><architecture>%s</architecture>", archs[arch].name);
    for (unsigned i = 0; i < archs[arch].count; i++) {
        const struct row *r = &archs[arch].rows[i];
        if (r->feature != open) {
            add(&t, "%s<feature name=\"%s\">", open < 0 ? "" : "</feature>", features[r->feature]);
            open = r->feature;
            if (open == CORE)
                add_flags_type(&t);
            else if (open == SSE)
                add_vector_type(&t);
        }
        add(&t, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"", r->name, r->bytes * 8u, r->type, i);
        if (r->group)
            add(&t, " group=\"%s\"", r->group);
        add(&t, "/>");
    }
    add(&t, "</feature></target>");
    return t.at;
}
