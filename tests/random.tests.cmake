# Random guest programs under the interpreter and under the translator (tests/random/main.c). Group "fuzz": a few seconds,
# new seeds each day; every reduced case of tests/random/cases again. Open-ended: random-programs -time N.
file(GLOB random_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/random/*.c)
add_executable(random-programs ${random_sources} ${CMAKE_SOURCE_DIR}/tests/native/encode.c
    ${CMAKE_SOURCE_DIR}/tests/native/values.c)
set_target_properties(random-programs PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
target_link_libraries(random-programs PRIVATE shadow86_all)
if(CMAKE_CROSSCOMPILING)    # under an emulator, code that changes itself is slow
    set(random_limit -limit 120)
endif()
add_test(NAME fuzz.random-programs COMMAND random-programs ${random_limit} -seed 1 -n 150)
add_test(NAME fuzz.random-programs-steps COMMAND random-programs ${random_limit} -accel steps -seed 1 -n 60)
file(GLOB random_cases CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/random/cases/*.txt)
if(random_cases)
    add_test(NAME fuzz.random-cases COMMAND random-programs ${random_limit} ${random_cases})
    set_tests_properties(fuzz.random-cases PROPERTIES LABELS fuzz TIMEOUT 300)
endif()
set_tests_properties(fuzz.random-programs fuzz.random-programs-steps PROPERTIES LABELS fuzz TIMEOUT 300)
