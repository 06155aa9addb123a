# How everything in this tree is built: language level, warnings, sanitizers, and the layers.
#
# A layer is a top-level folder. Sources include each other as "LAYER/path.h", and a target sees a
# layer only through a link to one of its targets: each layer is reached through a directory of its
# own (build/layers/LAYER) that holds nothing but a link to that folder. So an include that runs
# backwards (transport -> rpc) does not build.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
# Installed programs find the library beside them, wherever the prefix is.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(IPCRPC_CCACHE ccache)
if(IPCRPC_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${IPCRPC_CCACHE}")
endif()

# What everything, generated code too, is compiled with.
add_library(ipcrpc_flags INTERFACE)
if(IPCRPC_SANITIZE STREQUAL "address")
  target_compile_options(ipcrpc_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(ipcrpc_flags INTERFACE -fsanitize=address,undefined)
elseif(IPCRPC_SANITIZE STREQUAL "thread")
  target_compile_options(ipcrpc_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_compile_definitions(ipcrpc_flags INTERFACE IPCRPC_TSAN=1)
  target_link_options(ipcrpc_flags INTERFACE -fsanitize=thread)
elseif(IPCRPC_SANITIZE)
  message(FATAL_ERROR "IPCRPC_SANITIZE is '${IPCRPC_SANITIZE}'; it may be empty, 'address' or 'thread'")
endif()

if(IPCRPC_BUILD_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "IPCRPC_BUILD_FUZZ needs clang's libFuzzer; the compiler is ${CMAKE_CXX_COMPILER_ID}")
  endif()
  target_compile_options(ipcrpc_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Warnings, for our own code alone.
add_library(ipcrpc_warnings INTERFACE)
target_compile_options(ipcrpc_warnings INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # gcc 12 sees overlaps in string concatenation that are not there (its bug 105651).
  target_compile_options(ipcrpc_warnings INTERFACE -Wno-restrict)
  # And, beside sanitizers, uninitialised values in lambdas that are inlined.
  if(IPCRPC_SANITIZE)
    target_compile_options(ipcrpc_warnings INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()

file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/layers")
foreach(layer transport rpc services tools tests bench examples)
  file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/layers/${layer}")
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${layer}" "${PROJECT_BINARY_DIR}/layers/${layer}/${layer}" SYMBOLIC)
endforeach()

# ipcrpc_library(NAME LAYER layer SRCS … [DEPS …]): a static piece of a layer.
function(ipcrpc_library name)
  cmake_parse_arguments(ARG "" "LAYER" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_include_directories(${name} PUBLIC "$<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/layers/${ARG_LAYER}>")
  if(EXISTS "${PROJECT_SOURCE_DIR}/${ARG_LAYER}/include")
    target_include_directories(${name} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/${ARG_LAYER}/include>")
  endif()
  target_link_libraries(${name} PUBLIC ipcrpc_flags ${ARG_DEPS} PRIVATE ipcrpc_warnings)
endfunction()

# ipcrpc_executable(NAME LAYER layer SRCS … [DEPS …])
function(ipcrpc_executable name)
  cmake_parse_arguments(ARG "" "LAYER" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE "${PROJECT_BINARY_DIR}/layers/${ARG_LAYER}")
  target_link_libraries(${name} PRIVATE ipcrpc_flags ipcrpc_warnings ${ARG_DEPS})
endfunction()

# What `tools/dev asan` and `tsan` build: the tests labelled `sanitize`, and no more.
add_custom_target(sanitize_tests)
# What `tools/dev fuzz` builds.
add_custom_target(fuzzers)

# ipcrpc_test(NAME LAYER layer SRCS … [DEPS …] [LABELS …] [TIMEOUT s] [SHARDS n]): a GoogleTest program, one
# ctest entry, or n that share its tests. Label `sanitize`: also run under the sanitizers, where its time limit is four
# times as long.
function(ipcrpc_test name)
  if(NOT IPCRPC_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "LAYER;TIMEOUT;SHARDS" "SRCS;DEPS;LABELS" ${ARGN})
  ipcrpc_executable(${name} LAYER ${ARG_LAYER} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  if(IPCRPC_SANITIZE)
    # Optimising what the sanitizers add to GoogleTest's macros takes longer than the tests do.
    target_compile_options(${name} PRIVATE -O0)
  endif()
  if(ARG_SHARDS AND "sanitize" IN_LIST ARG_LABELS)
    add_dependencies(sanitize_tests ${name})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_SHARDS)
    add_test(NAME ${name} COMMAND ${name})
    ipcrpc_test_properties(${name} TIMEOUT ${ARG_TIMEOUT} LABELS ${ARG_LABELS})
    return()
  endif()
  math(EXPR last "${ARG_SHARDS} - 1")
  foreach(shard RANGE ${last})
    add_test(NAME ${name}.${shard} COMMAND ${name})
    ipcrpc_test_properties(${name}.${shard} TIMEOUT ${ARG_TIMEOUT} LABELS ${ARG_LABELS})
    set_property(TEST ${name}.${shard} APPEND PROPERTY ENVIRONMENT
      "GTEST_TOTAL_SHARDS=${ARG_SHARDS}" "GTEST_SHARD_INDEX=${shard}"
      "GTEST_OUTPUT=json:${PROJECT_BINARY_DIR}/results/${name}.${shard}.json")
  endforeach()
endfunction()

# ipcrpc_test_properties(NAME TIMEOUT s LABELS …): for a test; also of the target NAME if there is one.
function(ipcrpc_test_properties name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LABELS" ${ARGN})
  if(IPCRPC_SANITIZE)
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  if(TARGET ${name} AND "sanitize" IN_LIST ARG_LABELS)
    add_dependencies(sanitize_tests ${name})
  endif()
  ipcrpc_test_environment(${name})
endfunction()

# ipcrpc_fuzzer(NAME_fuzz LAYER layer SRCS … [DEPS …]): a libFuzzer program (LLVMFuzzerTestOneInput) when
# fuzzers are built; else a test that plays it the inputs kept in tests/fuzz/corpus/NAME_fuzz.
function(ipcrpc_fuzzer name)
  cmake_parse_arguments(ARG "" "LAYER" "SRCS;DEPS" ${ARGN})
  if(NOT name MATCHES "_fuzz$")
    message(FATAL_ERROR "ipcrpc_fuzzer: '${name}' must end in _fuzz, by which tools/dev finds it")
  endif()
  if(IPCRPC_BUILD_FUZZ)
    ipcrpc_executable(${name} LAYER ${ARG_LAYER} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name})
  elseif(IPCRPC_BUILD_TESTS)
    ipcrpc_executable(${name} LAYER ${ARG_LAYER} SRCS ${ARG_SRCS} "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc"
                      DEPS ${ARG_DEPS})
    add_test(NAME ${name} COMMAND ${name} "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
    ipcrpc_test_properties(${name} TIMEOUT 120 LABELS sanitize)
  endif()
endfunction()

# The environment that every test runs in.
function(ipcrpc_test_environment name)
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp halt_on_error=1 second_deadlock_stack=1"
    "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1")
endfunction()
