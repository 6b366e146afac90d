# SPDX-License-Identifier: MIT
# Installing the library: headers, both libraries, find_package(millpond) and pkg-config.

# Shared and static are exported apart: who links the shared library needs nothing of what it was built with.
install(TARGETS millpond EXPORT millpond-shared
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS millpond_static EXPORT millpond-static
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/include/millpond.h ${PROJECT_SOURCE_DIR}/include/millpond_fetch.h
  ${PROJECT_SOURCE_DIR}/include/millpond_store.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(millpond_config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/millpond)
install(EXPORT millpond-shared NAMESPACE millpond:: DESTINATION ${millpond_config_folder})
install(EXPORT millpond-static NAMESPACE millpond:: DESTINATION ${millpond_config_folder})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/millpond-config.cmake.in ${PROJECT_BINARY_DIR}/millpond-config.cmake
  INSTALL_DESTINATION ${millpond_config_folder})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/millpond-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/millpond-config.cmake ${PROJECT_BINARY_DIR}/millpond-config-version.cmake
  DESTINATION ${millpond_config_folder})

# The .pc file finds its prefix from where it lies, so an installed tree may be moved.
file(RELATIVE_PATH millpond_pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" millpond_pc_to_prefix "${millpond_pc_to_prefix}")
set(millpond_pc_prefix "\${pcfiledir}/${millpond_pc_to_prefix}")
foreach(folder IN ITEMS LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
    set(millpond_pc_prefix "${CMAKE_INSTALL_PREFIX}")
    set(millpond_pc_${folder} "${CMAKE_INSTALL_${folder}}")
  else()
    set(millpond_pc_${folder} "\${prefix}/${CMAKE_INSTALL_${folder}}")
  endif()
endforeach()
configure_file(${PROJECT_SOURCE_DIR}/cmake/millpond.pc.in ${PROJECT_BINARY_DIR}/millpond.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/millpond.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
