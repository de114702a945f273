# Check suites: every tests/unit/test_*.c is a program and a ctest case of group "unit".
pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
set(TESTS_DIR ${CMAKE_BINARY_DIR}/tests)

file(GLOB unit_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/test_*.c)
foreach(source ${unit_tests})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
    target_link_libraries(${name} PRIVATE shadow86_all PkgConfig::CHECK)
    add_test(NAME unit.${name} COMMAND ${name})
    set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77)
endforeach()
# Further groups, each in a file of its own.
file(GLOB groups CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*.tests.cmake)
foreach(group ${groups})
    include(${group})
endforeach()
