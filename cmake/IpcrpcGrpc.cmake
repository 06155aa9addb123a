# gRPC C++ beside ipcrpc, for tests and benchmarks alone: IPCRPC_WITH_GRPC says whether it is installed (libgrpc++-dev,
# protobuf-compiler-grpc); then the target PkgConfig::GRPCPP, the library
# GRPCPP_REFLECTION_LIBRARY and grpc_generate() exist.
pkg_check_modules(GRPCPP QUIET IMPORTED_TARGET GLOBAL grpc++)
find_library(GRPCPP_REFLECTION_LIBRARY grpc++_reflection)  # which has no description for pkg-config
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin)
set(IPCRPC_WITH_GRPC OFF)
# Its libraries know no sanitizer.
if(GRPCPP_FOUND AND GRPCPP_REFLECTION_LIBRARY AND GRPC_CPP_PLUGIN AND NOT IPCRPC_SANITIZE)
  set(IPCRPC_WITH_GRPC ON)
endif()
if(NOT IPCRPC_WITH_GRPC)
  message(STATUS "gRPC C++ is not used (libgrpc++-dev and protobuf-compiler-grpc, no sanitizer): nothing is compared with it")
endif()

# grpc_generate(TARGET t PROTOS a.proto … [IMPORT_DIR dir] [SERVICES_ONLY]): what ipcrpc_generate() does, of gRPC: a.pb.* and
# a.grpc.pb.*. PROTOS are paths below the import directory, by default that of the calling CMakeLists.txt. SERVICES_ONLY: without
# a.pb.*, which the program has from elsewhere.
function(grpc_generate)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "SERVICES_ONLY" "TARGET;IMPORT_DIR" "PROTOS")
  if(NOT ARG_IMPORT_DIR)
    set(ARG_IMPORT_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  set(out "${CMAKE_CURRENT_BINARY_DIR}/${ARG_TARGET}.grpc_protos")
  file(MAKE_DIRECTORY "${out}")
  foreach(proto IN LISTS ARG_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" base "${out}/${proto}")
    set(generated "${base}.grpc.pb.h" "${base}.grpc.pb.cc")
    set(cpp_out)
    if(NOT ARG_SERVICES_ONLY)
      list(APPEND generated "${base}.pb.h" "${base}.pb.cc")
      set(cpp_out "--cpp_out=${out}")
    endif()
    add_custom_command(
      OUTPUT ${generated}
      COMMAND protobuf::protoc "-I${ARG_IMPORT_DIR}" ${cpp_out} "--grpc_out=${out}"
              "--plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN}" "${proto}"
      DEPENDS "${ARG_IMPORT_DIR}/${proto}" protobuf::protoc
      COMMENT "Generating gRPC's stubs of ${proto}"
      VERBATIM)
    set_source_files_properties(${generated} PROPERTIES COMPILE_OPTIONS "-w")
    target_sources(${ARG_TARGET} PRIVATE ${generated})
  endforeach()
  target_include_directories(${ARG_TARGET} SYSTEM PUBLIC "${out}")
  target_link_libraries(${ARG_TARGET} PUBLIC PkgConfig::GRPCPP protobuf::libprotobuf)
endfunction()

# swap_from_grpc(VARIABLE FILE…): sources written for gRPC, with ipcrpc in its place by tools/from-grpc.sed and nothing else.
# VARIABLE becomes the list of their copies, which lie in one directory of the build tree.
function(swap_from_grpc variable)
  set(script "${PROJECT_SOURCE_DIR}/tools/from-grpc.sed")
  set(out "${CMAKE_CURRENT_BINARY_DIR}/swapped")
  set(swapped)
  foreach(file IN LISTS ARGN)
    cmake_path(GET file FILENAME name)
    cmake_path(ABSOLUTE_PATH file)
    file(MAKE_DIRECTORY "${out}")
    add_custom_command(
      OUTPUT "${out}/${name}"
      COMMAND sed -E -f "${script}" "${file}" > "${out}/${name}"
      DEPENDS "${file}" "${script}"
      COMMENT "Swapping gRPC for ipcrpc in ${name}"
      VERBATIM)
    list(APPEND swapped "${out}/${name}")
  endforeach()
  set(${variable} "${swapped}" PARENT_SCOPE)
endfunction()
