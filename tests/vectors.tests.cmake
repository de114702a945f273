# Group "vectors": instruction tests captured on real CPUs, from ../shared/vectors beside the checkout.
file(GLOB vector_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/vectors/*.c)
add_executable(run-vectors ${vector_sources})
set_target_properties(run-vectors PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
target_compile_definitions(run-vectors PRIVATE VECTORS_EXCEPTIONS="${CMAKE_SOURCE_DIR}/tests/vectors/exceptions.txt")
target_link_libraries(run-vectors PRIVATE shadow86_all PkgConfig::ZLIB)

set(SHARED_DIR ${CMAKE_SOURCE_DIR}/../shared CACHE PATH "vectors and guests shared between checkouts")
foreach(suite sst286-a rom80186 test386 iced-decoder)
    add_test(NAME vectors.${suite} COMMAND sh -c
        "test -d '${SHARED_DIR}/vectors/${suite}' || { echo 'skipped: no ${SHARED_DIR}/vectors/${suite}'; exit 77; }; exec \"$0\" '${SHARED_DIR}/vectors/${suite}'"
        $<TARGET_FILE:run-vectors>)
    set_tests_properties(vectors.${suite} PROPERTIES LABELS vectors TIMEOUT 900 SKIP_RETURN_CODE 77)
endforeach()
