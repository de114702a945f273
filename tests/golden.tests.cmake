# Golden code: what the backend of this host makes of tests/golden/cases.txt, disassembled by Capstone (tests/golden/README.md).
pkg_check_modules(CAPSTONE IMPORTED_TARGET capstone)
if(CAPSTONE_FOUND)
    set(GOLDEN_DIR ${CMAKE_SOURCE_DIR}/tests/golden)
    add_executable(golden-code ${GOLDEN_DIR}/main.c ${GOLDEN_DIR}/cases.c ${GOLDEN_DIR}/unit.c ${GOLDEN_DIR}/text.c
        ${GOLDEN_DIR}/${SHADOW86_HOST}.c)
    set_target_properties(golden-code PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
    target_link_libraries(golden-code PRIVATE shadow86_all PkgConfig::CAPSTONE PkgConfig::CHECK)
    add_test(NAME unit.golden-code COMMAND golden-code ${GOLDEN_DIR}/cases.txt ${GOLDEN_DIR}/${SHADOW86_HOST}.txt)
    if(SHADOW86_HOST STREQUAL aarch64)
        add_test(NAME unit.golden-code.baseline
            COMMAND golden-code --baseline ${GOLDEN_DIR}/cases-baseline.txt ${GOLDEN_DIR}/aarch64-baseline.txt)
        set_tests_properties(unit.golden-code.baseline PROPERTIES LABELS unit TIMEOUT 60)
    endif()
    set_tests_properties(unit.golden-code PROPERTIES LABELS unit TIMEOUT 60)
endif()
