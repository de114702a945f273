/* vectors.h - the instruction-vector runner: formats, and the bare machine they run on. */
#ifndef SHADOW86_VECTORS_H
#define SHADOW86_VECTORS_H

#include "cpu/cpu.h"
#include "cpu/vcpu.h"

/* --- rig.c: a CPU with RAM and nothing else ------------------------------------------------------------------- */
struct rig {
    struct physmap *phys;
    struct ram *ram;
    struct region region, high;     /* RAM at 0; the ROM alias below 1 MiB where a format wants one */
    struct vcpu *cpu;
};
#define RIG_RAM_BYTES (17u << 20)
struct rig *rig_new(const char *cpu_model);
void rig_free(struct rig *r);
void rig_write(struct rig *r, gpa a, const void *buf, size_t n);
void rig_read(struct rig *r, gpa a, void *buf, size_t n);
/* "interp", "jit,key=value...", "check,...": for the rigs to come. False: one line in err. */
bool rig_set_engine(const char *accel, char *err, size_t errlen);
bool rig_translates(void);      /* that engine is not the interpreter */
/* Runs until HLT or so many instructions; false if the limit came first. */
bool rig_run_to_halt(struct rig *r, unsigned limit);
void rig_enter_real_mode(struct rig *r);        /* reset, A20 on, CS:IP and the rest to be set by the caller */

/* --- file.c --------------------------------------------------------------------------------------------------- */
/* The whole of a gzip-compressed file, NUL-terminated behind its end; NULL if it cannot be read. To be freed. */
u8 *read_gz(const char *path, size_t *size);

/* --- one row of the report ------------------------------------------------------------------------------------ */
struct tally { unsigned passed, failed, excused; char first_failure[4096]; };

/* Formats: each takes the files of its kind. `name` is the file's name without folder. */
struct format {
    const char *suffix;
    void (*run)(const char *folder, const char *name, struct tally *t);
};
void run_moo(const char *folder, const char *name, struct tally *t);
void run_rom80186(const char *folder, const char *name, struct tally *t);
void run_iced(const char *folder, const char *name, struct tally *t);
void run_test386(const char *folder, const char *name, struct tally *t);

/* Known exceptions (exceptions.txt): reason if case `number` of `file` is listed, else NULL. */
const char *excused(const char *file, int number, unsigned bits /* that differ */);
/* Counts a case that differs for a known reason; reasons are listed with their counts at the end. */
void excuse(struct tally *t, const char *reason);

#endif
