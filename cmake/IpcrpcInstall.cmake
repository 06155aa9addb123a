# What `cmake --install` puts in place: the library with its public headers, the programs, and the CMake package that users
# find: find_package(ipcrpc), targets ipcrpc::ipcrpc, ipcrpc::daemon and ipcrpc::protoc-gen-ipcrpc, function ipcrpc_generate.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ipcrpc")
install(TARGETS ipcrpc ipcrpc_daemon ipcrpc_headers protoc-gen-ipcrpc EXPORT ipcrpcTargets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(EXPORT ipcrpcTargets NAMESPACE ipcrpc:: DESTINATION "${package_dir}")
foreach(layer transport rpc services)
  if(EXISTS "${PROJECT_SOURCE_DIR}/${layer}/include")
    install(DIRECTORY "${PROJECT_SOURCE_DIR}/${layer}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
            FILES_MATCHING PATTERN "*.h")
  endif()
endforeach()
# "ipcrpc/options.proto" for who imports it: the text for protoc, which looks there by itself when it is beside the headers, and
# the header for what protoc makes of the importing file.
install(FILES "${PROJECT_SOURCE_DIR}/proto/ipcrpc/options.proto" "${PROJECT_BINARY_DIR}/proto/options/ipcrpc/options.pb.h"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/ipcrpc")
foreach(program ipcrpc_tool ipcrpc-monitord)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endforeach()
# Where systemd looks, for the prefixes /usr and /usr/local; not in a multiarch directory.
set(monitord_units "${PROJECT_SOURCE_DIR}/services/monitord/ipcrpc-monitord")
install(FILES "${monitord_units}.service" "${monitord_units}.socket" DESTINATION lib/systemd/system)
# A sample to copy: the daemon reads the file that it is told of.
install(FILES "${monitord_units}.conf" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES "${monitord_units}.8" DESTINATION "${CMAKE_INSTALL_MANDIR}/man8")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/ipcrpcConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/ipcrpcConfig.cmake" INSTALL_DESTINATION "${package_dir}"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
# Before 1.0 each minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ipcrpcConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/ipcrpcConfig.cmake" "${PROJECT_BINARY_DIR}/ipcrpcConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/IpcrpcGenerate.cmake"
        DESTINATION "${package_dir}")
