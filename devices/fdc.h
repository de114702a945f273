/* fdc.h - floppy disk controller of the 82078 / 82077AA family with two drives.
 *
 * pc.c fills irq, dma, dma_channel and drive[].present/.block, then calls device_init.
 */
#ifndef SHADOW86_FDC_H
#define SHADOW86_FDC_H

#include "devices/block.h"
#include "devices/device.h"
#include "devices/i8237.h"

enum fdc_region {       /* what pc.c maps */
    FDC_REGION_MAIN,    /* ports 3f0-3f5 */
    FDC_REGION_DIR,     /* port 3f7 (3f6 is the IDE control port) */
};

struct fdc_format {
    u16 kbytes;
    u8 cylinders, heads, sectors;   /* of 512 bytes, per track */
    u8 rates;                       /* bit n: readable at data rate code n (CCR) */
    u8 drive_type;                  /* as in CMOS register 10h */
};

struct fdc_drive {
    bool present;                   /* the drive exists, with or without a medium */
    struct block *block;            /* its medium; owned by the drive */
    /* private */
    const struct fdc_format *format;
    u8 type;                        /* CMOS drive type 1-5 */
    u8 cylinder;                    /* where the head stands */
    u8 next_sector;                 /* that READ ID finds next: the disk turns */
    bool changed;                   /* DSKCHG, until a step pulse with a medium in the drive */
};

enum fdc_phase { FDC_COMMAND, FDC_BUSY /* waits for the timer */, FDC_EXECUTION /* data moves */, FDC_RESULT };

struct fdc_seek { struct timer timer; struct fdc *fdc; u8 unit, target, st0; bool active, pending /* to be sensed */; };

struct fdc {
    struct device dev;
    struct irq irq;                 /* IRQ 6 */
    struct i8237 *dma;              /* NULL: only non-DMA transfers work */
    unsigned dma_channel;           /* 2 */
    struct fdc_drive drive[2];
    /* private */
    u8 dor, tdr, rate;
    bool irq_wanted, irq_line;      /* the line is gated by DOR */
    /* modes */
    u8 specify[2], config, pretrack, perpendicular, last_eot;
    bool locked;
    u8 pcn[4];                      /* present cylinder number of each drive, as the controller counts */
    struct fdc_seek seek[4];
    struct timer timer, reset_timer;
    u8 reset_senses;                /* results of a reset that are still to be sensed */
    /* the command being executed */
    enum fdc_phase phase;
    u8 command[9], command_len;
    u8 result[10], result_len, result_pos;
    u8 unit, head;                  /* physical */
    u8 c, h, r, n, eot;             /* ID that is looked for */
    u8 physical;                    /* sector on the track that is moved now */
    u8 st1, st2;
    bool dma_mode, to_host, tc;
    u16 sectors_left;               /* VERIFY with a count, READ TRACK, FORMAT TRACK */
    u32 data_pos, data_len;
    u8 buffer[512];
};

extern const struct device_class fdc_class;

/* Drive types as CMOS register 10h wants them: drive 0 in the high nibble. */
u8 fdc_cmos_types(const struct fdc *f);
/* Closes the old medium; NULL ejects. false (medium not taken) if it is too large. */
bool fdc_change_medium(struct fdc *f, unsigned unit, struct block *medium, char *err, size_t errlen);
/* The format with that size; of other sizes, 1440 or 2880 KiB if it fits; NULL: too large for a floppy. */
const struct fdc_format *fdc_format_by_size(u64 bytes);

#endif
