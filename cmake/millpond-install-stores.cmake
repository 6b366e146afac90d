# SPDX-License-Identifier: MIT
# Installing the stores: find_package(millpond COMPONENTS store_sqlite) gives millpond::store_sqlite; without components everything that
# was built is there. pkg-config: millpond_store_sqlite.

set(millpond_store_components "" CACHE INTERNAL "")

# Library, header and .pc file of millpond_NAME; all headers are named as the library.
function(millpond_install_store target)
  install(TARGETS ${target} EXPORT millpond-stores LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES ${PROJECT_SOURCE_DIR}/include/${target}.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  set(millpond_pc_library ${target})
  configure_file(${PROJECT_SOURCE_DIR}/cmake/millpond-store.pc.in ${PROJECT_BINARY_DIR}/${target}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${target}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  string(REPLACE "millpond_" "" component ${target})
  set(millpond_store_components ${millpond_store_components} ${component} CACHE INTERNAL "")
endfunction()

# Which components there are, for millpond-config.cmake.
function(millpond_install_stores_config)
  install(EXPORT millpond-stores NAMESPACE millpond:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/millpond)
  set(text "# What was built.\n")
  foreach(component IN LISTS millpond_store_components)
    string(APPEND text "set(millpond_${component}_FOUND TRUE)\n")
  endforeach()
  file(WRITE ${PROJECT_BINARY_DIR}/millpond-components.cmake "${text}")
  install(FILES ${PROJECT_BINARY_DIR}/millpond-components.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/millpond)
endfunction()
