# The built-in guest (tests/guests/hello): 32-bit code, so it needs a compiler for i386 on any host.
if(CMAKE_HOST_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|i[3-6]86")
    if(CMAKE_CROSSCOMPILING)
        find_program(GUEST_GCC NAMES gcc cc)
    else()
        set(GUEST_GCC ${CMAKE_C_COMPILER})
    endif()
    set(GUEST_COMMAND ${GUEST_GCC} -m32)
else()
    find_program(GUEST_CC NAMES i686-linux-gnu-gcc clang gcc)
    if(GUEST_CC MATCHES "clang")
        set(GUEST_COMMAND ${GUEST_CC} --target=i386-linux-gnu -fuse-ld=lld)
    else()
        set(GUEST_COMMAND ${GUEST_CC})
    endif()
endif()
set(HELLO ${CMAKE_SOURCE_DIR}/tests/guests/hello)
set(HELLO_FLAGS -O2 -march=i586 -std=gnu17 -Wall -Wextra -ffreestanding -nostdlib -static -fno-pic -no-pie
    -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mno-sse
    -Wl,-T,${HELLO}/link.ld -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-s)
set(HELLO_ELF ${CMAKE_BINARY_DIR}/generated/hello.elf)
set(HELLO_PVH_ELF ${CMAKE_BINARY_DIR}/generated/hello-pvh.elf)     # for the tests
foreach(elf ${HELLO_ELF} ${HELLO_PVH_ELF})
    set(define)
    if(elf STREQUAL HELLO_PVH_ELF)
        set(define -DPVH)
    endif()
    add_custom_command(OUTPUT ${elf}
        COMMAND ${GUEST_COMMAND} ${HELLO_FLAGS} ${define} ${HELLO}/start.S ${HELLO}/main.c -o ${elf}
        DEPENDS ${HELLO}/start.S ${HELLO}/main.c ${HELLO}/link.ld
        COMMENT "built-in guest")
endforeach()
add_custom_target(hello_pvh ALL DEPENDS ${HELLO_PVH_ELF})
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/generated/builtin_guest.c
    COMMAND ${CMAKE_COMMAND} -DIN=${HELLO_ELF} -DOUT=${CMAKE_BINARY_DIR}/generated/builtin_guest.c
        -DNAME=builtin_guest -DHEADER=frontend/builtin.h -P ${CMAKE_SOURCE_DIR}/frontend/embed.cmake
    DEPENDS ${HELLO_ELF} ${CMAKE_SOURCE_DIR}/frontend/embed.cmake)
add_library(builtin STATIC ${CMAKE_BINARY_DIR}/generated/builtin_guest.c)
