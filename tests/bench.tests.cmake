# bench/compare without emulators: needs only gcc and Python.
find_program(PYTHON3 python3)
if(PYTHON3)
    add_test(NAME unit.bench COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/cli/bench.py ${CMAKE_SOURCE_DIR})
    set_tests_properties(unit.bench PROPERTIES LABELS unit TIMEOUT 300)
endif()
