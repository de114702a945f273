/* cdsector.h - raw CD sectors of 2352 bytes made from 2048 bytes of user data (mode 1). */
#ifndef SHADOW86_CDSECTOR_H
#define SHADOW86_CDSECTOR_H

#include "cpu/types.h"

#define CD_RAW_SECTOR 2352u

/* raw[16..2064) holds the user data; fills in sync, header, EDC and ECC. lba without the 150 sectors of lead-in. */
void cdsector_make(u8 *raw, u32 lba);
void cdsector_msf(u8 msf[3], u32 lba);      /* binary minute, second, frame */

#endif
