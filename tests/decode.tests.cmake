# The decoder against Capstone (tests/decode/fuzz_capstone.c).
pkg_check_modules(CAPSTONE IMPORTED_TARGET capstone)
if(CAPSTONE_FOUND)
    # Only the decoder's own objects: the fuzzer does not need the rest of the emulator.
    add_executable(fuzz-capstone ${CMAKE_SOURCE_DIR}/tests/decode/fuzz_capstone.c ${CMAKE_SOURCE_DIR}/cpu/decode.c ${CMAKE_SOURCE_DIR}/cpu/print.c
        ${CMAKE_SOURCE_DIR}/cpu/insn_table.c)
endif()
if(TARGET fuzz-capstone)
    set_target_properties(fuzz-capstone PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
    target_compile_definitions(fuzz-capstone PRIVATE SHADOW86_DECODER_ALONE
        CAPSTONE_DIFFERENCES="${CMAKE_SOURCE_DIR}/tests/decode/capstone-differences.txt")
    target_link_libraries(fuzz-capstone PRIVATE PkgConfig::CAPSTONE)
    add_test(NAME unit.fuzz-capstone COMMAND fuzz-capstone -n 200000)
    set_tests_properties(unit.fuzz-capstone PROPERTIES LABELS unit TIMEOUT 300)
endif()
