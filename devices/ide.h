/* ide.h - the IDE function of the PIIX3 with its two cables and up to four drives (ATA disks, ATAPI CD-ROMs).
 *
 * pc.c fills unit[], irq[] and pci.pci/pci.devfn, calls device_init, and maps the compatibility ports as the regions below;
 * the bus-master registers are BAR 4. The second half of this file is for the files that make up the model: ide.c (PCI function,
 * ports, selection, reset, interrupts), ata.c (disks), atapi.c (CD-ROMs), bmdma.c (bus master).
 */
#ifndef SHADOW86_IDE_H
#define SHADOW86_IDE_H

#include "devices/block.h"
#include "devices/pci.h"

enum ide_region {               /* regions 0-5 are BARs */
    IDE_REGION_BMDMA = 4,
    IDE_REGION_COMMAND0 = 8,    /* ports 1f0-1f7 */
    IDE_REGION_CONTROL0 = 9,    /* port 3f6 */
    IDE_REGION_COMMAND1 = 10,   /* ports 170-177 */
    IDE_REGION_CONTROL1 = 11,   /* port 376 */
};

/* What hangs on the cables: primary master, primary slave, secondary master, secondary slave. */
struct ide_unit { struct block *block; bool cdrom; bool present; };

struct ide_geometry {
    unsigned cylinders, heads, sectors;     /* of the drive's default translation, as in IDENTIFY words 1, 3, 6 */
    unsigned bios_translation;              /* CMOS 39h/3ah code: 0 none, 1 LBA, 2 large, 3 revised */
};

struct ide;
extern const struct device_class ide_class;

/* false if the unit is no disk. */
bool ide_disk_geometry(const struct ide *ide, unsigned unit, struct ide_geometry *g);
/* The geometry that a disk with this image shows; looks at its partition table. */
void ide_guess_geometry(struct block *b, struct ide_geometry *g);
/* Puts a medium into a CD drive (NULL: takes it out); the old one is closed. The guest gets a unit attention. false: no
 * such CD drive, or the guest has locked the tray (force overrides that); the new medium is not taken over. */
bool ide_change_cd(struct ide *ide, unsigned unit, struct block *medium, bool force, char *err, size_t errlen);
struct block *ide_medium(const struct ide *ide, unsigned unit);

/* ------------------------------------------------------------------- between the files of the model ----- */

#define IDE_SECTOR 512u
#define IDE_CD_SECTOR 2048u
#define IDE_BUFFER (256u * 1024)        /* bytes that one step moves at most: 256 sectors of a PIO command and more */

enum ata_status { ATA_ERR = 0x01, ATA_DRQ = 0x08, ATA_DSC = 0x10, ATA_DF = 0x20, ATA_DRDY = 0x40, ATA_BSY = 0x80 };
enum ata_error { ATA_AMNF = 0x01, ATA_NM = 0x02, ATA_ABRT = 0x04, ATA_MCR = 0x08, ATA_IDNF = 0x10, ATA_MC = 0x20,
    ATA_UNC = 0x40, ATA_ICRC = 0x80 };
enum ata_control { ATA_NIEN = 0x02, ATA_SRST = 0x04, ATA_HOB = 0x80 };
enum ata_device { ATA_DEV = 0x10, ATA_LBA = 0x40 };
enum ata_reason { ATAPI_CD = 0x01 /* command, not data */, ATAPI_IO = 0x02 /* to the host */ };

/* The registers that the host writes, by offset; [1] is the previous content, which 48-bit commands use (HOB). */
enum ide_register { IDE_DATA, IDE_FEATURES, IDE_COUNT, IDE_LBA_LOW, IDE_LBA_MID, IDE_LBA_HIGH, IDE_DEVICE, IDE_STATUS };
struct ide_taskfile { u8 reg[6][2]; u8 device; };

struct ide_drive;
typedef void ide_step(struct ide_drive *d);

