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

#define FDC_MAX_SECTOR 16384u       /* size code 7 */

struct fdc_format { u32 kbytes; u8 cylinders, heads, sectors; u8 rate /* CCR code */; u8 drive_type /* as in CMOS 10h */; };

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

enum fdc_phase { FDC_COMMAND, FDC_BUSY /* positioned by the timer */, FDC_EXECUTION /* data */, FDC_RESULT };

struct fdc {
    struct device dev;
    struct irq irq;                 /* IRQ 6 */
    struct i8237 *dma;              /* NULL: only non-DMA transfers work */
    unsigned dma_channel;           /* 2 */
    struct fdc_drive drive[2];
    /* private */
    struct timer timer;             /* the next step of the command */
    struct timer seek_timer[2], reset_timer;
    u8 dor, dsr, ccr, tdr, perpendicular;
    u8 specify[2], config, precomp;
    bool locked;
    enum fdc_phase phase;
    u8 command[9], command_len, command_need;
    u8 result[10], result_len, result_pos;
    u8 st0, st1, st2;
    u8 sense[2], sense_pcn[2];      /* pending seek results per drive */
    bool sense_pending[2];
    u8 reset_sense;                 /* how many of the four results after a reset are left; next is for drive 4 - n */
    bool irq_level;
    u8 seeking;                     /* drives with a seek under way */
    /* data transfer */
    u8 unit, cylinder, head, sector, eot;
    u8 at_head;                     /* physical side */
    u16 sector_bytes;
    u32 data_pos, data_len;
    bool to_host, dma_mode, tc, scan_failed, scan_equal, track_mode;
    u16 sectors_done;
    u8 buffer[FDC_MAX_SECTOR];
};

extern const struct device_class fdc_class;

/* Drive types as CMOS register 10h wants them: drive 0 in the high nibble. */
u8 fdc_cmos_types(const struct fdc *f);
/* Closes the old medium; NULL ejects. false (medium not taken) if its size is no floppy format. */
bool fdc_change_medium(struct fdc *f, unsigned unit, struct block *medium, char *err, size_t errlen);
/* NULL if no floppy has that size. */
const struct fdc_format *fdc_format_by_size(u64 bytes);

#endif
