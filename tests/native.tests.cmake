# Group "native": the interpreter and translated code against the host CPU (tests/native), on x86-64 hosts.
file(GLOB native_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/native/*.c ${CMAKE_SOURCE_DIR}/tests/native/*.S)
add_executable(native-diff ${native_sources})
set_target_properties(native-diff PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${TESTS_DIR})
target_link_libraries(native-diff PRIVATE shadow86_all)
foreach(mode 64 32 16)
    foreach(group integer x87 mmx sse avx any)
        add_test(NAME native.${group}${mode} COMMAND native-diff -mode ${mode} -only ${group})
        add_test(NAME native.${group}${mode}.jit COMMAND native-diff -mode ${mode} -only ${group} -accel jit -cases 300)
        set_tests_properties(native.${group}${mode} native.${group}${mode}.jit PROPERTIES LABELS native TIMEOUT 300
            SKIP_RETURN_CODE 77)
    endforeach()
endforeach()