struct ide_drive {
    struct ide_channel *channel;
    unsigned index;                     /* 0 master, 1 slave */
    bool present, cdrom;
    struct block *block;
    u64 sectors;                        /* of IDE_SECTOR (disk) or IDE_CD_SECTOR bytes */
    struct ide_taskfile tf;
    u8 status, error;
    bool intrq;                         /* pending; reaches the line if selected and not nIEN */
    u8 command;                         /* being executed */
    /* modes */
    struct ide_geometry geometry;       /* default */
    unsigned cur_cylinders, cur_heads, cur_sectors;     /* INITIALIZE DEVICE PARAMETERS */
    bool chs_valid;
    u8 multiple;                        /* sectors per interrupt of READ/WRITE MULTIPLE; 0: disabled */
    u8 transfer_mode;                   /* SET FEATURES 03h: 08h + n PIO, 20h + n MWDMA, 40h + n UDMA */
    bool write_cache, read_ahead, smart_enabled, sleeping, revert_defaults;
    u8 power;                           /* as CHECK POWER MODE says it: ff active, 80h idle, 0 standby */
    u8 apm;                             /* level, 0: off */
    /* transfer */
    u8 *buffer;                         /* IDE_BUFFER bytes */
    u32 pos, end;                       /* host reads or writes buffer[pos..end) while DRQ is set */
    bool data_in;                       /* the host reads */
    ide_step *data_done;                /* the host moved the last byte of the block */
    ide_step *pending;                  /* runs when the timer fires */
    u64 lba;                            /* next sector of the transfer */
    u32 left;                           /* sectors to go */
    bool dma_wanted, dma_to_memory;     /* DMARQ is up; ide_step dma_run moves when the bus master is started */
    ide_step *dma_run;
    /* ATAPI */
    u8 packet[12];
    u32 byte_limit;                     /* byte count register at the PACKET command */
    bool packet_dma;
    u32 cd_end;                         /* bytes of the answer in the buffer */
    u32 cd_left;                        /* sectors still to be read into the buffer, from lba */
    u8 cd_parts;                        /* what of a raw sector is wanted: byte 9 of READ CD, or 10h user data alone */
    ide_step *cd_out_done;              /* the parameter list of a data-out command is in the buffer */
    u8 sense_key, asc, ascq;
    u8 unit_attention;                  /* ASC to report first; 0: none */
    bool tray_open, locked;
    u8 media_event;                     /* for GET EVENT STATUS: 1 eject request, 2 new medium, 3 removed */
    u8 mode_error[8], mode_audio[16];   /* mode pages 01h, 0eh as MODE SELECT left them */
};

/* Bus master registers of one channel, SFF-8038i. */
struct ide_bmdma { u8 command, status; u32 table; u32 next; u32 address, count; bool last, loaded; };

struct ide_channel {
    struct ide *ide;
    unsigned index;
    struct ide_drive drive[2];
    unsigned selected;
    u8 control;
    bool line;                          /* INTRQ as driven */
    struct timer timer;
    struct ide_drive *busy;             /* whose pending step the timer runs */
    bool reset_pending;                 /* timer ends a soft reset */
    struct ide_bmdma bm;
};

struct ide {
    struct pci_device pci;
    struct ide_unit unit[4];            /* filled by pc.c, read by init; blocks are owned by the drives afterwards */
    struct irq irq[2];                  /* IRQ 14, IRQ 15 */
    struct ide_channel channel[2];
};

/* ide.c */
void ide_later(struct ide_drive *d, ide_step *step, u64 ns);    /* BSY, and step when ns have passed */
void ide_finish(struct ide_drive *d);                           /* command done: ready, interrupt */
void ide_fail(struct ide_drive *d, u8 error);                   /* command done with ERR */
void ide_raise(struct ide_drive *d);                            /* INTRQ */
/* DRQ for buffer[from..to): the host reads or writes it, then done. */
void ide_data(struct ide_drive *d, bool to_host, u32 from, u32 to, ide_step *done);
void ide_signature(struct ide_drive *d);
/* DMARQ: run is called once the bus master has been started, which may be now. */
void ide_dma_request(struct ide_drive *d, bool to_memory, ide_step *run);
void ide_dma_started(struct ide_channel *c);                    /* from bmdma.c */
/* Moves buffer[pos..end) by DMA. True: all of it; false: the bus master stopped, and run is called when it goes on. */
bool ide_dma_move(struct ide_drive *d, bool to_memory, ide_step *run);
void ide_catch_up(struct ide_channel *c);                       /* a step whose time has come is done now */
void ide_identify_string(u8 *p, const char *text, unsigned bytes);
static inline void ide_put16(u8 *p, unsigned word, u16 v)
{
    p[word * 2] = (u8)v;
    p[word * 2 + 1] = (u8)(v >> 8);
}

/* ata.c */
bool ata_init(struct ide_drive *d, char *err, size_t errlen);
void ata_reset(struct ide_drive *d, bool hard);      /* hard: power-on or RESET-; else SRST */
void ata_command(struct ide_drive *d);              /* runs d->command */
/* Disks and CD drives share these. */
void ide_set_features(struct ide_drive *d);
void ide_power(struct ide_drive *d);
void ide_abort(struct ide_drive *d);

/* atapi.c */
void atapi_init(struct ide_drive *d);
void atapi_reset(struct ide_drive *d, bool hard);
void atapi_command(struct ide_drive *d);
void atapi_medium_changed(struct ide_drive *d, struct block *medium);

/* bmdma.c */
void bmdma_reset(struct ide_channel *c);
u32 bmdma_read(struct ide *ide, u32 reg, unsigned bytes);
void bmdma_write(struct ide *ide, u32 reg, unsigned bytes, u32 value);
bool bmdma_started(const struct ide_channel *c);
/* Moves bytes between buf and the regions of the table; returns how many found room there. */
u32 bmdma_transfer(struct ide_channel *c, void *buf, u32 bytes, bool to_memory);
void bmdma_interrupt(struct ide_channel *c);        /* rising edge of INTRQ */

#endif
