# ipcrpc_embed_descriptors(TARGET t VARIABLE name IMPORT_DIR dir PROTOS a.proto …)
#
# Adds to the target a source that defines `extern const std::string_view ipcrpc::embedded::name`: a serialised
# FileDescriptorSet of the protos (paths below `dir`) and all that they import. So a program can speak a protocol by
# dynamic messages, with nothing registered in protobuf's generated pool, where other libraries may have the same files.
function(ipcrpc_embed_descriptors)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "TARGET;VARIABLE;IMPORT_DIR" "PROTOS")
  set(base "${CMAKE_CURRENT_BINARY_DIR}/${ARG_TARGET}.embedded/${ARG_VARIABLE}")
  file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${ARG_TARGET}.embedded")
  list(TRANSFORM ARG_PROTOS PREPEND "${ARG_IMPORT_DIR}/" OUTPUT_VARIABLE inputs)
  add_custom_command(
    OUTPUT "${base}.cc"
    COMMAND protobuf::protoc "-I${ARG_IMPORT_DIR}" --include_imports "--descriptor_set_out=${base}.binpb" ${ARG_PROTOS}
    COMMAND "${CMAKE_COMMAND}" "-DINPUT=${base}.binpb" "-DOUTPUT=${base}.cc" "-DVARIABLE=${ARG_VARIABLE}"
            -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/IpcrpcEmbedFile.cmake"
    DEPENDS ${inputs} protobuf::protoc "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/IpcrpcEmbedFile.cmake"
    COMMENT "Embedding descriptors of ${ARG_PROTOS}"
    VERBATIM)
  target_sources(${ARG_TARGET} PRIVATE "${base}.cc")
endfunction()

# Where the distribution keeps the standard protos of gRPC.
find_path(IPCRPC_GRPC_PROTO_DIR grpc/reflection/v1/reflection.proto PATHS /usr/share/grpc-proto
          DOC "Directory of the standard gRPC protos (Debian: package grpc-proto)" REQUIRED)
