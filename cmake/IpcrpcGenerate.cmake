# ipcrpc_generate(TARGET t PROTOS a.proto … [IMPORT_DIRS dir …])
#
# Generates a.pb.{h,cc} and a.ipcrpc.pb.{h,cc} for each .proto and adds them to the target, which then includes them
# by the path of the .proto below its import directory ("sub/a.ipcrpc.pb.h"). Import directories default to the
# directory of the calling CMakeLists.txt; of several the first that contains the .proto counts. "ipcrpc/options.proto" can
# always be imported. Works in this tree and after find_package(ipcrpc).
function(ipcrpc_generate)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "TARGET" "PROTOS;IMPORT_DIRS")
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_TARGET OR NOT ARG_PROTOS)
    message(FATAL_ERROR "ipcrpc_generate(TARGET t PROTOS a.proto … [IMPORT_DIRS dir …]) was called with: ${ARGV}")
  endif()
  if(NOT ARG_IMPORT_DIRS)
    set(ARG_IMPORT_DIRS "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  set(import_dirs)
  set(import_flags)
  foreach(dir IN LISTS ARG_IMPORT_DIRS)
    cmake_path(ABSOLUTE_PATH dir NORMALIZE)
    string(REGEX REPLACE "(.)/$" "\\1" dir "${dir}")
    list(APPEND import_dirs "${dir}")
    list(APPEND import_flags "-I${dir}")
  endforeach()
  get_property(options_dir GLOBAL PROPERTY IPCRPC_PROTO_DIR)
  list(APPEND import_flags "-I${options_dir}")  # last: it takes no name from the others

  set(out "${CMAKE_CURRENT_BINARY_DIR}/${ARG_TARGET}.protos")
  file(MAKE_DIRECTORY "${out}")
  foreach(proto IN LISTS ARG_PROTOS)
    cmake_path(ABSOLUTE_PATH proto NORMALIZE)
    set(relative)
    foreach(dir IN LISTS import_dirs)
      cmake_path(IS_PREFIX dir "${proto}" inside)
      if(inside)
        cmake_path(RELATIVE_PATH proto BASE_DIRECTORY "${dir}" OUTPUT_VARIABLE relative)
        break()
      endif()
    endforeach()
    if(NOT relative)
      message(FATAL_ERROR "ipcrpc_generate: ${proto} is in none of the import directories (IMPORT_DIRS): ${import_dirs}")
    endif()
    string(REGEX REPLACE "\\.proto$" "" base "${out}/${relative}")
    set(generated "${base}.pb.h" "${base}.pb.cc" "${base}.ipcrpc.pb.h" "${base}.ipcrpc.pb.cc")
    add_custom_command(
      OUTPUT ${generated}
      COMMAND protobuf::protoc ${import_flags} "--cpp_out=${out}" "--ipcrpc_out=${out}"
              "--plugin=protoc-gen-ipcrpc=$<TARGET_FILE:ipcrpc::protoc-gen-ipcrpc>" "${relative}"
      DEPENDS "${proto}" "${options_dir}/ipcrpc/options.proto" protobuf::protoc ipcrpc::protoc-gen-ipcrpc
      COMMENT "Generating stubs of ${relative}"
      VERBATIM)
    # protobuf's own output isn't the target's to keep free of warnings.
    set_source_files_properties("${base}.pb.cc" PROPERTIES COMPILE_OPTIONS "-w")
    target_sources(${ARG_TARGET} PRIVATE ${generated})
  endforeach()
  target_include_directories(${ARG_TARGET} PUBLIC "$<BUILD_INTERFACE:${out}>")
  target_link_libraries(${ARG_TARGET} PUBLIC ipcrpc::ipcrpc protobuf::libprotobuf)
endfunction()
