/* builtin.h - the guest inside the program: a Multiboot ELF image made from tests/guests/hello (see builtin.cmake). */
#ifndef SHADOW86_BUILTIN_H
#define SHADOW86_BUILTIN_H

#include "cpu/types.h"

extern const u8 builtin_guest[];
extern const size_t builtin_guest_size;

#endif
