# What bios/ carries as data: the DSDT, compiled by iasl, and our option ROM, 16-bit code that needs a compiler for i386.
find_program(IASL iasl)
if(NOT IASL)
    message(FATAL_ERROR "iasl is missing: install the package acpica-tools")
endif()
set(BIOS_GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${BIOS_GENERATED})
add_custom_command(OUTPUT ${BIOS_GENERATED}/dsdt.aml
    COMMAND ${IASL} -vs -vw 3073 -p ${BIOS_GENERATED}/dsdt ${CMAKE_SOURCE_DIR}/bios/dsdt.asl
    DEPENDS ${CMAKE_SOURCE_DIR}/bios/dsdt.asl COMMENT "DSDT")

if(CMAKE_HOST_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|i[3-6]86")
    find_program(ROM_GCC NAMES gcc cc)
    set(ROM_CC ${ROM_GCC} -m32 -no-pie)
else()
    find_program(ROM_CROSS NAMES i686-linux-gnu-gcc x86_64-linux-gnu-gcc)
    find_program(ROM_CLANG NAMES clang)
    if(ROM_CROSS)
        set(ROM_CC ${ROM_CROSS} -m32 -no-pie)
    else()
        set(ROM_CC ${ROM_CLANG} --target=i386-linux-gnu -fuse-ld=lld)
    endif()
endif()
add_custom_command(OUTPUT ${BIOS_GENERATED}/kernelboot.bin
    COMMAND ${ROM_CC} -nostdlib -static -Wl,--build-id=none -Wl,--oformat=binary -Wl,-Ttext=0
        ${CMAKE_SOURCE_DIR}/bios/kernelboot.S -o ${BIOS_GENERATED}/kernelboot.bin
    DEPENDS ${CMAKE_SOURCE_DIR}/bios/kernelboot.S COMMENT "option ROM")

foreach(blob dsdt.aml kernelboot.bin)
    string(REPLACE "." "_" name ${blob})
    add_custom_command(OUTPUT ${BIOS_GENERATED}/${name}.c
        COMMAND ${CMAKE_COMMAND} -DIN=${BIOS_GENERATED}/${blob} -DOUT=${BIOS_GENERATED}/${name}.c -DNAME=bios_${name}
            -DHEADER=bios/blobs.h -P ${CMAKE_SOURCE_DIR}/frontend/embed.cmake
        DEPENDS ${BIOS_GENERATED}/${blob} ${CMAKE_SOURCE_DIR}/frontend/embed.cmake)
    target_sources(bios PRIVATE ${BIOS_GENERATED}/${name}.c)
endforeach()
