/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "snapshot/view-engine.h"

/* Mounts the index of a layer with its tar as the second device: nothing is unpacked. */
extern const CxViewEngine cx_view_erofs;
