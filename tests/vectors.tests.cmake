# Group "vectors": instruction tests captured on real CPUs, from ../shared/vectors beside the checkout.
file(GLOB vector_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/vectors/*.c)
add_executable(run-vectors ${vector_sources})
set_target_properties(run-vectors PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
target_compile_definitions(run-vectors PRIVATE VECTORS_EXCEPTIONS="${CMAKE_SOURCE_DIR}/tests/vectors/exceptions.txt")
target_link_libraries(run-vectors PRIVATE shadow86_all PkgConfig::ZLIB)

set(SHARED_DIR ${CMAKE_SOURCE_DIR}/../shared CACHE PATH "vectors and guests shared between checkouts")
# By the interpreter and by the translator.
foreach(case sst286-a:interp rom80186:interp test386:interp iced-decoder:interp sst286-a:jit rom80186:jit test386:jit sst286-a:check rom80186:check test386:check)
    string(REPLACE ":" ";" words ${case})
    list(GET words 0 suite)
    list(GET words 1 engine)
    set(name vectors.${suite})
    if(NOT engine STREQUAL interp)
        set(name ${name}.${engine})
    endif()
    add_test(NAME ${name} COMMAND sh -c
        "test -d '${SHARED_DIR}/vectors/${suite}' || { echo 'skipped: no ${SHARED_DIR}/vectors/${suite}'; exit 77; }; exec \"$@\" '${SHARED_DIR}/vectors/${suite}' -accel ${engine}"
        sh ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:run-vectors>)
    set_tests_properties(${name} PROPERTIES LABELS vectors TIMEOUT 900 SKIP_RETURN_CODE 77)
endforeach()
