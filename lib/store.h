/* SPDX-License-Identifier: MIT */
#ifndef POND_STORE_H
#define POND_STORE_H

#include "millpond.h"

/* Closes the store that is bound to a handle, if there is one. */
void pond_store_unbind(struct millpond *pond);

#endif
