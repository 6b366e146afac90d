# SPDX-License-Identifier: MIT
# Flags that every target of this build shares, as the interface target millpond_warnings, and the sanitizers.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Installed programs find the installed library beside them, wherever the tree is put.
file(RELATIVE_PATH millpond_bin_to_lib /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
set(CMAKE_INSTALL_RPATH "$ORIGIN/${millpond_bin_to_lib}")

add_library(millpond_warnings INTERFACE)
target_compile_options(millpond_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes
  $<$<BOOL:${MILLPOND_WERROR}>:-Werror>)

# What gcc inserts for UndefinedBehaviorSanitizer hides the ranges of small integers, and conversions that lose nothing are warned of.
if(MILLPOND_SANITIZE STREQUAL "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(millpond_warnings INTERFACE -Wno-conversion -Wno-sign-conversion)
endif()

# ThreadSanitizer sees nothing through inline assembly: MILLPOND_TSAN makes the atomics compiler builtins.
if(MILLPOND_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(MILLPOND_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_compile_definitions(MILLPOND_TSAN=1)
  add_link_options(-fsanitize=thread)
elseif(MILLPOND_SANITIZE)
  message(FATAL_ERROR "MILLPOND_SANITIZE is '${MILLPOND_SANITIZE}'; set it to address, to thread or to nothing")
endif()

# millpond_time_limit(variable seconds): how long a test may take; with a sanitizer four times as long.
function(millpond_time_limit variable seconds)
  if(MILLPOND_SANITIZE)
    math(EXPR seconds "4 * ${seconds}")
  endif()
  set(${variable} ${seconds} PARENT_SCOPE)
endfunction()
