# Random and hostile input. test_insn_table takes its instructions from the comparison with the host CPU; fuzz-machine
# is group "fuzz" (tests/fuzz/main.c; the preset asan is what makes it sharp). Open-ended: fuzz-machine -seconds N
# -seed S.
set(random_instructions ${CMAKE_SOURCE_DIR}/tests/native/encode.c ${CMAKE_SOURCE_DIR}/tests/native/values.c)
target_sources(test_insn_table PRIVATE ${random_instructions})

file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*.c)
add_executable(fuzz-machine ${fuzz_sources} ${random_instructions})
set_target_properties(fuzz-machine PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
target_link_libraries(fuzz-machine PRIVATE shadow86_all)
add_test(NAME fuzz.machine COMMAND fuzz-machine -seconds 20)
set_tests_properties(fuzz.machine PROPERTIES LABELS fuzz TIMEOUT 300)
