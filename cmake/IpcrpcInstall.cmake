# The CMake package that users find: find_package(ipcrpc), targets ipcrpc::ipcrpc and ipcrpc::protoc-gen-ipcrpc, function
# ipcrpc_generate. Libraries and programs install themselves where they are made (IpcrpcBuild.cmake).
include(CMakePackageConfigHelpers)

if(NOT TARGET ipcrpc)
  return() # nothing to find yet
endif()

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ipcrpc")
install(TARGETS protoc-gen-ipcrpc EXPORT ipcrpcTargets RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(EXPORT ipcrpcTargets NAMESPACE ipcrpc:: DESTINATION "${package_dir}")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/ipcrpcConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/ipcrpcConfig.cmake" INSTALL_DESTINATION "${package_dir}")
# Before 1.0 each minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ipcrpcConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/ipcrpcConfig.cmake" "${PROJECT_BINARY_DIR}/ipcrpcConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/IpcrpcGenerate.cmake"
        DESTINATION "${package_dir}")
