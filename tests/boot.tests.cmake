# Group "boot": every case of tests/boot/cases.py; those marked "long" (minutes each) are group "long" instead.
find_program(PYTHON3 python3)
if(NOT PYTHON3)
    message(STATUS "python3 is missing: no boot tests")
elseif(TARGET shadow86)
    execute_process(COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/boot/boot.py --list OUTPUT_VARIABLE boot_cases
        OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/boot/cases.py)
    string(REPLACE "\n" ";" boot_cases "${boot_cases}")
    # The other engines, on guests that between them use all modes.
    foreach(case hello:interp:boot hello-icount:interp:boot freedos:interp:boot linux-demo:interp:boot
            linux-686:interp:boot hello:check:boot freedos:check:boot linux-demo:check:long linux-amd64:check:long)
        string(REPLACE ":" ";" words ${case})
        list(GET words 0 name)
        list(GET words 1 engine)
        list(GET words 2 group)
        add_test(NAME boot.${name}.${engine}
            COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/boot/boot.py --shadow86 ${SHADOW86_PROGRAM}
                --accel ${engine} ${name})
        set_tests_properties(boot.${name}.${engine} PROPERTIES LABELS ${group} TIMEOUT 1800 SKIP_RETURN_CODE 77)
    endforeach()
    foreach(line ${boot_cases})
        string(REPLACE " " ";" words ${line})
        list(GET words 0 name)
        list(GET words 1 seconds)
        list(GET words 2 group)
        add_test(NAME boot.${name}
            COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/boot/boot.py --shadow86 ${SHADOW86_PROGRAM} ${name})
        set_tests_properties(boot.${name} PROPERTIES LABELS ${group} TIMEOUT ${seconds} SKIP_RETURN_CODE 77)
    endforeach()
endif()
