/* blobs.h - data that bios.cmake makes from dsdt.asl and kernelboot.S. */
#ifndef SHADOW86_BIOS_BLOBS_H
#define SHADOW86_BIOS_BLOBS_H

#include "cpu/types.h"

extern const u8 bios_dsdt_aml[], bios_kernelboot_bin[];
extern const size_t bios_dsdt_aml_size, bios_kernelboot_bin_size;

#endif
