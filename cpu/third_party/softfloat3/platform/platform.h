/* platform.h - how shadow86 compiles Berkeley SoftFloat: GCC or Clang, little-endian, with 128-bit integers.
 *
 * Ours, not part of SoftFloat (which asks each user for such a file). All of SoftFloat's state is per thread.
 */
#ifndef SHADOW86_SOFTFLOAT_PLATFORM_H
#define SHADOW86_SOFTFLOAT_PLATFORM_H

#ifndef LITTLEENDIAN
#define LITTLEENDIAN 1
#endif

#define INLINE static inline
#ifndef THREAD_LOCAL
#define THREAD_LOCAL _Thread_local
#endif

#define SOFTFLOAT_BUILTIN_CLZ 1
#define SOFTFLOAT_INTRINSIC_INT128 1
#include "opts-GCC.h"

#endif
