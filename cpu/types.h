/* types.h - scalar types that every folder shares.
 *
 * An address says whose it is: gla = guest linear, gpa = guest physical, host pointers stay pointers.
 */
#ifndef SHADOW86_TYPES_H
#define SHADOW86_TYPES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned __int128 u128;
typedef __int128 s128;

typedef u64 gla;        /* guest linear address */
typedef u64 gpa;        /* guest physical address */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define unreachable() __builtin_unreachable()

/* The struct that holds `member`, from a pointer to the member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#endif
